"""StreamingListener: what a program hears of batches, receivers and outputs."""

import logging
from collections import deque
from typing import TYPE_CHECKING, Any, assert_never

from millstream.engine.base.time import Time
from millstream.engine.streams import events

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["StatsReportListener", "StreamingListener"]

_log = logging.getLogger(__name__)


class StreamInputInfo:
    """What one input gave to a batch."""

    def __init__(self, info: events.StreamInputInfo) -> None:
        """Wrap an engine record."""
        self._info = info

    def inputStreamId(self) -> int:
        """Return the input's id."""
        return self._info.input_stream_id

    def numRecords(self) -> int:
        """Return how many records it counted."""
        return self._info.record_count

    def metadata(self) -> dict[str, Any]:
        """Return what else it told."""
        return dict(self._info.metadata)

    def metadataDescription(self) -> str | None:
        """Return the metadata in words, or None."""
        return self._info.description


class OutputOperationInfo:
    """One output operation of a batch; times in ms, -1 while unknown."""

    def __init__(self, info: events.OutputOperationInfo) -> None:
        """Wrap an engine record."""
        self._info = info

    def batchTime(self) -> Time:
        """Return the batch's time."""
        return Time(self._info.batch_ms)

    def id(self) -> int:
        """Return the operation's place in its batch."""
        return self._info.id

    def name(self) -> str:
        """Return the short name: the call and its place."""
        return self._info.name

    def description(self) -> str:
        """Return where the operation was made."""
        return self._info.description

    def startTime(self) -> int:
        """Return when it started."""
        return _or_minus_one(self._info.start_ms)

    def endTime(self) -> int:
        """Return when it ended."""
        return _or_minus_one(self._info.end_ms)

    def failureReason(self) -> str | None:
        """Return the error's text, or None."""
        return self._info.failure_reason


class BatchInfo:
    """One batch; times and delays in ms, -1 while unknown."""

    def __init__(self, info: events.BatchInfo) -> None:
        """Wrap an engine record."""
        self._info = info

    def batchTime(self) -> Time:
        """Return the batch's time."""
        return Time(self._info.batch_ms)

    def streamIdToInputInfo(self) -> dict[int, StreamInputInfo]:
        """Return what each input gave."""
        return {key: StreamInputInfo(each) for key, each in self._info.inputs.items()}

    def submissionTime(self) -> int:
        """Return when the jobs were submitted."""
        return self._info.submission_ms

    def processingStartTime(self) -> int:
        """Return when the first job started."""
        return _or_minus_one(self._info.processing_start_ms)

    def processingEndTime(self) -> int:
        """Return when the last job ended."""
        return _or_minus_one(self._info.processing_end_ms)

    def schedulingDelay(self) -> int:
        """Return the time from submission to start."""
        return _or_minus_one(self._info.scheduling_delay_ms)

    def processingDelay(self) -> int:
        """Return the time from start to end."""
        return _or_minus_one(self._info.processing_delay_ms)

    def totalDelay(self) -> int:
        """Return both delays together."""
        return _or_minus_one(self._info.total_delay_ms)

    def numRecords(self) -> int:
        """Return the records of all inputs that count theirs."""
        return self._info.record_count

    def outputOperationInfos(self) -> dict[int, OutputOperationInfo]:
        """Return the output operations, by place."""
        return {k: OutputOperationInfo(each) for k, each in self._info.outputs.items()}


class ReceiverInfo:
    """One receiver."""

    def __init__(self, info: events.ReceiverInfo) -> None:
        """Wrap an engine record."""
        self._info = info

    def streamId(self) -> int:
        """Return the input's id."""
        return self._info.stream_id

    def name(self) -> str:
        """Return the class and id, such as SocketReceiver-0."""
        return self._info.name

    def active(self) -> bool:
        """Say whether it runs."""
        return self._info.active

    def location(self) -> str:
        """Return the host it runs on."""
        return self._info.location

    def executorId(self) -> str:
        """Return the executor it runs in."""
        return self._info.executor_id

    def lastErrorMessage(self) -> str:
        """Return the newest error's message, or an empty text."""
        return self._info.last_error_message

    def lastError(self) -> str:
        """Return the newest error's traceback, or an empty text."""
        return self._info.last_error

    def lastErrorTime(self) -> int:
        """Return when it was, in ms; -1 without one."""
        return self._info.last_error_time_ms


class StreamingStartedEvent:
    """The context became active."""

    def __init__(self, event: events.StreamingStarted) -> None:
        """Wrap an engine event."""
        self._event = event

    def time(self) -> int:
        """Return when, in ms."""
        return self._event.time_ms


class ReceiverEvent:
    """Something happened to a receiver."""

    def __init__(self, info: events.ReceiverInfo) -> None:
        """Wrap an engine record."""
        self._info = info

    def receiverInfo(self) -> ReceiverInfo:
        """Return the receiver."""
        return ReceiverInfo(self._info)


class BatchEvent:
    """Something happened to a batch."""

    def __init__(self, info: events.BatchInfo) -> None:
        """Wrap an engine record."""
        self._info = info

    def batchInfo(self) -> BatchInfo:
        """Return the batch."""
        return BatchInfo(self._info)


class OutputOperationEvent:
    """Something happened to an output operation."""

    def __init__(self, info: events.OutputOperationInfo) -> None:
        """Wrap an engine record."""
        self._info = info

    def outputOperationInfo(self) -> OutputOperationInfo:
        """Return the operation."""
        return OutputOperationInfo(self._info)


class StreamingListener:
    """Subclass it and override what you want to hear.

    Calls come one at a time, on a thread of their own, a little after the fact. What a
    call raises is logged and hurts nothing.
    """

    def onStreamingStarted(self, streamingStarted: StreamingStartedEvent) -> None:
        """Hear that the context became active."""

    def onReceiverStarted(self, receiverStarted: ReceiverEvent) -> None:
        """Hear that a receiver started."""

    def onReceiverError(self, receiverError: ReceiverEvent) -> None:
        """Hear that a receiver reported an error."""

    def onReceiverStopped(self, receiverStopped: ReceiverEvent) -> None:
        """Hear that a receiver stopped."""

    def onBatchSubmitted(self, batchSubmitted: BatchEvent) -> None:
        """Hear that a batch waits to be processed."""

    # PySpark's name of the parameter; the batch has started.
    def onBatchStarted(self, batchSubmitted: BatchEvent) -> None:
        """Hear that a batch is being processed."""

    def onBatchCompleted(self, batchCompleted: BatchEvent) -> None:
        """Hear that a batch has been processed."""

    def onOutputOperationStarted(
        self, outputOperationStarted: OutputOperationEvent
    ) -> None:
        """Hear that an output operation started."""

    def onOutputOperationCompleted(
        self, outputOperationCompleted: OutputOperationEvent
    ) -> None:
        """Hear that an output operation ended."""


class StatsReportListener(StreamingListener):
    """Logs how total delay and processing time of the last batches are distributed."""

    _PERCENTS = (0, 5, 10, 25, 50, 75, 90, 95, 100)

    def __init__(self, numBatchInfos: int = 10) -> None:
        """Look at the last `numBatchInfos` batches."""
        self.batchInfos: deque[BatchInfo] = deque(maxlen=numBatchInfos)

    def onBatchCompleted(self, batchCompleted: BatchEvent) -> None:
        """Take in a batch and log the distributions."""
        self.batchInfos.append(batchCompleted.batchInfo())
        self._report("Total delay", [each.totalDelay() for each in self.batchInfos])
        self._report(
            "Processing time", [each.processingDelay() for each in self.batchInfos]
        )

    def _report(self, what: str, values: "Sequence[int]") -> None:
        ordered = sorted(value for value in values if value >= 0)
        if not ordered:
            return
        last = len(ordered) - 1
        shown = " ".join(
            f"{percent}%={ordered[last * percent // 100]}" for percent in self._PERCENTS
        )
        _log.info("%s of the last %d batches, ms: %s", what, len(ordered), shown)


def deliver(listener: StreamingListener, event: events.StreamingEvent) -> None:
    """Call the listener's method for an engine event."""
    match event:
        case events.StreamingStarted():
            listener.onStreamingStarted(StreamingStartedEvent(event))
        case events.ReceiverStarted(info):
            listener.onReceiverStarted(ReceiverEvent(info))
        case events.ReceiverError(info):
            listener.onReceiverError(ReceiverEvent(info))
        case events.ReceiverStopped(info):
            listener.onReceiverStopped(ReceiverEvent(info))
        case events.BatchSubmitted(batch):
            listener.onBatchSubmitted(BatchEvent(batch))
        case events.BatchStarted(batch):
            listener.onBatchStarted(BatchEvent(batch))
        case events.BatchCompleted(batch):
            listener.onBatchCompleted(BatchEvent(batch))
        case events.OutputOperationStarted(output):
            listener.onOutputOperationStarted(OutputOperationEvent(output))
        case events.OutputOperationCompleted(output):
            listener.onOutputOperationCompleted(OutputOperationEvent(output))
        case _:
            assert_never(event)


def _or_minus_one(value: int | None) -> int:
    return -1 if value is None else value
