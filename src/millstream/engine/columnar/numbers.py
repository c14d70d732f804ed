"""Numbers: Python's arithmetic in columns, where ints never overflow and zero raises."""

import math
import re
from collections.abc import Callable
from typing import Any

import polars as pl

from millstream.engine.columnar.shapes import Kind
from millstream.engine.columnar.values import (
    Constant,
    Refusal,
    Scalar,
    Translation,
    Value,
    literal,
)

_INT_MAX = 2**63 - 1
_INT_MIN = -(2**63)
# Up to here every int is a float too, so that both compare and divide alike.
_EXACT = 2**53
# A product that is less than this as a float is less than 2**63 as an int.
_PRODUCT_MAX = 9.2e18
_NUMBERS = (Kind.INT, Kind.FLOAT, Kind.BOOL)


def is_number(value: Value) -> bool:
    """Say whether a value is a column of numbers or a plain number."""
    if isinstance(value, Constant):
        return type(value.value) in (int, float, bool)
    return isinstance(value, Scalar) and value.kind in _NUMBERS


def operand(t: Translation, value: Value, operation: str) -> Scalar:
    """Return a number as one column that is no None; a bool counts as 0 or 1."""
    scalar = literal(value.value) if isinstance(value, Constant) else value
    assert isinstance(scalar, Scalar), "only numbers get here"
    expr = t.once(t.required(scalar, operation))
    if scalar.kind is Kind.BOOL:
        return Scalar(Kind.INT, expr.cast(pl.Int64))
    return Scalar(scalar.kind, expr)


def binary(t: Translation, name: str, left: Value, right: Value) -> Scalar:
    """Return what an arithmetic operator, by its sign, makes of two numbers.

    Raises:
        Refusal: It is an operator, or a use of it, that has no equal in columns.
    """
    if name in ("&", "|", "^"):
        return _bits(t, name, left, right)
    made = _BINARY.get(name)
    if made is None:
        msg = f"`{name}` on numbers isn't known in columns"
        raise Refusal(msg)
    a, b = operand(t, left, f"`{name}`"), operand(t, right, f"`{name}`")
    return made(t, a, b, right)


def _both_float(a: Scalar, b: Scalar) -> tuple[pl.Expr, pl.Expr]:
    return as_float(a), as_float(b)


def as_float(a: Scalar) -> pl.Expr:
    """Return a number as a float, rounded as Python rounds large ints."""
    return a.expr if a.kind is Kind.FLOAT else a.expr.cast(pl.Float64)


def _constant_int(value: Value) -> int | None:
    if isinstance(value, Constant) and type(value.value) in (int, bool):
        return int(value.value)
    return None


def _add(t: Translation, a: Scalar, b: Scalar, right: Value) -> Scalar:
    if Kind.FLOAT in (a.kind, b.kind):
        x, y = _both_float(a, b)
        for mine, other in ((a, y), (b, x)):
            if _is_zero(mine):
                # Polars leaves 0.0 out of a sum, but -0.0 + 0.0 is 0.0.
                return Scalar(Kind.FLOAT, _without_sign_of_zero(other, other))
        if _is_full(x) and _is_full(y):
            return Scalar(Kind.FLOAT, x + y)
        x, y = t.once(x), t.once(y)
        is_minus = _is_minus_zero(x) & _is_minus_zero(y)
        return Scalar(Kind.FLOAT, _of_zeros(x, y, is_minus).otherwise(x + y))
    if _is_zero(a) or _is_zero(b):
        return b if _is_zero(a) else a
    constant = _constant_int(right)
    if constant is not None:
        _guard_shift(t, a.expr, constant)
        return Scalar(Kind.INT, a.expr + b.expr)
    total = t.let(a.expr + b.expr)
    t.guard(((a.expr ^ total) & (b.expr ^ total)) < 0, OVERFLOW)
    return Scalar(Kind.INT, total)


def _guard_shift(t: Translation, expr: pl.Expr, constant: int) -> None:
    if constant > 0:
        t.guard(expr > _INT_MAX - constant, OVERFLOW)
    elif constant < 0:
        t.guard(expr < _INT_MIN - constant, OVERFLOW)


def _subtract(t: Translation, a: Scalar, b: Scalar, right: Value) -> Scalar:
    if Kind.FLOAT in (a.kind, b.kind):
        x, y = _both_float(a, b)
        if _is_zero(a):
            # Polars makes -y of 0.0 - y, but 0.0 - 0.0 is 0.0.
            return Scalar(Kind.FLOAT, _without_sign_of_zero(y, -y))
        if _is_full(x) and _is_full(y):
            return Scalar(Kind.FLOAT, x - y)
        x, y = t.once(x), t.once(y)
        is_minus = _is_minus_zero(x) & ~_is_minus_zero(y)
        return Scalar(Kind.FLOAT, _of_zeros(x, y, is_minus).otherwise(x - y))
    constant = _constant_int(right)
    if constant is not None and constant != _INT_MIN:
        _guard_shift(t, a.expr, -constant)
        return Scalar(Kind.INT, a.expr - b.expr)
    rest = t.let(a.expr - b.expr)
    t.guard(((a.expr ^ b.expr) & (a.expr ^ rest)) < 0, OVERFLOW)
    return Scalar(Kind.INT, rest)


def _multiply(t: Translation, a: Scalar, b: Scalar, _right: Value) -> Scalar:
    x, y = _both_float(a, b)
    if Kind.FLOAT in (a.kind, b.kind):
        return Scalar(Kind.FLOAT, x * y)
    t.guard((x * y).abs() >= _PRODUCT_MAX, OVERFLOW)
    return Scalar(Kind.INT, a.expr * b.expr)


def _divide(t: Translation, a: Scalar, b: Scalar, _right: Value) -> Scalar:
    t.guard(b.expr == 0, _ZERO)
    for each in (a, b):
        if each.kind is Kind.INT and Kind.FLOAT not in (a.kind, b.kind):
            t.guard(_is_beyond(each.expr, _EXACT), "an int too large to divide exactly")
    x, y = _both_float(a, b)
    # By a divisor that is the same in all records Polars divides by multiplying with its
    # reciprocal, which is rounded twice. Adding a column of zeros makes it a full column.
    return Scalar(Kind.FLOAT, x / (y + x.is_null().cast(pl.Float64)))


def _is_zero(a: Scalar) -> bool:
    # What is made of constants alone the optimizer works out, before it drops a 0.0.
    return not a.expr.meta.root_names() and pl.select(a.expr).item() == 0


_COLUMN = re.compile(r"[abc]\d+")


def _is_full(expr: pl.Expr) -> bool:
    """Say whether a column surely has a value a record.

    What is the same in all records may be a single value, and to add that Polars takes
    another way, on which a zero changes nothing: not even the sign of a zero.
    """
    names = expr.meta.root_names()
    text = str(expr)
    return (
        bool(names)
        and all(_COLUMN.fullmatch(name) for name in names)
        and "when(" not in text
        and "udf" not in text
    )


def _is_minus_zero(x: pl.Expr) -> pl.Expr:
    """Say of a zero whether it is minus zero."""
    return 1 / x < 0


def _of_zeros(x: pl.Expr, y: pl.Expr, is_minus: pl.Expr) -> Any:
    """Return the case of two zeros of a sum: minus zero if it `is_minus`, as `x` is then."""
    zero = pl.when(is_minus).then(x).otherwise(0.0)
    return pl.when((x == 0) & (y == 0)).then(zero)


def _without_sign_of_zero(tested: pl.Expr, result: pl.Expr) -> pl.Expr:
    return pl.when(tested == 0).then(0.0).otherwise(result)


def _floor_divide(t: Translation, a: Scalar, b: Scalar, right: Value) -> Scalar:
    _refuse_floats(a, b, "//")
    _guard_divisor(t, a, b, right)
    return Scalar(Kind.INT, a.expr // b.expr)


def _modulo(t: Translation, a: Scalar, b: Scalar, right: Value) -> Scalar:
    _refuse_floats(a, b, "%")
    _guard_divisor(t, a, b, right)
    return Scalar(Kind.INT, a.expr % b.expr)


def _guard_divisor(t: Translation, a: Scalar, b: Scalar, right: Value) -> None:
    t.guard(b.expr == 0, _ZERO)
    if _constant_int(right) in (None, -1):
        t.guard((b.expr == -1) & (a.expr == _INT_MIN), OVERFLOW)


def _power(t: Translation, a: Scalar, b: Scalar, right: Value) -> Scalar:
    exponent = _constant_int(right)
    if a.kind is not Kind.INT or exponent is None or not 1 <= exponent <= 4:
        msg = "`**` is known in columns for an int to the power of 1 to 4 only"
        raise Refusal(msg)
    made = a
    for _ in range(exponent - 1):
        made = _multiply(t, Scalar(Kind.INT, t.once(made.expr)), a, right)
    return made


def _refuse_floats(a: Scalar, b: Scalar, name: str) -> None:
    if Kind.FLOAT in (a.kind, b.kind):
        msg = f"`{name}` on floats isn't known in columns"
        raise Refusal(msg)


def _bits(t: Translation, name: str, left: Value, right: Value) -> Scalar:
    operators: dict[str, Callable[[pl.Expr, pl.Expr], pl.Expr]] = {
        "&": lambda a, b: a & b,
        "|": lambda a, b: a | b,
        "^": lambda a, b: a ^ b,
    }
    sides = [
        literal(each.value) if isinstance(each, Constant) else each
        for each in (left, right)
    ]
    if all(isinstance(each, Scalar) and each.kind is Kind.BOOL for each in sides):
        x, y = (t.required(each, f"`{name}`") for each in sides)  # type: ignore[arg-type]
        return Scalar(Kind.BOOL, operators[name](x, y))
    a, b = operand(t, left, f"`{name}`"), operand(t, right, f"`{name}`")
    _refuse_floats(a, b, name)
    return Scalar(Kind.INT, operators[name](a.expr, b.expr))


OVERFLOW = "an int of more than 64 bits"
_ZERO = "a division by zero"
_Operation = Callable[[Translation, Scalar, Scalar, Value], Scalar]
_BINARY: dict[str, _Operation] = {
    "+": _add,
    "-": _subtract,
    "*": _multiply,
    "/": _divide,
    "//": _floor_divide,
    "%": _modulo,
    "**": _power,
}


def _is_beyond(expr: pl.Expr, bound: int) -> pl.Expr:
    return ~expr.is_between(-bound, bound)


def unary(t: Translation, name: str, value: Value) -> Scalar:
    """Return what `-`, `+` or `~` makes of a number."""
    a = operand(t, value, f"`{name}`")
    if name == "+":
        return a
    if name == "~":
        _refuse_floats(a, a, "~")
        return Scalar(Kind.INT, -1 - a.expr)
    if a.kind is Kind.INT:
        t.guard(a.expr == _INT_MIN, OVERFLOW)
    return Scalar(a.kind, -a.expr)


def absolute(t: Translation, value: Value) -> Scalar:
    """Return what `abs` makes of a number."""
    a = operand(t, value, "abs()")
    if a.kind is Kind.INT:
        t.guard(a.expr == _INT_MIN, OVERFLOW)
    return Scalar(a.kind, a.expr.abs())


def rounded(t: Translation, value: Value, digits: Value | None) -> Scalar:
    """Return what `round` makes of a number."""
    a = operand(t, value, "round()")
    if digits is None or (isinstance(digits, Constant) and digits.value is None):
        if a.kind is Kind.INT:
            return a
        t.guard(~(a.expr.abs() < _EXACT), "a float too large to round to an int")
        whole = a.expr.round(0, mode="half_to_even")
        return Scalar(Kind.INT, whole.cast(pl.Int64, strict=False))
    count = _constant_int(digits)
    if count is None:
        msg = "round() to a number of digits that varies"
        raise Refusal(msg)
    if a.kind is Kind.INT:
        if count < 0:
            msg = "round() of an int to tens"
            raise Refusal(msg)
        return a

    # Python rounds the decimal digits of a float; no arithmetic on floats does that.
    def rounded_each(floats: pl.Series) -> pl.Series:
        # Polars puts null where the branch of a when/then that this is in isn't taken.
        made = [None if x is None else round(x, count) for x in floats.to_list()]
        return pl.Series(made, dtype=pl.Float64)

    t.guard(~a.expr.is_finite(), "a float that is no number in round()")
    finite = pl.when(a.expr.is_finite()).then(a.expr).otherwise(0.0)
    made = finite.map_batches(
        rounded_each, return_dtype=pl.Float64, is_elementwise=True
    )
    return Scalar(Kind.FLOAT, made)


def whole(t: Translation, value: Value, name: str) -> Scalar:
    """Return what `math.floor`, `ceil` or `trunc` makes of a number."""
    a = operand(t, value, f"math.{name}()")
    if a.kind is Kind.INT:
        return a
    t.guard(~(a.expr.abs() < _EXACT), f"a float too large in math.{name}()")
    made = {
        "floor": a.expr.floor(),
        "ceil": a.expr.ceil(),
        "trunc": pl.when(a.expr < 0).then(a.expr.ceil()).otherwise(a.expr.floor()),
    }[name]
    return Scalar(Kind.INT, made.cast(pl.Int64, strict=False))


def square_root(t: Translation, value: Value) -> Scalar:
    """Return what `math.sqrt` makes of a number."""
    a = operand(t, value, "math.sqrt()")
    x = as_float(a)
    t.guard(x < 0, "the square root of a negative number")
    return Scalar(Kind.FLOAT, x.sqrt())


def compare(t: Translation, name: str, left: Value, right: Value) -> pl.Expr:
    """Return whether `==`, `!=`, `<`, `<=`, `>` or `>=` holds between two numbers.

    Neither may be None. NaN is equal to nothing, and in no order; an int and a float
    compare as what they are, not as two floats.
    """
    a, b = operand(t, left, f"`{name}`"), operand(t, right, f"`{name}`")
    if Kind.FLOAT not in (a.kind, b.kind):
        return COMPARE[name](a.expr, b.expr)
    for mine, other, side in ((a, b, left), (b, a, right)):
        if mine.kind is Kind.INT and other.kind is Kind.FLOAT:
            constant = _constant_int(side)
            if constant is None or abs(constant) > _EXACT:
                t.guard(_is_beyond(mine.expr, _EXACT), "an int too large for a float")
    x, y = _both_float(a, b)
    holds = COMPARE[name](x, y)
    if name == "!=":
        return holds | _is_nan(left, x) | _is_nan(right, y)
    for side, expr in ((left, x), (right, y)):
        if not _is_known_number(side):
            holds = holds & expr.is_not_nan()
    return holds


def _is_known_number(side: Value) -> bool:
    return isinstance(side, Constant) and not math.isnan(side.value)


def _is_nan(side: Value, expr: pl.Expr) -> pl.Expr:
    return pl.lit(False) if _is_known_number(side) else expr.is_nan()


COMPARE: dict[str, Callable[[Any, Any], pl.Expr]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
