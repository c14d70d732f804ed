"""Stages: a run of steps as one lazy query, made once for a shape, run for each block.

What a step computes becomes columns of the block's frame; names say the step. Where a step
has guards, the frame is computed up to there and looked at: if one failed, the block is
given back, with the reason.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, assert_never

import polars as pl

from millstream.engine.columnar import containers, shapes
from millstream.engine.columnar.functions import Dependency
from millstream.engine.columnar.lowering import Lowering, scalar_truth
from millstream.engine.columnar.prefilter import needle_of
from millstream.engine.columnar.shapes import Shape
from millstream.engine.columnar.values import (
    Comprehension,
    Constant,
    Dict,
    Guard,
    List,
    Refusal,
    Scalar,
    Special,
    Translation,
    Tuple,
    Value,
    as_record,
    leaves,
    name_of,
    shape_of,
    value_of,
)
from millstream.engine.plan.steps import (
    Combine,
    Filter,
    FlatMap,
    FlatMapValues,
    Glom,
    KeyBy,
    Keys,
    Map,
    MapPartitions,
    MapValues,
    Step,
    Values,
)

_SAMPLE_ROWS = 100


@dataclass(frozen=True, slots=True)
class Compute:
    """Add columns, each of which may use those before it."""

    columns: tuple[tuple[str, pl.Expr], ...]


@dataclass(frozen=True, slots=True)
class Check:
    """Give the block back if a guard fails; `needed` are the columns used afterwards."""

    guards: tuple[Guard, ...]
    needed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Keep:
    """Drop the records of which this isn't true."""

    condition: pl.Expr


@dataclass(frozen=True, slots=True)
class Explode:
    """Make a record of each item of these columns of lists, side by side."""

    columns: tuple[str, ...]


Operation: TypeAlias = Compute | Check | Keep | Explode


@dataclass(frozen=True, slots=True)
class GuardFailed:
    """A block that must take the row path."""

    step: int
    reason: str
    is_hope: bool = False
    """Whether a careful plan would have done without that guard."""


@dataclass(frozen=True, slots=True)
class StagePlan:
    """Steps for records of one shape: those that became columns, and why no more did."""

    operations: tuple[tuple[int, Operation], ...]
    """With the position of the step that each belongs to."""
    value: Value
    lowered_count: int
    refusal: str
    dependencies: tuple[Dependency, ...]
    given: Shape
    """The shape that it is for."""
    is_sampled: bool
    """Whether it depends on what the first block looked like."""
    needle: str | None = None
    """A text without which a line is dropped by the very first operation, if any is."""

    @property
    def exprs(self) -> list[pl.Expr]:
        """All expressions of the operations."""
        return [expr for _, each in self.operations for expr in _exprs_of(each)]

    @property
    def shape(self) -> Shape:
        """The shape of the records after the lowered steps."""
        return shape_of(self.value)

    @property
    def is_current(self) -> bool:
        """Whether what was folded in is as it was."""
        return all(each.is_as_it_was() for each in self.dependencies)

    def run(self, frame: pl.DataFrame) -> pl.LazyFrame | GuardFailed:
        """Return the query of a block's records after the lowered steps."""
        return _run(self.operations, frame.lazy())


def _run(
    operations: Sequence[tuple[int, Operation]], query: pl.LazyFrame
) -> pl.LazyFrame | GuardFailed:
    for step, operation in operations:
        match operation:
            case Compute(columns):
                for name, expr in columns:
                    query = query.with_columns(expr.alias(name))
            case Keep(condition):
                query = query.filter(condition)
            case Explode(columns):
                query = query.explode(columns, empty_as_null=False)
            case Check(guards, needed):
                found = _checked(query, guards, needed)
                if isinstance(found, Guard):
                    return GuardFailed(step, found.reason, found.is_hope)
                query = found
            case _:
                assert_never(operation)
    return query


def _checked(
    query: pl.LazyFrame, guards: Sequence[Guard], needed: Sequence[str]
) -> pl.LazyFrame | Guard:
    bad = guards[0].bad.fill_null(True)
    for guard in guards[1:]:
        bad = bad | guard.bad.fill_null(True)
    frame = collected(query.with_columns(bad.alias("bad")).select(*needed, "bad"))
    if frame["bad"].any():
        return _culprit(query, guards)
    return frame.drop("bad").lazy() if needed else frame.lazy()


def _culprit(query: pl.LazyFrame, guards: Sequence[Guard]) -> Guard:
    """Return a guard that failed: a hope first, for without it the block may do."""
    each = [
        guard.bad.fill_null(True).any().alias(str(position))
        for position, guard in enumerate(guards)
    ]
    answers = query.select(each).collect(engine="streaming").row(0)
    failed = [g for g, is_bad in zip(guards, answers, strict=True) if is_bad]
    return next((g for g in failed if g.is_hope), failed[0] if failed else guards[0])


def plan_stage(
    steps: Sequence[Step],
    shape: Shape,
    sample: pl.DataFrame | None = None,
    on_slip: Callable[[Exception], str] | None = None,
    *,
    is_hopeful: bool = False,
    record: Value | None = None,
) -> StagePlan:
    """Return the plan of steps for records of a shape.

    A hopeful one is faster, and has guards that a careful one does without. `sample` is a
    block of such records, for what depends on the data. `on_slip` takes an error of ours
    in a translation, and returns the reason to give for the refusal. `record` is what
    stands for a record, if not the columns of its shape.

    Raises:
        Refusal: What comes out is known between steps only.
    """
    planner = _Planner(sample, is_hopeful)
    names = shapes.column_names(shapes.column_count(shape))
    value = record or value_of(shape, iter([pl.col(name) for name in names]))
    refusal = ""
    count = 0
    for position, step in enumerate(steps):
        kept = len(planner.operations)
        try:
            value = planner.step(position, step, value)
        except Refusal as refused:
            del planner.operations[kept:]
            refusal = str(refused)
            break
        except Exception as error:
            del planner.operations[kept:]
            if on_slip is None:
                raise
            refusal = on_slip(error)
            break
        count += 1
    operations = _with_needed(planner.operations, value)
    return StagePlan(
        operations,
        value,
        count,
        refusal,
        tuple(planner.dependencies),
        shape,
        planner.is_sampled,
        _needle_of(operations) if shape == shapes.TEXT and not record else None,
    )


def _needle_of(operations: Sequence[tuple[int, Operation]]) -> str | None:
    lets: dict[str, pl.Expr] = {}
    for _, operation in operations:
        match operation:
            case Compute(columns):
                lets.update(columns)
            case Keep(condition):
                return needle_of(condition, lets)
            case _:
                break  # A guard might fail of a line that is dropped afterwards.
    return None


def _exprs_of(operation: Operation) -> list[pl.Expr]:
    match operation:
        case Compute(columns):
            return [expr for _, expr in columns]
        case Check(guards):
            return [guard.bad for guard in guards]
        case Keep(condition):
            return [condition]
        case Explode():
            return []  # Of columns that are there.


def _with_needed(
    operations: Sequence[tuple[int, Operation]], value: Value
) -> tuple[tuple[int, Operation], ...]:
    """Tell each check which columns are used after it."""
    needed = {name for expr in leaves(value) for name in expr.meta.root_names()}
    made: list[tuple[int, Operation]] = []
    for step, operation in reversed(operations):
        match operation:
            case Check(guards):
                made.append((step, Check(guards, tuple(sorted(needed)))))
            case Compute(columns):
                made.append((step, operation))
                needed -= {name for name, _ in columns}
            case Explode(columns):
                made.append((step, operation))
                needed |= set(columns)
            case Keep():
                made.append((step, operation))
        exprs = _exprs_of(operation)
        needed |= {name for expr in exprs for name in expr.meta.root_names()}
        if isinstance(operation, Compute):
            needed -= {name for name, _ in operation.columns}
    return tuple(reversed(made))


@dataclass(slots=True)
class _Planner:
    sample: pl.DataFrame | None
    is_hopeful: bool
    operations: list[tuple[int, Operation]] = field(default_factory=list)
    dependencies: list[Dependency] = field(default_factory=list)
    is_sampled: bool = False
    _count: int = 0

    def _translation(self) -> Translation:
        self._count += 1
        return Translation(
            None if self.sample is None else self._sampled,
            f"s{self._count}_",
            is_hopeful=self.is_hopeful,
        )

    def _sampled(self, lets: Sequence[tuple[str, pl.Expr]], expr: pl.Expr) -> list[Any]:
        assert self.sample is not None, "asked for only with a sample"
        self.is_sampled = True
        unchecked = [each for each in self.operations if not isinstance(each[1], Check)]
        query = _run(
            [*unchecked, (0, Compute(tuple(lets)))],
            self.sample.head(_SAMPLE_ROWS).lazy(),
        )
        assert not isinstance(query, GuardFailed), "nothing was checked"
        found: list[Any] = query.select(expr.alias("x")).collect()["x"].to_list()
        return found

    def _lowering(self, t: Translation) -> Lowering:
        return Lowering(t, self.dependencies.append)

    def step(self, position: int, step: Step, value: Value) -> Value:
        """Add what a step computes, and return the value of its records.

        Raises:
            Refusal: It can't be columns.
        """
        t = self._translation()
        lowering = self._lowering(t)

        def call(function: Callable[[Any], Any], argument: Value) -> Value:
            return lowering.call(function, [argument])

        match step:
            case Map(function):
                made = call(function, value)
            case Filter(function):
                condition = scalar_truth(lowering, call(function, value))
                self._add(position, t)
                self.operations.append((position, Keep(condition)))
                return value
            case FlatMap(function):
                return self._explode(position, t, call(function, value))
            case MapValues(function):
                made = Tuple(
                    (self._key(t, value), call(function, self._value(t, value)))
                )
            case FlatMapValues(function):
                key = self._key(t, value)
                items = call(function, self._value(t, value))
                return self._explode(position, t, items, key)
            case KeyBy(function):
                made = Tuple((call(function, value), value))
            case Keys():
                made = self._key(t, value)
            case Values():
                made = self._value(t, value)
            case Glom() | MapPartitions() | Combine():
                msg = f"{step.name} works on a whole partition of rows"
                raise Refusal(msg)
            case _:
                assert_never(step)
        if isinstance(made, Comprehension):
            made = containers.as_list(t, made)
        if isinstance(made, Special) and made.is_handed_on:
            self._add(position, t)
            return made
        made = as_record(t, made)
        shape_of(made)  # Refuses what can be no record.
        kept = map_leaves(made, lambda expr: _kept(t, expr))
        self._add(position, t)
        return kept

    def _key(self, t: Translation, value: Value) -> Value:
        return containers.item(t, value, Constant(0))

    def _value(self, t: Translation, value: Value) -> Value:
        return containers.item(t, value, Constant(1))

    def _add(self, position: int, t: Translation) -> None:
        if t.lets:
            self.operations.append((position, Compute(tuple(t.lets))))
        if t.guards:
            self.operations.append((position, Check(tuple(t.guards))))

    def _explode(
        self, position: int, t: Translation, items: Value, key: Value | None = None
    ) -> Value:
        """Return the value of the records that the items of a list are."""
        source = items.items if isinstance(items, Comprehension) else items
        if not isinstance(source, List):
            msg = f"it returns a {name_of(items)}, of which each item is a record"
            raise Refusal(msg)
        columns = [t.let(expr) for expr in source.exprs]
        if key is not None:
            key = map_leaves(key, lambda expr: _kept(t, expr))
        self._add(position, t)
        names = tuple(name for expr in columns for name in expr.meta.root_names())
        self.operations.append((position, Explode(names)))
        item = value_of(source.item, iter(columns))
        if isinstance(items, Comprehension):
            item = self._comprehended(position, items, item)
        return item if key is None else Tuple((key, item))

    def _comprehended(self, position: int, items: Comprehension, item: Value) -> Value:
        if items.is_kept is not None:
            t = self._translation()
            truth = items.is_kept(item, items.outer, t)
            condition = pl.lit(truth) if isinstance(truth, bool) else truth
            self._add(position, t)
            self.operations.append((position, Keep(condition)))
        t = self._translation()
        made = as_record(t, items.make(item, items.outer, t))
        shape_of(made)
        kept = map_leaves(made, lambda expr: _kept(t, expr))
        self._add(position, t)
        return kept


def _kept(t: Translation, expr: pl.Expr) -> pl.Expr:
    # A constant too: a frame of constants alone would have one record.
    return expr if expr.meta.is_column() else t.let(expr)


def map_leaves(value: Value, change: Callable[[pl.Expr], pl.Expr]) -> Value:
    """Return a value with other expressions."""
    return value_of_leaves(value, iter([change(expr) for expr in leaves(value)]))


def value_of_leaves(value: Value, exprs: Iterator[pl.Expr]) -> Value:
    """Return a value like `value` with these expressions, in the order of `leaves`."""
    match value:
        case Scalar(kind, _, is_optional):
            return Scalar(kind, next(exprs), is_optional)
        case Tuple(items):
            return Tuple(tuple(value_of_leaves(each, exprs) for each in items))
        case Dict(items):
            return Dict({key: value_of_leaves(e, exprs) for key, e in items.items()})
        case List(item, old, wrapper):
            return List(item, tuple(next(exprs) for _ in old), wrapper)
        case _:
            return value


def projected(query: pl.LazyFrame, value: Value) -> pl.DataFrame:
    """Return the records of a query as the frame of their shape."""
    exprs = leaves(value)
    if not exprs:
        blank: pl.DataFrame = shapes.blank_frame(height_of(query))
        return blank
    names = shapes.column_names(len(exprs))
    columns = [expr.alias(name) for expr, name in zip(exprs, names, strict=True)]
    return collected(query.select(columns))


def collected(
    query: pl.LazyFrame, engine: Literal["streaming", "in-memory"] = "streaming"
) -> pl.DataFrame:
    """Return a query's frame. The streaming engine works in pieces that fit a cache."""
    made = query.collect(engine=engine)
    assert isinstance(made, pl.DataFrame), "it isn't run in the background"
    # A column that is the same in all records may be kept as one value, which takes other
    # ways in Polars (see `numbers`); as series all are whole.
    return pl.DataFrame(made.get_columns())


def height_of(query: pl.LazyFrame) -> int:
    """Return how many records a query has."""
    # Asked for `len` alone, Polars counts the true values of a filter's condition, and one
    # that is the same in all records has one.
    counts = query.select(pl.len(), pl.first().count().alias("present"))
    return int(counts.collect(engine="streaming").row(0)[0])
