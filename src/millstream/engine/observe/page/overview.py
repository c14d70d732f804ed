"""Overview: what the page says of a stream as a whole, from its picture and its gauges."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from millstream.engine.base.time import pretty_duration
from millstream.engine.observe.application import Application
from millstream.engine.observe.health import INTERVALS_MAX, behind_ms
from millstream.engine.observe.page import words
from millstream.engine.observe.page.failures import last_line
from millstream.engine.observe.page.tables import Cell, Column, Shown, Table
from millstream.engine.observe.progress import Batch, BatchStatus, Picture
from millstream.engine.streams.events import BatchInfo, ReceiverInfo

_BACK_PRESSURE = "spark.streaming.backpressure.enabled"
_RATE_MAX = "spark.streaming.receiver.maxRate"
_WAITING_MAX = "spark.millstream.waitingBatches.max"


@dataclass(frozen=True, slots=True)
class Tile:
    """One number that says how the stream is."""

    id: str
    label: str
    text: str
    note: str = ""
    level: str = ""
    """good, warn or bad where the number says so."""


@dataclass(frozen=True, slots=True)
class Input:
    """One input, and its receiver if it has one."""

    id: int
    name: str
    status: str
    place: str
    error_time: str
    error: str
    rate: str
    limit: str
    lag: str


@dataclass(frozen=True, slots=True)
class Overview:
    """What the streaming page shows at one moment."""

    interval: str
    started: str
    texts: Mapping[str, str]
    """What changes, by the id of the element that shows it."""
    tiles: tuple[Tile, ...]
    inputs: tuple[Input, ...]
    gauges: tuple[tuple[str, str], ...]


def overview(
    application: Application,
    picture: Picture,
    now_ms: int,
) -> Overview:
    """Return what the page shows of a stream now, without its batches."""
    gauges = application.gauges()
    tiles = tuple(_tiles(application, picture, gauges, now_ms))
    inputs = tuple(_inputs(application, picture, gauges))
    named = tuple((name, _gauge(name, value)) for name, value in sorted(gauges.items()))
    started_ms = picture.started_ms
    return Overview(
        pretty_duration(picture.batch_ms),
        "-" if started_ms is None else words.moment(started_ms),
        _texts(application, picture, now_ms, tiles, inputs, named),
        tiles,
        inputs,
        named,
    )


def _texts(
    application: Application,
    picture: Picture,
    now_ms: int,
    tiles: tuple[Tile, ...],
    inputs: tuple[Input, ...],
    gauges: tuple[tuple[str, str], ...],
) -> dict[str, str]:
    means = picture.means()
    active = sum(each.active for each in picture.receivers.values())
    receivers = application.receiver_count()
    end_ms = application.ended_ms or now_ms
    elapsed_ms = 0 if picture.started_ms is None else end_ms - picture.started_ms
    completed = len(picture.completed)
    texts = {
        "elapsed": pretty_duration(max(0, elapsed_ms) // 1000 * 1000)
        if elapsed_ms >= 1000
        else "less than a second",
        "completed-count": words.counted(picture.completed_count, "completed batch"),
        "record-count": words.counted(picture.processed_records, "record"),
        "timelines-title": (
            f"Timelines (Last {len(picture.batches)} batches, "
            f"{len(picture.waiting) + len(picture.running)} active, {completed} completed)"
        ),
        "receivers-active": f"Receivers: {active} / {receivers} active"
        if receivers
        else "",
        "all-stream-records-mean": _rate(means.input_rate),
        "scheduling-delay-mean": f"Avg: {words.span(means.scheduling_delay_ms)}",
        "processing-time-mean": f"Avg: {words.span(means.processing_ms)}",
        "total-delay-mean": f"Avg: {words.span(means.total_delay_ms)}",
    }
    for tile in tiles:
        texts[f"tile-{tile.id}"] = tile.text
        texts[f"tile-{tile.id}-note"] = tile.note
    for each in inputs:
        for name in ("status", "place", "error_time", "error", "rate", "limit", "lag"):
            texts[f"input-{each.id}-{name}"] = getattr(each, name)
    texts |= {f"gauge-{name}": text for name, text in gauges}
    return texts


def _rate(rate: float | None) -> str:
    return "Avg: -" if rate is None else f"Avg: {rate:,.2f} records/sec"


# Tiles.


def _tiles(
    application: Application,
    picture: Picture,
    gauges: Mapping[str, float],
    now_ms: int,
) -> Iterator[Tile]:
    held = int(gauges.get("millstream.heldBackBatches", 0))
    yield _behind(application, picture, held, now_ms)
    waiting, running = len(picture.waiting), len(picture.running)
    yield Tile(
        "waiting",
        "Waiting batches",
        words.count(waiting),
        f"{running} running",
        "warn" if waiting > 1 else "",
    )
    yield Tile(
        "failed",
        "Failed batches",
        words.count(picture.failed_count),
        f"of {words.counted(picture.completed_count, 'completed batch')}",
        "bad" if picture.failed_count else "good",
    )
    yield Tile(
        "held",
        "Held-back batches",
        words.count(held),
        f"as many wait as {_WAITING_MAX} allows: receivers wait, too"
        if held
        else "none",
        "warn" if held else "",
    )
    yield _limit(application, gauges)
    yield from _tiles_of_durable(gauges)
    yield Tile(
        "blocks",
        "Blocks kept",
        words.size(gauges.get("millstream.blocks.memoryBytes", 0)),
        f"{words.size(gauges.get('millstream.blocks.diskBytes', 0))} on disk",
        "bad" if gauges.get("millstream.blocks.evicted") else "",
    )


def _behind(application: Application, picture: Picture, held: int, now_ms: int) -> Tile:
    """Return how long the oldest batch that isn't done has been waited for."""
    unfinished = (*picture.waiting, *picture.running)
    if application.ended_ms is not None:
        left = f"{words.counted(len(unfinished), 'batch')} left" if unfinished else ""
        return Tile("behind", "How far behind", "ended", left)
    if not unfinished and not held:
        return Tile(
            "behind", "How far behind now", "up to date", "nothing waits", "good"
        )
    late_ms = behind_ms(picture, held, now_ms)
    level = "good" if late_ms <= picture.batch_ms else "warn"
    return Tile(
        "behind",
        "How far behind now",
        words.span(late_ms),
        "age of the oldest unfinished batch",
        "bad" if late_ms > INTERVALS_MAX * picture.batch_ms else level,
    )


def _limit(application: Application, gauges: Mapping[str, float]) -> Tile:
    settings = application.facts.environment.get("Settings", {})
    limits = [
        value
        for name, value in gauges.items()
        if name.endswith(".rateLimit") and value >= 0
    ]
    adapts = settings.get(_BACK_PRESSURE, "false").lower() == "true"
    if adapts:
        why = "back-pressure: as fast as batches are processed"
    elif limits:
        is_setting = settings.get(_RATE_MAX) == f"{min(limits):.0f}"
        why = _RATE_MAX if is_setting else "set on this page"
    else:
        why = "back-pressure is off"
    text = f"{words.count(sum(limits))} records/s" if limits else "no limit"
    return Tile("limit", "Input limit", text, why)


def _tiles_of_durable(gauges: Mapping[str, float]) -> Iterator[Tile]:
    if "millstream.state.partitions" in gauges:
        rows = gauges.get("millstream.state.rows")
        partitions = int(gauges["millstream.state.partitions"])
        spilled = int(gauges.get("millstream.state.spilledPartitions", 0))
        yield Tile(
            "state",
            "State",
            words.size(gauges.get("millstream.state.memoryBytes", 0)),
            ("" if rows is None else f"{words.counted(int(rows), 'row')}, ")
            + words.counted(partitions, "partition")
            + (f", {spilled} in files" if spilled else ""),
        )
    if gauges.get("millstream.checkpoint.written") or gauges.get(
        "millstream.checkpoint.failed"
    ):
        failed = int(gauges.get("millstream.checkpoint.failed", 0))
        yield Tile(
            "checkpoint",
            "Checkpoint",
            words.span(gauges.get("millstream.checkpoint.lastWriteMs")),
            words.size(gauges.get("millstream.checkpoint.lastBytes", 0))
            + (f", {failed} failed" if failed else " written last"),
            "bad" if failed else "",
        )
    written, failed = (
        int(gauges.get(f"millstream.wal.{each}", 0)) for each in ("writes", "failed")
    )
    if written or failed:
        yield Tile(
            "wal",
            "Write-ahead log",
            words.span(gauges.get("millstream.wal.lastWriteMs")),
            f"{words.counted(written, 'write')}, "
            + (
                f"{failed} failed"
                if failed
                else words.size(gauges.get("millstream.wal.bytes", 0))
            ),
            "bad" if failed else "",
        )
    if "millstream.gc.lastPauseMs" in gauges:
        yield Tile(
            "collector",
            "Garbage collector",
            words.span(gauges["millstream.gc.lastPauseMs"]),
            f"longest {words.span(gauges.get('millstream.gc.longestPauseMs'))}",
        )


def _gauge(name: str, value: float) -> str:
    if name.endswith("Bytes"):
        return words.size(value)
    if name.endswith("Time") and value > 0:
        return words.moment(int(value), has_ms=True)
    is_span = name.endswith(("Ms", "Delay", "processingTime"))
    return words.span(value) if is_span and value >= 0 else words.count(value)


# Inputs.


def _inputs(
    application: Application, picture: Picture, gauges: Mapping[str, float]
) -> Iterator[Input]:
    for stream_id, name in input_names(application, picture).items():
        receiver = picture.receivers.get(stream_id)
        limit = max(
            gauges.get(f"millstream.{each}.{stream_id}.rateLimit", -1)
            for each in ("receiver", "input")
        )
        yield Input(
            stream_id,
            name,
            _status(receiver),
            _place(receiver),
            _error_time(receiver),
            _error(receiver),
            _rate(picture.mean_rate_of(stream_id)),
            "-" if limit < 0 else f"{words.count(limit)} records/s",
            _lag(stream_id, gauges),
        )


def _lag(stream_id: int, gauges: Mapping[str, float]) -> str:
    """Return how far an input is behind; "-" where its source never tells."""
    records = gauges.get(f"millstream.input.{stream_id}.lag")
    lag_ms = gauges.get(f"millstream.input.{stream_id}.lagMs")
    known = lag_ms if records is None else records
    if known is None:
        return "-"
    if known < 0:
        return "unknown"
    return words.span(known) if records is None else words.counted(int(known), "record")


def input_names(application: Application, picture: Picture) -> dict[int, str]:
    """Return what inputs are called, by their ids: receivers by their own names."""
    names = application.input_names()
    known = {
        each: names.get(each, f"Stream-{each}")
        for each in sorted({*picture.stream_ids, *names})
    }
    return known | {key: info.name for key, info in picture.receivers.items()}


def _status(receiver: ReceiverInfo | None) -> str:
    if receiver is None:
        return "-"
    return "ACTIVE" if receiver.active else "INACTIVE"


def _place(receiver: ReceiverInfo | None) -> str:
    if receiver is None:
        return "-"
    known = [each for each in (receiver.executor_id, receiver.location) if each]
    return " / ".join(known) or "-"


def _error_time(receiver: ReceiverInfo | None) -> str:
    if receiver is None or receiver.last_error_time_ms < 0:
        return "-"
    return words.moment(receiver.last_error_time_ms)


def _error(receiver: ReceiverInfo | None) -> str:
    if receiver is None or not (receiver.last_error_message or receiver.last_error):
        return "-"
    return words.cut(f"{receiver.last_error_message} - {receiver.last_error}")


# Batches.


@dataclass(frozen=True, slots=True)
class BatchList:
    """The batches of one table."""

    table: Table[Batch]
    title: str
    batches: tuple[Batch, ...]
    grows: bool
    """Whether rows only come at its top, as of batches that have ended."""


def batch_lists(picture: Picture) -> tuple[BatchList, ...]:
    """Return what the tables of batches list: those that failed come first."""
    failed, running, waiting = picture.failed, picture.running, picture.waiting
    kept, every = len(picture.completed), picture.completed_count
    batch_ms = picture.batch_ms
    return (
        BatchList(
            _finished_table("failedBatches", batch_ms),
            f"Failed Batches ({len(failed)})",
            failed,
            grows=True,
        ),
        BatchList(
            _active_table("runningBatches", batch_ms),
            f"Running Batches ({len(running)})",
            running,
            grows=False,
        ),
        BatchList(
            _active_table("waitingBatches", batch_ms),
            f"Waiting Batches ({len(waiting)})",
            waiting,
            grows=False,
        ),
        BatchList(
            _finished_table("completedBatches", batch_ms),
            f"Completed Batches (last {kept} out of {every})",
            picture.completed,
            grows=True,
        ),
    )


def tables(
    picture: Picture, query: Mapping[str, str] | None = None
) -> tuple[Shown, ...]:
    """Return the tables of batches; `query` pages and sorts them."""
    return tuple(
        each.table.show(each.title, each.batches, query)
        for each in batch_lists(picture)
    )


def _columns(batch_ms: int) -> tuple[Column[Batch], ...]:
    def time_of(batch: Batch) -> Cell:
        time_ms = batch.info.batch_ms
        link = f"/streaming/batch/?id={time_ms}"
        return Cell(words.batch_moment(time_ms, batch_ms), link)

    def records(batch: Batch) -> Cell:
        return Cell(words.counted(batch.info.record_count, "record"), kind="number")

    return (
        Column("Batch Time", time_of, lambda each: each.info.batch_ms),
        Column("Records", records, lambda each: each.info.record_count, "number"),
        _span_column("Scheduling Delay", lambda each: each.scheduling_delay_ms),
        _span_column("Processing Time", lambda each: each.processing_delay_ms),
    )


def _span_column(title: str, of: Callable[[BatchInfo], int | None]) -> Column[Batch]:
    return Column(
        title,
        lambda each: Cell(words.span(of(each.info)), kind="number"),
        lambda each: of(each.info),
        "number",
    )


def _finished_table(table_id: str, batch_ms: int) -> Table[Batch]:
    return Table(
        table_id,
        (
            *_columns(batch_ms),
            _span_column("Total Delay", lambda each: each.total_delay_ms),
            Column(
                "Output Ops: Succeeded/Total",
                _outputs,
                lambda each: each.failed_count,
                "number",
            ),
            Column("Error", _failure, kind="error"),
        ),
        lambda each: each.failed_count > 0,
    )


def _active_table(table_id: str, batch_ms: int) -> Table[Batch]:
    return Table(
        table_id,
        (
            *_columns(batch_ms),
            Column("Output Ops", _outputs, kind="number"),
            Column(
                "Status",
                lambda each: Cell(
                    "processing" if each.status is BatchStatus.PROCESSING else "queued"
                ),
            ),
            Column("Error", _failure, kind="error"),
        ),
        lambda each: each.failed_count > 0,
    )


def _outputs(batch: Batch) -> Cell:
    failed = f" ({batch.failed_count} failed)" if batch.failed_count else ""
    text = f"{batch.completed_count}/{len(batch.outputs)}{failed}"
    return Cell(text, kind="failed" if failed else "number")


def _failure(batch: Batch) -> Cell:
    reason = batch.first_failure
    if reason is None:
        return Cell("", kind="error")
    return Cell(words.cut(last_line(reason)), kind="error", details=reason)
