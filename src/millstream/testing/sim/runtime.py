"""SimRuntime: threads that take turns, in an order that a seed decides.

Each simulated thread is a real one, but only that which has the turn runs. It gives the
turn away where it would wait, and sometimes where it might be interrupted: at locks, events
and queues. Who is next is drawn from the seed. When everybody waits, time jumps to the next
moment that somebody waits for; when nobody waits for a moment, that is a deadlock. So a
seed stands for one order of everything, and the same order comes again with it.

The program's own thread is the root. Everything else belongs to the simulated process,
which may die: `die` makes the root raise ProcessDiedError, and `reap` ends the other
threads wherever they are, as a kill would.
"""

import heapq
import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

_SWITCH = 0.05
"""How likely another thread goes on where one might be interrupted."""
_STEPS_MAX = 2_000_000
_UNWINDS_MAX = 1000
_STUCK_S = 60.0


class ProcessDiedError(BaseException):
    """The simulated process is dead. A BaseException: no handler survives a kill."""


class ThreadEndedError(BaseException):
    """Ends a thread of a process that has died, wherever it waits."""


class DeadlockError(Exception):
    """Everybody waits, and for no moment in time; says who waits for what."""


def _taken_lock() -> threading.Lock:
    lock = threading.Lock()
    lock.acquire()
    return lock


@dataclass(slots=True, eq=False)
class Wait:
    """One thread's wait, until it is woken or its time comes."""

    thread: "Strand"
    what: str
    deadline_ms: float | None
    is_over: bool = False
    timed_out: bool = False


@dataclass(slots=True, eq=False)
class Strand:
    """One thread of the runtime; `work` is None for the root."""

    name: str
    work: Callable[[], None] | None
    turn: threading.Lock = field(default_factory=_taken_lock)
    """Held while it isn't the thread's turn."""
    is_done: bool = False
    is_doomed: bool = False
    unwinds: int = 0
    waits: Wait | None = None
    joining: list[Wait] = field(default_factory=list)


class SimRuntime:
    """The threads and the time of one simulation. Made and used by one thread, the root."""

    def __init__(self, random: Random, now_ms: int = 0) -> None:
        """Draw from `random`; the caller becomes the root."""
        self.random = random
        self.now_ms: float = now_ms
        self.root = Strand("program", None)
        self.current = self.root
        self.steps = 0
        self.dies_at_step: int | None = None
        self.death: str | None = None
        self.on_death: Callable[[], None] = lambda: None
        self.failures: list[tuple[str, BaseException]] = []
        self._threads: list[Strand] = []
        self._runnable: list[Strand] = [self.root]
        self._timers: list[tuple[float, int, Wait]] = []
        self._order = itertools.count()
        self._broken: BaseException | None = None
        self.note: Callable[[str], None] = lambda _: None
        """Told of every turn, for the trace."""

    # What primitives call.

    def check(self) -> None:
        """Raise if the caller's process is dead."""
        me = self.current
        if me.is_doomed:
            me.unwinds += 1
            assert me.unwinds < _UNWINDS_MAX, f"thread {me.name} survives its end"
            raise ThreadEndedError
        if self.death is not None:
            raise ProcessDiedError(self.death)

    @property
    def is_dead(self) -> bool:
        """Whether the caller's process is dead: nothing it does reaches anybody."""
        return self.current.is_doomed or self.death is not None

    def may_switch(self) -> None:
        """Let another thread go on instead, sometimes."""
        self.check()
        if len(self._runnable) > 1 and self.random.random() < _SWITCH:
            self._pass_on()

    def spawn(self, name: str, work: Callable[[], None]) -> Strand:
        """Start a thread that belongs to the process."""
        self.check()
        made = Strand(name, work)
        self._threads.append(made)
        self._runnable.append(made)
        real = threading.Thread(
            target=self._run, args=(made,), name=f"sim-{name}", daemon=True
        )
        real.start()
        self.may_switch()
        return made

    def wait(self, what: str, timeout_s: float | None, waiting: list[Wait]) -> bool:
        """Wait in `waiting` until woken; False when `timeout_s` came first."""
        self.check()
        me = self.current
        deadline = None if timeout_s is None else self.now_ms + max(0, timeout_s) * 1000
        wait = Wait(me, what, deadline)
        if deadline is not None:
            heapq.heappush(self._timers, (deadline, next(self._order), wait))
        waiting.append(wait)
        me.waits = wait
        self._runnable.remove(me)
        try:
            self._pass_on()
        finally:
            me.waits = None
            if wait in waiting:
                waiting.remove(wait)
        return not wait.timed_out

    def wake(self, wait: Wait, *, timed_out: bool = False) -> None:
        """Let a thread go on that waits; nothing if it does already."""
        if not wait.is_over:
            wait.is_over, wait.timed_out = True, timed_out
            self._runnable.append(wait.thread)

    # What the root calls.

    def sleep_until(self, time_ms: float) -> None:
        """Let everybody else run until the time is `time_ms`."""
        if time_ms > self.now_ms:
            self.wait("a moment", (time_ms - self.now_ms) / 1000, [])

    def die(self, why: str) -> None:
        """Kill the process: the root raises ProcessDiedError where it is, or when asked."""
        if self.death is None:
            self.death = why
            self.on_death()

    def reap(self) -> None:
        """End all threads of a process that has died."""
        for thread in [each for each in self._threads if not each.is_done]:
            thread.is_doomed = True
            self.current = thread
            thread.turn.release()
            self._await_turn(self.root)
        self.forget_process()

    def forget_process(self) -> None:
        """Begin a new process: the one before is dead, or has ended by itself."""
        self.death = None
        self.dies_at_step = None
        self._threads = [each for each in self._threads if not each.is_done]
        self._runnable = [self.root]
        self._timers.clear()
        self.current = self.root

    def alive(self) -> list[str]:
        """Return what threads of the process wait for, those that haven't ended."""
        return [_story(each) for each in self._threads if not each.is_done]

    # Taking turns.

    def _pass_on(self) -> None:
        """Give the turn to whoever is next, and come back when it is the caller's."""
        me = self.current
        self.steps += 1
        if self.steps == self.dies_at_step:
            self.die(f"killed at step {self.steps}")
        following = self._next()
        if following is not me:
            self.current = following
            self.note(following.name)
            following.turn.release()
            self._await_turn(me)
        if self._broken is not None and me is self.root:
            broken, self._broken = self._broken, None
            raise broken
        self.check()

    def _await_turn(self, me: Strand) -> None:
        if not me.turn.acquire(timeout=_STUCK_S):
            holder = self.current
            msg = f"thread {holder.name} waits outside of the simulation"
            raise AssertionError(msg)

    def _next(self) -> Strand:
        if self.death is not None or self._broken is not None:
            return self.root
        if self.steps > _STEPS_MAX:
            return self._break("the simulation doesn't end")
        if not self._runnable:
            self._jump()
        if not self._runnable:
            return self._break("everybody waits, and for no moment in time")
        return self._runnable[self.random.randrange(len(self._runnable))]

    def _break(self, why: str) -> Strand:
        threads = [self.root, *self._threads]
        stories = [_story(each) for each in threads if not each.is_done]
        self._broken = DeadlockError(f"{why}:\n  " + "\n  ".join(stories))
        return self.root

    def _jump(self) -> None:
        """Go to the next moment that a thread waits for."""
        while self._timers:
            if self._timers[0][2].is_over:
                heapq.heappop(self._timers)
                continue
            self.now_ms = max(self.now_ms, self._timers[0][0])
            break
        while self._timers and self._timers[0][0] <= self.now_ms:
            self.wake(heapq.heappop(self._timers)[2], timed_out=True)

    def _run(self, thread: Strand) -> None:
        """Be a thread: wait for the first turn, work, and give the turn away for good."""
        thread.turn.acquire()
        try:
            if not thread.is_doomed and thread.work is not None:
                thread.work()
        except (ThreadEndedError, ProcessDiedError):
            pass
        except BaseException as error:
            if not self.is_dead:
                self.failures.append((thread.name, error))
        thread.is_done = True
        was_doomed = thread.is_doomed
        if thread in self._runnable:
            self._runnable.remove(thread)
        for wait in thread.joining:
            self.wake(wait)
        following = self.root if was_doomed else self._next()
        self.current = following
        following.turn.release()


def _story(thread: Strand) -> str:
    wait = thread.waits
    if wait is None:
        return f"{thread.name}: runs"
    until = "" if wait.deadline_ms is None else f" until {wait.deadline_ms:g} ms"
    return f"{thread.name}: waits for {wait.what}{until}"
