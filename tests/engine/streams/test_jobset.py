"""Tests of engine/streams/jobset.py."""

from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.streams.events import (
    BatchCompleted,
    BatchStarted,
    BatchSubmitted,
    OutputOperationCompleted,
    OutputOperationStarted,
    StreamInputInfo,
)
from millstream.engine.streams.jobset import JobSet


def test_a_batch_from_submission_to_completion() -> None:
    """Events in order; delays add up; a failure is noted and the batch completes."""
    batch = JobSet(1000, {0: StreamInputInfo(0, 5, {"Description": "files"})}, 100)
    first, second = batch.add_job("a", "a at x"), batch.add_job("b", "b at x")
    (submitted,) = batch.on_submitted()
    started = batch.on_job_started(first, 110, 1)
    again = batch.on_job_started(second, 120, 2)
    one = batch.on_job_completed(second, 150, 3, "broken")
    two = batch.on_job_completed(first, 170, 4, None)

    assert isinstance(submitted, BatchSubmitted)
    assert submitted.info.scheduling_delay_ms is None
    assert submitted.info.total_delay_ms is None
    assert submitted.info.outputs[0].duration_ms is None
    assert [type(event) for event in (*started, *again, *one, *two)] == [
        BatchStarted,
        OutputOperationStarted,
        OutputOperationStarted,
        OutputOperationCompleted,
        OutputOperationCompleted,
        BatchCompleted,
    ]
    info = batch.info()
    assert (info.scheduling_delay_ms, info.processing_delay_ms) == (10, 60)
    assert info.total_delay_ms == 70
    assert info.record_count == 5
    assert info.inputs[0].description == "files"
    assert StreamInputInfo(0, 1).description is None
    assert info.outputs[1].failure_reason == "broken"
    assert info.outputs[1].duration_ms == 1
    assert batch.has_failed
    assert batch.is_complete


@given(st.permutations(range(4)), st.sets(st.integers(0, 3)))
def test_completion_comes_with_the_last_job(
    order: list[int], failing: set[int]
) -> None:
    """Whatever the order, exactly one completion, after all jobs."""
    batch = JobSet(0, {}, 0)
    for _ in range(4):
        batch.add_job("job", "")
    completions = []
    for position, job in enumerate(order):
        batch.on_job_started(job, position, position)
        failure = "no" if job in failing else None
        events = batch.on_job_completed(job, position, position, failure)
        completions.append(any(isinstance(e, BatchCompleted) for e in events))

    assert completions == [False, False, False, True]
    assert batch.has_failed == bool(failing)
