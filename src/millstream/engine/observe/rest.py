"""REST: Spark's monitoring answers about an application, its stream, jobs and stages.

The paths and fields are those of Spark's `/api/v1/applications`; what isn't known yet is
left out, as there.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from millstream.engine.jobs.book import JobRecord, StageRecord
from millstream.engine.observe.application import Application
from millstream.engine.observe.control import Action, ThreadDump
from millstream.engine.observe.progress import Batch, BatchStatus, Picture
from millstream.engine.streams.events import OutputOperationInfo, ReceiverInfo

Answer = dict[str, Any]


def statistics(picture: Picture, receiver_count: int) -> Answer:
    """Return the sums and means of a stream that has `receiver_count` receivers."""
    means = picture.means()
    active = sum(each.active for each in picture.receivers.values())
    return _known(
        {
            "startTime": spark_time(picture.started_ms),
            "batchDuration": picture.batch_ms,
            "numReceivers": receiver_count,
            "numActiveReceivers": active,
            "numInactiveReceivers": max(0, receiver_count - active),
            "numTotalCompletedBatches": picture.completed_count,
            "numRetainedCompletedBatches": len(picture.completed),
            "numActiveBatches": len(picture.waiting) + len(picture.running),
            "numProcessedRecords": picture.processed_records,
            "numReceivedRecords": picture.received_records,
            "avgInputRate": means.input_rate,
            "avgSchedulingDelay": _whole(means.scheduling_delay_ms),
            "avgProcessingTime": _whole(means.processing_ms),
            "avgTotalDelay": _whole(means.total_delay_ms),
        }
    )


def receivers(picture: Picture, names: Mapping[int, str]) -> list[Answer]:
    """Return all inputs, by id; `names` are those of inputs without a receiver, too."""
    ids = sorted({*picture.stream_ids, *names})
    return [_receiver(picture, each, names) for each in ids]


def receiver(
    picture: Picture, names: Mapping[int, str], stream_id: int
) -> Answer | None:
    """Return one input; None if there is none of that id."""
    if stream_id not in {*picture.stream_ids, *names}:
        return None
    return _receiver(picture, stream_id, names)


def _receiver(picture: Picture, stream_id: int, names: Mapping[int, str]) -> Answer:
    rates = picture.input_rates(stream_id)
    info = picture.receivers.get(stream_id)
    name = names.get(stream_id, f"Stream-{stream_id}")
    answer: Answer = {
        "streamId": stream_id,
        "streamName": name if info is None else info.name,
        **({} if info is None else _state_of(info)),
        "avgEventRate": picture.mean_rate_of(stream_id),
        "eventRates": [list(each) for each in rates],
    }
    return _known(answer)


def _state_of(info: ReceiverInfo) -> Answer:
    has_failed = info.last_error_time_ms >= 0
    return {
        "isActive": info.active,
        "executorId": info.executor_id or None,
        "executorHost": info.location or None,
        "lastErrorTime": spark_time(info.last_error_time_ms) if has_failed else None,
        "lastErrorMessage": info.last_error_message or None,
        "lastError": info.last_error or None,
    }


def batches(picture: Picture, statuses: tuple[str, ...] = ()) -> list[Answer]:
    """Return the retained batches, newest first; those of some statuses alone.

    Raises:
        ValueError: There is no such status.
    """
    known = [each.value for each in BatchStatus]
    asked = {each.upper() for each in statuses}
    if not asked <= set(known):
        msg = f"status is one of {', '.join(known)}, not {_quoted(asked - set(known))}"
        raise ValueError(msg)
    wanted = set(map(BatchStatus, asked or known))
    return [
        batch(each, picture.batch_ms)
        for each in picture.batches
        if each.status in wanted
    ]


def batch(batch: Batch, batch_ms: int) -> Answer:
    """Return one batch of a stream with batches of `batch_ms`."""
    info = batch.info
    return _known(
        {
            "batchId": info.batch_ms,
            "batchTime": spark_time(info.batch_ms),
            "status": batch.status.value,
            "batchDuration": batch_ms,
            "inputSize": info.record_count,
            "schedulingDelay": info.scheduling_delay_ms,
            "processingTime": info.processing_delay_ms,
            "totalDelay": info.total_delay_ms,
            "numActiveOutputOps": batch.active_count,
            "numCompletedOutputOps": batch.completed_count,
            "numFailedOutputOps": batch.failed_count,
            "numTotalOutputOps": len(info.outputs),
            "firstFailureReason": batch.first_failure,
        }
    )


def operation(output: OutputOperationInfo, job_ids: list[int]) -> Answer:
    """Return one output operation of a batch, and the jobs that it ran."""
    return _known(
        {
            "outputOpId": output.id,
            "name": output.name,
            "description": output.description,
            "startTime": spark_time(output.start_ms),
            "endTime": spark_time(output.end_ms),
            "duration": output.duration_ms,
            "failureReason": output.failure_reason,
            "jobIds": job_ids,
        }
    )


def application(of: Application, now_ms: int) -> Answer:
    """Return who an application is, and since when it runs."""
    facts, ended_ms = of.facts, of.ended_ms
    last_ms = now_ms if ended_ms is None else ended_ms
    return {
        "id": facts.id,
        "name": facts.name,
        "attempts": [
            {
                "startTime": spark_time(facts.started_ms),
                # As Spark has it of what hasn't ended: the second before 1970.
                "endTime": spark_time(-1 if ended_ms is None else ended_ms),
                "lastUpdated": spark_time(last_ms),
                "duration": last_ms - facts.started_ms,
                "sparkUser": facts.user,
                "completed": ended_ms is not None,
                "appSparkVersion": facts.version,
                "startTimeEpoch": facts.started_ms,
                "endTimeEpoch": -1 if ended_ms is None else ended_ms,
                "lastUpdatedEpoch": last_ms,
            }
        ],
    }


def job(record: JobRecord, stages: Mapping[int, StageRecord]) -> Answer:
    """Return one job; stages that are forgotten aren't counted."""
    own = [stages[each] for each in record.stage_ids if each in stages]
    statuses = [stage_status(each, record) for each in own]
    return _known(
        {
            "jobId": record.id,
            "name": record.name,
            "description": record.description,
            "submissionTime": spark_time(record.submitted_ms),
            "completionTime": spark_time(record.ended_ms),
            "stageIds": list(record.stage_ids),
            "jobGroup": record.group,
            "jobTags": sorted(record.tags),
            "status": record.status,
            "numTasks": sum(each.task_count for each in own),
            "numActiveTasks": sum(each.active_count for each in own),
            "numCompletedTasks": sum(each.completed_count for each in own),
            "numSkippedTasks": 0,
            "numFailedTasks": sum(each.failed_count for each in own),
            "numActiveStages": statuses.count("ACTIVE"),
            "numCompletedStages": statuses.count("COMPLETE"),
            "numSkippedStages": 0,
            "numFailedStages": statuses.count("FAILED"),
        }
    )


def stage(record: StageRecord, owner: JobRecord | None) -> Answer:
    """Return one stage, and which way each of its steps went."""
    fates = [(key, fate) for (key, _), fate in list(record.report.steps.items())]
    fates += list(record.report.shuffles.items())
    return _known(
        {
            "status": stage_status(record, owner),
            "stageId": record.id,
            "attemptId": record.attempt,
            "jobId": record.job_id,
            "numTasks": record.task_count,
            "numActiveTasks": record.active_count,
            "numCompleteTasks": record.completed_count,
            "numFailedTasks": record.failed_count,
            "submissionTime": spark_time(record.submitted_ms),
            "completionTime": spark_time(record.ended_ms),
            "name": record.name,
            "steps": [
                {
                    "rddId": key,
                    "name": fate.name,
                    "columns": fate.columns,
                    "rows": fate.rows,
                    "reasons": dict(fate.reasons),
                }
                for key, fate in fates
            ],
        }
    )


def stage_status(record: StageRecord, owner: JobRecord | None) -> str:
    """Return Spark's word for where a stage is: ACTIVE, COMPLETE or FAILED."""
    if record.ended_ms is None and (owner is None or owner.ended_ms is None):
        return "ACTIVE"
    return "COMPLETE" if record.completed_count >= record.task_count else "FAILED"


def thread(dump: ThreadDump) -> Answer:
    """Return where a thread is; the innermost call first, as in Spark's answers."""
    return {
        "threadId": dump.id,
        "threadName": dump.name,
        "stackTrace": {"elems": list(reversed(dump.calls))},
        "isDaemon": dump.is_daemon,
    }


def action(taken: Action) -> Answer:
    """Return what was done, when and by whom; Spark has no such answer."""
    return {"time": spark_time(taken.time_ms), "what": taken.what, "by": taken.by}


def _quoted(words: Iterable[str]) -> str:
    return ", ".join(f"'{each:.40}'" for each in sorted(words))


def _known(answer: Answer) -> Answer:
    return {key: value for key, value in answer.items() if value is not None}


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def spark_time(time_ms: int | None) -> str | None:
    """Return a time as Spark writes it: 2026-01-02T03:04:05.006GMT."""
    if time_ms is None:
        return None
    moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{time_ms % 1000:03}GMT"
