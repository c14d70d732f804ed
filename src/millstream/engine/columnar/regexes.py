"""Regular expressions in columns: Python's patterns, written anew for Polars' engine.

A pattern's syntax tree is written in the other engine's words where both mean the same.
Some things mean the same in ASCII text only, or in text without line ends: records with
other text are asked of Python, as are all records where a pattern can't be written so.
"""

import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import polars as pl

from millstream.engine.columnar.kernels import (
    checked,
    computed,
    computed_unchecked,
    corrected_unchecked,
)
from millstream.engine.columnar.shapes import TEXT, Kind
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
    as_scalar,
    name_of,
)

# It has no name for others to use, and no other way leads to the syntax tree.
_parser: Any = importlib.import_module("re._parser")
_REPEATS_MAX = 500
_FLAGS = re.UNICODE | re.ASCII | re.DOTALL | re.IGNORECASE | re.VERBOSE
_PATTERNS_MAX = 512

# What the categories are among ASCII characters; \s depends on re.ASCII.
_DIGIT, _WORD = "0-9", "0-9A-Z_a-z"
_SPACE, _SPACE_OF_ASCII = r"\t-\r \x1c-\x1f", r"\t-\r "


class _Unlike(Exception):  # noqa: N818  It is an answer, not an error.
    """What the other engine has nothing for that is surely the same."""


@dataclass(slots=True)
class _Writer:
    """Writes a syntax tree as a pattern of the other engine."""

    flags: int
    needs_ascii: bool = False
    needs_no_line_end: bool = False
    optional: set[int] = field(default_factory=set)

    def write(self, tree: Any, *, is_optional: bool = False) -> str:
        return "".join(
            self._write_one(str(op), argument, is_optional) for op, argument in tree
        )

    def _write_one(self, op: str, argument: Any, is_optional: bool) -> str:
        match op:
            case "LITERAL":
                return self._literal(argument)
            case "NOT_LITERAL":
                return self._class([("NEGATE", None), ("LITERAL", argument)])
            case "ANY":
                return "(?s:.)" if self.flags & re.DOTALL else r"[^\n]"
            case "IN":
                return self._class([(str(kind), what) for kind, what in argument])
            case "BRANCH":
                parts = [self.write(each, is_optional=True) for each in argument[1]]
                return f"(?:{'|'.join(parts)})"
            case "SUBPATTERN":
                return self._group(argument, is_optional)
            case "MAX_REPEAT" | "MIN_REPEAT":
                return self._repeat(op, argument, is_optional)
            case "AT":
                return self._place(str(argument))
            case _:
                raise _Unlike(op)

    def _literal(self, code: int) -> str:
        if self.flags & re.IGNORECASE:
            return self._class([("LITERAL", code)])
        return _escaped(code)

    def _class(self, items: Sequence[tuple[str, Any]]) -> str:
        parts: list[str] = []
        for kind, what in items:
            match kind:
                case "NEGATE":
                    parts.append("^")
                case "LITERAL":
                    parts.extend(map(_escaped, self._cases(what, what)))
                case "RANGE":
                    low, high = what
                    parts.append(f"{_escaped(low)}-{_escaped(high)}")
                    if self.flags & re.IGNORECASE:
                        parts.extend(map(_escaped, self._cases(low, high)))
                case "CATEGORY":
                    parts.append(self._category(str(what)))
                case _:
                    raise _Unlike(kind)
        return f"[{''.join(parts)}]"

    def _cases(self, low: int, high: int) -> list[int]:
        """Return the characters of a range, and their other cases if these count."""
        if not self.flags & re.IGNORECASE:
            return [low]
        # Other texts have letters that are equal to ASCII ones without regard to case.
        if high > 127:
            raise _Unlike(re.IGNORECASE)
        self.needs_ascii = True
        both = {ord(c) for n in range(low, high + 1) for c in chr(n).swapcase()}
        return sorted({*both, *range(low, high + 1)})

    def _category(self, name: str) -> str:
        is_ascii = bool(self.flags & re.ASCII)
        self.needs_ascii |= not is_ascii
        space = _SPACE_OF_ASCII if is_ascii else _SPACE
        known = {
            "CATEGORY_DIGIT": _DIGIT,
            "CATEGORY_NOT_DIGIT": f"[^{_DIGIT}]",
            "CATEGORY_SPACE": space,
            "CATEGORY_NOT_SPACE": f"[^{space}]",
            "CATEGORY_WORD": _WORD,
            "CATEGORY_NOT_WORD": f"[^{_WORD}]",
        }
        if name not in known:
            raise _Unlike(name)
        return known[name]

    def _group(self, argument: Any, is_optional: bool) -> str:
        number, added, removed, tree = argument
        if added or removed:
            raise _Unlike(argument)
        written = self.write(tree, is_optional=is_optional)
        if number is None:
            return f"(?:{written})"
        if is_optional:
            self.optional.add(number)
        return f"({written})"

    def _repeat(self, op: str, argument: Any, is_optional: bool) -> str:
        low, high, tree = argument
        is_endless = high == _parser.MAXREPEAT
        if low > _REPEATS_MAX or (not is_endless and high > _REPEATS_MAX):
            raise _Unlike(high)
        if tree.getwidth()[0] == 0:
            raise _Unlike(tree)
        if high != 1 and _has_group(tree):
            raise _Unlike(tree)
        written = self.write(tree, is_optional=is_optional or low == 0)
        lazy = "?" if op == "MIN_REPEAT" else ""
        bounds = f"{{{low},{'' if is_endless else high}}}"
        return f"(?:{written}){bounds}{lazy}"

    def _place(self, name: str) -> str:
        if self.flags & re.MULTILINE:
            raise _Unlike(re.MULTILINE)
        match name:
            case "AT_BEGINNING" | "AT_BEGINNING_STRING":
                return r"\A"
            case "AT_END":
                # To Python the end is also before a last line end.
                self.needs_no_line_end = True
                return r"\z"
            case "AT_END_STRING":
                return r"\z"
            case "AT_BOUNDARY":
                self.needs_ascii |= not self.flags & re.ASCII
                return r"(?-u:\b)"
            case _:
                raise _Unlike(name)


def _escaped(code: int) -> str:
    if 0xD800 <= code <= 0xDFFF:
        raise _Unlike(code)
    return f"\\x{{{code:x}}}"


def _has_group(tree: Any) -> bool:
    # `state.groups` counts those of the whole pattern, so look.
    return any(
        (str(op) == "SUBPATTERN" and argument[0] is not None)
        or any(map(_has_group, _subtrees(argument)))
        for op, argument in tree
    )


def _subtrees(argument: Any) -> list[Any]:
    if isinstance(argument, _parser.SubPattern):
        return [argument]
    if isinstance(argument, tuple | list):
        return [tree for each in argument for tree in _subtrees(each)]
    return []


@dataclass(frozen=True, slots=True)
class _Pattern:
    """A pattern of Python, and how the other engine writes it, if it can.

    `is_odd` says of which texts Python has to be asked; None is of none.
    """

    own: "re.Pattern[str]"
    written: str | None
    width_min: int
    is_odd: Callable[[pl.Expr], pl.Expr] | None
    optional: frozenset[int]


@lru_cache(maxsize=_PATTERNS_MAX)
def _pattern_of(own: "re.Pattern[str]") -> _Pattern:
    tree = _parser.parse(own.pattern, own.flags)
    width_min = tree.getwidth()[0]
    # Without its tree written, any group may be one that takes no part.
    unlike = _Pattern(own, None, width_min, None, frozenset(range(own.groups + 1)))
    writer = _Writer(own.flags)
    try:
        if own.flags & ~_FLAGS:
            return unlike
        written = writer.write(tree)
        pl.Series([""]).str.contains(rf"\A({written})\z")
    except (_Unlike, pl.exceptions.PolarsError):
        return unlike
    odd: list[Callable[[pl.Expr], pl.Expr]] = []
    if writer.needs_ascii:
        odd.append(lambda text: text.str.len_bytes() != text.str.len_chars())
    if writer.needs_no_line_end:
        odd.append(lambda text: text.str.contains("\n", literal=True))

    def is_odd(text: pl.Expr) -> pl.Expr:
        return pl.any_horizontal([test(text) for test in odd])

    optional = frozenset(writer.optional)
    return _Pattern(own, written, width_min, is_odd if odd else None, optional)


def _ask(
    pattern: _Pattern,
    text: pl.Expr,
    native: Callable[[str], pl.Expr],
    function: Callable[[str], Any],
    dtype: Any,
) -> pl.Expr:
    """Return what `native` makes of the written pattern, or Python's function of it.

    It is null where there is nothing.
    """
    if pattern.written is None:
        return computed_unchecked([text], function, dtype)
    made = native(pattern.written)
    if pattern.is_odd is None:
        return made
    return corrected_unchecked(made, pattern.is_odd(text), [text], function)


@dataclass(frozen=True, slots=True)
class PatternMatch(Special):
    """What a pattern found in a text: a match, or None."""

    pattern: _Pattern
    method: str
    text: pl.Expr
    found: pl.Expr

    name = "match"

    def truth(self, t: Translation) -> pl.Expr:
        """Return whether there is a match."""
        return t.let(self.found)

    def is_none(self) -> pl.Expr:
        """Return whether there is none."""
        return ~self.found

    def subscript(self, t: Translation, index: Value) -> Value:
        """Return the text of a group."""
        number = index.value if isinstance(index, Constant) else None
        names = self.pattern.own.groupindex
        if isinstance(number, str):
            number = names.get(number)
        if type(number) is not int or not 0 <= number <= self.pattern.own.groups:
            msg = f"the group {name_of(index)} of a match"
            raise Refusal(msg)
        if number not in self.pattern.optional or number == 0:
            return Scalar(Kind.STR, self._group(t, number))
        took_part = self._took_part(t, number)
        text = self._group_or_nothing(t, number)
        return Scalar(Kind.STR, pl.when(took_part).then(text), is_optional=True)

    def call_method(
        self,
        t: Translation,
        name: str,
        args: Sequence[Value],
        keywords: Mapping[str, Value],
    ) -> Value:
        """Return what `group`, `groups`, `groupdict`, `start` or `end` returns."""
        if keywords:
            return Special.call_method(self, t, name, args, keywords)
        groups = range(1, self.pattern.own.groups + 1)
        match name:
            case "group" if len(args) <= 1:
                return self.subscript(t, args[0] if args else Constant(0))
            case "group":
                return Tuple(tuple(self.subscript(t, each) for each in args))
            case "groups" if not args and groups:
                return Tuple(tuple(self.subscript(t, Constant(n)) for n in groups))
            case "groupdict" if not args and self.pattern.own.groupindex:
                names = self.pattern.own.groupindex.items()
                return Dict({key: self.subscript(t, Constant(n)) for key, n in names})
            case "start" | "end" if not args:
                return Scalar(Kind.INT, self._end_of(t, name))
            case _:
                return Special.call_method(self, t, name, args, keywords)

    def _group(self, t: Translation, number: int) -> pl.Expr:
        # The frame is a group, too.
        name = str(number + 1)
        return self._of_match(
            t,
            lambda groups: groups.struct.field(name),
            lambda found: found[number],
            pl.String,
        )

    def _group_or_nothing(self, t: Translation, number: int) -> pl.Expr:
        name = str(number + 1)
        return self._of_match(
            t,
            lambda groups: groups.struct.field(name).fill_null(""),
            lambda found: found[number] or "",
            pl.String,
        )

    def _took_part(self, t: Translation, number: int) -> pl.Expr:
        name = str(number + 1)

        def native(groups: pl.Expr) -> pl.Expr:
            is_match = groups.struct.field("1").is_not_null()
            return pl.when(is_match).then(groups.struct.field(name).is_not_null())

        return self._of_match(
            t, native, lambda found: found[number] is not None, pl.Boolean
        )

    def _of_match(
        self,
        t: Translation,
        native: Callable[[pl.Expr], pl.Expr],
        function: Callable[["re.Match[str]"], Any],
        dtype: Any,
    ) -> pl.Expr:
        """Return something of the match; where there is none Python raises."""
        find = _finder(self.pattern, self.method)

        def ask(text: str) -> Any:
            found = find(text)
            return None if found is None else function(found)

        def take(written: str) -> pl.Expr:
            frame = _framed(written, self.method)
            return native(t.let(self.text.str.extract_groups(frame)))

        made = _ask(self.pattern, self.text, take, ask, dtype)
        return checked(t, made, "a pattern that isn't found")

    def _end_of(self, t: Translation, name: str) -> pl.Expr:
        find = _finder(self.pattern, self.method)

        def ask(text: str) -> Any:
            found = find(text)
            return None if found is None else getattr(found, name)()

        reason = "a pattern that isn't found"
        return computed(t, [self.text], ask, pl.Int64, reason)


def _match(pattern: _Pattern, method: str, text: pl.Expr) -> PatternMatch:
    find = _finder(pattern, method)
    found = _ask(
        pattern,
        text,
        lambda written: text.str.contains(_framed(written, method)),
        lambda known: find(known) is not None,
        pl.Boolean,
    )
    return PatternMatch(pattern, method, text, found)


def _framed(written: str, method: str) -> str:
    start = "" if method == "search" else r"\A"
    end = r"\z" if method == "fullmatch" else ""
    return f"{start}({written}){end}"


def _finder(pattern: _Pattern, method: str) -> Callable[[str], "re.Match[str] | None"]:
    find: Callable[[str], re.Match[str] | None] = getattr(pattern.own, method)
    return find


def call_method(
    t: Translation,
    own: "re.Pattern[Any]",
    name: str,
    args: Sequence[Value],
    keywords: Mapping[str, Value],
) -> Value:
    """Return what a method of a compiled pattern returns.

    Raises:
        Refusal: It isn't known in columns, or not with these arguments.
    """
    if not isinstance(own.pattern, str):
        msg = "a pattern of bytes"
        raise Refusal(msg)
    pattern = _pattern_of(own)
    if name in {"match", "search", "fullmatch"}:
        (text,) = _arguments(name, ["string"], args, keywords)
        return _match(pattern, name, _text(t, text, name))
    match name:
        case "findall":
            (text,) = _arguments(name, ["string"], args, keywords)
            return _find_all(t, pattern, _text(t, text, name))
        case "sub":
            new, text, count = _arguments(
                name, ["repl", "string", "count"], args, keywords, Constant(0)
            )
            return _substitute(t, pattern, new, _text(t, text, name), count)
        case "split":
            text, times = _arguments(
                name, ["string", "maxsplit"], args, keywords, Constant(0)
            )
            return _split(t, pattern, _text(t, text, name), times)
        case _:
            msg = f"`.{name}()` of a pattern isn't known in columns"
            raise Refusal(msg)


def call_function(
    t: Translation, name: str, args: Sequence[Value], keywords: Mapping[str, Value]
) -> Value:
    """Return what the function `name` of the module re returns."""
    given = {"pattern": args[0]} if args else {}
    rest = {key: value for key, value in keywords.items() if key != "flags"}
    given.update({key: rest.pop(key) for key in ["pattern"] if key in rest})
    flags = keywords.get("flags", Constant(0))
    positions = {"match": 2, "search": 2, "fullmatch": 2, "findall": 2, "compile": 1}
    others = list(args[1:])
    flags_at = positions.get(name, 4 if name == "sub" else 3) - 1
    if len(others) > flags_at:
        flags = others.pop(flags_at)
    own = _compiled(given.get("pattern"), flags)
    if name == "compile":
        return Constant(own)
    return call_method(t, own, name, others, rest)


def _compiled(pattern: Value | None, flags: Value) -> "re.Pattern[Any]":
    if isinstance(pattern, Constant) and isinstance(flags, Constant):
        try:
            return re.compile(pattern.value, flags.value)
        except (re.error, TypeError, ValueError) as error:
            msg = "a pattern that isn't one"
            raise Refusal(msg) from error
    msg = "a pattern that varies"
    raise Refusal(msg)


def _arguments(
    name: str,
    names: Sequence[str],
    args: Sequence[Value],
    keywords: Mapping[str, Value],
    *defaults: Value,
) -> list[Value]:
    given = dict(zip(names, args, strict=False))
    given.update({key: keywords[key] for key in keywords if key not in given})
    for key, default in zip(names[len(names) - len(defaults) :], defaults, strict=True):
        given.setdefault(key, default)
    is_known = len(args) <= len(names) and set(given) == set(names)
    if not is_known or len(args) + len(keywords) > len(names):
        msg = f"`.{name}()` of a pattern with such arguments"
        raise Refusal(msg)
    return [given[key] for key in names]


def _text(t: Translation, value: Value, name: str) -> pl.Expr:
    scalar = as_scalar(value, "what a pattern is looked for in")
    if scalar.kind is not Kind.STR:
        msg = f"a pattern is looked for in {name_of(scalar)}"
        raise Refusal(msg)
    return t.required(scalar, f".{name}()")


def _find_all(t: Translation, pattern: _Pattern, text: pl.Expr) -> Value:
    own = pattern.own
    if own.groups > 1:
        msg = "findall() of a pattern with more than one group"
        raise Refusal(msg)
    dtype = pl.List(pl.String)
    if own.groups or not pattern.width_min:
        reason = "an error of findall()"
        return List(TEXT, (computed(t, [text], own.findall, dtype, reason),))
    made = _ask(pattern, text, text.str.extract_all, own.findall, dtype)
    return List(TEXT, (t.let(made),))


def _substitute(
    t: Translation, pattern: _Pattern, new: Value, text: pl.Expr, count: Value
) -> Value:
    own = pattern.own
    if not isinstance(new, Constant) or type(new.value) is not str:
        msg = "sub() with what is no constant text"
        raise Refusal(msg)
    if not isinstance(count, Constant) or type(count.value) is not int:
        msg = "sub() with a count that varies"
        raise Refusal(msg)
    template, times = new.value, count.value

    def substitute(known: str) -> str:
        return own.sub(template, known, count=times)

    if times or "\\" in template or not pattern.width_min:
        made = computed(t, [text], substitute, pl.String, "an error of sub()")
        return Scalar(Kind.STR, made)
    value = template.replace("$", "$$")
    made = _ask(
        pattern,
        text,
        lambda written: text.str.replace_all(written, value),
        substitute,
        pl.String,
    )
    return Scalar(Kind.STR, t.let(made))


def _split(t: Translation, pattern: _Pattern, text: pl.Expr, times: Value) -> Value:
    own = pattern.own
    if own.groups:
        msg = "split() by a pattern with groups"
        raise Refusal(msg)
    if not isinstance(times, Constant) or type(times.value) is not int:
        msg = "split() with a number that varies"
        raise Refusal(msg)
    count = times.value

    def split(known: str) -> list[Any]:
        return own.split(known, maxsplit=count)

    dtype = pl.List(pl.String)
    if count or not pattern.width_min:
        made = computed(t, [text], split, dtype, "an error of split()")
        return List(TEXT, (made,))
    made = _ask(
        pattern,
        text,
        lambda written: text.str.split(written, literal=False),
        split,
        dtype,
    )
    return List(TEXT, (t.let(made),))
