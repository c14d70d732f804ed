"""KinesisSource: the records of a Kinesis stream, by ranges of its shards.

The driver reads ahead and plans what it has read (`kinesis_fetching`). What it planned it
keeps in files for a while, and tasks take it from there: each record is read from Kinesis
once. Where the files aren't, on another machine or after a restart, a task reads its range
from Kinesis itself. There is no table of leases, no DynamoDB: where a stream is, is in the
checkpoint.
"""

import dataclasses
import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from millstream.engine.base import frames, scratch
from millstream.engine.base.clock import SystemClock
from millstream.engine.ingest.direct_source import BatchPlan, DirectSource
from millstream.engine.ingest.lag import Lag, LagUnit
from millstream.engine.sources.kinesis.client import (
    KinesisAccess,
    KinesisClient,
    Stored,
)
from millstream.engine.sources.kinesis.fetching import Fetching, read_range
from millstream.engine.sources.kinesis.records import KinesisRecord, unpacked
from millstream.engine.sources.kinesis.shards import (
    KinesisRange,
    open_shards,
    roots,
    unread,
)

_log = logging.getLogger(__name__)

_KEPT_BYTES = 256 << 20
_AS_OF_MS = 60_000
"""How old what is known of an idle stream may get before it is noted anew."""


@dataclasses.dataclass(frozen=True, slots=True)
class KinesisOptions:
    """How to read; `streaming/kinesis` says what each means."""

    start: str | int = "LATEST"
    """TRIM_HORIZON, LATEST, or a time in ms."""
    rate_max: float | None = None
    interval_s: float = 1.0
    fails_on_data_loss: bool = True


class KinesisSource(DirectSource[KinesisRange, Any]):
    """A partition for each shard that has had records since the last batch."""

    range_type: ClassVar[type | None] = KinesisRange

    def __init__(
        self,
        access: KinesisAccess,
        stream: str,
        options: KinesisOptions,
        handler: Callable[[KinesisRecord], Any],
    ) -> None:
        """Read `stream`; `handler` makes of a record what the program gets."""
        self.access = access
        self.stream = stream
        self.options = options
        self.handler = handler
        self._kept_in: str | None = None
        self._live: _Live | None = None
        self._lag_ms: int | None = None

    @property
    def identity(self) -> str:
        """What it reads: the stream and where it is."""
        return f"kinesis {self.stream} in {self.access}"

    def start(self) -> None:
        """List the shards, and begin to read.

        Raises:
            KinesisError: The stream can't be asked.
        """
        fetching = Fetching(
            KinesisClient(self.access, self.stream),
            self.stream,
            interval_s=self.options.interval_s,
            timeout_s=self.access.timeout_s,
            must_have_all=self.options.fails_on_data_loss,
        )
        directory = scratch.make_directory(Path(tempfile.gettempdir()), "kinesis")
        try:
            started_ms = fetching.start()
        except BaseException:
            scratch.remove_directory(directory)
            raise
        self._kept_in = str(directory)
        self._live = _Live(fetching, Kept(directory), started_ms)

    def stop(self) -> None:
        """End."""
        live, self._live = self._live, None
        if live is not None:
            live.fetching.stop()
            scratch.remove_directory(live.kept.directory)

    def plan(self, batch: BatchPlan[KinesisRange]) -> Sequence[KinesisRange]:
        """Return what was read since the last batch, a range a shard.

        Raises:
            KinesisError: A shard couldn't be read for as long as the time-out.
        """
        live = self._live
        assert live is not None, "it has started"
        live.fetching.go_on_after(self._after(batch.previous, live))
        taken = live.fetching.take(self._limit(batch))
        self._lag_ms = live.fetching.lag_ms
        planned = [each for each, _ in taken]
        if not self._is_news(planned, batch.previous):
            return ()
        for each, records in taken:
            if records:
                live.kept.add(each, records)
        return planned

    @property
    def lag(self) -> Lag:
        """How far the newest batch is behind the newest record, in ms, as it was planned."""
        return Lag(self._lag_ms, LagUnit.MS)

    def _after(
        self, previous: Sequence[KinesisRange], live: "_Live"
    ) -> list[KinesisRange]:
        shards = live.fetching.shards
        start, now_ms = self.options.start, SystemClock().now_ms()
        if previous:
            going_on, beginning = unread(shards, previous)
        elif start == "LATEST":
            going_on, beginning = [], open_shards(shards)
        else:
            going_on, beginning = [], roots(shards)
        start_ms = start if isinstance(start, int) else None
        if start == "LATEST" and not previous:
            # As a time, it is the same after a restart before the first record.
            start_ms = live.started_ms
        return going_on + [
            KinesisRange(each, None, None, 0, now_ms, start_ms) for each in beginning
        ]

    def _limit(self, batch: BatchPlan[KinesisRange]) -> int | None:
        known = [
            each for each in (batch.rate, self.options.rate_max) if each is not None
        ]
        return dataclasses.replace(batch, rate=min(known)).limit if known else None

    @staticmethod
    def _is_news(
        planned: Sequence[KinesisRange], previous: Sequence[KinesisRange]
    ) -> bool:
        """Say whether ranges tell more than those before: else there is no partition."""
        before = {each.shard: each for each in previous}
        return before.keys() != {each.shard for each in planned} or any(
            each.first is not None
            or each.is_end != before[each.shard].is_end
            or each.as_of_ms - before[each.shard].as_of_ms > _AS_OF_MS
            for each in planned
        )

    def read(self, of: KinesisRange) -> Iterator[Any]:
        """Yield the records of a range.

        Raises:
            KinesisDataLossError: They aren't all there any more.
            KinesisError: They can't be read.
        """
        if of.first is None:
            return
        records = kept_records(self._kept_in, of)
        if records is None:
            client = KinesisClient(self.access, self.stream)
            records = read_range(client, of, self.access.timeout_s)
        for each in unpacked(of.shard, records):
            yield self.handler(each)

    def count(self, of: KinesisRange) -> int:
        """Return how many records a range has."""
        return of.count

    def describe(self, of: KinesisRange) -> str:
        """Return a range in words."""
        return (
            f"stream: {self.stream}\tshard: {of.shard}\tfrom: {of.first}\t"
            f"to: {of.last}\tcount: {of.count}"
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_live": None, "_lag_ms": None}


@dataclasses.dataclass(frozen=True, slots=True)
class _Live:
    """What there is from start to stop."""

    fetching: Fetching
    kept: "Kept"
    started_ms: int


class Kept:
    """Records of ranges, in files, until there are too many; written on the driver."""

    def __init__(self, directory: Path, bytes_max: int = _KEPT_BYTES) -> None:
        """Keep so many bytes below `directory`."""
        self.directory = directory
        self._bytes_max = bytes_max
        self._sizes: dict[Path, int] = {}

    def add(self, of: KinesisRange, records: Sequence[Stored]) -> None:
        """Keep the records of a range, and forget the oldest if need be.

        If they can't be kept, tasks read them from Kinesis.
        """
        data = frames.dumps(list(map(tuple, records)))
        file = _file_of(self.directory, of)
        try:
            with file.with_suffix(".part").open("wb") as out:
                frames.write_frame(out, data)
            file.with_suffix(".part").rename(file)
        except OSError as error:
            _log.warning("tasks will read a range again: can't keep it: %s", error)
            return
        self._sizes[file] = len(data)
        while sum(self._sizes.values()) > self._bytes_max:
            oldest = next(iter(self._sizes))
            del self._sizes[oldest]
            oldest.unlink(missing_ok=True)


def kept_records(directory: str | None, of: KinesisRange) -> list[Stored] | None:
    """Return the records of a range, if they are kept on this machine."""
    if directory is None:
        return None
    try:
        with _file_of(Path(directory), of).open("rb") as source:
            data = b"".join(frames.read_frames(source, source.name))
    except FileNotFoundError:
        return None
    return [Stored(*each) for each in frames.loads(data)]


def _file_of(directory: Path, of: KinesisRange) -> Path:
    return directory / f"{of.shard}-{of.first}-{of.last}"
