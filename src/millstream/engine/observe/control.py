"""Control: what may be done to a program that runs, by who has the token of its page."""

import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from millstream.engine.base.errors import IllegalStateError, UsageError


class UnknownTargetError(UsageError, LookupError):
    """What something is to be done to isn't there."""


class NotNowError(IllegalStateError):
    """What is asked for can't be done to what is there, as it is now."""


@dataclass(frozen=True, slots=True)
class Action:
    """Something that was done."""

    what: str
    """In words: `stop the stream gracefully`."""
    by: str
    """Who asked for it: the address of the machine that the request came from."""
    time_ms: int
    """When, in ms since the epoch."""


@dataclass(frozen=True, slots=True)
class ThreadDump:
    """Where a thread is; the innermost call last, as in a traceback."""

    id: int
    name: str
    is_daemon: bool
    calls: tuple[str, ...]


class Control(Protocol):
    """Does things to one running program. Thread-safe.

    What is done is told in words, and noted in the log and the event log with who asked for
    it, `by`. All return before what they have begun is over.
    """

    def stop_stream(self, *, gracefully: bool, by: str) -> str:
        """Begin to stop the stream; gracefully, what was received is processed first.

        A graceful stop that is under way can be made one at once: it waits no longer.

        Raises:
            UnknownTargetError: No stream has started.
            NotNowError: It has stopped, or is being stopped, and not more slowly.
        """
        ...

    @property
    def is_stopping(self) -> bool:
        """Whether the stream is being stopped, and hasn't stopped yet."""
        ...

    @property
    def is_paused(self) -> bool:
        """Whether batches are held back until `resume_batches`."""
        ...

    def pause_batches(self, *, by: str) -> str:
        """Hold batches and receivers back from the next batch on; what runs goes on.

        Raises:
            UnknownTargetError: No stream has started.
            NotNowError: It has stopped, is being stopped, or is paused.
        """
        ...

    def resume_batches(self, *, by: str) -> str:
        """Let batches run that were held back, and then those whose time comes.

        Raises:
            UnknownTargetError: No stream has started.
            NotNowError: It has stopped, is being stopped, or isn't paused.
        """
        ...

    def limit_input(self, input_id: int, per_second: int, *, by: str) -> str:
        """Let an input take in so many records a second at most, from now on.

        Never more than the settings allow; back-pressure goes on below it.

        Raises:
            UnknownTargetError: No stream has started, or it has no such input.
            NotNowError: The stream has stopped, or that input has no limit.
        """
        ...

    def unlimit_input(self, input_id: int, *, by: str) -> str:
        """Take back what `limit_input` has set: settings and back-pressure alone hold.

        Raises:
            UnknownTargetError: No stream has started, or it has no such input.
            NotNowError: The stream has stopped, or no limit was set.
        """
        ...

    @property
    def limits(self) -> Mapping[int, float]:
        """What `limit_input` has set: records a second by the ids of inputs."""
        ...

    def kill_job(self, job_id: int, *, by: str) -> str:
        """Cancel a job: it fails, and so does the batch or the call that it belongs to.

        Raises:
            UnknownTargetError: There is no such job, or it is forgotten.
            NotNowError: It doesn't run.
        """
        ...

    def kill_stage(self, stage_id: int, *, by: str) -> str:
        """Cancel the job of a stage.

        Raises:
            UnknownTargetError: There is no such stage, or it is forgotten.
            NotNowError: It doesn't run.
        """
        ...

    def threads(self) -> Sequence[ThreadDump]:
        """Return where each thread of the program's process is, by name."""
        ...


def dump_threads() -> list[ThreadDump]:
    """Return where each of Python's threads in this process is now, by name."""
    frames = sys._current_frames()
    return sorted(
        (
            ThreadDump(
                each.ident,
                each.name,
                each.daemon,
                tuple(
                    f"{call.name} ({call.filename}:{call.lineno})"
                    for call in traceback.extract_stack(frames[each.ident])
                ),
            )
            for each in threading.enumerate()
            if each.ident is not None and each.ident in frames
        ),
        key=lambda each: (each.name, each.id),
    )
