"""Seldom: warnings that could come with every batch, told once a minute with a count."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from millstream.engine.base.clock import monotonic_s

EVERY_S = 60.0
_KEPT_MAX = 100


class Seldom:
    """Logs a warning at most once in `every_s` seconds, for each text and key.

    One that comes sooner is left out, and the next one that is told says how many were, as
    the field `left_out`. The text is the format, not what is put into it. Thread-safe; a
    copy of it, or one that is unpickled, has told nothing.
    """

    def __init__(
        self,
        log: logging.Logger,
        every_s: float = EVERY_S,
        now_s: Callable[[], float] | None = None,
    ) -> None:
        """Warn on `log`; `now_s` says what time it is, in seconds."""
        self._log = log
        self._every_s = every_s
        # Not a default value: a simulation puts another clock in its place.
        self._now_s = now_s or monotonic_s
        self._lock = threading.Lock()
        self._told: OrderedDict[tuple[str, object], tuple[float, int]] = OrderedDict()
        """When each was told last, and how many have been left out since."""

    def warning(self, message: str, *args: Any, key: object = None) -> None:
        """Log `message % args`, unless the same was logged for the same `key` just now."""
        left_out = self._take_turn((message, key))
        if left_out is None:
            return
        if left_out:
            message, args = f"{message} left_out=%d", (*args, left_out)
        self._log.warning(message, *args, stacklevel=2)

    def _take_turn(self, what: tuple[str, object]) -> int | None:
        """Return how many were left out if it is to be told now, else None."""
        now_s = self._now_s()
        with self._lock:
            told_s, left_out = self._told.get(what, (None, 0))
            if told_s is not None and now_s - told_s < self._every_s:
                self._told[what] = told_s, left_out + 1
                return None
            self._told[what] = now_s, 0
            self._told.move_to_end(what)
            while len(self._told) > _KEPT_MAX:
                self._told.popitem(last=False)
        return left_out

    def __reduce__(self) -> tuple[Any, ...]:
        return _of_name, (self._log.name, self._every_s)


def _of_name(name: str, every_s: float) -> Seldom:
    return Seldom(logging.getLogger(name), every_s)
