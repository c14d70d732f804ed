"""Signals: SIGTERM ends a streaming program in order, Ctrl-C as Python does.

While a context is active, SIGTERM raises StopRequested, a SystemExit with code 0, in the
main thread. Where that waits in `awaitTermination` the stream is stopped there and then,
gracefully, while everything the program has opened is still open; elsewhere the first
`stop()` on the way out does it, or the exit hook. When
`spark.streaming.stopGracefullyOnShutdown` is set to false, SIGTERM exits with 143, and
nothing is waited for.

Ctrl-C raises KeyboardInterrupt, and prints nothing when nobody catches it. A second signal
ends the process there and then, whatever it waits for: as safe as any crash.
"""

import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any

from millstream.engine.base import process_one
from millstream.engine.base.config import Settings

_TERMINATED = 128 + signal.SIGTERM

_previous: dict[str, Any] = {}


class StopRequested(SystemExit):
    """Somebody asked the process to end: the stream is stopped gracefully, then it exits."""


class EndRequested(SystemExit):
    """Somebody asked the process to end, and the conf says: at once."""


def is_stop_requested() -> bool:
    """Say whether a graceful stop was asked for by a signal."""
    return "requested" in _previous


def install(settings: Settings) -> None:
    """Take over SIGTERM and uncaught interrupts; main thread only, else nothing."""
    if threading.current_thread() is not threading.main_thread():
        return
    if "left" in _previous:
        uninstall()
    if _previous:
        return
    # Unlike in Spark, gracefully unless the conf says no: what was received before the
    # signal is processed, and the exit code says so.
    is_graceful = (
        settings.find_bool("spark.streaming.stopGracefullyOnShutdown") is not False
    )

    def terminate(number: int, _frame: FrameType | None) -> None:
        if "left" in _previous:
            uninstall()
            signal.raise_signal(number)
            return
        end_at_next_signal()
        if not is_graceful:
            raise EndRequested(_TERMINATED)
        _previous["requested"] = True
        raise StopRequested(0)

    if process_one.has_default_action(signal.SIGTERM):
        _previous["sigterm"] = signal.signal(signal.SIGTERM, terminate)
    _previous["excepthook"] = sys.excepthook
    sys.excepthook = _quiet_interrupt


def end_at_next_signal() -> None:
    """Let the next SIGTERM or Ctrl-C end the process at once; main thread only."""
    if threading.current_thread() is not threading.main_thread():
        return
    if "sigterm" in _previous:
        signal.signal(signal.SIGTERM, process_one.default_action())
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        _previous["sigint"] = signal.signal(signal.SIGINT, process_one.default_action())


def uninstall() -> None:
    """Give back what was taken over; signals only in the main thread, or later there."""
    in_main = threading.current_thread() is threading.main_thread()
    _previous.pop("left", None)
    for name, number in (("sigterm", signal.SIGTERM), ("sigint", signal.SIGINT)):
        if name in _previous and in_main:
            signal.signal(number, _previous.pop(name))
    _previous.pop("requested", None)
    hook = _previous.pop("excepthook", None)
    if hook is not None and sys.excepthook is _quiet_interrupt:
        sys.excepthook = hook
    if _previous:
        _previous["left"] = True


def _quiet_interrupt(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    _previous.get("excepthook", sys.__excepthook__)(kind, error, trace)
