"""Shapes: records become frames and come back as they were, types included."""

import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.columnar.shapes import (
    Fixed,
    Kind,
    ListOf,
    Plain,
    TupleOf,
    infer_shape,
    range_to_frame,
    to_frame,
    to_rows,
)

ATOMS = {
    int: st.integers(-(2**63), 2**63 - 1),
    float: st.floats(),
    bool: st.booleans(),
    str: st.text(st.characters(exclude_categories=["Cs"])),
    bytes: st.binary(),
    datetime.datetime: st.datetimes(),
    datetime.date: st.dates(),
}


def records(depth: int = 2) -> st.SearchStrategy[Any]:
    """Return strategies of records that are all alike."""
    atom = st.sampled_from(list(ATOMS)).map(ATOMS.__getitem__)
    if not depth:
        return atom
    inner = records(depth - 1)
    return st.one_of(
        atom,
        inner.map(st.lists),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: st.tuples(*parts)),
        st.dictionaries(st.text("ab", min_size=1), inner, min_size=1, max_size=2).map(
            st.fixed_dictionaries
        ),
        atom.map(lambda strategy: st.none() | strategy),
    )


@given(st.data())
def test_records_come_back_as_they_were(data: st.DataObject) -> None:
    """Whatever has a shape comes back from its frame with equal values and types."""
    rows = data.draw(st.lists(data.draw(records()), min_size=1, max_size=6))
    shape = infer_shape(rows)
    if shape is None:
        return  # Lists without any item, for one, say nothing of what is in them.
    frame = to_frame(rows, shape)

    assert frame is not None
    assert repr(to_rows(frame, shape)) == repr(rows)
    assert frame.height == len(rows)


class Text(str):
    """A text that can do more."""

    __slots__ = ()


@pytest.mark.parametrize(
    "rows",
    [
        [1, 2.0],
        [1, True],
        [Text("a")],
        [(1, 2), (1,)],
        [[1], ["a"]],
        [[None]],
        [[]],
        [()],
        [{}],
        [{"a": 1}, {"b": 1}],
        [{1: 1}],
        [{"a": 1, "b": 2}, {"b": 2, "a": 1}],
        [object()],
        [datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)],
        [(1, None), None],
    ],
)
def test_what_is_unlike_or_unknown_has_no_shape(rows: list[Any]) -> None:
    """Mixed types, subclasses, other objects and dicts of other keys have none."""
    assert infer_shape(rows) is None


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, "\ud800", ("a", 2**70)])
def test_what_is_too_large_has_no_frame(value: Any) -> None:
    """An int of more than 64 bits, and text that isn't Unicode, have no column."""
    rows = [value]
    shape = infer_shape(rows)

    assert shape is not None
    assert to_frame(rows, shape) is None


def test_none_alone_is_fixed() -> None:
    """Records that are all None need no column; a frame still counts them."""
    shape = infer_shape([None, None])
    assert shape is not None
    frame = to_frame([None, None], shape)

    assert shape == Fixed(None)
    assert frame is not None
    assert to_rows(frame, shape) == [None, None]


def test_what_is_fixed_is_so_in_type() -> None:
    """1, True and 1.0 are equal, and are not the same value."""
    assert Fixed(1) != Fixed(True)
    assert Fixed(1) != Fixed(1.0)
    assert Fixed(0.0) != Fixed(-0.0)
    assert Fixed("a") == Fixed("a")


def test_a_wrapper_is_put_around_each_list() -> None:
    """Lists of a wrapped shape come out as objects of its class."""
    plain = ListOf(Plain(Kind.INT))
    frame = to_frame([[1, 2], []], plain)

    assert frame is not None
    assert to_rows(frame, ListOf(Plain(Kind.INT), tuple)) == [(1, 2), ()]


def test_lists_of_tuples_have_a_column_an_item() -> None:
    """Items of a list that are tuples are columns of lists, side by side."""
    rows = [[(1, "a"), (2, "b")], [], [(3, "c")]]
    shape = infer_shape(rows)
    assert shape is not None
    frame = to_frame(rows, shape)

    assert shape == ListOf(TupleOf((Plain(Kind.INT), Plain(Kind.STR))))
    assert frame is not None
    assert frame.width == 2
    assert to_rows(frame, shape) == rows


@pytest.mark.parametrize(
    "numbers",
    [
        range(5),
        range(7, -8, -3),
        range(0),
        range(3, 4),
        range(2**63 - 3, 2**63),
        range(2**63 - 3, 2**63 + 1),
        range(-(2**63), -(2**63) + 2),
        range(0, 2**64, 2**62),
    ],
    ids=str,
)
def test_a_range_is_a_column_of_its_numbers(numbers: range) -> None:
    """Or none, where one of them is too large."""
    expected = to_frame(list(numbers), Plain(Kind.INT))
    made = range_to_frame(numbers)
    if expected is None:
        assert made is None
    else:
        assert made.equals(expected)
        assert made.schema == expected.schema
