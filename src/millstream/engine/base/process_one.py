"""Process one: signals end the first process of a container as they end any other.

The kernel gives process 1 no signal whose action is the default one. So what leaves a
signal to its default has to ask here for what does the same.
"""

import os  # noqa: TID251  Which process this is, and its end.
import signal
from collections.abc import Callable
from types import FrameType

__all__ = ["default_action", "end_at_sigterm", "has_default_action"]


def default_action() -> Callable[[int, FrameType | None], None] | signal.Handlers:
    """Return the handler that lets a signal end this process there and then.

    As process 1 it is a function that exits with what a shell says of a process ended by
    the signal: 128 and its number. No `finally` and no exit hook runs, as none does
    elsewhere, and the kernel ends what else is in the container. Like every handler it
    runs between two steps of the main thread.
    """
    return _end if os.getpid() == 1 else signal.SIG_DFL


def has_default_action(number: int) -> bool:
    """Say whether nobody handles a signal but by ending this process."""
    return signal.getsignal(number) in (signal.SIG_DFL, _end)


def end_at_sigterm() -> None:
    """As process 1, let SIGTERM end it until somebody handles that; main thread only."""
    if os.getpid() == 1 and has_default_action(signal.SIGTERM):
        signal.signal(signal.SIGTERM, _end)


def _end(number: int, _frame: FrameType | None) -> None:
    os._exit(128 + number)
