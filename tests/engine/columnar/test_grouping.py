"""Grouping: pairs by key, as a Python dict would have them, in its order."""

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.columnar.blocks import Columns
from millstream.engine.columnar.grouping import (
    Grouping,
    OverflowRefusal,
    grouped_values,
    pair_shapes,
)
from millstream.engine.columnar.reductions import recognise
from millstream.engine.columnar.shapes import infer_shape, to_frame
from millstream.engine.columnar.stages import plan_stage
from millstream.engine.columnar.values import Refusal
from millstream.engine.plan import fusion
from millstream.engine.plan.steps import Group, Reduce


def reduced(
    blocks: Sequence[Sequence[Any]], merge: Callable[[Any, Any], Any]
) -> list[Any]:
    """Return blocks of pairs reduced by key."""
    shape = infer_shape([pair for block in blocks for pair in block])
    assert shape is not None
    plan = plan_stage((), shape)
    key, value = pair_shapes(shape)
    grouping = Grouping(key, recognise(Reduce(merge), value))
    frames = [to_frame(block, shape) for block in blocks]
    parts = [grouping.start(frame.lazy(), plan.value) for frame in frames]
    return Columns(grouping.finish(parts), grouping.shape).thaw()


def expected(
    blocks: Sequence[Sequence[Any]], merge: Callable[[Any, Any], Any]
) -> list[Any]:
    """Return what the row path makes of them."""
    rows = [pair for block in blocks for pair in block]
    return list(fusion.combine(rows, (), Reduce(merge), 0).items())


KEYS = {
    "int": st.integers(-3, 3),
    "text": st.text("aé", max_size=2),
    "bool": st.booleans(),
    "pair": st.tuples(st.integers(0, 1), st.text("a", max_size=1)),
    "none": st.none() | st.integers(0, 2),
}
VALUES = {
    "sum": (operator.add, st.integers(-(2**50), 2**50)),
    "floats": (operator.add, st.floats(allow_nan=True, allow_infinity=True)),
    "max": (max, st.text("ab", max_size=2)),
    "min": (min, st.integers()),
    "first": (lambda a, b: a, st.binary(max_size=1)),
    "last": (lambda a, b: b, st.integers(0, 9)),
    "both": (
        lambda a, b: (a[0] + b[0], min(a[1], b[1])),
        st.tuples(st.integers(-9, 9), st.integers(-9, 9)),
    ),
    "least text": (min, st.text("aé", max_size=2)),
    "all": (lambda a, b: a and b, st.booleans()),
    "any": (lambda a, b: a or b, st.booleans()),
    "nothing": (lambda a, b: a, st.none()),
}


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("value", VALUES)
@given(st.data())
@pytest.mark.slow
def test_reduced_as_a_dict_does(key: str, value: str, data: st.DataObject) -> None:
    """Values, types, order of keys and the last bit of floats, over several blocks."""
    merge, values = VALUES[value]
    pairs = st.lists(st.tuples(KEYS[key], values), min_size=1, max_size=6)
    blocks = data.draw(st.lists(pairs, min_size=1, max_size=3))
    if all(pair == (None, None) for block in blocks for pair in block):
        return  # Nothing varies: there is no column.
    try:
        found = reduced(blocks, merge)  # type: ignore[arg-type]
    except AttributeError:
        return  # An int of more than 64 bits has no frame.
    except OverflowRefusal:
        # A sum that begins with -0.0 may be one.
        assert value == "floats"
        assert any(repr(x) == "-0.0" for block in blocks for _, x in block)
        return

    assert repr(found) == repr(expected(blocks, merge))  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["sum", "max", "nothing"])
def test_parts_may_be_empty(value: str) -> None:
    """The first one, the last one, or all of them."""
    merge: Any = VALUES[value][0]
    rows: dict[str, list[Any]] = {
        "sum": [("a", 1), ("b", 2)],
        "max": [(1, "x")],
        "nothing": [(1, None)],
    }
    shape = infer_shape(rows[value])
    assert shape is not None
    key, values = pair_shapes(shape)
    grouping = Grouping(key, recognise(Reduce(merge), values))
    plan = plan_stage((), shape)
    frame = to_frame(rows[value], shape)
    full, empty = (
        grouping.start(each.lazy(), plan.value) for each in (frame, frame.clear())
    )

    for parts in ([empty, full], [full, empty], [empty, full, empty]):
        made = Columns(grouping.finish(parts), grouping.shape)
        assert made.thaw() == rows[value]
    assert grouping.finish([empty, empty]).height == 0


def test_a_sum_that_is_too_large_is_given_back() -> None:
    """Python's ints go on where 64 bits end."""
    with pytest.raises(OverflowRefusal):
        reduced([[("a", 2**62)], [("a", 2**62)]], operator.add)


@pytest.mark.parametrize("key", [math.nan, 0.0, -0.0])
def test_odd_floats_are_no_keys_here(key: float) -> None:
    """NaN is another key each time; 0.0 and -0.0 are one, and the first one stays."""
    with pytest.raises(OverflowRefusal):
        reduced([[(key, 1)]], operator.add)


def test_floats_are_keys_otherwise() -> None:
    """What is equal is one key."""
    assert reduced([[(1.5, 1), (2.5, 1), (1.5, 1)]], operator.add) == [
        (1.5, 2),
        (2.5, 1),
    ]


@pytest.mark.parametrize("value", [math.nan, 0.0])
def test_the_greatest_of_odd_floats_is_given_back(value: float) -> None:
    """It depends on which came first."""
    with pytest.raises(OverflowRefusal):
        reduced([[("a", value), ("a", 1.0)]], max)


@given(st.lists(st.tuples(st.text("ab", max_size=1), st.integers(0, 9)), min_size=1))
def test_values_are_grouped_in_their_order(pairs: list[Any]) -> None:
    """A list a key, keys as they were first seen."""
    shape = infer_shape(pairs)
    assert shape is not None
    frame = to_frame(pairs, shape)
    rows = fusion.combine(pairs, (), Group(), 0)

    assert grouped_values([frame], shape).thaw() == list(rows.items())


def test_what_is_no_pair_is_refused() -> None:
    """And so is a key that no dict takes."""
    for rows in ([1], [(1, 2, 3)], [([1], 2)]):
        shape = infer_shape(rows)
        assert shape is not None
        with pytest.raises(Refusal):
            pair_shapes(shape)


def test_values_that_may_be_none_are_not_grouped() -> None:
    """A list in a column has no None of its own."""
    rows = [("a", 1), ("a", None)]
    shape = infer_shape(rows)
    assert shape is not None

    with pytest.raises(Refusal, match="may be None"):
        grouped_values([to_frame(rows, shape)], shape)
