"""Tests of status.py."""

import threading

import pytest

from millstream.context import SparkContext
from millstream.engine.base.errors import JobFailedError
from millstream.status import SparkJobInfo, SparkStageInfo


def test_ended_jobs_and_stages_are_known_by_id(sc: SparkContext) -> None:
    """With status and counts; what never was is None."""
    sc.setJobGroup("g", "counting")
    pairs = sc.parallelize(range(6), 3).map(lambda x: (x % 2, x))
    pairs.reduceByKey(lambda a, b: a + b, 2).collect()
    tracker = sc.statusTracker()
    (job_id,) = tracker.getJobIdsForGroup("g")
    job = tracker.getJobInfo(job_id)
    assert job is not None
    stages = [tracker.getStageInfo(each) for each in job.stageIds]

    assert (job.jobId, job.status) == (job_id, "SUCCEEDED")
    assert sorted(each.numTasks for each in stages if each) == [2, 3]
    assert all(each.numCompletedTasks == each.numTasks for each in stages if each)
    assert all(
        each.numFailedTasks == each.numActiveTasks == 0 for each in stages if each
    )
    assert tracker.getJobInfo(10**6) is None
    assert tracker.getStageInfo(10**6) is None


def test_a_job_that_failed_says_so(sc: SparkContext) -> None:
    """It is in no group, and its stage has the failure."""
    with pytest.raises(JobFailedError):
        sc.parallelize([1], 1).map(lambda x: x // 0).count()
    tracker = sc.statusTracker()
    (job_id,) = tracker.getJobIdsForGroup()
    job = tracker.getJobInfo(job_id)
    assert job is not None
    stage = tracker.getStageInfo(job.stageIds[0])

    assert job.status == "FAILED"
    assert stage is not None
    assert (stage.numFailedTasks, stage.numCompletedTasks) == (1, 0)


def test_a_running_job_is_active(sc: SparkContext) -> None:
    """With its stage, its task, and the executor's count of tasks."""
    tracker, running, go_on = sc.statusTracker(), _Flag(), _Flag()
    _flags[:] = [running, go_on]

    thread = threading.Thread(target=lambda: sc.parallelize([1], 1).foreach(_wait))
    thread.start()
    assert running.event.wait(5)
    (job_id,), (stage_id,) = tracker.getActiveJobsIds(), tracker.getActiveStageIds()
    job, stage = tracker.getJobInfo(job_id), tracker.getStageInfo(stage_id)
    (executor,) = tracker.getExecutorInfos()
    go_on.event.set()
    thread.join()

    assert job is not None
    assert stage is not None
    assert (job.status, job.stageIds) == ("RUNNING", [stage_id])
    assert stage.numActiveTasks == executor.numRunningTasks == 1
    assert tracker.getActiveJobsIds() == tracker.getActiveStageIds() == []


def test_the_executor_tells_what_it_keeps(sc: SparkContext) -> None:
    """The memory of kept partitions, and its bound."""
    (empty,) = sc.statusTracker().getExecutorInfos()
    sc.parallelize([b"x" * 10_000], 1).cache().count()
    (used,) = sc.statusTracker().getExecutorInfos()

    assert empty.cacheSize == 0
    assert used.cacheSize == used.usedOnHeapStorageMemory >= 10_000
    assert used.totalOnHeapStorageMemory == 1 << 30


def test_records_are_named_tuples() -> None:
    """Fields in PySpark's order."""
    assert SparkJobInfo._fields == ("jobId", "stageIds", "status")
    assert SparkStageInfo._fields == (
        "stageId",
        "currentAttemptId",
        "name",
        "numTasks",
        "numActiveTasks",
        "numCompletedTasks",
        "numFailedTasks",
    )


class _Flag:
    """An event that a function refers to by this module, not by value."""

    def __init__(self) -> None:
        self.event = threading.Event()


_flags: list[_Flag] = []


def _wait(_: int) -> None:
    running, go_on = _flags
    running.event.set()
    go_on.event.wait(5)
