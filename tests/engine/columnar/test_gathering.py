"""Tests of engine/columnar/gathering.py."""

from typing import Any

import pytest

from millstream.engine.columnar.blocks import Columns
from millstream.engine.columnar.gathering import alike, gathered, spread, together
from millstream.engine.columnar.shapes import (
    Fixed,
    Kind,
    ListOf,
    Plain,
    TupleOf,
    blank_frame,
    infer_shape,
    to_frame,
)
from millstream.engine.columnar.values import Refusal
from millstream.engine.plan.partitions import freeze


def columns(rows: list[Any]) -> Columns:
    """Return rows as columns."""
    shape = infer_shape(rows)
    assert shape is not None, "the rows of a test have a shape"
    return Columns(to_frame(rows, shape), shape)


def test_rows_and_columns_are_put_one_behind_the_other() -> None:
    """In their order; blocks without records have no say in the shape."""
    blocks: list[Any] = [
        freeze([]),
        columns([("a", 1)]),
        [("b", 2)],
        freeze([("c", 3)]),
        [],
    ]

    whole = gathered(blocks)

    assert whole is not None
    assert whole.thaw() == [("a", 1), ("b", 2), ("c", 3)]
    assert gathered([[], freeze([])]) is None


def test_what_is_sometimes_none_makes_all_of_it_optional() -> None:
    """A block without None and one with it are of one shape."""
    whole = gathered([[(1, 2)], [(3, None), (4, 5)]])

    assert whole is not None
    assert whole.thaw() == [(1, 2), (3, None), (4, 5)]


def test_what_is_always_the_same_becomes_a_column() -> None:
    """So that a one from a program and one from the data are alike; None stays fixed."""
    shape = TupleOf(
        (Fixed("x"), TupleOf((Fixed(1), Fixed(None))), ListOf(Plain(Kind.INT)))
    )
    import polars as pl

    frame = pl.DataFrame({"c0": [[1], [], [2, 3]]})
    made = spread(Columns(frame, shape))

    assert made.thaw() == Columns(frame, shape).thaw()
    assert made.frame.width == 3
    assert spread(Columns(blank_frame(3), Fixed(7))).thaw() == [7, 7, 7]


def test_different_types_are_no_one_shape() -> None:
    """1 and 1.0 aren't, nor are tuples of different lengths."""
    with pytest.raises(Refusal, match="no one shape"):
        gathered([[1], [1.0]])
    with pytest.raises(Refusal, match="no one shape"):
        alike(TupleOf((Plain(Kind.INT),)), TupleOf((Plain(Kind.INT), Plain(Kind.INT))))
    with pytest.raises(Refusal, match="no one shape"):
        gathered([[2**70]])
    assert together([freeze([1]), freeze([1.0])])[1].thaw() == [1.0]
    assert len(together([freeze([1]), freeze([2])])) == 1
