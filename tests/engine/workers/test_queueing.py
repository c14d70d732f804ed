"""Tests of engine/workers/queueing.py: a task reports once, or never."""

from collections.abc import Sequence
from dataclasses import replace
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

    def __init__(self, number: int) -> None:
        self.number = number
        self.where = f"hand {number}"
        self.tickets: list[Ticket] = []
        self.freed_s = 0.0


class Hands(TaskQueue[Hand]):
    """A queue of such; notes what is asked of it."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.hands = [Hand(number) for number in range(count)]
        self.begun: list[str] = []
        self.given: list[int] = []
        """How many at a time."""
        self.ended = Event()
        self.error: OSError | None = None

    def _executors(self) -> list[Hand]:
        return self.hands

    def _is_ready(self, executor: Hand) -> bool:
        return executor in self.hands

    def _begin(self, executor: Hand, tickets: Sequence[Ticket]) -> None:
        self.begun += [each.order.title for each in tickets]
        self.given.append(len(tickets))
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


def order(title: str, timeout_s: float | None = None, **more: float) -> TaskOrder:
    """Return a task."""
    task = TaskOrder(StageBody("stage", b""), b"", title, timeout_s)
    return replace(task, **more)  # type: ignore[arg-type]


def ignore(_ending: Ending) -> None:
    """Hear how a task ended that doesn't matter."""


def test_tasks_begin_in_their_order_as_executors_get_free() -> None:
    """One at a time each."""
    queue, heard = Hands(2), list[Ending]()
    for title in "abcd":
        queue.submit(order(title), heard.append)
    assert queue.begun == ["a", "b"]
    first = queue.hands[0]
    queue.end(first, first.tickets[0], Done(b"a"))

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
    assert hand.tickets == [new]


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
    assert not queue.hands[0].tickets


def test_a_closed_queue_takes_nothing() -> None:
    """It says what to do instead."""
    queue = Hands(1)
    queue.close()

    with pytest.raises(IllegalStateError, match="stopped"):
        queue.submit(order("late"), lambda _: None)


def test_a_task_goes_to_the_executor_that_has_what_it_reads() -> None:
    """If that is free; else to any that is."""
    queue = Hands(3)
    near = queue.submit(order("near"), ignore)
    assert near.executor == 0
    assert queue.submit(order("to the last", near=2), ignore).executor == 2
    assert queue.submit(order("to a busy one", near=2), ignore).executor == 1


def test_a_copy_of_a_task_avoids_the_executor_of_the_first() -> None:
    """It waits for another one; but where there is no other, any will do."""
    queue = Hands(2)
    first = queue.submit(order("first"), ignore)
    queue.submit(order("other"), ignore)
    copy = queue.submit(order("copy", avoid=0), ignore)
    queue.end(queue.hands[0], first, Done(b""))
    assert copy.executor is None
    queue.end(queue.hands[1], queue.hands[1].tickets[0], Done(b""))
    assert copy.executor == 1

    assert Hands(1).submit(order("alone", avoid=0), ignore).executor == 0


def test_short_tasks_are_handed_over_several_at_a_time() -> None:
    """As many as an executor is busy with for a while, and as many to each."""
    queue = Hands(2)
    queue.depth = 32
    with queue.together():
        for _ in range(8):
            queue.submit(order("task", expected_s=0.001), ignore)
        assert queue.given == []
    assert queue.given == [4, 4]

    queue = Hands(1)
    queue.depth = 32
    with queue.together():
        for _ in range(8):
            queue.submit(order("task", expected_s=0.006), ignore)
    assert queue.given == [3]
    queue.end(queue.hands[0], queue.hands[0].tickets[0], Done(b""))
    assert queue.given == [3, 1]


def test_tasks_that_are_not_known_to_be_short_go_one_by_one() -> None:
    """Nor does one that has a time limit: it must be known when it begins."""
    queue = Hands(1)
    queue.depth = 32
    with queue.together():
        queue.submit(order("limited", timeout_s=60.0, expected_s=0.001), ignore)
        for _ in range(3):
            queue.submit(order("unknown"), ignore)
    assert queue.given == [1]
    (hand,) = queue.hands
    queue.end(hand, hand.tickets[0], Done(b""))
    # The first of the stage took no time at all: its others can't take long either.
    assert queue.given == [1, 3]


def test_a_task_that_goes_alone_waits_for_an_executor_of_its_own() -> None:
    """However short it is; and none is handed over behind it."""
    queue = Hands(1)
    queue.depth = 32
    with queue.together():
        queue.submit(order("short", expected_s=0.001), ignore)
        alone = replace(order("alone", expected_s=0.001), goes_alone=True)
        queue.submit(alone, ignore)
        queue.submit(order("after it", expected_s=0.001), ignore)
    assert queue.begun == ["short"]
    (hand,) = queue.hands
    queue.end(hand, hand.tickets[0], Done(b""))
    assert queue.begun == ["short", "alone"]


def test_what_was_handed_over_together_ends_one_by_one() -> None:
    """Each as it did; the others aren't concerned."""
    queue, heard = Hands(1), list[Ending]()
    queue.depth = 32
    with queue.together():
        for title in "abc":
            queue.submit(order(title, expected_s=0.001), heard.append)
    (hand,) = queue.hands
    assert queue.given == [3]
    first, second, third = hand.tickets
    queue.end(hand, second, Broken("b"))
    third.cancel()
    queue.end(hand, third, Lost("c", is_own_doing=False))
    queue.end(hand, first, Done(b"a"))

    assert heard == [Broken("b"), Done(b"a")]
    assert queue.ended.is_set()
    assert not hand.tickets
