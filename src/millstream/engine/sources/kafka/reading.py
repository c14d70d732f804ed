"""Reading of Kafka ranges: a task's consumer is given its offsets, and never counts records.

A range ends where a record at its last offset, a later record, or the partition's end has
been seen: offsets have holes, where transactions ended or compaction was.
"""

import atexit
import logging
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from millstream.engine.base.clock import monotonic_s
from millstream.engine.base.errors import IllegalArgumentError, SparkError
from millstream.engine.base.secrets import Secret
from millstream.engine.sources.kafka.clients import (
    Complaints,
    library,
    make_consumer,
)
from millstream.engine.sources.kafka.offsets import OffsetRange

_log = logging.getLogger(__name__)

AT_A_TIME = 500
"""Larger lists of messages are slower: they fall out of the processor's caches."""
_WAIT_S = 0.5
_IDLE_S = 60.0


class DataLossError(SparkError):
    """Records that a batch is to have aren't in Kafka any more."""


class StalledError(SparkError):
    """Records that must be there didn't come in time."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How tasks read ranges."""

    config: Mapping[str, Any]
    """A consumer's; its secrets are `Secret`s."""
    timeout_s: float
    """How long a task waits for the next record of its range."""
    fails_on_loss: bool = True
    """Whether records that are gone are an error, or are told of in the log."""
    consumers_max: int = 64
    """How many consumers a process keeps that nobody uses; 0 for none."""

    @property
    def key(self) -> "_Key":
        """What consumers have in common that can stand in for each other."""
        return tuple(
            sorted(
                (name, value if isinstance(value, Secret) else str(value))
                for name, value in self.config.items()
                if not callable(value)
            )
        )


_Key: TypeAlias = tuple[tuple[str, Any], ...]


@dataclass(slots=True)
class _Kept:
    """A consumer that goes from task to task."""

    key: _Key
    consumer: Any
    complaints: Complaints
    idle_since_s: float = 0.0


@dataclass(slots=True)
class Consumers:
    """The consumers of this process that no task uses now. Thread-safe."""

    _idle: dict[_Key, list[_Kept]] = field(default_factory=lambda: defaultdict(list))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, reading: Reading) -> _Kept:
        """Return one that is idle, or a new one; for the caller alone."""
        key = reading.key
        with self._lock:
            idle = self._idle.get(key)
            kept = idle.pop() if idle else None
        if kept is None:
            complaints = Complaints()
            return _Kept(key, make_consumer(reading.config, complaints), complaints)
        kept.complaints.forget()
        return kept

    def give_back(self, kept: _Kept, most: int) -> None:
        """Keep a consumer for the next task, among so many; old ones are closed."""
        kept.consumer.unassign()
        now_s = monotonic_s()
        kept.idle_since_s = now_s
        with self._lock:
            self._idle[kept.key].append(kept)
            ours = sorted(
                (each for idle in self._idle.values() for each in idle),
                key=lambda each: each.idle_since_s,
            )
            old = [each for each in ours if now_s - each.idle_since_s > _IDLE_S]
            old += ours[len(old) : max(len(ours) - most, len(old))]
            for each in old:
                self._idle[each.key].remove(each)
        for each in old:
            each.consumer.close()

    def close(self, key: _Key | None = None) -> None:
        """Close those that are idle, all or those of a key."""
        with self._lock:
            keys = list(self._idle) if key is None else [key]
            closed = [kept for each in keys for kept in self._idle.pop(each, ())]
        for kept in closed:
            kept.consumer.close()


consumers = Consumers()
"""Of this process."""
atexit.register(consumers.close)


def messages_of(reading: Reading, of: OffsetRange) -> Iterator[list[Any]]:
    """Yield the messages of a range, some at a time, in the order of their offsets.

    Raises:
        IllegalArgumentError: It ends before it begins.
        DataLossError: Its first records are gone.
        StalledError: Nothing came for too long.
        SparkError: The cluster refuses to give them.
    """
    if of.fromOffset > of.untilOffset:
        msg = f"{of} ends before it begins"
        raise IllegalArgumentError(msg)
    if of.fromOffset == of.untilOffset:
        return
    kept = consumers.take(reading)
    # A consumer that has failed isn't trusted with another range.
    is_sound = False
    try:
        yield from _Range(reading, of, kept).messages()
        is_sound = True
    except GeneratorExit:
        is_sound = True
        raise
    finally:
        if is_sound and reading.consumers_max:
            consumers.give_back(kept, reading.consumers_max)
        else:
            kept.consumer.close()


class _Range:
    """One range being read."""

    def __init__(self, reading: Reading, of: OffsetRange, kept: _Kept) -> None:
        self._reading = reading
        self._of = of
        self._consumer = kept.consumer
        self._complaints = kept.complaints
        self._kafka = library()
        self._next = of.fromOffset
        self._ended_at: int | None = None

    def messages(self) -> Iterator[list[Any]]:
        error_of = self._kafka.Message.error
        until = self._of.untilOffset
        self._assign(self._next)
        heard_s = monotonic_s()
        while self._next < until:
            # What has come already is taken without a wait; a wait for more than is left
            # in the range would last until it times out.
            some = self._consumer.consume(min(AT_A_TIME, until - self._next), 0)
            if not some:
                first = self._consumer.poll(_WAIT_S)
                if first is None:
                    if self._is_given_up(monotonic_s() - heard_s):
                        return
                    continue
                some = [first]
            heard_s = monotonic_s()
            if any(map(error_of, some)):
                some = self._without_events(some)
            if not some:
                continue
            last = some[-1].offset()
            self._next = max(self._next, last + 1)
            if last >= until:
                some = [each for each in some if each.offset() < until]
            if some:
                yield some

    def _assign(self, offset: int) -> None:
        place = self._kafka.TopicPartition(self._of.topic, self._of.partition, offset)
        self._consumer.assign([place])

    def _without_events(self, some: list[Any]) -> list[Any]:
        records = []
        for each in some:
            if each.error() is None:
                records.append(each)
            else:
                self._on_event(each)
        return records

    def _on_event(self, event: Any) -> None:
        error, kafka = event.error(), self._kafka.KafkaError
        if error.code() == kafka._PARTITION_EOF:
            self._ended_at = event.offset()
            if self._ended_at >= self._of.untilOffset:
                self._next = self._of.untilOffset
        elif error.code() in {kafka._AUTO_OFFSET_RESET, kafka.OFFSET_OUT_OF_RANGE}:
            self._on_loss()
        elif error.retriable():
            self._complaints.hear(error)
        else:
            msg = f"{self._what()} can't be read: {error.str()}"
            raise SparkError(msg)

    def _on_loss(self) -> None:
        place = self._kafka.TopicPartition(self._of.topic, self._of.partition)
        low, high = self._consumer.get_watermark_offsets(
            place, timeout=self._reading.timeout_s
        )
        what = f"{self._what()} has no offset {self._next} any more: it has {low} to {high}"
        if self._reading.fails_on_loss:
            raise DataLossError(
                what,
                hint="records were deleted before they were read, by retention or with "
                "their topic; failOnDataLoss=False goes on without them",
            )
        begin = min(max(low, self._next), self._of.untilOffset)
        # With its end before the range, the topic is another one of the same name.
        begin = self._of.untilOffset if high < self._next else begin
        _log.warning(
            "records are lost topic=%s partition=%d offsets=%d to %d",
            self._of.topic,
            self._of.partition,
            self._next,
            begin,
        )
        self._next = begin
        if begin < self._of.untilOffset:
            self._assign(begin)

    def _is_given_up(self, silent_s: float) -> bool:
        """Say whether to go on without what doesn't come; raise when that is an error."""
        refused = self._complaints.refused
        if refused is None and silent_s < self._reading.timeout_s:
            return False
        if refused is not None:
            msg = f"{self._what()} can't be read: {refused}"
            raise SparkError(
                msg,
                hint="the cluster refuses this client: look at its user, password and "
                "certificates",
            )
        if self._ended_at is None:
            known = str(self._complaints) or "it is silent"
            msg = (
                f"{self._what()}: nothing came for {silent_s:.0f} s at offset "
                f"{self._next} of {self._of.fromOffset} to {self._of.untilOffset}: {known}"
            )
            raise StalledError(
                msg,
                hint="is the cluster running, and can tasks reach it? "
                "spark.streaming.kafka.consumer.poll.ms says how long they wait",
            )
        what = (
            f"{self._what()} ends at offset {self._ended_at}, in the middle of "
            f"{self._of.fromOffset} to {self._of.untilOffset}"
        )
        if self._reading.fails_on_loss:
            raise DataLossError(
                what,
                hint="its topic was deleted and made anew, or its cluster lost records; "
                "failOnDataLoss=False goes on without them",
            )
        _log.warning("records are lost: %s", what)
        return True

    def _what(self) -> str:
        return (
            f"partition {self._of.partition} of Kafka topic '{self._of.topic}' at "
            f"{self._reading.config['bootstrap.servers']}"
        )
