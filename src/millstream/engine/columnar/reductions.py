"""Reductions: functions of two values that are known to be a sum, a least, a first.

Two placeholders go through the user's function as records would. What comes out, leaf by
leaf, is compared with what the same lowering makes of the operations that are known: so
`lambda a, b: a + b`, `operator.add` and a def with a return are one and the same.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, assert_never

import polars as pl

from millstream.engine.columnar.functions import Dependency
from millstream.engine.columnar.lowering import Lowering
from millstream.engine.columnar.numbers import OVERFLOW
from millstream.engine.columnar.shapes import (
    DictOf,
    Fixed,
    Kind,
    ListOf,
    Plain,
    Shape,
    TupleOf,
    dtype_of,
    plain_shapes,
)
from millstream.engine.columnar.values import (
    Constant,
    Dict,
    Guard,
    Refusal,
    Scalar,
    Translation,
    Tuple,
    Value,
    leaves,
    literal,
    shape_of,
    value_of,
)
from millstream.engine.plan.steps import Aggregator, Group, Merge, Reduce


class Operator(Enum):
    """What becomes of the values of one column."""

    SUM = "sum"
    LEAST = "least"
    GREATEST = "greatest"
    FIRST = "first"
    LAST = "last"
    ALL = "all"
    ANY = "any"


@dataclass(frozen=True, slots=True)
class Reduction:
    """How the values of a key become one: an operator for each column.

    `inputs` is what enters of each record, over the columns `b0`, `b1`, ... of its value
    `as_columns`, and `shape` is what comes out.
    """

    inputs: Value
    operators: tuple[Operator, ...]
    shape: Shape
    dependencies: tuple[Dependency, ...] = ()

    @property
    def is_order_free(self) -> bool:
        """Whether parts may be reduced apart, and their results then.

        Sums of floats depend on how they are put together, in their last bits.
        """
        return not any(
            each is Operator.SUM and plain.kind is Kind.FLOAT
            for each, plain in zip(
                self.operators, plain_shapes(self.shape), strict=True
            )
        )


# Each with the kinds of columns of which it is known.
_ORDERED = (Kind.INT, Kind.STR, Kind.BYTES, Kind.FLOAT, Kind.DATETIME, Kind.DATE)
_KNOWN: tuple[tuple[Operator, tuple[Kind, ...], Callable[[Any, Any], Any]], ...] = (
    (Operator.SUM, (Kind.INT, Kind.FLOAT), lambda a, b: a + b),
    (Operator.SUM, (Kind.INT, Kind.FLOAT), lambda a, b: b + a),
    (Operator.GREATEST, _ORDERED, max),
    (Operator.GREATEST, _ORDERED, lambda a, b: max(b, a)),
    (Operator.GREATEST, _ORDERED, lambda a, b: max(b, a)),
    (Operator.GREATEST, _ORDERED, max),
    (Operator.GREATEST, _ORDERED, max),
    (Operator.GREATEST, _ORDERED, lambda a, b: max(b, a)),
    (Operator.GREATEST, _ORDERED, max),
    (Operator.GREATEST, _ORDERED, lambda a, b: max(b, a)),
    (Operator.LEAST, _ORDERED, min),
    (Operator.LEAST, _ORDERED, lambda a, b: min(b, a)),
    (Operator.LEAST, _ORDERED, lambda a, b: min(b, a)),
    (Operator.LEAST, _ORDERED, min),
    (Operator.LEAST, _ORDERED, min),
    (Operator.LEAST, _ORDERED, lambda a, b: min(b, a)),
    (Operator.LEAST, _ORDERED, min),
    (Operator.LEAST, _ORDERED, lambda a, b: min(b, a)),
    (Operator.ALL, (Kind.BOOL,), lambda a, b: a and b),
    (Operator.ALL, (Kind.BOOL,), lambda a, b: b and a),
    (Operator.ALL, (Kind.BOOL,), lambda a, b: a & b),
    (Operator.ALL, (Kind.BOOL,), lambda a, b: b & a),
    (Operator.ANY, (Kind.BOOL,), lambda a, b: a or b),
    (Operator.ANY, (Kind.BOOL,), lambda a, b: b or a),
    (Operator.ANY, (Kind.BOOL,), lambda a, b: a | b),
    (Operator.ANY, (Kind.BOOL,), lambda a, b: b | a),
    (Operator.FIRST, tuple(Kind), lambda a, _b: a),
    (Operator.LAST, tuple(Kind), lambda _a, b: b),
)


def recognise(aggregator: Aggregator, shape: Shape) -> Reduction:
    """Return what an aggregator does with values of a shape.

    Raises:
        Refusal: It is none of the known reductions.
    """
    match aggregator:
        case Reduce(merge):
            return _of_reduce(merge, _reducible(shape))
        case Merge(create, merge_value, merge_combiners):
            given = _reducible(shape)
            return _of_merge(create, merge_value, merge_combiners, given)
        case Group():
            msg = "values are grouped, not reduced"
            raise Refusal(msg)


def _reducible(shape: Shape) -> Shape:
    """Return a shape in which what is the same in every record is a column, if need be.

    A sum of ones isn't one.
    """
    match shape:
        case Fixed(value) if value is not None and type(value) in (
            int,
            float,
            bool,
            str,
        ):
            return Plain(Kind(type(value)))
        case Plain() | Fixed():
            return shape
        case ListOf():
            msg = "lists are reduced"
            raise Refusal(msg)
        case TupleOf(items):
            return TupleOf(tuple(map(_reducible, items)))
        case DictOf(keys, items):
            return DictOf(keys, tuple(map(_reducible, items)))
        case _:
            assert_never(shape)


def _of_reduce(merge: Callable[[Any, Any], Any], shape: Shape) -> Reduction:
    dependencies: list[Dependency] = []
    a, b = (_placeholder(shape, prefix) for prefix in ("a", "b"))
    t = Translation(is_inlining=True)
    lowering = Lowering(t, dependencies.append)
    made = lowering.call(merge, [a, b])
    if shape_of(made) != shape:
        msg = "what it returns isn't of the type of what it takes"
        raise Refusal(msg)
    operators = _operators(t, shape, leaves(made), leaves(a), leaves(b))
    return Reduction(b, operators, shape, tuple(dependencies))


def _of_merge(
    create: Callable[[Any], Any],
    merge_value: Callable[[Any, Any], Any],
    merge_combiners: Callable[[Any, Any], Any],
    shape: Shape,
) -> Reduction:
    dependencies: list[Dependency] = []
    t = Translation(is_inlining=True)
    lowering = Lowering(t, dependencies.append)
    record = _placeholder(shape, "b")
    created = lowering.call(create, [record])
    combiner = _reducible(shape_of(created))
    if t.guards:
        msg = "the first combiner takes more than its value"
        raise Refusal(msg)
    state = _placeholder(combiner, "a")
    merged = lowering.call(merge_value, [state, record])
    if shape_of(merged) != combiner:
        msg = "a combiner changes its type"
        raise Refusal(msg)
    inputs = as_columns(created)
    folds = [
        _folded(plain, expr, mine, first)
        for plain, expr, mine, first in zip(
            plain_shapes(combiner),
            leaves(merged),
            leaves(state),
            leaves(inputs),
            strict=True,
        )
    ]
    operators = _operators(t, combiner, leaves(merged), leaves(state), folds)
    again = _of_reduce(merge_combiners, combiner)
    if again.operators != operators:
        msg = "merging two combiners isn't like merging a value"
        raise Refusal(msg)
    return Reduction(inputs, operators, combiner, (*dependencies, *again.dependencies))


def _folded(plain: Plain, merged: pl.Expr, state: pl.Expr, first: pl.Expr) -> pl.Expr:
    """Return what is added to a state for a record, if the first one is added to zero.

    A fold begins with `0 + x` where later ones are `state + x`; else return `first`.
    """
    for added in merged.meta.pop():
        if added.meta.eq(state) or not (state + added).meta.eq(merged):
            continue
        zero = pl.lit(0, dtype=dtype_of(plain.kind))
        begun = _template(lambda a, b: a + b, plain.kind, zero, added)
        if begun is not None and begun[0].meta.eq(first):
            return added
    return first


def as_columns(value: Value) -> Value:
    """Return a value with columns where it has constants: a sum of ones is no one."""
    match value:
        case Constant(constant) if type(constant) is tuple:
            return Tuple(tuple(as_columns(Constant(each)) for each in constant))
        case Constant(constant) if constant is not None:
            return literal(constant)
        case Tuple(items):
            return Tuple(tuple(map(as_columns, items)))
        case Dict(items):
            return Dict({key: as_columns(each) for key, each in items.items()})
        case _:
            return value


def _placeholder(shape: Shape, prefix: str) -> Value:
    count = sum(1 for _ in plain_shapes(shape))
    return value_of(shape, iter([pl.col(f"{prefix}{n}") for n in range(count)]))


def _operators(
    t: Translation,
    shape: Shape,
    made: Sequence[pl.Expr],
    states: Sequence[pl.Expr],
    values: Sequence[pl.Expr],
) -> tuple[Operator, ...]:
    """Return what becomes of each column, if that is all that the function does.

    What else it computes may raise, though nothing comes of it: `int(b)`, thrown away.
    """
    found = [
        _operator(plain, expr, state, value)
        for plain, expr, state, value in zip(
            plain_shapes(shape), made, states, values, strict=True
        )
    ]
    known = [guard for _, guards in found for guard in guards]
    for guard in t.guards:
        if guard.reason == OVERFLOW:
            continue  # Python's ints don't; and who sums looks at the totals.
        if not any(guard.bad.meta.eq(each.bad) for each in known):
            msg = f"it does more than reduce: {guard.reason}"
            raise Refusal(msg)
    return tuple(operator for operator, _ in found)


def _operator(
    plain: Plain, expr: pl.Expr, state: pl.Expr, value: pl.Expr
) -> tuple[Operator, list[Guard]]:
    if not plain.is_optional:
        for known, kinds, function in _KNOWN:
            if plain.kind in kinds:
                template = _template(function, plain.kind, state, value)
                if template is not None and template[0].meta.eq(expr):
                    return known, template[1]
    msg = (
        "it is none of the reductions that columns know: sums, least, greatest and such"
    )
    raise Refusal(msg)


def _template(
    function: Callable[[Any, Any], Any], kind: Kind, state: pl.Expr, value: pl.Expr
) -> tuple[pl.Expr, list[Guard]] | None:
    t = Translation(is_inlining=True)
    try:
        made = Lowering(t, _ignore).call(
            function, [Scalar(kind, state), Scalar(kind, value)]
        )
    except Refusal:
        return None
    return (made.expr, t.guards) if isinstance(made, Scalar) else None


def _ignore(_dependency: Dependency) -> None:
    """Templates depend on nothing."""
