"""Zipping: the engine's kernels that read several parents side by side, in columns."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, TypeAlias, assert_never

import polars as pl

from millstream.engine.columnar import cogrouping, folding, joins, states
from millstream.engine.columnar.blocks import Columns, Frozen, rows_of
from millstream.engine.columnar.calling import Caller
from millstream.engine.columnar.execution import Columnar, Mode, verify, verify_combined
from millstream.engine.columnar.gathering import gathered
from millstream.engine.columnar.reports import StageReport
from millstream.engine.columnar.values import Refusal
from millstream.engine.plan import fusion
from millstream.engine.plan.kernels import CoGroup, Join, UpdateState
from millstream.engine.plan.partitions import freeze
from millstream.engine.plan.steps import Reduce

Blocks: TypeAlias = Sequence[Frozen | list[Any]]
_SAMPLE_ROWS = 100


def zipped(
    columnar: Columnar,
    kernel: CoGroup | Join | UpdateState,
    index: int,
    inputs: Sequence[Blocks],
    report: StageReport,
    node: int,
) -> Frozen | None:
    """Return what a kernel makes of its inputs, or None: the row path must do it."""
    name = _name_of(kernel)
    try:
        if isinstance(kernel, UpdateState):
            made = _updated(columnar, kernel, index, inputs)
        else:
            made = _side_by_side(columnar, kernel, index, inputs)
    except Refusal as refused:
        report.note(node, name, "rows", str(refused))
        return None
    except pl.exceptions.PolarsError as error:
        report.note(node, name, "rows", f"Polars refused it: {error}"[:200])
        return None
    report.note(node, name, "columns", "")
    return freeze([]) if made is None else made


def _count(blocks: Blocks) -> int:
    return sum(len(e) if isinstance(e, list) else e.count for e in blocks)


def _rows(blocks: Blocks) -> list[Any]:
    return [row for block in blocks for row in rows_of(block)]


def _name_of(kernel: CoGroup | Join | UpdateState) -> str:
    match kernel:
        case CoGroup():
            return "cogroup"
        case Join(kind):
            return kind.value
        case UpdateState():
            return "updateStateByKey"
        case _:
            assert_never(kernel)


def _side_by_side(
    columnar: Columnar, kernel: CoGroup | Join, index: int, inputs: Sequence[Blocks]
) -> Columns | None:
    parents = list(map(gathered, inputs))
    if isinstance(kernel, CoGroup):
        made = cogrouping.cogrouped(parents)
    else:
        left, right = parents
        made = joins.join(kernel.kind, left, right)
    if columnar.mode is Mode.VERIFY:
        rows = kernel(index, list(map(_rows, inputs)))
        found = [] if made is None else made.thaw()
        verify(found, list(rows), _name_of(kernel))
    return made


def _updated(
    columnar: Columnar, kernel: UpdateState, index: int, inputs: Sequence[Blocks]
) -> Columns | None:
    caller = Caller(columnar.pipeline, kernel.function)
    old, new = inputs
    _try_out(old, caller)
    made = states.update(gathered(old), gathered(new), caller)
    if columnar.mode is Mode.VERIFY:
        _verify_update(kernel, index, inputs, made)
    if kernel.stage is not None:
        count = 0 if made.state is None else made.state.count
        kernel.stage(index, made.changed, made.gone, count)
    return made.state


def _try_out(old: Blocks, caller: Caller) -> None:
    """Try the function on a few states that are rows, before all of them are made columns.

    Raises:
        Refusal: It can't be done.
    """
    for block in old:
        if not isinstance(block, Columns) and _count([block]):
            few = list(islice(rows_of(block), _SAMPLE_ROWS))
            states.update(gathered([few]), None, caller)
            return


def _verify_update(
    kernel: UpdateState, index: int, inputs: Sequence[Blocks], made: states.NextState
) -> None:
    staged: list[tuple[list[Any], list[Any], int]] = []
    rows = replace(kernel, stage=lambda _i, *changes: staged.append(changes))
    expected = list(rows(index, list(map(_rows, inputs))))
    found = [] if made.state is None else made.state.thaw()
    verify(found, expected, "updateStateByKey")
    if made.state is None or states.is_exact(made.state.shape):
        changed, gone, _ = staged[0]
        verify(made.changed, changed, "updateStateByKey, changes")
        verify(made.gone, gone, "updateStateByKey, keys gone")


def folded(
    columnar: Columnar,
    blocks: Sequence[Frozen],
    merge: Callable[[Any, Any], Any],
    key: bytes,
    report: StageReport,
) -> Columns | None:
    """Return reduced pairs of several blocks reduced to one, or None: not this way.

    `key` identifies the function over jobs.
    """
    count = sum(each.count for each in blocks)
    is_any = any(isinstance(each, Columns) for each in blocks)
    if not is_any or not columnar.is_worth_it(count):
        return None
    try:
        parts = [each for each in map(_alone, blocks) if each is not None]
        known = (
            None if not parts else columnar.pipeline.merging(merge, key, parts[0].shape)
        )
        grouping = None if isinstance(known, str) else known
        made = folding.folded(parts, Caller(columnar.pipeline, merge), grouping)
    except (Refusal, pl.exceptions.PolarsError):
        return None  # Grouping may know it still.
    report.note_ending("columns", "")
    if columnar.mode is Mode.VERIFY:
        expected = fusion.combine(_rows(blocks), (), Reduce(merge), 0)
        verify_combined(made, expected, "reduceByKey")
    return made


def _alone(block: Frozen) -> Columns | None:
    return gathered([block])
