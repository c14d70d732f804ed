"""Jobs: what the page says of jobs, stages and kept RDDs."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from millstream.engine.jobs.book import JobRecord, StageRecord
from millstream.engine.observe.application import Application, StoredRdd
from millstream.engine.observe.page import words
from millstream.engine.observe.page.failures import last_line
from millstream.engine.observe.page.tables import Cell, Column, Shown, Table
from millstream.engine.observe.rest import stage_status


@dataclass(frozen=True, slots=True)
class JobSummary:
    """A job, its stages and tasks counted."""

    job: JobRecord
    duration_ms: int | None
    stages: str
    """How many have succeeded, of how many."""
    tasks: str
    error: str

    @property
    def duration(self) -> str:
        """How long it took, in words."""
        return words.span(self.duration_ms)


def summaries(
    jobs: Iterable[JobRecord], stages: Mapping[int, StageRecord]
) -> Iterator[JobSummary]:
    """Yield a summary a job; stages that are forgotten count as if they weren't there."""
    for job in jobs:
        own = [stages[each] for each in job.stage_ids if each in stages]
        done = sum(stage_status(each, job) == "COMPLETE" for each in own)
        tasks_done = sum(each.completed_count for each in own)
        tasks = sum(each.task_count for each in own)
        yield JobSummary(
            job,
            None if job.ended_ms is None else job.ended_ms - job.submitted_ms,
            f"{done}/{len(own)}",
            f"{tasks_done}/{tasks}",
            last_line(job.error) if job.error else "",
        )


def job_tables(
    application: Application, query: Mapping[str, str] | None = None
) -> tuple[Shown, ...]:
    """Return the tables of jobs: what runs, what failed, what succeeded."""
    stages = {each.id: each for each in application.stages()}
    told = list(summaries(application.jobs(), stages))
    shown = []
    for table_id, title, status in (
        ("activeJobs", "Active Jobs", "RUNNING"),
        ("failedJobs", "Failed Jobs", "FAILED"),
        ("completedJobs", "Completed Jobs", "SUCCEEDED"),
    ):
        some = [each for each in told if each.job.status == status]
        table = Table(table_id, _JOB_COLUMNS, lambda each: bool(each.job.error))
        shown.append(table.show(f"{title} ({len(some)})", some, query))
    return tuple(shown)


_JOB_COLUMNS: tuple[Column[JobSummary], ...] = (
    Column(
        "Job Id",
        lambda each: Cell(str(each.job.id), f"/jobs/job/?id={each.job.id}"),
        lambda each: each.job.id,
        "number",
    ),
    Column(
        "Description",
        lambda each: Cell(each.job.description or each.job.name),
        lambda each: each.job.description or each.job.name,
        "described",
    ),
    Column(
        "Submitted",
        lambda each: Cell(words.moment(each.job.submitted_ms)),
        lambda each: each.job.submitted_ms,
    ),
    Column(
        "Duration",
        lambda each: Cell(each.duration, kind="number"),
        lambda each: each.duration_ms,
        "number",
    ),
    Column(
        "Stages: Succeeded/Total",
        lambda each: Cell(each.stages, kind="number"),
        None,
        "number",
    ),
    Column(
        "Tasks: Succeeded/Total",
        lambda each: Cell(each.tasks, kind="number"),
        None,
        "number",
    ),
    Column(
        "Error",
        lambda each: Cell(words.cut(each.error), kind="error", details=each.job.error),
        kind="error",
    ),
)


def stage_tables(
    stages: Sequence[StageRecord],
    jobs: Mapping[int, JobRecord],
    query: Mapping[str, str] | None = None,
) -> tuple[Shown, ...]:
    """Return the tables of stages: what runs, and what has ended."""
    active = [e for e in stages if stage_status(e, jobs.get(e.job_id)) == "ACTIVE"]
    failed = [e for e in stages if stage_status(e, jobs.get(e.job_id)) == "FAILED"]
    known = {each.id for each in (*active, *failed)}
    done = [each for each in stages if each.id not in known]
    return tuple(
        Table(table_id, _STAGE_COLUMNS).show(f"{title} ({len(some)})", some, query)
        for table_id, title, some in (
            ("activeStages", "Active Stages", active),
            ("failedStages", "Failed Stages", failed),
            ("completedStages", "Completed Stages", done),
        )
    )


def _stage_ms(stage: StageRecord) -> int | None:
    return None if stage.ended_ms is None else stage.ended_ms - stage.submitted_ms


def _mean_task_ms(stage: StageRecord) -> float | None:
    done = stage.completed_count
    return stage.task_s * 1000 / done if stage.task_s and done else None


def _longest_task_ms(stage: StageRecord) -> float | None:
    return stage.longest_task_s * 1000 if stage.longest_task_s else None


def _short(ms: float | None) -> str:
    return "-" if ms is None else words.short_span(ms)


def _ways(stage: StageRecord) -> str:
    steps = (*stage.report.steps.values(), *stage.report.shuffles.values())
    columns = sum(each.columns > 0 and not each.rows for each in steps)
    return f"{columns} of {len(steps)} by columns" if steps else "-"


_STAGE_COLUMNS: tuple[Column[StageRecord], ...] = (
    Column(
        "Stage Id",
        lambda e: Cell(str(e.id), f"/stages/stage/?id={e.id}", "number"),
        lambda e: e.id,
        "number",
    ),
    Column(
        "Job Id",
        lambda e: Cell(str(e.job_id), f"/jobs/job/?id={e.job_id}", "number"),
        lambda e: e.job_id,
        "number",
    ),
    Column("Description", lambda e: Cell(e.name), lambda e: e.name, "described"),
    Column(
        "Submitted",
        lambda e: Cell(words.moment(e.submitted_ms)),
        lambda e: e.submitted_ms,
    ),
    Column(
        "Duration",
        lambda e: Cell(words.span(_stage_ms(e)), kind="number"),
        _stage_ms,
        "number",
    ),
    Column(
        "Tasks: Succeeded/Total",
        lambda e: Cell(
            f"{e.completed_count}/{e.task_count}"
            + (f" ({e.failed_count} failed)" if e.failed_count else ""),
            kind="failed" if e.failed_count else "number",
        ),
        lambda e: e.task_count,
        "number",
    ),
    Column(
        "Mean Task Time",
        lambda e: Cell(_short(_mean_task_ms(e)), kind="number"),
        _mean_task_ms,
        "number",
    ),
    Column(
        "Longest Task",
        lambda e: Cell(_short(_longest_task_ms(e)), kind="number"),
        _longest_task_ms,
        "number",
    ),
    Column("Steps", lambda e: Cell(_ways(e))),
)


def stored_table(
    stored: Sequence[StoredRdd], query: Mapping[str, str] | None = None
) -> Shown:
    """Return the table of RDDs that are kept."""
    return Table("storedRdds", _STORED_COLUMNS).show(
        f"Kept RDDs ({len(stored)})", stored, query
    )


_STORED_COLUMNS: tuple[Column[StoredRdd], ...] = (
    Column(
        "RDD Id", lambda e: Cell(str(e.id), kind="number"), lambda e: e.id, "number"
    ),
    Column("RDD Name", lambda e: Cell(e.name), lambda e: e.name),
    Column("Where", lambda e: Cell(e.site or "-"), lambda e: e.site),
    Column("Storage Level", lambda e: Cell(e.level), lambda e: e.level),
    Column(
        "Cached Partitions",
        lambda e: Cell(f"{e.stored_count}/{e.partition_count}", kind="number"),
        lambda e: e.stored_count,
        "number",
    ),
    Column(
        "Size in Memory",
        lambda e: Cell(words.size(e.memory_bytes), kind="number"),
        lambda e: e.memory_bytes,
        "number",
    ),
    Column(
        "Size on Disk",
        lambda e: Cell(words.size(e.disk_bytes), kind="number"),
        lambda e: e.disk_bytes,
        "number",
    ),
)
