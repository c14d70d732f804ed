"""KinesisSource: where it begins, how it goes on, and what is kept for tasks."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.engine.sources.fake_kinesis import FakeKinesis, shard
from tests.engine.sources.kinesis.test_fetching import until

from millstream.engine.base import frames
from millstream.engine.base.secrets import Secret
from millstream.engine.ingest.direct_source import BatchPlan
from millstream.engine.sources.kinesis import fetching as kinesis_fetching
from millstream.engine.sources.kinesis import source as module
from millstream.engine.sources.kinesis.client import KinesisAccess, Position, Stored
from millstream.engine.sources.kinesis.shards import KinesisRange
from millstream.engine.sources.kinesis.source import (
    Kept,
    KinesisOptions,
    KinesisSource,
    kept_records,
)


@pytest.fixture
def kinesis(monkeypatch: pytest.MonkeyPatch) -> FakeKinesis:
    """A stream in memory, of one open shard whose parent is closed."""
    made = FakeKinesis([shard("a", closed=True), shard("b", "a")])
    monkeypatch.setattr(module, "KinesisClient", lambda _access, _stream: made)
    monkeypatch.setattr(kinesis_fetching, "_BEHIND_S", 0.002)
    return made


def source(start: str | int = "TRIM_HORIZON", **options: Any) -> KinesisSource:
    """Return a source whose records are numbers."""
    access = KinesisAccess(
        "here", "http://me:word@host", Secret("id", "id"), timeout_s=5
    )
    return KinesisSource(
        access,
        "orders",
        KinesisOptions(start, interval_s=0.005, **options),
        lambda record: int(record.data),
    )


@contextmanager
def started(of: KinesisSource) -> Iterator[KinesisSource]:
    """Run a source meanwhile."""
    of.start()
    try:
        yield of
    finally:
        of.stop()


class Planning:
    """Batches of a source, one after the other."""

    def __init__(self, of: KinesisSource, previous: Any = (), rate: Any = None) -> None:
        self.source = of
        self.previous = previous
        self.rate = rate
        self.batches: list[list[Any]] = []

    def next(self) -> list[KinesisRange]:
        """Plan a batch."""
        batch = BatchPlan(0, 1.0, self.previous, self.rate)
        planned = list(self.source.plan(batch))
        if planned:
            self.previous = planned
            self.batches.append([list(self.source.read(each)) for each in planned])
        return planned

    def until(self, is_done: Callable[[list[Any]], Any]) -> list[Any]:
        """Plan batches until what they have had is what is asked for."""

        def read() -> list[Any] | None:
            self.next()
            return self.read if is_done(self.read) else None

        return list(until(read))

    @property
    def read(self) -> list[Any]:
        """All records so far."""
        return [each for batch in self.batches for part in batch for each in part]


def test_all_there_is(kinesis: FakeKinesis) -> None:
    """From the oldest shard on, its child after it, in a later batch."""
    kinesis.put("a", 1, 2)
    kinesis.put("b", 3, 4)
    with started(source()) as made:
        planning = Planning(made)
        assert planning.until(lambda read: len(read) == 4) == [1, 2, 3, 4]
        until(lambda: not planning.next())  # Nothing new: no partition.
        ends = planning.previous

    assert [each.shard for each in ends] == ["b"]
    assert all(len([part for part in each if part]) <= 1 for each in planning.batches)


def test_only_what_comes(kinesis: FakeKinesis) -> None:
    """LATEST is the time of the start: it stays that after a restart without a record."""
    kinesis.put("a", 1, at_ms=1)
    kinesis.put("b", 2, at_ms=2)
    with started(source("LATEST")) as made:
        planning = Planning(made)
        planning.next()
        assert planning.previous[0].start_ms is not None
        kinesis.put("b", 3)
    with started(source("LATEST")) as made:
        planning = Planning(made, planning.previous)
        assert planning.until(len) == [3]


def test_from_a_time_on(kinesis: FakeKinesis) -> None:
    """Of children, too, which have older records perhaps."""
    kinesis.put("a", 1, at_ms=1)
    kinesis.put("b", 2, at_ms=2)
    kinesis.put("b", 3, at_ms=3)
    with started(source(3)) as made:
        assert Planning(made).until(len) == [3]


def test_it_goes_on_where_it_was(kinesis: FakeKinesis) -> None:
    """A new process reads on after the ranges of the last batch."""
    kinesis.put("a", 1, 2)
    kinesis.put("b", 3)
    with started(source()) as made:
        planning = Planning(made)
        planning.until(lambda read: len(read) == 3)
    kinesis.put("b", 4)
    with started(source()) as made:
        assert Planning(made, planning.previous).until(len) == [4]


def test_a_rate_limits_a_batch(kinesis: FakeKinesis) -> None:
    """The lower one of back-pressure's and the program's own."""
    kinesis.put("a", *range(20))
    with started(source(rate_max=8.0)) as made:
        planning = Planning(made, rate=5.0)
        planning.until(lambda read: len(read) == 20)
        slow = [sum(map(len, each)) for each in planning.batches]

    assert max(slow) == 5


def test_tasks_elsewhere_read_from_kinesis(kinesis: FakeKinesis) -> None:
    """What isn't kept on a machine is read again: the same records."""
    kinesis.put("a", *range(10))
    with started(source()) as made:
        planning = Planning(made)
        planning.until(len)
        ranges = [each for each in planning.previous if each.first is not None]
        copy: KinesisSource = frames.loads_function(frames.dumps_function(made))
        there = [list(copy.read(each)) for each in ranges]
    kinesis.asked.clear()
    again = [list(copy.read(each)) for each in ranges]  # The files are gone.

    assert there == again == [list(range(10))]
    assert kinesis.asked == [Position("AT_SEQUENCE_NUMBER", "0")]


def test_what_is_kept_has_an_end(tmp_path: Path) -> None:
    """The oldest ranges go first when there are too many bytes."""
    kept = Kept(tmp_path, 500)
    ranges = [KinesisRange("a", str(each), str(each), 1, 0) for each in range(5)]
    for each in ranges:
        kept.add(each, [Stored(str(each.first), "k", b"x" * 150, 0)])
    found = [kept_records(str(tmp_path), each) is not None for each in ranges]

    assert found == [False, False, False, True, True]
    assert len(list(tmp_path.iterdir())) == 2


def test_a_full_disk_only_costs_a_second_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The range isn't kept, and the log says so."""
    of = KinesisRange("a", "1", "1", 1, 0)
    Kept(tmp_path / "gone").add(of, [Stored("1", "k", b"x", 0)])

    assert kept_records(str(tmp_path / "gone"), of) is None
    assert "tasks will read a range again" in caplog.text


def test_in_words_without_a_password() -> None:
    """What pages and errors show."""
    of = KinesisRange("shard-1", "3", "9", 4, 0)
    words = source().describe(of)

    assert words == "stream: orders\tshard: shard-1\tfrom: 3\tto: 9\tcount: 4"
    assert source().identity == "kinesis orders in here at http://host"
    assert source().of_data(source().as_data(of)) == of
