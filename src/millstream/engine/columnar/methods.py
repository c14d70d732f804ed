"""Methods: calls and attributes of values, by what the value is."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from millstream.engine.columnar import (
    containers,
    dates,
    formatting,
    regexes,
    text_operations,
)
from millstream.engine.columnar.shapes import Kind, dtype_of, kind_of
from millstream.engine.columnar.values import (
    Constant,
    Dict,
    List,
    Refusal,
    Scalar,
    Special,
    Translation,
    Tuple,
    Value,
    literal,
    name_of,
)

_TIMES = (Kind.DATETIME, Kind.DATE)
_ENTRIES_MAX = 100_000


def call_method(
    t: Translation,
    value: Value,
    name: str,
    args: Sequence[Value],
    keywords: Mapping[str, Value],
) -> Value:
    """Return `value.name(*args, **keywords)`.

    Raises:
        Refusal: It isn't known in columns.
    """
    match value:
        case Special():
            return value.call_method(t, name, args, keywords)
        case Constant(str() as text):
            if name == "format":
                return formatting.format_text(t, text, args, keywords)
            return text_operations.call_method(t, literal(text), name, args, keywords)
        case Constant(dict() as entries) if name == "get" and 1 <= len(args) <= 2:
            default = args[1] if len(args) == 2 else Constant(None)
            return look_up(t, entries, args[0], default)
        case Constant(re.Pattern() as pattern):
            return regexes.call_method(t, pattern, name, args, keywords)
        case Scalar(kind) if kind in (Kind.STR, Kind.BYTES):
            return text_operations.call_method(t, value, name, args, keywords)
        case Scalar(kind) if kind in _TIMES:
            return dates.call_method(t, value, name, args, keywords)
        case Dict(items) if not keywords:
            return _call_method_of_dict(items, name, args)
        case List() | Tuple() if not keywords:
            return containers.call_method(t, value, name, args)
        case _:
            msg = f"`.{name}()` of a {name_of(value)} isn't known in columns"
            raise Refusal(msg)


def attribute(t: Translation, value: Value, name: str) -> Value:
    """Return `value.name`.

    Raises:
        Refusal: It isn't known in columns.
    """
    if isinstance(value, Scalar) and value.kind in _TIMES:
        return dates.attribute(t, value, name)
    if isinstance(value, Special):
        return value.attribute(t, name)
    msg = f"`.{name}` of a {name_of(value)} isn't known in columns"
    raise Refusal(msg)


def _call_method_of_dict(
    items: Mapping[str, Value], name: str, args: Sequence[Value]
) -> Value:
    if name == "get" and 1 <= len(args) <= 2 and isinstance(args[0], Constant):
        default = args[1] if len(args) == 2 else Constant(None)
        key = args[0].value
        return items[key] if type(key) is str and key in items else default
    msg = f"`.{name}()` of a dict isn't known in columns"
    raise Refusal(msg)


def look_up(
    t: Translation, entries: Mapping[Any, Any], key: Value, default: Value | None
) -> Value:
    """Return what a constant dict has for a key that varies.

    Without a default a key that it lacks sends the block to the row path.

    Raises:
        Refusal: Its keys, or its values, aren't of one plain type.
    """
    if isinstance(key, Constant):
        try:
            if key.value in entries:
                return Constant(entries[key.value])
        except TypeError as error:
            raise Refusal(str(error)) from error
        if default is None:
            msg = f"the dict has no {key.value!r}"
            raise Refusal(msg)
        return default
    if not isinstance(key, Scalar) or key.kind not in (Kind.STR, Kind.INT, Kind.BYTES):
        msg = f"a {name_of(key)} looked up in a dict"
        raise Refusal(msg)
    kinds = {kind_of(each) for each in entries}
    if len(entries) > _ENTRIES_MAX or (entries and kinds != {key.kind}):
        msg = f"a dict whose keys aren't all of type {key.kind.value.__name__}"
        raise Refusal(msg)
    if not entries:
        if default is None:
            msg = "the dict is empty"
            raise Refusal(msg)
        return default
    kind, old, new = _entries(entries, key.kind)
    expr = t.once(t.required(key, "a look-up"))
    found = t.let(
        expr.replace_strict(old, new, default=None, return_dtype=dtype_of(kind))
    )
    if default is None:
        t.guard(found.is_null(), "a key that the dict lacks")
        return Scalar(kind, found)
    if isinstance(default, Constant) and default.value is None:
        return Scalar(kind, found, is_optional=True)
    other = literal(default.value) if isinstance(default, Constant) else default
    if not isinstance(other, Scalar) or other.kind is not kind:
        msg = f"a default that is no {kind.value.__name__}, as the dict's values are"
        raise Refusal(msg)
    return Scalar(kind, found.fill_null(other.expr), other.is_optional)


def _entries(
    entries: Mapping[Any, Any], key: Kind
) -> tuple[Kind, pl.Series, pl.Series]:
    """Return the type of a dict's values, its keys and its values.

    Raises:
        Refusal: They aren't of one plain type.
    """
    held = {kind_of(each) for each in entries.values()}
    kind = held.pop() if len(held) == 1 else None
    if kind is None:
        msg = "a dict whose values aren't of one plain type"
        raise Refusal(msg)
    try:
        old = pl.Series(list(entries), dtype=dtype_of(key), strict=True)
        new = pl.Series(list(entries.values()), dtype=dtype_of(kind), strict=True)
    except (OverflowError, UnicodeError) as error:
        msg = "a dict with an int of more than 64 bits, or text that isn't Unicode"
        raise Refusal(msg) from error
    return kind, old, new
