"""REST answers have Spark's fields, and are true to the picture."""

from collections import Counter

import pytest
from tests.engine.observe.observed import FakeApplication, batch, life_of

from millstream.engine.columnar.reports import StageReport, StepFate
from millstream.engine.jobs.book import JobRecord, StageRecord
from millstream.engine.observe import rest
from millstream.engine.observe.progress import StreamProgress
from millstream.engine.streams.events import (
    BatchStarted,
    BatchSubmitted,
    ReceiverError,
    ReceiverInfo,
    ReceiverStarted,
    StreamingStarted,
)


def a_stream() -> StreamProgress:
    """Return the progress of a stream: one batch good, one failed, one running, one not."""
    progress = StreamProgress(1000)
    progress.on_event(StreamingStarted(0))
    progress.on_event(ReceiverStarted(ReceiverInfo(0, "Lines-0", active=True)))
    for info in (batch(1000), batch(2000, records=30, failure="ValueError: no")):
        for event in life_of(info):
            progress.on_event(event)
    progress.on_event(BatchStarted(batch(3000)))
    progress.on_event(BatchSubmitted(batch(4000)))
    return progress


def test_statistics_before_a_batch_leave_the_means_out() -> None:
    """What isn't known isn't there."""
    answer = rest.statistics(StreamProgress(500).picture(), 2)

    assert answer == {
        "batchDuration": 500,
        "numReceivers": 2,
        "numActiveReceivers": 0,
        "numInactiveReceivers": 2,
        "numTotalCompletedBatches": 0,
        "numRetainedCompletedBatches": 0,
        "numActiveBatches": 0,
        "numProcessedRecords": 0,
        "numReceivedRecords": 0,
    }


def test_statistics_tell_sums_and_means() -> None:
    """Means are of the retained batches; delays are whole ms."""
    answer = rest.statistics(a_stream().picture(), 1)

    assert answer == {
        "startTime": "1970-01-01T00:00:00.000GMT",
        "batchDuration": 1000,
        "numReceivers": 1,
        "numActiveReceivers": 1,
        "numInactiveReceivers": 0,
        "numTotalCompletedBatches": 2,
        "numRetainedCompletedBatches": 2,
        "numActiveBatches": 2,
        "numProcessedRecords": 40,
        "numReceivedRecords": 50,
        "avgInputRate": 15.0,
        "avgSchedulingDelay": 2,
        "avgProcessingTime": 30,
        "avgTotalDelay": 32,
    }


def test_receivers_tell_state_and_rates_and_are_by_id() -> None:
    """Inputs without a receiver have rates alone."""
    progress = a_stream()
    progress.on_event(
        ReceiverError(
            ReceiverInfo(
                0,
                "Lines-0",
                active=True,
                location="host",
                executor_id="driver",
                last_error_message="dropped",
                last_error="OSError: gone",
                last_error_time_ms=5,
            )
        )
    )
    lines, files = rest.receivers(progress.picture(), {1: "files [1]"})

    assert lines == {
        "streamId": 0,
        "streamName": "Lines-0",
        "isActive": True,
        "executorId": "driver",
        "executorHost": "host",
        "lastErrorTime": "1970-01-01T00:00:00.005GMT",
        "lastErrorMessage": "dropped",
        "lastError": "OSError: gone",
        "avgEventRate": 15.0,
        "eventRates": [[1000, 10.0], [2000, 30.0], [3000, 10.0], [4000, 10.0]],
    }
    assert files["streamName"] == "files [1]"
    assert "isActive" not in files
    assert files["eventRates"][0] == [1000, 0.0]


def test_a_receiver_without_an_error_has_no_fields_of_one() -> None:
    """Also none for what its place is, until that is known."""
    answer = rest.receiver(a_stream().picture(), {}, 0)

    assert answer is not None
    assert not {"lastErrorTime", "lastError", "executorId"} & set(answer)


def test_an_unknown_receiver_is_none() -> None:
    """The page says 404."""
    assert rest.receiver(a_stream().picture(), {}, 7) is None


def test_an_input_that_only_batches_tell_of_is_named_by_its_number() -> None:
    """As Spark does."""
    progress = StreamProgress(1000)
    progress.on_event(BatchSubmitted(batch(1000)))

    answer = rest.receiver(progress.picture(), {}, 0)

    assert answer is not None
    assert answer["streamName"] == "Stream-0"


def test_batches_are_newest_first_and_chosen_by_status() -> None:
    """Statuses are read in any case."""
    picture = a_stream().picture()
    every = [each["batchId"] for each in rest.batches(picture)]
    ended = [each["batchId"] for each in rest.batches(picture, ("completed",))]
    active = [e["status"] for e in rest.batches(picture, ("QUEUED", "PROCESSING"))]

    assert every == [4000, 3000, 2000, 1000]
    assert ended == [2000, 1000]
    assert active == ["QUEUED", "PROCESSING"]
    with pytest.raises(ValueError, match="DONE"):
        rest.batches(picture, ("done",))


def test_a_failed_batch_tells_its_first_failure() -> None:
    """And counts its output operations."""
    (failed, _) = rest.batches(a_stream().picture(), ("COMPLETED",))

    assert failed == {
        "batchId": 2000,
        "batchTime": "1970-01-01T00:00:02.000GMT",
        "status": "COMPLETED",
        "batchDuration": 1000,
        "inputSize": 30,
        "schedulingDelay": 2,
        "processingTime": 30,
        "totalDelay": 32,
        "numActiveOutputOps": 0,
        "numCompletedOutputOps": 0,
        "numFailedOutputOps": 1,
        "numTotalOutputOps": 1,
        "firstFailureReason": "ValueError: no",
    }


def test_an_operation_tells_its_times_and_jobs() -> None:
    """In ms since the epoch, as Spark writes times."""
    (output,) = batch(1000).outputs.values()

    assert rest.operation(output, [3, 4]) == {
        "outputOpId": 0,
        "name": "print",
        "description": "print at app.py:3",
        "startTime": "1970-01-01T00:00:01.002GMT",
        "endTime": "1970-01-01T00:00:01.032GMT",
        "duration": 30,
        "jobIds": [3, 4],
    }


def test_an_application_that_runs_has_the_end_that_spark_writes() -> None:
    """The last ms before 1970; one that is over has its own."""
    running = rest.application(FakeApplication(), 4_000)["attempts"][0]
    ended = rest.application(FakeApplication(ended_ms=3_000), 4_000)["attempts"][0]

    assert running["endTime"] == "1969-12-31T23:59:59.999GMT"
    assert (running["completed"], running["duration"]) == (False, 3_000)
    assert (ended["completed"], ended["duration"]) == (True, 2_000)
    assert ended["endTimeEpoch"] == 3_000


def test_a_job_counts_its_stages_and_tasks() -> None:
    """Stages that are forgotten aren't counted."""
    job = JobRecord(5, "collect at app.py:1", None, frozenset({"b", "a"}), None)
    job.stage_ids = [1, 2, 9]
    done = StageRecord(1, 5, "shuffle", 2, completed_count=2, ended_ms=9)
    failed = StageRecord(2, 5, "collect", 2, failed_count=1, ended_ms=9)
    answer = rest.job(job, {1: done, 2: failed})

    assert answer["jobTags"] == ["a", "b"]
    assert "description" not in answer
    assert (answer["numTasks"], answer["numCompletedTasks"]) == (4, 2)
    assert (answer["numCompletedStages"], answer["numFailedStages"]) == (1, 1)


def test_a_stage_tells_which_way_its_steps_went() -> None:
    """How many blocks by columns, how many by rows, and why."""
    fate = StepFate("map", columns=2, rows=1, reasons=Counter({"few": 1}))
    record = StageRecord(
        1,
        5,
        "collect",
        1,
        report=StageReport({(7, "map"): fate}, {8: StepFate("by key", columns=1)}),
    )
    answer = rest.stage(record, None)

    assert answer["status"] == "ACTIVE"
    assert answer["steps"] == [
        {"rddId": 7, "name": "map", "columns": 2, "rows": 1, "reasons": {"few": 1}},
        {"rddId": 8, "name": "by key", "columns": 1, "rows": 0, "reasons": {}},
    ]


def test_a_stage_of_a_job_that_has_ended_isnt_active() -> None:
    """A job that was cancelled leaves stages that never end."""
    job = JobRecord(5, "collect", None, frozenset(), None, ended_ms=3)

    assert rest.stage_status(StageRecord(1, 5, "collect", 2), job) == "FAILED"
