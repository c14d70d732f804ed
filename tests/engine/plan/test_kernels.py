"""Tests of engine/plan/kernels.py."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.plan.fusion import find_culprit
from millstream.engine.plan.kernels import (
    CoGroup,
    Join,
    JoinKind,
    StateFunction,
    UpdateState,
    ZipRows,
)

pairs = st.lists(st.tuples(st.integers(0, 4), st.integers()), max_size=8)


@given(pairs, pairs)
def test_cogroup_has_every_key_of_either_side(
    left: list[Any], right: list[Any]
) -> None:
    """Values keep their order; a side without the key has an empty list."""
    grouped = dict(CoGroup(2)(0, [iter(left), iter(right)]))

    assert set(grouped) == {k for k, _ in left} | {k for k, _ in right}
    for key, (mine, theirs) in grouped.items():
        assert mine == [v for k, v in left if k == key]
        assert theirs == [v for k, v in right if k == key]


def of_key(kind: JoinKind, left: list[Any], right: list[Any]) -> list[Any]:
    """Return what a join makes of the values of one key."""
    match kind:
        case JoinKind.ONLY_LEFT:
            return [] if right else left
        case JoinKind.KEYS:
            return [None] if left and right else []
        case _:
            pass
    if kind in (JoinKind.RIGHT, JoinKind.FULL):
        left = left or [None]
    if kind in (JoinKind.LEFT, JoinKind.FULL):
        right = right or [None]
    return [(a, b) for a in left for b in right]


@given(pairs, pairs, st.sampled_from(JoinKind))
def test_a_join_has_its_keys_in_order_of_first_sight(
    left: list[Any], right: list[Any], kind: JoinKind
) -> None:
    """Left before right; for each key all left values with all right ones."""
    joined = list(Join(kind)(0, [iter(left), iter(right)]))

    assert joined == [
        (key, made)
        for key in dict.fromkeys(k for k, _ in [*left, *right])
        for made in of_key(
            kind,
            [v for k, v in left if k == key],
            [v for k, v in right if k == key],
        )
    ]


@pytest.mark.parametrize("kernel", [Join(JoinKind.LEFT), CoGroup(2)])
def test_a_record_that_is_no_pair_is_named(kernel: Any) -> None:
    """It is found in the frames of the error."""
    with pytest.raises(ValueError, match="unpack") as caught:
        kernel(0, [[(1, 2)], [(1, 2), (1, 2, 3)]])

    culprit = find_culprit(caught.value.__traceback__)
    assert culprit is not None
    assert culprit.record == (1, 2, 3)


def test_zip_refuses_partitions_of_different_length() -> None:
    """A missing partner is an error, not a shorter result."""
    assert list(ZipRows()(0, [[1, 2], "ab"])) == [(1, "a"), (2, "b")]
    with pytest.raises(ValueError, match="Can only zip"):
        list(ZipRows()(0, [[1], "ab"]))


states = st.dictionaries(st.integers(0, 4), st.integers())


@given(states, pairs, st.sampled_from(StateFunction))
def test_update_state_equals_a_plain_fold(
    old: dict[int, int], new: list[Any], form: StateFunction
) -> None:
    """Every key is seen once, with its new values and old state; None removes it."""

    def following(values: list[int], state: int | None) -> int | None:
        total = sum(values) + (state or 0)
        return None if total % 3 == 0 else total

    function: Any = {
        StateFunction.VALUES: following,
        StateFunction.TIMED: lambda _t, _k, values, state: following(values, state),
        StateFunction.ITERATOR: lambda rows: (
            (k, made)
            for k, values, state in rows
            if (made := following(values, state)) is not None
        ),
    }[form]
    updated = list(UpdateState(function, form, 7)(0, [list(old.items()), new]))
    expected = {}
    for key in {*old, *(k for k, _ in new)}:
        made = following([v for k, v in new if k == key], old.get(key))
        if made is not None:
            expected[key] = made

    assert dict(updated) == expected
    assert len(updated) == len(expected)


def test_an_update_tells_what_changed() -> None:
    """Keys whose state is another, and keys that went; what stayed equal isn't told."""
    told: list[Any] = []
    old = [("same", 1000), ("more", 1), ("gone", 1), ("float", 1)]
    new = [("more", 5), ("gone", None), ("float", 1.5), ("new", 7)]

    def update(values: list[Any], state: Any) -> Any:
        if None in values:
            return None
        if values == [1.5]:
            return 1.0
        return sum(values) + (state or 0)

    kernel = UpdateState(update, stage=lambda *facts: told.append(facts))
    updated = list(kernel(3, [old, new]))

    assert updated == [("same", 1000), ("more", 6), ("float", 1.0), ("new", 7)]
    assert told == [(3, [("more", 6), ("float", 1.0), ("new", 7)], ["gone"], 4)]


def test_a_state_changed_in_place_is_told() -> None:
    """The same list, longer, is a change; one that nobody touched is none."""
    told: list[Any] = []

    def update(values: list[int], state: Any) -> Any:
        if state and state[0] == "idle":
            state.append("again")  # Without new values.
        state = state or []
        state.extend(values)
        return state

    old = [("kept", [1]), ("idle", ["idle"]), ("fed", [1])]
    kernel = UpdateState(update, stage=lambda *facts: told.append(facts))
    list(kernel(0, [old, [("fed", 2)]]))

    assert told == [(0, [("idle", ["idle", "again"]), ("fed", [1, 2])], [], 3)]


def test_the_key_of_a_failing_update_is_known() -> None:
    """The culprit is the key whose update raised."""
    with pytest.raises(ZeroDivisionError) as caught:
        UpdateState(lambda _v, s: 1 // s)(0, [[("a", 1), ("b", 0)], []])

    culprit = find_culprit(caught.value.__traceback__)

    assert culprit is not None
    assert culprit.record == "b"
