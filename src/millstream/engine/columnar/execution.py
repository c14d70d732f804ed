"""Execution: which way each block of a partition goes, and what comes out at the end.

A block goes by columns if its steps are known there, it is large enough to be worth it,
and no guard fails; else row by row. What comes out is the same.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar

from millstream.engine.base.errors import InternalError
from millstream.engine.columnar.blocks import Columns, Frozen, Taken, Texts, joined
from millstream.engine.columnar.reports import StageReport
from millstream.engine.columnar.runs import Run
from millstream.engine.plan import fusion
from millstream.engine.plan.partitions import FrozenText
from millstream.engine.plan.steps import Group, Map, Merge, Reduce, Step

if TYPE_CHECKING:
    from millstream.engine.columnar.grouping import Grouped, Grouping
    from millstream.engine.columnar.pipeline import Lowered, Pipeline, Rejected

_TakenT = TypeVar("_TakenT", bound=Taken)
_RowsT = TypeVar("_RowsT", list[Any], Iterator[Any])

# Measured with word counts: below, starting a query costs more than it saves.
ROWS_MIN = 2000
_LINE_BYTES = 64
_PARTS_ROWS_MAX = 2_000_000
_TOGETHER_BYTES = 34 << 20


class Mode(Enum):
    """What `spark.millstream.columnar` says."""

    ON = "on"
    OFF = "off"
    VERIFY = "verify"


class DifferenceError(InternalError):
    """Columns and rows gave different results; found by `verify` only."""


class Columnar:
    """The rule by which blocks go one way or the other, for all tasks of a context."""

    def __init__(self, mode: Mode = Mode.ON, rows_min: int = ROWS_MIN) -> None:
        """Take blocks of at least `rows_min` records by columns, unless it is off."""
        self.mode = mode
        self.rows_min = rows_min
        # Said of every step of every small batch.
        self._too_small = f"a block of fewer than {rows_min} records"

    @cached_property
    def pipeline(self) -> "Pipeline":
        """What takes blocks through; made, and Polars imported, when first needed."""
        from millstream.engine.columnar.pipeline import Pipeline  # noqa: PLC0415

        return Pipeline(
            takes_rows_always=self.rows_min == 0, is_strict=self.mode is Mode.VERIFY
        )

    def blocks(self, run: Run, report: StageReport) -> Iterator[Frozen | list[Any]]:
        """Yield what each block becomes after the steps: columns, or a list of rows."""
        for block in self._seen(run, run.blocks):
            yield self._block(run, block, report) if run.steps else block

    def pieces(
        self, run: Run, report: StageReport
    ) -> Iterator[Columns | Iterable[Any]]:
        """Yield what each block becomes: columns, or rows that are computed one by one.

        For who may stop, or fail, at a record: later ones aren't computed then.
        """
        for block in self._seen(run, run.blocks):
            if not run.steps:
                yield block if isinstance(block, Columns) else block.thaw()
                continue
            made = self._by_columns(run, block, report, fusion.iterate)
            if made is None:
                yield fusion.iterate(block.thaw(), run.steps, run.index)
            else:
                yield made

    def iterate(self, run: Run, report: StageReport) -> Iterator[Any]:
        """Yield the records that come out; of a block that goes by rows, one by one."""
        for piece in self.pieces(run, report):
            yield from piece.thaw() if isinstance(piece, Columns) else piece

    def count(self, run: Run, report: StageReport) -> int:
        """Return how many records come out."""
        blocks = self._seen(run, self._put_together(run))
        return sum(self._count(run, block, report) for block in blocks)

    def combine(
        self, run: Run, aggregator: Reduce | Merge, key: bytes, report: StageReport
    ) -> Columns | dict[Any, Any]:
        """Return the pairs reduced by key, as columns if all went so.

        `key` identifies the aggregator over jobs.
        """
        if self.mode is Mode.VERIFY:
            run.blocks = list(run.blocks)
        parts: list[Any] = []
        grouping: Grouping | None = None
        blocks = self._seen(run, self._put_together(run))
        for block in blocks:
            made = self._start(run, block, aggregator, key, report)
            if isinstance(made, tuple) and (
                grouping is None or grouping.shape == made[1].shape
            ):
                part, grouping = made
                parts.append(part)
                self._compact(parts, grouping, report)
            elif not parts and not isinstance(made, tuple) and made.is_final:
                # It isn't this block's fault: none would go by columns.
                rows = _rows(chain((block,), blocks))
                return fusion.combine(rows, run.steps, aggregator, run.index)
            else:
                parts.append(block)
        if grouping is None:
            return fusion.combine(_rows(parts), run.steps, aggregator, run.index)
        combined = self._finished(run, parts, grouping, aggregator, report)
        if self.mode is Mode.VERIFY:
            rows = _rows(run.blocks)
            expected = fusion.combine(rows, run.steps, aggregator, run.index)
            verify_combined(combined, expected, _names(run.steps))
        return combined

    def merge(
        self,
        buckets: Sequence[Frozen],
        merge: Callable[[Any, Any], Any],
        key: bytes,
        report: StageReport,
    ) -> Columns | dict[Any, Any]:
        """Return what was reduced in parts, merged: the reduce side of a shuffle."""
        columns = [each for each in buckets if isinstance(each, Columns)]
        found: Columns | dict[Any, Any] | None = None
        count = sum(each.count for each in buckets)
        if columns and len(columns) == len(buckets) and self.is_worth_it(count):
            found = self.pipeline.merged(columns, merge, key, report)
        if found is None or self.mode is Mode.VERIFY:
            expected = fusion.combine(_rows(buckets), (), Reduce(merge), 0)
            if found is None:
                return expected
            verify_combined(found, expected, "reduce by key")
        return found

    def group(self, buckets: Sequence[Frozen], report: StageReport) -> Columns | None:
        """Return pairs with the values of a key in a list; None: by rows."""
        columns = [each for each in buckets if isinstance(each, Columns)]
        count = sum(each.count for each in buckets)
        if len(columns) < len(buckets) or not self.is_worth_it(count):
            return None
        found = self.pipeline.grouped(columns, report)
        if found is not None and self.mode is Mode.VERIFY:
            expected = fusion.combine(_rows(buckets), (), Group(), 0)
            verify_combined(found, expected, "groupByKey")
        return found

    def total(self, run: Run, report: StageReport) -> Any:
        """Return the sum of all records that come out; 0 of nothing."""
        made = list(self.pieces(run, report))
        columns = joined(made)
        if columns is not None and self.is_worth_it(columns.count):
            found = self.pipeline.total(columns)
            if found is not None:
                if self.mode is Mode.VERIFY:
                    verify([found], [sum(columns.thaw())], "sum")
                return found
        rows = (e.thaw() if isinstance(e, Columns) else e for e in made)
        return sum(chain.from_iterable(rows))

    def verify(
        self, found: Columns, expected: Callable[[], Iterable[Any]], what: str
    ) -> None:
        """Compare with what rows give, if that is asked for.

        Raises:
            DifferenceError: They differ.
        """
        if self.mode is Mode.VERIFY:
            verify(found.thaw(), list(expected()), what)

    def is_worth_it(self, count: int) -> bool:
        """Say whether so many records may go by columns at all."""
        return self.mode is not Mode.OFF and count >= max(1, self.rows_min)

    def _put_together(self, run: Run) -> Iterable[Taken]:
        """Return a run's blocks, several of text as one where that is known to pay.

        Where guards are looked at, a frame is made halfway: better one that is small.
        """
        is_made = "pipeline" in vars(self)
        return (
            _together(run.blocks)
            if is_made and self.pipeline.is_plain(run)
            else run.blocks
        )

    def _seen(self, run: Run, blocks: Iterable[_TakenT]) -> Iterator[_TakenT]:
        """Yield blocks; after a large one, small ones go by columns as it does.

        The rest of a file, say: it is cheaper than to put rows and columns together.
        """
        for block in blocks:
            run.is_large = run.is_large or self._is_block_worth_it(block)
            yield block

    def _is_block_worth_it(self, block: Taken) -> bool:
        if isinstance(block, FrozenText | Texts):
            # By its length: the lines are only counted where somebody asks for it.
            texts = block.blocks if isinstance(block, Texts) else (block,)
            length = sum(len(each.data) for each in texts)
            return self.mode is not Mode.OFF and length >= self.rows_min * _LINE_BYTES
        return self.is_worth_it(block.count)

    # One block.

    def _block(
        self, run: Run, block: Frozen, report: StageReport
    ) -> Columns | list[Any]:
        made = self._by_columns(run, block, report, fusion.to_list)
        if made is None:
            return fusion.to_list(block.thaw(), run.steps, run.index)
        return made

    def _by_columns(
        self,
        run: Run,
        block: Frozen,
        report: StageReport,
        by_rows: Callable[[Iterable[Any], Sequence[Step], int], _RowsT],
    ) -> Columns | _RowsT | None:
        """Return what a block becomes, its first steps by columns; None: all by rows.

        The steps left over are applied by `by_rows`.
        """
        lowered = self._lower(run, block, report, is_reduced=False, is_whole=False)
        if lowered is None or lowered.is_rejected:
            return None
        made = self.pipeline.columns_of(run, lowered, report)
        if made is None:
            return None
        count = lowered.plan.lowered_count
        if self.mode is Mode.VERIFY:
            expected = fusion.to_list(block.thaw(), run.steps[:count], run.index)
            verify(made.thaw(), expected, _names(run.steps[:count]))
        left = run.steps[count:]
        return by_rows(made.thaw(), left, run.index) if left else made

    def _count(self, run: Run, block: Taken, report: StageReport) -> int:
        if not run.steps:
            return block.count
        lowered = self._lower(run, block, report, is_reduced=True, is_whole=True)
        counted: int | None = None
        if lowered is not None and not lowered.is_rejected:
            counted = self.pipeline.count_of(run, lowered, report)
        if counted is None or self.mode is Mode.VERIFY:
            expected = fusion.count(block.thaw(), run.steps, run.index)
            if counted is None:
                return expected
            verify([counted], [expected], "count")
        return counted

    def _start(
        self,
        run: Run,
        block: Taken,
        aggregator: Reduce | Merge,
        key: bytes,
        report: StageReport,
    ) -> "tuple[Grouped, Grouping] | Rejected | _Small":
        """Return the pairs of a block, ready to be reduced, or that rows must do it."""
        lowered = self._lower(run, block, report, is_reduced=True, is_whole=True)
        if lowered is None:
            return _Small()
        if lowered.is_rejected:
            return lowered
        return self.pipeline.start(run, lowered, aggregator, key, report)

    def _lower(
        self,
        run: Run,
        block: Taken,
        report: StageReport,
        *,
        is_reduced: bool,
        is_whole: bool,
    ) -> "Lowered | Rejected | None":
        if run.is_large and self.mode is not Mode.OFF:
            return self.pipeline.lower(
                run, block, report, is_reduced=is_reduced, is_whole=is_whole
            )
        if self.mode is not Mode.OFF:
            for step, node in run.origins():
                report.note(node, step.name, "rows", self._too_small)
        return None

    # Parts.

    def _compact(
        self, parts: list[Any], grouping: "Grouping", report: StageReport
    ) -> None:
        """Reduce what was reduced apart, before it takes too much memory."""
        reduced = [each for each in parts if getattr(each, "is_reduced", False)]
        if len(reduced) < max(2, len(parts)):
            return
        if sum(each.frame.height for each in reduced) <= _PARTS_ROWS_MAX:
            return
        made = self.pipeline.finish(grouping, reduced, report)
        if made is not None:
            parts[:] = [grouping.part_of(made)]

    def _finished(
        self,
        run: Run,
        parts: list[Any],
        grouping: "Grouping",
        aggregator: Reduce | Merge,
        report: StageReport,
    ) -> Columns | dict[Any, Any]:
        if all(hasattr(each, "is_reduced") for each in parts):
            made = self.pipeline.finish(grouping, parts, report)
            if made is not None:
                return made

        # Some blocks by columns, some by rows: combiners of both, in their order.
        def pairs() -> Iterator[Any]:
            for part in parts:
                if hasattr(part, "is_reduced"):
                    yield from grouping.columns_of(part).thaw()
                    continue
                steps: list[Step] = list(run.steps)
                if isinstance(aggregator, Merge):
                    steps.append(Map(_Created(aggregator.create)))
                yield from fusion.iterate(part.thaw(), steps, run.index)

        merge = (
            aggregator.merge
            if isinstance(aggregator, Reduce)
            else aggregator.merge_combiners
        )
        return fusion.combine(pairs(), (), Reduce(merge), run.index)


@dataclass(frozen=True, slots=True)
class _Small:
    """A block that isn't worth it."""

    is_final: bool = False


@dataclass(frozen=True, slots=True)
class _Created:
    """A pair with the first combiner in the place of its value."""

    create: Callable[[Any], Any]

    def __call__(self, pair: Any) -> tuple[Any, Any]:
        key, value = pair
        return key, self.create(value)


def _together(blocks: Iterable[Frozen]) -> Iterator[Taken]:
    """Yield blocks, those of text several at a time where there are many.

    What a block is reduced to has to be reduced again with the others: the fewer the
    better. Where records come out they stay apart, for what is made of them takes memory.
    """
    held: list[FrozenText] = []
    size = 0
    for block in blocks:
        is_text = isinstance(block, FrozenText)
        if held and not (is_text and size + len(block.data) <= _TOGETHER_BYTES):  # type: ignore[union-attr]
            yield _as_one(held)
            held, size = [], 0
        if isinstance(block, FrozenText):
            held.append(block)
            size += len(block.data)
        else:
            yield block
    if held:
        yield _as_one(held)


def _as_one(texts: list[FrozenText]) -> Taken:
    return texts[0] if len(texts) == 1 else Texts(tuple(texts))


def _rows(blocks: Iterable[Taken]) -> Iterator[Any]:
    return chain.from_iterable(block.thaw() for block in blocks)


def _names(steps: Sequence[Step]) -> str:
    return ", ".join(step.name for step in steps)


# Comparing, for `verify`.


def verify_combined(
    found: Columns | dict[Any, Any], expected: dict[Any, Any], what: str
) -> None:
    """Compare reduced pairs, their order included.

    Raises:
        DifferenceError: They differ.
    """
    rows = found.thaw() if isinstance(found, Columns) else list(found.items())
    verify(rows, list(expected.items()), f"{what}, by key")


def verify(found: Sequence[Any], expected: Sequence[Any], what: str) -> None:
    """Compare records, types and order included.

    Raises:
        DifferenceError: They differ; names the first record that does.
    """
    if len(found) != len(expected):
        msg = (
            f"columns gave {len(found)} records and rows {len(expected)} after {what}: "
            "please report it"
        )
        raise DifferenceError(msg)
    for position, (a, b) in enumerate(zip(found, expected, strict=True)):
        if not _is_same(a, b):
            msg = (
                f"columns gave {a!r} and rows {b!r} as record {position} after {what}: "
                "please report it"
            )
            raise DifferenceError(msg)


def _is_same(a: Any, b: Any) -> bool:
    if type(a) is not type(b):
        return False
    if getattr(a, "wraps_list", False):
        return _is_same(list(a), list(b))
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(map(_is_same, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(map(_is_same, a.values(), b.values()))
    if isinstance(a, float):
        return repr(a) == repr(b)
    return bool(a == b)
