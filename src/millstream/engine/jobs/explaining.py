"""Explaining: which steps of an RDD's lineage go by columns, which by rows, and why.

Of what has run it says what happened; of what hasn't, what its functions and the types of
its sources let expect.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from millstream.engine.columnar.blocks import Columns, is_pair
from millstream.engine.columnar.execution import Mode
from millstream.engine.columnar.reports import StageReport
from millstream.engine.columnar.shapes import TEXT, Shape, TupleOf, infer_shape
from millstream.engine.jobs.stages import Stage
from millstream.engine.plan.nodes import (
    AlignedUnion,
    Cartesian,
    Coalesced,
    Pipeline,
    RddNode,
    Shuffled,
    Source,
    StoredBlocks,
    Union,
    Zipped,
    ancestors,
)
from millstream.engine.plan.partitions import FrozenRows, FrozenText
from millstream.engine.plan.steps import Aggregator, Combine, Group

if TYPE_CHECKING:
    from millstream.engine.jobs.driver import Driver

_SAMPLE_ROWS = 100
_log = logging.getLogger(__name__)

_UNKNOWN = "unknown until it runs"
_OBJECTS = "Python objects"


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is expected of an RDD: the shape of its records, and its way in words."""

    shape: Shape | None
    way: str


def explain(target: RddNode, driver: "Driver") -> str:
    """Return a line an RDD, from `target` back to its sources; `*` is where data moves."""
    forecasts = _forecasts(target, driver)
    return "\n".join(_lines(target, forecasts, driver.book.reports()))


def expects_rows(stage: Stage, driver: "Driver") -> bool:
    """Say whether any of what a stage does is expected to go by rows."""
    forecasts = _forecasts(stage.node, driver)
    op = stage.node.op
    is_reduced = (
        not stage.is_result
        and isinstance(op, Shuffled)
        and op.map_side
        and op.aggregator is not None
    )
    by_rows = ("rows", _UNKNOWN) if is_reduced else ("rows", _UNKNOWN, _OBJECTS)
    return any(forecasts[each.id].way.startswith(by_rows) for each in stage.members)


def _lines(
    target: RddNode, forecasts: dict[int, Forecast], fates: StageReport
) -> Iterator[str]:
    waiting: list[tuple[RddNode, int]] = [(target, 0)]
    seen: set[int] = set()
    while waiting:
        node, depth = waiting.pop()
        if node.id in seen:
            continue
        seen.add(node.id)
        is_shuffle = isinstance(node.op, Shuffled)
        way = " ".join(_happened(node, fates)) or forecasts[node.id].way
        mark = "*" if is_shuffle else " "
        yield f"{'  ' * depth}{mark} {_title(node)}: {way}"
        deeper = depth + 1 if is_shuffle else depth
        waiting.extend((parent, deeper) for parent in reversed(node.parents()))


def _title(node: RddNode) -> str:
    name = node.title()
    where = node.call_site
    return f"{name} ({where})" if where and name not in where else where or name


def _happened(node: RddNode, fates: StageReport) -> Iterator[str]:
    names: list[str] = []
    if isinstance(node.op, Pipeline):
        names = [step.name for step in node.op.steps]
    elif isinstance(node.op, Zipped):
        names = [node.op.name]
    found = [fates.steps.get((node.id, name)) for name in names]
    yield from (fate.describe() for fate in found if fate is not None)
    fate = fates.shuffles.get(node.id)
    if fate is not None:
        yield fate.describe()


def _forecasts(target: RddNode, driver: "Driver") -> dict[int, Forecast]:
    found: dict[int, Forecast] = {}
    for node in reversed(list(ancestors(target))):
        parents = [found[each.id] for each in node.parents() if each.id in found]
        if driver.columnar.mode is Mode.OFF:
            found[node.id] = Forecast(None, "rows: spark.millstream.columnar is off")
        elif len(parents) < len(node.parents()):
            found[node.id] = Forecast(None, _UNKNOWN)
        else:
            found[node.id] = _forecast(node, parents, driver)
    return found


def _forecast(node: RddNode, parents: Sequence[Forecast], driver: "Driver") -> Forecast:
    op = node.op
    match op:
        case Source(partitions):
            return _of_data(next(iter(partitions), None))
        case StoredBlocks(block_ids):
            block = driver.blocks.get_frozen(block_ids[0]) if block_ids else None
            return _of_data(block)
        case Union() | AlignedUnion() | Coalesced():
            known = {each.shape for each in parents}
            return Forecast(known.pop() if len(known) == 1 else None, "as its parents")
        case Zipped() | Cartesian():
            return Forecast(None, _UNKNOWN)
        case Pipeline() | Shuffled():
            (parent,) = parents
            if parent.shape is None:
                after_rows = parent.way.startswith("rows")
                return Forecast(
                    None, "rows: what it reads is rows" if after_rows else _UNKNOWN
                )
            if isinstance(op, Pipeline):
                return _of_steps(op, parent.shape)
            return _of_shuffle(op, parent.shape)


def _of_data(data: Any) -> Forecast:
    if isinstance(data, FrozenText) or (
        getattr(data, "is_text", False) and hasattr(data, "text_blocks")
    ):
        return Forecast(TEXT, "text, as columns")
    if isinstance(data, Columns):
        return Forecast(data.shape, "columns")
    if isinstance(data, FrozenRows):
        shape = infer_shape(list(data.thaw()[:_SAMPLE_ROWS]))
        return Forecast(shape, _OBJECTS)
    return Forecast(None, _UNKNOWN)


def _of_steps(op: Pipeline, shape: Shape) -> Forecast:
    from millstream.engine.columnar.stages import plan_stage  # noqa: PLC0415

    if len(op.steps) == 1 and isinstance(op.steps[0], Combine):
        return _of_reduction(op.steps[0].aggregator, shape)
    plan = plan_stage(op.steps, shape, on_slip=_slipped)
    if plan.lowered_count == len(op.steps):
        return Forecast(plan.shape, "columns")
    return Forecast(None, f"rows: {plan.refusal}")


def _slipped(error: Exception) -> str:
    """Take an error of ours: what can't be planned is expected to go by rows."""
    _log.error("an error of Millstream's own: please report it", exc_info=error)
    return f"an error of ours: {error!r}"


def _of_shuffle(op: Shuffled, shape: Shape) -> Forecast:
    if op.aggregator is None:
        return Forecast(shape, "columns" if is_pair(shape) else "rows: no pairs")
    return _of_reduction(op.aggregator, shape)


def _of_reduction(aggregator: Aggregator, shape: Shape) -> Forecast:
    from millstream.engine.columnar.grouping import (  # noqa: PLC0415
        grouped_shape,
        pair_shapes,
    )
    from millstream.engine.columnar.reductions import recognise  # noqa: PLC0415
    from millstream.engine.columnar.values import Refusal  # noqa: PLC0415

    try:
        if isinstance(aggregator, Group):
            return Forecast(grouped_shape(shape), "columns")
        key, value = pair_shapes(shape)
        reduction = recognise(aggregator, value)
    except Refusal as refused:
        return Forecast(None, f"rows: {refused}")
    return Forecast(TupleOf((key, reduction.shape)), "columns")
