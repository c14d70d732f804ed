"""StreamProgress: what a stream's events say of its batches, inputs and receivers. A core.

Events in, a picture out: batches that wait, run or have ended, of which the newest are
retained, and sums over all of them. Pages, the REST interface, metrics and the event log's
reader read the same picture.
"""

import threading
from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property

from millstream.engine.observe.histograms import Delays
from millstream.engine.streams.events import (
    BatchCompleted,
    BatchInfo,
    BatchStarted,
    BatchSubmitted,
    OutputOperationInfo,
    ReceiverError,
    ReceiverInfo,
    ReceiverStarted,
    ReceiverStopped,
    StreamingEvent,
    StreamingStarted,
)


class BatchStatus(Enum):
    """Where a batch is."""

    QUEUED = "QUEUED"
    PROCESSING = "PROCESSING"
    COMPLETED = "COMPLETED"


@dataclass(frozen=True)
class Batch:
    """A batch as far as its events have told."""

    info: BatchInfo
    status: BatchStatus

    @cached_property
    def failed_count(self) -> int:
        """Output operations that failed."""
        return sum(each.failure_reason is not None for each in self.outputs)

    @cached_property
    def active_count(self) -> int:
        """Output operations that haven't ended."""
        return sum(each.end_ms is None for each in self.outputs)

    @cached_property
    def completed_count(self) -> int:
        """Output operations that ended without a failure."""
        return sum(
            each.end_ms is not None and each.failure_reason is None
            for each in self.outputs
        )

    @cached_property
    def outputs(self) -> list[OutputOperationInfo]:
        """The output operations by their ids."""
        return [self.info.outputs[key] for key in sorted(self.info.outputs)]

    @property
    def first_failure(self) -> str | None:
        """Why the first output operation failed that did."""
        reasons = (each.failure_reason for each in self.outputs)
        return next((each for each in reasons if each is not None), None)


@dataclass(frozen=True, slots=True)
class Means:
    """Means over the retained batches that have ended; None before there is one."""

    scheduling_delay_ms: float | None
    processing_ms: float | None
    total_delay_ms: float | None
    input_rate: float | None
    """Records a second, of all retained batches."""


@dataclass(slots=True)
class Totals:
    """Sums over the retained batches that have ended."""

    started: int = 0
    """Of so many is known when they started; of `ended`, when they ended."""
    ended: int = 0
    waited_ms: int = 0
    processing_ms: int = 0
    total_ms: int = 0
    records: int = 0
    input_records: dict[int, int] = field(default_factory=dict)
    input_batches: dict[int, int] = field(default_factory=dict)
    """How many batches tell of each input."""

    def count(self, info: BatchInfo, sign: int) -> None:
        """Count a batch in, with 1, or out, with -1."""
        if info.scheduling_delay_ms is not None:
            self.started += sign
            self.waited_ms += sign * info.scheduling_delay_ms
        if info.processing_delay_ms is not None and info.total_delay_ms is not None:
            self.ended += sign
            self.processing_ms += sign * info.processing_delay_ms
            self.total_ms += sign * info.total_delay_ms
        self.records += sign * info.record_count
        for key, given in info.inputs.items():
            records = self.input_records.get(key, 0) + sign * given.record_count
            batches = self.input_batches.get(key, 0) + sign
            self.input_records[key], self.input_batches[key] = records, batches
            if not batches:
                del self.input_records[key], self.input_batches[key]

    def copy(self) -> "Totals":
        """Return some that don't change any more."""
        return replace(
            self,
            input_records=dict(self.input_records),
            input_batches=dict(self.input_batches),
        )


@dataclass(frozen=True)
class Picture:
    """All that is known at one moment; batches are newest first."""

    started_ms: int | None
    batch_ms: int
    waiting: tuple[Batch, ...]
    running: tuple[Batch, ...]
    completed: tuple[Batch, ...]
    receivers: Mapping[int, ReceiverInfo]
    completed_count: int
    """Of all batches, those that aren't retained any more too."""
    failed_count: int
    received_records: int
    processed_records: int
    delays: Delays = field(default_factory=Delays)
    """Of all batches, too."""
    input_records: Mapping[int, int] = field(default_factory=dict)
    """What each input has given to batches, of all batches."""
    failed: tuple[Batch, ...] = ()
    """Those of the completed ones that failed."""
    totals: Totals = field(default_factory=Totals)

    @cached_property
    def batches(self) -> tuple[Batch, ...]:
        """All retained batches, newest first."""
        active = _newest_first(self.active)
        if not active or not self.completed:
            return active or self.completed
        if active[-1].info.batch_ms > self.completed[0].info.batch_ms:
            return active + self.completed  # As it nearly always is.
        return _newest_first((*active, *self.completed))

    @property
    def active(self) -> tuple[Batch, ...]:
        """The batches that haven't ended."""
        return (*self.waiting, *self.running)

    def find(self, time_ms: int) -> Batch | None:
        """Return a retained batch by its time."""
        return next((e for e in self.batches if e.info.batch_ms == time_ms), None)

    def means(self) -> Means:
        """Return the means."""
        totals = self.totals
        records = totals.records + sum(e.info.record_count for e in self.active)
        return Means(
            _mean(totals.waited_ms, totals.started),
            _mean(totals.processing_ms, totals.ended),
            _mean(totals.total_ms, totals.ended),
            self._mean_rate(records),
        )

    def mean_rate_of(self, stream_id: int) -> float | None:
        """Return the mean of an input's records a second; None before there is a batch."""
        known = self.totals.input_records.get(stream_id, 0)
        active = sum(_records(each.info, stream_id) for each in self.active)
        return self._mean_rate(known + active)

    def _mean_rate(self, records: int) -> float | None:
        return _mean(records * 1000 / self.batch_ms, len(self.batches))

    def input_rates(self, stream_id: int) -> list[tuple[int, float]]:
        """Return a stream's records a second by batch time, oldest first."""
        return [
            (
                each.info.batch_ms,
                _records(each.info, stream_id) * 1000 / self.batch_ms,
            )
            for each in reversed(self.batches)
        ]

    @property
    def stream_ids(self) -> list[int]:
        """The inputs that batches or receivers have told of."""
        told = {key for each in self.active for key in each.info.inputs}
        told.update(self.totals.input_batches)
        return sorted(told | set(self.receivers))


def _records(info: BatchInfo, stream_id: int) -> int:
    found = info.inputs.get(stream_id)
    return 0 if found is None else found.record_count


def _mean(total: float, count: int) -> float | None:
    return total / count if count else None


@dataclass(slots=True)
class Sums:
    """What is known of all batches there ever were."""

    completed: int = 0
    failed: int = 0
    received_records: int = 0
    processed_records: int = 0
    delays: Delays = field(default_factory=Delays)
    input_records: dict[int, int] = field(default_factory=dict)

    def copy(self) -> "Sums":
        """Return some that don't change any more."""
        return replace(
            self, delays=self.delays.copy(), input_records=dict(self.input_records)
        )


@dataclass(slots=True, eq=False)
class StreamProgress:
    """Folds events into a picture. Thread-safe."""

    batch_ms: int
    retained_max: int = 1000
    """So many batches that have ended are remembered."""
    started_ms: int | None = None
    version: int = 0
    """Grows with each event."""
    _waiting: dict[int, Batch] = field(default_factory=dict)
    _running: dict[int, Batch] = field(default_factory=dict)
    _completed: list[Batch] = field(default_factory=list)
    """By their times."""
    _failed: list[Batch] = field(default_factory=list)
    """Those of them that failed."""
    _totals: Totals = field(default_factory=Totals)
    _picture: Picture | None = None
    """What was asked for last, until something changes."""
    _receivers: dict[int, ReceiverInfo] = field(default_factory=dict)
    _sums: Sums = field(default_factory=Sums)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def on_event(self, event: StreamingEvent) -> None:
        """Take an event in."""
        with self._changed:
            self._fold(event)
            self._picture = None
            self.version += 1
            self._changed.notify_all()

    def wait_for_news(self, known_version: int, timeout_s: float) -> bool:
        """Block until there are events beyond `known_version`; False when time runs out."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self.version > known_version, timeout_s
            )

    @property
    def sums(self) -> Sums:
        """The sums now."""
        with self._changed:
            return self._sums.copy()

    def go_on_from(self, sums: Sums) -> None:
        """Take over the sums of batches of which no event will tell."""
        with self._changed:
            self._sums = sums.copy()
            self._picture = None

    def _fold(self, event: StreamingEvent) -> None:
        match event:
            case StreamingStarted(time_ms):
                self.started_ms = time_ms
            case ReceiverStarted(info) | ReceiverError(info) | ReceiverStopped(info):
                self._receivers[info.stream_id] = info
            case BatchSubmitted(info):
                self._waiting[info.batch_ms] = Batch(info, BatchStatus.QUEUED)
            case BatchStarted(info):
                self._waiting.pop(info.batch_ms, None)
                self._running[info.batch_ms] = Batch(info, BatchStatus.PROCESSING)
                self._note_received(info)
            case BatchCompleted(info):
                self._complete(Batch(info, BatchStatus.COMPLETED))
            case of_output:
                self._note_output(of_output.info)

    def _complete(self, batch: Batch) -> None:
        time_ms = batch.info.batch_ms
        self._waiting.pop(time_ms, None)
        self._running.pop(time_ms, None)
        self._retain(batch)
        self._sums.completed += 1
        self._sums.failed += batch.failed_count > 0
        self._sums.processed_records += batch.info.record_count
        self._note_delays(batch.info)

    def _retain(self, batch: Batch) -> None:
        place = bisect_left(self._completed, batch.info.batch_ms, key=_time_of)
        if place < len(self._completed) and _time_of(self._completed[place]) == (
            batch.info.batch_ms
        ):
            self._forget(place)  # It has run again.
        self._completed.insert(place, batch)
        self._totals.count(batch.info, 1)
        if batch.failed_count:
            insort(self._failed, batch, key=_time_of)
        while len(self._completed) > self.retained_max:
            self._forget(0)

    def _forget(self, place: int) -> None:
        batch = self._completed.pop(place)
        self._totals.count(batch.info, -1)
        if batch.failed_count:
            del self._failed[bisect_left(self._failed, _time_of(batch), key=_time_of)]

    def _note_received(self, info: BatchInfo) -> None:
        self._sums.received_records += info.record_count
        records = self._sums.input_records
        for stream_id, given in info.inputs.items():
            records[stream_id] = records.get(stream_id, 0) + given.record_count

    def _note_delays(self, info: BatchInfo) -> None:
        delays = self._sums.delays
        for histogram, ms in (
            (delays.scheduling, info.scheduling_delay_ms),
            (delays.processing, info.processing_delay_ms),
            (delays.total, info.total_delay_ms),
        ):
            if ms is not None:
                histogram.add(ms)

    def _note_output(self, output: OutputOperationInfo) -> None:
        # One of a batch of which nothing was told before: the listener came later.
        batch = self._running.get(output.batch_ms)
        if batch is not None:
            outputs = {**batch.info.outputs, output.id: output}
            self._running[output.batch_ms] = replace(
                batch, info=replace(batch.info, outputs=outputs)
            )

    def picture(self) -> Picture:
        """Return all that is known now."""
        with self._changed:
            if self._picture is None:
                self._picture = self._make_picture()
            return self._picture

    def _make_picture(self) -> Picture:
        return Picture(
            self.started_ms,
            self.batch_ms,
            _newest_first(self._waiting.values()),
            _newest_first(self._running.values()),
            tuple(reversed(self._completed)),
            dict(sorted(self._receivers.items())),
            self._sums.completed,
            self._sums.failed,
            self._sums.received_records,
            self._sums.processed_records,
            self._sums.delays.copy(),
            dict(self._sums.input_records),
            tuple(reversed(self._failed)),
            self._totals.copy(),
        )


def _newest_first(batches: Iterable[Batch]) -> tuple[Batch, ...]:
    return tuple(sorted(batches, key=lambda each: -each.info.batch_ms))


def _time_of(batch: Batch) -> int:
    return batch.info.batch_ms
