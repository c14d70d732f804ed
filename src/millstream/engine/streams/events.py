"""Streaming events: what happened to the stream, its receivers, batches and outputs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class ReceiverInfo:
    """A receiver as it is now; `last_error_time_ms` is -1 when there was no error."""

    stream_id: int
    name: str
    active: bool
    location: str = ""
    executor_id: str = ""
    last_error_message: str = ""
    last_error: str = ""
    last_error_time_ms: int = -1


@dataclass(frozen=True, slots=True)
class StreamInputInfo:
    """What one input stream gave to a batch."""

    input_stream_id: int
    record_count: int
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def description(self) -> str | None:
        """The metadata's own words, or None."""
        words = self.metadata.get("Description")
        return None if words is None else str(words)


@dataclass(frozen=True, slots=True)
class OutputOperationInfo:
    """One output operation of a batch; times are None until they are known."""

    batch_ms: int
    id: int
    name: str
    description: str
    start_ms: int | None = None
    end_ms: int | None = None
    failure_reason: str | None = None

    @property
    def duration_ms(self) -> int | None:
        """How long it took."""
        if self.start_ms is None or self.end_ms is None:
            return None
        return self.end_ms - self.start_ms


@dataclass(frozen=True, slots=True)
class BatchInfo:
    """One batch; times are wall-clock ms, None until they are known."""

    batch_ms: int
    inputs: Mapping[int, StreamInputInfo]
    submission_ms: int
    processing_start_ms: int | None
    processing_end_ms: int | None
    outputs: Mapping[int, OutputOperationInfo]

    @property
    def scheduling_delay_ms(self) -> int | None:
        """From submission to the start of processing."""
        if self.processing_start_ms is None:
            return None
        return self.processing_start_ms - self.submission_ms

    @property
    def processing_delay_ms(self) -> int | None:
        """From the start of processing to its end."""
        if self.processing_start_ms is None or self.processing_end_ms is None:
            return None
        return self.processing_end_ms - self.processing_start_ms

    @property
    def total_delay_ms(self) -> int | None:
        """Both together."""
        waited, worked = self.scheduling_delay_ms, self.processing_delay_ms
        return None if waited is None or worked is None else waited + worked

    @property
    def record_count(self) -> int:
        """Records of all inputs that count theirs."""
        return sum(each.record_count for each in self.inputs.values())


@dataclass(frozen=True, slots=True)
class StreamingStarted:
    """The context became active, at a wall-clock time."""

    time_ms: int


@dataclass(frozen=True, slots=True)
class ReceiverStarted:
    """A receiver registered."""

    info: ReceiverInfo


@dataclass(frozen=True, slots=True)
class ReceiverError:
    """A receiver reported an error and goes on."""

    info: ReceiverInfo


@dataclass(frozen=True, slots=True)
class ReceiverStopped:
    """A receiver stopped, for good or to start again."""

    info: ReceiverInfo


@dataclass(frozen=True, slots=True)
class BatchSubmitted:
    """A batch's jobs wait to run."""

    info: BatchInfo


@dataclass(frozen=True, slots=True)
class BatchStarted:
    """The first job of a batch runs."""

    info: BatchInfo


@dataclass(frozen=True, slots=True)
class BatchCompleted:
    """All jobs of a batch ended, some perhaps with an error."""

    info: BatchInfo


@dataclass(frozen=True, slots=True)
class OutputOperationStarted:
    """An output operation runs."""

    info: OutputOperationInfo


@dataclass(frozen=True, slots=True)
class OutputOperationCompleted:
    """An output operation ended."""

    info: OutputOperationInfo


StreamingEvent: TypeAlias = (
    StreamingStarted
    | ReceiverStarted
    | ReceiverError
    | ReceiverStopped
    | BatchSubmitted
    | BatchStarted
    | BatchCompleted
    | OutputOperationStarted
    | OutputOperationCompleted
)
