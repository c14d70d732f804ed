"""Tests of engine/columnar/regexes.py: a pattern finds in columns what it finds in Python."""

import itertools
import random
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engine.columnar.evaluating import check

from millstream.engine.columnar import regexes
from millstream.engine.columnar.shapes import Kind
from millstream.engine.columnar.values import (
    Constant,
    Refusal,
    Scalar,
    Translation,
    Value,
)

LETTERS = [
    "a",
    "b",
    "A",
    "1",
    "0",
    " ",
    "\n",
    "-",
    "é",
    "\u017f",
    "\u212a",
    "_",
    "\x1c",
    "٣",
]
LETTERS += ["k", "s", "=", ",", "$", "İ"]
_draw = random.Random(5)
TEXTS = [
    "".join(each) for n in range(3) for each in itertools.product(LETTERS, repeat=n)
]
TEXTS += ["".join(_draw.choices(LETTERS, k=_draw.randrange(3, 9))) for _ in range(300)]
TEXTS += ["k=1", "ab-12", "12-34", "a=b,c=d", "aab", "abab", "GET /x HTTP/1.0"]

NATIVE = [r"a", r"(\d+)-(\d+)", r"^(\w+)=(\w+)$", r"(?P<k>[a-z]+)=(?P<v>\d*)", r"a|ab"]
NATIVE += [r"(a|ab)(b?)", r"(a)|(b)", r"(a)?b", r"[^a]+", r"\s+", r"\S+", r"\D", r"\W"]
NATIVE += [r".*", r".+?b", r"a{2,3}", r"a{2}?", r"(?:ab)+", r"\bk", r"$", r"^", r"a$"]
NATIVE += [
    r"\Aa\Z",
    r"(?i)ks",
    r"(?i)[a-k]+",
    r"(?s).b",
    r"[\d_]+",
    r"[^\w]",
    r"[\W\d]",
]
NATIVE += [r"(?a)\w+", r"(?a)\s", "(?x) a  b # c", r"", r"a*", r"(a(b)?)?", r"[a\]\-]"]
NATIVE += [r"\$", r"[\^a]", r"[ab]{0,2}c?", r"é", r"(?i)K", r"\n", r"[é-ÿ]", r",|="]
PYTHON = [
    r"(ab)+",
    r"(a|b)*",
    r"\B",
    r"(?i)é",
    r"(?m)^b",
    r"(?=a)b",
    r"(a)\1",
    r"(a*)*",
]
PYTHON += [
    r"((a)|b){2}",
    r"a(?i:b)",
    r"(?<!a)b",
    r"(?>a)b",
    r"a++",
    "\ud800",
    r"a{600}",
]


def test_which_patterns_the_other_engine_can_write() -> None:
    """Patterns in doubt are left to Python; the others aren't."""
    for pattern in NATIVE:
        assert regexes._pattern_of(re.compile(pattern)).written is not None, pattern
    for pattern in PYTHON:
        assert regexes._pattern_of(re.compile(pattern)).written is None, pattern


def method(
    pattern: "re.Pattern[str]", name: str, *args: Value
) -> Callable[[Translation, Value], Value]:
    """Return what calls a method of a pattern with the text last."""
    return lambda t, text: regexes.call_method(t, pattern, name, [*args, text], {})


def found(
    pattern: "re.Pattern[str]", name: str, ask: Callable[[Translation, Any], Value]
) -> Callable[[Translation, Value], Value]:
    """Return what asks something of a match."""
    return lambda t, text: ask(t, method(pattern, name)(t, text))


@pytest.mark.parametrize("source", [*NATIVE, *PYTHON])
@pytest.mark.parametrize("name", ["match", "search", "fullmatch"])
def test_matches(name: str, source: str) -> None:
    """Whether there is a match, and all of its groups; no match fires a guard."""
    pattern = re.compile(source)
    find = getattr(pattern, name)

    def whether(t: Translation, match: Any) -> Value:
        return Scalar(Kind.BOOL, match.truth(t))

    check(found(pattern, name, whether), lambda s: bool(find(s)), TEXTS, ordinary=True)
    numbers = range(pattern.groups + 1)

    def groups(t: Translation, match: Any) -> Value:
        made: Value = match.call_method(t, "group", [*map(Constant, [0, *numbers])], {})
        return made

    check(
        found(pattern, name, groups),
        lambda text: find(text).group(0, *numbers),
        TEXTS,
        ordinary=True,
    )


@pytest.mark.parametrize("source", [*NATIVE, *PYTHON])
def test_finding_replacing_and_splitting(source: str) -> None:
    """`findall`, `sub` and `split`, where there is something to replace or not."""
    pattern = re.compile(source)
    for new in ("", "X", "$1", "${a}", r"\g<0>!"):
        check(
            method(pattern, "sub", Constant(new)),
            lambda text: pattern.sub(new, text),
            TEXTS,
            ordinary=True,
        )
    if pattern.groups <= 1:
        check(method(pattern, "findall"), pattern.findall, TEXTS, ordinary=True)
    if not pattern.groups:
        check(method(pattern, "split"), pattern.split, TEXTS, ordinary=True)


PARTS = [
    "a",
    "b",
    ".",
    r"\d",
    r"\w",
    r"\s",
    "[ab]",
    "[^a]",
    "(a)",
    "(b|1)",
    r"\b",
    "^",
    "$",
]
quantified = st.builds(
    "{}{}".format,
    st.sampled_from(PARTS[:8]),
    st.sampled_from(["", "*", "+?", "?", "{2}"]),
)
patterns = st.lists(st.sampled_from(PARTS) | quantified, max_size=4).map("".join)


@given(patterns, patterns, st.lists(st.text(LETTERS), min_size=1))
@pytest.mark.slow
def test_drawn_patterns(one: str, other: str, texts: list[str]) -> None:
    """Patterns of all kinds of parts, and alternatives of such."""
    pattern = re.compile(f"{one}|{other}" if other else one)

    def span(t: Translation, match: Any) -> Value:
        made: Value = match.call_method(t, "group", [], {})
        return made

    for name in ("match", "search", "fullmatch"):
        find = getattr(pattern, name)
        check(
            found(pattern, name, span),
            lambda text: find(text).group(),
            texts,
            ordinary=True,
        )


def test_what_else_is_asked_of_a_match() -> None:
    """`groups`, `groupdict`, `start`, `end`, items by name, and whether it is None."""
    pattern = re.compile(r"(?P<k>[a-z]+)=(?P<v>\d+)?")
    find = pattern.search
    asked: list[tuple[Callable[[Translation, Any], Value], Callable[[Any], Any]]] = [
        (lambda t, m: m.call_method(t, "groups", [], {}), lambda m: m.groups()),
        (lambda t, m: m.call_method(t, "groupdict", [], {}), lambda m: m.groupdict()),
        (lambda t, m: m.call_method(t, "start", [], {}), lambda m: m.start()),
        (lambda t, m: m.call_method(t, "end", [], {}), lambda m: m.end()),
        (lambda t, m: m.subscript(t, Constant("v")), lambda m: m["v"]),
        (lambda _, m: Scalar(Kind.BOOL, m.is_none()), lambda m: m is None),
    ]
    for ask, function in asked:
        check(
            found(pattern, "search", ask),
            lambda text: function(find(text)),
            TEXTS,
            ordinary=True,
        )


@pytest.mark.parametrize("name", ["finditer", "subn", "scanner"])
def test_other_methods_are_refused(name: str) -> None:
    """What isn't known isn't guessed at."""
    with pytest.raises(Refusal, match=rf"`\.{name}\(\)` of a pattern isn't known"):
        check(method(re.compile("a"), name), str, TEXTS)


def test_patterns_of_bytes_are_refused() -> None:
    """They look for other things."""
    with pytest.raises(Refusal, match="a pattern of bytes"):
        regexes.call_method(Translation(), re.compile(b"a"), "match", [], {})
