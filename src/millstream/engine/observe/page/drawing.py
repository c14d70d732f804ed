"""Drawing: a job's stages and their operators as boxes and lines. A core.

Coordinates are in pixels; stages stand side by side, operators from top to bottom.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from millstream.engine.columnar.reports import StageReport, StepFate
from millstream.engine.jobs.book import StageOperator, StageRecord

BOX_WIDTH, BOX_HEIGHT = 170, 44
_GAP_X, _GAP_Y = 16, 26
_PAD, _TITLE = 14, 30
_STAGE_GAP = 44
_NAME_MAX = 22


@dataclass(frozen=True, slots=True)
class Box:
    """An operator."""

    operator: StageOperator
    x: int
    y: int
    name: str
    way: str
    """columns, rows, mixed, or nothing when its steps weren't told of."""
    reason: str


@dataclass(frozen=True, slots=True)
class Line:
    """Where records go from one operator to the next."""

    x1: int
    y1: int
    x2: int
    y2: int
    is_shuffle: bool


@dataclass(frozen=True, slots=True)
class Frame:
    """A stage."""

    stage: StageRecord
    x: int
    width: int
    height: int
    boxes: tuple[Box, ...]


@dataclass(frozen=True, slots=True)
class Drawing:
    """Stages and lines, and the size of all."""

    width: int
    height: int
    frames: tuple[Frame, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a stage: how many blocks went which way, and why by rows."""

    stage_id: int
    rdd_id: int
    name: str
    site: str
    way: str
    described: str
    processes: int


def steps_of(stage: StageRecord) -> list[Step]:
    """Return what is known of a stage's steps, in the order of their RDDs."""
    sites = {each.id: each.site for each in stage.operators}
    report = stage.report
    # Copied at once: tasks that end meanwhile add to them.
    told = [(rdd_id, fate) for (rdd_id, _), fate in list(report.steps.items())]
    told += list(report.shuffles.items())
    told.sort(key=lambda each: each[0])
    return [
        Step(
            stage.id,
            rdd_id,
            fate.name,
            sites.get(rdd_id, ""),
            way_of([fate]),
            fate.describe(),
            fate.processes,
        )
        for rdd_id, fate in told
    ]


def way_of(fates: Sequence[StepFate]) -> str:
    """Return which way steps went, in a word: columns, rows, mixed; empty if unknown."""
    columns = any(each.columns for each in fates)
    rows = any(each.rows for each in fates)
    if columns and rows:
        return "mixed"
    return "columns" if columns else "rows" if rows else ""


def draw(stages: Sequence[StageRecord]) -> Drawing:
    """Return a picture of stages, the first of them left."""
    frames: list[Frame] = []
    x = 0
    for stage in stages:
        frame = _frame(stage, x)
        frames.append(frame)
        x += frame.width + _STAGE_GAP
    height = max((frame.height for frame in frames), default=0)
    width = max(0, x - _STAGE_GAP)
    return Drawing(width, height, tuple(frames), tuple(_lines(frames)))


def _frame(stage: StageRecord, left: int) -> Frame:
    depths = _depths(stage.operators)
    levels: dict[int, list[StageOperator]] = {}
    for operator in sorted(stage.operators, key=lambda each: each.id):
        levels.setdefault(depths[operator.id], []).append(operator)
    most = max((len(level) for level in levels.values()), default=1)
    inner = most * BOX_WIDTH + (most - 1) * _GAP_X
    boxes = []
    for depth, level in levels.items():
        used = len(level) * BOX_WIDTH + (len(level) - 1) * _GAP_X
        start = left + _PAD + (inner - used) // 2
        for index, operator in enumerate(level):
            fates = _fates(stage.report, operator.id)
            reasons = "; ".join(f"{each.name}: {each.describe()}" for each in fates)
            name = operator.name
            boxes.append(
                Box(
                    operator,
                    start + index * (BOX_WIDTH + _GAP_X),
                    _TITLE + depth * (BOX_HEIGHT + _GAP_Y),
                    name if len(name) <= _NAME_MAX else f"{name[: _NAME_MAX - 1]}…",
                    way_of(fates),
                    reasons,
                )
            )
    rows = max(levels, default=0) + 1
    height = _TITLE + rows * BOX_HEIGHT + (rows - 1) * _GAP_Y + _PAD
    return Frame(stage, left, inner + 2 * _PAD, height, tuple(boxes))


def _fates(report: StageReport, rdd_id: int) -> list[StepFate]:
    found = [fate for (each, _), fate in list(report.steps.items()) if each == rdd_id]
    reduced = report.shuffles.get(rdd_id)
    return found if reduced is None else [*found, reduced]


def _depths(operators: Sequence[StageOperator]) -> dict[int, int]:
    """Return how far below the stage's sources each operator stands."""
    depths: dict[int, int] = {}
    # RDDs have greater ids than what they are made from.
    for operator in sorted(operators, key=lambda each: each.id):
        above = [depths[parent] for parent in operator.parent_ids if parent in depths]
        depths[operator.id] = max(above, default=-1) + 1
    return depths


def _lines(frames: Sequence[Frame]) -> list[Line]:
    lines: list[Line] = []
    written: dict[int, Box] = {}
    for frame in frames:
        here = {box.operator.id: box for box in frame.boxes}
        for box in frame.boxes:
            lines.extend(
                _down(here[parent_id], box)
                for parent_id in box.operator.parent_ids
                if parent_id in here
            )
            before = written.get(box.operator.id)
            if before is not None:
                lines.append(_across(before, box))
        written |= here
    return lines


def _down(above: Box, below: Box) -> Line:
    return Line(
        above.x + BOX_WIDTH // 2,
        above.y + BOX_HEIGHT,
        below.x + BOX_WIDTH // 2,
        below.y,
        is_shuffle=False,
    )


def _across(writer: Box, reader: Box) -> Line:
    return Line(
        writer.x + BOX_WIDTH,
        writer.y + BOX_HEIGHT // 2,
        reader.x,
        reader.y + BOX_HEIGHT // 2,
        is_shuffle=True,
    )
