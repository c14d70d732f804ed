"""Grouping: pairs reduced by key, in columns, keys in the order they were first seen.

A block is reduced as it comes; the parts are reduced again at the end. Sums of floats are
added up in the order of the records, as the row path does, so they wait for all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from millstream.engine.columnar import shapes
from millstream.engine.columnar.blocks import Columns, is_hashable
from millstream.engine.columnar.lookup import put_together
from millstream.engine.columnar.reductions import Operator, Reduction, as_columns
from millstream.engine.columnar.shapes import Kind, ListOf, Plain, Shape, TupleOf
from millstream.engine.columnar.stages import collected, height_of
from millstream.engine.columnar.values import (
    Refusal,
    Tuple,
    Value,
    leaves,
    shape_of,
    value_of,
)

_ORDER = "order"
_INT_SAFE = 2.0**62
# Each part costs a pass over all keys; past so many, grouping them is cheaper.
_UNITED_MAX = 3
_SORTED_ALONE_MAX = 100_000


class OverflowRefusal(Refusal):
    """A sum that doesn't fit 64 bits, or floats that Polars would order otherwise."""


@dataclass(frozen=True, slots=True)
class Grouped:
    """Some pairs: `k0, k1, ...` make up the key and `v0, v1, ...` the value.

    They are in the order in which keys were first seen if they are `reduced`, else as
    they came.
    """

    frame: pl.DataFrame
    is_reduced: bool


@dataclass(frozen=True, slots=True)
class Grouping:
    """How pairs of one shape are reduced by key."""

    key: Shape
    reduction: Reduction

    @property
    def shape(self) -> Shape:
        """The shape of a reduced pair."""
        return TupleOf((self.key, self.reduction.shape))

    @property
    def names(self) -> dict[str, str]:
        """From the names of a reduced pair's columns to those of its parts."""
        keys = [f"k{n}" for n in range(shapes.column_count(self.key))]
        values = [f"v{n}" for n in range(shapes.column_count(self.reduction.shape))]
        columns = shapes.column_names(len(keys) + len(values))
        return dict(zip(columns, [*keys, *values], strict=True))

    @property
    def is_current(self) -> bool:
        """Whether what was folded in is as it was."""
        return all(each.is_as_it_was() for each in self.reduction.dependencies)

    def columns_of(self, part: Grouped) -> Columns:
        """Return a part's pairs as records."""
        names = {old: new for new, old in self.names.items()}
        return Columns(part.frame.rename(names), self.shape)

    def part_of(self, columns: Columns) -> Grouped:
        """Return reduced pairs as a part."""
        return Grouped(columns.frame.rename(self.names), is_reduced=True)

    def start(self, query: pl.LazyFrame, pair: Value) -> Grouped:
        """Return the pairs of one block, reduced if parts may be.

        Raises:
            OverflowRefusal: The row path must do it.
        """
        key, value = _halves(pair)
        keys = [e.alias(f"k{n}") for n, e in enumerate(leaves(key))]
        given = leaves(as_columns(value))
        entering = leaves(self.reduction.inputs)
        if all(e.meta.is_column() or e.meta.is_literal() for e in entering):
            inputs = [_given(e, given) for e in entering]
        else:
            query = query.with_columns([e.alias(f"b{n}") for n, e in enumerate(given)])
            inputs = entering
        values = [e.alias(f"v{n}") for n, e in enumerate(inputs)]
        if not self.reduction.is_order_free:
            frame = _with_height(query, [*keys, *values])
            return Grouped(frame, is_reduced=False)
        varying = [v for v, e in zip(values, inputs, strict=True) if not _is_fixed(e)]
        columns = [*keys, *varying]
        return Grouped(
            self._reduce(query.select(columns) if columns else query, inputs),
            is_reduced=True,
        )

    def finish(self, parts: Sequence[Grouped]) -> pl.DataFrame:
        """Return the frame of all parts' pairs reduced, as `shape` says.

        Raises:
            OverflowRefusal: The row path must do it.
        """
        united = self._united(parts)
        if united is not None:
            frame = united
        else:
            columns = [pl.col(f"v{n}") for n in range(len(self.reduction.operators))]
            whole = pl.concat([part.frame for part in parts])
            frame = self._reduce(whole.lazy(), columns)
        return frame.rename({part: column for column, part in self.names.items()})

    def is_united(self, key: Shape, value: Shape) -> bool:
        """Say whether pairs of these are known to be merged by `merged`."""
        return (
            TupleOf((key, value)) == self.shape
            and shapes.column_count(key) > 0
            and not any(
                each.kind is Kind.FLOAT for each in shapes.plain_shapes(self.shape)
            )
        )

    def merged(self, old: list[pl.Series], new: list[pl.Series]) -> list[pl.Series]:
        """Return the columns of reduced values, no floats, merged with those of others.

        Raises:
            OverflowRefusal: A sum may not fit 64 bits.
        """
        operators = self.reduction.operators
        return [_merged(*each) for each in zip(operators, old, new, strict=True)]

    def _united(self, parts: Sequence[Grouped]) -> pl.DataFrame | None:
        """Return few reduced parts as one by looking for keys; None: better grouped.

        What a group-by of them would give, for half of what it takes.
        """
        if not all(part.is_reduced for part in parts) or len(parts) > _UNITED_MAX:
            return None
        whole = parts[0].frame
        if len(parts) == 1:
            return whole
        if not self.is_united(self.key, self.reduction.shape):
            return None
        keys = [f"k{n}" for n in range(shapes.column_count(self.key))]
        try:
            for part in parts[1:]:
                whole, _ = put_together(whole, part.frame, keys, self.merged)
        except OverflowRefusal:
            return None
        return whole

    def _reduce(self, query: pl.LazyFrame, values: Sequence[pl.Expr]) -> pl.DataFrame:
        keys = [f"k{n}" for n in range(shapes.column_count(self.key))]
        aggregations: list[pl.Expr] = []
        checks: list[pl.Expr] = []
        for position, (operator, plain, expr) in enumerate(
            zip(
                self.reduction.operators,
                shapes.plain_shapes(self.reduction.shape),
                values,
                strict=True,
            )
        ):
            name = f"v{position}"
            made, check = _aggregation(operator, plain, expr, name)
            aggregations.append(made.alias(name))
            checks.extend(each.alias(f"{name}_{n}") for n, each in enumerate(check))
        for name, plain in zip(keys, shapes.plain_shapes(self.key), strict=True):
            checks.extend(_key_checks(name, plain))
        frame = _grouped(
            query, keys, [*aggregations, *checks], in_parts=self.reduction.is_order_free
        )
        _check(frame, [each.meta.output_name() for each in checks])
        return frame.select(*keys, *[each.meta.output_name() for each in aggregations])


def _given(entering: pl.Expr, given: Sequence[pl.Expr]) -> pl.Expr:
    """Return what enters: the column of the records that a placeholder stands for."""
    if entering.meta.is_literal():
        return entering
    (name,) = entering.meta.root_names()
    return given[int(name[1:])]


def _is_fixed(expr: pl.Expr) -> bool:
    return expr.meta.is_literal()


def _halves(pair: Value) -> tuple[Value, Value]:
    if not isinstance(pair, Tuple) or len(pair.items) != 2:
        msg = "the records aren't pairs"
        raise Refusal(msg)
    key, value = pair.items
    return key, value


def _with_height(query: pl.LazyFrame, exprs: Sequence[pl.Expr]) -> pl.DataFrame:
    frame = collected(query.select(exprs))
    if all(not each.meta.root_names() for each in exprs):
        height = height_of(query)
        frame = pl.concat([frame] * height) if height else frame.clear()
    return frame


def _aggregation(
    operator: Operator, plain: Plain, expr: pl.Expr, name: str
) -> tuple[pl.Expr, list[pl.Expr]]:
    """Return an aggregation, and what must be true of each group for it to be right.

    With a sum of floats that is the first of them; see `_is_signed`.
    """
    if _is_fixed(expr):
        return _of_constant(operator, plain, expr)
    column = pl.col(name)
    is_float = plain.kind is Kind.FLOAT
    match operator:
        case Operator.SUM if is_float:
            # Added up one by one; `sum` adds in another order, with other last bits. What
            # must be true of it is told from the first value afterwards: here the sums
            # would be computed twice.
            return column.cum_sum().last(), [column.first()]
        case Operator.SUM:
            return column.sum(), [
                column.cast(pl.Float64).abs().sum() < _INT_SAFE,
            ]
        case Operator.GREATEST | Operator.LEAST:
            checks = [_is_ordered(column)] if is_float else []
            made = column.max() if operator is Operator.GREATEST else column.min()
            return made, checks
        case Operator.FIRST:
            return column.first(), []
        case Operator.LAST:
            return column.last(), []
        case Operator.ALL:
            return column.all(), []
        case Operator.ANY:
            return column.any(), []


def _of_constant(
    operator: Operator, plain: Plain, expr: pl.Expr
) -> tuple[pl.Expr, list[pl.Expr]]:
    if operator is not Operator.SUM:
        return expr.first(), []
    if plain.kind is not Kind.INT:
        msg = "a sum of a constant that is no int"
        raise Refusal(msg)
    count = pl.len().cast(pl.Int64)
    value = int(pl.select(expr).item())
    if value == 1:
        return count, []
    return count * value, [(count.cast(pl.Float64) * abs(value)) < _INT_SAFE]


def _merged(operator: Operator, old: pl.Series, new: pl.Series) -> pl.Series:
    match operator:
        case Operator.SUM:
            if _size(old) + _size(new) >= _INT_SAFE:
                msg = "sums that may be of more than 64 bits"
                raise OverflowRefusal(msg)
            return old + new
        case Operator.GREATEST:
            return old.zip_with(old >= new, new)
        case Operator.LEAST:
            return old.zip_with(old <= new, new)
        case Operator.FIRST:
            return old
        case Operator.LAST:
            return new
        case Operator.ALL:
            return old & new
        case Operator.ANY:
            return old | new


def _size(ints: pl.Series) -> int:
    """Return the greatest absolute value."""
    if not len(ints):
        return 0
    low, high = ints.min(), ints.max()
    assert isinstance(low, int), "the least of some ints is one"
    assert isinstance(high, int), "the greatest too"
    return max(abs(low), abs(high))


def _is_ordered(column: pl.Expr) -> pl.Expr:
    """Say whether a group has neither NaN nor two zeros of different sign."""
    return column.is_not_nan().all() & (column != 0).all()


def _is_signed(total: pl.Series, first: pl.Series) -> pl.Series:
    """Say whether sums have the sign they should.

    They begin with 0.0, which makes 0.0 of a sum of nothing but -0.0.
    """
    return (total != 0) | (first != 0) | (1 / first > 0)


def _key_checks(name: str, plain: Plain) -> list[pl.Expr]:
    if plain.kind is not Kind.FLOAT:
        return []
    # NaN is no key twice in Python; -0.0 and 0.0 are one, and the first one stays.
    column = pl.col(name)
    return [(column.is_not_nan() & (column != 0)).all().alias(f"{name}_0")]


def _grouped(
    query: pl.LazyFrame,
    keys: Sequence[str],
    aggregations: Sequence[pl.Expr],
    *,
    in_parts: bool,
) -> pl.DataFrame:
    """Return groups in the order in which keys were first seen."""
    if not keys:
        whole = query.select(
            *[each.alias(each.meta.output_name()) for each in aggregations],
            pl.len().alias(_ORDER),
            pl.first().count().alias("present"),  # As in `height_of`.
        )
        return collected(whole).filter(pl.col(_ORDER) > 0)
    if not in_parts:
        # The streaming engine would gather each group, too, and take longer.
        whole = query.group_by(keys, maintain_order=True).agg(*aggregations)
        return collected(whole, "in-memory")
    grouped = query.with_row_index(_ORDER).group_by(keys)
    frame = collected(grouped.agg(*aggregations, pl.col(_ORDER).min()))
    # On many threads it takes less time, but more of the processor's.
    return frame.sort(_ORDER, multithreaded=frame.height > _SORTED_ALONE_MAX)


def _check(frame: pl.DataFrame, names: Sequence[str]) -> None:
    for name in names:
        holds = frame[name]
        if holds.dtype == pl.Float64:
            holds = _is_signed(frame[name.partition("_")[0]], first=holds)
        if not holds.fill_null(False).all():
            msg = (
                "a key that is NaN or 0.0"
                if name.startswith("k")
                else "a sum of more than 64 bits, or an order of NaN or zeros"
            )
            raise OverflowRefusal(msg)


def pair_shapes(shape: Shape) -> tuple[Shape, Shape]:
    """Return the shapes of a pair's key and value.

    Raises:
        Refusal: It is no pair.
    """
    if not isinstance(shape, TupleOf) or len(shape.items) != 2:
        msg = "the records aren't pairs"
        raise Refusal(msg)
    key, value = shape.items
    if not is_hashable(key):
        msg = "a key that is a list or a dict"
        raise Refusal(msg)
    return key, value


def grouped_shape(shape: Shape) -> Shape:
    """Return the shape of what `grouped_values` makes of pairs of a shape.

    Raises:
        Refusal: The row path must do it.
    """
    key, tree = _key_and_values(shape)
    return TupleOf((key, ListOf(shape_of(tree))))


def _key_and_values(shape: Shape) -> tuple[Shape, Value]:
    """Return the key's shape of pairs, and the values, each in columns of its own."""
    key, value = pair_shapes(shape)
    if any(each.is_optional for each in shapes.plain_shapes(value)):
        msg = "values that may be None are grouped"
        raise Refusal(msg)
    names = shapes.column_names(shapes.column_count(shape))
    exprs = iter([pl.col(name) for name in names[shapes.column_count(key) :]])
    tree = as_columns(value_of(value, exprs))
    if not shapes.column_count(shape_of(tree)):
        msg = "values that are all None are grouped"
        raise Refusal(msg)
    return key, tree


def grouped_values(frames: Sequence[pl.DataFrame], shape: Shape) -> Columns:
    """Return pairs with the values of a key in a list, in the order they came.

    Raises:
        Refusal: The row path must do it.
    """
    key, tree = _key_and_values(shape)
    width = shapes.column_count(key)
    names = shapes.column_names(shapes.column_count(shape))
    query = pl.concat(frames).lazy()
    columns = [expr.alias(f"v{position}") for position, expr in enumerate(leaves(tree))]
    # By `with_columns`: a `select` of constants alone would have one record.
    made_names = [each.meta.output_name() for each in columns]
    query = query.with_columns(*columns).select(*names[:width], *made_names)
    keys = list(shapes.plain_shapes(key))
    checks = [c for n, k in zip(names, keys, strict=False) for c in _key_checks(n, k)]
    # In memory: it keeps the order of keys, and of the values of each.
    if width:
        grouped = query.group_by(names[:width], maintain_order=True).agg(
            *[each.meta.output_name() for each in columns], *checks
        )
    else:
        grouped = query.select(
            *[pl.col(each.meta.output_name()).implode() for each in columns],
            pl.len().alias(_ORDER),
        ).filter(pl.col(_ORDER) > 0)
    frame = collected(grouped, "in-memory")
    _check(frame, [each.meta.output_name() for each in checks])
    made = TupleOf((key, ListOf(shape_of(tree))))
    frame = frame.select(*names[:width], *[e.meta.output_name() for e in columns])
    frame.columns = shapes.column_names(frame.width)
    return Columns(frame, made, is_keyed=True)
