"""Functions that are known by what they are, each with what it makes of values."""

import datetime
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from millstream.engine.columnar import (
    conversions,
    dates,
    formatting,
    json_values,
    regexes,
)
from millstream.engine.columnar.shapes import Kind
from millstream.engine.columnar.values import (
    Constant,
    Refusal,
    Translation,
    Value,
    as_scalar,
)

Handler: TypeAlias = Callable[
    [Translation, Sequence[Value], Mapping[str, Value]], Value
]


def find(function: Any) -> Handler | None:
    """Return what handles calls of a function; None if it isn't known here."""
    try:
        return KNOWN.get(function)
    except TypeError:
        return None  # It has no hash.


def _plain(
    name: str, function: Callable[..., Value], low: int, high: int | None = None
) -> Handler:
    """Return the handler of a function that takes so many arguments, by position."""

    def handle(
        t: Translation, args: Sequence[Value], keywords: Mapping[str, Value]
    ) -> Value:
        if keywords or not low <= len(args) <= (high or low):
            msg = f"{name}() with such arguments isn't known in columns"
            raise Refusal(msg)
        return function(t, *args)

    return handle


def _loads(t: Translation, text: Value) -> Value:
    return json_values.loads(t, as_scalar(text, "an argument of json.loads()"))


def _format(t: Translation, value: Value, spec: Value | None = None) -> Value:
    form = "" if spec is None else getattr(spec, "value", None)
    if type(form) is not str or (spec is not None and not isinstance(spec, Constant)):
        msg = "format() with what varies"
        raise Refusal(msg)
    return formatting.format_value(t, value, None, form)


def _regex(name: str) -> Handler:
    def handle(
        t: Translation, args: Sequence[Value], keywords: Mapping[str, Value]
    ) -> Value:
        return regexes.call_function(t, name, args, keywords)

    return handle


def _date(kind: Kind) -> Handler:
    def handle(
        t: Translation, args: Sequence[Value], keywords: Mapping[str, Value]
    ) -> Value:
        parts = ("year", "month", "day", "hour", "minute", "second", "microsecond")
        named = parts[len(args) : len(args) + len(keywords)]
        if set(named) != set(keywords):
            msg = f"{kind.value.__name__}() with such arguments isn't known in columns"
            raise Refusal(msg)
        return dates.made_of_parts(t, kind, [*args, *[keywords[n] for n in named]])

    return handle


KNOWN: dict[Any, Handler] = {
    json.loads: _plain("json.loads", _loads, 1),
    int: _plain("int", conversions.to_int, 1, 2),
    float: _plain("float", conversions.to_float, 1),
    bool: _plain("bool", conversions.to_bool, 1),
    str: _plain("str", conversions.to_text, 1),
    repr: _plain("repr", conversions.to_repr, 1),
    format: _plain("format", _format, 1, 2),
    re.compile: _regex("compile"),
    re.match: _regex("match"),
    re.search: _regex("search"),
    re.fullmatch: _regex("fullmatch"),
    re.findall: _regex("findall"),
    re.sub: _regex("sub"),
    re.split: _regex("split"),
    datetime.datetime: _date(Kind.DATETIME),
    datetime.date: _date(Kind.DATE),
    datetime.datetime.strptime: _plain("strptime", dates.strptime, 2),
    datetime.datetime.fromisoformat: _plain("fromisoformat", dates.datetime_of_iso, 1),
    datetime.date.fromisoformat: _plain("fromisoformat", dates.date_of_iso, 1),
}
