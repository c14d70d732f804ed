"""A Kinesis stream in memory, with the errors that a test wants."""

from collections.abc import Sequence

from millstream.engine.base.clock import SystemClock
from millstream.engine.sources.kinesis.client import (
    KinesisError,
    Page,
    Position,
    Stored,
    Summary,
)
from millstream.engine.sources.kinesis.shards import Shard

HOUR_MS = 3_600_000


class FakeKinesis:
    """Answers as KinesisClient does. Iterators are `shard:place`."""

    def __init__(self, shards: Sequence[Shard] = (), page_records: int = 100) -> None:
        self.listed = {each.id: each for each in shards}
        self.records: dict[str, list[Stored]] = {each.id: [] for each in shards}
        self.page_records = page_records
        self.retention_hours = 24
        self.failures: list[KinesisError] = []
        """Raised by the next calls for records, one each."""
        self.asked: list[Position] = []

    def put(self, shard: str, *sequences: int, at_ms: int | None = None) -> None:
        """Append records, whose data says their number."""
        arrived_ms = SystemClock().now_ms() if at_ms is None else at_ms
        self.records[shard] += [
            Stored(str(each), "key", str(each).encode(), arrived_ms)
            for each in sequences
        ]

    def summary(self) -> Summary:
        """Say how long records are kept."""
        return Summary(self.retention_hours * HOUR_MS, SystemClock().now_ms())

    def shards(self) -> dict[str, Shard]:
        """List the shards."""
        return dict(self.listed)

    def iterator(self, shard: str, position: Position) -> str:
        """Return where a position is."""
        self.asked.append(position)
        records = self.records[shard]
        match position.kind:
            case "TRIM_HORIZON":
                place = 0
            case "AT_SEQUENCE_NUMBER":
                at = int(str(position.at))
                place = sum(int(each.sequence) < at for each in records)
            case "AFTER_SEQUENCE_NUMBER":
                at = int(str(position.at))
                place = sum(int(each.sequence) <= at for each in records)
            case "AT_TIMESTAMP":
                at = int(str(position.at))
                place = sum(each.arrived_ms < at for each in records)
            case kind:
                raise AssertionError(kind)
        return f"{shard}:{place}"

    def page(self, iterator: str, limit: int = 10_000) -> Page:
        """Return some records."""
        if self.failures:
            raise self.failures.pop(0)
        shard, place = iterator.rsplit(":", 1)
        end = int(place) + min(limit, self.page_records)
        records = self.records[shard]
        is_over = self.listed[shard].is_closed and end >= len(records)
        behind_ms = 0 if end >= len(records) else 1000
        found = records[int(place) : end]
        after = f"{shard}:{int(place) + len(found)}"
        return Page(found, None if is_over else after, behind_ms)


def shard(
    name: str, *parents: str, keys: tuple[int, int] = (0, 99), closed: bool = False
) -> Shard:
    """Return a shard."""
    return Shard(name, parents, *keys, is_closed=closed)
