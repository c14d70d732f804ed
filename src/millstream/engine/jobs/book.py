"""JobBook: what jobs and stages there are and were; read by status trackers and pages."""

import itertools
import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from millstream.engine.columnar.reports import StageReport


@dataclass(slots=True)
class StageRecord:
    """One stage: counts of its tasks so far."""

    id: int
    job_id: int
    name: str
    task_count: int
    attempt: int = 0
    active_count: int = 0
    completed_count: int = 0
    failed_count: int = 0
    submitted_ms: int = 0
    ended_ms: int | None = None
    report: StageReport = field(default_factory=StageReport)
    """Which way each step went: by columns or by rows, and why."""


@dataclass(slots=True)
class JobRecord:
    """One job; `status` is RUNNING, SUCCEEDED or FAILED."""

    id: int
    name: str
    group: str | None
    tags: frozenset[str]
    description: str | None
    batch_time: str | None = None
    output_id: str | None = None
    status: str = "RUNNING"
    stage_ids: list[int] = field(default_factory=list)
    submitted_ms: int = 0
    ended_ms: int | None = None
    error: str | None = None


class JobBook:
    """Jobs and stages by id; the newest `retained_max` of each. Thread-safe."""

    def __init__(self, retained_max: int = 1000) -> None:
        """Remember at most `retained_max` ended jobs and as many stages."""
        self._retained_max = retained_max
        self._lock = threading.Lock()
        self._job_ids = itertools.count()
        self._stage_ids = itertools.count()
        self._jobs: OrderedDict[int, JobRecord] = OrderedDict()
        self._stages: OrderedDict[int, StageRecord] = OrderedDict()
        self._active_jobs: dict[int, JobRecord] = {}

    def open_job(
        self,
        name: str,
        properties: dict[str, str],
        now_ms: int,
    ) -> JobRecord:
        """Note a new job with the local properties of the thread that runs it."""
        tags = properties.get("spark.job.tags", "")
        with self._lock:
            job = JobRecord(
                next(self._job_ids),
                name,
                properties.get("spark.jobGroup.id"),
                frozenset(tag for tag in tags.split(",") if tag),
                properties.get("spark.job.description"),
                properties.get("spark.streaming.internal.batchTime"),
                properties.get("spark.streaming.internal.outputOpId"),
                submitted_ms=now_ms,
            )
            self._jobs[job.id] = self._active_jobs[job.id] = job
            while len(self._jobs) > self._retained_max:
                oldest = next(iter(self._jobs))
                if oldest in self._active_jobs:
                    break
                del self._jobs[oldest]
        return job

    def close_job(self, job: JobRecord, now_ms: int, error: str | None = None) -> None:
        """Note that a job ended."""
        with self._lock:
            job.status = "FAILED" if error else "SUCCEEDED"
            job.error, job.ended_ms = error, now_ms
            self._active_jobs.pop(job.id, None)

    def open_stage(
        self, job: JobRecord, name: str, task_count: int, now_ms: int
    ) -> StageRecord:
        """Note a new stage of `job`."""
        with self._lock:
            stage = StageRecord(
                next(self._stage_ids), job.id, name, task_count, submitted_ms=now_ms
            )
            job.stage_ids.append(stage.id)
            self._stages[stage.id] = stage
            while len(self._stages) > self._retained_max:
                del self._stages[next(iter(self._stages))]
        return stage

    def job_ids_for_group(self, group: str | None) -> list[int]:
        """Return the known jobs of a group; None stands for jobs without one."""
        with self._lock:
            return [job.id for job in self._jobs.values() if job.group == group]

    def active_job_ids(self) -> list[int]:
        """Return the running jobs, newest first."""
        with self._lock:
            return sorted(self._active_jobs, reverse=True)

    def active_stage_ids(self) -> list[int]:
        """Return the running stages, newest first."""
        with self._lock:
            return sorted(
                (
                    stage.id
                    for stage in self._stages.values()
                    if stage.job_id in self._active_jobs and stage.ended_ms is None
                ),
                reverse=True,
            )

    def job(self, job_id: int) -> JobRecord | None:
        """Return a job, or None when it is unknown or forgotten."""
        with self._lock:
            return self._jobs.get(job_id)

    def reports(self) -> StageReport:
        """Return which way the steps of all known stages went, put together."""
        with self._lock:
            stages = list(self._stages.values())
        whole = StageReport()
        for stage in stages:
            whole.add(stage.report)
        return whole

    def stage(self, stage_id: int) -> StageRecord | None:
        """Return a stage, or None when it is unknown or forgotten."""
        with self._lock:
            return self._stages.get(stage_id)
