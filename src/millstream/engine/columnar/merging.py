"""Merging: one value of two, by a condition."""

import polars as pl

from millstream.engine.columnar.shapes import dtype_of
from millstream.engine.columnar.values import (
    Constant,
    Dict,
    List,
    Refusal,
    Scalar,
    Tuple,
    Value,
    literal,
    name_of,
)


def choose(condition: pl.Expr, taken: Value, other: Value) -> Value:
    """Return `taken` where `condition` is true, else `other`; it is never null.

    Raises:
        Refusal: They are of different types: one column can't hold both.
    """
    match taken, other:
        case Constant(a), Constant(b) if type(a) is type(b) and repr(a) == repr(b):
            return taken
        case Tuple(a), Tuple(b) if len(a) == len(b):
            return Tuple(
                tuple(choose(condition, x, y) for x, y in zip(a, b, strict=True))
            )
        case Constant(tuple() as a), Tuple(b) if len(a) == len(b):
            return choose(condition, Tuple(tuple(map(Constant, a))), other)
        case Tuple(a), Constant(tuple() as b) if len(a) == len(b):
            return choose(condition, taken, Tuple(tuple(map(Constant, b))))
        case Dict(a), Dict(b) if list(a) == list(b):
            return Dict({key: choose(condition, a[key], b[key]) for key in a})
        case List(item, ours, kind), List(same, theirs, other_kind) if (
            item == same and kind is other_kind
        ):
            exprs = [
                pl.when(condition).then(x).otherwise(y)
                for x, y in zip(ours, theirs, strict=True)
            ]
            return List(item, tuple(exprs), kind)
        case _:
            return _choose_scalar(condition, taken, other)


def _choose_scalar(condition: pl.Expr, taken: Value, other: Value) -> Value:
    known = [each for each in (taken, other) if not _is_none(each)]
    if len(known) == 2 and all(isinstance(each, Scalar | Constant) for each in known):
        a, b = (_scalar(each) for each in known)
        if a.kind is b.kind:
            made = pl.when(condition).then(a.expr).otherwise(b.expr)
            return Scalar(a.kind, made, a.is_optional or b.is_optional)
    if len(known) == 1 and isinstance(known[0], Scalar | Constant):
        scalar = _scalar(known[0])
        holds = condition if known[0] is taken else ~condition
        none = pl.lit(None, dtype=dtype_of(scalar.kind))
        made = pl.when(holds).then(scalar.expr).otherwise(none)
        return Scalar(scalar.kind, made, is_optional=True)
    msg = f"sometimes a {name_of(taken)} and sometimes a {name_of(other)}"
    raise Refusal(msg)


def _is_none(value: Value) -> bool:
    return isinstance(value, Constant) and value.value is None


def _scalar(value: Value) -> Scalar:
    if isinstance(value, Constant):
        return literal(value.value)
    assert isinstance(value, Scalar), "asked for a column or a constant only"
    return value
