"""Answers about tasks have Spark's fields, and are true to what is kept."""

import pytest

from millstream.engine.jobs.book import StageRecord
from millstream.engine.jobs.task_log import TaskLog, TaskStatus, Traffic
from millstream.engine.observe.rest_tasks import task_summary, tasks


def a_stage(*, writes_shuffle: bool = False) -> StageRecord:
    """Return a stage of four tasks that took 1 to 4 s; a fifth attempt failed."""
    log = TaskLog()
    for number in range(4):
        log.begin(number, 0, number, 0.0)
        moved = Traffic(number, 10 * number, 1, None)
        log.end(number, 0, TaskStatus.SUCCESS, number + 1.0, moved)
    log.end(1, 1, TaskStatus.FAILED, 0.5, error="ValueError: no", is_copy=True)
    return StageRecord(
        3, 1, "x", 4, completed_count=4, tasks=log, writes_shuffle=writes_shuffle
    )


def test_a_task_has_sparks_fields() -> None:
    """What isn't known is left out."""
    (failed,) = tasks(a_stage(), statuses=["failed"])
    (slowest,) = tasks(a_stage(writes_shuffle=True), order="-runtime", length=1)

    assert failed["taskId"] == -1
    assert (failed["index"], failed["attempt"], failed["partitionId"]) == (1, 1, 1)
    assert failed["status"] == "FAILED"
    assert failed["errorMessage"] == "ValueError: no"
    assert failed["speculative"]
    assert failed["duration"] == 500
    assert failed["launchTime"].endswith("GMT")
    assert slowest["taskMetrics"] == {
        "executorRunTime": 4000,
        "inputMetrics": {"bytesRead": 30, "recordsRead": 3},
        "shuffleWriteMetrics": {"recordsWritten": 1},
    }
    assert "errorMessage" not in slowest


def test_tasks_are_told_in_parts_and_in_order() -> None:
    """By their numbers, or by what they took."""
    stage = a_stage()

    def took(order: str, offset: int = 0, length: int = 9) -> list[int]:
        told = tasks(stage, order=order, offset=offset, length=length)
        return [each["duration"] for each in told]

    assert took("ID") == [500, 1000, 2000, 3000, 4000]
    assert took("runtime", 1, 2) == [1000, 2000]
    assert took("DECREASING_RUNTIME", 0, 2) == [4000, 3000]
    assert took("ID", 99) == []


def test_an_order_or_status_that_there_isnt_is_refused() -> None:
    """In words."""
    with pytest.raises(ValueError, match="sortBy is one of"):
        tasks(a_stage(), order="size")
    with pytest.raises(ValueError, match=r"status is one of RUNNING, .*, not ODD"):
        tasks(a_stage(), statuses=["odd"])


def test_a_summary_is_of_those_that_succeeded() -> None:
    """At each of the shares that are asked for."""
    result = task_summary(a_stage(), (0.0, 0.5, 1.0))
    shuffle = task_summary(a_stage(writes_shuffle=True), (0.5,))

    assert result == {
        "quantiles": [0.0, 0.5, 1.0],
        "duration": [1000, 3000, 4000],
        "executorRunTime": [1000, 3000, 4000],
        "inputMetrics": {"bytesRead": [0, 20, 30], "recordsRead": [0, 2, 3]},
        "outputMetrics": {"recordsWritten": [1, 1, 1]},
        "numTasks": 4,
        "numSampledTasks": 4,
    }
    assert shuffle is not None
    assert shuffle["shuffleWriteMetrics"] == {"writeRecords": [1]}


def test_of_nothing_there_is_no_summary() -> None:
    """No task has succeeded yet."""
    assert task_summary(StageRecord(3, 1, "x", 4), (0.5,)) is None
