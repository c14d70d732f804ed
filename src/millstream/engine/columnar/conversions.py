"""Conversions between the plain types: what int, float, bool, str and repr make of values."""

from collections.abc import Callable
from typing import Any, assert_never

import polars as pl

from millstream.engine.columnar.kernels import (
    checked,
    computed,
    computed_unchecked,
    corrected,
    corrected_unchecked,
)
from millstream.engine.columnar.shapes import Kind, Plain
from millstream.engine.columnar.values import (
    Comprehension,
    Constant,
    Dict,
    List,
    Refusal,
    Scalar,
    Special,
    Translation,
    Tuple,
    Value,
    as_scalar,
    literal,
    name_of,
)

# In text between quotes: what repr escapes, or might.
_ESCAPED = r"[^ -&(-\[\]-~]"
_FIXED_POINT_MIN = 1e-4


def to_int(t: Translation, value: Value, base: Value | None = None) -> Value:
    """Return `int(value)`, or `int(value, base)`."""
    scalar = as_scalar(value, "an argument of int()")
    expr = t.required(scalar, "int()")
    if base is not None:
        return _to_int_of_base(t, scalar, expr, base)
    reason = f"a {name_of(scalar)} that is no int of 64 bits"
    match scalar.kind:
        case Kind.INT:
            return Scalar(Kind.INT, expr)
        case Kind.BOOL:
            return Scalar(Kind.INT, expr.cast(pl.Int64))
        case Kind.FLOAT:
            whole = expr.cast(pl.Int64, strict=False)
            return Scalar(Kind.INT, checked(t, whole, reason))
        case Kind.STR:
            # What Polars reads as an int Python reads alike; but Python reads more.
            read = t.let(expr.cast(pl.Int64, strict=False))
            made = corrected(t, read, read.is_null(), [expr], int, reason)
            return Scalar(Kind.INT, made)
        case Kind.BYTES:
            return Scalar(Kind.INT, computed(t, [expr], int, pl.Int64, reason))
        case _:
            msg = f"int() of a {name_of(scalar)}"
            raise Refusal(msg)


def _to_int_of_base(
    t: Translation, scalar: Scalar, expr: pl.Expr, base: Value
) -> Value:
    if scalar.kind not in {Kind.STR, Kind.BYTES} or not isinstance(base, Constant):
        msg = "int() with such a base"
        raise Refusal(msg)
    number = base.value
    reason = f"a {name_of(scalar)} that is no int of 64 bits"
    made = computed(t, [expr], lambda text: int(text, number), pl.Int64, reason)
    return Scalar(Kind.INT, made)


def to_float(t: Translation, value: Value) -> Value:
    """Return `float(value)`."""
    scalar = as_scalar(value, "an argument of float()")
    expr = t.required(scalar, "float()")
    reason = f"a {name_of(scalar)} that is no float"
    match scalar.kind:
        case Kind.FLOAT:
            return Scalar(Kind.FLOAT, expr)
        case Kind.INT | Kind.BOOL:
            return Scalar(Kind.FLOAT, expr.cast(pl.Float64))
        case Kind.STR:
            read = t.let(expr.cast(pl.Float64, strict=False))
            made = corrected(t, read, read.is_null(), [expr], float, reason)
            return Scalar(Kind.FLOAT, made)
        case Kind.BYTES:
            return Scalar(Kind.FLOAT, computed(t, [expr], float, pl.Float64, reason))
        case _:
            msg = f"float() of a {name_of(scalar)}"
            raise Refusal(msg)


def to_bool(t: Translation, value: Value) -> Value:
    """Return `bool(value)`."""
    return Scalar(Kind.BOOL, truth(t, value))


def truth(t: Translation, value: Value) -> pl.Expr:
    """Return whether a value counts as true, which is never null."""
    match value:
        case Special():
            return value.truth(t)
        case Comprehension():
            msg = "whether a comprehension is true"
            raise Refusal(msg)
        case Scalar(kind, expr, is_optional):
            holds = _truth_of(kind, expr)
            return holds.fill_null(False) if is_optional else holds
        case Tuple(items):
            return pl.lit(bool(items))
        case Dict(items):
            return pl.lit(bool(items))
        case List(_, exprs):
            return exprs[0].list.len() > 0
        case Constant(constant):
            return pl.lit(bool(constant))
        case _:
            assert_never(value)


def _truth_of(kind: Kind, expr: pl.Expr) -> pl.Expr:
    match kind:
        case Kind.STR:
            return expr.str.len_bytes() > 0
        case Kind.BYTES:
            return expr.bin.size() > 0
        case Kind.INT | Kind.FLOAT:
            return expr != 0
        case Kind.BOOL:
            return expr
        case Kind.DATETIME | Kind.DATE:
            return expr.is_not_null()
        case _:
            assert_never(kind)


def to_text(t: Translation, value: Value) -> Value:
    """Return `str(value)`."""
    return _as_text(t, value, str)


def to_repr(t: Translation, value: Value) -> Value:
    """Return `repr(value)`."""
    return _as_text(t, value, repr)


def _as_text(t: Translation, value: Value, function: Callable[[Any], str]) -> Value:
    match value:
        case Scalar():
            return Scalar(Kind.STR, _scalar_as_text(value, function))
        case Constant(constant):
            if constant is not None:
                literal(constant)
            return Constant(function(constant))
        case Tuple(items):
            parts = [_part(t, item) for item in items]
            return _enclosed("(", parts, ",)" if len(parts) == 1 else ")")
        case Dict(items):
            parts = [
                pl.concat_str([pl.lit(f"{key!r}: "), _part(t, item)])
                for key, item in items.items()
            ]
            return _enclosed("{", parts, "}")
        case List(item, (expr,), None) if isinstance(item, Plain):
            return Scalar(Kind.STR, computed_unchecked([expr], repr, pl.String))
        case _:
            msg = f"the text of a {name_of(value)}"
            raise Refusal(msg)


def _part(t: Translation, value: Value) -> pl.Expr:
    return as_scalar(to_repr(t, value), "a part of a text").expr


def _enclosed(start: str, parts: list[pl.Expr], end: str) -> Value:
    between = [part for one in parts for part in (pl.lit(", "), one)][1:]
    return Scalar(Kind.STR, pl.concat_str([pl.lit(start), *between, pl.lit(end)]))


def _scalar_as_text(value: Scalar, function: Callable[[Any], str]) -> pl.Expr:
    text = _present_as_text(value.kind, value.expr, function)
    if not value.is_optional:
        return text
    return pl.when(value.expr.is_null()).then(pl.lit("None")).otherwise(text)


def _present_as_text(
    kind: Kind, expr: pl.Expr, function: Callable[[Any], str]
) -> pl.Expr:
    match kind:
        case Kind.STR:
            if function is str:
                return expr
            plain = pl.concat_str([pl.lit("'"), expr, pl.lit("'")])
            odd = expr.str.contains(_ESCAPED)
            return corrected_unchecked(plain, odd, [expr], repr)
        case Kind.INT:
            return expr.cast(pl.String)
        case Kind.FLOAT:
            # Both write the shortest digits; only Python has an exponent of two digits.
            size = expr.abs()
            odd = expr.is_nan() | ((size < _FIXED_POINT_MIN) & (size > 0))
            return corrected_unchecked(expr.cast(pl.String), odd, [expr], repr)
        case Kind.BOOL:
            return pl.when(expr).then(pl.lit("True")).otherwise(pl.lit("False"))
        case Kind.BYTES | Kind.DATETIME | Kind.DATE:
            return computed_unchecked([expr], function, pl.String)
        case _:
            assert_never(kind)
