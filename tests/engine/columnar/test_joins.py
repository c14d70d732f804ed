"""Tests of engine/columnar/joins.py."""

from dataclasses import replace
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.columnar.blocks import Columns
from millstream.engine.columnar.gathering import gathered, spread
from millstream.engine.columnar.joins import join
from millstream.engine.columnar.lookup import remember
from millstream.engine.columnar.values import Refusal
from millstream.engine.plan.kernels import Join, JoinKind

KEYS: dict[str, st.SearchStrategy[Any]] = {
    "int": st.integers(-2, 2) | st.sampled_from([2**63 - 1, -(2**63)]),
    "bool": st.booleans(),
    "str": st.sampled_from(["", "a", "b", "ß", "a-key-longer-than-twelve-bytes", "\0"]),
    "bytes": st.sampled_from([b"", b"\xff", b"a"]),
    "None or int": st.none() | st.integers(0, 1),
    "tuple": st.tuples(st.integers(0, 1), st.sampled_from(["x", "y"])),
}
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "int": st.integers(-9, 9),
    "float": st.sampled_from([0.0, -0.0, 1.5, float("nan")]),
    "None or str": st.none() | st.text(max_size=2),
    "list": st.lists(st.integers(), min_size=1, max_size=2),
    "tuple": st.tuples(st.integers(), st.text(max_size=2)),
    "None": st.none(),
}


def by_rows(kind: JoinKind, left: list[Any], right: list[Any]) -> list[Any]:
    """Return the pairs joined by the row path."""
    return list(Join(kind)(0, [left, right]))


def by_columns(kind: JoinKind, left: list[Any], right: list[Any]) -> list[Any]:
    """Return the pairs joined by columns."""
    made = join(kind, gathered([left]), gathered([right]))
    return [] if made is None else made.thaw()


@given(st.data(), st.sampled_from(JoinKind), st.sampled_from(sorted(KEYS)))
def test_columns_join_as_rows_do(data: st.DataObject, kind: JoinKind, key: str) -> None:
    """The same pairs in the same order, None for what lacks; or a refusal."""
    sides = []
    for _ in range(2):
        value = VALUES[data.draw(st.sampled_from(sorted(VALUES)))]
        pairs = st.lists(st.tuples(KEYS[key], value), max_size=12)
        sides.append(data.draw(pairs))

    try:
        found = by_columns(kind, *sides)
    except Refusal:
        return

    assert list(map(repr, found)) == list(map(repr, by_rows(kind, *sides)))


@given(
    st.sampled_from(JoinKind),
    st.dictionaries(KEYS["int"], VALUES["int"], min_size=1),
    st.lists(st.tuples(KEYS["int"], VALUES["int"]), min_size=1),
    st.booleans(),
)
def test_keys_that_are_known_to_differ(
    kind: JoinKind, left: dict[int, int], pairs: list[tuple[int, int]], is_both: bool
) -> None:
    """Of such sides the same comes out, and what is called keyed has each key once."""
    right = list(dict(pairs).items()) if is_both else pairs
    a, b = gathered([list(left.items())]), gathered([right])
    assert a is not None
    assert b is not None
    made = join(kind, replace(a, is_keyed=True), replace(b, is_keyed=is_both))
    found = [] if made is None else made.thaw()

    assert found == by_rows(kind, list(left.items()), right)
    if made is not None and made.is_keyed:
        keys = [each[0] if isinstance(each, tuple) else each for each in found]
        assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("kind", JoinKind)
def test_no_plain_join_is_refused(kind: JoinKind) -> None:
    """Ints and texts on both sides, with keys that come twice or on one side only."""
    left = [(1, "a"), (2, "b"), (1, "c"), (3, "d")]
    right = [(5, 1.0), (1, 2.0), (1, 3.0), (3, 4.0), (5, 5.0)]

    found = by_columns(kind, left, right)

    assert found == by_rows(kind, left, right)
    assert found, "it would be equal to nothing"


@pytest.mark.parametrize("kind", JoinKind)
def test_a_side_without_records_fits_any_other(kind: JoinKind) -> None:
    """Whatever the other one's shape is."""
    pairs = [(1, (2, "x")), (2, (3, "y")), (1, (4, "z"))]

    both: list[tuple[list[Any], list[Any]]] = [(pairs, []), ([], pairs), ([], [])]
    for sides in both:
        assert by_columns(kind, *sides) == by_rows(kind, *sides)


@pytest.mark.parametrize(
    ("left", "right", "reason"),
    [
        ([(1.0, 1)], [(1.0, 2)], "a key that is a float"),
        ([(None, 1)], [(None, 2)], "a key that is None"),
        ([(1, 1)], [(True, 2)], "no one shape"),
        ([(1, 1)], [("1", 2)], "no one shape"),
        ([1], [(1, 2)], "aren't pairs"),
        ([([1], 1)], [([1], 2)], "aren't pairs"),
        ([(1, 1)], [(2, (1, 2))], "isn't plain"),
    ],
)
def test_what_polars_compares_otherwise_is_refused(
    left: list[Any], right: list[Any], reason: str
) -> None:
    """1, 1.0 and True are one key in Python, and None is one too."""
    with pytest.raises(Refusal, match=reason):
        by_columns(JoinKind.LEFT, left, right)


@pytest.mark.parametrize("value", [1.5, None, (1, "x")])
@pytest.mark.parametrize("left", ["abc", "cab", "ab", "bad"])
def test_what_leaves_a_window_is_taken_from_where_it_was_put(
    left: str, value: Any
) -> None:
    """If that is where it is; else it is looked for."""
    whole = replace(kept([(key, 1) for key in left]), is_keyed=True)
    rows = [("b", value), ("a", value)]
    part = replace(kept(rows), is_keyed=True)
    remember(part, pl.Series([1, 0], dtype=pl.get_index_type()))
    try:
        made = join(JoinKind.LEFT, whole, part)
    except Refusal as refused:
        assert "isn't plain" in str(refused)
        return

    assert made is not None
    assert made.is_keyed
    assert made.thaw() == by_rows(JoinKind.LEFT, whole.thaw(), rows)


def kept(rows: list[Any]) -> Columns:
    """Return rows as columns, with one for what is the same in each."""
    made = gathered([rows])
    assert made is not None
    return spread(made)
