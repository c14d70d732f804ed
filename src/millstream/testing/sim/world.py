"""World: what is outside of the simulated process, and outlives it.

A sender with records that it sends again until they are acknowledged, somebody who puts
files into a directory, and what output operations have written. The world also decides
when user code fails or is slow. Streaming functions find it by its number, as they are
pickled.
"""

import itertools
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

from millstream.testing.sim.runtime import SimRuntime


class Record(NamedTuple):
    """What is sent: a key, the record's number, and how often it was sent before."""

    key: int
    number: int
    sending: int


class WorkerDiedError(Exception):
    """A task ended in the middle, as if its worker had died."""


class ConnectionLostError(Exception):
    """The sender no longer listens to this connection."""


class Sender:
    """A source that sends each record until it is acknowledged."""

    def __init__(self, random: Random) -> None:
        """Begin with nothing to send."""
        self._random = random
        self._numbers = itertools.count()
        self._waiting: deque[Record] = deque()
        self._under_way: list[Record] = []
        self._connection = 0
        self.acknowledged: set[Record] = set()
        self.sent: set[Record] = set()

    def produce(self, count: int, keys: int) -> None:
        """Have `count` more records to send."""
        for _ in range(count):
            key = self._random.randrange(keys)
            self._waiting.append(Record(key, next(self._numbers), 0))

    def connect(self) -> int:
        """Return a new connection; what the old one didn't acknowledge is sent again."""
        self._connection += 1
        again = [each._replace(sending=each.sending + 1) for each in self._under_way]
        self._under_way = []
        self._waiting.extendleft(reversed(again))
        return self._connection

    def take(self, connection: int, limit: int) -> list[Record]:
        """Send up to `limit` records.

        Raises:
            ConnectionLostError: There is a newer connection.
        """
        self._check(connection)
        count = min(limit, len(self._waiting))
        taken = [self._waiting.popleft() for _ in range(count)]
        self._under_way += taken
        self.sent.update(taken)
        return taken

    def acknowledge(self, connection: int, records: Iterable[Record]) -> None:
        """Send these records no more.

        Raises:
            ConnectionLostError: There is a newer connection: they are sent again.
        """
        self._check(connection)
        done = set(records)
        self.acknowledged |= done
        self._under_way = [each for each in self._under_way if each not in done]

    def _check(self, connection: int) -> None:
        if connection != self._connection:
            raise ConnectionLostError

    @property
    def is_done(self) -> bool:
        """Whether everything is acknowledged."""
        return not self._waiting and not self._under_way


@dataclass(frozen=True, slots=True)
class OutputRun:
    """One run of an output operation for one batch."""

    life: int
    output: str
    time_ms: int
    rows: tuple[object, ...]


@dataclass(slots=True)
class Temper:
    """How often user code misbehaves; all nothing in calm times."""

    task_dies: float = 0.0
    output_fails: float = 0.0
    receiver_fails: float = 0.0
    is_slow: float = 0.0


_worlds: "WeakValueDictionary[int, World]" = WeakValueDictionary()
_world_numbers = itertools.count()


def find_world(number: int) -> "World":
    """Return the world that a pickled function refers to."""
    return _worlds[number]


@dataclass(slots=True, eq=False, weakref_slot=True)
class World:
    """Everything outside of the process."""

    runtime: SimRuntime
    random: Random
    note: Callable[[str], None]
    sender: Sender
    temper: Temper = field(default_factory=Temper)
    life: int = 0
    outputs: list[OutputRun] = field(default_factory=list)
    lines_put: list[str] = field(default_factory=list)
    numbers: int = 0
    """How many numbers there are to be read by ranges."""
    shelves: dict[str, Any] = field(default_factory=dict)
    """What sinks have, by output; see `sinks`."""
    number: int = field(default_factory=lambda: next(_world_numbers))
    happened: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        _worlds[self.number] = self

    # What user code in tasks and outputs calls.

    def in_task(self) -> None:
        """Be in the middle of a task: it may be slow, or die."""
        self.pause(0.3 * self.temper.is_slow, 400)
        if self.random.random() < self.temper.task_dies:
            self.happened["task died"] += 1
            msg = "the worker died"
            raise WorkerDiedError(msg)

    def write(self, output: str, time_ms: int, rows: Iterable[object]) -> None:
        """Take the rows of one batch from an output operation, which may fail."""
        self.pause(self.temper.is_slow, 3000)
        fails = self.random.random() < self.temper.output_fails
        if fails and self.random.random() < 0.5:
            self.fail(output)
        # Numbers only, so that order is that of values.
        run = OutputRun(self.life, output, time_ms, tuple(sorted(rows)))  # type: ignore[type-var]
        self.outputs.append(run)
        self.note(f"output {output} batch {time_ms} rows {len(run.rows)}")
        if fails:
            self.fail(output)

    def fail(self, output: str) -> None:
        """Raise from an output operation."""
        self.happened["output failed"] += 1
        msg = f"output {output} failed"
        raise OSError(msg)

    def pause(self, probability: float, ms_max: int) -> None:
        """Let time pass, sometimes."""
        if self.random.random() < probability:
            self.runtime.sleep_until(
                self.runtime.now_ms + self.random.randrange(ms_max)
            )
