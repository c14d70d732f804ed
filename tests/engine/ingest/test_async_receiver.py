"""Tests of ingest/async_receiver.py: coroutines that receive, on real event loops."""

import asyncio
import contextlib
import itertools
import logging
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import pytest

from millstream.engine.base import frames
from millstream.engine.base.clock import ManualClock
from millstream.engine.base.config import Settings
from millstream.engine.base.errors import SparkError
from millstream.engine.base.levels import StorageLevel
from millstream.engine.ingest import async_receiver
from millstream.engine.ingest.block_handler import StoredBlock
from millstream.engine.ingest.supervisor import ReceiverSupervisor
from millstream.engine.plan.partitions import FrozenText
from millstream.streaming.receiver import AsyncReceiver, Store
from millstream.testing import StreamHarness

Work = Callable[["Scripted", Store], Awaitable[None]]


class Scripted(AsyncReceiver[Any]):
    """Runs a coroutine of a test."""

    def __init__(self, work: Work) -> None:
        super().__init__()
        self.work = work
        self.cancelled = threading.Event()

    async def run(self, store: Store) -> None:
        try:
            await self.work(self, store)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


class Owner:
    """Keeps what a supervisor stores and tells, in memory."""

    def __init__(self) -> None:
        self.numbers: Iterator[int] = itertools.count()
        self.stored: dict[str, list[Any]] = {}
        self.blocks: list[list[Any]] = []
        self.stops: list[tuple[str, str]] = []
        self.stopped = threading.Event()

    def register(self, stream_id: int, name: str) -> bool:
        return True

    def deregister(self, stream_id: int, message: str, error: str) -> None:
        self.stops.append((message, error.rpartition("\n")[2]))
        self.stopped.set()

    def report_error(self, stream_id: int, message: str, error: str) -> None:
        """Nothing reports errors here."""

    def storing(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def store(
        self, block_id: str, records: Sequence[Any] | FrozenText, level: StorageLevel
    ) -> StoredBlock:
        assert not isinstance(records, FrozenText), "no coroutine stores text"
        self.stored[block_id] = list(records)
        return StoredBlock(block_id, len(records), 0)

    def discard(self, block_id: str) -> None:
        del self.stored[block_id]

    def add_block(self, stream_id: int, stored: StoredBlock, metadata: Any) -> bool:
        records = self.stored[stored.block_id]
        if records == ["refused"]:
            return False
        self.blocks.append(records)
        return True


class Bench:
    """Supervised coroutines on a manual clock."""

    def __init__(self) -> None:
        self.clock, self.owner = ManualClock(), Owner()
        self.running: list[tuple[ReceiverSupervisor, threading.Thread]] = []

    def start(self, work: Work, **conf: str) -> Scripted:
        receiver = Scripted(work)
        settings = Settings({f"spark.streaming.{k}": v for k, v in conf.items()})
        supervisor = ReceiverSupervisor(
            0, receiver, self.owner, self.owner, settings, self.clock
        )
        thread = threading.Thread(target=lambda: supervisor.run(lambda: False))
        thread.start()
        self.running.append((supervisor, thread))
        return receiver

    def stop(self) -> None:
        for supervisor, thread in self.running:
            supervisor.stop("test ends")
            thread.join(10)
            supervisor.join()
            assert not thread.is_alive()


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A bench, stopped afterwards."""
    bench = Bench()
    yield bench
    bench.stop()


async def forever() -> None:
    """Wait to be cancelled."""
    await asyncio.get_running_loop().create_future()


def test_blocks_are_stored_when_store_returns(bench: Bench) -> None:
    """Lists, iterators and pickled bytes; single records when the receiver stops."""
    seen: list[list[list[Any]]] = []
    done = threading.Event()

    async def work(receiver: Scripted, store: Store) -> None:
        for data in ([1, 2], iter([3]), frames.dumps([4])):
            await store(data, metadata="any")
            seen.append(list(bench.owner.blocks))
        await store(5)
        done.set()
        await forever()

    receiver = bench.start(work)
    assert done.wait(10)
    bench.stop()

    assert seen[-1] == [[1, 2], [3], [4]]
    assert [len(blocks) for blocks in seen] == [1, 2, 3]
    assert bench.owner.blocks[-1] == [5]
    assert receiver.cancelled.is_set()
    assert bench.owner.stops == [("test ends", "")]


def test_the_loop_goes_on_while_the_rate_limit_makes_a_record_wait(
    bench: Bench,
) -> None:
    """One record a second: the second waits on the clock, and other coroutines run."""
    other_ran, done = threading.Event(), threading.Event()

    async def other() -> None:
        await asyncio.sleep(0)
        other_ran.set()

    async def work(receiver: Scripted, store: Store) -> None:
        task = asyncio.create_task(other())
        await store("a")
        await task
        done.set()
        await forever()

    bench.start(work, **{"receiver.maxRate": "1"})
    assert bench.clock.wait_until_someone_waits(10, lambda due: 1000 in due)
    assert other_ran.wait(10)
    assert not done.is_set()
    bench.clock.advance(1)

    assert done.wait(10)


def test_a_waiting_record_does_not_hold_up_the_end(bench: Bench) -> None:
    """The stop frees the thread that waits and cancels the coroutine."""

    async def work(receiver: Scripted, store: Store) -> None:
        await store("in hand")
        await forever()

    receiver = bench.start(work, **{"receiver.maxRate": "1"})
    assert bench.clock.wait_until_someone_waits(10, lambda due: 1000 in due)
    bench.stop()

    assert receiver.cancelled.is_set()
    assert bench.owner.blocks == [["in hand"]]


def test_a_coroutine_that_only_stores_can_be_cancelled(bench: Bench) -> None:
    """Each store lets the loop turn."""
    busy = threading.Event()

    async def work(receiver: Scripted, store: Store) -> None:
        while True:
            await store(0)
            busy.set()

    receiver = bench.start(work)
    assert busy.wait(10)
    bench.stop()

    assert receiver.cancelled.is_set()


@pytest.mark.parametrize(
    ("ends_with", "message", "error"),
    [
        (None, "Scripted had no more data", ""),
        (ValueError("broken"), "Error receiving data", "ValueError: broken"),
        (asyncio.CancelledError(), "Error receiving data", "CancelledError"),
    ],
)
def test_a_coroutine_that_ends_by_itself_restarts(
    bench: Bench, ends_with: BaseException | None, message: str, error: str
) -> None:
    """After the configured delay, in a new loop; with the error if there was one."""
    loops: list[Any] = []
    again = threading.Event()

    async def work(receiver: Scripted, store: Store) -> None:
        loops.append(asyncio.get_running_loop())
        if len(loops) > 1:
            again.set()
            await forever()
        if ends_with is not None:
            raise ends_with

    bench.start(work)
    assert bench.clock.wait_until_someone_waits(10, lambda due: 2000 in due)
    bench.clock.advance_ms(2000)
    assert again.wait(10)
    ((told, text),) = bench.owner.stops

    assert told == f"Restarting receiver with delay 2000 ms: {message}"
    assert error in text
    assert loops[0] is not loops[1]
    assert loops[0].is_closed()


def test_what_cannot_be_stored_raises_where_it_is_awaited(bench: Bench) -> None:
    """So the coroutine doesn't acknowledge it."""
    caught: list[BaseException] = []
    done = threading.Event()

    async def work(receiver: Scripted, store: Store) -> None:
        try:
            await store(["refused"])
        except SparkError as error:
            caught.append(error)
        done.set()
        await forever()

    bench.start(work)

    assert done.wait(10)
    assert "Failed to add block" in str(caught[0])


def test_a_coroutine_may_stop_its_receiver(bench: Bench) -> None:
    """The stop doesn't wait for the loop that it is called in."""

    async def work(receiver: Scripted, store: Store) -> None:
        await store([1])
        receiver.stop("that is all")
        await forever()

    receiver = bench.start(work)
    assert bench.owner.stopped.wait(10)
    bench.running[0][1].join(10)

    assert receiver.cancelled.wait(10)
    assert bench.owner.stops == [("that is all", "")]
    assert bench.owner.blocks == [[1]]


def test_an_error_while_cleaning_up_is_logged(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """It restarts nothing; and nothing can be stored then."""
    up = threading.Event()

    async def work(receiver: Scripted, store: Store) -> None:
        try:
            up.set()
            await forever()
        finally:
            raise ValueError("untidy")

    bench.start(work)
    assert up.wait(10)
    with caplog.at_level(logging.WARNING):
        bench.stop()

    assert "untidy" in caplog.text
    assert [message for message, _ in bench.owner.stops] == ["test ends"]


def test_a_coroutine_that_will_not_end_is_told_of(
    bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end waits a bounded time; what is stored then is refused."""
    monkeypatch.setattr(async_receiver, "_STOP_S", 0.01)
    up, ended = threading.Event(), threading.Event()
    caught: list[BaseException] = []

    async def work(receiver: Scripted, store: Store) -> None:
        up.set()
        try:
            await forever()
        finally:
            assert bench.owner.stopped.wait(10)  # Blocks its loop: don't do this.
            try:
                await store([1])
            except SparkError as error:
                caught.append(error)
            ended.set()

    bench.start(work)
    assert up.wait(10)
    bench.stop()

    assert ended.wait(10)
    assert "a coroutine didn't end" in caplog.text
    assert "has been stopped" in str(caught[0])
    assert bench.owner.blocks == []


def test_a_stop_may_come_before_the_coroutine_runs(bench: Bench) -> None:
    """Then it never does."""
    ran: list[int] = []

    async def work(receiver: Scripted, store: Store) -> None:
        ran.append(1)

    receiver = Scripted(work)
    ReceiverSupervisor(0, receiver, bench.owner, bench.owner, Settings({}), bench.clock)
    receiver.onStop()  # Nothing to stop yet.
    life = async_receiver._Life(receiver)
    life._is_stopping = True
    life.start()
    life.stop()

    assert ran == []


def test_a_store_that_is_cancelled_ends_by_itself(bench: Bench) -> None:
    """Its record comes in when the limit lets it; nobody waits for that."""
    done = threading.Event()

    async def work(receiver: Scripted, store: Store) -> None:
        task = asyncio.ensure_future(store("late"))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        done.set()
        await store("later")
        done.set()
        await forever()

    bench.start(work, **{"receiver.maxRate": "1"})
    assert done.wait(10)
    done.clear()
    assert bench.clock.wait_until_someone_waits(10, lambda due: 2000 in due)
    bench.clock.advance(2)
    assert done.wait(10)
    bench.stop()

    assert sorted(r for block in bench.owner.blocks for r in block) == ["late", "later"]


def test_run_is_to_be_overridden() -> None:
    """The base class receives nothing."""

    async def store(data: Any, metadata: Any = None) -> None:
        """Never called."""

    with pytest.raises(NotImplementedError):
        asyncio.run(AsyncReceiver[Any]().run(store))


class Counting(AsyncReceiver[int]):
    """Stores a block and two records."""

    stored = threading.Event()

    async def run(self, store: Store) -> None:
        await store([1, 2])
        await store(3)
        await store(4)
        self.stored.set()
        await forever()


def test_a_stream_of_a_coroutine() -> None:
    """It travels as other receivers do, and its records are in the batch."""
    Counting.stored.clear()
    with StreamHarness() as h:
        out = h.collect(h.ssc.receiverStream(Counting()))
        h.ssc.start()
        assert Counting.stored.wait(10)
        h.run(2)

    assert [sorted(batch) for batch in out.records] == [[1, 2, 3, 4], []]
