"""Tests of engine/columnar/folding.py."""

import operator
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.base import frames
from millstream.engine.columnar.calling import Caller
from millstream.engine.columnar.folding import FRAMES_MAX, folded
from millstream.engine.columnar.gathering import gathered
from millstream.engine.columnar.grouping import Grouping
from millstream.engine.columnar.pipeline import Pipeline
from millstream.engine.columnar.values import Refusal
from millstream.engine.plan import fusion
from millstream.engine.plan.steps import Reduce

PIPELINE = Pipeline(takes_rows_always=True, is_strict=True)
INTS = st.integers(-9, 9) | st.integers(-(2**63), 2**63 - 1) | st.just(2**63)
FUNCTIONS: list[Callable[[Any, Any], Any]] = [
    operator.add,
    lambda a, b: b + a,
    lambda a, b: a - 2 * b,
    max,
    lambda a, _b: a,
    lambda _a, b: b,
    lambda a, b: max(b, a),
]


def fold(blocks: list[list[Any]], function: Callable[[Any, Any], Any]) -> list[Any]:
    """Return what blocks of pairs are folded to, whether it is known what that does."""
    parts = [part for each in blocks if (part := gathered([each])) is not None]
    caller = Caller(PIPELINE, function)
    made = folded(parts, caller).thaw()
    known = PIPELINE.merging(function, frames.dumps_function(function), parts[0].shape)
    if isinstance(known, Grouping):
        assert repr(folded(parts, caller, known).thaw()) == repr(made)
    return made


@given(
    st.lists(
        st.dictionaries(st.integers(0, 9), INTS, min_size=1, max_size=8),
        min_size=1,
        max_size=FRAMES_MAX,
    ),
    st.sampled_from(FUNCTIONS),
)
def test_folded_frames_are_what_a_dict_would_hold(
    blocks: list[dict[int, int]], function: Callable[[Any, Any], Any]
) -> None:
    """In order of first sight; or refused, as where an int gets too large."""
    pairs = [list(each.items()) for each in blocks]
    rows = [pair for each in pairs for pair in each]
    expected = list(fusion.combine(rows, (), Reduce(function), 0).items())
    try:
        found = fold(pairs, function)
    except Refusal as refused:
        assert "64 bits" in str(refused) or "no one shape" in str(refused)
        return

    assert found == expected


def test_tuples_and_floats_are_folded_exactly() -> None:
    """Value by value: sums of floats are as they were added."""
    blocks = [[("a", (0.1, 1)), ("b", (0.2, 1))], [("a", (0.2, 1))], [("a", (0.3, 1))]]

    def add(a: Any, b: Any) -> Any:
        return a[0] + b[0], a[1] + b[1]

    assert fold(blocks, add) == [("a", (0.1 + 0.2 + 0.3, 3)), ("b", (0.2, 1))]


def test_what_was_folded_from_is_as_it_was() -> None:
    """Frames are shared: between batches, and with those who read them."""
    first, second = gathered([[(1, 2), (2, 3)]]), gathered([[(2, 4)]])
    assert first is not None
    assert second is not None

    made = folded([first, second], Caller(PIPELINE, operator.add))

    assert made.thaw() == [(1, 2), (2, 7)]
    assert first.thaw() == [(1, 2), (2, 3)]


@pytest.mark.parametrize(
    ("blocks", "function", "reason"),
    [
        ([[(1, 2), (1, 3)], [(1, 4)]], operator.add, "twice"),
        ([[(1, 2)], [(1, 4)]], operator.truediv, "isn't of the type"),
        ([[(1, 2)], [(1, 4)]], lambda a, b: {a, b}, "set"),
        ([[(1, 2)], [(1, 2**63 - 1)]], operator.add, "64 bits"),
        ([[(1, None)], [(1, None)]], lambda a, _b: a, "without values"),
        ([[(n, 1)] for n in range(FRAMES_MAX + 1)], operator.add, "blocks"),
    ],
)
def test_what_must_go_by_rows_is_refused(
    blocks: list[list[Any]], function: Any, reason: str
) -> None:
    """With a reason in words."""
    with pytest.raises(Refusal, match=reason):
        fold(blocks, function)
