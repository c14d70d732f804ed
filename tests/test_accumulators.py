"""Tests of accumulators.py."""

import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.accumulators import (
    Accumulator,
    AccumulatorParam,
    AddingAccumulatorParam,
    next_accumulator_id,
)
from millstream.context import SparkContext
from millstream.engine.base import accumulating
from millstream.engine.base.errors import JobFailedError, PySparkTypeError


class _Vector(AccumulatorParam[list[float]]):
    def zero(self, value: list[float]) -> list[float]:
        return [0.0] * len(value)

    def addInPlace(self, value1: list[float], value2: list[float]) -> list[float]:
        for i, each in enumerate(value2):
            value1[i] += each
        return value1


@pytest.mark.parametrize(
    ("start", "term", "total"),
    [(10, 1, 16), (1.5, 0.5, 4.5), (1j, 1, 6 + 1j), (True, 1, 7)],
)
def test_numbers_add_up(sc: SparkContext, start: Any, term: Any, total: Any) -> None:
    """Each task's terms come to the start value, for every kind of number."""
    total_seen = sc.accumulator(start)
    sc.parallelize(range(6), 3).foreach(lambda _: total_seen.add(term))

    assert total_seen.value == total


def test_plus_equals_works_in_a_task_and_on_the_driver(sc: SparkContext) -> None:
    """With `global` or `nonlocal`, as programs write it."""
    count = sc.accumulator(0)

    def see(_: int) -> None:
        nonlocal count
        count += 2

    sc.parallelize(range(5), 2).foreach(see)
    count += 100

    assert count.value == 110


def test_a_param_of_ones_own_says_how_to_add(sc: SparkContext) -> None:
    """It is used in tasks and to merge."""
    vector = sc.accumulator([1.0, 2.0], _Vector())
    sc.parallelize(range(4), 2).foreach(lambda i: vector.add([i, 1.0]))

    assert vector.value == [7.0, 6.0]


def test_a_zero_that_is_one_and_the_same_list_does_not_fill_up(
    sc: SparkContext,
) -> None:
    """Each task starts with an empty one."""
    seen = sc.accumulator([], AddingAccumulatorParam([]))
    for _ in range(2):
        sc.parallelize([1, 2], 2).foreach(lambda i: seen.add([i]))

    assert sorted(seen.value) == [1, 1, 2, 2]


def test_the_value_is_the_drivers(sc: SparkContext) -> None:
    """Reading or setting it in a task fails with PySpark's words."""
    count = sc.accumulator(0)

    def read(_: int) -> None:
        print(count.value)

    def write(_: int) -> None:
        count.value = 1

    for use in (read, write):
        with pytest.raises(JobFailedError, match="cannot be accessed inside tasks"):
            sc.parallelize([1]).foreach(use)
    count.value = 5
    assert count.value == 5


def test_what_a_failed_attempt_added_does_not_count() -> None:
    """Only the attempt that succeeded does, so that a retry changes nothing."""
    with SparkContext("local[1,2]", "retry") as sc:
        count = sc.accumulator(0)

        def fail_at_first(x: int) -> int:
            from millstream.taskcontext import TaskContext

            count.add(1)
            context = TaskContext.get()
            assert context is not None
            if context.attemptNumber() == 0 and x == 3:
                raise ValueError("once")
            return x

        assert sc.parallelize(range(5), 1).map(fail_at_first).count() == 5

        assert count.value == 5


def test_text_has_no_default_way_to_add(sc: SparkContext) -> None:
    """The error says which type, and the hint what to pass."""
    with pytest.raises(
        PySparkTypeError, match="No default accumulator param"
    ) as caught:
        sc.accumulator("text")

    assert caught.value.hint


def test_ids_tell_accumulators_apart(sc: SparkContext) -> None:
    """Each has its own; the text forms show id and value."""
    one, two = sc.accumulator(1), sc.accumulator(2)

    assert one.aid != two.aid
    assert str(one) == "1"
    assert repr(two) == f"Accumulator<id={two.aid}, value=2>"


def test_back_on_the_driver_it_is_the_one_that_was_pickled() -> None:
    """A copy there would take terms that nobody reads."""
    count: Accumulator[int] = Accumulator(
        next_accumulator_id(), 3, AddingAccumulatorParam(0)
    )

    assert pickle.loads(pickle.dumps(count)) is count
    data = pickle.dumps(count)
    del count
    with pytest.raises(Exception, match="inside tasks"):
        _ = pickle.loads(data).value


def test_a_param_must_say_how() -> None:
    """The base class adds nothing."""
    param: AccumulatorParam[int] = AccumulatorParam()
    with pytest.raises(NotImplementedError):
        param.zero(1)
    with pytest.raises(NotImplementedError):
        param.addInPlace(1, 1)


@given(st.lists(st.lists(st.integers())), st.integers())
def test_tasks_add_up_to_the_sum_of_all_terms(
    tasks: list[list[int]], start: int
) -> None:
    """Whatever the tasks, and whichever of them added nothing."""
    count: Accumulator[int] = Accumulator(
        next_accumulator_id(), start, AddingAccumulatorParam(0)
    )
    data = pickle.dumps(count)
    for terms in tasks:
        accumulating.start_task_accumulators()
        for term in terms:
            pickle.loads(data).add(term)
        accumulating.merge(accumulating.take_task_updates())

    assert count.value == start + sum(map(sum, tasks))
