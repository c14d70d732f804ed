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
    CancelTask,
    FailStage,
    FinishStage,
    Instruction,
    RedoStage,
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
        self.given_up: list[StartTask] = []
        self.failures: Counter[int] = Counter()
        self.succeeded: set[int] = set()
        self.missed: set[int] = set()
        self.over: Instruction | None = None
        self.obey(self.core.start())

    def obey(self, instructions: tuple[Instruction, ...]) -> None:
        """Do what the core says."""
        for instruction in instructions:
            assert self.over is None, "the core speaks after the end"
            match instruction:
                case StartTask():
                    assert instruction not in self.running + self.given_up
                    self.running.append(instruction)
                case CancelTask(index, attempt):
                    assert index in self.succeeded
                    self.running.remove(StartTask(index, attempt))
                    self.given_up.append(StartTask(index, attempt))
                case _:
                    self.over = instruction

    def end(self, data: st.DataObject) -> StartTask:
        """Pick a running attempt and end it."""
        position = data.draw(st.integers(0, len(self.running) - 1))
        return self.running.pop(position)

    def runs(self, index: int) -> bool:
        """Say whether an attempt of a task runs."""
        return any(task.index == index for task in self.running)

    @precondition(lambda self: self.running and self.over is None)
    @rule(data=st.data())
    def succeed(self, data: st.DataObject) -> None:
        """An attempt succeeds."""
        task = self.end(data)
        self.succeeded.add(task.index)
        self.obey(self.core.on_success(task.index, task.attempt))

    @precondition(lambda self: self.running and self.over is None)
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        """An attempt fails by its own fault."""
        task = self.end(data)
        self.failures[task.index] += 1
        self.obey(self.core.on_failure(task.index, task.attempt))

    @precondition(lambda self: self.running and self.over is None)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        """An attempt vanishes with its worker."""
        task = self.end(data)
        self.obey(self.core.on_lost(task.index, task.attempt))

    @precondition(lambda self: self.running and self.over is None)
    @rule(data=st.data())
    def miss(self, data: st.DataObject) -> None:
        """What an attempt reads is gone."""
        task = self.end(data)
        if not self.runs(task.index):
            self.missed.add(task.index)
        self.obey(self.core.on_missed(task.index, task.attempt))

    @rule(index=st.integers(0, 3))
    def be_slow(self, index: int) -> None:
        """A task is slow: it gets a copy, unless it has one or doesn't run."""
        count = sum(task.index == index for task in self.running)
        before = len(self.running)
        self.obey(self.core.on_slow(index))
        assert len(self.running) - before == (count == 1 and self.over is None)

    @precondition(lambda self: self.given_up or (self.over and self.running))
    @rule(data=st.data())
    def speak_late(self, data: st.DataObject) -> None:
        """What comes of an attempt that was given up, or after the end, is no news."""
        tasks = self.given_up + (self.running if self.over else [])
        task = data.draw(st.sampled_from(tasks))
        assert not self.core.is_running(task.index, task.attempt)
        for event in (
            self.core.on_success,
            self.core.on_failure,
            self.core.on_lost,
            self.core.on_missed,
        ):
            assert event(task.index, task.attempt) == ()

    @precondition(lambda self: not self.running)
    @rule()
    def nothing_runs(self) -> None:
        """With no attempt left the stage is over."""
        assert self.over is not None

    @invariant()
    def agrees_with_the_model(self) -> None:
        """The stage ends exactly when the model says so, and never hangs."""
        if not hasattr(self, "core"):
            return
        self.core.check()
        worst = max(self.failures.values(), default=0)
        everything = set(range(self.tasks))
        if self.over == FinishStage():
            assert self.succeeded == everything
            assert self.running == []
        elif self.over == RedoStage():
            assert self.missed
            assert self.succeeded | self.missed == everything
            assert self.running == []
        elif isinstance(self.over, FailStage):
            assert self.failures[self.over.index] == self.over.failures == self.tries
        else:
            assert worst < self.tries
            waiting = everything - self.succeeded - self.missed
            assert waiting == {task.index for task in self.running}


TestAttempts = AttemptsMachine.TestCase


def test_a_stage_without_tasks_is_done_at_once() -> None:
    """Nothing to do is success."""
    assert StageAttempts(0, 1).start() == (FinishStage(),)


def test_attempts_are_numbered_from_zero() -> None:
    """Each try of a task has a number of its own."""
    core = StageAttempts(1, 3)

    assert core.start() == (StartTask(0, 0),)
    assert core.on_failure(0, 0) == (StartTask(0, 1),)
    assert core.on_lost(0, 1) == (StartTask(0, 2),)
    assert core.on_success(0, 2) == (FinishStage(),)


def test_of_two_attempts_the_first_result_counts() -> None:
    """The other one is cancelled, before the stage is done."""
    core = StageAttempts(2, 1)
    core.start()
    core.on_success(0, 0)

    assert core.on_slow(1) == (StartTask(1, 1),)
    assert core.on_slow(1) == ()
    assert core.on_success(1, 1) == (CancelTask(1, 0), FinishStage())


def test_an_attempt_that_is_lost_has_its_copy() -> None:
    """No third one is started; what the copy fails counts as ever."""
    core = StageAttempts(1, 2)
    core.start()
    core.on_slow(0)

    assert core.on_lost(0, 0) == ()
    assert core.on_failure(0, 1) == (StartTask(0, 2),)
    assert core.on_failure(0, 2) == (FailStage(0, 2),)
