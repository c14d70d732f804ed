"""Formatting: f-strings, format specifications and `%`, as Python writes them."""

import re
import string
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl

from millstream.engine.columnar.conversions import to_repr, to_text
from millstream.engine.columnar.kernels import computed
from millstream.engine.columnar.shapes import Kind
from millstream.engine.columnar.values import (
    Constant,
    Dict,
    Refusal,
    Scalar,
    Translation,
    Tuple,
    Value,
    as_scalar,
    name_of,
)

_DIRECTIVE = re.compile(
    r"%(?P<key>\([^()]*\))?(?P<flags>[-+ #0]*)(?P<width>\d*)(?P<precision>\.\d*)?"
    r"(?P<length>[hlL]?)(?P<type>.)",
    re.DOTALL,
)
# A specification that asks for more room than this is left to the row path.
_WIDTH_MAX = 9999
_NUMBER = re.compile(r"\d+")


def text_of_parts(parts: Sequence[Value]) -> Value:
    """Return one text made of texts: what an f-string is once its values are texts."""
    exprs: list[pl.Expr] = []
    constants: list[str] = []
    for part in parts:
        if isinstance(part, Constant):
            constants.append(str(part.value))
        exprs.append(as_scalar(part, "a part of a text").expr)
    if len(constants) == len(parts):
        return Constant("".join(constants))
    return Scalar(Kind.STR, pl.concat_str(exprs))


def format_value(
    t: Translation, value: Value, conversion: str | None = None, spec: str = ""
) -> Value:
    """Return `f"{value!conversion:spec}"`; no conversion is None."""
    match conversion:
        case "s":
            value = to_text(t, value)
        case "r":
            value = to_repr(t, value)
        case "a":
            value = _each(t, to_repr(t, value), _escaped, "!a")
        case _:
            assert conversion is None, "there is no other conversion"
    if not spec:
        return to_text(t, value)
    _check_width(spec)
    if isinstance(value, Constant):
        try:
            return Constant(format(value.value, spec))
        except Exception as error:
            msg = f"an error of the format {spec!r}"
            raise Refusal(msg) from error
    return _each(t, value, lambda known: format(known, spec), f"the format {spec!r}")


def _escaped(shown: str) -> str:
    return shown.encode("ascii", "backslashreplace").decode("ascii")


def _check_width(spec: str) -> None:
    if any(int(number) > _WIDTH_MAX for number in _NUMBER.findall(spec)):
        msg = f"the format {spec!r}"
        raise Refusal(msg)


def _each(
    t: Translation, value: Value, function: Callable[[Any], str], operation: str
) -> Value:
    """Return what a Python function makes of one plain value a record."""
    scalar = as_scalar(value, f"what is written by {operation}")
    inputs = [t.required(scalar, operation)]
    made = computed(t, inputs, function, pl.String, f"an error of {operation}")
    return Scalar(Kind.STR, made)


def format_text(
    t: Translation, template: Any, args: Sequence[Value], keywords: Mapping[str, Value]
) -> Value:
    """Return `template.format(*args, **keywords)`."""
    if type(template) is not str:
        msg = f"{type(template).__name__}.format() isn't known"
        raise Refusal(msg)
    try:
        fields = list(string.Formatter().parse(template))
    except ValueError as error:
        msg = "a template that isn't one"
        raise Refusal(msg) from error
    parts: list[Value] = []
    is_numbered = False
    count = 0
    for before, name, spec, conversion in fields:
        parts.append(Constant(before))
        if name is None:
            continue
        if "{" in (spec or ""):
            msg = "a format inside a format"
            raise Refusal(msg)
        is_numbered |= name.isdecimal()
        if name == "":
            name, count = str(count), count + 1  # noqa: PLW2901  As Python numbers them.
        value = _argument(name, args, keywords)
        parts.append(format_value(t, value, conversion, spec or ""))
    if is_numbered and count:
        msg = "fields with numbers and without"
        raise Refusal(msg)
    return text_of_parts(parts)


def _argument(name: str, args: Sequence[Value], keywords: Mapping[str, Value]) -> Value:
    if name.isdecimal() and name.isascii() and int(name) < len(args):
        return args[int(name)]
    if name in keywords:
        return keywords[name]
    msg = f"no argument {name!r} of a template"
    raise Refusal(msg)


def percent(t: Translation, template: Any, value: Value) -> Value:
    """Return `template % value`."""
    if type(template) is not str:
        msg = "% of what is no text"
        raise Refusal(msg)
    positional = _arguments_of_percent(value)
    parts: list[Value] = []
    used = 0
    end = 0
    while (start := template.find("%", end)) >= 0:
        parts.append(Constant(template[end:start]))
        found = _DIRECTIVE.match(template, start)
        if found is None:
            msg = f"the template {template!r}"
            raise Refusal(msg)
        end = found.end()
        if found["type"] == "%":
            if found.group() != "%%":
                msg = f"the template {template!r}"
                raise Refusal(msg)
            parts.append(Constant("%"))
            continue
        if found["key"]:
            parts.append(_directive(t, found, _field(value, found["key"][1:-1])))
            continue
        if used == len(positional):
            msg = "too few values for a template"
            raise Refusal(msg)
        parts.append(_directive(t, found, positional[used]))
        used += 1
    parts.append(Constant(template[end:]))
    if used < len(positional) and not isinstance(value, Dict):
        msg = "too many values for a template"
        raise Refusal(msg)
    return text_of_parts(parts)


def _arguments_of_percent(value: Value) -> Sequence[Value]:
    match value:
        case Tuple(items):
            return items
        case Constant(tuple() as constants):
            return [Constant(each) for each in constants]
        case Scalar() | Dict() | Constant(int() | float() | str() | None):
            return [value]
        case _:
            msg = f"% with a {name_of(value)}"
            raise Refusal(msg)


def _field(value: Value, key: str) -> Value:
    if isinstance(value, Dict) and key in value.items:
        return value.items[key]
    msg = f"no value {key!r} for a template"
    raise Refusal(msg)


def _directive(t: Translation, found: "re.Match[str]", value: Value) -> Value:
    """Return one value as a directive like `%5.2f` writes it."""
    flags, width, precision = found["flags"], found["width"], found["precision"]
    kind = found["type"]
    is_plain = not flags and not width and precision is None
    if kind == "s" and is_plain:
        return to_text(t, value)
    if kind == "r" and is_plain:
        return to_repr(t, value)
    if (
        kind == "d"
        and is_plain
        and isinstance(value, Scalar)
        and value.kind is Kind.INT
    ):
        return Scalar(Kind.STR, t.required(value, "%d").cast(pl.String))
    _check_width(width + (precision or ""))
    directive = f"%{flags}{width}{precision or ''}{kind}"
    if isinstance(value, Constant):
        try:
            return Constant(directive % (value.value,))
        except Exception as error:
            msg = f"an error of {directive}"
            raise Refusal(msg) from error
    return _each(t, value, lambda known: directive % (known,), directive)
