"""Tests of taskcontext.py."""

from typing import Any

import pytest

from millstream.context import SparkContext
from millstream.engine.base.errors import (
    JobFailedError,
    PySparkRuntimeError,
    PySparkTypeError,
    PySparkValueError,
)
from millstream.taskcontext import BarrierTaskContext, BarrierTaskInfo, TaskContext


def test_the_driver_is_in_no_task() -> None:
    """None, and an error for the barrier's."""
    assert TaskContext.get() is None
    with pytest.raises(PySparkRuntimeError, match="NOT_IN_BARRIER_STAGE"):
        BarrierTaskContext.get()


def test_a_task_knows_where_it_is(sc: SparkContext) -> None:
    """Partition, stage, attempt, and the properties of the thread that ran the job."""
    sc.setLocalProperty("who", "me")

    def facts(_: Any) -> list[Any]:
        context = TaskContext.get()
        assert context is not None
        return [
            (
                context.partitionId(),
                context.stageId(),
                context.attemptNumber(),
                context.getLocalProperty("who"),
                context.getLocalProperty("nobody"),
                context.cpus(),
                context.cpuAmount(),
                context.resources(),
            )
        ]

    rdd = sc.parallelize(range(4), 2).mapPartitions(facts)
    first, second = rdd.collect(), rdd.collect()

    assert [each[0] for each in first] == [0, 1]
    assert [each[2:] for each in first] == [(0, "me", None, 1, 1.0, {})] * 2
    assert {each[1] for each in first}.isdisjoint(each[1] for each in second)


def test_attempts_have_numbers_of_their_own() -> None:
    """The number of the try, and an id no other attempt has."""
    with SparkContext("local[1,3]", "attempts") as sc:

        def third_time_lucky(_: int) -> tuple[int, int]:
            context = TaskContext.get()
            assert context is not None
            if context.attemptNumber() < 2:
                raise ValueError("again")
            return context.attemptNumber(), context.taskAttemptId()

        ((attempt, first_id), (_, second_id)) = (
            sc.parallelize([0, 0], 2).map(third_time_lucky).collect()
        )

        assert attempt == 2
        assert first_id != second_id


def test_barrier_tasks_meet(sc: SparkContext) -> None:
    """Everyone gets everyone's message; both classes give the barrier's context."""

    def meet(_: Any) -> list[Any]:
        context = BarrierTaskContext.get()
        context.barrier()
        said = context.allGather(f"I am {context.partitionId()}")
        places = [each.address for each in context.getTaskInfos()]
        return [(said, places, type(TaskContext.get()).__name__)]

    met = sc.parallelize(range(4), 2).barrier().mapPartitions(meet).collect()

    expected = (["I am 0", "I am 1"], ["localhost"] * 2, "BarrierTaskContext")
    assert met == [expected] * 2


def test_a_barrier_takes_text_only(sc: SparkContext) -> None:
    """Anything else is refused before anybody waits."""

    def meet(_: Any) -> list[str]:
        return BarrierTaskContext.get().allGather(7)  # type: ignore[arg-type]

    with pytest.raises(JobFailedError, match="should be a str") as caught:
        sc.parallelize([1], 1).barrier().mapPartitions(meet).collect()
    assert isinstance(caught.value.user_error, PySparkTypeError)


def test_an_ordinary_task_meets_nobody(sc: SparkContext) -> None:
    """The barrier's context is refused there."""
    with pytest.raises(JobFailedError, match="NOT_IN_BARRIER_STAGE"):
        sc.parallelize([1]).foreach(lambda _: BarrierTaskContext.get().barrier())


def test_places_are_shown_by_address() -> None:
    """One field."""
    assert repr(BarrierTaskInfo("localhost")) == "BarrierTaskInfo(address='localhost')"


def test_a_context_is_made_of_json() -> None:
    """What isn't given is zero or empty; what is no task is refused."""
    context = TaskContext.from_json(json='{"stageId": 3, "partitionId": 1}')

    assert (context.stageId(), context.partitionId()) == (3, 1)
    assert context.getLocalProperty("x") is None
    for text in ("{", "[]", '{"stageId": 1}', '{"stageId": "x", "partitionId": 0}'):
        with pytest.raises(PySparkValueError, match="no JSON object of a task"):
            TaskContext.from_json(text)
