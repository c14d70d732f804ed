"""Tests of engine/columnar/state_values.py."""

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from millstream.engine.columnar.blocks import Columns
from millstream.engine.columnar.calling import Caller
from millstream.engine.columnar.gathering import spread
from millstream.engine.columnar.pipeline import Pipeline
from millstream.engine.columnar.shapes import infer_shape, to_frame
from millstream.engine.columnar.state_values import StateCall
from millstream.engine.columnar.values import Refusal
from millstream.engine.streams.state_spec import State

PIPELINE = Pipeline(takes_rows_always=True, is_strict=True)


def translated(
    function: Callable[..., Any], records: list[Any], *, refreshes: bool = False
) -> list[Any]:
    """Return (emitted, is it, is a state left, that state or None, touched, removed)."""
    shape = infer_shape(records)
    assert shape is not None, "the records are plain"
    caller = Caller(PIPELINE, function)
    made = caller(
        lambda f: StateCall(f, takes_time=False, refreshes=refreshes),
        Columns(to_frame(records, shape), shape),
    )
    return spread(made).thaw()


def called(function: Callable[..., Any], record: Any) -> Any:
    """Return the same by calling the function."""
    key, value, *old = record
    there = len(old) == 1 or (len(old) == 2 and old[0])
    state = State(old[-1]) if there else State()
    emitted = function(key, value, state)
    left = state.getOption()
    touched = state.is_updated or state.is_removed
    return emitted, True, state.exists(), left, touched, state.is_removed


def early(key: Any, value: Any, state: Any) -> Any:
    """Return in the middle, before and after what changes the state."""
    if value < 0:
        return False
    state.update(value)
    if value > 5:
        state.remove()
        return state.exists()
    return True if state.get() > 2 else False  # noqa: SIM210


def nested(key: Any, value: Any, state: Any) -> Any:
    """Branch inside branches, and leave some of it to another function."""
    if state.exists():
        if value == 1:
            state.remove()
        elif value > 3:
            state.update(state.get() + value)
    else:
        _begin(state, value)
    return key, state.exists(), state.getOption()


def _begin(state: Any, value: Any) -> None:
    if value < 2:
        return
    state.update(value * 10)


def in_expressions(key: Any, value: Any, state: Any) -> Any:
    """Change the state inside of expressions."""
    value > 2 and state.update(value)
    value < 0 or state.exists() or state.update(0)
    state.update(7) if value == 1 else None
    return value == 4 and state.remove() is None, state.getOption()


def twice(key: Any, value: Any, state: Any) -> Any:
    """Update it twice."""
    state.update(value)
    first = state.get()
    state.update(first + 1)
    return first, state.get()


FUNCTIONS = [early, nested, in_expressions, twice]
VALUES = [-2, 0, 1, 2, 3, 4, 6, 9]


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("old", [(), (5,), (True, 5), (False, 5)])
def test_effects_follow_the_branches(
    function: Callable[..., Any], old: tuple[Any, ...]
) -> None:
    """Of `if`, `and`, `or`, early returns and other functions."""
    records = [("k", value, *old) for value in VALUES]

    made = translated(function, records)

    expected = [called(function, record) for record in records]
    assert [each[:3] + each[4:] for each in made] == [
        each[:3] + each[4:] for each in expected
    ]
    assert [each[3] for each in made if each[2]] == [e[3] for e in expected if e[2]]


def test_records_with_and_without_a_state_are_told_apart() -> None:
    """In one block, by a column."""
    records = [("k", value, value % 2 == 0, 5) for value in VALUES]

    made = translated(nested, records)

    assert [each[0] for each in made] == [called(nested, r)[0] for r in records]


def test_with_refreshes_a_state_that_is_there_is_touched() -> None:
    """So that it doesn't time out."""
    (made,) = translated(lambda k, v, s: v, [("k", 1, 5)], refreshes=True)
    (without,) = translated(lambda k, v, s: v, [("k", 1, 5)])

    assert (made[4], without[4]) == (True, False)


def test_a_state_may_be_none() -> None:
    """That is a state still."""

    def nothing(key: Any, value: Any, state: Any) -> Any:
        state.update(None if value > 2 else value)
        return state.exists()

    made = translated(nothing, [("k", value) for value in VALUES])

    assert all(each[0] for each in made)
    assert [each[3] for each in made] == [v if v <= 2 else None for v in VALUES]


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda k, v, s: s.update(1, 2), "takes one argument"),
        (lambda k, v, s: s.exists(1), "with arguments"),
        (lambda k, v, s: s.is_removed, "`.is_removed` of a State"),
        (lambda k, v, s: s.forget(), "`.forget()` of a State"),
        (lambda k, v, s: s, "a record of a State"),
        (lambda k, v, s: f"{s}", "State"),
        (lambda k, v, s: 1 if s else 2, "its truth of a State"),
        (lambda k, v, s: s.update([v]), "a state that is a list"),
        (lambda k, v, s: s.update(s), "a state that is a State"),
        (lambda k, v, s: (k, v) if v > 2 else None, "sometimes a NoneType"),
        (lambda k, v, s: s.update(1) if v > 2 else s.update("a"), "sometimes a"),
    ],
)
def test_what_isnt_known_is_refused(function: Callable[..., Any], reason: str) -> None:
    """In words that name it."""
    with pytest.raises(Refusal) as caught:
        translated(function, [("k", value) for value in VALUES])

    assert reason in str(caught.value)


def test_a_call_itself_does_nothing() -> None:
    """It is translated, never called."""
    with pytest.raises(NotImplementedError):
        StateCall(early, takes_time=False, refreshes=False)(("k", 1))


def test_effects_inside_a_comprehension_are_refused() -> None:
    """How often they happen depends on who uses it."""

    def looped(key: Any, value: Any, state: Any) -> Any:
        return [state.update(x) for x in value.split(",")]

    with pytest.raises(Refusal):
        translated(looped, [("k", "a,b")])


def test_the_frame_isnt_changed() -> None:
    """Who calls it keeps it."""
    frame = pl.DataFrame({"c0": ["k"], "c1": [1], "c2": [5]})
    shape = infer_shape([("k", 1, 5)])
    assert shape is not None
    Caller(PIPELINE, twice)(
        lambda f: StateCall(f, takes_time=False, refreshes=False),
        Columns(frame, shape),
    )

    assert frame.rows() == [("k", 1, 5)]
