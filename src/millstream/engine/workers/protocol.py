"""Protocol: what workers are asked to run, and what they report.

A stage's body travels to a worker once, and each task with what it is given. What is large
stays with the workers: a task holds what it makes, and a later one, on any of them, reads
it; the driver only has a reference, and what it no longer refers to is gone. Four kinds of
ending are told apart: done (in which a task's own failure is an outcome like any other,
told by its body), missed (a block that it was to read is lost), broken (the body couldn't
be run at all) and lost (with its worker).
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

from millstream.engine.columnar.blocks import Frozen
from millstream.engine.durable.frozen_bytes import Description, Held


class BlockLostError(Exception):
    """A block that a task was to read is lost; `place` says which of its reads."""

    def __init__(self, place: int) -> None:
        """Name it by its place."""
        super().__init__(f"block {place} of what a task reads is lost")
        self.place = place


class Inside(Protocol):
    """What a body can do in the worker that runs it."""

    def hold(self, block: Frozen) -> int:
        """Keep a block, and return its number among those that the task holds."""
        ...

    def read(self, place: int, about: Description) -> Frozen:
        """Return a block that the task was told to read.

        Raises:
            BlockLostError: It is lost. To be let through.
        """
        ...


Body: TypeAlias = Callable[[bytes | memoryview, Inside], bytes]


@dataclass(frozen=True, slots=True)
class StageBody:
    """What all tasks of a stage run: pickled, a `Body`."""

    id: str
    pickled: bytes


@dataclass(frozen=True, slots=True)
class TaskOrder:
    """One attempt of one task, and what its stage's body is given."""

    stage: StageBody
    given: bytes
    title: str
    """What errors call it."""
    timeout_s: float | None = None
    """A task that takes longer is ended, with its worker."""
    reads: Sequence[Held] = ()
    """Blocks that workers hold."""
    shelves: int = 0
    """In how many parts what it holds is kept at most: as many as are read apart."""
    near: int | None = None
    """The executor that has what it reads at hand; any other can run it, too."""
    avoid: int | None = None
    """The executor that shan't run it, if there is any other."""
    expected_s: float | None = None
    """How long it will take, if that is known."""
    goes_alone: bool = False
    """Whether it is never handed over behind another one: it matters when it begins."""


@dataclass(frozen=True, slots=True)
class Done:
    """What the stage's body returned."""

    value: memoryview | bytes
    held: Sequence[Held] = ()
    """The blocks that it holds, in the order in which it said so."""


@dataclass(frozen=True, slots=True)
class Missed:
    """Blocks that the task was to read are lost: their places in the order."""

    places: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Broken:
    """The body raised, or couldn't be loaded: a traceback as text."""

    reason: str


@dataclass(frozen=True, slots=True)
class Lost:
    """The worker ended while it ran the task; `is_own_doing` if by the task's fault."""

    reason: str
    is_own_doing: bool


Ending: TypeAlias = Done | Missed | Broken | Lost


class Ticket(Protocol):
    """A task that was handed over."""

    @property
    def begun_s(self) -> float | None:
        """When a worker took it, on `monotonic_s`; None while it waits."""
        ...

    @property
    def executor(self) -> int | None:
        """Which worker took it; None while it waits."""
        ...

    @property
    def where(self) -> str:
        """What that worker is called where people read it; empty while it waits."""
        ...

    def drop(self) -> None:
        """Forget it if it waits: it never runs, nor reports."""
        ...

    def cancel(self) -> None:
        """Forget it, or, if it runs, end it with its worker. It never reports then."""
        ...


class Workers(Protocol):
    """Runs tasks somewhere else."""

    def submit(self, order: TaskOrder, on_ending: Callable[[Ending], None]) -> Ticket:
        """Run a task; `on_ending` hears how it ended, once, on a thread of ours."""
        ...

    def together(self) -> AbstractContextManager[None]:
        """Hand over what is submitted inside when that is all there is to submit."""
        ...

    def hold(self, block: Frozen) -> Held:
        """Keep a block of the driver's, for tasks to read.

        Raises:
            OSError: There is no room.
        """
        ...

    def copy(self, held: Held) -> None:
        """See to it that a block outlives the machine that it is on, if there are more."""
        ...

    def release(self) -> None:
        """Be done with them: they end, or wait for the next who wants as many."""
        ...


@runtime_checkable
class ScalableWorkers(Workers, Protocol):
    """Workers whose number may change."""

    @property
    def ready_count(self) -> int:
        """How many take tasks now; others may be on their way, or about to leave."""
        ...

    def scale(self, count: int) -> None:
        """Have `count` of them, by and by: what runs on those that leave ends first."""
        ...
