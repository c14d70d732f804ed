"""KafkaSource: ranges of offsets of Kafka's partitions, planned by the driver."""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from millstream.engine.base.errors import IllegalStateError
from millstream.engine.base.seldom import Seldom
from millstream.engine.columnar.blocks import Columns
from millstream.engine.columnar.execution import ROWS_MIN
from millstream.engine.columnar.shapes import Fixed, Kind, Plain, Shape, TupleOf
from millstream.engine.ingest.direct_source import BatchPlan, DirectSource
from millstream.engine.ingest.lag import Lag
from millstream.engine.plan.partitions import FrozenRows, freeze
from millstream.engine.sources.kafka.clients import library
from millstream.engine.sources.kafka.cluster import (
    Chosen,
    Cluster,
    KafkaUnreachableError,
    MissingTopicError,
    Offsets,
    Partitions,
    TopicPattern,
    Topics,
    choose,
)
from millstream.engine.sources.kafka.offsets import (
    OffsetRange,
    PerPartitionConfig,
    TopicAndPartition,
    plan_until,
)
from millstream.engine.sources.kafka.reading import (
    DataLossError,
    Reading,
    consumers,
    messages_of,
)
from millstream.engine.sources.kafka.settings import KafkaSettings

_log = logging.getLogger(__name__)

_BLOCK_ROWS = 50_000
_BLOCK_BYTES = 16 << 20

OnCommit = Callable[[Mapping[TopicAndPartition, int], BaseException | None], Any]
"""What `commitAsync` calls: with the offsets, and the error, if there was one."""


ToRecords = Callable[[Sequence[Any]], Iterable[Any]]
"""What makes records of messages, one of each, in their order."""


@dataclass(frozen=True, slots=True)
class Start:
    """Where a stream begins that has no checkpoint. The first that says so counts."""

    offsets: Mapping[TopicAndPartition, int] = field(default_factory=dict)
    time_ms: int | None = None
    """The first record since then, of partitions without an offset."""
    uses_group: bool = False
    """Whether what the group has committed counts before `auto.offset.reset`, and whether
    offsets are committed for it by `enable.auto.commit`; if there is a group."""


class KafkaSource(DirectSource[OffsetRange, Any]):
    """Records of Kafka, made of its messages by a function."""

    range_type = OffsetRange

    def __init__(
        self,
        settings: KafkaSettings,
        chosen: Chosen,
        start: Start,
        reading: Reading,
        rates: PerPartitionConfig,
        to_records: ToRecords,
    ) -> None:
        """Read the partitions `chosen`; `to_records` makes records of messages.

        Raises:
            MissingDependencyError: The client library isn't installed.
        """
        library()
        self.settings = settings
        self.chosen = chosen
        self.reading = reading
        self._start = start
        self._rates = rates
        self._to_records = to_records
        self._side: _DriverSide | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_side": None}

    @property
    def identity(self) -> str:
        """The topics."""
        match self.chosen:
            case Topics(names):
                return f"kafka {','.join(names)}"
            case TopicPattern(pattern):
                return f"kafka {pattern}"
            case Partitions(partitions):
                return (
                    f"kafka {','.join(f'{e.topic}-{e.partition}' for e in partitions)}"
                )

    # On the driver.

    def start(self) -> None:
        """Connect, and find where to begin, lest what comes before a first batch is lost.

        Raises:
            IllegalArgumentError: A parameter is unknown or wrong.
        """
        self._side = side = _DriverSide(
            self.settings, self.chosen, self._start, self.reading.fails_on_loss
        )
        try:
            side.find_start()
        except (KafkaUnreachableError, MissingTopicError) as error:
            # It may be there when a batch is planned; then that raises if not.
            _log.warning("where to begin isn't known yet error=%s", error)

    def stop(self) -> None:
        """Disconnect."""
        side, self._side = self._side, None
        if side is not None:
            side.close()
        consumers.close(self.reading.key)

    def plan(self, batch: BatchPlan[OffsetRange]) -> Sequence[OffsetRange]:
        """Return a range of every partition, in their order, also where nothing is new.

        Raises:
            KafkaUnreachableError: The cluster doesn't answer in time.
            MissingTopicError: A topic, or a partition that was read before, isn't there.
            DataLossError: A partition ends before where it was read until.
        """
        side = self._of_driver()
        if self._commits_itself:
            side.commit_later(batch.previous, None)
        side.flush_commits()
        current, latest = side.positions(batch.previous)
        until = plan_until(current, latest, batch.rate, batch.seconds, self._rates)
        side.behind = sum(max(latest[each] - until[each], 0) for each in until)
        return [
            OffsetRange(each.topic, each.partition, current[each], until[each])
            for each in sorted(current)
        ]

    @property
    def _commits_itself(self) -> bool:
        settings = self.settings
        has_group = self._start.uses_group and settings.group is not None
        return settings.commits_itself and has_group

    def commit_later(
        self, ranges: Iterable[OffsetRange], done: OnCommit | None
    ) -> None:
        """Commit the ends of ranges for the group when the next batch is planned.

        Raises:
            IllegalStateError: The stream doesn't run here, or has no group.
        """
        self._of_driver().commit_later(ranges, done)

    @property
    def lost(self) -> int:
        """How many offsets were passed over since the start: their records were gone."""
        return 0 if self._side is None else self._side.lost

    @property
    def lag(self) -> Lag:
        """How many offsets the partitions have beyond the newest batch's, as it was planned."""
        return Lag(None if self._side is None else self._side.behind)

    def _of_driver(self) -> "_DriverSide":
        if self._side is None:
            msg = "the Kafka stream doesn't run here"
            raise IllegalStateError(
                msg, hint="offsets are committed on the driver, in foreachRDD"
            )
        return self._side

    def count(self, of: OffsetRange) -> int:
        """Return how many offsets a range has: at least as many as records."""
        return of.count()

    def describe(self, of: OffsetRange) -> str:
        """Return a range in words, with tabs in between."""
        return (
            f"topic: {of.topic}\tpartition: {of.partition}\t"
            f"offsets: {of.fromOffset} to {of.untilOffset}\tcount: {of.count()}"
        )

    # In tasks.

    def read(self, of: OffsetRange) -> Iterator[Any]:
        """Yield the records of a range."""
        for messages in messages_of(self.reading, of):
            yield from self._to_records(messages)


class Utf8KafkaSource(KafkaSource):
    """Records that are pairs of key and value as text: they can be columns."""

    has_blocks: ClassVar[bool] = True

    def read_blocks(self, of: OffsetRange) -> Iterator[Any]:
        """Yield what `read` does, as columns where there are enough."""
        kafka = library()
        key_of, value_of = kafka.Message.key, kafka.Message.value
        keys: list[bytes | None] = []
        values: list[bytes | None] = []
        size = 0
        for messages in messages_of(self.reading, of):
            keys.extend(map(key_of, messages))
            values.extend(map(value_of, messages))
            size += sum(map(len, messages))
            if len(values) >= _BLOCK_ROWS or size >= _BLOCK_BYTES:
                yield from text_blocks(keys, values)
                keys, values, size = [], [], 0
        if values:
            yield from text_blocks(keys, values)


def text_blocks(
    keys: Sequence[bytes | None], values: Sequence[bytes | None]
) -> Iterator[Columns | FrozenRows]:
    """Yield pairs of texts in a block.

    Raises:
        UnicodeDecodeError: One isn't UTF-8; those before it have been yielded.
    """
    made = _columns(keys, values) if len(values) >= ROWS_MIN else None
    if made is not None:
        yield made
        return
    rows: list[tuple[str | None, str | None]] = []
    try:
        rows.extend(
            (utf8_decoder(key), utf8_decoder(value))
            for key, value in zip(keys, values, strict=True)
        )
    except UnicodeDecodeError:
        yield freeze(rows)
        raise
    yield FrozenRows(len(rows), rows, None)


def _columns(
    keys: Sequence[bytes | None], values: Sequence[bytes | None]
) -> Columns | None:
    """Return pairs of texts as columns; None when one isn't UTF-8."""
    import polars as pl  # noqa: PLC0415  Heavy; only where there are columns.

    shapes: list[Shape] = []
    made: list[Any] = []
    for raw in (keys, values):
        missing = raw.count(None)
        if missing == len(raw):
            shapes.append(Fixed(None))
            continue
        shapes.append(Plain(Kind.STR, is_optional=missing > 0))
        binary = pl.Series(f"c{len(made)}", raw, dtype=pl.Binary)
        try:
            made.append(binary.cast(pl.String))
        except pl.exceptions.PolarsError:
            return None
    return Columns(pl.DataFrame(made), TupleOf(tuple(shapes))) if made else None


def utf8_decoder(s: bytes | None) -> str | None:
    """Return bytes as text; None stays None."""
    return None if s is None else s.decode("utf-8")


class _DriverSide:
    """What only the driver has of a stream that runs."""

    def __init__(
        self, settings: KafkaSettings, chosen: Chosen, start: Start, fails_on_loss: bool
    ) -> None:
        self._settings = settings
        self._chosen = chosen
        self._start = start
        self._fails_on_loss = fails_on_loss
        self._cluster = Cluster(settings)
        self._first: Offsets | None = None
        self._lock = threading.Lock()
        self._to_commit: Offsets = {}
        self._on_commit: OnCommit | None = None
        self._pending: list[tuple[Any, Offsets, OnCommit | None]] = []
        self._has_told_others = False
        self.lost = 0
        self.behind: int | None = None
        self._seldom = Seldom(_log)

    def close(self) -> None:
        """End; what wasn't committed isn't."""
        self._settle()

    # Positions.

    def find_start(self) -> None:
        """Find where partitions that are there begin to be read, of a new stream."""
        there = self._cluster.partitions()
        choice = choose(self._chosen, there)
        self._first = self._begin(choice.present)
        if choice.missing:
            raise _missing(choice.missing, self._settings)

    def _begin(self, of: Sequence[TopicAndPartition]) -> Offsets:
        found = {each: o for each, o in self._start.offsets.items() if each in of}
        if self._start.uses_group and self._settings.group is not None:
            left = [each for each in of if each not in found]
            found |= self._cluster.committed(left)
        left = [each for each in of if each not in found]
        if left and self._start.time_ms is not None:
            timed = self._cluster.at_time(left, self._start.time_ms)
            # Where nothing has come since then, the next record is the first.
            none = [each for each, offset in timed.items() if offset < 0]
            return found | timed | self._cluster.latest(none)
        if not left:
            return found
        match self._settings.reset:
            case "earliest":
                return found | self._cluster.earliest(left)
            case "latest":
                return found | self._cluster.latest(left)
            case _:
                where = ", ".join(map(str, left))
                msg = f"there is no offset to begin with for {where}"
                raise IllegalStateError(
                    msg,
                    hint="give offsets, or set 'auto.offset.reset' to earliest or latest",
                )

    def positions(self, previous: Sequence[OffsetRange]) -> tuple[Offsets, Offsets]:
        """Return from where each partition is to be read, and where it ends."""
        there = self._cluster.partitions()
        choice = choose(self._chosen, there)
        if not previous and self._first is None:
            self._first = self._begin(choice.present)
        known = {e.topicPartition(): e.untilOffset for e in previous} or self._first
        assert known is not None, "a stream without ranges has just begun"
        self._check_there(choice.missing, known, choice.present)
        self._tell_others(there)
        current = {each: known[each] for each in choice.present if each in known}
        new = [each for each in choice.present if each not in known]
        if new:
            _log.info("new partitions partitions=%s", ", ".join(map(str, new)))
            current |= self._cluster.earliest(new)
        latest = self._cluster.latest(choice.present)
        self._check_ends(current, latest)
        if not self._fails_on_loss:
            self._pass_over_lost(current)
        return current, latest

    def _check_there(
        self,
        missing: Sequence[str],
        known: Mapping[TopicAndPartition, int],
        present: Sequence[TopicAndPartition],
    ) -> None:
        gone = tuple(
            f"{each}, read until offset {known[each]},"
            for each in sorted(set(known) - set(present))
        )
        if not missing and not gone:
            return
        if self._fails_on_loss or not (gone or present):
            raise _missing(gone or missing, self._settings)
        if gone:
            self._seldom.warning(
                "partitions aren't there partitions=%s", "; ".join(gone)
            )

    def _tell_others(self, there: Mapping[str, Iterable[int]]) -> None:
        """Tell once of partitions that are left out because others were named."""
        if self._has_told_others or not isinstance(self._chosen, Partitions):
            return
        named = set(self._chosen.partitions)
        others = [
            str(TopicAndPartition(topic, partition))
            for topic in sorted({each.topic for each in named})
            for partition in there.get(topic, ())
            if TopicAndPartition(topic, partition) not in named
        ]
        if others:
            self._has_told_others = True
            _log.warning(
                "partitions aren't read: offsets were given for others only "
                "partitions=%s",
                ", ".join(others),
            )

    def _check_ends(
        self, current: Offsets, latest: Mapping[TopicAndPartition, int]
    ) -> None:
        short = [each for each, offset in current.items() if latest[each] < offset]
        if not short:
            return
        told = "; ".join(
            f"{each} ends at offset {latest[each]}, but was read until {current[each]}"
            for each in short
        )
        if self._fails_on_loss:
            msg = f"records of Kafka are lost: {told}"
            raise DataLossError(
                msg,
                hint="the topic was deleted and made anew, or its cluster lost records; "
                "failOnDataLoss=False reads such a partition from its beginning",
            )
        _log.warning("partitions are read from their beginning again: %s", told)
        current |= self._cluster.earliest(short)

    def _pass_over_lost(self, current: Offsets) -> None:
        for each, begin in self._cluster.earliest(current).items():
            if begin > current[each]:
                self.lost += begin - current[each]
                _log.warning(
                    "records are lost topic=%s partition=%d offsets=%d to %d",
                    each.topic,
                    each.partition,
                    current[each],
                    begin,
                )
                current[each] = begin

    # Commits.

    def commit_later(
        self, ranges: Iterable[OffsetRange], done: OnCommit | None
    ) -> None:
        if self._settings.group is None:
            msg = "there is no group to commit offsets for"
            raise IllegalStateError(msg, hint="set 'group.id' in kafkaParams")
        with self._lock:
            for each in ranges:
                place = each.topicPartition()
                known = self._to_commit.get(place, each.untilOffset)
                self._to_commit[place] = max(known, each.untilOffset)
            self._on_commit = done or self._on_commit

    def flush_commits(self) -> None:
        """Send what is to be committed, and tell of what was."""
        self._settle()
        with self._lock:
            offsets, self._to_commit = self._to_commit, {}
            done, self._on_commit = self._on_commit, None
        if offsets:
            self._pending.append((self._cluster.commit(offsets), offsets, done))

    def _settle(self) -> None:
        waiting = []
        for answer, offsets, done in self._pending:
            if not answer.done():
                waiting.append((answer, offsets, done))
                continue
            error = answer.exception() or _first_error(answer.result())
            if error is not None:
                self._seldom.warning(
                    "offsets couldn't be committed group=%s error=%s",
                    self._settings.group,
                    error,
                )
            if done is not None:
                _tell(done, offsets, error)
        self._pending = waiting


def _tell(done: OnCommit, offsets: Offsets, error: BaseException | None) -> None:
    try:
        done(offsets, error)
    except Exception as raised:
        # The batch that is planned just now has nothing to do with it.
        _log.exception("the callback of commitAsync failed error=%s", raised)


def _first_error(told: Any) -> BaseException | None:
    kafka = library()
    for each in told.topic_partitions:
        if each.error is not None:
            error: BaseException = kafka.KafkaException(each.error)
            return error
    return None


def _missing(what: Sequence[str], settings: KafkaSettings) -> MissingTopicError:
    msg = f"the Kafka cluster at {settings.servers} has no {'; no '.join(what)}".rstrip(
        ","
    )
    return MissingTopicError(
        msg,
        hint="create it, or look whether this client may see it; failOnDataLoss=False "
        "goes on without what was deleted",
    )
