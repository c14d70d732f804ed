"""SimWorkers: worker processes of a simulation, which are lost, late, slow and forgetful.

They run what they are handed in threads of the runtime, so that a seed decides who answers
when. Each task has a fate, drawn when it begins: its worker may be lost before it runs or
after, and speak all the same later, as one does that only the network was lost to; its body
may break; it may be slow. What workers hold may be lost with them, or for no reason.
"""

import io
import itertools
import threading
import traceback
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from random import Random
from typing import Any

from millstream.engine.base import driver_link, frames
from millstream.engine.columnar.blocks import Frozen
from millstream.engine.durable import frozen_bytes
from millstream.engine.jobs import driver as drivers
from millstream.engine.jobs import shipping
from millstream.engine.jobs.placement import Processes
from millstream.engine.workers import pool
from millstream.engine.workers.protocol import (
    BlockLostError,
    Broken,
    Done,
    Ending,
    Lost,
    Missed,
)
from millstream.engine.workers.queueing import TaskQueue, Ticket
from millstream.testing.sim.primitives import SimThreading
from millstream.testing.sim.runtime import SimRuntime

_PAUSE_MS = 4
_SLOW_MS = 5000
_INLINE_MAX_BYTES = 100


class Fate(Enum):
    """What comes of a task, or of its worker."""

    FINE = "fine"
    SLOW = "slow"
    LOST_BEFORE = "worker lost before a task"
    LOST_AFTER = "worker lost after a task"
    LOST_BUT_SPEAKS = "worker lost that speaks later"
    BREAKS = "task broken"


@dataclass(slots=True)
class WorkerTemper:
    """How likely each is for a task; all nothing in calm times."""

    loses: float = 0.0
    breaks: float = 0.0
    is_slow: float = 0.0
    forgets: float = 0.0
    """That a block is lost, of those that are held when a task begins."""

    @classmethod
    def draw(cls, random: Random) -> "WorkerTemper":
        """Return a random one."""
        return cls(
            loses=random.choice([0, 0.05, 0.2]),
            breaks=random.choice([0, 0, 0.03, 0.3]),
            is_slow=random.choice([0, 0.1, 0.3]),
            forgets=random.choice([0, 0, 0.05]),
        )


class SimHeld:
    """A block that simulated workers hold."""

    def __init__(self, number: int, data: bytes) -> None:
        """Hold `data`, as the `number`-th block."""
        self.number = number
        self._data: bytes | None = data
        self.size = self.memory_bytes = len(data)
        self.path = None

    def lose(self) -> None:
        """Be gone."""
        self._data = None

    def read(self) -> bytes:
        """Return the bytes.

        Raises:
            OSError: They are lost.
        """
        if self._data is None:
            msg = "a block that a worker held is lost"
            raise OSError(msg)
        return self._data

    def is_there(self) -> bool:
        """Say whether it can be read."""
        return self._data is not None


@dataclass(slots=True, eq=False)
class SimExecutor:
    """One worker; `life` counts the processes that it was."""

    number: int
    tickets: list[Ticket] = field(default_factory=list)
    freed_s: float = 0.0
    life: int = 0

    @property
    def where(self) -> str:
        """What it is called where people read it."""
        return f"simulated worker {self.number}"


@dataclass(frozen=True, slots=True)
class Told:
    """What was told of an attempt, if it was heard."""

    stage_id: int
    partition: int
    attempt: int
    ending: Ending


class _Inside:
    """What a body can do in a simulated worker."""

    def __init__(self, workers: "SimWorkers", reads: Sequence[Any]) -> None:
        self.held: list[SimHeld] = []
        self.told: list[tuple[str, Any]] = []
        self._workers = workers
        self._reads = reads

    def hold(self, block: Frozen) -> int:
        self.held.append(self._workers.hold(block))
        return len(self.held) - 1

    def read(self, place: int, about: frozen_bytes.Description) -> Frozen:
        try:
            return about.unpack(self._reads[place])
        except OSError as error:
            raise BlockLostError(place) from error


class SimWorkers(TaskQueue[SimExecutor]):
    """`count` workers, which misbehave as `temper` says at the time."""

    def __init__(
        self,
        runtime: SimRuntime,
        random: Random,
        temper: WorkerTemper,
        count: int,
        happened: Counter[str] | None = None,
    ) -> None:
        """Belong to the process of `runtime`, draw from `random`, count what happened."""
        super().__init__()
        self._runtime = runtime
        self._threads = SimThreading(runtime)
        self._random = random
        self.temper = temper
        self.executors = [SimExecutor(number) for number in range(count)]
        self.memory_max_bytes = 0
        self.told: list[Told] = []
        self.happened = Counter() if happened is None else happened
        self.running: Counter[tuple[int, int]] = Counter()
        """How many attempts run, by stage and partition."""
        self._held: weakref.WeakSet[SimHeld] = weakref.WeakSet()
        self._numbers = itertools.count()
        self._closing = self._threads.Event()

    # Workers.

    def hold(self, block: Frozen) -> SimHeld:
        """Keep a block."""
        sink = io.BytesIO()
        frozen_bytes.share(block, sink)
        held = SimHeld(next(self._numbers), sink.getvalue())
        self._held.add(held)
        return held

    def copy(self, held: Any) -> None:
        """Let a block be safe from now on."""
        self._held.discard(held)

    def release(self) -> None:
        """End."""
        self._is_closed.set()
        with self._lock:
            self._waiting.clear()
        self._closing.set()

    # TaskQueue.

    def _executors(self) -> list[SimExecutor]:
        return self._random.sample(self.executors, len(self.executors))

    def _is_ready(self, executor: SimExecutor) -> bool:
        del executor
        return True

    def _begin(self, executor: SimExecutor, tickets: Sequence[Ticket]) -> None:
        (ticket,) = tickets
        fate, life = self._draw(), executor.life
        self.happened[fate.value] += 1
        self._spawn(executor, lambda: self._run(executor, life, ticket, fate))

    def _end(self, executor: SimExecutor) -> None:
        executor.life += 1
        self.happened["worker ended"] += 1
        tickets = list(executor.tickets)
        lost = Lost("its worker was ended", is_own_doing=False)

        def tell() -> None:
            for ticket in tickets:
                self._settle(executor, ticket, lost)

        # A process's end is heard a little later, as all that it says.
        self._spawn(executor, tell)

    def _settle(self, executor: SimExecutor, ticket: Ticket, ending: Ending) -> None:
        if not ticket.is_over and not self._is_closed.is_set():
            scope = _scope_of(ticket)
            self.told.append(
                Told(scope.stage_id, scope.partition_id, scope.attempt_number, ending)
            )
        if not self._is_closed.is_set():
            super()._settle(executor, ticket, ending)

    # What workers do.

    def _draw(self) -> Fate:
        temper, random = self.temper, self._random
        if random.random() < temper.forgets:
            self._forget()
        if random.random() < temper.loses:
            return random.choice(
                [Fate.LOST_BEFORE, Fate.LOST_AFTER, Fate.LOST_BUT_SPEAKS]
            )
        if random.random() < temper.breaks:
            return Fate.BREAKS
        return Fate.SLOW if random.random() < temper.is_slow else Fate.FINE

    def _forget(self) -> None:
        there = (each for each in self._held if each.is_there())
        if blocks := sorted(there, key=lambda each: each.number):
            self.happened["held block lost"] += 1
            self._random.choice(blocks).lose()

    def _spawn(self, executor: SimExecutor, work: Callable[[], None]) -> None:
        self._threads.Thread(target=work, name=f"worker-{executor.number}").start()

    def _run(
        self, executor: SimExecutor, life: int, ticket: Ticket, fate: Fate
    ) -> None:
        self._pause(_SLOW_MS if fate is Fate.SLOW else _PAUSE_MS)
        lost = Lost(fate.value, is_own_doing=False)
        if fate is Fate.LOST_BEFORE:
            self._settle(executor, ticket, lost)
            return
        ending: Ending = Broken("it was to break")
        if fate is not Fate.BREAKS and executor.life == life:
            ending = self._ending_of(ticket)
        self._pause(_PAUSE_MS)
        if executor.life != life:
            return  # Ended meanwhile, which was told.
        if fate in (Fate.LOST_AFTER, Fate.LOST_BUT_SPEAKS):
            self._settle(executor, ticket, lost)
            if fate is Fate.LOST_AFTER:
                return
            self._pause(_SLOW_MS)
        self._settle(executor, ticket, ending)

    def _pause(self, ms_max: int) -> None:
        self._closing.wait(self._random.randrange(ms_max) / 1000)

    def _ending_of(self, ticket: Ticket) -> Ending:
        """Run a task, as a worker would."""
        order, scope = ticket.order, _scope_of(ticket)
        inside = _Inside(self, order.reads)
        task = scope.stage_id, scope.partition_id
        self.running[task] += 1
        _here.inside = inside
        try:
            made = frames.loads_function(order.stage.pickled)(order.given, inside)
        except BlockLostError as lost:
            return Missed((lost.place,))
        except Exception:
            return Broken(traceback.format_exc())
        finally:
            _here.inside = None
            self.running[task] -= 1
        return Done(made, inside.held)


def _scope_of(ticket: Ticket) -> Any:
    return frames.loads(ticket.order.given).scope


# A worker is a process, with things of its own; here it is a thread.

_here = threading.local()


class _OfThread:
    """As much of a dict as is asked of it; each thread has its own."""

    def __init__(self) -> None:
        self._local = threading.local()

    def get(self, key: Any) -> Any:
        return self._own.get(key)

    def clear(self) -> None:
        self._own.clear()

    def __setitem__(self, key: Any, value: Any) -> None:
        self._own[key] = value

    @property
    def _own(self) -> dict[Any, Any]:
        own: dict[Any, Any] = self._local.__dict__.setdefault("own", {})
        return own


def _inside() -> _Inside | None:
    return getattr(_here, "inside", None)


def _told_here() -> list[tuple[str, Any]]:
    inside = _inside()
    return [] if inside is None else inside.told


def _take_told() -> tuple[tuple[str, Any], ...]:
    told = tuple(_told_here())
    _told_here().clear()
    return told


@contextmanager
def installed_workers(make: Callable[[int], SimWorkers]) -> Iterator[None]:
    """Let contexts have workers that `make` makes of a number, where others have processes.

    A clock of a simulation's own keeps no stage from them then.
    """
    stand_ins: list[tuple[Any, str, Any]] = [
        (pool, "acquire", make),
        (drivers, "_processes_mode", _mode),
        (shipping, "_stages", _OfThread()),
        (
            shipping,
            "_TOGETHER_MAX_BYTES",
            0,
        ),  # Small as data is here, workers hold some.
        (shipping, "_INLINE_MAX_BYTES", _INLINE_MAX_BYTES),
        (driver_link, "is_worker", lambda: _inside() is not None),
        (driver_link, "ask", driver_link.answer_to),
        (driver_link, "start_telling", lambda: _told_here().clear()),
        (driver_link, "tell", lambda topic, news: _told_here().append((topic, news))),
        (driver_link, "take_told", _take_told),
    ]
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in stand_ins]
    for owner, name, stand_in in stand_ins:
        setattr(owner, name, stand_in)
    try:
        yield
    finally:
        for owner, name, real in before:
            setattr(owner, name, real)


def _mode(settings: Any, clock: Any) -> Processes:
    del clock
    return Processes(settings.get_str("spark.millstream.processes"))
