"""Pipeline: blocks on their way through steps by columns, and the plans they follow.

Plans are made once for some functions and a shape of records, and kept: a batch pays for
none that an earlier one has made.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

from millstream.engine.columnar.blocks import Columns, Taken, Texts
from millstream.engine.columnar.fields import (
    FieldsPlan,
    frame_of_fields,
    plan_fields,
)
from millstream.engine.columnar.grouping import (
    Grouped,
    Grouping,
    grouped_values,
    pair_shapes,
)
from millstream.engine.columnar.prefilter import lines_with
from millstream.engine.columnar.reductions import recognise
from millstream.engine.columnar.reports import StageReport
from millstream.engine.columnar.runs import Run
from millstream.engine.columnar.shapes import (
    TEXT,
    Kind,
    Plain,
    Shape,
    infer_shape,
    range_to_frame,
    to_frame,
)
from millstream.engine.columnar.stages import (
    Check,
    GuardFailed,
    StagePlan,
    height_of,
    plan_stage,
    projected,
)
from millstream.engine.columnar.text import frame_of_text
from millstream.engine.columnar.values import Refusal
from millstream.engine.plan.partitions import FrozenRows, FrozenText
from millstream.engine.plan.steps import Aggregator, Filter, MapValues, Reduce

_log = logging.getLogger(__name__)

_PLANS_MAX = 1024
_FIELDS = "fields"
_NOT_AS_FIELDS = "lines that aren't read as fields"
_SAMPLE_ROWS = 100
_SUM_MAX = 2.0**62  # Below it, a sum of floats is one of ints that fits 64 bits.
_AFTER = "a step before it takes rows"
_BEFORE = "a step after it takes rows"


@dataclass(frozen=True, slots=True)
class Rejected:
    """A block that goes by rows; with `is_final` all blocks of its kind do."""

    is_final: bool
    is_rejected: Literal[True] = True


@dataclass(frozen=True, slots=True)
class Lowered:
    """A block that has gone through its first steps by columns."""

    query: pl.LazyFrame
    plan: StagePlan
    is_keyed: bool
    """Whether no two records that come out are pairs of one key."""
    is_rejected: Literal[False] = False


class Pipeline:
    """Takes blocks through steps, and reduces what comes out. Thread-safe."""

    def __init__(self, *, takes_rows_always: bool, is_strict: bool) -> None:
        """With `is_strict` a slip of ours in a translation is an error, else a refusal.

        Objects become columns if that saves time, or with `takes_rows_always`.
        """
        self._takes_rows_always = takes_rows_always
        self._is_strict = is_strict
        self._lock = threading.Lock()
        self._kept: OrderedDict[Any, Any] = OrderedDict()

    # Blocks.

    def lower(
        self,
        run: Run,
        block: Taken,
        report: StageReport,
        *,
        is_reduced: bool,
        is_whole: bool,
    ) -> Lowered | Rejected:
        """Take a block through its steps, as many of them as are known in columns.

        `is_reduced` says that few records come out in the end, which makes it worth while
        to make columns of objects; with `is_whole` all steps must be known, or none is
        taken.
        """
        found = self._lower_fields(run, block)
        if found is not None:
            return found
        columns = self._columns_of(run, block, is_reduced=is_reduced)
        if isinstance(columns, str):
            note_rows(run, report, columns)
            return Rejected(is_final=True)
        needed = len(run.steps) if is_whole else 1
        plan = self.plan_of(run, columns)
        if plan.lowered_count < needed:
            self._note_refusal(run, report, plan)
            return Rejected(is_final=True)
        query = self._run(plan, columns.frame)
        if isinstance(query, GuardFailed) and query.is_hope:
            plan = self._careful_plan_of(run, columns)
            if plan.lowered_count < needed:  # It sees other data, and may know fewer.
                self._note_refusal(run, report, plan)
                return Rejected(is_final=True)
            query = self._run(plan, columns.frame)
        if isinstance(query, GuardFailed):
            self._note_failure(run, report, plan, query)
            return Rejected(is_final=False)
        if isinstance(block, FrozenText):
            self._plan_fields(run, block, plan)
        taken = run.steps[: plan.lowered_count]
        keeps_keys = all(isinstance(each, MapValues | Filter) for each in taken)
        return Lowered(query, plan, columns.is_keyed and keeps_keys)

    def _plan_fields(self, run: Run, block: FrozenText, plan: StagePlan) -> None:
        """Look, once, whether later blocks may be read as fields."""
        steps = run.steps[: plan.lowered_count]
        self.kept(
            (run.key, _FIELDS),
            lambda: plan_fields(steps, block.data, plan, self._slip) or _NOT_AS_FIELDS,
        )

    def _lower_fields(self, run: Run, block: Taken) -> Lowered | None:
        """Take a block of lines that can be read as fields; None: it isn't known to be one."""
        fields = self._kept.get((run.key, _FIELDS))
        if not isinstance(fields, FieldsPlan) or not isinstance(block, FrozenText):
            return None
        if not fields.is_current:
            return None
        frame = frame_of_fields(block.data, fields)
        if frame is not None:
            query = self._run(fields.stage, frame)
            if not isinstance(query, GuardFailed):
                return Lowered(query, fields.stage, is_keyed=False)
        with self._lock:  # Others will be like it.
            self._kept[run.key, _FIELDS] = _NOT_AS_FIELDS
        return None

    def _run(self, plan: StagePlan, frame: pl.DataFrame) -> pl.LazyFrame | GuardFailed:
        try:
            return plan.run(frame)
        except Exception as error:
            # An operation met, before anybody looked, what a guard would have found.
            return GuardFailed(0, _refused(error))

    def columns_of(
        self, run: Run, lowered: Lowered, report: StageReport
    ) -> Columns | None:
        """Return the records that came out, or None: by rows."""
        plan = lowered.plan
        try:
            frame = projected(lowered.query, plan.value)
            made = Columns(frame, plan.shape, lowered.is_keyed)
        except Exception as error:
            self._note_failure(run, report, plan, GuardFailed(0, _refused(error)))
            return None
        self._note_columns(run, report, plan)
        return made

    def count_of(self, run: Run, lowered: Lowered, report: StageReport) -> int | None:
        """Return how many records came out, or None: by rows."""
        try:
            counted = height_of(lowered.query)
        except Exception as error:
            failed = GuardFailed(0, _refused(error))
            self._note_failure(run, report, lowered.plan, failed)
            return None
        self._note_columns(run, report, lowered.plan)
        return counted

    def _columns_of(self, run: Run, block: Taken, *, is_reduced: bool) -> Columns | str:
        """Return a block as columns, or why that isn't worth it or possible."""
        match block:
            case Columns():
                return block
            case FrozenText():
                return self._columns_of_text(run, (block,))
            case Texts(blocks):
                return self._columns_of_text(run, blocks)
            case FrozenRows():
                # Objects that exist already: only a reduction saves more than it costs
                # to make columns of them.
                if not is_reduced and not self._takes_rows_always:
                    return "the records are Python objects"
                return self._columns_of_rows(run, block)

    def _columns_of_text(self, run: Run, blocks: Sequence[FrozenText]) -> Columns | str:
        known: StagePlan | None = self._kept.get((run.key, TEXT))
        if known is not None and run.steps and not known.lowered_count:
            return known.refusal
        texts = [each.data for each in blocks]
        if known is not None and known.needle is not None:
            texts = [lines_with(data, known.needle) for data in texts]
        frames = [frame_of_text(data) for data in texts]
        return Columns(frames[0] if len(frames) == 1 else pl.concat(frames), TEXT)

    def _columns_of_rows(self, run: Run, block: FrozenRows) -> Columns | str:
        rows = block.thaw()
        few = list(rows[:_SAMPLE_ROWS])
        guess = infer_shape(few)
        if guess is None:
            return "the records have no one plain type"
        sample = to_frame(few, guess)
        if sample is not None and run.steps:
            plan = self.plan_of(run, Columns(sample, guess))
            if not plan.lowered_count:
                return plan.refusal
        shape = guess
        if isinstance(rows, range):
            frame = range_to_frame(rows)
        else:
            known = guess if len(few) == len(rows) else infer_shape(rows)
            if known is None:
                return "the records have no one plain type"
            shape, frame = known, to_frame(rows, known)
        if frame is None:
            return "an int of more than 64 bits, or a text that isn't Unicode"
        return Columns(frame, shape)

    # Reducing.

    def start(
        self,
        run: Run,
        lowered: Lowered,
        aggregator: Aggregator,
        key: bytes,
        report: StageReport,
    ) -> tuple[Grouped, Grouping] | Rejected:
        """Return the pairs of a block, ready to be reduced by key."""
        plan = lowered.plan
        grouping = self.kept(
            ("combine", run.key, key, plan.given),
            lambda: self._grouping_of(aggregator, plan.shape),
        )
        if isinstance(grouping, str):
            report.note_ending("rows", grouping)
            return Rejected(is_final=True)
        try:
            part = grouping.start(lowered.query, plan.value)
        except Refusal as refused:
            report.note_ending("rows", str(refused))
            return Rejected(is_final=False)
        except Exception as error:
            self._note_failure(run, report, plan, GuardFailed(0, _refused(error)))
            return Rejected(is_final=False)
        self._note_columns(run, report, plan)
        report.note_ending("columns", "")
        return part, grouping

    def finish(
        self, grouping: Grouping, parts: Sequence[Grouped], report: StageReport
    ) -> Columns | None:
        """Return all parts reduced, or None: rows must do it."""
        try:
            frame = grouping.finish(parts)
        except Refusal as refused:
            report.note_ending("rows", str(refused))
            return None
        return Columns(frame, grouping.shape, is_keyed=True)

    def merged(
        self,
        buckets: Sequence[Columns],
        merge: Callable[[Any, Any], Any],
        key: bytes,
        report: StageReport,
    ) -> Columns | None:
        """Return reduced pairs of several map tasks merged, or None: by rows."""
        filled = [each for each in buckets if each.count] or buckets[:1]
        shape = filled[0].shape
        if any(each.shape != shape for each in filled):
            report.note_ending("rows", "blocks of different types")
            return None
        grouping = self.merging(merge, key, shape)
        if isinstance(grouping, str):
            report.note_ending("rows", grouping)
            return None
        parts = [
            Grouped(each.frame.rename(grouping.names), is_reduced=True)
            for each in filled
        ]
        made = self.finish(grouping, parts, report)
        if made is not None:
            report.note_ending("columns", "")
        return made

    def merging(
        self, merge: Callable[[Any, Any], Any], key: bytes, shape: Shape
    ) -> Grouping | str:
        """Return how reduced pairs of a shape are merged, or why it isn't known.

        `key` identifies the function over jobs.
        """
        made: Grouping | str = self.kept(
            ("merge", key, shape), lambda: self._grouping_of(Reduce(merge), shape)
        )
        return made

    def grouped(
        self, buckets: Sequence[Columns], report: StageReport
    ) -> Columns | None:
        """Return pairs with the values of a key in a list, or None: by rows."""
        filled = [each for each in buckets if each.count] or buckets[:1]
        shape = filled[0].shape
        try:
            if any(each.shape != shape for each in filled):
                msg = "blocks of different types"
                raise Refusal(msg)
            made = grouped_values([each.frame for each in filled], shape)
        except Refusal as refused:
            report.note_ending("rows", str(refused))
            return None
        report.note_ending("columns", "")
        return made

    def total(self, columns: Columns) -> int | None:
        """Return the sum of ints of 64 bits; None: by rows."""
        if columns.shape != Plain(Kind.INT):
            return None
        ints = pl.col(columns.frame.columns[0])
        total, size = columns.frame.select(
            ints.sum().alias("total"),
            ints.cast(pl.Float64).abs().sum().alias("size"),
        ).row(0)
        return int(total) if size < _SUM_MAX else None

    def _grouping_of(self, aggregator: Aggregator, shape: Shape) -> Grouping | str:
        try:
            key, value = pair_shapes(shape)
            made = Grouping(key, recognise(aggregator, value))
        except Refusal as refused:
            return str(refused)
        except Exception as error:
            return self._slip(error)
        return made if made.names else "nothing varies from record to record"

    # Plans.

    def plan_of(self, run: Run, columns: Columns) -> StagePlan:
        """Return the plan of a run's steps for blocks like this one."""
        made: StagePlan = self.kept(
            (run.key, columns.shape),
            lambda: plan_stage(
                run.steps,
                columns.shape,
                columns.frame,
                on_slip=self._slip,
                is_hopeful=True,
            ),
        )
        return made

    def _careful_plan_of(self, run: Run, columns: Columns) -> StagePlan:
        """Return a plan for blocks with odd records, and keep it: more will come."""
        made = plan_stage(run.steps, columns.shape, columns.frame, on_slip=self._slip)
        with self._lock:
            self._kept[run.key, columns.shape] = made
        return made

    def is_plain(self, run: Run) -> bool:
        """Say whether lines are known to go through a run's steps without a guard."""
        plan: StagePlan | None = self._kept.get((run.key, TEXT))
        return plan is not None and not any(
            isinstance(operation, Check) for _, operation in plan.operations
        )

    def kept(self, key: Any, make: Callable[[], Any]) -> Any:
        """Return what was made for `key`, if what was folded in is as it was."""
        with self._lock:
            found = self._kept.get(key)
            if found is not None and getattr(found, "is_current", True):
                self._kept.move_to_end(key)
                return found
        made = make()
        with self._lock:
            self._kept[key] = made
            if len(self._kept) > _PLANS_MAX:
                self._kept.popitem(last=False)
        return made

    def _slip(self, error: Exception) -> str:
        """Take an error of ours: rows can still do it, and the log tells."""
        if self._is_strict:
            raise error
        _log.warning(
            "a function couldn't be translated, and runs row by row; please report it "
            "error=%r",
            error,
        )
        return f"translating it failed: {error!r}"[:200]

    # Reports.

    def _note_columns(self, run: Run, report: StageReport, plan: StagePlan) -> None:
        for position, (step, node) in enumerate(run.origins()):
            if position < plan.lowered_count:
                report.note(node, step.name, "columns", "")
            else:
                reason = plan.refusal if position == plan.lowered_count else _AFTER
                report.note(node, step.name, "rows", reason)

    def _note_refusal(self, run: Run, report: StageReport, plan: StagePlan) -> None:
        for position, (step, node) in enumerate(run.origins()):
            reason = _BEFORE if position < plan.lowered_count else _AFTER
            if position == plan.lowered_count:
                reason = plan.refusal
            report.note(node, step.name, "rows", reason)

    def _note_failure(
        self, run: Run, report: StageReport, plan: StagePlan, failed: GuardFailed
    ) -> None:
        for position, (step, node) in enumerate(run.origins()):
            reason = "its block took rows"
            if position == failed.step:
                reason = f"guard failed: {failed.reason}"
            report.note(node, step.name, "rows", reason)
        if plan.is_sampled:
            with self._lock:  # What the data looks like has changed: look again.
                self._kept.pop((run.key, plan.given), None)


def _refused(error: Exception) -> str:
    return f"Polars refused it: {error}"[:200]


def note_rows(run: Run, report: StageReport, reason: str) -> None:
    """Note that a block took rows, for one reason for all steps."""
    for step, node in run.origins():
        report.note(node, step.name, "rows", reason)
