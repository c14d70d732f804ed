"""Stories of received data: what was acknowledged is in exactly one batch."""

import logging
from pathlib import Path
from typing import Any

import pytest

from millstream.engine.base.errors import SparkError
from millstream.engine.base.levels import StorageLevel
from millstream.engine.durable.write_ahead_log import LogHandle
from millstream.streaming.receiver import Receiver
from millstream.testing import StreamHarness

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
    h._start()
    while "tap" not in LIVE:
        h.clock.wait_until_someone_waits(0.01)
    return LIVE["tap"]


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


def test_data_logs_are_cleaned_once_nobody_needs_them(tmp_path: Path) -> None:
    """Segments older than what any stream remembers go; the ledger's too."""
    conf = {
        **LOGGED,
        "spark.streaming.receiver.writeAheadLog.rollingIntervalSecs": "1",
        "spark.streaming.driver.writeAheadLog.rollingIntervalSecs": "1",
    }
    with StreamHarness(checkpoint=str(tmp_path), conf=conf, setup=setup) as h:
        tap = started(h)
        for number in range(10):
            tap.store([number])
            h.run(1)
        segments = list((tmp_path / "receivedData" / "0").iterdir())
        ledger = list((tmp_path / "receivedBlockMetadata").iterdir())

        assert len(segments) <= 4
        assert len(ledger) <= 4
        assert [r for batch in h.output("out").records for r in batch] == list(
            range(10)
        )


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
    """A log of a program's own: in memory."""

    made: list["OwnLog"] = []

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.records: list[bytes] = []
        OwnLog.made.append(self)

    def write(self, record: bytes, time_ms: int) -> LogHandle:
        """Keep it."""
        self.records.append(record)
        return LogHandle(self.directory, len(self.records), len(record))

    def clean(self, threshold_ms: int) -> None:
        """Keep everything."""

    def close(self) -> None:
        """Do nothing."""


def test_a_log_class_of_the_programs_own(tmp_path: Path) -> None:
    """It is made with its directory; one that can't be made is named."""
    key = "spark.streaming.driver.writeAheadLog.class"
    with StreamHarness(
        checkpoint=str(tmp_path), conf={key: f"{__name__}.OwnLog"}, setup=setup
    ) as h:
        started(h).store([1])
        h.run(1)
        assert OwnLog.made[0].directory.endswith("receivedBlockMetadata")
        assert len(OwnLog.made[0].records) >= 2
    with (
        StreamHarness(
            checkpoint=str(tmp_path), conf={key: "no.Such"}, setup=setup
        ) as h,
        pytest.raises(SparkError, match=r"write ahead log of class no\.Such"),
    ):
        h.run(1)
