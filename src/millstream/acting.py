"""Acting: what is done to a live SparkContext and its stream by who has its page's token."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from millstream.engine.base.clock import SystemClock
from millstream.engine.observe.control import (
    Action,
    NotNowError,
    ThreadDump,
    UnknownTargetError,
    dump_threads,
)
from millstream.engine.streams.direct import DirectInput
from millstream.engine.streams.inputs import InputOperator, ReceiverInput

if TYPE_CHECKING:
    from millstream.context import SparkContext
    from millstream.running import RunningApplication

_log = logging.getLogger(__name__)


class RunningControl:
    """Does things to one SparkContext, and to the stream on it. Thread-safe."""

    def __init__(
        self,
        context: "SparkContext",
        application: "RunningApplication",
        note: Callable[[Action], None],
    ) -> None:
        """Act on `context` and on the stream of `application`; `note` hears what is done."""
        self._driver = context._driver
        self._application = application
        self._note = note
        self._lock = threading.Lock()
        self._stopping: _Stop | None = None
        self._clock = SystemClock()

    def _done(self, what: str, by: str) -> str:
        # A warning: whoever wonders why a stream has stopped finds it by default.
        _log.warning("somebody has used the page what=%s by=%s", what, by)
        self._note(Action(what, by, self._clock.now_ms()))
        return what

    # The stream.

    def _started_stream(self) -> Any:
        stream = self._application.stream
        if stream is None:
            msg = "the application has no stream that has started"
            raise UnknownTargetError(msg)
        if not self._application.is_active:
            msg = "the stream has stopped already"
            raise NotNowError(msg)
        return stream

    def _active_stream(self) -> Any:
        stream = self._started_stream()
        if self._is_being_stopped(stream):
            msg = "the stream is being stopped already"
            raise NotNowError(msg)
        return stream

    def _is_being_stopped(self, stream: Any) -> bool:
        """Say whether somebody stops it: here, by a signal, or the program itself."""
        is_begun = self._stopping is not None and self._stopping.stream is stream
        return is_begun or bool(stream._scheduler.is_stopping)

    @property
    def is_stopping(self) -> bool:
        """Whether the stream is being stopped."""
        stream = self._application.stream
        is_active = stream is not None and self._application.is_active
        return is_active and self._is_being_stopped(stream)

    def stop_stream(self, *, gracefully: bool, by: str) -> str:
        """Begin to stop the stream, on a thread of its own; the SparkContext stays.

        So the program goes on behind `awaitTermination()`, as after SIGTERM. A graceful
        stop that is under way, whoever has begun it, goes on as one at once.
        """
        with self._lock:
            stream = self._started_stream()
            if self._is_being_stopped(stream):
                self._hurry(stream, gracefully=gracefully)
                return self._done(
                    "stop the stream at once, not gracefully any more", by
                )
            self._stopping = _Stop(stream, gracefully)
        how = "gracefully" if gracefully else "at once"
        done = self._done(f"stop the stream {how}", by)
        threading.Thread(
            target=self._stop,
            args=(stream, gracefully),
            name="millstream-stop",
            daemon=True,  # It still runs while exit hooks do, which wait for it.
        ).start()
        return done

    def _hurry(self, stream: Any, *, gracefully: bool) -> None:
        if gracefully:
            msg = "the stream is being stopped already; stopping it at once is possible"
            raise NotNowError(msg)
        begun = self._stopping
        is_quick = begun is not None and not begun.gracefully
        if is_quick or not stream._scheduler.hurry():
            msg = "the stream is being stopped at once already"
            raise NotNowError(msg)

    def _stop(self, stream: Any, gracefully: bool) -> None:
        try:
            stream.stop(stopSparkContext=False, stopGraceFully=gracefully)
        except Exception:  # The thread's outermost frame.
            _log.exception("the stream couldn't be stopped from the page")
        finally:
            self._stopping = None

    @property
    def is_paused(self) -> bool:
        """Whether batches are held back."""
        stream = self._application.stream
        scheduler = None if stream is None else stream._scheduler
        return scheduler is not None and bool(scheduler.is_paused)

    def pause_batches(self, *, by: str) -> str:
        """Hold batches back from the next one on."""
        with self._lock:
            scheduler = self._active_stream()._scheduler
            if scheduler.is_paused:
                msg = "batches are paused already"
                raise NotNowError(msg)
            scheduler.pause()
        return self._done("pause batches", by)

    def resume_batches(self, *, by: str) -> str:
        """Let batches run again."""
        with self._lock:
            scheduler = self._active_stream()._scheduler
            if not scheduler.is_paused:
                msg = "batches aren't paused"
                raise NotNowError(msg)
            scheduler.resume()
        return self._done("resume batches", by)

    def limit_input(self, input_id: int, per_second: int, *, by: str) -> str:
        """Let an input take in so many records a second at most."""
        stream = self._active_stream()
        found = _input(stream, input_id)
        if not isinstance(found, DirectInput | ReceiverInput):
            msg = f"input {input_id} has no rate that could be limited: '{found.name}'"
            raise NotNowError(msg)
        stream._scheduler.limit_input(input_id, per_second)
        return self._done(f"limit input {input_id} to {per_second} records/s", by)

    def unlimit_input(self, input_id: int, *, by: str) -> str:
        """Take back what `limit_input` has set."""
        stream = self._active_stream()
        found = _input(stream, input_id)
        if not stream._scheduler.unlimit_input(input_id):
            msg = f"input {input_id} has no limit that was set here: '{found.name}'"
            raise NotNowError(msg)
        return self._done(f"remove the limit of input {input_id}", by)

    @property
    def limits(self) -> Mapping[int, float]:
        """What `limit_input` has set."""
        stream = self._application.stream
        scheduler = None if stream is None else stream._scheduler
        if scheduler is None or not self._application.is_active:
            return {}
        limits: Mapping[int, float] = scheduler.input_limits
        return limits

    # Jobs.

    def kill_job(self, job_id: int, *, by: str) -> str:
        """Cancel a job."""
        job = self._driver.book.job(job_id)
        if job is None:
            msg = f"unknown job: {job_id}"
            raise UnknownTargetError(msg)
        if job.status != "RUNNING":
            msg = f"job {job_id} doesn't run: it has {job.status.lower()}"
            raise NotNowError(msg)
        done = self._done(f"kill job {job_id}", by)
        self._driver.cancel_job(job_id, f"on the page, by {by}")
        return done

    def kill_stage(self, stage_id: int, *, by: str) -> str:
        """Cancel the job of a stage."""
        stage = self._driver.book.stage(stage_id)
        if stage is None:
            msg = f"unknown stage: {stage_id}"
            raise UnknownTargetError(msg)
        job = self._driver.book.job(stage.job_id)
        if stage.ended_ms is not None or job is None or job.status != "RUNNING":
            msg = f"stage {stage_id} doesn't run"
            raise NotNowError(msg)
        done = self._done(f"kill stage {stage_id}", by)
        self._driver.cancel_job(
            job.id, f"with its stage {stage_id}, on the page, by {by}"
        )
        return done

    def threads(self) -> Sequence[ThreadDump]:
        """Return where each thread is."""
        return dump_threads()


@dataclass(frozen=True, slots=True)
class _Stop:
    """A stop that was begun here."""

    stream: Any
    gracefully: bool


def _input(stream: Any, input_id: int) -> InputOperator:
    for each in stream._graph.inputs:
        if each.id == input_id:
            found: InputOperator = each
            return found
    msg = f"unknown input: {input_id}"
    raise UnknownTargetError(msg)
