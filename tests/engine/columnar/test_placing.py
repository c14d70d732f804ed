"""Placing: columns and rows put a key into the same partition."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.columnar import placing
from millstream.engine.columnar.blocks import Columns
from millstream.engine.columnar.shapes import infer_shape, to_frame
from millstream.engine.plan.partitioners import portable_hash, split_pairs
from millstream.engine.plan.ranges import RangeFunction

pytestmark = pytest.mark.slow

KEYS = {
    "text": st.text(st.characters(exclude_categories=["Cs"])),
    "int": st.integers(-(2**63), 2**63 - 1),
    "small": st.integers(-3, 3),
    "bool": st.booleans(),
    "float": st.floats(allow_nan=False),
    "bytes": st.binary(),
    "none": st.none() | st.integers(0, 9),
    "only none": st.none(),
    "pair": st.tuples(st.text("ab"), st.integers(-2, 2)),
}


def check(pairs: list[Any], count: int, function: Any) -> None:
    """Assert that both ways split pairs alike."""
    shape = infer_shape(pairs)
    if shape is None:
        return
    columns = Columns(to_frame(pairs, shape), shape)
    found = [each.thaw() for each in placing.split(columns, count, function)]

    assert found == split_pairs(pairs, count, function)


@pytest.mark.parametrize("key", KEYS)
@given(st.data())
def test_one_hash_for_both(key: str, data: st.DataObject) -> None:
    """In the same order, too, for few partitions and for many."""
    pairs = data.draw(st.lists(st.tuples(KEYS[key], st.integers(0, 9)), min_size=1))

    check(pairs, data.draw(st.integers(1, 12)), portable_hash)


def odd_first(key: int) -> int:
    """Place keys in a way of the program's own."""
    return 1 - key % 2


def test_a_programs_own_function() -> None:
    """It is called for each key."""
    check([(n, "x") for n in range(9)], 2, odd_first)


def same(key: Any) -> Any:
    """Return the key."""
    return key


@pytest.mark.parametrize("is_ascending", [True, False])
@given(keys=st.lists(st.integers(-9, 9), min_size=1))
def test_ranges(keys: list[int], is_ascending: bool) -> None:
    """Keys go between the bounds of a sorted RDD."""
    function = RangeFunction((-3, 0, 4), same, is_ascending)

    check([(key, "x") for key in keys], 4, function)


def test_ranges_of_texts_by_their_length() -> None:
    """The bounds are of what the key function makes."""
    check([("a", 1), ("abc", 2), ("", 3)], 3, RangeFunction((0, 2), len, True))
