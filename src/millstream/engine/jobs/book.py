"""JobBook: what jobs and stages there are and were; read by status trackers and pages."""

import itertools
import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from millstream.engine.columnar.reports import StageReport
from millstream.engine.jobs.task_log import TaskLog

TASKS_MAX = 5000
"""Of so many attempts of tasks, of all stages that have ended, times are kept."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StageOperator:
    """An RDD that a stage computes, or reads where another stage has left it."""

    id: int
    name: str
    site: str
    parent_ids: tuple[int, ...]


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
    task_s: float = 0.0
    """What its tasks have taken that succeeded, together."""
    longest_task_s: float = 0.0
    operators: tuple[StageOperator, ...] = ()
    """What it is made of; a shuffle is in the stage that writes it, and where it is read."""
    writes_shuffle: bool = False
    """Whether it makes what later stages read, not what the job returns."""
    tasks: TaskLog = field(default_factory=TaskLog, compare=False)
    """Where its tasks ran, and how long."""


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


@dataclass(frozen=True, slots=True)
class JobCounts:
    """Sums over all jobs there ever were, and what runs now."""

    running: int
    succeeded: int
    failed: int
    running_tasks: int
    completed_tasks: int
    """Of jobs that have ended; so are those that failed."""
    failed_tasks: int


JobWatcher = Callable[[JobRecord, Sequence[StageRecord]], None]


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
        self.version = 0
        """Grows when a job or a stage begins, and when a job ends."""
        self.watchers: list[JobWatcher] = []
        """Called on the job's thread when a job has begun, and when it has ended, with its
        stages so far; they take a few microseconds, and must not raise."""
        self._task_logs: deque[TaskLog] = deque()
        self._kept_tasks = 0
        self._ended = {"SUCCEEDED": 0, "FAILED": 0}
        self._ended_tasks = [0, 0]

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
            self.version += 1
            self._jobs[job.id] = self._active_jobs[job.id] = job
            while len(self._jobs) > self._retained_max:
                oldest = next(iter(self._jobs))
                if oldest in self._active_jobs:
                    break
                del self._jobs[oldest]
        self._tell(job, ())
        return job

    def close_job(self, job: JobRecord, now_ms: int, error: str | None = None) -> None:
        """Note that a job ended."""
        with self._lock:
            self.version += 1
            job.status = "FAILED" if error else "SUCCEEDED"
            job.error, job.ended_ms = error, now_ms
            self._active_jobs.pop(job.id, None)
            stages = self._stages_of(job)
            self._ended[job.status] += 1
            self._ended_tasks[0] += sum(each.completed_count for each in stages)
            self._ended_tasks[1] += sum(each.failed_count for each in stages)
        self._tell(job, stages)

    def _stages_of(self, job: JobRecord) -> list[StageRecord]:
        known = (self._stages.get(each) for each in job.stage_ids)
        return [each for each in known if each is not None]

    def _tell(self, job: JobRecord, stages: Sequence[StageRecord]) -> None:
        for watch in tuple(self.watchers):
            try:
                watch(job, stages)
            except Exception:  # The job goes on: who looks at it mustn't harm it.
                _log.exception("a watcher of jobs raised job=%d", job.id)

    def counts(self) -> JobCounts:
        """Return how many jobs and tasks there are and were."""
        with self._lock:
            active = [
                stage
                for job in self._active_jobs.values()
                for stage in self._stages_of(job)
            ]
            return JobCounts(
                len(self._active_jobs),
                self._ended["SUCCEEDED"],
                self._ended["FAILED"],
                sum(each.active_count for each in active),
                *self._ended_tasks,
            )

    def open_stage(
        self, job: JobRecord, name: str, task_count: int, now_ms: int
    ) -> StageRecord:
        """Note a new stage of `job`."""
        with self._lock:
            stage = StageRecord(
                next(self._stage_ids),
                job.id,
                name,
                task_count,
                submitted_ms=now_ms,
                tasks=TaskLog(now_ms),
            )
            self.version += 1
            job.stage_ids.append(stage.id)
            self._stages[stage.id] = stage
            while len(self._stages) > self._retained_max:
                del self._stages[next(iter(self._stages))]
        return stage

    def close_stage(self, stage: StageRecord, now_ms: int) -> None:
        """Note that a stage ended; the times of the oldest stages' tasks may go for it."""
        stage.tasks.close()
        with self._lock:
            stage.ended_ms = now_ms
            self._task_logs.append(stage.tasks)
            self._kept_tasks += stage.tasks.kept_count
            while self._kept_tasks > TASKS_MAX:
                oldest = self._task_logs.popleft()
                self._kept_tasks -= oldest.kept_count
                oldest.forget()

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

    def jobs(self) -> list[JobRecord]:
        """Return the known jobs, newest first."""
        with self._lock:
            return sorted(self._jobs.values(), key=lambda each: -each.id)

    def stages(self) -> list[StageRecord]:
        """Return the known stages, newest first."""
        with self._lock:
            return sorted(self._stages.values(), key=lambda each: -each.id)

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
