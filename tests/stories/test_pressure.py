"""Stories of more data than can be processed: receivers are slowed, and nothing is lost."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from millstream.engine.base.clock import ManualClock
from millstream.engine.base.errors import SparkError
from millstream.engine.base.levels import StorageLevel
from millstream.engine.streams.scheduler import JobScheduler
from millstream.streaming.receiver import Receiver
from millstream.testing import StreamHarness

LIMIT_S = 20.0


class Place:
    """What receivers and outputs, which are copies, share with the test."""

    def __init__(self) -> None:
        self.up = threading.Event()
        self.tap: Receiver[Any] | None = None
        self.wall = ManualClock(1)
        self.takes_ms = 0
        self.gate = threading.Event()
        self.gate.set()
        self.stored = 0
        self.changed = threading.Condition()


PLACE = Place()


class Tap(Receiver[Any]):
    """Stores what the test stores."""

    def __init__(self) -> None:
        super().__init__(StorageLevel.MEMORY_ONLY)

    def onStart(self) -> None:
        """Let the test find it."""
        PLACE.tap = self
        PLACE.up.set()

    def onStop(self) -> None:
        """Do nothing."""


class Eager(Tap):
    """Stores numbers, as many as it may."""

    def onStart(self) -> None:
        """Begin, in a thread."""
        super().onStart()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while not self.isStopped():
            try:
                self.store(PLACE.stored)
            except SparkError:
                assert self.isStopped()
                return
            with PLACE.changed:
                PLACE.stored += 1
                PLACE.changed.notify_all()


@pytest.fixture(autouse=True)
def _fresh_place() -> Iterator[None]:
    PLACE.__init__()  # type: ignore[misc]
    yield
    PLACE.gate.set()


def work(_rdd: Any) -> None:
    """Be an output that takes its time, on the wall clock; and waits at the gate."""
    assert PLACE.gate.wait(LIMIT_S)
    PLACE.wall.advance_ms(PLACE.takes_ms)


def setup(h: StreamHarness, receiver: type[Tap] = Tap) -> None:
    """Collect what the receiver stores, and be slow."""
    stream = h.ssc.receiverStream(receiver())
    h.collect(stream, "out")
    stream.foreachRDD(work)


def setup_eager(h: StreamHarness) -> None:
    """As `setup`, with a receiver that never rests."""
    setup(h, Eager)


def begun(h: StreamHarness) -> Receiver[Any]:
    """Start; processing times are those of a wall clock in the test's hand."""
    PLACE.up.clear()
    h._start()
    assert PLACE.up.wait(LIMIT_S)
    scheduler_of(h)._wall = PLACE.wall  # type: ignore[assignment]
    assert PLACE.tap is not None
    return PLACE.tap


def scheduler_of(h: StreamHarness) -> JobScheduler:
    """Return the scheduler of a harness that has started."""
    assert h.ssc._scheduler is not None
    return h.ssc._scheduler


def until(condition: Callable[[], bool]) -> None:
    """Wait for what other threads do."""
    pause = threading.Event()
    for _ in range(int(LIMIT_S / 0.002)):
        if condition():
            return
        pause.wait(0.002)
    pytest.fail("it never came true")


def limit(h: StreamHarness) -> float:
    """Return the receiver's limit, once everything that is known has been published."""
    told = threading.Event()
    loop = scheduler_of(h)._rates._loop
    if loop is not None:
        loop.post(told.set)
        assert told.wait(LIMIT_S)
    return h.ssc.metrics()["millstream.receiver.0.rateLimit"]


def let_in(h: StreamHarness, expected: int, step_ms: int) -> None:
    """Let time pass, `step_ms` a record; no more records come in, and no fewer."""
    for number in range(PLACE.stored + 1, expected + 1):
        h.clock.advance_ms(step_ms)
        with PLACE.changed:
            assert PLACE.changed.wait_for(lambda n=number: PLACE.stored >= n, LIMIT_S)  # type: ignore[misc]
    assert PLACE.stored == expected


def run_one(h: StreamHarness, records: int, takes_ms: int) -> None:
    """Run a batch of so many records, which takes so long."""
    assert PLACE.tap is not None
    PLACE.takes_ms = takes_ms
    PLACE.tap.store(list(range(records)))
    h.run(1)


# The static limit.


def test_no_more_than_the_configured_rate_comes_in() -> None:
    """A record each 100 ms at 10 a second, whatever the receiver would like."""
    conf = {"spark.streaming.receiver.maxRate": "10"}
    with StreamHarness(conf=conf, setup=setup_eager) as h:
        begun(h)
        assert limit(h) == 10
        let_in(h, 25, step_ms=100)
        h.run(1)

    records = [r for batch in h.output("out").records for r in batch]
    assert records[:25] == list(range(25))


@pytest.mark.parametrize("rate", ["0", "-1"])
def test_no_positive_rate_is_no_limit(rate: str) -> None:
    """As Spark's guide says; the gauge says -1."""
    with StreamHarness(
        conf={"spark.streaming.receiver.maxRate": rate}, setup=setup
    ) as h:
        begun(h)

        assert limit(h) == -1


@pytest.mark.parametrize(
    ("conf", "expected"),
    [
        ({"backpressure.enabled": "true", "backpressure.initialRate": "20"}, 20),
        (
            {
                "backpressure.enabled": "true",
                "backpressure.initialRate": "20",
                "receiver.maxRate": "5",
            },
            5,
        ),
        ({"backpressure.enabled": "true", "receiver.maxRate": "7"}, 7),
        ({"backpressure.initialRate": "20"}, -1),
    ],
)
def test_the_rate_before_the_first_estimate(
    conf: dict[str, str], expected: int
) -> None:
    """The initial one, below the configured one; only if an estimate will follow."""
    keys = {f"spark.streaming.{key}": value for key, value in conf.items()}
    with StreamHarness(conf=keys, setup=setup) as h:
        begun(h)

        assert limit(h) == expected


# Back-pressure.

PRESSURE = {
    "spark.streaming.backpressure.enabled": "true",
    "spark.streaming.backpressure.pid.minRate": "4",
}


def test_slow_batches_slow_the_receiver() -> None:
    """The estimate is published, and the receiver stores at that rate."""
    with StreamHarness(conf=PRESSURE, setup=setup) as h:
        begun(h)
        run_one(h, 600, takes_ms=1000)
        assert limit(h) == -1  # The first batch only sets the rate.
        run_one(h, 600, takes_ms=1200)
        assert limit(h) == 500
        run_one(h, 100, takes_ms=10_000)
        assert limit(h) == 10
        run_one(h, 100, takes_ms=100_000)
        assert limit(h) == 4  # Never below minRate.
        run_one(h, 600, takes_ms=1000)
        assert limit(h) == 600  # And up again.


def test_a_receiver_stores_at_the_rate_that_was_published() -> None:
    """Single records wait for it; blocks, which a receiver makes itself, don't."""
    with StreamHarness(conf=PRESSURE, setup=setup) as h:
        tap = begun(h)
        run_one(h, 100, takes_ms=1000)
        run_one(h, 100, takes_ms=50_000)
        assert limit(h) == 4
        before_ms = h.clock.now_ms()
        storing = threading.Thread(target=lambda: tap.storeMany([0] * 3))
        storing.start()
        for _ in range(3):
            assert storing.is_alive()
            until(lambda: _waits_for_its_turn(h))
            h.clock.advance_ms(250)
        storing.join(LIMIT_S)

        assert not storing.is_alive()
        assert h.clock.now_ms() - before_ms == 750


def _waits_for_its_turn(h: StreamHarness) -> bool:
    return h.clock.wait_until_someone_waits(
        0, lambda due: any(t % 1000 in (250, 500, 750) for t in due)
    )


def test_a_limit_that_is_set_by_hand_and_removed_leaves_the_estimate() -> None:
    """Below it the limit holds; a life that is launched later has the same."""
    with StreamHarness(conf=PRESSURE, setup=setup) as h:
        tap = begun(h)
        run_one(h, 100, takes_ms=1000)
        run_one(h, 100, takes_ms=2000)
        scheduler = scheduler_of(h)
        scheduler.limit_input(0, 20)
        limited = limit(h)
        removed = scheduler.unlimit_input(0)
        assert (limited, removed, limit(h)) == (20, True, 50)
        assert not scheduler.unlimit_input(0)
        PLACE.up.clear()
        tap.stop("once more")
        while not PLACE.up.wait(0.005):
            h.clock.advance_ms(50)

        assert limit(h) == 50


def test_a_limit_that_was_removed_is_not_found_by_a_later_life() -> None:
    """Without back-pressure there is none."""
    with StreamHarness(setup=setup) as h:
        tap = begun(h)
        scheduler_of(h).limit_input(0, 20)
        scheduler_of(h).unlimit_input(0)
        PLACE.up.clear()
        tap.stop("once more")
        while not PLACE.up.wait(0.005):
            h.clock.advance_ms(50)

        assert PLACE.tap is not tap
        assert limit(h) == -1


def test_a_receiver_that_is_launched_again_keeps_its_rate() -> None:
    """It doesn't flood a stream that is known to be slow."""
    with StreamHarness(conf=PRESSURE, setup=setup) as h:
        tap = begun(h)
        run_one(h, 100, takes_ms=1000)
        run_one(h, 100, takes_ms=2000)
        assert limit(h) == 50
        PLACE.up.clear()
        tap.stop("once more")
        while not PLACE.up.wait(0.005):
            h.clock.advance_ms(50)

        assert PLACE.tap is not tap
        assert limit(h) == 50


def test_batches_that_run_again_tell_nothing_of_the_rate(tmp_path: Path) -> None:
    """They have no input infos: what was received long ago says nothing of now."""
    conf = {**PRESSURE, "spark.streaming.receiver.writeAheadLog.enable": "true"}
    with StreamHarness(checkpoint=str(tmp_path), conf=conf, setup=setup) as h:
        begun(h)
        run_one(h, 100, takes_ms=1000)
        run_one(h, 100, takes_ms=2000)
        assert limit(h) == 50
        h.crash()
        h.restart()
        begun(h)
        h.run(1)
        assert h.output("out").times_ms == [1000, 2000, 2000, 3000]
        assert scheduler_of(h)._rates.latest == {}
        run_one(h, 100, takes_ms=1000)
        assert limit(h) == -1  # It is the first one again.
        run_one(h, 100, takes_ms=2000)

        assert limit(h) == 50


# Batches that wait.


def held_back(h: StreamHarness, batches: int) -> None:
    """Let so many batches come due while the gate is closed."""
    PLACE.gate.clear()
    for _ in range(batches):
        h.clock.advance_ms(1000)
        until(lambda: _due_count(h) >= h.clock.now_ms() // 1000)


def _due_count(h: StreamHarness) -> float:
    gauges = h.ssc.metrics()
    return (
        gauges["streaming.totalCompletedBatches"]
        + gauges["streaming.unprocessedBatches"]
        + gauges["millstream.heldBackBatches"]
    )


def in_background(work: Callable[[], None]) -> threading.Thread:
    """Start a thread."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_receivers_wait_while_too_many_batches_do(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Two wait, the rest is held back; it is told once; nothing is lost; it goes on."""
    with StreamHarness(setup=setup) as h:
        tap = begun(h)
        tap.store([1])
        held_back(h, 6)
        gauges = h.ssc.metrics()
        storing = in_background(lambda: tap.store([2]))
        single = in_background(lambda: tap.store(3))
        for thread in (storing, single):
            thread.join(0.03)
            assert thread.is_alive(), "it should wait"
        told_before = caplog.text.count("so receivers have to")
        PLACE.gate.set()
        assert scheduler_of(h).wait_until_processed(6000, LIMIT_S)
        for thread in (storing, single):
            thread.join(LIMIT_S)
            assert not thread.is_alive()
        h.run(1)
        held_back(h, 5)
        PLACE.gate.set()
        assert scheduler_of(h).wait_until_processed(12_000, LIMIT_S)

        assert gauges["streaming.unprocessedBatches"] == 3
        assert gauges["streaming.waitingBatches"] == 2
        assert gauges["millstream.heldBackBatches"] == 3
        assert told_before == caplog.text.count("so receivers have to") == 1
        out = h.output("out")
        assert out.times_ms == [1000 * n for n in range(1, 13)]
        assert sorted(r for batch in out.records for r in batch) == [1, 2, 3]


def test_any_number_of_batches_may_wait_as_in_spark() -> None:
    """With the bound at 0 nothing is held back, and receivers go on."""
    conf = {"spark.millstream.waitingBatches.max": "0"}
    with StreamHarness(conf=conf, setup=setup) as h:
        tap = begun(h)
        held_back(h, 8)
        tap.store([1])
        gauges = h.ssc.metrics()
        PLACE.gate.set()
        h.run(1)

        assert gauges["streaming.unprocessedBatches"] == 8
        assert gauges["millstream.heldBackBatches"] == 0
        assert h.output("out").records[-1] == [1]


@contextmanager
def ticking(h: StreamHarness) -> Iterator[None]:
    """Let time pass by itself, as it does outside of tests."""
    ended = threading.Event()

    def tick() -> None:
        while not ended.wait(0.002):
            h.clock.advance_ms(100)

    thread = in_background(tick)
    try:
        yield
    finally:
        ended.set()
        thread.join(LIMIT_S)


def test_a_graceful_stop_while_held_back_loses_nothing() -> None:
    """What was acknowledged is in one batch; who still waits to store is answered."""
    taken: list[Any] = []
    refused: list[Any] = []
    with StreamHarness(setup=setup) as h:
        tap = begun(h)

        def store(data: Any) -> None:
            try:
                tap.store(data)
            except SparkError:
                refused.append(data)
            else:
                taken.extend(data if isinstance(data, list) else [data])

        store([1])
        held_back(h, 2)
        store([2])
        store(3)
        held_back(h, 6)
        waiting = [in_background(lambda d=d: store(d)) for d in ([4, 5], 6)]  # type: ignore[misc]
        with ticking(h):
            stopping = in_background(
                lambda: h.ssc.stop(stopSparkContext=False, stopGraceFully=True)
            )
            for thread in waiting:
                thread.join(LIMIT_S)
                assert not thread.is_alive(), "a stop answers who waits"
            PLACE.gate.set()
            stopping.join(LIMIT_S)
            assert not stopping.is_alive()

        out = h.output("out")
        assert sorted(r for batch in out.records for r in batch) == sorted(taken)
        assert {1, 2, 3} <= set(taken)
        assert len(taken) + sum(2 if isinstance(r, list) else 1 for r in refused) == 6
        assert out.times_ms == sorted(set(out.times_ms))


@pytest.mark.slow
def test_a_graceful_stop_while_held_back_ends_though_nothing_moves(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """After its limit it is an immediate one, and the log says what to raise."""
    conf = {"spark.streaming.gracefulStopTimeout": "100ms"}
    with StreamHarness(conf=conf, setup=setup) as h:
        tap = begun(h)
        tap.store([1])
        held_back(h, 8)
        with ticking(h):
            stopping = in_background(
                lambda: h.ssc.stop(stopSparkContext=False, stopGraceFully=True)
            )
            stopping.join(LIMIT_S)
            assert not stopping.is_alive()
        PLACE.gate.set()

        assert "raise spark.streaming.gracefulStopTimeout" in caplog.text
        assert "jobs of a stopped stream still run" in caplog.text
