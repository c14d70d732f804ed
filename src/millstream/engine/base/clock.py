"""Clock: what time it is, and waiting until it is later."""

import threading
import time as _time  # noqa: TID251  This module is the port that owns it.
from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    """The engine's only source of time. Thread-safe."""

    def now_ms(self) -> int:
        """Return ms since the epoch on this clock."""
        ...

    def wait_until(self, time_ms: int, cancelled: threading.Event) -> bool:
        """Block until the clock reads `time_ms`; return False if `cancelled` is set first.

        `cancelled` must be set through `cancel`, or a manual clock won't wake for it.
        """
        ...

    def cancel(self, cancelled: threading.Event) -> None:
        """Set `cancelled` and wake whoever waits with it."""
        ...


class SystemClock:
    """Real time: wall-clock instants."""

    def now_ms(self) -> int:
        """Return the wall clock in ms."""
        return _time.time_ns() // 1_000_000

    def wait_until(self, time_ms: int, cancelled: threading.Event) -> bool:
        """Block until the wall clock reads `time_ms`, or `cancelled` is set."""
        while not cancelled.is_set():
            left = time_ms / 1000 - _time.time()
            if left <= 0:
                return True
            cancelled.wait(min(left, 60.0))  # Bounded: the wall clock may be set anew.
        return False

    def cancel(self, cancelled: threading.Event) -> None:
        """Set `cancelled`; an Event wakes its waiter by itself."""
        cancelled.set()


class ManualClock:
    """Time that moves only when told to; for tests and simulations. Starts at 0."""

    def __init__(self, now_ms: int = 0) -> None:
        """Start at `now_ms`."""
        self._now_ms = now_ms
        self._moved = threading.Condition()
        self._waiting: list[int] = []

    def now_ms(self) -> int:
        """Return the time this clock was last set to."""
        with self._moved:
            return self._now_ms

    def advance(self, seconds: float) -> None:
        """Move `seconds` forward and wake who waits."""
        self.advance_ms(round(seconds * 1000))

    def advance_ms(self, ms: int) -> None:
        """Move `ms` forward and wake who waits."""
        with self._moved:
            self._now_ms += ms
            self._moved.notify_all()

    def set_ms(self, now_ms: int) -> None:
        """Jump to `now_ms` and wake who waits."""
        with self._moved:
            self._now_ms = now_ms
            self._moved.notify_all()

    def wait_until(self, time_ms: int, cancelled: threading.Event) -> bool:
        """Block until somebody moves the clock to `time_ms`, or `cancelled` is set."""
        with self._moved:
            self._waiting.append(time_ms)
            self._moved.notify_all()
            try:
                self._moved.wait_for(
                    lambda: cancelled.is_set() or self._now_ms >= time_ms
                )
            finally:
                self._waiting.remove(time_ms)
            return not cancelled.is_set()

    def cancel(self, cancelled: threading.Event) -> None:
        """Set `cancelled` and wake who waits."""
        with self._moved:
            cancelled.set()
            self._moved.notify_all()

    def wait_until_someone_waits(
        self, timeout_s: float, ready: Callable[[list[int]], bool] = bool
    ) -> bool:
        """Block until `ready(times waited for)`; False after `timeout_s` real seconds."""
        with self._moved:
            return self._moved.wait_for(lambda: ready(self._waiting), timeout_s)


def monotonic_s() -> float:
    """Return seconds on a clock that never goes back; only differences mean anything."""
    return _time.perf_counter()


def cpu_s() -> float:
    """Return the CPU seconds this process has used."""
    return _time.process_time()
