"""InProcessWorkers: tasks on threads of this process, at most `slots` at a time."""

import threading
from collections.abc import Callable

from millstream.engine.base.threads import ThreadPool

_STEPS_TO_BE_HIT = 10_000  # An exception that was sent comes within a few.


class TaskKilledError(BaseException):
    """Raised inside a task's thread to make it stop.

    A BaseException, so that no `except Exception` of user code keeps a cancelled task
    alive.
    """


class Killable:
    """A handle by which another thread can stop what runs in this one."""

    def __init__(self) -> None:
        """Start outside any thread."""
        self._lock = threading.Lock()
        self._thread_id: int | None = None
        self._was_sent = self._was_hit = False
        self.is_killed = False
        self._has_ended = False
        # Made when somebody waits: it would take longer than all else of a small task.
        self._waited_for: threading.Event | None = None

    def run(self, work: Callable[[], None]) -> None:
        """Run `work` here; it ends early, without an error, when killed."""
        with self._lock:
            if self.is_killed:
                self._note_end()
                return
            self._thread_id = threading.get_ident()
        try:
            work()
        except TaskKilledError:
            self._was_hit = True
            if not self.is_killed:
                raise
        finally:
            self._leave()
            with self._lock:
                self._note_end()

    def _note_end(self) -> None:
        """Wake who waits; called under the lock."""
        self._has_ended = True
        if self._waited_for is not None:
            self._waited_for.set()

    def wait(self, timeout_s: float) -> bool:
        """Block until the work has ended; False when time runs out first."""
        with self._lock:
            if self._has_ended:
                return True
            ended = self._waited_for = self._waited_for or threading.Event()
        return ended.wait(timeout_s)

    def _leave(self) -> None:
        """Let a kill that is under way hit here, not in what this thread does next.

        It can't be taken back: clearing an asynchronous exception leaves CPython 3.11
        looking for one at every step, and under a profiler it then never gets on.
        """
        try:
            with self._lock:
                self._thread_id = None
                is_coming = self._was_sent and not self._was_hit
            for _ in range(_STEPS_TO_BE_HIT if is_coming else 0):
                pass
        except TaskKilledError:
            self._thread_id = None

    def kill(self) -> None:
        """Stop the work, now or before it starts. Blocking C calls end first."""
        import ctypes  # noqa: PLC0415  Few programs kill a task.

        with self._lock:
            self.is_killed = True
            if self._thread_id is not None:
                self._was_sent = True
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(self._thread_id), ctypes.py_object(TaskKilledError)
                )


class InProcessWorkers:
    """Runs callables. A task alone in its stage runs in the caller's thread.

    That saves a hand-over, the larger part of a small task's cost, and under `local` it
    means that breakpoints work and nothing runs on any thread but the program's own.
    """

    def __init__(self, slots: int) -> None:
        """Run at most `slots` tasks at a time; threads start with the first use."""
        self.slots = slots
        self._free = threading.Semaphore(slots)
        self._pool = ThreadPool(slots, "millstream-task")

    def run_here(self, task: Callable[[], None]) -> None:
        """Run `task` in this thread as soon as a slot is free."""
        with self._free:
            task()

    def submit(self, task: Callable[[], None]) -> None:
        """Run `task`, which must not raise, in a worker thread; returns at once."""
        self._pool.submit(lambda: self.run_here(task))

    def close(self, timeout_s: float = 5.0) -> bool:
        """Drop tasks that haven't begun and wait for the others; False if some go on."""
        return self._pool.close(timeout_s)
