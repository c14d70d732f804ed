"""Lists in columns: indexing, slicing and what is asked of a whole list."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl

from millstream.engine.columnar.conversions import truth
from millstream.engine.columnar.kernels import computed
from millstream.engine.columnar.shapes import Kind, Plain, dtype_of
from millstream.engine.columnar.values import (
    Constant,
    List,
    Refusal,
    Scalar,
    Translation,
    Value,
    as_scalar,
    name_of,
    value_of,
)

# Kinds whose values are ordered in Polars as in Python. Floats aren't, for NaN.
_ORDERED = frozenset({Kind.INT, Kind.STR, Kind.BYTES, Kind.DATETIME, Kind.DATE})
# A sum of floats below this is of ints that can't have overflowed.
_SUM_MAX = 2.0**62
_INDEX_MAX = 2**31


def list_length(_t: Translation, value: List) -> Value:
    """Return `len(value)`."""
    return Scalar(Kind.INT, value.exprs[0].list.len().cast(pl.Int64))


def list_item(t: Translation, value: List, index: Value) -> Value:
    """Return `value[index]`."""
    length = t.let(value.exprs[0].list.len().cast(pl.Int64))
    if isinstance(index, Constant) and type(index.value) is int:
        position = index.value
        if abs(position) >= _INDEX_MAX:
            msg = f"{position} as an index"
            raise Refusal(msg)
        needed = position + 1 if position >= 0 else -position
        t.guard(length < needed, "an index out of range")
        at = pl.lit(position, dtype=pl.Int64)
    else:
        scalar = as_scalar(index, "an index")
        if scalar.kind is not Kind.INT:
            msg = f"a {name_of(scalar)} as an index"
            raise Refusal(msg)
        at = t.required(scalar, "[]")
        t.guard((at >= length) | (at < -length), "an index out of range")
    found = [expr.list.get(at, null_on_oob=True) for expr in value.exprs]
    return value_of(value.item, iter(found))


def list_slice(
    t: Translation, value: List, start: Value, stop: Value, step: Value
) -> Value:
    """Return `value[start:stop:step]`, for a step of 1, or -1 without bounds."""
    by = step.value if isinstance(step, Constant) else 0
    if by == -1 and start == stop == Constant(None):
        return List(value.item, tuple(expr.list.reverse() for expr in value.exprs))
    if type(by) not in {int, type(None)} or by not in {None, 1}:
        msg = "a slice with such a step"
        raise Refusal(msg)
    length = value.exprs[0].list.len().cast(pl.Int64)
    first = _bound(t, start, length, pl.lit(0, dtype=pl.Int64))
    last = _bound(t, stop, length, length)
    count = pl.max_horizontal(last - first, pl.lit(0, dtype=pl.Int64))
    return List(
        value.item, tuple(expr.list.slice(first, count) for expr in value.exprs)
    )


def _bound(t: Translation, value: Value, length: pl.Expr, none: pl.Expr) -> pl.Expr:
    """Return the position that a bound of a slice stands for."""
    if isinstance(value, Constant) and value.value is None:
        return none
    scalar = as_scalar(value, "a bound of a slice")
    if scalar.kind is not Kind.INT:
        msg = f"a {name_of(scalar)} as a bound of a slice"
        raise Refusal(msg)
    at = t.required(scalar, "[:]")
    counted = pl.when(at < 0).then(at + length).otherwise(at)
    return counted.clip(pl.lit(0, dtype=pl.Int64), length)


def list_contains(t: Translation, needle: Value, value: List) -> Value:
    """Return `needle in value`, where both are of one kind."""
    kind, expr = _items(value, "in")
    wanted = as_scalar(needle, "what is looked for")
    if wanted.kind is not kind or kind is Kind.FLOAT:
        # NaN is found by who it is, and 1 is 1.0 and True.
        msg = f"a {name_of(wanted)} is looked for in a list of {kind.value.__name__}"
        raise Refusal(msg)
    return Scalar(Kind.BOOL, expr.list.contains(t.required(wanted, "in")))


def _items(value: List, operation: str) -> tuple[Kind, pl.Expr]:
    """Return the kind and the column of a list of plain values, none of them None."""
    if not isinstance(value.item, Plain) or value.item.is_optional:
        msg = f"{operation} of a list of more than plain values"
        raise Refusal(msg)
    return value.item.kind, value.exprs[0]


def _asked(
    t: Translation, value: List, function: Callable[..., Any], kind: Kind
) -> Value:
    """Return what a Python function says of each list."""
    made = computed(t, list(value.exprs), function, dtype_of(kind), _reason(function))
    return Scalar(kind, made)


def _reason(function: Callable[..., Any]) -> str:
    return f"an error of {getattr(function, '__name__', 'a function')}() of a list"


def list_sum(t: Translation, value: List) -> Value:
    """Return `sum(value)`."""
    kind, expr = _items(value, "sum()")
    match kind:
        case Kind.BOOL:
            # Of Polars' unsigned 32 bits, which no list of bools exceeds.
            return Scalar(Kind.INT, expr.list.sum().cast(pl.Int64))
        case Kind.INT:
            size = expr.list.eval(pl.element().cast(pl.Float64).abs()).list.sum()
            t.guard(size >= _SUM_MAX, "an int of more than 64 bits")
            return Scalar(Kind.INT, expr.list.sum())
        case Kind.FLOAT:
            # The order of adding matters; and no float is the int that sum([]) is.
            t.guard(expr.list.len() == 0, "the sum of an empty list")
            return _asked(t, value, sum, Kind.FLOAT)
        case _:
            msg = f"sum() of a list of {kind.value.__name__}"
            raise Refusal(msg)


def list_sum_of_floats(t: Translation, value: List, start: Scalar) -> Value:
    """Return `sum(value, start)` where one of both is of floats: added one by one."""
    kind, expr = _items(value, "sum()")
    if kind not in (Kind.INT, Kind.FLOAT, Kind.BOOL):
        msg = f"sum() of a list of {kind.value.__name__}"
        raise Refusal(msg)
    if start.kind is not Kind.FLOAT:
        t.guard(expr.list.len() == 0, "the sum of an empty list")
    first = t.required(start, "sum()")
    made = computed(t, [expr, first], sum, pl.Float64, _reason(sum))
    return Scalar(Kind.FLOAT, made)


def list_min(t: Translation, value: List) -> Value:
    """Return `min(value)`."""
    kind, expr = _items(value, "min()")
    if kind not in _ORDERED:
        return _asked(t, value, min, kind)
    t.guard(expr.list.len() == 0, "min() of an empty list")
    return Scalar(kind, expr.list.min())


def list_max(t: Translation, value: List) -> Value:
    """Return `max(value)`."""
    kind, expr = _items(value, "max()")
    if kind not in _ORDERED:
        return _asked(t, value, max, kind)
    t.guard(expr.list.len() == 0, "max() of an empty list")
    return Scalar(kind, expr.list.max())


def list_sorted(t: Translation, value: List, *, is_descending: bool = False) -> Value:
    """Return `sorted(value)`, or `sorted(value, reverse=True)`."""
    kind, expr = _items(value, "sorted()")
    if kind in _ORDERED:
        return List(value.item, (expr.list.sort(descending=is_descending),))

    def ordered(values: list[Any]) -> list[Any]:
        return sorted(values, reverse=is_descending)

    dtype = pl.List(dtype_of(kind))
    return List(value.item, (computed(t, [expr], ordered, dtype, _reason(sorted)),))


def list_any(t: Translation, value: List) -> Value:
    """Return `any(value)`."""
    return Scalar(Kind.BOOL, _truths(t, value).list.any())


def list_all(t: Translation, value: List) -> Value:
    """Return `all(value)`."""
    return Scalar(Kind.BOOL, _truths(t, value).list.all())


def _truths(t: Translation, value: List) -> pl.Expr:
    kind, expr = _items(value, "any() or all()")
    return expr.list.eval(truth(t, Scalar(kind, pl.element())))


def call_list_method(
    t: Translation,
    value: List,
    name: str,
    args: Sequence[Value],
    keywords: Mapping[str, Value],
) -> Value:
    """Return what the method `name` of a list returns, if it doesn't change the list."""
    if keywords or name not in {"count", "index", "copy"}:
        msg = f"list.{name}() isn't known"
        raise Refusal(msg)
    if name == "copy":
        if args:
            msg = "list.copy() with an argument"
            raise Refusal(msg)
        return value
    if len(args) != 1:
        msg = f"list.{name}() with {len(args)} arguments"
        raise Refusal(msg)
    kind, expr = _items(value, f".{name}()")
    wanted = as_scalar(args[0], "what is looked for")
    if wanted.kind is not kind or kind is Kind.FLOAT:
        msg = f"a {name_of(wanted)} is looked for in a list of {kind.value.__name__}"
        raise Refusal(msg)
    inputs = [expr, t.required(wanted, f".{name}()")]
    method = list.count if name == "count" else list.index
    made = computed(t, inputs, method, pl.Int64, f"an error of list.{name}()")
    return Scalar(Kind.INT, made)
