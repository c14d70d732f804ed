"""Attempts: which task runs again, and when a stage gives up. A core: pure.

Events in (a task succeeded, failed, was lost), instructions out. Failures are counted a
task, not a stage: one bad partition must not use up its neighbours' tries.
"""

from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class StartTask:
    """Run the task at `index` for the `attempt`-th time, from 0."""

    index: int
    attempt: int


@dataclass(frozen=True, slots=True)
class FailStage:
    """Give up: the task at `index` failed `failures` times."""

    index: int
    failures: int


@dataclass(frozen=True, slots=True)
class FinishStage:
    """All tasks have succeeded."""


Instruction: TypeAlias = StartTask | FailStage | FinishStage


@dataclass(slots=True)
class StageAttempts:
    """The tasks of one stage. Each event returns what to do next."""

    task_count: int
    failures_max: int
    failures: dict[int, int] = field(default_factory=dict)
    attempts: dict[int, int] = field(default_factory=dict)
    succeeded: set[int] = field(default_factory=set)
    is_over: bool = False

    def start(self) -> tuple[Instruction, ...]:
        """Return the first attempt of every task."""
        if self.task_count == 0:
            self.is_over = True
            return (FinishStage(),)
        return tuple(self._next_attempt(index) for index in range(self.task_count))

    def on_success(self, index: int) -> tuple[Instruction, ...]:
        """Note that a task is done; a second success of the same task changes nothing."""
        if self.is_over or index in self.succeeded:
            return ()
        self.succeeded.add(index)
        if len(self.succeeded) < self.task_count:
            return ()
        self.is_over = True
        return (FinishStage(),)

    def on_failure(self, index: int) -> tuple[Instruction, ...]:
        """Note that a task failed by its own fault."""
        if self.is_over or index in self.succeeded:
            return ()
        self.failures[index] = self.failures.get(index, 0) + 1
        if self.failures[index] >= self.failures_max:
            self.is_over = True
            return (FailStage(index, self.failures[index]),)
        return (self._next_attempt(index),)

    def on_lost(self, index: int) -> tuple[Instruction, ...]:
        """Note that a task vanished with its worker: not its fault, so not counted."""
        if self.is_over or index in self.succeeded:
            return ()
        return (self._next_attempt(index),)

    def _next_attempt(self, index: int) -> StartTask:
        attempt = self.attempts.get(index, -1) + 1
        self.attempts[index] = attempt
        return StartTask(index, attempt)

    def check(self) -> None:
        """Assert what must hold between events."""
        assert self.succeeded <= set(range(self.task_count)), (
            "an unknown task succeeded"
        )
        assert all(count <= self.failures_max for count in self.failures.values()), (
            "a task was tried after it had failed too often"
        )
