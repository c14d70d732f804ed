"""Measures: what can be measured of an application, each with its unit and its meaning.

One list, of which Prometheus, OpenTelemetry and the page about monitoring are made. Times
and durations are in ms, as Spark's gauges have them.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from millstream.engine.observe.application import Application
from millstream.engine.observe.histograms import Histogram
from millstream.engine.observe.progress import Picture


class Kind(Enum):
    """How a value changes."""

    GAUGE = "gauge"
    """Up and down."""
    COUNTER = "counter"
    """Only up, from 0 at the program's start."""
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Measure:
    """One thing that can be measured."""

    gauge: str
    """What `StreamingContext.metrics` calls it; `*` stands for the id of an input."""
    name: str
    """What Prometheus and OpenTelemetry call it, where a counter ends in `_total`."""
    kind: Kind
    unit: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Sample:
    """The value of a measure now; `stream_id` is the input that it is of, if any."""

    measure: Measure
    value: float | Histogram
    stream_id: int | None = None


_GAUGE, _COUNTER = Kind.GAUGE, Kind.COUNTER
_AT = "ms since 1970"


def _spark(
    short: str, unit: str, meaning: str, kind: Kind = _GAUGE, suffix: str = ""
) -> Measure:
    gauge = f"streaming.{short}"
    return Measure(gauge, f"spark_streaming_{short}{suffix}", kind, unit, meaning)


def _ours(
    gauge: str, unit: str, meaning: str, kind: Kind = _GAUGE, name: str | None = None
) -> Measure:
    whole = f"millstream.{gauge}"
    return Measure(whole, name or _snake(whole), kind, unit, meaning)


def _snake(gauge: str) -> str:
    """Return a name of ours as Prometheus has it.

    >>> _snake("millstream.receiver.*.rateLimit")
    'millstream_receiver_rate_limit'
    """
    words = gauge.replace(".*", "").replace(".", "_")
    return re.sub(r"(?<=[a-z])([A-Z])", r"_\1", words).lower()


_LAST = "of the newest completed batch; -1 before there is one"
_NEWEST = "of the newest batch; -1 before that is known"

MEASURES: tuple[Measure, ...] = (
    _spark("receivers", "receivers", "receivers that have ever started"),
    _spark("totalCompletedBatches", "batches", "batches that have ended", _COUNTER),
    _spark(
        "totalReceivedRecords",
        "records",
        "records of batches that have begun",
        _COUNTER,
    ),
    _spark(
        "totalProcessedRecords",
        "records",
        "records of batches that have ended, failed ones too",
        _COUNTER,
    ),
    _spark("unprocessedBatches", "batches", "batches that wait or run"),
    _spark("waitingBatches", "batches", "batches that wait"),
    _spark("runningBatches", "batches", "batches that run"),
    _spark(
        "retainedCompletedBatches",
        "batches",
        "ended batches that are remembered; see spark.streaming.ui.retainedBatches",
    ),
    _spark(
        "lastCompletedBatch_submissionTime", _AT, f"submission {_LAST}", suffix="_ms"
    ),
    _spark(
        "lastCompletedBatch_processingStartTime", _AT, f"start {_LAST}", suffix="_ms"
    ),
    _spark("lastCompletedBatch_processingEndTime", _AT, f"end {_LAST}", suffix="_ms"),
    _spark(
        "lastCompletedBatch_processingDelay",
        "ms",
        f"processing time {_LAST}",
        suffix="_ms",
    ),
    _spark(
        "lastCompletedBatch_schedulingDelay",
        "ms",
        f"from submission to start, {_LAST}",
        suffix="_ms",
    ),
    _spark(
        "lastCompletedBatch_totalDelay",
        "ms",
        f"from submission to end, {_LAST}",
        suffix="_ms",
    ),
    _spark(
        "lastReceivedBatch_submissionTime", _AT, f"submission {_NEWEST}", suffix="_ms"
    ),
    _spark(
        "lastReceivedBatch_processingStartTime", _AT, f"start {_NEWEST}", suffix="_ms"
    ),
    _spark("lastReceivedBatch_processingEndTime", _AT, f"end {_NEWEST}", suffix="_ms"),
    _spark(
        "lastReceivedBatch_records",
        "records",
        "records of the newest batch",
    ),
    _ours("stream.active", "0 or 1", "whether the stream runs"),
    _ours(
        "stream.stopping",
        "0 or 1",
        "whether the stream was told to stop; it stays 1",
    ),
    _ours("stream.startedMs", _AT, "when the stream was started; -1 before that"),
    _ours("batch.intervalMs", "ms", "how often there is a batch"),
    _ours("failedBatches", "batches", "batches of which an output failed", _COUNTER),
    _ours(
        "heldBackBatches",
        "batches",
        "batches whose time has come and that aren't made yet, as too many wait; "
        "receivers wait with them",
    ),
    _ours(
        "generator.busyMs",
        "ms",
        "how long the thread that makes batches has been at what it does now; 0 when it "
        "waits, -1 when it is gone",
    ),
    _ours("receivers.active", "receivers", "receivers that run"),
    _ours(
        "receiver.*.rateLimit",
        "records/s",
        "what a receiver may store; -1 is no limit",
    ),
    _ours(
        "input.*.rateLimit",
        "records/s",
        "what back-pressure lets a direct stream (Kafka, Kinesis, Redis, NATS) read; -1 is "
        "no limit",
    ),
    _ours(
        "input.*.lag",
        "records",
        "what a source has beyond the newest batch (Kafka, Redis, NATS), or beyond what a "
        "group has acknowledged; -1: not known now",
    ),
    _ours(
        "input.*.lagMs",
        "ms",
        "how far the newest batch is behind the newest record, of sources that count in "
        "time: Kinesis; -1: not known now",
    ),
    _ours("input.*.records", "records", "records of batches that have begun", _COUNTER),
    _ours("checkpoint.written", "checkpoints", "checkpoints written", _COUNTER),
    _ours(
        "checkpoint.joined",
        "checkpoints",
        "checkpoints that were written as part of a newer one, as the disk was busy",
        _COUNTER,
    ),
    _ours(
        "checkpoint.failed",
        "checkpoints",
        "checkpoints that couldn't be written",
        _COUNTER,
    ),
    _ours(
        "checkpoint.lastCollectMs", "ms", "how long the newest took to be put together"
    ),
    _ours("checkpoint.lastWriteMs", "ms", "how long the newest took to be on disk"),
    _ours("checkpoint.lastBytes", "bytes", "size of the newest, state not included"),
    _ours(
        "wal.writes",
        "writes",
        "records, or groups of them, in write-ahead logs",
        _COUNTER,
    ),
    _ours(
        "wal.failed",
        "writes",
        "writes that the disk refused; they are tried again",
        _COUNTER,
    ),
    _ours("wal.bytes", "bytes", "what was written to write-ahead logs", _COUNTER),
    _ours("wal.lastWriteMs", "ms", "how long the newest write took"),
    _ours(
        "wal.totalWriteMs",
        "ms",
        "how long all writes took",
        _COUNTER,
        "millstream_wal_write_ms",
    ),
    _ours("state.rows", "rows", "keys that have state, as of the newest batch"),
    _ours("state.memoryBytes", "bytes", "state in memory, an estimate"),
    _ours(
        "state.partitions", "partitions", "partitions of state, in memory or in files"
    ),
    _ours(
        "state.spilledPartitions", "partitions", "those in files, as memory is short"
    ),
    _ours(
        "gc.collections",
        "collections",
        "runs of Python's collector between batches",
        _COUNTER,
    ),
    _ours("gc.lastPauseMs", "ms", "how long the newest took"),
    _ours("gc.longestPauseMs", "ms", "how long the longest took"),
    _ours(
        "gc.totalPauseMs", "ms", "how long all took", _COUNTER, "millstream_gc_pause_ms"
    ),
    _ours(
        "blocks.memoryBytes",
        "bytes",
        "kept partitions, shuffles and received blocks in memory",
    ),
    _ours("blocks.diskBytes", "bytes", "those on disk"),
    _ours(
        "blocks.evicted",
        "blocks",
        "blocks that were dropped, as memory was short",
        _COUNTER,
    ),
    _ours(
        "blocks.spilled",
        "blocks",
        "blocks that went to disk, as memory was short",
        _COUNTER,
    ),
    _ours("jobs.running", "jobs", "jobs that run"),
    _ours("jobs.succeeded", "jobs", "jobs that have succeeded", _COUNTER),
    _ours("jobs.failed", "jobs", "jobs that have failed or were cancelled", _COUNTER),
    _ours("tasks.running", "tasks", "tasks that run"),
    _ours(
        "tasks.completed", "tasks", "tasks that have succeeded, of ended jobs", _COUNTER
    ),
    _ours(
        "tasks.failed",
        "tasks",
        "tries of tasks that have failed, of ended jobs",
        _COUNTER,
    ),
    _ours(
        "batch.schedulingDelay.ms",
        "ms",
        "how long batches' jobs waited",
        Kind.HISTOGRAM,
    ),
    _ours(
        "batch.processingTime.ms", "ms", "how long batches' jobs took", Kind.HISTOGRAM
    ),
    _ours("batch.totalDelay.ms", "ms", "both together", Kind.HISTOGRAM),
)
_BY_GAUGE = {each.gauge: each for each in MEASURES}
_ACTIVE = "millstream.stream.active"
_OF_PROGRAM = (
    _ACTIVE,
    "millstream.stream.stopping",
    "millstream.blocks.",
    "millstream.jobs.",
    "millstream.tasks.",
)
_OF_INPUT = re.compile(r"\.(\d+)(?=\.)")


def samples(application: Application) -> Iterator[Sample]:
    """Yield the values of all that can be measured of an application now.

    A gauge that isn't in the list, of a source of its own say, comes too. Gauges of a
    stream that has stopped don't: what they told isn't so any more. Its counters stay.
    """
    values = dict(application.gauges())
    picture = application.picture()
    has_stopped = picture is not None and values.get(_ACTIVE) == 0
    if picture is not None:
        values |= of_picture(picture)
        yield from _of_histograms(picture)
    for gauge, value in values.items():
        found = _OF_INPUT.search(gauge)
        general = gauge if found is None else _OF_INPUT.sub(".*", gauge, 1)
        measure = _BY_GAUGE.get(general) or _unknown(general)
        if has_stopped and measure.kind is _GAUGE and not _is_lasting(gauge):
            continue
        yield Sample(
            measure,
            value,
            None if found is None else int(found[1]),
        )


def _is_lasting(gauge: str) -> bool:
    """Say whether a gauge is of the program, or tells itself that its stream is over."""
    return gauge.startswith(_OF_PROGRAM)


def _unknown(gauge: str) -> Measure:
    name = re.sub(r"\W", "_", _snake(gauge))
    return Measure(gauge, name, Kind.GAUGE, "", "not described")


def of_picture(picture: Picture) -> dict[str, float]:
    """Return the gauges that a stream's events tell."""
    known: dict[str, float] = {
        "streaming.retainedCompletedBatches": len(picture.completed),
        "millstream.stream.startedMs": _or_none(picture.started_ms),
        "millstream.batch.intervalMs": picture.batch_ms,
        "millstream.failedBatches": picture.failed_count,
        "millstream.receivers.active": sum(
            each.active for each in picture.receivers.values()
        ),
    }
    for stream_id, records in picture.input_records.items():
        known[f"millstream.input.{stream_id}.records"] = records
    return known | _of_newest(picture)


def _of_newest(picture: Picture) -> dict[str, float]:
    batches = picture.batches
    newest = batches[0].info if batches else None
    values = (
        ("submissionTime", None if newest is None else newest.submission_ms),
        ("processingStartTime", None if newest is None else newest.processing_start_ms),
        ("processingEndTime", None if newest is None else newest.processing_end_ms),
    )
    known = {
        f"streaming.lastReceivedBatch_{name}": float(_or_none(value))
        for name, value in values
    }
    records = 0 if newest is None else newest.record_count
    return known | {"streaming.lastReceivedBatch_records": records}


def _or_none(value: int | None) -> int:
    return -1 if value is None else value


def _of_histograms(picture: Picture) -> Iterator[Sample]:
    delays = picture.delays
    for name, histogram in (
        ("schedulingDelay", delays.scheduling),
        ("processingTime", delays.processing),
        ("totalDelay", delays.total),
    ):
        yield Sample(_BY_GAUGE[f"millstream.batch.{name}.ms"], histogram)
