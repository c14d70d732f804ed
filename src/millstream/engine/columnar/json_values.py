"""JSON in columns: `json.loads` of lines that all look like the first ones.

From the first lines a regular expression is made that only JSON of their shape matches:
the same keys in the same order, any plain value at each. It takes the plain values out as
text. What they are is only asked of those that are used, and a line that doesn't match, or
a used value of another type than in the first lines, sends the block to the row path.
"""

import graphlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, assert_never

import polars as pl

from millstream.engine.columnar.kernels import computed, corrected
from millstream.engine.columnar.merging import choose
from millstream.engine.columnar.shapes import Kind, Plain, dtype_of
from millstream.engine.columnar.values import (
    Constant,
    Dict,
    List,
    Refusal,
    Scalar,
    Special,
    Translation,
    Value,
    as_record,
    name_of,
)

_SPACE = r"[ \t\n\r]*"
_COMMA = f"{_SPACE},{_SPACE}"
_COLON = f"{_SPACE}:{_SPACE}"
_NUMBER = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_ESCAPE = r"\\(?:[\"\\/bfnrt]|u[0-9a-fA-F]{4})"
_STRING = rf'"(?:[^"\\\x00-\x1f]|{_ESCAPE})*"'
_PLAIN = f"{_NUMBER}|{_STRING}|true|false|null"
_PLAINS = rf"\[{_SPACE}(?:(?:{_PLAIN})(?:{_COMMA}(?:{_PLAIN}))*)?{_SPACE}\]"
_CAPTURES_MAX = 100
_DEPTH_MAX = 6
_KINDS = {int: Kind.INT, float: Kind.FLOAT, str: Kind.STR, bool: Kind.BOOL}


# What the first lines have at a place.


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A plain value; of no kind it is always null."""

    kind: Kind | None
    is_optional: bool = False


@dataclass(frozen=True, slots=True)
class _Leaves:
    """A list of plain values of one kind."""

    kind: Kind


@dataclass(frozen=True, slots=True)
class _Mixed:
    """Plain values, or lists of them, of more than one type."""

    reason: str


@dataclass(frozen=True, slots=True)
class _Object:
    """An object with these keys in this order, some of them not in every line."""

    fields: "dict[str, _Node]"
    absent: frozenset[str]


_Node: TypeAlias = _Leaf | _Leaves | _Mixed | _Object


def _infer(values: Sequence[Any], depth_left: int = _DEPTH_MAX) -> _Node:
    kinds = set(map(type, values))
    present = kinds - {type(None)}
    if not present:
        return _Leaf(None)
    if kinds == {dict} and depth_left:
        return _infer_object(values, depth_left - 1)
    if len(present) == 1 and present <= set(_KINDS):
        return _Leaf(_KINDS[present.pop()], is_optional=len(kinds) == 2)
    if dict in kinds:
        msg = "JSON with objects in lists, or where there are other values, too"
        raise Refusal(msg)
    items = [item for value in values if type(value) is list for item in value]
    inner = set(map(type, items))
    if not inner <= {*_KINDS, type(None)}:
        msg = "JSON with lists of more than plain values"
        raise Refusal(msg)
    if kinds == {list} and len(inner) == 1 and inner <= set(_KINDS):
        return _Leaves(_KINDS[inner.pop()])
    names = " and ".join(sorted(kind.__name__ for kind in kinds))
    if kinds == {list}:
        names = f"list of {' and '.join(sorted(kind.__name__ for kind in inner))}"
    return _Mixed(f"a value of JSON that is {names}")


def _infer_object(values: Sequence[dict[str, Any]], depth_left: int) -> _Object:
    before: dict[str, set[str]] = {}
    for value in values:
        keys = list(value)
        for place, key in enumerate(keys):
            before.setdefault(key, set()).update(keys[place - 1 : place])
    try:
        order = list(graphlib.TopologicalSorter(before).static_order())
    except graphlib.CycleError as error:
        msg = "JSON whose keys come in different orders"
        raise Refusal(msg) from error
    fields: dict[str, _Node] = {}
    absent: set[str] = set()
    for key in order:
        found = [value[key] for value in values if key in value]
        if len(found) < len(values):
            absent.add(key)
        fields[key] = _infer(found, depth_left)
    return _Object(fields, frozenset(absent))


# The regular expression, and where it puts what it takes out.


@dataclass(slots=True)
class _Captures:
    """The groups of a regular expression that is being written, counted."""

    count: int = 0
    of_node: dict[tuple[str, ...], int] = field(default_factory=dict)
    of_key: dict[tuple[str, ...], int] = field(default_factory=dict)

    def next(self) -> int:
        self.count += 1
        if self.count > _CAPTURES_MAX:
            msg = "JSON with too many values"
            raise Refusal(msg)
        return self.count


def _pattern(node: _Node, path: tuple[str, ...], captures: _Captures) -> str:
    match node:
        case _Leaf():
            captures.of_node[path] = captures.next()
            return f"({_PLAIN})"
        case _Leaves():
            captures.of_node[path] = captures.next()
            return f"({_PLAINS})"
        case _Mixed():
            return f"(?:{_PLAIN}|{_PLAINS})"
        case _Object():
            return _object_pattern(node, path, captures)
        case _:
            assert_never(node)


def _object_pattern(node: _Object, path: tuple[str, ...], captures: _Captures) -> str:
    required = [key not in node.absent for key in node.fields]
    if not any(required):
        # Without one that is always there it isn't known where commas are.
        msg = "JSON objects without a key that all have"
        raise Refusal(msg)
    anchor = required.index(True)
    parts: list[str] = []
    for place, (key, inner) in enumerate(node.fields.items()):
        inner_path = (*path, key)
        name = _key_pattern(key)
        if key in node.absent:
            captures.of_key[inner_path] = captures.next()
            name = f"({name})"
        member = f"{name}{_COLON}{_pattern(inner, inner_path, captures)}"
        if place < anchor:
            member = f"{member}{_COMMA}"
        elif place > anchor:
            member = f"{_COMMA}{member}"
        parts.append(f"(?:{member})?" if key in node.absent else member)
    return rf"\{{{_SPACE}{''.join(parts)}{_SPACE}\}}"


def _key_pattern(key: str) -> str:
    # Either way of writing what isn't ASCII; other ways don't match, that's all.
    written = {json.dumps(key, ensure_ascii=is_ascii) for is_ascii in (False, True)}
    return f"(?:{'|'.join(map(re.escape, sorted(written)))})"


# The values.


@dataclass(frozen=True, slots=True)
class _Texts:
    """Where the texts of a line's values are found."""

    groups: pl.Expr
    captures: _Captures

    def of(self, path: tuple[str, ...]) -> pl.Expr:
        return self._group(self.captures.of_node[path])

    def has(self, path: tuple[str, ...]) -> pl.Expr:
        return self._group(self.captures.of_key[path]).is_not_null()

    def _group(self, number: int) -> pl.Expr:
        return self.groups.struct.field(str(number))


@dataclass(frozen=True, slots=True)
class JsonObject(Special):
    """A dict that `json.loads` made; its values are made where they are used."""

    node: _Object
    texts: _Texts
    path: tuple[str, ...]

    name = "dict"

    def truth(self, t: Translation) -> pl.Expr:
        """Return that it isn't empty: there is a key that all have."""
        del t
        return pl.lit(True)

    def subscript(self, t: Translation, index: Value) -> Value:
        """Return the value of a key."""
        key = self._key(index)
        if key not in self.node.fields:
            msg = f"the key {key!r}, which the first lines of JSON don't have"
            raise Refusal(msg)
        if key in self.node.absent:
            t.guard(~self.texts.has((*self.path, key)), "a key that isn't there")
        return self._value(t, key)

    def contains(self, t: Translation, needle: Value) -> Value:
        """Return whether it has a key."""
        del t
        key = self._key(needle)
        if key not in self.node.absent:
            return Constant(key in self.node.fields)
        return Scalar(Kind.BOOL, self.texts.has((*self.path, key)))

    def call_method(
        self,
        t: Translation,
        name: str,
        args: Sequence[Value],
        keywords: Mapping[str, Value],
    ) -> Value:
        """Return what `get` returns."""
        if name != "get" or keywords or not 1 <= len(args) <= 2:
            return Special.call_method(self, t, name, args, keywords)
        key = self._key(args[0])
        default = args[1] if len(args) == 2 else Constant(None)
        if key not in self.node.fields:
            return default
        if key not in self.node.absent:
            return self._value(t, key)
        has = t.let(self.texts.has((*self.path, key)))
        with t.when(has):
            value = self._value(t, key)
        return choose(has, value, default)

    def as_record(self, t: Translation) -> Value:
        """Return all of it."""
        if self.node.absent:
            msg = "JSON objects that differ in their keys"
            raise Refusal(msg)
        made = {key: self._value(t, key) for key in self.node.fields}
        return as_record(t, Dict(made))

    def _key(self, value: Value) -> str:
        key = value.value if isinstance(value, Constant) else None
        if type(key) is not str:
            msg = f"a {name_of(value)} that varies as a key"
            raise Refusal(msg)
        return key

    def _value(self, t: Translation, key: str) -> Value:
        return _value_of(t, self.node.fields[key], self.texts, (*self.path, key))


def loads(t: Translation, text: Scalar) -> Value:
    """Return `json.loads(text)`.

    Raises:
        Refusal: The first lines aren't JSON of one shape.
    """
    if text.kind is not Kind.STR:
        msg = f"json.loads() of {name_of(text)}"
        raise Refusal(msg)
    lines = [line for line in t.sample(text) if line is not None]
    known = [value for line in lines for value in _parsed(line)]
    if not known:
        msg = "the first lines aren't JSON"
        raise Refusal(msg)
    node = _infer(known)
    captures = _Captures()
    # The first group says whether there is a match.
    first = captures.next()
    inner = _pattern(node, (), captures)
    expr = t.required(text, "json.loads()")
    groups = t.let(expr.str.extract_groups(f"^({_SPACE}){inner}{_SPACE}$"))
    no_match = groups.struct.field(str(first)).is_null()
    t.guard(no_match, "a line that isn't JSON of the same shape as the first ones")
    return _value_of(t, node, _Texts(groups, captures), ())


def _parsed(line: str) -> list[Any]:
    try:
        return [json.loads(line)]
    except (ValueError, RecursionError):
        return []


def _value_of(
    t: Translation, node: _Node, texts: _Texts, path: tuple[str, ...]
) -> Value:
    match node:
        case _Object():
            return JsonObject(node, texts, path)
        case _Mixed(reason):
            raise Refusal(reason)
        case _Leaves(kind):
            return _list_of(t, kind, texts.of(path))
        case _Leaf(kind, is_optional):
            return _leaf(t, kind, texts.of(path), is_optional=is_optional)
        case _:
            assert_never(node)


def _leaf(
    t: Translation, kind: Kind | None, found: pl.Expr, *, is_optional: bool
) -> Value:
    if kind is None:
        t.guard(found != "null", "a value of JSON where there was none")
        return Constant(None)
    text = t.let(found)
    if not is_optional:
        return Scalar(kind, _plain(t, kind, text))
    is_there = t.let(text != "null")
    with t.when(is_there):
        made = _plain(t, kind, text)
    none = pl.lit(None, dtype=dtype_of(kind))
    shown = pl.when(is_there).then(made).otherwise(none)
    return Scalar(kind, shown, is_optional=True)


def _plain(t: Translation, kind: Kind, text: pl.Expr) -> pl.Expr:
    """Return what the text of a plain value stands for, if it is of this kind."""
    reason = f"a value of JSON that is no {kind.value.__name__}"
    match kind:
        case Kind.INT:
            # No other value of JSON, 1.0 included, reads as an int.
            made = t.let(text.cast(pl.Int64, strict=False))
            t.guard(made.is_null(), reason)
            return made
        case Kind.FLOAT:
            made = t.let(text.cast(pl.Float64, strict=False))
            t.guard(made.is_null() | ~text.str.contains("[.eE]"), reason)
            return made
        case Kind.BOOL:
            t.guard((text != "true") & (text != "false"), reason)
            return text == "true"
        case Kind.STR:
            t.guard(~text.str.starts_with('"'), reason)
            bare = text.str.strip_prefix('"').str.strip_suffix('"')
            has_escape = text.str.contains("\\", literal=True)
            return corrected(t, bare, has_escape, [text], _loads_text, reason)
        case _:
            msg = f"{kind.value.__name__} isn't of JSON"
            raise AssertionError(msg)


def _loads_text(text: str) -> str:
    value = json.loads(text)
    if type(value) is not str:
        msg = "not a text"
        raise TypeError(msg)
    return value


def _list_of(t: Translation, kind: Kind, text: pl.Expr) -> Value:
    reason = f"a list in JSON of more than {kind.value.__name__}"
    dtype = pl.List(dtype_of(kind))
    made = computed(t, [text], _list_loader(kind), dtype, reason)
    return List(Plain(kind), (made,))


def _list_loader(kind: Kind) -> Callable[[str], list[Any]]:
    def load(text: str) -> list[Any]:
        values = json.loads(text)
        if any(type(value) is not kind.value for value in values):
            msg = "another type"
            raise TypeError(msg)
        return list(values)

    return load
