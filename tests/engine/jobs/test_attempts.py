"""Tests of engine/jobs/attempts.py."""

from collections import Counter

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from millstream.engine.jobs.attempts import (
    FailStage,
    FinishStage,
    Instruction,
    StageAttempts,
    StartTask,
)


class AttemptsMachine(RuleBasedStateMachine):
    """Random events against a plain model: running attempts, failures, successes."""

    @initialize(tasks=st.integers(1, 4), tries=st.integers(1, 3))
    def begin(self, tasks: int, tries: int) -> None:
        """Start a stage."""
        self.core = StageAttempts(tasks, tries)
        self.tasks, self.tries = tasks, tries
        self.running: list[StartTask] = []
        self.failures: Counter[int] = Counter()
        self.succeeded: set[int] = set()
        self.over: Instruction | None = None
        self.obey(self.core.start())

    def obey(self, instructions: tuple[Instruction, ...]) -> None:
        """Do what the core says."""
        for instruction in instructions:
            assert self.over is None, "the core speaks after the end"
            if isinstance(instruction, StartTask):
                self.running.append(instruction)
            else:
                self.over = instruction

    def end(self, data: st.DataObject) -> StartTask:
        """Pick a running attempt and end it."""
        position = data.draw(st.integers(0, len(self.running) - 1))
        return self.running.pop(position)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def succeed(self, data: st.DataObject) -> None:
        """An attempt succeeds."""
        task = self.end(data)
        self.succeeded.add(task.index)
        self.obey(self.core.on_success(task.index))

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        """An attempt fails by its own fault."""
        task = self.end(data)
        if task.index not in self.succeeded:
            self.failures[task.index] += 1
        self.obey(self.core.on_failure(task.index))

    @precondition(lambda self: not self.running)
    @rule()
    def nothing_runs(self) -> None:
        """With no attempt left the stage is over."""
        assert self.over is not None

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        """An attempt vanishes with its worker."""
        task = self.end(data)
        self.obey(self.core.on_lost(task.index))

    @invariant()
    def agrees_with_the_model(self) -> None:
        """The stage ends exactly when the model says so, and never hangs."""
        if not hasattr(self, "core"):
            return
        self.core.check()
        worst = max(self.failures.values(), default=0)
        if self.over == FinishStage():
            assert self.succeeded == set(range(self.tasks))
        elif isinstance(self.over, FailStage):
            assert self.failures[self.over.index] == self.over.failures == self.tries
        else:
            assert worst < self.tries
            waiting = set(range(self.tasks)) - self.succeeded
            assert waiting <= {task.index for task in self.running}


TestAttempts = AttemptsMachine.TestCase


def test_a_stage_without_tasks_is_done_at_once() -> None:
    """Nothing to do is success."""
    assert StageAttempts(0, 1).start() == (FinishStage(),)


def test_attempts_are_numbered_from_zero() -> None:
    """Each try of a task has a number of its own."""
    core = StageAttempts(1, 3)

    assert core.start() == (StartTask(0, 0),)
    assert core.on_failure(0) == (StartTask(0, 1),)
    assert core.on_lost(0) == (StartTask(0, 2),)
    assert core.on_success(0) == (FinishStage(),)
    assert core.on_success(0) == core.on_failure(0) == core.on_lost(0) == ()
