"""Tests of engine/plan/fusion.py."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.plan import fusion
from millstream.engine.plan.steps import (
    Combine,
    Filter,
    FlatMap,
    FlatMapValues,
    Glom,
    Group,
    KeyBy,
    Keys,
    Map,
    MapPartitions,
    MapValues,
    Merge,
    Reduce,
    Step,
    Values,
)


def _reversed_with_index(index: int, rows: Iterable[Any]) -> list[Any]:
    return [(index, row) for row in reversed(list(rows))]


# Each step beside the plain Python it stands for, on pairs.
MODELS: list[tuple[Step, Callable[[list[Any]], list[Any]]]] = [
    (Map(lambda kv: (kv[1], kv[0])), lambda rows: [(v, k) for k, v in rows]),
    (Filter(lambda kv: kv[0] != 1), lambda rows: [r for r in rows if r[0] != 1]),
    (FlatMap(lambda kv: [kv, kv]), lambda rows: [r for r in rows for _ in range(2)]),
    (MapValues(lambda v: (v, 0)), lambda rows: [(r[0], (r[1], 0)) for r in rows]),
    (
        FlatMapValues(lambda v: [v, 7]),
        lambda rows: [(r[0], v) for r in rows for v in (r[1], 7)],
    ),
    (KeyBy(lambda kv: kv[1]), lambda rows: [(r[1], r) for r in rows]),
    (MapPartitions(_reversed_with_index), lambda rows: [(3, r) for r in rows[::-1]]),
]

pairs = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=6)


@given(pairs, st.lists(st.sampled_from(MODELS), max_size=8))
def test_fused_steps_equal_steps_one_by_one(
    rows: list[Any], chosen: list[tuple[Step, Callable[[list[Any]], list[Any]]]]
) -> None:
    """Any chain gives, as iterator, list and count, what plain Python gives."""
    steps = [step for step, _ in chosen]
    expected = rows
    for _, model in chosen:
        expected = model(expected)

    assert list(fusion.iterate(rows, steps, 3)) == expected
    assert fusion.to_list(rows, steps, 3) == expected
    assert fusion.count(rows, steps, 3) == len(expected)


@given(pairs)
def test_combining_equals_folding_by_key(rows: list[Any]) -> None:
    """Each kind of aggregator folds values in order, keys by first sight."""
    groups: dict[Any, list[Any]] = {}
    for key, value in rows:
        groups.setdefault(key, []).append(value)

    assert fusion.combine(rows, (), Group(), 0) == groups
    reduced = fusion.combine(rows, (), Reduce(lambda a, b: (a, b)), 0)
    for key, values in groups.items():
        folded = values[0]
        for value in values[1:]:
            folded = (folded, value)
        assert reduced[key] == folded
    merge = Merge(lambda v: [v], lambda c, v: [*c, v], lambda a, b: a + b)
    assert fusion.combine(rows, (), merge, 0) == groups
    combined = fusion.to_list(rows, [Combine(Group()), Keys()], 0)
    assert combined == list(groups)


def test_glom_makes_one_list_even_of_nothing() -> None:
    """A partition becomes one record."""
    assert fusion.to_list([], [Glom()], 0) == [[]]
    assert fusion.to_list([1, 2], [Glom(), Map(len)], 0) == [2]


def test_values_and_keys_take_more_than_pairs() -> None:
    """Like PySpark they index, so longer tuples work."""
    assert fusion.to_list([(1, 2, 3)], [Values()], 0) == [2]
    assert list(fusion.iterate([(1, 2, 3)], [Keys()], 0)) == [1]


def test_chains_longer_than_python_can_nest() -> None:
    """Hundreds of nested loops and steps still run, in several functions."""
    loops: list[Step] = [FlatMap(lambda x: [x])] * 40
    maps: list[Step] = [Map(lambda x: x + 1)] * 450

    assert fusion.to_list([1], [*loops, *maps], 0) == [451]


def test_nothing_is_computed_before_it_is_asked_for() -> None:
    """An iterator pulls one record at a time."""
    seen: list[int] = []

    def note(value: int) -> int:
        seen.append(value)
        return value

    rows = fusion.iterate(range(100), [Map(note)], 0)

    assert next(rows) == 0
    assert seen == [0]


def test_a_partition_function_must_return_an_iterable() -> None:
    """None is refused by the name of the operation."""
    with pytest.raises(TypeError, match=r"mapPartitions must return an iterable"):
        fusion.to_list([1], [MapPartitions(lambda _i, _rows: None)], 0)  # type: ignore[arg-type,return-value]


@pytest.mark.parametrize("how", ["iterate", "to_list", "count"])
def test_the_culprit_is_found_by_the_traceback(how: str) -> None:
    """Whatever the ending, the failing step and its record are known."""
    steps: list[Step] = [Map(lambda x: x), Filter(bool), Map(lambda x: 1 // (x - 2))]
    with pytest.raises(ZeroDivisionError) as caught:
        list(getattr(fusion, how)([0, 1, 2], steps, 0))

    culprit = fusion.find_culprit(caught.value.__traceback__)

    assert culprit is not None
    assert culprit.step_index == 2
    assert culprit.record == 2
    assert culprit.functions == tuple(step.function for step in steps)
    assert not culprit.is_ours


def test_a_record_of_the_wrong_form_is_our_finding() -> None:
    """Combining something that is no pair fails in our own line."""
    with pytest.raises(TypeError) as caught:
        fusion.combine([(1, 2), 5], (), Group(), 0)

    culprit = fusion.find_culprit(caught.value.__traceback__)

    assert culprit is not None
    assert culprit.record == 5
    assert culprit.is_ours


def test_a_traceback_without_our_loops_has_no_culprit() -> None:
    """Other errors are left alone."""
    with pytest.raises(ZeroDivisionError) as caught:
        _ = 1 // 0

    assert fusion.find_culprit(caught.value.__traceback__) is None
    assert fusion.find_culprit(None) is None
