"""JobSet: the jobs of one batch and how far they are. A core: pure.

Each event returns the streaming events it causes, in order.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from millstream.engine.streams.events import (
    BatchCompleted,
    BatchInfo,
    BatchStarted,
    BatchSubmitted,
    OutputOperationCompleted,
    OutputOperationInfo,
    OutputOperationStarted,
    StreamingEvent,
    StreamInputInfo,
)


@dataclass(slots=True)
class JobSet:
    """One batch between submission and completion."""

    batch_ms: int
    inputs: Mapping[int, StreamInputInfo]
    submission_ms: int
    outputs: dict[int, OutputOperationInfo] = field(default_factory=dict)
    processing_start_ms: int | None = None
    processing_end_ms: int | None = None
    incomplete: set[int] = field(default_factory=set)
    has_failed: bool = False

    def add_job(self, name: str, description: str) -> int:
        """Add an output operation and return its id: its place in this batch."""
        output_id = len(self.outputs)
        self.outputs[output_id] = OutputOperationInfo(
            self.batch_ms, output_id, name, description
        )
        self.incomplete.add(output_id)
        return output_id

    def on_submitted(self) -> tuple[StreamingEvent, ...]:
        """Return what submission causes."""
        return (BatchSubmitted(self.info()),)

    def on_job_started(
        self, output_id: int, wall_ms: int, clock_ms: int
    ) -> tuple[StreamingEvent, ...]:
        """Note the start of a job; the first one starts the batch."""
        started: tuple[StreamingEvent, ...] = ()
        if self.processing_start_ms is None:
            self.processing_start_ms = wall_ms
            started = (BatchStarted(self.info()),)
        info = replace(self.outputs[output_id], start_ms=clock_ms)
        self.outputs[output_id] = info
        return (*started, OutputOperationStarted(info))

    def on_job_completed(
        self, output_id: int, wall_ms: int, clock_ms: int, failure: str | None
    ) -> tuple[StreamingEvent, ...]:
        """Note the end of a job; the last one completes the batch, failed or not."""
        assert output_id in self.incomplete, "a job completes twice"
        self.incomplete.discard(output_id)
        self.has_failed = self.has_failed or failure is not None
        info = replace(self.outputs[output_id], end_ms=clock_ms, failure_reason=failure)
        self.outputs[output_id] = info
        if self.incomplete:
            return (OutputOperationCompleted(info),)
        self.processing_end_ms = wall_ms
        return (OutputOperationCompleted(info), BatchCompleted(self.info()))

    @property
    def is_complete(self) -> bool:
        """Whether every job has ended."""
        return not self.incomplete

    def info(self) -> BatchInfo:
        """Return the batch as it is now."""
        return BatchInfo(
            self.batch_ms,
            self.inputs,
            self.submission_ms,
            self.processing_start_ms,
            self.processing_end_ms,
            dict(self.outputs),
        )
