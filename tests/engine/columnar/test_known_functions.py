"""Tests of engine/columnar/known_functions.py: what is known by what it is."""

import datetime
import json
import re
from collections.abc import Mapping
from typing import Any

import pytest
from tests.engine.columnar.evaluating import check

from millstream.engine.columnar import known_functions
from millstream.engine.columnar.regexes import PatternMatch
from millstream.engine.columnar.values import (
    Constant,
    Refusal,
    Scalar,
    Translation,
    Value,
)


def call(
    t: Translation,
    function: Any,
    *args: Value,
    keywords: Mapping[str, Value] | None = None,
) -> Value:
    """Return what a known function makes of values; of a match, its first group."""
    handler = known_functions.find(function)
    assert handler is not None, f"{function} isn't known"
    made = handler(t, args, keywords or {})
    return made.subscript(t, Constant(0)) if isinstance(made, PatternMatch) else made


@pytest.mark.parametrize(
    "function", [len, [], print, lambda: None, datetime.datetime.now]
)
def test_other_functions_are_none(function: Any) -> None:
    """Nor is anything that has no hash."""
    assert known_functions.find(function) is None


@pytest.mark.parametrize(
    ("function", "rows"),
    [
        (json.loads, ["1", "2"]),
        (int, ["1", "x"]),
        (float, ["1", "x"]),
        (bool, ["1", ""]),
        (str, [1, 2]),
        (repr, ["a", "'"]),
        (format, [1.5, 2.5]),
        (datetime.date.fromisoformat, ["2020-01-02", "x"]),
        (datetime.datetime.fromisoformat, ["2020-01-02", "x"]),
    ],
)
def test_functions_of_one_value(function: Any, rows: list[Any]) -> None:
    """They are what they are in Python."""
    check(lambda t, value: call(t, function, value), function, rows, ordinary=True)


def test_functions_with_constants() -> None:
    """Formats and bases come second."""
    year = Constant("%Y")
    check(
        lambda t, value: call(t, datetime.datetime.strptime, value, year),
        lambda text: datetime.datetime.strptime(text, "%Y"),
        ["2020", "x"],
        ordinary=True,
    )
    check(
        lambda t, value: call(t, int, value, Constant(16)),
        lambda text: int(text, 16),
        ["ff", "x"],
        ordinary=True,
    )
    check(
        lambda t, value: call(t, format, value, Constant(".3f")),
        lambda number: format(number, ".3f"),
        [1.0, 2.5],
        ordinary=True,
    )
    check(
        lambda t, value: call(
            t, datetime.date, value, keywords={"month": Constant(1), "day": Constant(2)}
        ),
        lambda year: datetime.date(year, month=1, day=2),
        [1, 2020, 0],
        ordinary=True,
    )


ROWS = ["aAa", "Ax", "b", "a"]


def test_functions_of_patterns() -> None:
    """Flags, counts and keywords are where they are in Python."""
    a, b = Constant("a"), Constant("b")
    flags = {"flags": Constant(re.IGNORECASE)}
    check(
        lambda t, v: call(t, re.sub, a, b, v, keywords=flags),
        lambda text: re.sub("a", "b", text, flags=re.IGNORECASE),
        ROWS,
        ordinary=True,
    )
    check(
        lambda t, v: call(t, re.sub, a, b, v, keywords={"count": Constant(1)}),
        lambda text: re.sub("a", "b", text, count=1),
        ROWS,
        ordinary=True,
    )
    check(
        lambda t, v: call(t, re.split, a, v, keywords={"maxsplit": Constant(1)}),
        lambda text: re.split("a", text, maxsplit=1),
        ROWS,
        ordinary=True,
    )
    check(
        lambda t, v: call(t, re.findall, a, v, Constant(re.IGNORECASE)),
        lambda text: re.findall("a", text, re.IGNORECASE),
        ROWS,
        ordinary=True,
    )
    check(
        lambda t, v: call(t, re.match, a, v, Constant(re.IGNORECASE)),
        lambda text: re.match("a", text, re.IGNORECASE)[0],  # type: ignore[index]
        ROWS,
        ordinary=True,
    )
    check(
        lambda t, v: call(t, re.search, keywords={"pattern": a, "string": v}),
        lambda text: re.search(pattern="a", string=text)[0],  # type: ignore[index]
        ROWS,
        ordinary=True,
    )


def test_compiling_gives_a_pattern() -> None:
    """It is known while translating, as its source is."""
    assert call(Translation(), re.compile, Constant("a+")) == Constant(re.compile("a+"))


@pytest.mark.parametrize(
    ("function", "args"),
    [
        (json.loads, []),
        (int, [Constant("1"), Constant(2), Constant(3)]),
        (re.match, [Constant("("), Constant("a")]),
        (re.match, [Scalar, Constant("a")]),
        (datetime.datetime.strptime, [Constant("2020")]),
    ],
)
def test_other_arguments_are_refused(function: Any, args: list[Any]) -> None:
    """Python raises, or it isn't known."""
    with pytest.raises(Refusal):
        call(Translation(), function, *args)
