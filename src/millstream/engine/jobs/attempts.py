"""Attempts: which task runs again, and when a stage gives up. A core: pure.

Events in (an attempt of a task succeeded, failed, was lost, missed what it reads, is slow),
instructions out. Failures are counted a task, not a stage: one bad partition must not use
up its neighbours' tries. A slow task may have a second attempt beside the first; what comes
of an attempt that isn't under way any more changes nothing.
"""

from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class StartTask:
    """Run the task at `index` for the `attempt`-th time, from 0."""

    index: int
    attempt: int


@dataclass(frozen=True, slots=True)
class CancelTask:
    """End an attempt: another one of the same task was faster."""

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


@dataclass(frozen=True, slots=True)
class RedoStage:
    """No task is left but those whose input is gone: it must be made again first."""


Instruction: TypeAlias = StartTask | CancelTask | FailStage | FinishStage | RedoStage


@dataclass(slots=True)
class StageAttempts:
    """The tasks of one stage. Each event returns what to do next, in that order."""

    task_count: int
    failures_max: int
    failures: dict[int, int] = field(default_factory=dict)
    attempts: dict[int, int] = field(default_factory=dict)
    """The number of each task's latest attempt."""
    running: set[tuple[int, int]] = field(default_factory=set)
    """Index and number of the attempts that are under way."""
    succeeded: set[int] = field(default_factory=set)
    missed: set[int] = field(default_factory=set)
    is_over: bool = False

    def start(self) -> tuple[Instruction, ...]:
        """Return the first attempt of every task."""
        if self.task_count == 0:
            self.is_over = True
            return (FinishStage(),)
        return tuple(self._next_attempt(index) for index in range(self.task_count))

    def is_running(self, index: int, attempt: int) -> bool:
        """Say whether an attempt is under way: whether what it does still counts."""
        return not self.is_over and (index, attempt) in self.running

    def on_success(self, index: int, attempt: int) -> tuple[Instruction, ...]:
        """Note that a task is done; its other attempt is not waited for."""
        if not self._end(index, attempt):
            return ()
        self.succeeded.add(index)
        others = sorted(each for each in self.running if each[0] == index)
        self.running.difference_update(others)
        return (*(CancelTask(*each) for each in others), *self._ending())

    def on_failure(self, index: int, attempt: int) -> tuple[Instruction, ...]:
        """Note that a task failed by its own fault."""
        if not self._end(index, attempt):
            return ()
        self.failures[index] = self.failures.get(index, 0) + 1
        if self.failures[index] >= self.failures_max:
            self.is_over = True
            return (FailStage(index, self.failures[index]),)
        return self._again(index)

    def on_lost(self, index: int, attempt: int) -> tuple[Instruction, ...]:
        """Note that a task vanished with its worker: not its fault, so not counted."""
        return self._again(index) if self._end(index, attempt) else ()

    def on_missed(self, index: int, attempt: int) -> tuple[Instruction, ...]:
        """Note that what a task reads is gone. Its stage runs again, when all have ended."""
        if not self._end(index, attempt) or self._runs(index):
            return ()
        self.missed.add(index)
        return self._ending()

    def on_slow(self, index: int) -> tuple[Instruction, ...]:
        """Note that a task is slow: it is tried a second time, beside the first."""
        count = sum(each == index for each, _ in self.running)
        return () if self.is_over or count != 1 else (self._next_attempt(index),)

    def _end(self, index: int, attempt: int) -> bool:
        """Note that an attempt has ended; False if that is no news."""
        if not self.is_running(index, attempt):
            return False
        self.running.remove((index, attempt))
        return True

    def _runs(self, index: int) -> bool:
        return any(each == index for each, _ in self.running)

    def _again(self, index: int) -> tuple[Instruction, ...]:
        """Try a task again, unless an attempt of it is under way."""
        return () if self._runs(index) else (self._next_attempt(index),)

    def _ending(self) -> tuple[Instruction, ...]:
        if len(self.succeeded) + len(self.missed) < self.task_count:
            return ()
        self.is_over = True
        return (RedoStage(),) if self.missed else (FinishStage(),)

    def _next_attempt(self, index: int) -> StartTask:
        attempt = self.attempts.get(index, -1) + 1
        self.attempts[index] = attempt
        self.running.add((index, attempt))
        return StartTask(index, attempt)

    def check(self) -> None:
        """Assert what must hold between events."""
        assert self.succeeded <= set(range(self.task_count)), (
            "an unknown task succeeded"
        )
        assert not self.succeeded & self.missed, "a task is done and isn't"
        assert not any(index in self.succeeded for index, _ in self.running), (
            "an attempt of a task that is done is under way"
        )
        counts = [
            sum(each == index for each, _ in self.running) for index, _ in self.running
        ]
        assert max(counts, default=0) <= 2, "a task has more than one copy"
        assert all(count <= self.failures_max for count in self.failures.values()), (
            "a task was tried after it had failed too often"
        )
