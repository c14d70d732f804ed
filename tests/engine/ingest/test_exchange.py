"""Tests of engine/ingest/exchange.py: all is heard once and in order, whatever gets lost."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from millstream.engine.ingest.exchange import (
    POLLS,
    POLLS_MAX,
    Answer,
    DriverEnd,
    HostEnd,
    Poll,
)

PICK = st.integers(0, 1 << 16)


class Net(RuleBasedStateMachine):
    """A driver, a host, and what is between them, which loses, repeats and delays."""

    def __init__(self) -> None:
        super().__init__()
        self.driver, self.host = DriverEnd(7), HostEnd(7)
        self.polls: list[Poll] = []
        self.held: list[int] = []
        self.answers: list[Answer] = []
        self.said: dict[str, list[int]] = {"driver": [], "host": []}
        self.heard: dict[str, list[int]] = {"driver": [], "host": []}

    @rule()
    def driver_says(self) -> None:
        self.said["driver"].append(len(self.said["driver"]))
        self.driver.say(self.said["driver"][-1])

    @rule()
    def host_says(self) -> None:
        self.said["host"].append(len(self.said["host"]))
        self.host.say(self.said["host"][-1])

    @rule()
    def driver_polls(self) -> None:
        poll = self.driver.next_poll()
        if poll is not None:
            self.polls.append(poll)

    @precondition(lambda self: self.polls)
    @rule(pick=PICK, is_repeated=st.booleans())
    def a_poll_arrives(self, pick: int, *, is_repeated: bool) -> None:
        """In any order, and perhaps not for the last time."""
        place = pick % len(self.polls)
        poll = self.polls[place] if is_repeated else self.polls.pop(place)
        self.heard["driver"] += self.host.on_poll(poll)
        self.held.append(poll.number)
        self.answer_what_must_be()

    @precondition(lambda self: self.polls)
    @rule(pick=PICK)
    def a_poll_is_lost(self, pick: int) -> None:
        self.driver.on_lost(self.polls.pop(pick % len(self.polls)).number)

    @precondition(lambda self: self.held)
    @rule(pick=PICK)
    def a_poll_was_held_for_long(self, pick: int) -> None:
        self.answers.append(self.host.answer(self.held.pop(pick % len(self.held))))

    @precondition(lambda self: self.answers)
    @rule(pick=PICK, is_repeated=st.booleans())
    def an_answer_arrives(self, pick: int, *, is_repeated: bool) -> None:
        place = pick % len(self.answers)
        answer = self.answers[place] if is_repeated else self.answers.pop(place)
        self.heard["host"] += self.driver.on_answer(answer)

    @precondition(lambda self: self.answers)
    @rule(pick=PICK)
    def an_answer_is_lost(self, pick: int) -> None:
        self.driver.on_lost(self.answers.pop(pick % len(self.answers)).poll)

    @rule()
    def answer_what_must_be(self) -> None:
        while True:
            due = [each for each in self.held if self.host.must_answer(each)]
            if not due:
                return
            self.held.remove(due[0])
            self.answers.append(self.host.answer(due[0]))

    @invariant()
    def nothing_is_heard_twice_or_out_of_turn(self) -> None:
        for side in ("driver", "host"):
            heard = self.heard[side]
            assert heard == self.said[side][: len(heard)]
        assert len(self.driver.waiting) <= POLLS_MAX

    def teardown(self) -> None:
        """From now on nothing is lost: soon all is heard, and polls wait at the host."""
        for _ in range(10):
            self.driver_polls()
            while self.polls:
                self.a_poll_arrives(0, is_repeated=False)
            while self.answers:
                self.an_answer_arrives(0, is_repeated=False)
            if self.held:
                self.a_poll_was_held_for_long(0)
        assert self.heard == self.said
        assert self.host.unheard_count == 0


TestNet = Net.TestCase


def test_what_the_driver_says_need_not_wait_for_an_answer() -> None:
    """There is one more poll than those that wait; the host then gives back the oldest."""
    driver, host = DriverEnd(1), HostEnd(1)
    for _ in range(POLLS):
        poll = driver.next_poll()
        assert poll is not None
        host.on_poll(poll)
        assert not host.must_answer(poll.number)
    assert driver.next_poll() is None

    driver.say("stop")
    poll = driver.next_poll()
    assert poll is not None

    assert host.on_poll(poll) == ["stop"]
    assert [host.must_answer(each) for each in (1, 2, 3)] == [True, False, False]


def test_one_answer_has_all_that_was_said() -> None:
    """The oldest poll gets it, and the next is held."""
    driver, host = DriverEnd(1), HostEnd(1)
    for _ in range(POLLS):
        poll = driver.next_poll()
        assert poll is not None
        host.on_poll(poll)
    host.say("a")
    host.say("b")

    assert host.must_answer(1)
    assert driver.on_answer(host.answer(1)) == ["a", "b"]
    assert not host.must_answer(2)


def test_what_an_old_epoch_says_is_not_heard() -> None:
    """And its host learns that it is old."""
    old, host, new = DriverEnd(1), HostEnd(1), DriverEnd(2)
    poll = old.next_poll()
    assert poll is not None
    host.on_poll(poll)
    host.say("a block")

    assert new.on_answer(host.answer(1)) == []
    newer = new.next_poll()
    assert newer is not None
    assert host.on_poll(newer) == []
    assert host.is_old
    assert host.must_answer(newer.number)
