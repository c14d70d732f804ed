"""Signals: Ctrl-C and SIGTERM end a streaming program without a traceback.

While a context is active: SIGTERM raises SystemExit in the main thread (code 143, or 0
when `spark.streaming.stopGracefullyOnShutdown` is true), and a KeyboardInterrupt that
nobody catches prints nothing. The context itself is stopped by its exit hook.
"""

import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any

from millstream.engine.base.config import Settings

_TERMINATED = 128 + signal.SIGTERM

_previous: dict[str, Any] = {}


def install(settings: Settings) -> None:
    """Take over SIGTERM and uncaught interrupts; main thread only, else nothing."""
    if _previous or threading.current_thread() is not threading.main_thread():
        return
    is_graceful = settings.get_bool("spark.streaming.stopGracefullyOnShutdown")
    code = 0 if is_graceful else _TERMINATED

    def terminate(_number: int, _frame: FrameType | None) -> None:
        sys.exit(code)

    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        _previous["sigterm"] = signal.signal(signal.SIGTERM, terminate)
    _previous["excepthook"] = sys.excepthook
    sys.excepthook = _quiet_interrupt


def uninstall() -> None:
    """Give back what was taken over."""
    in_main = threading.current_thread() is threading.main_thread()
    if "sigterm" in _previous and in_main:
        signal.signal(signal.SIGTERM, _previous.pop("sigterm"))
    hook = _previous.pop("excepthook", None)
    if hook is not None and sys.excepthook is _quiet_interrupt:
        sys.excepthook = hook


def _quiet_interrupt(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    _previous.get("excepthook", sys.__excepthook__)(kind, error, trace)
