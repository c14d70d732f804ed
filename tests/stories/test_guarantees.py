"""Stories of what is promised: one for each cell of the table in docs/guarantees.md."""

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.testing.certified_sinks import Right

from millstream.engine.base.errors import MillstreamError
from millstream.engine.base.levels import StorageLevel
from millstream.streaming.direct import BatchPlan, DirectSource
from millstream.streaming.receiver import Receiver
from millstream.testing import StreamHarness

LOGGED = {"spark.streaming.receiver.writeAheadLog.enable": "true"}


class Source:
    """Somebody who sends each record until it is acknowledged."""

    def __init__(self, records: list[int]) -> None:
        self.waiting = records
        self.acknowledged: list[int] = []

    def acknowledge(self, records: list[int]) -> None:
        self.acknowledged += records
        self.waiting = [each for each in self.waiting if each not in records]


SOURCES: dict[str, Source] = {}
LIVE: dict[str, "Taker"] = {}


class Taker(Receiver[int]):
    """Takes from a source when the test says so, as a block or one by one."""

    def __init__(self, name: str) -> None:
        super().__init__(StorageLevel.MEMORY_AND_DISK)
        self.name = name

    def onStart(self) -> None:
        """Let the test find it."""
        LIVE[self.name] = self

    def onStop(self) -> None:
        """Do nothing: only the test calls."""

    def take_reliably(self, count: int) -> None:
        """Acknowledge what is stored."""
        taken = SOURCES[self.name].waiting[:count]
        self.store(taken)
        SOURCES[self.name].acknowledge(taken)

    def take_unreliably(self, count: int) -> None:
        """Acknowledge what was taken, whatever becomes of it."""
        taken = SOURCES[self.name].waiting[:count]
        SOURCES[self.name].acknowledge(taken)
        for record in taken:
            self.store(record)


def receiving(h: StreamHarness) -> None:
    """Collect what the receiver gives."""
    h.collect(h.ssc.receiverStream(Taker("taker")), "out")


def started(h: StreamHarness) -> Taker:
    """Start the harness, and return its receiver when it runs."""
    LIVE.clear()
    h._start()
    return found(h)


def found(h: StreamHarness) -> Taker:
    """Return the receiver, once it runs."""
    while "taker" not in LIVE or not LIVE["taker"].isStarted():
        h.clock.wait_until_someone_waits(0.01)
    return LIVE["taker"]


def fail(h: StreamHarness, taker: Taker) -> Taker:
    """Let the receiver break off, and return the one that is launched in its place."""
    LIVE.clear()
    relaunch_ms = h.clock.now_ms() + 100
    taker.stop("broke off", ValueError("the connection is gone"))
    assert h.clock.wait_until_someone_waits(10, lambda times: relaunch_ms in times)
    h.clock.set_ms(relaunch_ms)
    return found(h)


def counted(h: StreamHarness) -> dict[int, int]:
    """Return in how many batches each record is; batches that ran twice count once."""
    out = h.output("out")
    counts: dict[int, int] = {}
    last = dict(zip(out.times_ms, out.records, strict=True))
    for records in last.values():
        for record in records:
            counts[record] = counts.get(record, 0) + 1
    return counts


def files(folder: Path) -> Any:
    """Return a setup that reads a directory in a task that dies once, and counts."""
    deaths = folder.parent / "deaths"

    def die_once(line: str) -> int:
        if line == "2" and not deaths.exists():
            deaths.touch()
            raise OSError("the worker is gone")
        return int(line)

    def setup(h: StreamHarness) -> None:
        h.collect(h.ssc.textFileStream(str(folder)).map(die_once), "out")

    return setup


def put(folder: Path, name: str, lines: list[int], at_s: float) -> None:
    """Put a file that was written at a time."""
    text = "".join(f"{line}\n" for line in lines)
    (folder / name).write_text(text)
    os.utime(folder / name, (at_s, at_s))


def test_files_when_a_worker_fails(tmp_path: Path) -> None:
    """The task runs again: every line is in one batch."""
    folder = tmp_path / "in"
    folder.mkdir()
    with StreamHarness(master="local[2,2]", setup=files(folder)) as h:
        h._start()
        put(folder, "a", [1, 2, 3], 0.5)
        h.run(2)

        assert counted(h) == {1: 1, 2: 1, 3: 1}
        assert (tmp_path / "deaths").exists()


def test_files_when_the_driver_fails(tmp_path: Path) -> None:
    """The batch reads the files it had; those that came meanwhile are the next one's."""
    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "deaths").touch()
    checkpoint = str(tmp_path / "c")
    with StreamHarness(checkpoint=checkpoint, setup=files(folder)) as h:
        h._start()
        put(folder, "a", [1, 2], 0.5)
        h.run(1)
        h.crash()
        put(folder, "b", [3], 0.7)
        h.restart()
        h.run(2)

        assert counted(h) == {1: 1, 2: 1, 3: 1}


def test_a_receiver_without_the_log_when_it_fails() -> None:
    """What was stored is processed; what wasn't acknowledged comes again."""
    SOURCES["taker"] = Source([1, 2, 3, 4])
    with StreamHarness(setup=receiving) as h:
        taker = started(h)
        taker.take_reliably(2)
        again = fail(h, taker)
        again.take_reliably(2)
        h.run(1)

        assert counted(h) == {1: 1, 2: 1, 3: 1, 4: 1}


def test_an_unreliable_receiver_when_it_fails() -> None:
    """What it had handed over is stored before it goes: nothing is lost."""
    SOURCES["taker"] = Source([1, 2, 3, 4])
    with StreamHarness(setup=receiving) as h:
        taker = started(h)
        taker.take_unreliably(3)
        again = fail(h, taker)
        again.take_unreliably(1)
        h.run(1)

        assert counted(h) == {1: 1, 2: 1, 3: 1, 4: 1}


def test_a_receiver_without_the_log_when_the_driver_fails(tmp_path: Path) -> None:
    """What was received and not processed is lost, acknowledged or not."""
    SOURCES["taker"] = Source([1, 2, 3])
    with StreamHarness(checkpoint=str(tmp_path), setup=receiving) as h:
        started(h).take_reliably(2)
        h.crash()
        h.restart()
        started(h).take_reliably(1)
        h.run(2)

        assert counted(h) == {3: 1}


def test_a_reliable_receiver_with_the_log_when_it_fails(tmp_path: Path) -> None:
    """Nothing is lost."""
    SOURCES["taker"] = Source([1, 2, 3, 4])
    with StreamHarness(checkpoint=str(tmp_path), conf=LOGGED, setup=receiving) as h:
        taker = started(h)
        taker.take_reliably(2)
        again = fail(h, taker)
        again.take_reliably(2)
        h.run(1)

        assert counted(h) == {1: 1, 2: 1, 3: 1, 4: 1}


def test_a_reliable_receiver_with_the_log_when_the_driver_fails(
    tmp_path: Path,
) -> None:
    """Nothing is lost; what was stored and not yet acknowledged may come twice."""
    SOURCES["taker"] = Source([1, 2, 3])
    with StreamHarness(checkpoint=str(tmp_path), conf=LOGGED, setup=receiving) as h:
        taker = started(h)
        taker.take_reliably(2)
        taker.store([3])  # And the crash comes before the acknowledgement.
        h.crash()
        h.restart()
        started(h).take_reliably(1)
        h.run(2)

        assert counted(h) == {1: 1, 2: 1, 3: 2}


def test_an_unreliable_receiver_with_the_log_when_it_fails(tmp_path: Path) -> None:
    """What it had handed over is stored before it goes: nothing is lost."""
    SOURCES["taker"] = Source([1, 2, 3, 4])
    with StreamHarness(checkpoint=str(tmp_path), conf=LOGGED, setup=receiving) as h:
        taker = started(h)
        taker.take_unreliably(3)
        again = fail(h, taker)
        again.take_unreliably(1)
        h.run(1)

        assert counted(h) == {1: 1, 2: 1, 3: 1, 4: 1}


def test_an_unreliable_receiver_with_the_log_when_the_driver_fails(
    tmp_path: Path,
) -> None:
    """Blocks are kept; what wasn't in one yet is lost, and never comes twice."""
    SOURCES["taker"] = Source([1, 2, 3, 4])
    with StreamHarness(checkpoint=str(tmp_path), conf=LOGGED, setup=receiving) as h:
        taker = started(h)
        taker.take_unreliably(2)
        supervisor = taker._supervisor
        assert supervisor is not None
        supervisor.blocks.cut()
        taker.take_unreliably(1)
        supervisor.blocks._records.clear()  # As when the process is killed here.
        h.crash()
        h.restart()
        started(h).take_unreliably(1)
        h.run(2)

        assert counted(h) == {1: 1, 2: 1, 4: 1}


def test_state_over_a_crash(tmp_path: Path) -> None:
    """Each record counts once, though batches run again."""

    def setup(h: StreamHarness) -> None:
        pairs = h.stream([["a"], ["a", "b"], ["a"]]).map(lambda key: (key, 1))
        total = pairs.updateStateByKey(lambda new, old: sum(new) + (old or 0))
        h.collect(total, "out")

    with StreamHarness(checkpoint=str(tmp_path), setup=setup) as h:
        h.run(2)
        h.crash()
        h.restart()
        h.run(1)

        assert h.output("out").times_ms == [1000, 2000, 2000, 3000]
        assert sorted(h.output("out").records[-1]) == [("a", 3), ("b", 1)]


def test_outputs_over_a_crash(tmp_path: Path) -> None:
    """At least once: the checkpointed batch is written again, with the same rows."""

    def setup(h: StreamHarness) -> None:
        h.collect(h.stream([[1], [2], [3]]), "out")

    with StreamHarness(checkpoint=str(tmp_path), setup=setup) as h:
        h.run(2)
        h.crash()
        h.restart()
        h.run(1)

        assert h.output("out").times_ms == [1000, 2000, 2000, 3000]
        assert h.output("out").records == [[1], [2], [2], [3]]


def test_broadcasts_and_accumulators_are_made_anew(tmp_path: Path) -> None:
    """By a function that makes each when it is first needed in a process."""

    def setup(h: StreamHarness) -> None:
        def mark(rdd: Any) -> Any:
            words = Known.words(rdd.context)
            return rdd.map(lambda word: (word, word in words.value))

        h.collect(h.stream([["a", "x"], ["b"]]).transform(mark), "out")

    Known.instance = None
    with StreamHarness(checkpoint=str(tmp_path), setup=setup) as h:
        h.run(1)
        h.crash()
        Known.instance = None  # A new process has none.
        h.restart()
        h.run(1)

        assert h.output("out").records[-1] == [("b", True)]


class Known:
    """The pattern for what a checkpoint can't hold."""

    instance: Any = None

    @classmethod
    def words(cls, sc: Any) -> Any:
        """Return the broadcast, made in this process."""
        if cls.instance is None:
            cls.instance = sc.broadcast({"a", "b"})
        return cls.instance


def test_the_page_names_a_test_for_each_cell() -> None:
    """And every one of them is here."""
    page = (Path(__file__).parents[2] / "docs" / "guarantees.md").read_text()
    named = {
        word for word in page.replace("`", " ").split() if word.startswith("test_")
    }
    here = {name for name in globals() if name.startswith("test_")}

    assert here - {"test_the_page_names_a_test_for_each_cell"} <= named
    assert {name for name in named if not name.endswith(".py")} <= here


class Numbers(DirectSource[list[int], int]):
    """The numbers below the one in a file; there is none while it can't be reached."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def plan(self, batch: BatchPlan[list[int]]) -> list[list[int]]:
        """Return one range: what is new."""
        start = batch.previous[-1][1] if batch.previous else 0
        return [[start, int((self.directory / "numbers").read_text())]]

    def read(self, of: list[int]) -> Iterator[int]:
        """Yield it; die once."""
        deaths = self.directory / "deaths"
        for number in range(*of):
            if number == 2 and not deaths.exists():
                deaths.touch()
                raise OSError("the worker is gone")
            yield number


def numbers(folder: Path) -> Any:
    """Return a setup that reads numbers, counts and commits them."""

    def setup(h: StreamHarness) -> None:
        stream = h.ssc.directStream(Numbers(folder))
        h.collect(stream, "out")
        records = stream.map(lambda number: {"number": number})
        records.writeTo(Right(str(folder / "out.db")), name="numbers")

    return setup


def committed(folder: Path) -> list[int]:
    """Return what the sink has."""
    connection = sqlite3.connect(folder / "out.db")
    rows = connection.execute("select number from numbers order by number").fetchall()
    connection.close()
    return [number for (number,) in rows]


def there_are(folder: Path, count: int) -> None:
    """Let there be so many numbers."""
    (folder / "numbers").write_text(str(count))


def test_a_direct_source_when_a_worker_fails(tmp_path: Path) -> None:
    """The task reads its range again."""
    with StreamHarness(master="local[2,2]", setup=numbers(tmp_path)) as h:
        there_are(tmp_path, 4)
        h.run()
        there_are(tmp_path, 5)
        h.run()

        assert counted(h) == dict.fromkeys(range(5), 1)
        assert (tmp_path / "deaths").exists()


def test_a_direct_source_when_the_driver_fails(tmp_path: Path) -> None:
    """The batch reads the ranges it had; what came meanwhile is the next one's."""
    (tmp_path / "deaths").touch()
    checkpoint = str(tmp_path / "c")
    with StreamHarness(checkpoint=checkpoint, setup=numbers(tmp_path)) as h:
        there_are(tmp_path, 4)
        h.run()
        h.crash()
        there_are(tmp_path, 9)
        h.restart()
        h.run()

        assert counted(h) == dict.fromkeys(range(9), 1)
        assert h.output("out").records == [[*range(4)], [*range(4)], [*range(4, 9)]]


def test_a_direct_source_that_cannot_be_reached(tmp_path: Path) -> None:
    """The batch fails, and nothing is lost."""
    (tmp_path / "deaths").touch()
    with StreamHarness(setup=numbers(tmp_path)) as h:
        with pytest.raises(FileNotFoundError):
            h.run()
        there_are(tmp_path, 4)
        h.run()

        assert counted(h) == dict.fromkeys(range(4), 1)
        assert committed(tmp_path) == [*range(4)]


def test_sinks_over_a_crash(tmp_path: Path) -> None:
    """The batch that runs again is there already."""
    (tmp_path / "deaths").touch()
    checkpoint = str(tmp_path / "c")
    with StreamHarness(checkpoint=checkpoint, setup=numbers(tmp_path)) as h:
        there_are(tmp_path, 4)
        h.run()
        h.crash()
        there_are(tmp_path, 6)
        h.restart()
        h.run()

        assert h.output("out").times_ms.count(1000) == 2
        assert committed(tmp_path) == [*range(6)]


def test_sinks_when_a_commit_fails(tmp_path: Path) -> None:
    """The next batch's job commits both."""
    with StreamHarness(setup=numbers(tmp_path)) as h:
        there_are(tmp_path, 4)
        with pytest.raises(MillstreamError, match="the worker is gone"):
            h.run()
        there_are(tmp_path, 6)
        h.run()

        assert committed(tmp_path) == [*range(6)]
