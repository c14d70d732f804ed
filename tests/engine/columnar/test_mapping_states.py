"""Tests of engine/columnar/mapping_states.py."""

import datetime
import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.thoroughness import tries

from millstream.engine.columnar.mapping_states import Mapped, mapped
from millstream.engine.columnar.pipeline import Pipeline
from millstream.engine.columnar.state_runs import NO_STATE, Kernel
from millstream.engine.streams.state_spec import State

pytestmark = pytest.mark.slow

PIPELINE = Pipeline(takes_rows_always=True, is_strict=True)
NOW = datetime.datetime(2026, 3, 4, 5, 6, 7)
LARGE = 2**63 - 1
PART = 8


def total(key: Any, value: Any, state: State) -> Any:
    """Add up; the plainest of all."""
    state.update((state.getOption() or 0) + value)
    return key, state.get()


def greatest(key: Any, value: Any, state: State) -> Any:
    """Keep the greatest, and emit it when it is new."""
    if not state.exists() or value > state.get():
        state.update(value)
    return key, state.get()


def up_to_five(key: Any, value: Any, state: State) -> Any:
    """Add up, and begin anew past five."""
    made = (state.getOption() or 0) + value
    if made > 5:
        state.remove()
        return key, -1
    state.update(made)
    return key, made


def averaged(key: Any, value: Any, state: State) -> Any:
    """Carry a sum and a count."""
    added, count = state.getOption() or (0, 0)
    state.update((added + value, count + 1))
    return key, added / (count + 1)


def first_seen(key: Any, value: Any, state: State) -> Any:
    """Keep what came first."""
    if state.exists():
        return state.get()
    state.update(value)
    return value


def previous(key: Any, value: Any, state: State) -> Any:
    """Emit what came before."""
    before = state.getOption()
    state.update(value)
    return key, before


def least_and_last(key: Any, value: Any, state: State) -> Any:
    """Carry two plain things of a pair."""
    old = state.getOption()
    if old is None:
        state.update((value, value))
    else:
        state.update((min(old[0], value), value))
    return state.get()


def halved(key: Any, value: Any, state: State) -> Any:
    """Build up in a way that nothing guesses."""
    state.update((state.getOption() or 0) // 2 + value)
    return state.get()


def helped(key: Any, value: Any, state: State) -> Any:
    """Leave it to functions of its own."""
    return key, _bump(state, value), _is_even(state)


def _bump(state: State, by: Any) -> Any:
    if state.exists():
        state.update(state.get() + by)
    else:
        state.update(by)
    return state.get()


def _is_even(state: State) -> bool:
    return bool(state.get() % 2 == 0)


def removed_twice(key: Any, value: Any, state: State) -> Any:
    """Raise for three."""
    if value == 3:
        state.remove()
    state.remove()
    return key


def expecting(key: Any, value: Any, state: State) -> Any:
    """Raise for a key that is new."""
    state.update(state.get() + value)
    return state.get()


FUNCTIONS = [
    total,
    greatest,
    up_to_five,
    averaged,
    first_seen,
    previous,
    least_and_last,
    halved,
    helped,
    removed_twice,
]


def by_rows(
    function: Callable[..., Any],
    records: Sequence[Any],
    states: dict[Any, Any],
    *,
    refreshes: bool = False,
) -> tuple[list[Any], dict[Any, Any]]:
    """Return what is emitted and what is written, NO_STATE for what was removed."""
    emitted: list[Any] = []
    written: dict[Any, Any] = {}
    for key, value in records:
        kept = written.get(key, states.get(key, NO_STATE))
        state = State() if kept is NO_STATE else State(kept)
        emitted.append(function(key, value, state))
        if state.is_removed:
            written[key] = NO_STATE
        elif state.is_updated or (refreshes and state.exists()):
            written[key] = state.get()
    return emitted, written


def by_columns(
    function: Callable[..., Any],
    records: Sequence[Any],
    states: dict[Any, Any],
    *,
    refreshes: bool = False,
    takes_time: bool = False,
    pipeline: Pipeline = PIPELINE,
    tries_always: bool = True,
) -> Mapped | str:
    """Return what columns make of it."""

    def by_hand(key: Any, value: Any, before: Any) -> Any:
        state = State() if before is NO_STATE else State(before)
        function(*([NOW] if takes_time else []), key, value, state)
        return state.get() if state.exists() else NO_STATE

    kernel = Kernel(
        function,
        by_hand,
        NOW if takes_time else None,
        takes_time=takes_time,
        refreshes=refreshes,
        part_records=PART,
        partition=0,
    )
    return mapped(
        [list(records)],
        kernel,
        lambda keys: [states.get(key, NO_STATE) for key in keys],
        pipeline,
        tries_always=tries_always,
    )


def written_of(made: Mapped) -> dict[Any, Any]:
    """Return all that was written, in order."""
    found: dict[Any, Any] = {}
    for each in made.written:
        found.update(zip(each.keys, each.states, strict=True))
    return found


def check(
    function: Callable[..., Any],
    records: Sequence[Any],
    states: dict[Any, Any] | None = None,
    *,
    refreshes: bool = False,
) -> None:
    """See that columns do it, and give what rows give."""
    known = states or {}
    made = by_columns(function, records, known, refreshes=refreshes)
    assert isinstance(made, Mapped), made
    emitted, written = by_rows(function, records, known, refreshes=refreshes)
    assert repr(made.records.thaw()) == repr(emitted)
    assert repr(list(written_of(made).items())) == repr(list(written.items()))


WORDS = [(word, 1) for word in "abaacabdaaeaaaba"]


@pytest.mark.parametrize(
    "function",
    [total, greatest, averaged, first_seen, previous, least_and_last, helped],
)
@pytest.mark.parametrize("states", [{}, {"a": 7}, {"a": 7, "b": -1}])
def test_keys_that_come_again_build_on_each_other(
    function: Callable[..., Any], states: dict[str, Any]
) -> None:
    """As if records had come one by one: new keys, old ones, and both."""
    if function in (averaged, least_and_last):
        states = {key: (state, 3) for key, state in states.items()}

    check(function, WORDS, states)


def test_floats_are_added_in_their_order() -> None:
    """Sums of floats depend on it, to the last bit."""
    draw = random.Random(5)
    records = [
        (draw.choice("ab"), draw.random() * 10.0 ** draw.randrange(9))
        for _ in range(300)
    ]

    def added(key: Any, value: Any, state: State) -> Any:
        state.update((state.getOption() or 0.0) + value)
        return state.get()

    check(added, records, {"a": 0.1})


def test_minus_zero_is_another_state_than_zero() -> None:
    """A guess that is off by the sign of a zero is off."""

    def added(key: Any, value: Any, state: State) -> Any:
        state.update(state.get() + value if state.exists() else value)
        return state.get()

    records = [("a", -0.0)] * 5 + [("b", 0.0), ("a", 0.0), ("b", -0.0)]
    check(added, records, {"a": -0.0, "b": -0.0})  # First: what isn't learned is a sum.
    check(added, records)


def test_the_first_record_of_a_key_finds_none_where_that_is_its_state() -> None:
    """Not what a later one leaves, though the first of all is kept otherwise."""

    def first(key: Any, value: Any, state: State) -> Any:
        before = state.getOption()
        if not state.exists():
            state.update(None if value > 5 else value)
        return before is None, state.exists()

    check(first, [("a", 7), ("b", 1), ("a", 2), ("b", 9), ("a", 1)])
    check(first, [("a", 2), ("b", 1), ("a", 2), ("c", 3)], {"a": None, "b": 4})


def test_a_key_that_begins_anew_is_guessed_anew() -> None:
    """Removed in the middle of a batch, several times, and put back."""
    check(up_to_five, [("a", 2)] * 9 + [("b", 3), ("c", 7), ("b", 1)] * 2)


def test_where_keys_go_each_part_of_the_batch_is_written_alone() -> None:
    """As rows are: a key that goes in one and comes in the next is behind the others."""
    made = by_columns(up_to_five, [("a", 3), ("b", 1), ("a", 3)] * 4, {})

    assert isinstance(made, Mapped)
    assert [each.keys for each in made.written] == [["a", "b"], ["a", "b"]]
    assert [each.states for each in made.written] == [[3, 3], [NO_STATE, 4]]


@pytest.mark.parametrize("refreshes", [False, True])
def test_only_keys_that_were_touched_are_written(*, refreshes: bool) -> None:
    """With a timeout that is each key that has a state; else what was updated."""
    check(first_seen, [("a", 1), ("b", 2), ("a", 3)], {"a": 5}, refreshes=refreshes)
    made = by_columns(first_seen, [("a", 1)], {"a": 5}, refreshes=refreshes)

    assert isinstance(made, Mapped)
    assert written_of(made) == ({"a": 5} if refreshes else {})


def test_a_state_of_its_own_type_may_change_it_where_keys_come_once() -> None:
    """Nothing has to hold both then."""

    def widened(key: Any, value: Any, state: State) -> Any:
        state.update(value / 2)
        return key

    check(widened, [("a", 1), ("b", 2)], {"a": 7})


@pytest.mark.parametrize(
    ("function", "records", "states", "reason"),
    [
        (halved, [("a", 9)] * 40, {}, "states built up in an unknown way"),
        (total, [("a", LARGE), ("a", 1)], {}, "an int of more than 64 bits"),
        (total, [("a", 1.5), ("a", 1)], {}, "the records have no one shape"),
        (total, [("a", 1), ("a", 1)], {"a": 1.5}, "the state changes its type"),
        (total, [("a", 1)], {"a": [1]}, "a state with a list in it"),
        (removed_twice, [("a", 3)], {}, "a state that was removed already"),
        (expecting, [("a", 3)], {}, "got where there is none"),
        (lambda k, v, s: str(s), [("a", 3)], {}, "State"),
        (lambda k, v, s: [s.get() for _ in [v]], [("a", 3)], {"a": 1}, ""),
        (lambda k, v, s: print(k), [("a", 3)], {}, "print"),
    ],
)
def test_the_row_path_does_what_isnt_known(
    function: Callable[..., Any],
    records: list[Any],
    states: dict[str, Any],
    reason: str,
) -> None:
    """And the reason says why, in words."""
    made = by_columns(function, records, states)

    assert isinstance(made, str)
    assert reason in made


def test_a_few_records_a_key_need_no_guess() -> None:
    """Round by round it gets right whatever the function does."""
    check(halved, [(n % 50, n) for n in range(300)])


def test_a_function_with_side_effects_is_never_tried_out() -> None:
    """Also where only a branch for keys with state has them."""
    seen: list[Any] = []

    def noting(key: Any, value: Any, state: State) -> Any:
        if state.exists():
            seen.append(key)
        state.update(value)
        return key

    made = by_columns(noting, [("a", 1), ("a", 2)], {})

    assert isinstance(made, str)
    assert seen == []


def test_a_branch_that_only_removed_keys_take_is_never_tried_out() -> None:
    """All keys have a state at first: only records after a removal find none."""
    seen: list[Any] = []

    def noting(key: Any, value: Any, state: State) -> Any:
        if not state.exists():
            seen.append(key)
            return key
        if value == 0:
            state.remove()
        else:
            state.update(max(state.get(), value))
        return key

    made = by_columns(noting, [("a", n) for n in (1, 9, 3, 0, 2)] * 3, {"a": 5})

    assert isinstance(made, str)
    assert seen == []


def test_what_failed_isnt_tried_again_at_once() -> None:
    """The next batches go by rows without a look; then columns have another chance."""
    pipeline = Pipeline(takes_rows_always=True, is_strict=True)

    def tried(records: list[Any]) -> Mapped | str:
        return by_columns(total, records, {}, pipeline=pipeline, tries_always=False)

    assert isinstance(tried([("a", LARGE), ("a", 1)]), str)
    assert [isinstance(tried([("a", 1)]), str) for _ in range(3)] == [True, True, False]


def test_what_was_learned_is_remembered() -> None:
    """A guess that was wrong at first is right in the next batch's first round."""
    calls: list[Any] = []

    def by_hand(key: Any, value: Any, before: Any) -> Any:
        calls.append(key)
        state = State() if before is NO_STATE else State(before)
        greatest(key, value, state)
        return state.get()

    pipeline = Pipeline(takes_rows_always=True, is_strict=True)
    kernel = Kernel(
        greatest, by_hand, None, takes_time=False, refreshes=False, part_records=8,
        partition=0,
    )  # fmt: skip
    for _ in range(3):
        made = mapped(
            [[("a", n % 7) for n in range(90)]],
            kernel,
            lambda keys: [NO_STATE for _ in keys],
            pipeline,
            tries_always=True,
        )
        assert isinstance(made, Mapped)

    assert 0 < len(calls) <= 10


def timed(time: datetime.datetime, key: Any, value: Any, state: State) -> Any:
    """Emit some of them, with the hour."""
    state.update((state.getOption() or 0) + value)
    return (key, time.hour) if state.get() % 2 == 0 else None


def test_of_the_form_with_a_time_none_isnt_emitted() -> None:
    """What it returns may be a tuple or None."""
    made = by_columns(timed, WORDS, {}, takes_time=True)

    assert isinstance(made, Mapped)
    assert made.records.thaw() == [
        (key, 5)
        for place, (key, _) in enumerate(WORDS)
        if sum(each[0] == key for each in WORDS[: place + 1]) % 2 == 0
    ]


values = st.one_of(
    st.integers(-4, 6),
    st.sampled_from([LARGE, -LARGE - 1, LARGE // 2, 2**70, True, 1.0, None]),
)
records_of = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(-4, 6)), max_size=40
)
odd_records = st.lists(st.tuples(st.sampled_from("abc"), values), max_size=12)


@given(
    st.sampled_from(FUNCTIONS),
    st.lists(records_of | odd_records, min_size=1, max_size=4),
    st.booleans(),
)
@settings(max_examples=tries(50, 150), deadline=None)
@pytest.mark.slow
def test_columns_give_what_rows_give(
    function: Callable[..., Any], batches: list[list[Any]], refreshes: bool
) -> None:
    """Batch after batch, in values, types and order, or they leave it to rows."""
    states: dict[Any, Any] = {}
    for records in batches:
        made = by_columns(function, records, states, refreshes=refreshes)
        try:
            emitted, written = by_rows(function, records, states, refreshes=refreshes)
        except Exception:
            assert isinstance(made, str)
            return
        if isinstance(made, Mapped):
            assert repr(made.records.thaw()) == repr(emitted)
            assert repr(written_of(made)) == repr(written)
        states.update(written)
        states = {key: s for key, s in states.items() if s is not NO_STATE}
