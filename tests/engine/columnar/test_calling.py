"""Tests of engine/columnar/calling.py."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from millstream.engine.columnar.calling import Caller, OfPair
from millstream.engine.columnar.gathering import gathered
from millstream.engine.columnar.pipeline import Pipeline
from millstream.engine.columnar.values import Refusal


@dataclass(frozen=True, slots=True)
class Beside:
    """`f(record)` and the record itself, of a record that is it twice."""

    function: Callable[..., Any]
    columnar_fields = ("function",)

    def __call__(self, record: Any) -> Any:
        function = self.function
        return function(record[0]), record[1]


def caller(function: Callable[..., Any]) -> Caller:
    """Return what calls a function."""
    return Caller(Pipeline(takes_rows_always=True, is_strict=True), function)


def test_a_function_of_two_is_called_with_each_pair() -> None:
    """By columns; what closes over something too."""
    factor = 3
    records = gathered([[(1, 2), (3, 4)]])
    assert records is not None

    made = caller(lambda a, b: a + factor * b)(OfPair, records)

    assert made.thaw() == [7, 15]


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: abs(x) + 0, None),
        (lambda x: x if x < 7 else 0, [5, 0]),
        (lambda x: None if x == 7 else x, [5, None]),
        (lambda _x: None, [None, None]),
        (lambda x: (x, x), [(5, 5), (7, 7)]),
        (lambda x: x * 1.0, [5.0, 7.0]),
    ],
)
def test_what_a_function_leaves_alone_is_told(function: Any, expected: Any) -> None:
    """None for all records together; else what it makes of each."""
    records = gathered([[(5, 5), (7, 7)]])
    assert records is not None

    made = caller(function).changed(Beside, records)

    assert (None if made is None else made.thaw()) == expected


def test_a_refusal_says_why() -> None:
    """A function that isn't known, and a record for which it would raise."""
    records = gathered([[(5, 0), (7, 1)]])
    assert records is not None

    with pytest.raises(Refusal, match="zero"):
        caller(lambda a, b: a / b)(OfPair, records)
    with pytest.raises(Refusal, match="known in columns"):
        caller(lambda a, b: print(a, b))(OfPair, records)
