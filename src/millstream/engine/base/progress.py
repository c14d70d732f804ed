"""Progress: long work that counts how far it is, and whoever hears of it.

Without a listener, what takes longer than some seconds is a line in the log now and then.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from millstream.engine.base.clock import monotonic_s

T = TypeVar("T")
Listener = Callable[[str, int, int], None]
"""Hears what is done, how much of it so far, and how much there is. On the work's thread."""

_LINE_EVERY_S = 5.0

_log = logging.getLogger(__name__)
_listeners: list[Listener] = []
_telling = threading.Lock()


def counted(what: str, items: Sequence[T]) -> Iterator[T]:
    """Yield items, and tell of each that the work is at it; `what` names the work.

    >>> heard = []
    >>> with heard_by(lambda *told: heard.append(told)):
    ...     list(counted("reading", "ab"))
    ['a', 'b']
    >>> heard
    [('reading', 0, 2), ('reading', 1, 2), ('reading', 2, 2)]
    """
    told_s = monotonic_s()
    for done, item in enumerate(items):
        told_s = _tell(what, done, len(items), told_s)
        yield item
    _tell(what, len(items), len(items), told_s)


def _tell(what: str, done: int, count: int, told_s: float) -> float:
    """Tell who listens; return when it was last told, or the work began."""
    with _telling:
        for each in _listeners:
            each(what, done, count)
        if _listeners:
            return told_s
    now_s = monotonic_s()
    if now_s - told_s < _LINE_EVERY_S:
        return told_s
    _log.info("long work what=%s done=%d of=%d", what, done, count)
    return now_s


@contextmanager
def heard_by(listener: Listener) -> Iterator[None]:
    """Let `listener` hear of all work in this process while the block runs."""
    with _telling:
        _listeners.append(listener)
    try:
        yield
    finally:
        with _telling:
            _listeners.remove(listener)
