"""Tests of engine/workers/queueing.py: a task reports once, or never."""

from threading import Event

import pytest

from millstream.engine.base.errors import IllegalStateError
from millstream.engine.workers.protocol import (
    Broken,
    Done,
    Ending,
    Lost,
    StageBody,
    TaskOrder,
)
from millstream.engine.workers.queueing import TaskQueue, Ticket


class Hand:
    """An executor that does what the test says."""

    def __init__(self) -> None:
        self.ticket: Ticket | None = None


class Hands(TaskQueue[Hand]):
    """A queue of such; notes what is asked of it."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.hands = [Hand() for _ in range(count)]
        self.begun: list[str] = []
        self.ended = Event()
        self.error: OSError | None = None

    def _executors(self) -> list[Hand]:
        return self.hands

    def _is_ready(self, executor: Hand) -> bool:
        return executor in self.hands

    def _begin(self, executor: Hand, ticket: Ticket) -> None:
        self.begun.append(ticket.order.title)
        if self.error is not None:
            raise self.error

    def _end(self, executor: Hand) -> None:
        self.ended.set()

    def end(self, hand: Hand, ticket: Ticket, ending: Ending) -> None:
        """Say how a task ended."""
        self._settle(hand, ticket, ending)

    def close(self) -> None:
        """Take no more."""
        self._is_closed.set()


def order(title: str, timeout_s: float | None = None) -> TaskOrder:
    """Return a task."""
    return TaskOrder(StageBody("stage", b""), b"", title, timeout_s)


def test_tasks_begin_in_their_order_as_executors_get_free() -> None:
    """One at a time each."""
    queue, heard = Hands(2), list[Ending]()
    for title in "abcd":
        queue.submit(order(title), heard.append)
    assert queue.begun == ["a", "b"]
    first = queue.hands[0]
    assert first.ticket is not None
    queue.end(first, first.ticket, Done(b"a"))

    assert queue.begun == ["a", "b", "c"]
    assert heard == [Done(b"a")]


def test_what_is_said_late_of_a_task_is_not_heard() -> None:
    """The executor fell silent, lost it, and speaks again: it may have another one."""
    queue, heard = Hands(1), list[Ending]()
    old = queue.submit(order("old"), heard.append)
    hand = queue.hands[0]
    queue.end(hand, old, Lost("silence", is_own_doing=False))
    new = queue.submit(order("new"), heard.append)
    queue.end(hand, old, Done(b"old"))

    assert heard == [Lost("silence", is_own_doing=False)]
    assert hand.ticket is new


def test_a_task_that_is_cancelled_never_reports() -> None:
    """Waiting or running; a running one takes its executor along."""
    queue, heard = Hands(1), list[Ending]()
    running = queue.submit(order("running"), heard.append)
    waiting = queue.submit(order("waiting"), heard.append)
    waiting.cancel()
    assert not queue.ended.is_set()
    running.drop()
    assert not queue.ended.is_set()
    running.cancel()
    assert queue.ended.is_set()
    queue.end(queue.hands[0], running, Lost("killed", is_own_doing=False))

    assert heard == []
    assert queue.begun == ["running"]


def test_a_task_that_takes_too_long_is_its_own_fault() -> None:
    """It is ended, and told with the setting."""
    queue, heard = Hands(1), list[Ending]()
    ticket = queue.submit(order("long", 0.01), heard.append)
    assert queue.ended.wait(10)
    queue.end(queue.hands[0], ticket, Lost("killed", is_own_doing=False))

    reason = "it took longer than 0.01 s (spark.task.timeout)"
    assert heard == [Lost(reason, is_own_doing=True)]


def test_a_task_that_cannot_be_handed_over_is_told() -> None:
    """And its executor is free for the next one."""
    queue, heard = Hands(1), list[Ending]()
    queue.error = OSError("no room")
    queue.submit(order("large"), heard.append)

    assert heard == [Broken("a task's input can't be handed over: no room")]
    assert queue.hands[0].ticket is None


def test_a_closed_queue_takes_nothing() -> None:
    """It says what to do instead."""
    queue = Hands(1)
    queue.close()

    with pytest.raises(IllegalStateError, match="stopped"):
        queue.submit(order("late"), lambda _: None)
