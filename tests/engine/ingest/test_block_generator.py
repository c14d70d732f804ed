"""Tests of ingest/block_generator.py, and of the maker and supervisor below it."""

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from millstream.engine.base import frames
from millstream.engine.base.clock import ManualClock
from millstream.engine.base.config import Settings
from millstream.engine.base.errors import SparkError
from millstream.engine.base.levels import StorageLevel
from millstream.engine.ingest.block_handler import StoredBlock
from millstream.engine.ingest.block_maker import BlockMaker
from millstream.engine.ingest.rate import RateLimit
from millstream.engine.ingest.supervisor import ReceiverSupervisor, RestartDelays
from millstream.engine.plan.partitions import FrozenText
from millstream.engine.plan.text import split_lines
from millstream.streaming.receiver import (
    BlockGenerator,
    BlockGeneratorListener,
    Receiver,
)


class Owner:
    """Keeps what a supervisor stores and tells, in memory."""

    def __init__(self) -> None:
        self.blocks: list[list[Any]] = []
        self.ids: list[str] = []
        self.metadata: list[Any] = []
        self.errors: list[str] = []
        self.stops: list[str] = []
        self.failures_left = 0
        self.refuses = False
        self.is_deaf = False
        self.registers: bool | Exception = True
        self.may_store = threading.Event()
        self.may_store.set()
        self.storing_begun = threading.Event()
        self.numbers: Iterator[int] = itertools.count()
        self.stored: dict[str, list[Any]] = {}
        self.texts: dict[str, FrozenText] = {}

    def register(self, stream_id: int, name: str) -> bool:
        if isinstance(self.registers, Exception):
            raise self.registers
        return self.registers

    def deregister(self, stream_id: int, message: str, error: str) -> None:
        self.stops.append(message)
        if self.is_deaf:
            raise OSError("tracker is gone")

    def report_error(self, stream_id: int, message: str, error: str) -> None:
        self.errors.append(message)

    def storing(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def store(
        self, block_id: str, records: Sequence[Any] | FrozenText, level: StorageLevel
    ) -> StoredBlock:
        self.storing_begun.set()
        assert self.may_store.wait(10)
        if self.failures_left:
            self.failures_left -= 1
            raise OSError("disk full")
        if isinstance(records, FrozenText):
            self.texts[block_id] = records
            records = records.thaw()
        self.stored[block_id] = list(records)
        return StoredBlock(block_id, len(records), 0)

    def discard(self, block_id: str) -> None:
        del self.stored[block_id]

    def add_block(self, stream_id: int, stored: StoredBlock, metadata: Any) -> bool:
        if self.refuses:
            return False
        self.blocks.append(self.stored[stored.block_id])
        self.ids.append(stored.block_id)
        self.metadata.append(metadata)
        return True


class Idle(Receiver[Any]):
    """Does nothing by itself; says when it is up."""

    def __init__(self) -> None:
        super().__init__()
        self.up = threading.Event()
        self.on_stop: Callable[[], None] = lambda: None

    def onStart(self) -> None:
        self.up.set()

    def onStop(self) -> None:
        self.on_stop()


class Bench:
    """A supervised receiver on a manual clock."""

    def __init__(self, conf: dict[str, str] | None = None) -> None:
        self.clock, self.owner, self.receiver = ManualClock(), Owner(), Idle()
        self.supervisor = ReceiverSupervisor(
            3, self.receiver, self.owner, self.owner, Settings(conf or {}), self.clock
        )
        self.error: BaseException | None = None
        self.thread = in_thread(self._run)

    def _run(self) -> None:
        self.error = self.supervisor.run(until=lambda: False)

    def wait_for_end(self) -> None:
        self.thread.join(10)
        self.supervisor.join()
        assert not self.thread.is_alive()


def in_thread(work: Callable[[], Any]) -> threading.Thread:
    """Start a thread."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A bench with a short queue; stopped afterwards."""
    bench = Bench({"spark.streaming.blockQueueSize": "1"})
    assert bench.receiver.up.wait(10)
    yield bench
    bench.owner.may_store.set()
    bench.supervisor.stop("test ends")
    bench.wait_for_end()


class Noting(BlockGeneratorListener):
    """A reliable receiver's listener: commits the offsets of what is stored."""

    def __init__(self, receiver: Receiver[Any]) -> None:
        self.receiver = receiver
        self.latest: Any = None
        self.added: list[Any] = []
        self.of_block: dict[str, Any] = {}
        self.committed: list[Any] = []
        self.errors: list[str] = []

    def onAddData(self, data: Any, metadata: Any) -> None:
        self.added.append(data)
        self.latest = metadata

    def onGenerateBlock(self, blockId: str) -> None:
        self.of_block[blockId] = self.latest

    def onPushBlock(self, blockId: str, records: list[Any]) -> None:
        self.receiver.store(records)
        self.committed.append(self.of_block.pop(blockId))

    def onError(self, message: str, error: BaseException) -> None:
        self.errors.append(message)


def generator_of(bench: Bench) -> tuple[BlockGenerator, Noting]:
    """Return a started generator and its listener."""
    listener = Noting(bench.receiver)
    generator = bench.receiver.createBlockGenerator(listener)
    generator.start()
    return generator, listener


def wait_for_timer(clock: ManualClock, time_ms: int) -> None:
    """Return when somebody waits for a time."""

    def is_due(due: list[int]) -> bool:
        return time_ms in due

    assert clock.wait_until_someone_waits(10, is_due)


def fill_queue(bench: Bench) -> None:
    """Store 1, 2, 3: one block is being stored, one waits, the timer has the third."""
    bench.owner.may_store.clear()
    bench.receiver.store(1)
    bench.clock.advance_ms(200)
    assert bench.owner.storing_begun.wait(10)
    for number, time_ms in ((2, 400), (3, 600)):
        wait_for_timer(bench.clock, time_ms)
        bench.receiver.store(number)
        bench.clock.advance_ms(200)
    waits = threading.Event()
    while bench.supervisor.blocks._records:
        waits.wait(0.001)


# Blocks and their queue.


def test_finished_blocks_wait_and_the_timer_with_them(bench: Bench) -> None:
    """One is being stored, one waits, a third makes the timer wait; none is lost."""
    fill_queue(bench)
    bench.receiver.store(4)  # The receiver itself doesn't wait.
    assert not bench.owner.blocks
    bench.owner.may_store.set()
    bench.supervisor.stop("enough")

    assert bench.owner.blocks == [[1], [2], [3], [4]]
    assert len(set(bench.owner.ids)) == 4


def test_cut_returns_when_all_that_came_before_is_stored(bench: Bench) -> None:
    """A batch that closes then has what came before its time."""
    bench.receiver.store(1)
    bench.supervisor.blocks.cut()
    bench.supervisor.blocks.cut()  # Nothing came since: no block.

    assert bench.owner.blocks == [[1]]


def test_a_block_is_tried_again(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Three failures are got over, and told in the log."""
    bench.owner.failures_left = 3
    bench.receiver.store("kept")
    bench.supervisor.cut()

    assert bench.owner.blocks == [["kept"]]
    assert bench.owner.errors == []
    assert caplog.text.count("trying again") == 3


def test_a_block_that_cannot_be_stored_stops_the_receiver(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """After four tries: the error is reported, what is lost is counted, the end has it."""
    bench.owner.refuses = True
    bench.receiver.store("lost")
    bench.supervisor.cut()
    bench.wait_for_end()

    assert isinstance(bench.error, SparkError)
    assert [each.split(" of ")[0] for each in bench.owner.errors] == [
        "Error in block pushing"
    ]
    assert "isn't stored either" in caplog.text
    with pytest.raises(SparkError, match="has been stopped"):
        bench.receiver.store("more")


def test_blocks_after_a_lost_one_are_not_stored_either(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """The one that waits is given up and counted; the one on its way is told, too."""
    bench.owner.failures_left = 4
    fill_queue(bench)
    bench.owner.may_store.set()
    bench.wait_for_end()

    assert isinstance(bench.error, OSError)
    assert bench.owner.blocks == []
    assert "blocks=1 records=1" in caplog.text
    assert "as one before it couldn't be" in caplog.text


def test_a_maker_starts_once() -> None:
    """Neither twice nor after its end, even when it never ran."""
    clock = ManualClock()
    maker = BlockMaker(
        0,
        interval_ms=100,
        queue_size=1,
        clock=clock,
        limit=RateLimit(None, clock),
        numbers=iter(range(10)),
        listener=BlockGeneratorListener(),
        on_failure=lambda message, error: None,
    )
    maker.stop()

    assert maker.is_stopped
    assert maker.is_done
    with pytest.raises(SparkError, match=r"state = Stopped"):
        maker.start()


# What `store` takes.


def test_bytes_are_a_block_that_is_pickled_already(bench: Bench) -> None:
    """Of any kind of bytes; the count of records is known."""
    data = frames.dumps([1, 2])
    bench.receiver.store(data, "m1")
    bench.receiver.store(bytearray(data))
    bench.receiver.store(memoryview(data))

    assert bench.owner.blocks == [[1, 2]] * 3
    assert bench.owner.metadata == ["m1", None, None]


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"plain text", "can't be unpickled"), (frames.dumps({1: 2}), "hold a dict")],
)
def test_other_bytes_are_refused(bench: Bench, data: bytes, said: str) -> None:
    """The hint says how to store bytes as a record."""
    with pytest.raises(SparkError, match=said) as caught:
        bench.receiver.store(data)

    assert "store([data])" in str(caught.value.hint)


def test_generators_are_blocks_and_tuples_are_records(bench: Bench) -> None:
    """A generator is stored on return; a tuple a little later."""
    bench.receiver.store(n for n in range(3))
    bench.receiver.store((1, 2))
    assert bench.owner.blocks == [[0, 1, 2]]
    bench.supervisor.cut()

    assert bench.owner.blocks == [[0, 1, 2], [(1, 2)]]


# Block generators of a receiver's own.


def test_a_generator_knows_what_is_in_a_block(bench: Bench) -> None:
    """Offsets noted under the lock belong to the block; they are committed once stored."""
    generator, listener = generator_of(bench)
    assert generator.isActive()
    generator.addData("unnoted")
    generator.addDataWithCallback("a", 1)
    generator.addMultipleDataWithCallback(iter("bc"), 3)
    bench.supervisor.cut()
    generator.addDataWithCallback("d", 4)
    generator.stop()

    assert bench.owner.blocks == [["unnoted", "a", "b", "c"], ["d"]]
    assert listener.added == ["a", ["b", "c"], "d"]
    assert listener.committed == [3, 4]
    assert generator.isStopped()
    assert not generator.isActive()
    for add in (generator.addData, lambda x: generator.addDataWithCallback(x, 5)):
        with pytest.raises(SparkError, match="has been stopped"):
            add("late")
    with pytest.raises(SparkError, match="has been stopped"):
        generator.addMultipleDataWithCallback(["late"], 5)
    with pytest.raises(SparkError, match="Initialized state"):
        generator.start()


def test_what_a_generator_could_not_store_is_not_committed(bench: Bench) -> None:
    """Its listener hears of it, then the receiver stops with the error."""
    generator, listener = generator_of(bench)
    bench.owner.refuses = True
    generator.addDataWithCallback("a", 1)
    bench.supervisor.cut()
    bench.wait_for_end()

    assert listener.committed == []
    assert len(listener.errors) == 1
    assert bench.owner.errors == []
    assert isinstance(bench.error, SparkError)


class Raising(BlockGeneratorListener):
    """Raises wherever it can."""

    def onGenerateBlock(self, blockId: str) -> None:
        raise ValueError("no offsets")

    def onError(self, message: str, error: BaseException) -> None:
        raise ValueError("nor this")


def test_a_listener_that_raises_stops_the_receiver(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """A block whose offsets aren't known is never stored."""
    generator = bench.receiver.createBlockGenerator(Raising())
    generator.start()
    generator.addData(1)
    bench.supervisor.cut()
    bench.wait_for_end()

    assert str(bench.error) == "no offsets"
    assert bench.owner.blocks == []
    assert "onError raised" in caplog.text


class Stopping(BlockGeneratorListener):
    """Stops the receiver and its generator instead of storing."""

    def __init__(self, receiver: Receiver[Any]) -> None:
        self.receiver = receiver
        self.generator: BlockGenerator | None = None

    def onPushBlock(self, blockId: str, records: list[Any]) -> None:
        self.onAddData(records, None)  # The base class has nothing to note,
        super().onGenerateBlock(blockId)
        super().onError("nothing", ValueError())
        assert self.generator is not None
        self.generator.stop()
        self.receiver.stop("Error while storing block", ValueError("as Kafka's does"))


def test_a_receiver_may_be_stopped_while_a_block_is_pushed(bench: Bench) -> None:
    """Neither the receiver's end nor the generator's waits for itself."""
    listener = Stopping(bench.receiver)
    listener.generator = bench.receiver.createBlockGenerator(listener)
    listener.generator.start()
    listener.generator.addData(1)
    bench.supervisor.cut()
    bench.wait_for_end()

    assert str(bench.error) == "as Kafka's does"


def test_pushing_is_up_to_the_listener() -> None:
    """The base class doesn't lose blocks silently."""
    with pytest.raises(NotImplementedError):
        BlockGeneratorListener().onPushBlock("input-0-1", [])


def test_a_generator_made_after_the_end_does_not_start(bench: Bench) -> None:
    """Nothing would store its blocks."""
    bench.supervisor.stop("the end")

    with pytest.raises(SparkError, match="Initialized state"):
        bench.receiver.createBlockGenerator(Noting(bench.receiver)).start()


def test_a_generator_that_has_ended_is_let_go(bench: Bench) -> None:
    """The next one takes its place."""
    generator_of(bench)[0].stop()
    generator_of(bench)

    assert len(bench.supervisor._all_makers()) == 2


# Text.

line_ends = st.sampled_from([b"a", b"\n", b"\r", b"\r\n", b"\xff", "é".encode()])
texts = st.lists(line_ends, max_size=6).map(b"".join)


def lines_of(data: bytes) -> list[str]:
    """Return the lines of text."""
    return split_lines(data, is_text=True)


def test_what_is_all_text_is_a_block_of_bytes(bench: Bench) -> None:
    """Each call's lines stay its own, with or without an end; others make rows of them."""

    @given(st.lists(st.one_of(texts, st.integers(), st.lists(st.text())), max_size=6))
    @example([b"a\r", b"\nb", b"c"])
    @example([b"a", 1, b"b"])
    def check(calls: list[Any]) -> None:
        expected: list[Any] = []
        for data in calls:
            if isinstance(data, bytes):
                bench.receiver.storeText(data)
                expected += lines_of(data)
            elif isinstance(data, list):
                bench.receiver.storeMany(data)
                expected += data
            else:
                bench.receiver.store(data)
                expected.append(data)
        bench.supervisor.cut()
        # A tick may come between two calls only when the clock moves; it doesn't.
        assert bench.owner.blocks == ([expected] if expected else [])
        are_lines = all(isinstance(data, bytes) or data == [] for data in calls)
        assert len(bench.owner.texts) == (are_lines and expected != [])
        for text in bench.owner.texts.values():
            assert text.count == len(expected)
        bench.owner.blocks.clear()
        bench.owner.texts.clear()

    check()


def test_a_block_of_text_is_tried_again(bench: Bench) -> None:
    """As any other, and then it is there once."""
    bench.owner.failures_left = 3
    bench.receiver.storeText(b"a\nb\n")
    bench.supervisor.cut()

    assert bench.owner.blocks == [["a", "b"]]
    assert [text.data for text in bench.owner.texts.values()] == [b"a\nb\n"]


def test_text_that_cannot_be_stored_is_counted_as_lost(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """By lines: of the block, and of what came while it was tried."""
    bench.owner.may_store.clear()
    bench.owner.failures_left = 4
    bench.receiver.storeText(b"a\n")
    cutting = in_thread(bench.supervisor.cut)
    assert bench.owner.storing_begun.wait(10)
    bench.receiver.storeText(b"b\nc\n")
    bench.owner.may_store.set()
    cutting.join(10)
    bench.wait_for_end()

    assert bench.owner.blocks == []
    assert "blocks=0 records=2" in caplog.text
    with pytest.raises(SparkError, match="Cannot add data"):
        bench.receiver.storeText(b"d\n")


def test_text_that_was_taken_is_stored_at_the_end(bench: Bench) -> None:
    """A stop loses none of it."""
    bench.receiver.storeText(b"a\nb")
    bench.supervisor.stop("test ends")

    assert bench.owner.blocks == [["a", "b"]]


def test_a_generators_listener_gets_lists_of_lines(bench: Bench) -> None:
    """Programs of users know nothing of bytes."""
    pushed: list[Any] = []

    class Listening(BlockGeneratorListener):
        def onPushBlock(self, blockId: str, records: list[Any]) -> None:
            pushed.append(records)

    maker = bench.supervisor.create_maker(Listening())
    maker.start()
    maker.add_text(b"a\nb")
    maker.cut()

    assert pushed == [["a", "b"]]


# Rates and pauses.


def test_text_is_let_in_by_lines() -> None:
    """A tenth of a second's worth at a time, cut at line ends of every kind."""
    conf = {"receiver.maxRate": "30", "blockInterval": "10s"}
    bench = Bench({f"spark.streaming.{key}": value for key, value in conf.items()})
    assert bench.receiver.up.wait(10)
    data = b"a\r\nb\rc\nd\n" + b"\n".join(b"%d" % number for number in range(14))
    adding = in_thread(lambda: bench.receiver.storeText(data))
    for time_ms in range(100, 700, 100):
        wait_for_timer(bench.clock, time_ms)
        bench.supervisor.cut()
        bench.clock.set_ms(time_ms)
    adding.join(10)
    bench.supervisor.stop("test ends")

    assert not adding.is_alive()
    assert [len(block) for block in bench.owner.blocks] == [3, 3, 3, 3, 3, 3]
    assert [r for block in bench.owner.blocks for r in block] == lines_of(data)
    assert len(bench.owner.texts) == 6


def test_rates_hold_for_all_generators() -> None:
    """The first from the conf, below the maximum, as are the updates."""
    conf = {
        "spark.streaming.backpressure.enabled": "true",
        "spark.streaming.backpressure.initialRate": "500",
        "spark.streaming.receiver.maxRate": "100",
    }
    bench = Bench(conf)
    maker = bench.supervisor.create_maker(Noting(bench.receiver))
    assert maker.limit.per_second == 100
    bench.supervisor.update_rate(40)

    assert maker.limit.per_second == bench.supervisor.blocks.limit.per_second == 40
    bench.supervisor.update_rate(900)
    assert maker.limit.per_second == 100
    bench.supervisor.stop("test ends")
    bench.wait_for_end()


def test_a_changed_rate_counts_within_a_call() -> None:
    """Many records are let in a tenth of a second's worth at a time."""
    bench = Bench({"spark.streaming.receiver.maxRate": "100"})
    assert bench.receiver.up.wait(10)
    adding = in_thread(lambda: bench.receiver.storeMany(list(range(60))))
    for time_ms in range(100, 700, 100):
        wait_for_timer(bench.clock, time_ms)
        bench.clock.set_ms(time_ms)
    adding.join(10)
    bench.supervisor.stop("test ends")

    assert not adding.is_alive()
    assert [r for block in bench.owner.blocks for r in block] == list(range(60))


@pytest.mark.parametrize("data", [1, [1], b"1"], ids=["record", "block", "text"])
def test_a_pause_makes_stores_wait(bench: Bench, data: Any) -> None:
    """Until they may come in again."""
    is_text = isinstance(data, bytes)
    store = bench.receiver.storeText if is_text else bench.receiver.store
    bench.supervisor.pause()
    storing = in_thread(lambda: store(data))
    storing.join(0.02)
    assert storing.is_alive()
    bench.supervisor.resume()
    storing.join(10)
    bench.supervisor.cut()

    assert bench.owner.blocks == ([["1"]] if is_text else [[1]])


def test_a_pause_before_the_start_counts() -> None:
    """A receiver launched while batches wait has to wait, and its new generators."""
    bench = Bench()
    bench.supervisor.pause()
    generator, _ = generator_of(bench)

    def add() -> None:
        with contextlib.suppress(SparkError):  # Taken, or refused: the end has come.
            generator.addData(1)

    adding = in_thread(add)
    adding.join(0.02)
    assert adding.is_alive()
    bench.supervisor.stop("test ends")
    adding.join(10)
    bench.wait_for_end()

    assert not adding.is_alive()
    bench.supervisor.pause()  # Too late to matter.
    bench.supervisor.blocks.wait_while_paused()


def test_what_a_generator_has_taken_is_stored_during_a_pause(bench: Bench) -> None:
    """Closing a batch waits for it, and the pause may wait for the batch."""
    generator, listener = generator_of(bench)
    generator.addDataWithCallback("a", 1)
    bench.supervisor.pause()
    bench.supervisor.cut()

    assert bench.owner.blocks == [["a"]]
    assert listener.committed == [1]


def test_onStop_may_wait_for_a_thread_that_stores() -> None:
    """Even if that thread waits for the rate limit or a pause: the stop frees it."""
    bench = Bench({"spark.streaming.receiver.maxRate": "1"})
    assert bench.receiver.up.wait(10)
    storing = in_thread(lambda: bench.receiver.store("in hand"))
    wait_for_timer(bench.clock, 1000)
    bench.supervisor.pause()
    paused = in_thread(lambda: bench.receiver.store(["paused"]))

    def wait_for_threads() -> None:
        for thread in (storing, paused):
            thread.join(10)
            assert not thread.is_alive()

    bench.receiver.on_stop = wait_for_threads
    bench.supervisor.stop("test ends")
    bench.wait_for_end()

    assert sorted(bench.owner.blocks) == [["in hand"], ["paused"]]


# Restarts.


def test_restarts_wait_longer_after_short_lives() -> None:
    """Doubled up to 30 times; a life longer than that starts anew."""
    delays = RestartDelays(100)
    told = [delays.next_ms(0) for _ in range(8)]

    assert told == [100, 200, 400, 800, 1600, 3000, 3000, 3000]
    assert delays.next_ms(3000) == 3000
    assert delays.next_ms(3001) == 100
    assert delays.next_ms(0) == 200


def test_a_restart_never_waits_longer_than_a_minute_unless_told() -> None:
    """Or no time at all, where the conf says so."""
    assert [RestartDelays(50_000, restarts=n).next_ms(0) for n in (0, 1)] == [
        50_000,
        60_000,
    ]
    assert RestartDelays(90_000, restarts=1).next_ms(0) == 90_000
    assert RestartDelays(0, restarts=3).next_ms(0) == 0


def test_restarts_of_a_supervised_receiver_back_off(bench: Bench) -> None:
    """Told with their delays; one that the caller gives is taken as it is."""
    for delay_ms, told in ((2000, None), (4000, None), (7, 7), (8000, None)):
        bench.receiver.up.clear()
        before_ms = bench.clock.now_ms()
        bench.receiver.restart("again", millisecond=told)
        due_ms = before_ms + delay_ms
        wait_for_timer(bench.clock, due_ms)
        bench.clock.advance_ms(delay_ms)
        assert bench.receiver.up.wait(10)
        bench.supervisor.join()

    assert bench.owner.stops == [
        f"Restarting receiver with delay {ms} ms: again" for ms in (2000, 4000, 7, 8000)
    ]


# Starts and ends.


def test_a_stop_before_the_start_prevents_it() -> None:
    """Run returns at once."""
    owner, receiver = Owner(), Idle()
    supervisor = ReceiverSupervisor(
        0, receiver, owner, owner, Settings({}), ManualClock()
    )
    supervisor.stop("never mind")

    assert supervisor.run(until=lambda: False) is None
    assert not receiver.up.is_set()


def test_a_refused_receiver_ends() -> None:
    """The tracker refuses while it stops: that is no error."""
    owner, receiver = Owner(), Idle()
    owner.registers = False
    supervisor = ReceiverSupervisor(
        0, receiver, owner, owner, Settings({}), ManualClock()
    )

    assert supervisor.run(until=lambda: False) is None
    assert not receiver.up.is_set()


def test_a_restart_that_fails_ends_the_receiver(bench: Bench) -> None:
    """With the error, for the tracker to launch it again."""
    bench.owner.registers = ValueError("no tracker")
    bench.receiver.restart("again", millisecond=0)
    bench.wait_for_end()

    assert str(bench.error) == "no tracker"


def test_a_restart_that_cannot_be_told_ends_the_receiver(bench: Bench) -> None:
    """Whatever goes wrong in between, the tracker gets the receiver back."""
    bench.owner.is_deaf = True
    bench.receiver.restart("again")
    bench.wait_for_end()

    assert str(bench.error) == "tracker is gone"


def test_what_stops_already_is_not_restarted(bench: Bench) -> None:
    """A second restart is part of the first; a stop ends the wait of both."""
    for _ in range(2):
        bench.receiver.restart("again")
    wait_for_timer(bench.clock, 2000)
    bench.supervisor.stop("the end")
    bench.wait_for_end()
    bench.receiver.restart("too late")
    bench.supervisor.join()

    assert len(bench.owner.stops) == 1


def test_an_onStop_that_raises_does_not_hinder_the_end(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, and the tracker is told of the end."""

    def fail() -> None:
        raise ValueError("onStop failed")

    bench.receiver.on_stop = fail
    bench.supervisor.stop("the end")

    assert "onStop failed" in caplog.text
    assert bench.owner.stops == ["the end"]


def test_nothing_is_lost_or_doubled_between_threads(bench: Bench) -> None:
    """Many threads add while blocks are cut by the timer and by batches."""

    def add(thread: int) -> None:
        for number in range(200):
            bench.receiver.store((thread, number))

    adding = [in_thread(lambda n=n: add(n)) for n in range(4)]  # type: ignore[misc]
    while any(thread.is_alive() for thread in adding):
        bench.clock.advance_ms(100)
        bench.supervisor.cut()
    bench.supervisor.stop("the end")
    stored = [record for block in bench.owner.blocks for record in block]

    assert sorted(stored) == [(n, m) for n in range(4) for m in range(200)]
    for n in range(4):
        assert [m for thread, m in stored if thread == n] == list(range(200))
