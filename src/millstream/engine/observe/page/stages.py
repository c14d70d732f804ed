"""Stages: what the page says of one stage: its tasks summed up, on a time line, in a table."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from millstream.engine.jobs.book import TASKS_MAX, JobRecord, StageRecord
from millstream.engine.jobs.task_log import TaskRecord, TaskStatus
from millstream.engine.observe.page import words
from millstream.engine.observe.page.tables import Cell, Column, Shown, Table
from millstream.engine.observe.rest import stage_status
from millstream.engine.observe.rest_tasks import quantile

LANES_MAX = 60
_LANE_TITLE, _BAR, _BAR_GAP, _LANE_GAP = 18, 14, 3, 8
_AXIS = 20
_WIDTH_MIN = 0.15
"""No bar is narrower, in percent: else it couldn't be seen."""
_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, slots=True)
class Bar:
    """An attempt on the time line; `x` and `width` are in percent, `y` in pixels."""

    x: float
    width: float
    y: int
    status: str
    title: str


@dataclass(frozen=True, slots=True)
class Lane:
    """What one thread, worker process or executor has run."""

    name: str
    told: str
    """Its bars in words."""
    y: int
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class Tick:
    """A moment on the axis, in percent and in words."""

    x: int
    text: str
    anchor: str


@dataclass(frozen=True, slots=True)
class TimeLine:
    """When each attempt ran, and where."""

    height: int
    bar_height: int
    lanes: tuple[Lane, ...]
    ticks: tuple[Tick, ...]
    left_out: int
    """How many lanes more there are."""


@dataclass(frozen=True, slots=True)
class Spread:
    """How one measure is distributed: smallest, quartiles, largest."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StagePage:
    """One stage."""

    stage: StageRecord
    status: str
    facts: tuple[tuple[str, str], ...]
    note: str
    """What of its tasks isn't shown, and why; empty if all are."""
    spreads: tuple[Spread, ...]
    line: TimeLine
    tasks: Shown


def stage_page(
    stage: StageRecord, job: JobRecord | None, query: Mapping[str, str] | None = None
) -> StagePage:
    """Return what the page shows of a stage of `job`, which may be forgotten."""
    records = stage.tasks.records()
    status = stage_status(stage, job)
    took_ms = None if stage.ended_ms is None else stage.ended_ms - stage.submitted_ms
    failed = f" ({stage.failed_count} failed)" if stage.failed_count else ""
    facts = (
        ("Status", status),
        ("Submitted", words.moment(stage.submitted_ms, has_ms=True)),
        ("Duration", words.span(took_ms)),
        ("Tasks", f"{stage.completed_count}/{stage.task_count}{failed}"),
        ("All Tasks Together", words.short_span(stage.task_s * 1000)),
    )
    return StagePage(
        stage,
        status,
        facts,
        _note(stage, records),
        tuple(_spreads(stage, records)),
        time_line(records),
        _table(stage, records, query),
    )


def _note(stage: StageRecord, records: Sequence[TaskRecord]) -> str:
    ended = stage.tasks.ended_count
    shown = sum(each.status is not TaskStatus.RUNNING for each in records)
    if shown >= ended:
        return ""
    if not shown:
        return (
            f"The times of {words.counted(ended, 'attempt')} are forgotten: those of the "
            f"newest {TASKS_MAX:,} are kept."
        )
    return (
        f"{shown:,} of {ended:,} attempts are shown: some that stand for all, the slowest, "
        "and the newest of those that didn't succeed."
    )


# The summary.


def _spreads(stage: StageRecord, records: Sequence[TaskRecord]) -> Iterable[Spread]:
    sample = [e for e in stage.tasks.sample() if e.status is TaskStatus.SUCCESS]
    done = [each for each in records if each.status is TaskStatus.SUCCESS]
    measures: tuple[
        tuple[str, Callable[[TaskRecord], float | None], Callable[[float], str]], ...
    ] = (
        ("Duration", lambda each: each.took_ms, words.short_span),
        ("Records In", lambda each: each.traffic.rows_in, words.count),
        ("Size In", lambda each: each.traffic.bytes_in, words.size),
        ("Records Out", lambda each: each.traffic.rows_out, words.count),
        ("Size Out", lambda each: each.traffic.bytes_out, words.size),
    )
    for name, value, told in measures:
        middle = sorted(known for e in sample if (known := value(e)) is not None)
        ends = sorted(known for e in done if (known := value(e)) is not None)
        if middle and ends:
            inner = (quantile(middle, share) for share in _SHARES[1:-1])
            yield Spread(name, tuple(map(told, (ends[0], *inner, ends[-1]))))


# The time line.


def time_line(records: Sequence[TaskRecord]) -> TimeLine:
    """Return bars by where they ran; those at the same time are below each other."""
    lanes: dict[str, list[TaskRecord]] = {}
    for each in sorted(records, key=lambda each: each.begun_ms):
        lanes.setdefault(each.where, []).append(each)
    begun_ms = min((each.begun_ms for each in records), default=0.0)
    ended_ms = max((each.begun_ms + each.took_ms for each in records), default=0.0)
    span_ms = max(ended_ms - begun_ms, 1e-3)
    drawn = []
    y = _AXIS
    for name in sorted(lanes, key=_natural)[:LANES_MAX]:
        lane, depth = _lane(name, lanes[name], y, begun_ms, span_ms)
        drawn.append(lane)
        y += _LANE_TITLE + depth * (_BAR + _BAR_GAP) + _LANE_GAP
    ticks = tuple(
        Tick(
            round(share * 100),
            words.short_span(share * span_ms) if share else "0",
            "start" if not share else "end" if share == 1 else "middle",
        )
        for share in (0.0, 0.5, 1.0)
    )
    return TimeLine(y, _BAR, tuple(drawn), ticks, max(0, len(lanes) - LANES_MAX))


def _lane(
    name: str,
    records: Sequence[TaskRecord],
    y: int,
    begun_ms: float,
    span_ms: float,
) -> tuple[Lane, int]:
    """Return a lane, and how many bars stand below each other at most."""
    free_ms: list[float] = []
    """When each row is free again."""
    bars = []
    for each in records:
        row = next((at for at, ms in enumerate(free_ms) if ms <= each.begun_ms), None)
        if row is None:
            row = len(free_ms)
            free_ms.append(0.0)
        free_ms[row] = each.begun_ms + each.took_ms
        width = max(each.took_ms / span_ms * 100, _WIDTH_MIN)
        x = min((each.begun_ms - begun_ms) / span_ms * 100, 100 - width)
        top = y + _LANE_TITLE + row * (_BAR + _BAR_GAP)
        title = (
            f"partition {each.partition}, attempt {each.attempt}: {_told(each)}, "
            f"{words.short_span(each.took_ms)}"
        )
        bars.append(
            Bar(round(x, 3), round(width, 3), top, each.status.value.lower(), title)
        )
    counts = Counter(_told(each) for each in records)
    told = ", ".join(f"{count} {what}" for what, count in counts.items())
    longest = words.short_span(max(each.took_ms for each in records))
    return Lane(name, f"{told}; longest {longest}", y, tuple(bars)), len(free_ms)


def _natural(name: str) -> list[tuple[int, str]]:
    """Return what sorts names by the numbers in them: worker 9 before worker 10."""
    parts = re.split(r"(\d+)", name)
    return [(int(e), "") if e.isdigit() else (-1, e) for e in parts]


_TOLD = {
    TaskStatus.RUNNING: "running",
    TaskStatus.SUCCESS: "succeeded",
    TaskStatus.FAILED: "failed",
    TaskStatus.KILLED: "given up",
}


def _told(record: TaskRecord) -> str:
    return _TOLD[record.status]


# The table.


@dataclass(frozen=True, slots=True)
class _Row:
    task: TaskRecord
    after_ms: float
    """When it began, from the stage's submission."""
    is_retried: bool

    @property
    def result(self) -> str:
        """What came of it."""
        more = ", tried again" if self.is_retried else ""
        return _told(self.task) + more + (" (second copy)" if self.task.is_copy else "")


def _table(
    stage: StageRecord,
    records: Sequence[TaskRecord],
    query: Mapping[str, str] | None,
) -> Shown:
    newest = {each.partition: each.attempt for each in records}
    rows = [
        _Row(
            each,
            each.begun_ms - stage.submitted_ms,
            each.status is TaskStatus.FAILED and each.attempt < newest[each.partition],
        )
        for each in records
    ]
    table = Table("tasks", _COLUMNS, lambda each: bool(each.task.error))
    return table.show(f"Tasks ({len(rows):,})", rows, query)


def _number(
    title: str,
    value: Callable[[_Row], float | None],
    told: Callable[[float], str],
) -> Column[_Row]:
    def cell(row: _Row) -> Cell:
        known = value(row)
        return Cell("-" if known is None else told(known), kind="number")

    return Column(title, cell, value, "number")


_COLUMNS: tuple[Column[_Row], ...] = (
    _number("Partition", lambda e: e.task.partition, str),
    _number("Attempt", lambda e: e.task.attempt, str),
    Column("Ran On", lambda e: Cell(e.task.where), lambda e: _natural(e.task.where)),
    Column(
        "Result",
        lambda e: Cell(
            e.result, kind="failed" if e.task.status is TaskStatus.FAILED else ""
        ),
        lambda e: e.result,
    ),
    _number("Began After", lambda e: e.after_ms, words.short_span),
    _number("Duration", lambda e: e.task.took_ms, words.short_span),
    _number("Records In", lambda e: e.task.traffic.rows_in, words.count),
    _number("Size In", lambda e: e.task.traffic.bytes_in, words.size),
    _number("Records Out", lambda e: e.task.traffic.rows_out, words.count),
    _number("Size Out", lambda e: e.task.traffic.bytes_out, words.size),
    Column("Error", lambda e: Cell(e.task.error, kind="error"), kind="error"),
)
