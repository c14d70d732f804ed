"""StatusTracker: jobs and stages at a glance."""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from millstream.engine.jobs.book import JobBook
    from millstream.engine.jobs.driver import Driver

__all__ = ["SparkExecutorInfo", "SparkJobInfo", "SparkStageInfo", "StatusTracker"]


class SparkJobInfo(NamedTuple):
    """One job; `status` is RUNNING, SUCCEEDED, FAILED or UNKNOWN."""

    jobId: int
    stageIds: list[int]
    status: str


class SparkStageInfo(NamedTuple):
    """One stage and the counts of its tasks."""

    stageId: int
    currentAttemptId: int
    name: str
    numTasks: int
    numActiveTasks: int
    numCompletedTasks: int
    numFailedTasks: int


class SparkExecutorInfo(NamedTuple):
    """One executor: here, this process."""

    host: str
    port: int
    cacheSize: int
    numRunningTasks: int
    usedOnHeapStorageMemory: int
    usedOffHeapStorageMemory: int
    totalOnHeapStorageMemory: int
    totalOffHeapStorageMemory: int


class StatusTracker:
    """A weak view: jobs and stages may end between two questions."""

    def __init__(self, driver: "Driver") -> None:
        """Look into the job book of `driver`."""
        self._driver = driver

    @property
    def _book(self) -> "JobBook":
        return self._driver.book

    def getJobIdsForGroup(self, jobGroup: str | None = None) -> list[int]:
        """Return the known jobs of a group; None stands for jobs without a group."""
        return self._book.job_ids_for_group(jobGroup)

    def getActiveStageIds(self) -> list[int]:
        """Return the running stages, newest first."""
        return self._book.active_stage_ids()

    def getActiveJobsIds(self) -> list[int]:
        """Return the running jobs, newest first."""
        return self._book.active_job_ids()

    def getJobInfo(self, jobId: int) -> SparkJobInfo | None:
        """Return a job, or None when it is unknown or forgotten."""
        job = self._book.job(jobId)
        return (
            None
            if job is None
            else SparkJobInfo(job.id, list(job.stage_ids), job.status)
        )

    def getStageInfo(self, stageId: int) -> SparkStageInfo | None:
        """Return a stage, or None when it is unknown or forgotten."""
        stage = self._book.stage(stageId)
        return (
            None
            if stage is None
            else SparkStageInfo(
                stage.id,
                stage.attempt,
                stage.name,
                stage.task_count,
                stage.active_count,
                stage.completed_count,
                stage.failed_count,
            )
        )

    def getExecutorInfos(self) -> list[SparkExecutorInfo]:
        """Return the executors: this process alone."""
        used = self._driver.blocks.statistics().memory_bytes
        running = sum(
            stage.active_count
            for stage_id in self._book.active_stage_ids()
            if (stage := self._book.stage(stage_id)) is not None
        )
        total = self._driver.settings.get_bytes("spark.millstream.memory")
        return [SparkExecutorInfo("localhost", 0, used, running, used, 0, total, 0)]
