"""Dates in columns: reading, writing and taking apart `datetime` and `date`.

What is written in the usual way Polars reads; of all else Python is asked. There are no
time zones: a text with one sends its block to the row path.
"""

import datetime
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl

from millstream.engine.columnar.kernels import computed, corrected, with_values
from millstream.engine.columnar.shapes import Kind, dtype_of
from millstream.engine.columnar.values import (
    Constant,
    Refusal,
    Scalar,
    Translation,
    Value,
    as_scalar,
    name_of,
)

# What Polars is let read, a year 0 and a second 60 left out.
_YEAR = "(?:[1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])"
_DIRECTIVES = {
    "%Y": _YEAR,
    "%m": "[0-9]{2}",
    "%d": "[0-9]{2}",
    "%H": "[01][0-9]|2[0-3]",
    "%M": "[0-5][0-9]",
    "%S": "[0-5][0-9]",
    ".%f": r"\.[0-9]{1,6}",
}
_FORMAT = re.compile(r"\.%f|%.|[^%]", re.DOTALL)
_ISO = (
    rf"^{_YEAR}-[0-9]{{2}}-[0-9]{{2}}[ T](?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
    r"(?:\.[0-9]{6})?$"
)
_ISO_DATE = rf"^{_YEAR}-[0-9]{{2}}-[0-9]{{2}}$"
_WRITTEN = {"%Y", "%m", "%d", "%H", "%M", "%S", "%f"}
_DATE_PARTS = ("year", "month", "day")
_TIME_PARTS = ("hour", "minute", "second", "microsecond")
# C writes a year before this without zeros in front, or with; that varies.
_YEAR_OF_FOUR_DIGITS = 1000
_RESULTS = {
    "ctime": Kind.STR,
    "isoformat": Kind.STR,
    "isoweekday": Kind.INT,
    "strftime": Kind.STR,
    "timestamp": Kind.FLOAT,
    "toordinal": Kind.INT,
    "weekday": Kind.INT,
}


def strptime(t: Translation, text: Value, form: Value) -> Value:
    """Return `datetime.datetime.strptime(text, form)`."""
    if not isinstance(form, Constant) or type(form.value) is not str:
        msg = "strptime() with a format that varies"
        raise Refusal(msg)
    expr = _text(t, text, "strptime()")
    template: str = form.value
    reason = "a text that is no date of this format, or has a time zone"

    def read(known: str) -> datetime.datetime:
        return _plain(datetime.datetime.strptime(known, template))  # noqa: DTZ007  As asked.

    usual = _usual(template)
    if usual is None:
        made = computed(t, [expr], read, dtype_of(Kind.DATETIME), reason)
        return Scalar(Kind.DATETIME, made)
    return _read(t, expr, usual, [template.replace(".%f", "%.f")], read, reason)


def _usual(template: str) -> str | None:
    """Return the pattern of the usual texts of a format, if Polars can read it."""
    parts = _FORMAT.findall(template)
    directives = [part for part in parts if len(part) > 1]
    if not {"%Y", "%m", "%d"} <= set(directives) <= set(_DIRECTIVES):
        return None
    if len(set(directives)) < len(directives) or not template.isascii():
        return None
    if not template.isprintable() or "".join(parts) != template:
        return None
    hours = ["%H", "%M", "%S", ".%f"]
    times = [part for part in hours if part in directives]
    # Minutes without hours, and so on, mean nothing to Polars.
    if times != hours[: len(times)] or len(times) == 1:
        return None
    written = [
        f"(?:{_DIRECTIVES[part]})" if part in _DIRECTIVES else re.escape(part)
        for part in parts
    ]
    return f"^{''.join(written)}$"


def _plain(value: datetime.datetime) -> datetime.datetime:
    if value.tzinfo is not None or value.fold:
        msg = "a date with a time zone"
        raise ValueError(msg)
    return value


def _read(
    t: Translation,
    text: pl.Expr,
    usual: str,
    forms: Sequence[str],
    function: Callable[[str], datetime.datetime],
    reason: str,
) -> Value:
    is_odd = t.let(~text.str.contains(usual))
    # Only what is usual is shown to Polars: it has more in a year than Python.
    shown = t.let(pl.when(~is_odd).then(text))
    parsed = [
        shown.str.to_datetime(form, strict=False, time_unit="us")
        if "%H" in form
        else shown.str.to_date(form, strict=False).cast(pl.Datetime("us"))
        for form in forms
    ]
    made = corrected(t, pl.coalesce(parsed), is_odd, [text], function, reason)
    return Scalar(Kind.DATETIME, made)


def datetime_of_iso(t: Translation, text: Value) -> Value:
    """Return `datetime.datetime.fromisoformat(text)`."""

    def read(known: str) -> datetime.datetime:
        return _plain(datetime.datetime.fromisoformat(known))

    expr = _text(t, text, "fromisoformat()")
    forms = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"]
    reason = "a text that is no date, or has a time zone"
    return _read(t, expr, _ISO, forms, read, reason)


def date_of_iso(t: Translation, text: Value) -> Value:
    """Return `datetime.date.fromisoformat(text)`."""
    expr = _text(t, text, "fromisoformat()")
    is_odd = t.let(~expr.str.contains(_ISO_DATE))
    shown = pl.when(~is_odd).then(expr)
    parsed = shown.str.to_date("%Y-%m-%d", strict=False)
    read = datetime.date.fromisoformat
    reason = "a text that is no date"
    return Scalar(Kind.DATE, corrected(t, parsed, is_odd, [expr], read, reason))


def _text(t: Translation, value: Value, operation: str) -> pl.Expr:
    scalar = as_scalar(value, f"an argument of {operation}")
    if scalar.kind is not Kind.STR:
        msg = f"{operation} of {name_of(scalar)}"
        raise Refusal(msg)
    return t.required(scalar, operation)


def made_of_parts(t: Translation, kind: Kind, args: Sequence[Value]) -> Value:
    """Return `datetime.datetime(*args)` or `datetime.date(*args)`, of ints."""
    count = 3 if kind is Kind.DATE else 7
    parts = [as_scalar(arg, "a part of a date") for arg in args]
    if not 3 <= len(parts) <= count or any(p.kind is not Kind.INT for p in parts):
        msg = f"{kind.value.__name__}() with such arguments"
        raise Refusal(msg)
    inputs = [t.required(part, "a date") for part in parts]
    made = computed(t, inputs, kind.value, dtype_of(kind), "numbers that are no date")
    return Scalar(kind, made)


def attribute(t: Translation, value: Scalar, name: str) -> Value:
    """Return an attribute of a datetime or a date, such as `year`.

    Raises:
        Refusal: It isn't known in columns.
    """
    expr = t.required(value, f".{name}")
    is_datetime = value.kind is Kind.DATETIME
    if name in _DATE_PARTS or (is_datetime and name in _TIME_PARTS):
        return Scalar(Kind.INT, getattr(expr.dt, name)().cast(pl.Int64))
    if is_datetime and name == "tzinfo":
        return Constant(None)
    if is_datetime and name == "fold":
        return Constant(0)
    msg = f"`.{name}` of a {name_of(value)}"
    raise Refusal(msg)


def call_method(
    t: Translation,
    value: Scalar,
    name: str,
    args: Sequence[Value],
    keywords: Mapping[str, Value],
) -> Value:
    """Return what a method of a datetime or a date returns.

    Raises:
        Refusal: It isn't known in columns, or not with these arguments.
    """
    if value.kind not in {Kind.DATETIME, Kind.DATE}:
        msg = f"`.{name}()` of a {name_of(value)}"
        raise Refusal(msg)
    expr = t.required(value, f".{name}()")
    if not keywords:
        match name, args:
            case "date", () | [] if value.kind is Kind.DATETIME:
                return Scalar(Kind.DATE, expr.dt.date())
            case "weekday", () | []:
                return Scalar(Kind.INT, expr.dt.weekday().cast(pl.Int64) - 1)
            case "isoweekday", () | []:
                return Scalar(Kind.INT, expr.dt.weekday().cast(pl.Int64))
            case "isoformat", () | []:
                return Scalar(Kind.STR, _iso(value.kind, expr))
            case "strftime", (Constant(str() as template),) if _is_writable(
                value.kind, template
            ):
                return _written(t, expr, template)
            case _:
                pass
    if name == "replace":
        return _replaced(t, value.kind, expr, args, keywords)
    return _by_python(t, value.kind, expr, name, args, keywords)


def _iso(kind: Kind, expr: pl.Expr) -> pl.Expr:
    if kind is Kind.DATE:
        return expr.dt.to_string("%Y-%m-%d")
    whole = expr.dt.to_string("%Y-%m-%dT%H:%M:%S")
    exact = expr.dt.to_string("%Y-%m-%dT%H:%M:%S%.6f")
    return pl.when(expr.dt.microsecond() == 0).then(whole).otherwise(exact)


def _is_writable(kind: Kind, template: str) -> bool:
    parts = re.findall(r"%.|[^%]", template, re.DOTALL)
    known = _WRITTEN if kind is Kind.DATETIME else _WRITTEN - {"%H", "%M", "%S", "%f"}
    directives = {part for part in parts if len(part) > 1}
    is_plain = template.isascii() and template.isprintable()
    return (
        is_plain
        and bool(template)
        and "".join(parts) == template
        and directives <= known
    )


def _written(t: Translation, expr: pl.Expr, template: str) -> Value:
    shown = expr.dt.to_string(template.replace("%f", "%6f"))

    def write(known: datetime.date) -> str:
        return known.strftime(template)

    is_odd = expr.dt.year() < _YEAR_OF_FOUR_DIGITS
    reason = "an error of strftime()"
    return Scalar(Kind.STR, corrected(t, shown, is_odd, [expr], write, reason))


def _replaced(
    t: Translation,
    kind: Kind,
    expr: pl.Expr,
    args: Sequence[Value],
    keywords: Mapping[str, Value],
) -> Value:
    parts = _DATE_PARTS + (_TIME_PARTS if kind is Kind.DATETIME else ())
    values = list(keywords.values())
    kinds = {as_scalar(each, "a part of a date").kind for each in values}
    if args or not keywords or not set(keywords) <= set(parts) or kinds != {Kind.INT}:
        msg = "`.replace()` of a date with such arguments"
        raise Refusal(msg)
    names = tuple(keywords)

    def replace(known: Any, *new: Any) -> Any:
        return known.replace(**dict(zip(names, new, strict=True)))

    asked = with_values(replace, [Scalar(kind, expr), *values])
    assert asked is not None, "constants and columns only"
    columns, function = asked
    inputs = [t.required(column, ".replace()") for column in columns]
    made = computed(t, inputs, function, dtype_of(kind), "numbers that are no date")
    return Scalar(kind, made)


def _by_python(
    t: Translation,
    kind: Kind,
    expr: pl.Expr,
    name: str,
    args: Sequence[Value],
    keywords: Mapping[str, Value],
) -> Value:
    result = _RESULTS.get(name)
    method = getattr(kind.value, name, None)
    constants = [each.value for each in args if isinstance(each, Constant)]
    named = {k: v.value for k, v in keywords.items() if isinstance(v, Constant)}
    is_known = len(constants) == len(args) and len(named) == len(keywords)
    if result is None or method is None or not is_known:
        msg = f"`.{name}()` of a {kind.value.__name__} isn't known in columns"
        raise Refusal(msg)

    def call(known: Any) -> Any:
        return method(known, *constants, **named)

    reason = f"an error of .{name}()"
    made = computed(t, [expr], call, dtype_of(result), reason)
    return Scalar(result, made)
