"""Tests of engine/ingest/hosted.py and host.py: a receiver apart, over calls that fail."""

import itertools
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, ClassVar

import pytest

from millstream.engine.base import frames
from millstream.engine.base.clock import SystemClock
from millstream.engine.base.config import Settings
from millstream.engine.base.errors import SparkError
from millstream.engine.base.levels import StorageLevel
from millstream.engine.durable.block_store import BlockStore
from millstream.engine.ingest import hosted
from millstream.engine.ingest.block_handler import BlockHandler, StoredBlock
from millstream.engine.ingest.host import Launch, ReceiverHost
from millstream.engine.ingest.hosted import HostedSupervisor
from millstream.engine.ingest.receiver import Receiver
from millstream.engine.workers.receiver_hosting import HostLost, HostOrder

WAIT_S = 30


class Tap(Receiver[Any]):
    """Does nothing by itself: a test stores through it."""

    live: ClassVar[list["Tap"]] = []
    changed: ClassVar[threading.Condition] = threading.Condition()

    def __init__(self) -> None:
        super().__init__(StorageLevel.MEMORY_ONLY)

    def onStart(self) -> None:
        """Let the test find it."""
        with Tap.changed:
            Tap.live.append(self)
            Tap.changed.notify_all()

    def onStop(self) -> None:
        """Do nothing."""


class Wire:
    """A host in this process, behind calls of which a seeded dice loses some."""

    starting_max_s = 30.0
    silence_max_s = 30.0

    def __init__(self, order: HostOrder, loss: float, seed: int) -> None:
        program = frames.loads_function(order.program)
        self.left = threading.Event()
        self.host = ReceiverHost(program.launch, self.left.set)
        self._loss = loss
        self._dice = random.Random(seed)
        self._futures: list[Future[bytes]] = []
        self._lock = threading.RLock()  # Who hears of an answer may poll again.
        self._threads: list[threading.Thread] = []

    def poll(self, data: bytes) -> "Future[bytes]":
        """Answer on a thread; or lose the poll, or its answer, or do it twice."""
        future: Future[bytes] = Future()
        with self._lock:
            self._futures.append(future)
            throws = [self._dice.random() < self._loss for _ in range(3)]
        thread = threading.Thread(target=self._call, args=(future, data, throws))
        self._threads.append(thread)
        thread.start()
        return future

    def _call(self, future: "Future[bytes]", data: bytes, throws: list[bool]) -> None:
        loses_poll, loses_answer, repeats = throws
        if loses_poll:
            self._settle(future, ConnectionError("the poll was lost"))
            return
        if repeats:
            again = threading.Thread(target=self.host.poll, args=(data,))
            self._threads.append(again)
            again.start()
        answer = self.host.poll(data)
        lost = ConnectionError("the answer was lost")
        self._settle(future, lost if loses_answer else answer)

    def _settle(self, future: "Future[bytes]", outcome: bytes | Exception) -> None:
        with self._lock:
            if future.done():
                return
            if isinstance(outcome, bytes):
                future.set_result(outcome)
            else:
                future.set_exception(outcome)

    def die(self, reason: str) -> None:
        """Be lost, as a process that is killed."""
        with self._lock:
            waiting = [each for each in self._futures if not each.done()]
        for each in waiting:
            self._settle(each, HostLost(reason))

    def end(self) -> None:
        """Do nothing: the threads are this process's."""

    def join(self) -> None:
        """Let the host retire, and wait for all its threads."""
        self.host._retire("the test is over")
        assert self.left.wait(WAIT_S)
        for thread in self._threads:
            thread.join(WAIT_S)
        self.host._commands.stop()


class Owner:
    """Hears what a tracker would, and takes blocks unless told otherwise."""

    def __init__(self) -> None:
        self.told: list[tuple[str, ...]] = []
        self.blocks: list[StoredBlock] = []
        self.metadata: list[Any] = []
        self.takes = True

    def register(
        self, stream_id: int, name: str, location: str = "", executor_id: str = ""
    ) -> bool:
        """Note it."""
        del stream_id, location, executor_id
        self.told.append(("started", name))
        return True

    def deregister(self, stream_id: int, message: str, error: str) -> None:
        """Note it."""
        del stream_id
        self.told.append(("stopped", message, error))

    def report_error(self, stream_id: int, message: str, error: str) -> None:
        """Note it."""
        del stream_id, error
        self.told.append(("error", message))

    def add_block(self, stream_id: int, stored: StoredBlock, metadata: Any) -> bool:
        """Note it."""
        del stream_id
        if self.takes:
            self.blocks.append(stored)
            self.metadata.append(metadata)
        return self.takes


class Bench:
    """One life of a receiver apart, in this process."""

    def __init__(
        self, path: Path, *, loss: float = 0.0, seed: int = 0, **conf: str
    ) -> None:
        Tap.live.clear()
        self.owner = Owner()
        self.store = BlockStore(1 << 20, path)
        clock = SystemClock()
        handler = BlockHandler(self.store, clock, itertools.count(1))
        self.wires: list[Wire] = []

        def start(order: HostOrder) -> Wire:
            self.wires.append(Wire(order, loss, seed))
            return self.wires[-1]

        data = frames.dumps_function(Tap())
        launch = Launch(3, 17, data, Settings(conf), "somewhere")
        self.supervisor = HostedSupervisor(launch, self.owner, handler, clock, start)
        self.outcome: list[BaseException | None] = []
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        self.outcome.append(self.supervisor.run(until=lambda: False))

    def tap(self) -> Tap:
        """Return the receiver, when it has started."""
        with Tap.changed:
            assert Tap.changed.wait_for(lambda: Tap.live, WAIT_S)
        return Tap.live[-1]

    def records(self) -> list[list[Any]]:
        """Return the blocks that were noted, in order."""
        found = [self.store.get_frozen(each.block_id) for each in self.owner.blocks]
        return [list(each.thaw()) for each in found if each is not None]

    def end(self) -> BaseException | None:
        """Wait for the end, and return the error."""
        self.thread.join(WAIT_S)
        (error,) = self.outcome
        return error

    def close(self) -> None:
        """Stop what runs."""
        self.supervisor.stop_soon("over")
        self.thread.join(WAIT_S)
        for each in self.wires:
            each.join()


@pytest.fixture
def bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Bench]]:
    """Return a function that starts a receiver."""
    monkeypatch.setattr(hosted, "_LOOK_S", 0.02)  # Lost calls are repeated then.
    made: list[Bench] = []

    def start(**options: Any) -> Bench:
        made.append(Bench(tmp_path, **options))
        return made[-1]

    yield start
    for each in made:
        each.close()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.slow
def test_each_block_is_noted_once_though_calls_are_lost(
    bench: Callable[..., Bench], seed: int
) -> None:
    """Whatever gets lost or comes twice; and a stop stores what was handed over."""
    made = bench(loss=0.1, seed=seed)
    tap = made.tap()
    for number in range(15):
        tap.store([number, ["mutable"]], metadata=number)
        assert len(made.owner.blocks) == number + 1, "it is noted when `store` returns"
    tap.store("single")
    made.supervisor.stop_soon("Stopped by driver")

    assert made.end() is None
    assert made.records() == [[n, ["mutable"]] for n in range(15)] + [["single"]]
    assert made.owner.metadata == [*range(15), None]
    assert made.owner.told == [
        ("started", "Tap-3"),
        ("stopped", "Stopped by driver", ""),
    ]


def test_ids_of_blocks_have_the_epoch(bench: Callable[..., Bench]) -> None:
    """No two lives make the same."""
    made = bench()
    made.tap().store([1])
    made.tap().store("text")
    made.supervisor.cut_singles()

    first, second = (each.block_id for each in made.owner.blocks)
    assert first == "input-3-17-0"
    assert second.startswith("input-3-")
    assert second.endswith("-17-1")


def test_a_refused_block_is_told_to_who_stores_it(bench: Callable[..., Bench]) -> None:
    """And it isn't kept."""
    made = bench()
    made.owner.takes = False

    with pytest.raises(SparkError, match="Failed to add block to receiver tracker"):
        made.tap().store([1])
    assert not made.store.contains("input-3-17-0")


def test_who_stores_waits_while_paused(bench: Callable[..., Bench]) -> None:
    """And goes on afterwards."""
    made = bench()
    tap = made.tap()
    made.supervisor.pause()
    made.supervisor.cut_singles()  # Followed in order: it is paused now.
    stored = threading.Event()

    def store() -> None:
        tap.store([1])
        stored.set()

    storing = threading.Thread(target=store)
    storing.start()
    assert not stored.wait(0.05)
    made.supervisor.resume()

    assert stored.wait(WAIT_S)
    storing.join()


def test_the_rate_in_force_is_known(bench: Callable[..., Bench]) -> None:
    """Here as there, and never over the configured one."""
    made = bench(**{"spark.streaming.receiver.maxRate": "1000"})
    supervisor = made.tap()._attached()
    made.supervisor.update_rate(500)
    made.supervisor.cut_singles()

    assert made.supervisor.rate_per_second == supervisor.rate_per_second == 500
    made.supervisor.update_rate(5000)
    assert made.supervisor.rate_per_second == 1000
    made.supervisor.update_rate(500)
    made.supervisor.update_rate(None)
    made.supervisor.cut_singles()
    assert made.supervisor.rate_per_second == supervisor.rate_per_second == 1000


def test_a_host_that_dies_has_stopped_with_an_error(
    bench: Callable[..., Bench],
) -> None:
    """The owner hears of it, by the receiver's name and how it ended."""
    made = bench()
    made.tap().store([1])
    made.wires[0].die("its process was killed (SIGKILL)")

    error = made.end()
    assert isinstance(error, SparkError)
    told = "receiver 'Tap-3' of stream 3 was lost: its process was killed (SIGKILL)"
    assert told in str(error)
    assert made.owner.told[1][:2] == ("stopped", "Tap-3 was lost")
    assert told in made.owner.told[1][2]


@pytest.mark.slow
def test_a_host_that_was_thought_dead_learns_that_it_is_old(
    bench: Callable[..., Bench],
) -> None:
    """Its receiver is stopped, and nothing that it stores is taken or acknowledged."""
    made = bench()
    tap = made.tap()
    wire = made.wires[0]
    wire.silence_max_s = 0.0

    assert "its process was silent for 0 s" in str(made.end())
    assert wire.left.wait(WAIT_S)
    assert tap.isStopped()
    with pytest.raises(SparkError, match="takes nothing of this receiver any more"):
        tap.store([1])
    assert made.owner.blocks == []
