"""Tests of engine/ingest: receivers of a program's own, supervised, on real threads."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.base.clock import ManualClock
from millstream.engine.base.errors import IllegalStateError
from millstream.engine.ingest.rate import RateLimit, TokenBucket
from millstream.streaming import StreamingListener
from millstream.streaming.receiver import Receiver
from millstream.testing import StreamHarness

EVENTS: dict[str, Any] = {}


class Scripted(Receiver[Any]):
    """Calls a function of this module in a thread when it starts."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key

    def onStart(self) -> None:
        EVENTS.setdefault("starts", []).append(self.key)
        self.thread = threading.Thread(target=EVENTS[self.key], args=(self,))
        self.thread.start()

    def onStop(self) -> None:
        EVENTS.setdefault("stops", []).append(self.key)


@pytest.fixture
def run_receiver() -> Callable[..., list[list[Any]]]:
    """Return a function that runs a receiver for some batches and returns the records."""

    def run(work: Callable[[Scripted], None], batches: int = 1) -> list[list[Any]]:
        EVENTS.clear()
        done = threading.Event()

        def wrapped(receiver: Scripted) -> None:
            work(receiver)
            done.set()

        EVENTS["work"] = wrapped
        with StreamHarness() as h:
            out = h.collect(h.ssc.receiverStream(Scripted("work")))
            h.ssc.start()
            assert done.wait(10)
            h.run(batches)
        return out.records

    return run


def test_single_records_come_in_one_block(run_receiver: Any) -> None:
    """What was stored before the batch's time is in the batch."""

    def work(receiver: Scripted) -> None:
        assert receiver.isStarted()
        assert not receiver.isStopped()
        assert receiver.streamId == 0
        assert receiver.preferredLocation is None
        for i in range(5):
            receiver.store(i)

    assert run_receiver(work, 2) == [[0, 1, 2, 3, 4], []]


def test_lists_and_generators_are_blocks_of_their_own(run_receiver: Any) -> None:
    """store(list) returns when the block is stored and noted."""

    def work(receiver: Scripted) -> None:
        receiver.store([1, 2])
        receiver.store(iter([3]))
        receiver.store((4, 5))

    (records,) = run_receiver(work)

    assert sorted(map(repr, records)) == ["(4, 5)", "1", "2", "3"]


def test_a_receiver_restarts_after_its_delay() -> None:
    """onStop, the pause, onStart; records of before are kept."""
    EVENTS.clear()
    again = threading.Event()

    def work(receiver: Scripted) -> None:
        receiver.store(len(EVENTS["starts"]))
        if len(EVENTS["starts"]) == 1:
            receiver.restart("once more", millisecond=500)
        else:
            again.set()

    EVENTS["work"] = work
    stopped = threading.Event()

    class Heard(StreamingListener):
        def onReceiverStopped(self, receiverStopped: Any) -> None:
            EVENTS.setdefault(
                "message", receiverStopped.receiverInfo().lastErrorMessage()
            )
            stopped.set()

    with StreamHarness() as h:
        h.ssc.addStreamingListener(Heard())
        out = h.collect(h.ssc.receiverStream(Scripted("work")))
        h.ssc.start()
        assert stopped.wait(10)
        while not again.wait(0.01):
            h.clock.advance_ms(100)
        h.run(2)

    assert sorted(x for batch in out.records for x in batch) == [1, 2]
    assert EVENTS["message"] == "Restarting receiver with delay 500 ms: once more"
    assert EVENTS["stops"][0] == "work"


class Failing(Receiver[Any]):
    """Fails to start the first time."""

    def onStart(self) -> None:
        EVENTS["tries"] = EVENTS.get("tries", 0) + 1
        if EVENTS["tries"] == 1:
            raise ValueError("no start")
        self.store([EVENTS["tries"]])
        EVENTS["up"].set()

    def onStop(self) -> None:
        """Nothing to stop."""


def test_a_receiver_that_fails_is_launched_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """After a short pause; the error is logged, the stream goes on."""
    EVENTS.clear()
    EVENTS["up"] = threading.Event()
    with StreamHarness() as h:
        out = h.collect(h.ssc.receiverStream(Failing()))
        h.ssc.start()
        while not EVENTS["up"].wait(0.01):
            h.clock.advance_ms(100)
        h.run(1)
        (info,) = h.ssc._scheduler.tracker.receiver_infos()  # type: ignore[union-attr]

    assert [2] in out.records
    assert info.name == "Failing-0"
    assert info.active
    assert "no start" in caplog.text


def test_errors_are_reported_and_the_receiver_goes_on(run_receiver: Any) -> None:
    """ReportError tells listeners; nothing stops."""

    def work(receiver: Scripted) -> None:
        receiver.reportError("oops", ValueError("detail"))
        receiver.store([1])

    assert run_receiver(work) == [[1]]


def test_an_unattached_receiver_says_so() -> None:
    """Before onStart there is no supervisor to ask."""
    with pytest.raises(IllegalStateError, match="has not been attached"):
        Scripted("x").store(1)


@given(
    st.floats(1, 1000),
    st.lists(st.tuples(st.integers(1, 20), st.integers(0, 300)), max_size=40),
)
def test_no_more_comes_in_than_the_rate_allows(
    rate: float, takes: list[tuple[int, int]]
) -> None:
    """Over any stretch: at most a second's burst more than rate times duration."""
    bucket, now, taken = TokenBucket(rate), 0.0, 0
    for count, pause in takes:
        now += pause
        now += bucket.wait_ms(count, now)
        taken += count
        assert taken <= rate * now / 1000 + rate + 1e-6


def test_a_limit_is_capped_and_can_change() -> None:
    """Updates stay below the configured rate; nonsense changes nothing."""
    clock = ManualClock()
    free, capped = RateLimit(0, clock), RateLimit(100, clock)
    free.take(10**9, threading.Event())
    capped.update(500)
    assert capped.per_second == 100
    capped.update(50)
    capped.update(-1)

    assert capped.per_second == 50
    assert free.per_second is None
    free.update(7)
    assert free.per_second == 7


def test_waiting_for_the_rate_ends_when_cancelled() -> None:
    """A stopped receiver doesn't hang in the limiter."""
    clock, cancelled = ManualClock(), threading.Event()
    limit = RateLimit(1, clock)
    waiter = threading.Thread(target=limit.take, args=(100, cancelled))
    waiter.start()
    assert clock.wait_until_someone_waits(10)
    clock.cancel(cancelled)
    waiter.join(10)

    assert not waiter.is_alive()
