"""Stories of direct streams and sinks: each record once, whatever fails on the way."""

import os
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.testing.certified_sinks import Right

from millstream import SparkContext
from millstream.engine.base.errors import (
    IllegalStateError,
    MillstreamError,
    PySparkTypeError,
    PySparkValueError,
)
from millstream.streaming import StreamingContext
from millstream.streaming.direct import BatchPlan, DirectSource
from millstream.streaming.sinks import Records, SinkBatch
from millstream.testing import StreamHarness


@dataclass(frozen=True)
class Span:
    """Numbers from one to before another."""

    start: int
    until: int


class Numbers(DirectSource[Span, int]):
    """The numbers below the one that is in a file; a file `down` stands for an outage."""

    range_type = Span

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def plan(self, batch: BatchPlan[Span]) -> Sequence[Span]:
        """Return two spans of what is new."""
        if (self.directory / "down").exists():
            msg = "the numbers are down"
            raise ConnectionError(msg)
        start = batch.previous[-1].until if batch.previous else 0
        until = int((self.directory / "numbers").read_text())
        if batch.limit is not None:
            until = min(until, start + batch.limit)
        middle = (start + until) // 2
        return [Span(start, middle), Span(middle, until)]

    def read(self, of: Span) -> Iterator[int]:
        """Yield them."""
        yield from range(of.start, of.until)

    def count(self, of: Span) -> int:
        """Return how many there are."""
        return of.until - of.start


class SlowNumbers(Numbers):
    """The same, asynchronously."""

    async def read(self, of: Span) -> AsyncIterator[int]:  # type: ignore[override]
        """Yield them."""
        for number in range(of.start, of.until):
            yield number


class Fickle(Right):
    """A sink that can't be reached while there is a file `full`."""

    def write(self, batch: SinkBatch, partition: int, records: Records[Any]) -> None:
        """Write, or fail."""
        if Path(self.path).with_name("full").exists():
            msg = "the disk is full"
            raise OSError(msg)
        super().write(batch, partition, records)


def there_are(directory: Path, count: int) -> None:
    """Let the source have `count` numbers."""
    (directory / "numbers").write_text(str(count))


def written(directory: Path) -> list[int]:
    """Return what the sink has, sorted."""
    connection = sqlite3.connect(directory / "out.db")
    rows = connection.execute("select number from numbers").fetchall()
    connection.close()
    return sorted(number for (number,) in rows)


class _Setup:
    """Numbers to a sink."""

    def __init__(self, directory: Path, source: type[Numbers] = Numbers) -> None:
        self.directory, self.source = directory, source

    def __call__(self, h: StreamHarness) -> None:
        numbers = h.ssc.directStream(self.source(self.directory))
        sink = Fickle(str(self.directory / "out.db"))
        numbers.map(_as_record).writeTo(sink, name="numbers")


def _as_record(number: int) -> dict[str, int]:
    return {"number": number}


@pytest.mark.parametrize("source", [Numbers, SlowNumbers])
def test_a_batch_has_what_is_new(source: type[Numbers], tmp_path: Path) -> None:
    """A partition a range; the RDD knows its ranges."""
    with StreamHarness() as h:
        ranges: list[Any] = []
        numbers = h.ssc.directStream(source(tmp_path))
        out = h.collect(numbers)
        numbers.foreachRDD(lambda rdd: ranges.append(rdd.ranges))
        for count in (4, 4, 7):
            there_are(tmp_path, count)
            h.run()

        assert out.partitions == [[[0, 1], [2, 3]], [[], []], [[4], [5, 6]]]
        assert ranges[2] == (Span(4, 5), Span(5, 7))
        infos = h.ssc._graph.inputs[0].info_of(3000)
        assert infos is not None
        assert infos.record_count == 3


def test_more_than_what_a_loop_takes_at_a_time_comes_in_order(tmp_path: Path) -> None:
    """Asynchronous sources are read some hundred records at a time."""
    there_are(tmp_path, 2_000)
    with StreamHarness() as h:
        out = h.collect(h.ssc.directStream(SlowNumbers(tmp_path)))
        h.run()

        assert out.records == [list(range(2_000))]


@pytest.mark.parametrize("crashes_after", [1, 2, 3])
def test_a_restart_neither_loses_nor_doubles(
    crashes_after: int, tmp_path: Path
) -> None:
    """The batch that runs again reads the same ranges, and is there already."""
    with StreamHarness(
        checkpoint=str(tmp_path / "checkpoint"), setup=_Setup(tmp_path)
    ) as h:
        for batch in range(1, crashes_after + 1):
            there_are(tmp_path, batch * 3)
            h.run()
        h.crash()
        there_are(tmp_path, 20)
        h.restart()
        h.run(2)

        assert written(tmp_path) == list(range(20))


def test_a_batch_that_fails_is_committed_by_the_next_ones_job(tmp_path: Path) -> None:
    """In order: a mark that has gone past it would leave it out for good."""
    with StreamHarness(
        checkpoint=str(tmp_path / "checkpoint"), setup=_Setup(tmp_path)
    ) as h:
        there_are(tmp_path, 3)
        h.run()
        (tmp_path / "full").touch()
        there_are(tmp_path, 5)
        with pytest.raises(MillstreamError, match="the disk is full"):
            h.run()
        there_are(tmp_path, 6)
        with pytest.raises(
            MillstreamError, match="batch 3000 ms waits for batch 2000 ms"
        ):
            h.run()
        assert written(tmp_path) == [0, 1, 2]
        (tmp_path / "full").unlink()
        h.run()

        assert written(tmp_path) == list(range(6))
        assert h.ssc._scheduler is not None
        assert h.ssc._scheduler._unfinished() == []


def test_a_batch_that_failed_before_a_crash_comes_first_after_it(
    tmp_path: Path,
) -> None:
    """With its own records; later ones follow."""
    with StreamHarness(
        checkpoint=str(tmp_path / "checkpoint"), setup=_Setup(tmp_path)
    ) as h:
        (tmp_path / "full").touch()
        for count in (2, 4):
            there_are(tmp_path, count)
            with pytest.raises(MillstreamError):
                h.run()
        h.crash()
        (tmp_path / "full").unlink()
        there_are(tmp_path, 9)
        h.restart()
        h.run()

        assert written(tmp_path) == list(range(9))


@pytest.mark.parametrize("crashes", [False, True])
def test_an_outage_of_the_source_costs_batches_and_no_records(
    crashes: bool, tmp_path: Path
) -> None:
    """What couldn't be planned is in the next batch that can."""
    with StreamHarness(
        checkpoint=str(tmp_path / "checkpoint"), setup=_Setup(tmp_path)
    ) as h:
        there_are(tmp_path, 3)
        h.run()
        (tmp_path / "down").touch()
        with pytest.raises(ConnectionError, match="the numbers are down"):
            h.run()
        (tmp_path / "down").unlink()
        there_are(tmp_path, 5)
        if crashes:
            h.crash()
            h.restart()
        h.run()
        there_are(tmp_path, 8)
        h.run()

        assert written(tmp_path) == list(range(8))
        assert h.ssc._scheduler is not None
        assert h.ssc._scheduler._unfinished() == []


def test_back_pressure_limits_what_a_batch_has(tmp_path: Path) -> None:
    """From the first batch on, by its initial rate."""
    there_are(tmp_path, 1_000)
    conf = {
        "spark.streaming.backpressure.enabled": "true",
        "spark.streaming.backpressure.initialRate": "50",
    }
    with StreamHarness(conf=conf) as h:
        out = h.collect(h.ssc.directStream(Numbers(tmp_path)))
        h.run()

        assert out.records == [list(range(50))]


def test_another_program_of_the_same_name_is_noticed(tmp_path: Path) -> None:
    """Its marks would have this one's batches left out."""
    there_are(tmp_path, 3)
    with StreamHarness(setup=_Setup(tmp_path)) as h:
        h.run(2)
    with (
        StreamHarness(setup=_Setup(tmp_path)) as h,
        pytest.raises(MillstreamError, match="which this program doesn't know of"),
    ):
        h.run()
    assert written(tmp_path) == [0, 1, 2]


def test_an_older_checkpoint_than_the_sinks_mark_is_noticed(tmp_path: Path) -> None:
    """What its batches would read isn't what was committed under their times."""
    with StreamHarness(
        checkpoint=str(tmp_path / "checkpoint"), setup=_Setup(tmp_path)
    ) as h:
        there_are(tmp_path, 3)
        h.run()
        h.crash()
        connection = sqlite3.connect(tmp_path / "out.db")
        with connection:
            connection.execute("update marks set batch_ms = 9000 where part = 0")
        connection.close()
        h.restart()
        there_are(tmp_path, 5)
        with pytest.raises(MillstreamError, match="has batch 9000 ms"):
            h.run()


def test_what_is_no_source_sink_or_name_is_refused(tmp_path: Path) -> None:
    """When the stream is built; and so is a name that another output has."""
    with StreamHarness() as h:
        with pytest.raises(PySparkTypeError, match="needs a DirectSource, not int"):
            h.ssc.directStream(1)  # type: ignore[arg-type]
        numbers = h.ssc.directStream(Numbers(tmp_path))
        with pytest.raises(PySparkTypeError, match="needs a Sink, not str"):
            numbers.writeTo("x", name="y")  # type: ignore[arg-type]
        sink = Right(str(tmp_path / "out.db"))
        with pytest.raises(PySparkTypeError, match="name must be text"):
            numbers.writeTo(sink, name="")
        numbers.writeTo(sink, name="numbers")
        with pytest.raises(PySparkValueError, match="two streams are named"):
            numbers.writeTo(sink, name="numbers")


class Unplain(Numbers):
    """A source whose ranges no checkpoint could have."""

    range_type = None  # type: ignore[assignment]

    def plan(self, batch: BatchPlan[Any]) -> Sequence[Any]:
        """Return an object."""
        del batch
        return [object()]


def test_a_range_that_is_no_plain_data_is_told(tmp_path: Path) -> None:
    """With the source's name."""
    with StreamHarness() as h:
        h.collect(h.ssc.directStream(Unplain(tmp_path)))
        with pytest.raises(PySparkTypeError, match=r"Unplain.plan returned a range"):
            h.run()


class Telling(Right):
    """A sink that tells which process writes."""

    def write(self, batch: SinkBatch, partition: int, records: Records[Any]) -> None:
        """Write, and tell."""
        super().write(batch, partition, records)
        Path(self.path).with_name(f"pid-{os.getpid()}").touch()


@pytest.mark.slow
def test_sources_and_sinks_travel_to_workers(tmp_path: Path) -> None:
    """Tasks in other processes read and write."""
    there_are(tmp_path, 6)
    with SparkContext("local-cluster[2,1,100]", "travelling") as sc:
        with pytest.warns(FutureWarning):
            ssc = StreamingContext(sc, 0.1)
        numbers = ssc.directStream(Numbers(tmp_path))
        sink = Telling(str(tmp_path / "out.db"))
        numbers.map(_as_record).writeTo(sink, name="numbers")
        ssc.start()
        while not (tmp_path / "out.db").exists() or len(written(tmp_path)) < 6:
            assert not ssc.awaitTerminationOrTimeout(0.05)
        ssc.stop(stopSparkContext=False)

    assert written(tmp_path) == list(range(6))
    pids = {int(each.name.removeprefix("pid-")) for each in tmp_path.glob("pid-*")}
    assert pids
    assert os.getpid() not in pids


def test_no_stream_is_added_after_the_start(sc: SparkContext, tmp_path: Path) -> None:
    """As with any other input or output."""
    there_are(tmp_path, 1)
    with pytest.warns(FutureWarning):
        ssc = StreamingContext(sc, 1)
    numbers = ssc.directStream(Numbers(tmp_path))
    numbers.foreachRDD(lambda rdd: None)
    ssc.start()
    with pytest.raises(IllegalStateError, match="after starting"):
        numbers.writeTo(Right(str(tmp_path / "out.db")), name="late")
    ssc.stop(stopSparkContext=False)
