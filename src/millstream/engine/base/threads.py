"""Threads: the few that a stream has; all daemons, all joined at the end."""

import logging
import queue
import threading
from collections.abc import Callable
from typing import Any

from millstream.engine.base.clock import Clock, monotonic_s

_log = logging.getLogger(__name__)

_JOIN_S = 10.0


class SerialLoop:
    """One thread that handles what is posted, in order.

    Daemon threads, unlike an executor's, still run while the interpreter's exit hooks do,
    so that a graceful stop at exit can finish its batches.
    """

    def __init__(self, name: str, on_error: Callable[[BaseException], None]) -> None:
        """Name the thread; `on_error` gets what a handler raises."""
        self._name = name
        self._on_error = on_error
        self._waiting: queue.SimpleQueue[Callable[[], None] | None] = (
            queue.SimpleQueue()
        )
        self._thread: threading.Thread | None = None
        self._began_s: float | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def post(self, work: Callable[[], None]) -> None:
        """Run `work` on the thread, after everything posted before."""
        self._waiting.put(work)

    def stop(self) -> None:
        """Handle what is posted, then end; waits for it unless called on the thread."""
        self._waiting.put(None)
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(_JOIN_S)

    @property
    def is_current(self) -> bool:
        """Whether the caller runs on this loop's thread."""
        return self._thread is threading.current_thread()

    @property
    def has_ended(self) -> bool:
        """Whether the thread was there, and is no more: stopped, or by a SystemExit."""
        return self._thread is not None and not self._thread.is_alive()

    @property
    def busy_s(self) -> float:
        """For how long the thread has been at what it does now; 0 when it waits."""
        began_s = self._began_s
        return 0.0 if began_s is None else monotonic_s() - began_s

    def _run(self) -> None:
        while (work := self._waiting.get()) is not None:
            self._began_s = monotonic_s()
            try:
                work()
            except Exception as error:
                self._on_error(error)
            self._began_s = None
            del work  # Or what it refers to lives until the next work comes.


class ThreadPool:
    """A fixed number of daemon threads; work is begun first come, first served."""

    def __init__(self, size: int, name: str) -> None:
        """Start threads with the first work."""
        self._size = size
        self._name = name
        self._lock = threading.Lock()
        self._waiting: queue.SimpleQueue[Callable[[], None] | None] = (
            queue.SimpleQueue()
        )
        self._threads: list[threading.Thread] = []
        self._is_closed = False

    def submit(self, work: Callable[[], None]) -> bool:
        """Run `work`, which must not raise; False when the pool is closed."""
        with self._lock:
            if self._is_closed:
                return False
            if len(self._threads) < self._size:
                thread = threading.Thread(
                    target=self._run,
                    name=f"{self._name}-{len(self._threads)}",
                    daemon=True,
                )
                self._threads.append(thread)
                thread.start()
            self._waiting.put(work)
        return True

    def close(self, timeout_s: float) -> bool:
        """Begin nothing new; wait for what runs. False when time ran out."""
        with self._lock:
            self._is_closed = True
            try:
                while True:
                    self._waiting.get_nowait()
            except queue.Empty:
                pass
            for _ in self._threads:
                self._waiting.put(None)
        others = [
            each for each in self._threads if each is not threading.current_thread()
        ]
        for thread in others:
            thread.join(timeout_s)
        return not any(thread.is_alive() for thread in others)

    def _run(self) -> None:
        while (work := self._waiting.get()) is not None:
            try:
                work()
            except Exception:
                _log.exception(
                    "work on a pool raised; this is a bug pool=%s", self._name
                )
            del work  # Or what it refers to lives until the next work comes.


class RecurringTimer:
    """Calls back at every point of a grid, with the point's time; skips none."""

    def __init__(
        self, clock: Clock, period_ms: int, callback: Callable[[int], Any], name: str
    ) -> None:
        """Call `callback(time)` every `period_ms` of `clock`."""
        self._clock = clock
        self._period_ms = period_ms
        self._callback = callback
        self._name = name
        self._interrupted = threading.Event()
        self._is_stopping = False
        self._thread: threading.Thread | None = None
        self._last_ms = -1

    def start_time_ms(self) -> int:
        """Return the next grid point, strictly after now; the grid starts at 0."""
        return (self._clock.now_ms() // self._period_ms + 1) * self._period_ms

    def restart_time_ms(self, original_ms: int) -> int:
        """Return the next point of the grid through `original_ms`, strictly after now."""
        gap = self._clock.now_ms() - original_ms
        return (gap // self._period_ms + 1) * self._period_ms + original_ms

    def start(self, first_ms: int) -> None:
        """Begin with a call at `first_ms`."""
        self._thread = threading.Thread(
            target=self._run, args=(first_ms,), name=self._name, daemon=True
        )
        self._thread.start()

    def stop(self, *, interrupt: bool) -> int:
        """Stop and return the time of the last call.

        Without `interrupt` the wait under way ends first and one more call is made.
        """
        self._is_stopping = True
        if interrupt:
            self.interrupt()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        return self._last_ms

    def interrupt(self) -> None:
        """End without another call, though a `stop` waits for one; returns at once."""
        self._clock.cancel(self._interrupted)

    def _run(self, first_ms: int) -> None:
        following = first_ms
        while not self._is_stopping and self._fire(following):
            following += self._period_ms
        if not self._interrupted.is_set():
            self._fire(following)

    def _fire(self, time_ms: int) -> bool:
        if not self._clock.wait_until(time_ms, self._interrupted):
            return False
        self._last_ms = time_ms
        self._callback(time_ms)
        return True
