"""Tests of engine/columnar/states.py."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.columnar.calling import Caller
from millstream.engine.columnar.gathering import gathered
from millstream.engine.columnar.pipeline import Pipeline
from millstream.engine.columnar.states import NextState, update
from millstream.engine.columnar.values import Refusal
from millstream.engine.plan.kernels import UpdateState

PIPELINE = Pipeline(takes_rows_always=True, is_strict=True)
LARGE = 2**63 - 1


def total(new: list[int], old: int | None) -> int:
    """Add up; the plainest update of all."""
    if old is None:
        old = 0
    return old + sum(new)


def looped(new: list[int], old: int | None) -> int:
    """Add up in a loop."""
    made = old or 0
    for value in new:
        made += value
    return made


def largest(new: list[int], old: int | None) -> int | None:
    """Keep the largest."""
    if not new:
        return old
    best = max(new)
    return best if old is None or best > old else old


def drop_zero(new: list[int], old: int | None) -> int | None:
    """Drop a key whose sum is zero."""
    made = sum(new, old or 0)
    return None if made == 0 else made


def counted(new: list[int], old: tuple[int, int] | None) -> tuple[int, int]:
    """Carry a sum and a count."""
    if old is None:
        return sum(new), len(new)
    return old[0] + sum(new), old[1] + len(new)


Update = Callable[[list[Any], Any], Any]
OF_INTS: dict[str, Update] = {
    "sum and or": lambda new, old: sum(new) + (old or 0),
    "sum from": lambda new, old: sum(new, old or 0),
    "def": total,
    "count": lambda new, old: (old or 0) + len(new),
    "largest": largest,
    "largest of all": lambda new, old: max(new + [old or 0]),  # noqa: RUF005
    "least": lambda new, old: min([*new, old]) if old is not None else min(new),
    "looped": looped,
    "last": lambda new, old: new[-1] if new else old,
    "first": lambda new, old: new[0] if old is None else old,
    "dropped": drop_zero,
    "only while it comes": lambda new, _old: sum(new) if new else None,
    "never": lambda _new, _old: None,
    "a constant": lambda _new, _old: 1,
    "fades": lambda new, old: sum(new) + (0 if old is None else old // 2),
}


def by_rows(function: Update, old: list[Any], new: list[Any]) -> tuple[Any, Any, Any]:
    """Return the state, what changed and what went, by the row path."""
    staged: list[Any] = []
    kernel = UpdateState(function, stage=lambda _i, *changes: staged.extend(changes))
    made = list(kernel(0, [old, new]))
    changed, gone, count = staged
    assert count == len(made)
    return made, changed, gone


def by_columns(function: Update, old: list[Any], new: list[Any]) -> NextState:
    """Return the next state by columns."""
    return update(gathered([old]), gathered([new]), Caller(PIPELINE, function))


def compare(function: Update, old: list[Any], new: list[Any]) -> None:
    """See that both ways agree, types and order included."""
    found = by_columns(function, old, new)
    state = [] if found.state is None else found.state.thaw()
    expected = by_rows(function, old, new)
    assert list(map(repr, (state, found.changed, found.gone))) == list(
        map(repr, expected)
    )


ints = st.integers(-9, 9)
keys = st.integers(0, 6) | st.just(LARGE)


@given(
    st.dictionaries(keys, ints, max_size=8),
    st.lists(st.tuples(keys, ints), max_size=12),
    st.sampled_from(sorted(OF_INTS)),
)
def test_columns_update_as_rows_do(
    old: dict[int, int], new: list[Any], name: str
) -> None:
    """State, its order, what changed and what went; unless the function isn't known."""
    try:
        compare(OF_INTS[name], list(old.items()), new)
    except Refusal as refused:
        assert name == "least", refused


@pytest.mark.parametrize("name", sorted({*OF_INTS} - {"least"}))
def test_the_usual_functions_are_known(name: str) -> None:
    """With keys that are new, met, and idle, in one batch."""
    compare(OF_INTS[name], [(1, 5), (2, 6), (3, 0)], [(9, 4), (2, 1), (2, -7), (8, 0)])


def test_tuples_are_states_too() -> None:
    """Sums and counts side by side."""
    old = [("a", (3, 1)), ("b", (4, 2))]

    compare(counted, old, [("b", 5), ("c", 6), ("b", 7)])
    compare(counted, [], [("b", 5), ("c", 6), ("b", 7)])
    compare(counted, old, [])


def test_floats_are_added_in_the_order_of_the_row_path() -> None:
    """To the last bit."""
    new = [(n % 3, 0.1 * n) for n in range(50)]

    compare(lambda v, s: sum(v, s or 0.0), [(0, 0.7), (2, 1e16), (4, -0.0)], new)
    compare(lambda v, s: sum(v) + (s or 0), [(0, 0.7), (2, 1e16), (9, -1.0)], new)
    with pytest.raises(Refusal, match="an int stands"):
        by_columns(lambda v, s: sum(v) + (s or 0), [(0, 0.7), (9, 0.0)], new)


@given(
    st.dictionaries(st.text(max_size=2), st.text(max_size=3), max_size=5),
    st.lists(st.tuples(st.text(max_size=2), st.text(max_size=3)), max_size=8),
)
def test_texts_are_states_too(old: dict[str, str], new: list[Any]) -> None:
    """The last one of each key."""
    compare(lambda v, s: v[-1] if v else s, list(old.items()), new)


def test_the_state_before_stays_as_it_was() -> None:
    """A batch that is computed again begins from it."""
    old = gathered([[(1, 5), (2, 6)]])
    caller = Caller(PIPELINE, total)
    assert old is not None

    for _ in range(2):
        assert update(old, gathered([[(2, 1), (3, 1)]]), caller).changed == [
            (2, 7),
            (3, 1),
        ]
        assert old.thaw() == [(1, 5), (2, 6)]


@pytest.mark.parametrize(
    ("function", "old", "new", "reason"),
    [
        (total, [(1, LARGE)], [(1, 1)], "64 bits"),
        (total, [(1, 5)], [(1, 0.5)], "changes its type"),
        (total, [(1, 5)], [(2, 0.5)], "changes its type"),
        (total, [(1.0, 5)], [(1, 5)], "float"),
        (total, [(1, 5)], [(True, 5)], "no one shape"),
        (lambda v, s: [*v, s], [(1, 5)], [(1, 5)], "columns"),
        (lambda v, s: (s or []) + v, [(1, [5])], [(1, 5)], "neither plain"),
        (lambda _v, _s: None, [(1, 5)], [(1, None)], "None"),
        (lambda v, s: s if not v else v[5], [(1, 5)], [(1, 5)], "out of range"),
    ],
)
def test_what_must_go_by_rows_is_refused(
    function: Update, old: list[Any], new: list[Any], reason: str
) -> None:
    """A state that changes its type, or an int that grows too large, is Python's."""
    with pytest.raises(Refusal, match=reason):
        by_columns(function, old, new)
