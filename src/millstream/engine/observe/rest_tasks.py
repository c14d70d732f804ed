"""RestTasks: Spark's monitoring answers about the tasks of a stage.

Beyond Spark's fields: `durationMs` with what is below a millisecond, `executorId` in words,
and counts of what the summary is made of. What a task reads, shuffles too, is in
`inputMetrics`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from millstream.engine.jobs.book import StageRecord
from millstream.engine.jobs.task_log import TaskRecord, TaskStatus
from millstream.engine.observe.rest import Answer, spark_time

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
LENGTH = 20
_ORDERS: Mapping[str, tuple[Callable[[TaskRecord], Any], bool]] = {
    "id": (lambda each: each.id, False),
    "runtime": (lambda each: each.took_ms, False),
    "increasing_runtime": (lambda each: each.took_ms, False),
    "-runtime": (lambda each: each.took_ms, True),
    "decreasing_runtime": (lambda each: each.took_ms, True),
}


def tasks(
    stage: StageRecord,
    *,
    offset: int = 0,
    length: int = LENGTH,
    order: str = "id",
    statuses: Sequence[str] = (),
) -> list[Answer]:
    """Return the attempts of a stage's tasks that are kept: `length` of them.

    Raises:
        ValueError: There is no such order, or no such status.
    """
    known = [each.value for each in TaskStatus]
    asked = {each.upper() for each in statuses} or set(known)
    if not asked <= set(known):
        msg = f"status is one of {', '.join(known)}, not {', '.join(sorted(asked))}"
        raise ValueError(msg)
    if order.lower() not in _ORDERS:
        msg = f"sortBy is one of {', '.join(_ORDERS)}, not {order}"
        raise ValueError(msg)
    key, is_descending = _ORDERS[order.lower()]
    kept = [each for each in stage.tasks.records() if each.status.value in asked]
    kept.sort(key=key, reverse=is_descending)
    return [task(each, stage) for each in kept[offset : offset + length]]


def task(record: TaskRecord, stage: StageRecord) -> Answer:
    """Return one attempt of a task."""
    traffic = record.traffic
    made = {"bytesWritten": traffic.bytes_out, "recordsWritten": traffic.rows_out}
    written = "shuffleWriteMetrics" if stage.writes_shuffle else "outputMetrics"
    return _known(
        {
            "taskId": record.id,
            "index": record.partition,
            "attempt": record.attempt,
            "partitionId": record.partition,
            "launchTime": spark_time(int(record.begun_ms)),
            "duration": int(record.took_ms),
            "durationMs": round(record.took_ms, 3),
            "executorId": record.where,
            "status": record.status.value,
            "speculative": record.is_copy,
            "errorMessage": record.error or None,
            "taskMetrics": {
                "executorRunTime": int(record.took_ms),
                "inputMetrics": _known(
                    {"bytesRead": traffic.bytes_in, "recordsRead": traffic.rows_in}
                ),
                written: _known(made),
            },
        }
    )


def task_summary(stage: StageRecord, quantiles: Sequence[float]) -> Answer | None:
    """Return how a stage's tasks that succeeded are distributed; None if there is none."""
    done = [e for e in stage.tasks.sample() if e.status is TaskStatus.SUCCESS]
    if not done:
        return None
    took = [each.took_ms for each in done]
    written, size, rows = (
        ("shuffleWriteMetrics", "writeBytes", "writeRecords")
        if stage.writes_shuffle
        else ("outputMetrics", "bytesWritten", "recordsWritten")
    )
    return {
        "quantiles": list(quantiles),
        "duration": _at(took, quantiles),
        "executorRunTime": _at(took, quantiles),
        "inputMetrics": _known(
            {
                "bytesRead": _at([e.traffic.bytes_in for e in done], quantiles),
                "recordsRead": _at([e.traffic.rows_in for e in done], quantiles),
            }
        ),
        written: _known(
            {
                size: _at([e.traffic.bytes_out for e in done], quantiles),
                rows: _at([e.traffic.rows_out for e in done], quantiles),
            }
        ),
        "numTasks": stage.completed_count,
        "numSampledTasks": len(done),
    }


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the value that `share` of an ordered sequence, not empty, is below.

    >>> quantile([1, 2, 3, 4], 0.5), quantile([1, 2, 3, 4], 1.0)
    (3, 4)
    """
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def _at(
    values: Sequence[float | None], quantiles: Sequence[float]
) -> list[float] | None:
    known = sorted(round(each, 3) for each in values if each is not None)
    return [quantile(known, each) for each in quantiles] if known else None


def _known(answer: Answer) -> Answer:
    return {key: value for key, value in answer.items() if value is not None}
