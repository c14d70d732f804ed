"""Batches: what the page says of one batch: its inputs, outputs, jobs and failures."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from millstream.engine.base.time import pretty_duration
from millstream.engine.jobs.book import JobRecord, StageRecord
from millstream.engine.observe.application import Application
from millstream.engine.observe.page import words
from millstream.engine.observe.page.failures import last_line, told
from millstream.engine.observe.page.jobs import JobSummary, summaries
from millstream.engine.observe.page.overview import input_names
from millstream.engine.observe.progress import Batch, BatchStatus, Picture
from millstream.engine.streams.events import OutputOperationInfo


@dataclass(frozen=True, slots=True)
class BatchInput:
    """What one input gave."""

    id: int
    name: str
    records: str
    description: str
    """Files or ranges, one a line; empty if the input says nothing of them."""


@dataclass(frozen=True, slots=True)
class Output:
    """One output operation."""

    id: int
    name: str
    details: str
    duration: str
    status: str
    jobs: tuple[JobSummary, ...]
    error: str
    failure: str


@dataclass(frozen=True, slots=True)
class BatchPage:
    """One batch."""

    title: str
    facts: tuple[tuple[str, str], ...]
    inputs: tuple[BatchInput, ...]
    outputs: tuple[Output, ...]
    stages: tuple[StageRecord, ...]
    replay: str
    is_over: bool
    has_failed: bool


def batch_page(application: Application, picture: Picture, batch: Batch) -> BatchPage:
    """Return what the page shows of `batch`; jobs that are forgotten aren't there."""
    info, batch_ms = batch.info, picture.batch_ms
    jobs = [
        each for each in application.jobs() if each.batch_time == str(info.batch_ms)
    ]
    stages = _stages(application, jobs)
    facts = (
        ("Batch Duration", pretty_duration(batch_ms)),
        ("Input data size", words.counted(info.record_count, "record")),
        ("Scheduling delay", words.span(info.scheduling_delay_ms)),
        ("Processing time", words.span(info.processing_delay_ms)),
        ("Total delay", words.span(info.total_delay_ms)),
        ("Submitted", words.moment(info.submission_ms, has_ms=True)),
        ("Status", _status(batch)),
    )
    program = application.facts.environment.get("Python", {}).get("program") or "app.py"
    return BatchPage(
        words.batch_moment(info.batch_ms, batch_ms),
        facts,
        tuple(_inputs(input_names(application, picture), batch)),
        tuple(_output(each, jobs, stages) for each in batch.outputs),
        tuple(stages[key] for key in sorted(stages)),
        f"millstream replay --batch {info.batch_ms} {shlex.quote(program)}",
        batch.status is BatchStatus.COMPLETED,
        batch.failed_count > 0,
    )


def _stages(application: Application, jobs: list[JobRecord]) -> dict[int, StageRecord]:
    wanted = {stage_id for job in jobs for stage_id in job.stage_ids}
    return {each.id: each for each in application.stages() if each.id in wanted}


def _status(batch: Batch) -> str:
    if batch.status is not BatchStatus.COMPLETED:
        return "queued" if batch.status is BatchStatus.QUEUED else "processing"
    return "failed" if batch.failed_count else "completed"


def _inputs(names: Mapping[int, str], batch: Batch) -> list[BatchInput]:
    return [
        BatchInput(
            key,
            names.get(key, f"Stream-{key}"),
            words.counted(given.record_count, "record"),
            given.description or "",
        )
        for key, given in sorted(batch.info.inputs.items())
    ]


def _output(
    output: OutputOperationInfo,
    jobs: list[JobRecord],
    stages: dict[int, StageRecord],
) -> Output:
    own = [each for each in jobs if each.output_id == str(output.id)]
    reason = output.failure_reason
    return Output(
        output.id,
        output.name,
        output.description,
        words.span(output.duration_ms),
        output_status(output),
        tuple(summaries(sorted(own, key=lambda each: each.id), stages)),
        "" if reason is None else words.cut(last_line(reason)),
        "" if reason is None else told(reason),
    )


def output_status(output: OutputOperationInfo) -> str:
    """Return where an output operation is, in a word."""
    if output.failure_reason is not None:
        return "failed"
    if output.end_ms is not None:
        return "succeeded"
    return "queued" if output.start_ms is None else "running"
