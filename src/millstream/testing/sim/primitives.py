"""Primitives: locks, events, queues and threads of a SimRuntime, by their usual names.

`SimThreading` stands in for the module `threading`, `SimQueues` for `queue`, in the
engine's own modules while a simulation runs. In a process that has died, what would wait
raises, and what would wake others does nothing.
"""

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from millstream.testing.sim.runtime import SimRuntime, Strand, Wait


class SimLock:
    """As threading.Lock."""

    _is_reentrant = False

    def __init__(self, runtime: SimRuntime) -> None:
        """Belong to nobody."""
        self._runtime = runtime
        self._owner: Strand | None = None
        self._depth = 0
        self._waiting: list[Wait] = []

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take it, as soon as it is free."""
        runtime = self._runtime
        runtime.may_switch()
        me = runtime.current
        if self._is_reentrant and self._owner is me:
            self._depth += 1
            return True
        until_ms = None if timeout < 0 else runtime.now_ms + timeout * 1000
        while self._owner is not None:
            if not blocking:
                return False
            left_s = None if until_ms is None else (until_ms - runtime.now_ms) / 1000
            if left_s is not None and left_s <= 0:
                return False
            runtime.wait(f"a lock of {self._owner.name}", left_s, self._waiting)
        self._owner, self._depth = me, 1
        return True

    def release(self) -> None:
        """Give it back."""
        runtime = self._runtime
        if runtime.is_dead:
            return
        assert self._owner is not None, "a lock is released by its owner"
        self._depth -= 1
        if self._depth == 0:
            self._owner = None
            self._wake()

    def _wake(self) -> None:
        for wait in self._waiting:  # They take turns in asking again.
            self._runtime.wake(wait)

    def locked(self) -> bool:
        """Say whether somebody has it."""
        return self._owner is not None

    def give_up(self) -> int:
        """Give it back whatever the depth, which is returned; for conditions."""
        depth, self._owner, self._depth = self._depth, None, 0
        self._wake()
        return depth

    def take_back(self, depth: int) -> None:
        """Take it again as deep as before."""
        self.acquire()
        self._depth = depth

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_exc: object) -> None:
        self.release()


class SimRLock(SimLock):
    """As threading.RLock."""

    _is_reentrant = True


class SimCondition:
    """As threading.Condition."""

    def __init__(self, runtime: SimRuntime, lock: SimLock | None = None) -> None:
        """Use `lock`, or one of its own."""
        self._runtime = runtime
        self._lock = SimRLock(runtime) if lock is None else lock
        self._waiting: list[Wait] = []
        self.acquire = self._lock.acquire
        self.release = self._lock.release

    def __enter__(self) -> bool:
        return self._lock.acquire()

    def __exit__(self, *_exc: object) -> None:
        self._lock.release()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until notified; False when `timeout` seconds came first."""
        depth = self._lock.give_up()
        was_woken = self._runtime.wait("a condition", timeout, self._waiting)
        self._lock.take_back(depth)
        return was_woken

    def wait_for(
        self, predicate: Callable[[], Any], timeout: float | None = None
    ) -> Any:
        """Wait until `predicate()`; what it says then, or when time ran out."""
        now = self._runtime.now_ms
        until_ms = None if timeout is None else now + timeout * 1000
        while not (result := predicate()):
            left_s = None
            if until_ms is not None:
                left_s = (until_ms - self._runtime.now_ms) / 1000
                if left_s <= 0:
                    break
            self.wait(left_s)
        return result

    def notify(self, n: int = 1) -> None:
        """Wake `n` of those who wait."""
        if not self._runtime.is_dead:
            for wait in [each for each in self._waiting if not each.is_over][:n]:
                self._runtime.wake(wait)

    def notify_all(self) -> None:
        """Wake all who wait."""
        self.notify(len(self._waiting))


class SimEvent:
    """As threading.Event."""

    def __init__(self, runtime: SimRuntime) -> None:
        """Be unset."""
        self._runtime = runtime
        self._is_set = False
        self._waiting: list[Wait] = []

    def is_set(self) -> bool:
        """Say whether it is set."""
        return self._is_set

    def set(self) -> None:
        """Set it and wake all who wait."""
        if not self._runtime.is_dead:
            self._is_set = True
            for wait in self._waiting:
                self._runtime.wake(wait)

    def clear(self) -> None:
        """Unset it."""
        self._is_set = False

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set; False when `timeout` seconds came first."""
        self._runtime.may_switch()
        if not self._is_set:
            self._runtime.wait("an event", timeout, self._waiting)
        return self._is_set


class SimSemaphore:
    """As threading.Semaphore."""

    def __init__(self, runtime: SimRuntime, value: int = 1) -> None:
        """Let `value` in."""
        self._changed = SimCondition(runtime)
        self._value = value

    def acquire(self) -> bool:
        """Wait for a place."""
        with self._changed:
            self._changed.wait_for(lambda: self._value > 0)
            self._value -= 1
        return True

    def release(self) -> None:
        """Give a place back."""
        if not self._changed._runtime.is_dead:
            with self._changed:
                self._value += 1
                self._changed.notify()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_exc: object) -> None:
        self.release()


class SimThread:
    """As threading.Thread."""

    def __init__(
        self,
        runtime: SimRuntime,
        target: Callable[..., Any],
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        name: str = "thread",
        daemon: bool | None = None,
    ) -> None:
        """Prepare; nothing runs yet."""
        self._runtime = runtime
        self._work: Callable[[], None] = lambda: target(*args, **(kwargs or {}))
        self._sim: Strand | None = None
        self.name = name
        self.daemon = daemon
        self.ident: int | None = None

    def start(self) -> None:
        """Start."""
        self.ident = 1
        self._sim = self._runtime.spawn(self.name, self._work)

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended."""
        sim = self._sim
        assert sim is not None, "a thread is joined after its start"
        self._runtime.may_switch()
        if not sim.is_done:
            what = f"the end of {sim.name}"
            self._runtime.wait(what, timeout, sim.joining)

    def is_alive(self) -> bool:
        """Say whether it runs."""
        return self._sim is not None and not self._sim.is_done


class SimThreading:
    """What the engine needs of the module `threading`."""

    def __init__(self, runtime: SimRuntime) -> None:
        """Make things of `runtime`."""
        self._runtime = runtime
        self._facades: dict[Strand, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(
            threading, name
        )  # Exceptions, constants, locals of real threads.

    def Lock(self) -> SimLock:
        """Return a lock."""
        return SimLock(self._runtime)

    def RLock(self) -> SimRLock:
        """Return a lock that its owner may take again."""
        return SimRLock(self._runtime)

    def Condition(self, lock: SimLock | None = None) -> SimCondition:
        """Return a condition."""
        return SimCondition(self._runtime, lock)

    def Event(self) -> SimEvent:
        """Return an event."""
        return SimEvent(self._runtime)

    def Semaphore(self, value: int = 1) -> SimSemaphore:
        """Return a semaphore."""
        return SimSemaphore(self._runtime, value)

    def Thread(self, **options: Any) -> SimThread:
        """Return a thread."""
        made = SimThread(self._runtime, **options)
        work = made._work

        def registered() -> None:
            self._facades[self._runtime.current] = made
            work()

        made._work = registered
        return made

    def current_thread(self) -> Any:
        """Return the thread that has the turn."""
        current = self._runtime.current
        return self._facades.get(current, current)

    def main_thread(self) -> Any:
        """Return a thread that is nobody's: there are no signals."""
        return self


class SimSimpleQueue:
    """As queue.SimpleQueue."""

    _size_max = 0

    def __init__(self, runtime: SimRuntime) -> None:
        """Be empty."""
        self._changed = SimCondition(runtime)
        self._items: deque[Any] = deque()

    def put(self, item: Any) -> None:
        """Append an item."""
        with self._changed:
            self._items.append(item)
            self._changed.notify()

    def put_nowait(self, item: Any) -> None:
        """Append an item, if there is room."""
        if self._size_max and len(self._items) >= self._size_max:
            raise queue.Full
        self.put(item)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take the first item."""
        with self._changed:
            if not block and not self._items:
                raise queue.Empty
            if not self._changed.wait_for(lambda: self._items, timeout):
                raise queue.Empty
            return self._items.popleft()

    def get_nowait(self) -> Any:
        """Take the first item, if there is one."""
        return self.get(block=False)

    def empty(self) -> bool:
        """Say whether it is empty."""
        return not self._items


class SimQueue(SimSimpleQueue):
    """As queue.Queue, with a bound."""

    def __init__(self, runtime: SimRuntime, maxsize: int = 0) -> None:
        """Hold `maxsize` items."""
        super().__init__(runtime)
        self._size_max = maxsize


class SimQueues:
    """What the engine needs of the module `queue`."""

    Empty = queue.Empty
    Full = queue.Full

    def __init__(self, runtime: SimRuntime) -> None:
        """Make things of `runtime`."""
        self._runtime = runtime

    def SimpleQueue(self) -> SimSimpleQueue:
        """Return a queue."""
        return SimSimpleQueue(self._runtime)

    def Queue(self, maxsize: int = 0) -> SimQueue:
        """Return a queue with a bound."""
        return SimQueue(self._runtime, maxsize)


class SimClock:
    """The runtime's time, as the engine's Clock."""

    def __init__(self, runtime: SimRuntime) -> None:
        """Read the time of `runtime`."""
        self._runtime = runtime

    def now_ms(self) -> int:
        """Return the simulated time."""
        return int(self._runtime.now_ms)

    def wait_until(self, time_ms: int, cancelled: Any) -> bool:
        """Wait until the time is `time_ms`; False if `cancelled` is set first."""
        while not cancelled.is_set():
            left_ms = time_ms - self._runtime.now_ms
            if left_ms <= 0:
                return True
            cancelled.wait(left_ms / 1000)
        return False

    def cancel(self, cancelled: Any) -> None:
        """Set `cancelled`."""
        cancelled.set()
