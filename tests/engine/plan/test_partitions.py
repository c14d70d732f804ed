"""Tests of engine/plan/partitions.py."""

import pickle
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.plan.partitions import (
    freeze,
    freeze_text,
    is_immutable,
)
from millstream.engine.plan.text import split_lines

atoms = st.one_of(st.integers(), st.text(), st.none(), st.booleans(), st.binary())
values = st.recursive(
    atoms, lambda v: st.one_of(st.tuples(v), st.tuples(v, v), st.lists(v)), max_leaves=6
)


def _can_change(value: Any) -> bool:
    if isinstance(value, tuple):
        return any(map(_can_change, value))
    return isinstance(value, list)


@given(st.lists(values, max_size=5))
def test_no_row_that_can_change_is_shared(rows: list[Any]) -> None:
    """Immutability is never claimed of something mutable."""
    if is_immutable(rows):
        assert not any(map(_can_change, rows))


@given(st.lists(st.tuples(st.text(), st.one_of(atoms, st.tuples(atoms, atoms)))))
def test_pairs_of_atoms_are_shared(rows: list[Any]) -> None:
    """The common rows, (key, value) and (key, (a, b)), need no copy."""
    frozen = freeze(rows)

    assert frozen.thaw() is rows
    assert frozen.count == len(rows)


@given(st.lists(values, max_size=5))
def test_readers_get_equal_rows_and_no_way_to_change_them(rows: list[Any]) -> None:
    """Whatever a reader does to mutable rows, the next reader sees the first state."""
    frozen = freeze(rows)
    before = pickle.dumps(rows)
    for row in frozen.thaw():
        if isinstance(row, list):
            row.append("changed")

    assert list(frozen.read()) == pickle.loads(before)


def test_a_range_stays_a_range() -> None:
    """Numbers that nobody wrote down take no room."""
    assert freeze(range(10**12)).thaw() == range(10**12)


def test_frozen_rows_pickle() -> None:
    """They travel to other processes as they are."""
    frozen = freeze([[1], [2]])

    assert pickle.loads(pickle.dumps(frozen)).thaw() == [[1], [2]]


@given(st.lists(st.sampled_from([b"a", b"\n", b"\r", b"\r\n", b"\xff"])).map(b"".join))
def test_frozen_text_is_its_lines(data: bytes) -> None:
    """Counted, read as rows or as bytes, here and in other processes."""
    text = freeze_text(data)
    lines = split_lines(data, is_text=True)

    assert text.thaw() == text.read() == lines
    assert text.count == len(lines)
    assert b"".join(text.text_blocks()) == data
    assert pickle.loads(pickle.dumps(text)) == text
