"""Protocol: what workers are asked to run, and what they report.

A stage's body travels to a worker once, and each task with what it is given. Three kinds
of ending are told apart: done (in which a task's own failure is an outcome like any other,
told by its body), broken (the body couldn't be run at all) and lost (with its worker).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias


@dataclass(frozen=True, slots=True)
class StageBody:
    """What all tasks of a stage run: pickled, a function from bytes to bytes."""

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


@dataclass(frozen=True, slots=True)
class Done:
    """What the stage's body returned."""

    value: memoryview | bytes


@dataclass(frozen=True, slots=True)
class Broken:
    """The body raised, or couldn't be loaded: a traceback as text."""

    reason: str


@dataclass(frozen=True, slots=True)
class Lost:
    """The worker ended while it ran the task; `is_own_doing` if by the task's fault."""

    reason: str
    is_own_doing: bool


Ending: TypeAlias = Done | Broken | Lost


class Ticket(Protocol):
    """A task that was handed over."""

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

    def release(self) -> None:
        """Be done with them: they end, or wait for the next who wants as many."""
        ...
