"""Stories of received data: what was acknowledged is in exactly one batch."""

import itertools
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from millstream.engine.base import frames
from millstream.engine.base.errors import DurabilityError, SparkError
from millstream.engine.base.levels import StorageLevel
from millstream.engine.base.storage import open_storage
from millstream.engine.durable import frozen_bytes
from millstream.engine.durable.write_ahead_log import FileLog, LogHandle
from millstream.engine.ingest.supervisor import ReceiverSupervisor
from millstream.engine.plan.partitions import FrozenText, freeze, freeze_text
from millstream.engine.streams.ledger import LogPosition
from millstream.engine.streams.received_logs import LoggedBlock, TrackerLogs
from millstream.engine.streams.tracker import ReceiverTracker
from millstream.streaming import StreamingListener
from millstream.streaming.receiver import Receiver
from millstream.testing import StreamHarness

CHANGED = threading.Event()
LIVE: dict[str, "Tap"] = {}
"""The receivers that run, by name: what a test stores through."""


class Tap(Receiver[Any]):
    """A receiver that does nothing by itself."""

    def __init__(
        self, name: str, level: StorageLevel = StorageLevel.MEMORY_ONLY
    ) -> None:
        super().__init__(level)
        self.name = name

    def onStart(self) -> None:
        """Let the test find it."""
        LIVE[self.name] = self
        CHANGED.set()

    def onStop(self) -> None:
        """Do nothing."""


LOGGED = {"spark.streaming.receiver.writeAheadLog.enable": "true"}
CLOSED = {
    **LOGGED,
    "spark.streaming.receiver.writeAheadLog.closeFileAfterWrite": "true",
    "spark.streaming.driver.writeAheadLog.closeFileAfterWrite": "true",
    "spark.streaming.driver.writeAheadLog.allowBatching": "false",
}


def setup(h: StreamHarness) -> None:
    """Collect what the tap gives."""
    h.collect(h.ssc.receiverStream(Tap("tap")), "out")


def started(h: StreamHarness) -> Tap:
    """Start the harness and return its tap."""
    LIVE.clear()
    CHANGED.clear()
    h._start()
    assert CHANGED.wait(10)
    return LIVE["tap"]


def tracker_of(h: StreamHarness) -> ReceiverTracker:
    """Return the tracker of a harness that has started."""
    scheduler = h.ssc._scheduler
    assert scheduler is not None
    return scheduler.tracker


@pytest.mark.parametrize("conf", [LOGGED, CLOSED], ids=["appended", "a file a record"])
def test_logged_blocks_survive_a_crash_of_the_driver(
    tmp_path: Path, conf: dict[str, str]
) -> None:
    """Those that waited for a batch, and those of a batch that wasn't done."""
    with StreamHarness(checkpoint=str(tmp_path), conf=conf, setup=setup) as h:
        tap = started(h)
        tap.store([1, 2])
        h.run(1)
        tap.store(["waits", ["mutable"]])
        h.crash()
        with pytest.raises(SparkError, match="already shut down"):
            tap.store([3])
        h.restart()
        tap = started(h)
        tap.store([4])
        h.run(1)
        h.run(1)

        out = h.output("out")
        assert out.times_ms == [1000, 1000, 2000, 3000]
        assert out.records == [[1, 2], [1, 2], ["waits", ["mutable"], 4], []]


def test_without_the_log_received_data_is_lost_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The driver knows which blocks there were; the log says how to keep them."""
    with StreamHarness(checkpoint=str(tmp_path), setup=setup) as h:
        started(h).store([1, 2])
        h.run(1)
        h.crash()
        h.restart()
        with caplog.at_level(logging.WARNING):
            h.run(1)

        assert h.output("out").records == [[1, 2], [], []]
        assert "received blocks are gone" in caplog.text
        assert "records=2" in caplog.text
        assert "spark.streaming.receiver.writeAheadLog.enable=true" in caplog.text


def test_a_logged_block_outlives_its_eviction(tmp_path: Path) -> None:
    """With the log MEMORY_ONLY is no risk: what memory drops is read from the log."""
    conf = {**LOGGED, "spark.millstream.memory": "1"}
    with StreamHarness(checkpoint=str(tmp_path), conf=conf, setup=setup) as h:
        tap = started(h)
        for number in range(4):
            tap.store([str(number) * 400_000])
        h.run(1)

        assert [row[0] for row in h.output("out").records[0]] == ["0", "1", "2", "3"]


@pytest.mark.slow
def test_data_logs_are_cleaned_once_nobody_needs_them(tmp_path: Path) -> None:
    """Segments older than what any kept checkpoint needs go; the ledger's too."""
    conf = {
        **LOGGED,
        "spark.streaming.receiver.writeAheadLog.rollingIntervalSecs": "1",
        "spark.streaming.driver.writeAheadLog.rollingIntervalSecs": "1",
    }
    with StreamHarness(checkpoint=str(tmp_path), conf=conf, setup=setup) as h:
        tap = started(h)
        for number in range(20):
            tap.store([number])
            h.run(1)
        # Ten checkpoints are five batches; a segment takes what two of them have. Old
        # checkpoints are deleted in the background, a batch or some later.
        logs = [tmp_path / "receivedData" / "0", tmp_path / "receivedBlockMetadata"]
        for _ in range(20):
            if all(len(list(log.iterdir())) <= 5 for log in logs):
                break
            h.run(1)

        assert all(len(list(log.iterdir())) <= 5 for log in logs)
        records = [r for batch in h.output("out").records for r in batch]
        assert records == list(range(20))


def test_the_log_needs_a_checkpoint_directory() -> None:
    """As Spark says it."""
    with (
        StreamHarness(conf=LOGGED, setup=setup) as h,
        pytest.raises(
            SparkError,
            match="Cannot enable receiver write-ahead log without checkpoint",
        ),
    ):
        h.run(1)


class OwnLog:
    """A log of a program's own: in memory, and out of order when a test says so."""

    made: ClassVar[list["OwnLog"]] = []
    records: ClassVar[dict[str, list[bytes]]] = {}
    fails_at: ClassVar[set[int]] = set()
    """The numbers of the writes that fail, over all logs, from 1."""
    writes: ClassVar[int] = 0

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.shelf = f"{open_storage(directory)[1]}/shelf"
        self.reads = 0
        self.is_closed = False
        OwnLog.records.setdefault(directory, [])
        OwnLog.made.append(self)

    @classmethod
    def begin(cls, *fails_at: int) -> None:
        """Forget everything."""
        cls.made.clear()
        cls.records.clear()
        cls.fails_at = set(fails_at)
        cls.writes = 0

    def write(self, record: bytes, time_ms: int) -> LogHandle:
        """Keep it, or raise what no log of ours does."""
        OwnLog.writes += 1
        if OwnLog.writes in OwnLog.fails_at:
            raise LookupError("no such shelf")
        mine = OwnLog.records[self.directory]
        mine.append(record)
        return LogHandle(self.shelf, len(mine) - 1, len(record))

    def read(self, handle: LogHandle) -> bytes:
        """Return one."""
        assert handle.path == self.shelf, "a handle comes back as it was given"
        self.reads += 1
        return OwnLog.records[self.directory][handle.offset]

    def read_all(self) -> Iterator[bytes]:
        """Return all."""
        yield from OwnLog.records[self.directory]

    def clean(self, threshold_ms: int) -> None:
        """Keep everything."""

    def close(self) -> None:
        """Note it."""
        self.is_closed = True


OWN_LEDGER = {
    "spark.streaming.driver.writeAheadLog.class": f"{__name__}.OwnLog",
    "spark.streaming.driver.writeAheadLog.allowBatching": "false",
}
OWN_DATA = {
    **LOGGED,
    "spark.streaming.receiver.writeAheadLog.class": f"{__name__}.OwnLog",
}


def test_a_log_class_of_the_programs_own(tmp_path: Path) -> None:
    """It is made with its directory; one that can't be made is named."""
    OwnLog.begin()
    key = "spark.streaming.driver.writeAheadLog.class"
    with StreamHarness(
        checkpoint=str(tmp_path), conf={key: f"{__name__}.OwnLog"}, setup=setup
    ) as h:
        started(h).store([1])
        h.run(1)
        assert OwnLog.made[0].directory.endswith("receivedBlockMetadata")
        assert len(OwnLog.records[OwnLog.made[0].directory]) >= 2
    with (
        StreamHarness(
            checkpoint=str(tmp_path), conf={key: "no.Such"}, setup=setup
        ) as h,
        pytest.raises(SparkError, match=r"write ahead log of class no\.Such"),
    ):
        h.run(1)


def test_what_is_acknowledged_before_the_first_batch_survives_a_crash(
    tmp_path: Path,
) -> None:
    """The stream's beginning is checkpointed before its receivers start."""
    with StreamHarness(checkpoint=str(tmp_path), conf=LOGGED, setup=setup) as h:
        tap = started(h)
        tap.store([1, 2])
        h.crash()
        h.restart()
        started(h)
        h.run(2)

        assert h.output("out").times_ms == [1000, 2000]
        assert h.output("out").records == [[1, 2], []]


def ledger_of(directory: Path) -> Path:
    """Return the ledger's only segment."""
    (segment,) = (directory / "receivedBlockMetadata").iterdir()
    return segment


def test_a_ledger_that_ends_before_its_checkpoint_is_refused(tmp_path: Path) -> None:
    """Its blocks would wait again, and count twice."""
    with StreamHarness(checkpoint=str(tmp_path), conf=LOGGED, setup=setup) as h:
        tap = started(h)
        sizes = []
        for number in range(3):
            tap.store([number])
            h.run(1)
            sizes.append(ledger_of(tmp_path).stat().st_size)
        h.crash()
        data = ledger_of(tmp_path).read_bytes()
        ledger_of(tmp_path).write_bytes(data[: sizes[1]])
        h.restart()
        with pytest.raises(DurabilityError, match="lacks which ones batch 3000 ms had"):
            h.run(1)


@pytest.mark.slow
def test_a_checkpoint_older_than_what_the_ledger_remembers_is_refused(
    tmp_path: Path,
) -> None:
    """Its batches would run again without their records."""
    with StreamHarness(checkpoint=str(tmp_path), conf=LOGGED, setup=setup) as h:
        tap = started(h)
        tap.store([0])
        h.run(1)
        kept = (tmp_path / "checkpoint-1000").read_bytes()
        h.run(20)
        h.crash()
        for file in tmp_path.glob("checkpoint-*"):
            file.unlink()
        (tmp_path / "checkpoint-1000").write_bytes(kept)
        h.restart()
        with pytest.raises(DurabilityError, match="batch 1000 ms can't run again"):
            h.run(1)


def test_received_data_is_read_through_the_class_that_wrote_it(tmp_path: Path) -> None:
    """By the log that is open, as long as there is one; after a restart too."""
    OwnLog.begin()
    with StreamHarness(checkpoint=str(tmp_path), conf=OWN_DATA, setup=setup) as h:
        tap = started(h)
        tap.store([1, 2])
        h.sc._driver.blocks.clear()
        h.run(1)
        assert [log.reads for log in OwnLog.made] == [1]
        tap.store([3])
        h.crash()
        h.restart()
        started(h)
        h.run(1)

        # The first batch runs again: it was in the newest checkpoint.
        assert h.output("out").records == [[1, 2], [1, 2], [3]]
        assert all(log.is_closed for log in OwnLog.made[:1])
        assert sum(log.reads for log in OwnLog.made) >= 3


def test_a_log_without_its_stream_is_opened_to_be_read() -> None:
    """As in another process: one log a read, closed afterwards."""
    OwnLog.begin()
    OwnLog.records["elsewhere"] = [frames.dumps(["kept"])]
    block = LoggedBlock(
        "elsewhere", LogPosition(OwnLog("elsewhere").shelf, 0, 9), f"{__name__}.OwnLog"
    )

    assert block.read() == ["kept"]
    assert [log.is_closed for log in OwnLog.made] == [False, True]


def test_reading_a_logged_block_lists_no_directory(tmp_path: Path) -> None:
    """The ledger says where it is; a block that is gone is named."""
    log = FileLog(str(tmp_path))
    handle = log.write(frames.dumps([1, 2]), 5)
    log.close()
    name = Path(handle.path).name
    block = LoggedBlock(str(tmp_path), LogPosition(name, handle.offset, handle.length))
    tmp_path.chmod(0o300)  # A directory that may be entered, and not listed.
    try:
        assert block.read() == [1, 2]
    finally:
        tmp_path.chmod(0o700)
    (tmp_path / name).unlink()
    with pytest.raises(SparkError, match="Could not read data from write ahead log"):
        block.read()


# Text.


def test_text_is_bytes_until_a_task_reads_it(tmp_path: Path) -> None:
    """In the store and in the log; crashes and evictions change none of its lines."""
    with StreamHarness(checkpoint=str(tmp_path), conf=LOGGED, setup=setup) as h:
        started(h).storeText(b"a\r\nb\xff")
        h.run(1)
        (block_id,) = (i for i in h.sc._driver.blocks.ids() if i.startswith("input-"))
        kept = h.sc._driver.blocks.get_frozen(block_id)
        assert kept == FrozenText(b"a\r\nb\xff\n", 2)
        h.crash()
        h.restart()
        tap = started(h)
        tap.storeText(b"c\n\nd\n")
        tracker = tracker_of(h)
        for supervisor in tracker._running():
            assert isinstance(supervisor, ReceiverSupervisor)
            supervisor.cut()
        h.sc._driver.blocks.clear()
        h.run(1)

        assert h.output("out").records == [
            ["a", "b\ufffd"],
            ["a", "b\ufffd"],
            ["c", "", "d"],
        ]


def test_a_logged_block_of_text_is_read_as_text(tmp_path: Path) -> None:
    """What tasks read from a log stays bytes, too; rows are rows."""
    log = FileLog(str(tmp_path))
    text, rows = freeze_text(b"a\nb"), freeze(["a", ["b"]])
    handles = [log.write(frozen_bytes.encode(each), 5) for each in (text, rows)]
    log.close()
    blocks = [
        LoggedBlock(
            str(tmp_path), LogPosition(Path(at.path).name, at.offset, at.length)
        )
        for at in handles
    ]

    assert blocks[0].read_frozen() == text
    assert [list(block.read()) for block in blocks] == [["a", "b"], ["a", ["b"]]]
    assert [block.read_frozen().count for block in blocks] == [2, 2]


# What can't be logged isn't acknowledged.


@pytest.mark.parametrize("kind", ["data", "ledger"])
def test_a_log_that_fails_tells_who_stores(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Store raises, nothing of the block is in a batch, and the next block is taken."""
    OwnLog.begin(1)
    conf, said = {
        "data": (OWN_DATA, "Could not write input-0-.*no such shelf"),
        "ledger": (OWN_LEDGER, "Failed to add block to receiver tracker"),
    }[kind]
    with StreamHarness(checkpoint=str(tmp_path), conf=conf, setup=setup) as h:
        tap = started(h)
        with pytest.raises(SparkError, match=said):
            tap.store(["refused"])
        held = h.sc._driver.blocks.ids()
        tap.store(["taken"])
        h.run(1)

        assert held == []
        assert h.output("out").records == [["taken"]]
        assert ("couldn't be logged" in caplog.text) == (kind == "ledger")


def test_a_batch_that_cannot_be_closed_leaves_its_blocks_to_the_next(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It doesn't run before a restart: the log may have them as its own nevertheless."""
    OwnLog.begin(2)  # The first is the block's own record.
    with StreamHarness(checkpoint=str(tmp_path), conf=OWN_LEDGER, setup=setup) as h:
        tap = started(h)
        tap.store([1])
        with pytest.raises(DurabilityError, match="the 1 blocks that wait"):
            h.run(1)
        tap.store([2])
        h.run(2)
        assert h.output("out").records == [[1, 2], []]
        h.crash()
        h.restart()
        started(h)
        h.run(1)

        assert h.output("out").times_ms == [2000, 3000, 1000, 3000, 4000]
        assert "error generating jobs batch=1000" in caplog.text


def test_blocks_that_wait_for_long_stay_in_the_logs(tmp_path: Path) -> None:
    """Cleaning goes by when a block was stored, not by the batch that has it at last."""
    conf = {
        **LOGGED,
        "spark.streaming.receiver.writeAheadLog.rollingIntervalSecs": "1",
        "spark.streaming.driver.writeAheadLog.rollingIntervalSecs": "1",
    }
    with StreamHarness(checkpoint=str(tmp_path), conf=conf, setup=setup) as h:
        tap = started(h)
        h.run(3)
        tap.store(["old"])
        tracker = tracker_of(h)
        logs, tracker._logs = tracker._logs, TrackerLogs(Broken(), tracker._logs.data)
        for _ in range(8):
            with pytest.raises(DurabilityError, match="No space left"):
                h.run(1)
        with pytest.raises(SparkError):
            tap.store(["refused"])  # It is in the log of data, and in no batch.
        tracker._logs = logs
        h.run(1)
        assert h.output("out").records == [[]] * 3 + [["old"]]
        h.crash()
        h.restart()  # What failed is done now, and keeps nothing any more.
        tap, tracker = started(h), tracker_of(h)
        h.run(1)
        assert h.output("out").times_ms[4:] == [*range(4000, 14_000, 1000)]
        segment = tmp_path / "receivedData" / "0" / "log-3000-4000"
        # As the scheduler does when so many have failed that it remembers no more of them.
        tracker.forget(12_000)
        assert tracker.blocks_of(12_000, 0)
        assert segment.exists(), "the batch that has the block may run again"
        tracker.forget(13_000)

        assert not tracker.blocks_of(12_000, 0)
        assert not segment.exists()


class Broken(OwnLog):
    """A log whose disk is full."""

    def __init__(self) -> None:
        super().__init__("broken")

    def write(self, record: bytes, time_ms: int) -> LogHandle:
        """Refuse."""
        raise OSError(28, "No space left on device")


# Blocks and their ids.


def test_blocks_of_a_new_life_are_new_ones(tmp_path: Path) -> None:
    """Ids go on where the last life was, though no time has passed."""
    with StreamHarness(checkpoint=str(tmp_path), conf=LOGGED, setup=setup) as h:
        tap = started(h)
        for number in range(5):
            tap.store([number])
        CHANGED.clear()
        tap.stop("once more")
        while not CHANGED.wait(0.01):
            h.clock.advance_ms(10)
        LIVE["tap"].store(["second life"])
        h.crash()
        h.clock.set_ms(0)  # Set back, by whom it may.
        h.restart()
        started(h).store(["third life"])
        h.run(1)

        records = [r for batch in h.output("out").records for r in batch]
        assert records == [0, 1, 2, 3, 4, "second life", "third life"]


def test_metadata_is_in_the_ledger(tmp_path: Path) -> None:
    """What a receiver says of a block is kept with it, over a restart too."""
    with StreamHarness(checkpoint=str(tmp_path), conf=LOGGED, setup=setup) as h:
        started(h).store([1], metadata={"offset": (3, 4)})
        h.crash()
        h.restart()
        started(h)
        h.run(1)

        (block,) = tracker_of(h).blocks_of(1000, 0)
        assert block.metadata == {"offset": (3, 4)}


# What listeners hear.


class Heard(StreamingListener):
    """Keeps what is said of receivers."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.stopped = threading.Event()

    def onReceiverStarted(self, receiverStarted: Any) -> None:
        """Keep it."""
        self._keep("started", receiverStarted.receiverInfo())

    def onReceiverError(self, receiverError: Any) -> None:
        """Keep it."""
        self._keep("error", receiverError.receiverInfo())

    def onReceiverStopped(self, receiverStopped: Any) -> None:
        """Keep it."""
        self._keep("stopped", receiverStopped.receiverInfo())
        self.stopped.set()

    def _keep(self, what: str, info: Any) -> None:
        error = info.lastError().rpartition("\n")[2]
        self.events.append(
            (
                what,
                info.streamId(),
                info.name(),
                info.active(),
                info.lastErrorMessage(),
                error,
                info.lastErrorTime(),
            )
        )


def test_listeners_hear_the_life_of_a_receiver() -> None:
    """Started, an error it goes on from, stopped; with Spark's texts and times."""
    heard = Heard()
    with StreamHarness(setup=setup) as h:
        h.ssc.addStreamingListener(heard)
        tap = started(h)
        h.clock.advance_ms(300)
        tap.reportError("lost a packet", ValueError("of ten"))
        h.ssc.stop(stopSparkContext=False)

    name = "Tap-0"
    assert heard.events == [
        ("started", 0, name, True, "", "", -1),
        ("error", 0, name, True, "lost a packet", "ValueError: of ten", 300),
        ("stopped", 0, name, False, "Stopped by driver", "", -1),
    ]


class Broke(Receiver[Any]):
    """Can't start, ever."""

    @property
    def preferredLocation(self) -> str:
        """Somewhere; it is accepted, and everything runs here."""
        return "a-host-of-its-own"

    def onStart(self) -> None:
        """Fail."""
        raise ConnectionError("nobody there")

    def onStop(self) -> None:
        """Do nothing."""


def test_a_receiver_that_cannot_start_is_tried_later_and_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """0.1 s at first, 10 s at most; each try is told, batches go on, the stop is quick."""
    heard = Heard()
    with StreamHarness(
        setup=lambda h: h.collect(h.ssc.receiverStream(Broke()), "out")
    ) as h:
        h.ssc.addStreamingListener(heard)
        h._start()
        tries_ms = []
        for _ in range(9):
            assert heard.stopped.wait(10)
            heard.stopped.clear()
            tries_ms.append(h.clock.now_ms())
            due = next_wait(h)
            h.clock.set_ms(due)
        h.run(1)
        h.ssc.stop(stopSparkContext=False)

    waits = [b - a for a, b in itertools.pairwise(tries_ms)]
    assert waits == [100, 200, 400, 800, 1600, 3200, 6400, 10_000]
    assert "Error starting receiver 0" in heard.events[1]
    assert "ConnectionError: nobody there" in heard.events[1]
    assert "it is launched again stream=0" in caplog.text


def next_wait(h: StreamHarness) -> int:
    """Return when the receiver is launched again: what is waited for, off the batch grid."""
    found: list[int] = []

    def is_off_grid(due: list[int]) -> bool:
        found[:] = [
            time
            for time in due
            if (time % 1000 and time % 200) or time > h.clock.now_ms() + 1000
        ]
        return bool(found)

    assert h.clock.wait_until_someone_waits(10, is_off_grid)
    return max(found)
