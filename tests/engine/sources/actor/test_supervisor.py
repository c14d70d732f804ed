"""Tests of engine/sources/actor/supervisor.py: what becomes of workers that fail."""

import threading
import time
from typing import Any

import pytest
from tests.engine.sources.working import LIVES, Bench, Recorder, benched, got

from millstream.engine.base.errors import SparkError, UsageError
from millstream.engine.sources.actor import supervisor as actor_supervisor
from millstream.engine.sources.actor.strategy import (
    Directive,
    OneForOneStrategy,
    Statistics,
)
from millstream.engine.sources.actor.workers import ActorHelper, WorkerGoneError


@pytest.fixture(autouse=True)
def _new_lives() -> None:
    LIVES.clear()


def test_an_escalation_ends_the_worker() -> None:
    """Who waits hears it, and the receiver is told once; then it takes no messages."""
    with benched() as bench:
        worker = bench.start()
        entered, go = threading.Event(), threading.Event()

        def fail(actor: Recorder) -> None:
            entered.set()
            assert go.wait(10)
            raise ValueError("broken")

        failed = worker.ask(fail)
        assert entered.wait(10)
        waiting = [worker.ask("a"), worker.ask("b")]
        worker.tell("c")
        go.set()

        with pytest.raises(ValueError, match="broken"):
            got(failed)
        for each in waiting:
            with pytest.raises(WorkerGoneError, match="'it' has ended"):
                got(each)
        with pytest.raises(WorkerGoneError):
            worker.tell("d")
        ((message, error),) = bench.escalated
        assert message == "the actor 'it' failed: broken"
        assert isinstance(error, ValueError)
        assert not bench.stored
        assert bench.supervisor.find("it") is None
    assert LIVES == ["start", "failure broken"]


def test_dropped_messages_are_told(caplog: pytest.LogCaptureFixture) -> None:
    """How many had been sent to a worker that ended."""
    test_an_escalation_ends_the_worker()

    # Who waits hears it first.
    until_s = time.monotonic() + 10
    while "dropped worker=it messages=3" not in caplog.text:
        assert time.monotonic() < until_s
        time.sleep(0.005)


def test_too_many_restarts_escalate(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than ten within 15 ms; eleven over a longer time don't."""
    now_s = [0.0]
    monkeypatch.setattr(actor_supervisor, "monotonic_s", lambda: now_s[0])
    with benched() as bench:
        worker = bench.start()

        def fail(step_s: float) -> None:
            now_s[0] += step_s
            with pytest.raises(RuntimeError):
                got(worker.ask(RuntimeError("again")))

        for _ in range(30):
            fail(0.0016)  # Ten are within 14.4 ms, eleven within 16 ms.
        got(worker.ask("fine"))
        assert not bench.escalated
        now_s[0] += 1
        for _ in range(10):
            fail(0.0014)
        got(worker.ask("fine"))
        assert not bench.escalated
        fail(0.0001)
        now_s[0] += 1
        worker.wait(10)

        assert len(bench.escalated) == 1
        assert bench.stored == ["fine", "fine"]


@pytest.mark.parametrize(
    ("directive", "lives", "answer"),
    [
        (Directive.RESUME, ["start", "stop"], 2),
        (Directive.RESTART, ["start", "failure x", "start", "stop"], 1),
        (Directive.STOP, ["start", "failure x"], None),
        (Directive.ESCALATE, ["start", "failure x"], None),
    ],
)
def test_a_strategy_decides(
    directive: Directive, lives: list[str], answer: int | None
) -> None:
    """Resume keeps the object; stop ends it alone; the count tells which it is."""
    with benched(decider=lambda error: directive) as bench:
        worker, other = bench.start(), bench.start(name="other")
        got(worker.ask("one"))
        with pytest.raises(KeyError):
            got(worker.ask(KeyError("x")))
        if answer is None:
            worker.wait(10)
            with pytest.raises(WorkerGoneError):
                worker.ask("two")
        else:
            assert got(worker.ask("two")) == answer
        assert got(other.ask("fine")) == 1
        assert bool(bench.escalated) == (directive is Directive.ESCALATE)
        bench.supervisor.stop(10)
    # The other one starts and stops besides.
    told = [each.replace("'", "") for each in LIVES]
    assert sorted(told) == sorted([*lives, "start", "stop"])


def test_a_decider_that_raises_escalates(caplog: pytest.LogCaptureFixture) -> None:
    """The error that it was asked about isn't lost."""

    def broken(error: Exception) -> Directive:
        raise LookupError("no idea")

    with benched(decider=broken) as bench:
        worker = bench.start()
        worker.tell(ValueError("first"))
        worker.wait(10)

        assert str(bench.escalated[0][1]) == "first"
    assert "no idea" in caplog.text


class Unmade(ActorHelper):
    """Fails to begin."""

    def __init__(self, where: str) -> None:
        self.where = where
        if where == "init":
            raise RuntimeError("no init")

    def on_start(self) -> None:
        if self.where == "start":
            raise RuntimeError("no start")


@pytest.mark.parametrize("where", ["init", "start"])
def test_a_worker_that_cannot_begin_escalates(where: str) -> None:
    """It isn't made over and over: the receiver restarts, later and later."""
    with benched() as bench:
        worker = bench.start(where, kind=Unmade)
        worker.wait(10)

        assert [str(error) for _, error in bench.escalated] == [f"no {where}"]


def test_workers_are_added_by_workers_and_have_names() -> None:
    """Their own, or one made for them; statistics tell of them all."""

    def add(actor: Recorder) -> Statistics:
        actor.addWorker(Recorder, 1, name="named")
        actor.addWorker(Recorder)
        actor.store([1, 2])
        return actor.statistics()

    with benched() as bench:
        worker = bench.start()
        worker.tell(RuntimeError())
        counted = got(worker.ask(add))

        assert counted == Statistics(1, 3, 1, "it\nnamed\nRecorder-3")
        named = bench.supervisor.find("named")
        assert named is not None
        assert got(named.ask(lambda actor: actor.args)) == (1,)
        with pytest.raises(UsageError, match="named 'named' already"):
            bench.start(name="named")
        got(named.ask(lambda actor: actor.stop()))
        named.wait(10)
        assert bench.supervisor.find("named") is None
        bench.start(name="named")


def test_what_was_sent_before_the_end_is_handled() -> None:
    """Also what nobody waits for."""
    with benched() as bench:
        worker, gate = bench.start(), threading.Event()
        worker.tell(lambda actor: gate.wait(10))
        for number in range(5):
            worker.tell(number)
        worker.stop()
        gate.set()
        bench.supervisor.stop(10)

        assert bench.stored == list(range(5))
        with pytest.raises(WorkerGoneError, match="receiver ends"):
            bench.start(name="late")


def test_a_worker_that_does_not_end_holds_nobody_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The wait is bounded, and who waits for its answer hears of it."""
    release = threading.Event()
    bench = Bench(OneForOneStrategy())
    worker = bench.start()
    stuck = worker.ask(lambda actor: release.wait(10))
    bench.supervisor.stop(0.05)

    with pytest.raises(WorkerGoneError):
        got(stuck)
    assert "didn't end worker=it" in caplog.text
    release.set()
    worker.wait(10)


def test_a_store_that_fails_is_the_actors_failure() -> None:
    """It escalates, as nothing may be lost in silence."""

    def refuse(data: Any) -> None:
        raise SparkError("no room")

    bench = Bench(OneForOneStrategy())
    bench.supervisor._store = refuse
    worker = bench.start()
    with pytest.raises(SparkError, match="no room"):
        got(worker.ask("x"))
    worker.wait(10)
    bench.supervisor.stop(10)

    assert len(bench.escalated) == 1
    assert bench.supervisor.statistics().numberOfMsgs == 0
