"""Tests of engine/sources/actor/workers.py: the mailbox, restarts, and hooks."""

import threading
from typing import Any

import pykka
import pytest
from tests.engine.sources.working import LIVES, Recorder, benched, got

from millstream.engine.base.errors import PySparkTypeError
from millstream.engine.sources.actor.workers import ActorHelper


@pytest.fixture(autouse=True)
def _new_lives() -> None:
    LIVES.clear()


def test_messages_are_handled_in_order() -> None:
    """On the worker's own thread; the answer is what `on_receive` returns."""
    with benched() as bench:
        worker = bench.start(1, 2)
        for number in range(3):
            worker.tell(number)
        assert got(worker.ask("last")) == 4
        assert got(worker.ask_all(["a", "b"])) == 6
        threads = got(worker.ask(lambda actor: threading.current_thread()))

        assert bench.stored == [0, 1, 2, "last", "a", "b"]
        assert threads is not threading.current_thread()
        assert got(worker.ask(lambda actor: actor.args)) == (1, 2)
        assert got(worker.ask(lambda actor: actor.actor_ref)) is worker
        assert not got(worker.ask(lambda actor: actor.isStopped()))
    assert LIVES == ["start", "stop"]


def test_a_restart_keeps_the_mailbox_and_the_reference() -> None:
    """The object is new, made with the same arguments; the others' messages aren't lost."""
    with benched() as bench:
        worker = bench.start("arg")
        worker.tell("before")
        failed = worker.ask(RuntimeError("once"))
        after = worker.ask("after")

        with pytest.raises(RuntimeError, match="once"):
            got(failed)
        assert got(after) == 1
        assert got(worker.ask(lambda actor: actor.args)) == ("arg",)
        assert bench.stored == ["before", "after"]
        assert not bench.escalated
    assert LIVES == ["start", "failure once", "start", "stop"]


def test_who_gave_up_waiting_breaks_nothing() -> None:
    """A cancelled future is left alone."""
    with benched() as bench:
        worker = bench.start()
        entered, go = threading.Event(), threading.Event()

        def wait(actor: Recorder) -> None:
            entered.set()
            assert go.wait(10)

        asked = worker.ask(wait)
        assert entered.wait(10)
        assert asked.cancel()
        go.set()

        assert got(worker.ask("next")) == 1


def test_hooks_that_raise_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The worker is made anew, and ends, all the same."""

    class Bad(Recorder):
        def on_failure(self, *error: Any) -> None:
            raise LookupError("bad on_failure")

        def on_stop(self) -> None:
            raise LookupError("bad on_stop")

    with benched() as bench:
        worker = bench.start(kind=Bad)
        worker.tell(RuntimeError())
        assert got(worker.ask("fine")) == 1
    assert "bad on_failure" in caplog.text
    assert "bad on_stop" in caplog.text


def test_an_actor_of_pykka_may_be_one() -> None:
    """In whichever order its bases are."""

    class First(Recorder, pykka.ThreadingActor):  # type: ignore[misc]
        def __init__(self) -> None:
            pykka.ThreadingActor.__init__(self)
            self.count = 0

    class Second(pykka.ThreadingActor, ActorHelper):  # type: ignore[misc]
        def on_receive(self, message: Any) -> Any:
            return self.actor_ref

    with benched() as bench:
        first = bench.start(kind=First, name="first")
        second = bench.start(kind=Second, name="second")

        assert got(first.ask("a")) == 1
        assert got(second.ask("a")) is second


@pytest.mark.parametrize("kind", [int, "Recorder", Recorder(), None])
def test_other_classes_are_refused(kind: Any) -> None:
    """An actor has to be able to store."""
    with benched() as bench, pytest.raises(PySparkTypeError, match="ActorHelper"):
        bench.supervisor.start(kind, (), None)


def test_a_message_nobody_handles_is_an_error() -> None:
    """`on_receive` has to be there."""
    with benched() as bench:
        worker = bench.start(kind=ActorHelper)

        with pytest.raises(NotImplementedError, match="on_receive isn't there"):
            got(worker.ask("x"))
        assert repr(worker) == "Worker(it)"
