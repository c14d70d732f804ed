"""Fetching: what is read ahead is planned once; what fails is told when it lasts."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest
from tests.engine.sources.fake_kinesis import HOUR_MS, FakeKinesis, shard

from millstream.engine.base.clock import SystemClock
from millstream.engine.sources.kinesis import fetching as kinesis_fetching
from millstream.engine.sources.kinesis.client import (
    KinesisBusyError,
    KinesisClient,
    KinesisDataLossError,
    KinesisError,
    KinesisIteratorExpiredError,
    KinesisUnreachableError,
    Position,
    Stored,
)
from millstream.engine.sources.kinesis.fetching import Fetching, ShardReader, read_range
from millstream.engine.sources.kinesis.shards import KinesisRange


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinesis_fetching, "_BACK_OFF_S", (0.002, 0.01))
    monkeypatch.setattr(kinesis_fetching, "_BEHIND_S", 0.002)


@contextmanager
def fetching(
    kinesis: FakeKinesis, *, must_have_all: bool = True, timeout_s: float = 30.0
) -> Iterator[Fetching]:
    """Read a stream meanwhile."""
    made = Fetching(
        cast("KinesisClient", kinesis),
        "orders",
        interval_s=0.005,
        timeout_s=timeout_s,
        must_have_all=must_have_all,
    )
    made.start()
    try:
        yield made
    finally:
        made.stop()


def fresh(
    name: str = "a", *, as_of_ms: int | None = None, last: Any = None
) -> KinesisRange:
    """Return where a shard begins."""
    now_ms = SystemClock().now_ms()
    return KinesisRange(name, None, last, 0, now_ms if as_of_ms is None else as_of_ms)


def until(found: Callable[[], Any]) -> Any:
    """Return what is found, once it is."""
    for _ in range(2000):
        if result := found():
            return result
        threading.Event().wait(0.005)
    pytest.fail("it was never found")


def test_ranges_follow_each_other() -> None:
    """Each begins after the one before, and has its records."""
    kinesis = FakeKinesis([shard("a")], page_records=3)
    kinesis.put("a", *range(10))
    with fetching(kinesis) as reading:
        reading.go_on_after([fresh()])
        ranges: list[KinesisRange] = []
        records: list[Stored] = []
        while len(records) < 10:
            for planned, taken in reading.take(4):
                ranges += [planned] if taken else []
                records += taken
                reading.go_on_after([planned])
            threading.Event().wait(0.001)

    assert [int(each.sequence) for each in records] == list(range(10))
    assert all(each.count <= 4 for each in ranges)
    assert [each.last for each in ranges][-1] == "9"
    firsts = [int(str(each.first)) for each in ranges]
    lasts = [int(str(each.last)) for each in ranges]
    assert firsts == [0, *(each + 1 for each in lasts[:-1])]


def test_a_closed_shard_ends() -> None:
    """The range with its last record says so."""
    kinesis = FakeKinesis([shard("a", closed=True)])
    kinesis.put("a", 1, 2)
    with fetching(kinesis) as reading:
        reading.go_on_after([fresh()])
        planned = until(lambda: [each for each, taken in reading.take(None) if taken])

    assert planned[0].is_end
    assert planned[0].count == 2


def test_a_plan_that_was_dropped_is_made_again() -> None:
    """What was taken for a batch that failed is read again for the next one."""
    kinesis = FakeKinesis([shard("a")])
    kinesis.put("a", 1, 2)
    with fetching(kinesis) as reading:
        reading.go_on_after([fresh()])
        first = until(lambda: [r for r, taken in reading.take(None) if taken])
        reading.go_on_after([fresh()])
        again = until(lambda: [r for r, taken in reading.take(None) if taken])

    assert (first[0].first, first[0].last) == (again[0].first, again[0].last)


def test_an_iterator_that_expires_is_replaced() -> None:
    """By one after the last record that was read; nobody hears of it."""
    kinesis = FakeKinesis([shard("a")])
    kinesis.put("a", 1, 2)
    with fetching(kinesis) as reading:
        reading.go_on_after([fresh()])
        until(lambda: [taken for _, taken in reading.take(None) if taken])
        kinesis.failures.append(KinesisIteratorExpiredError("it is old"))
        until(lambda: not kinesis.failures)
        kinesis.put("a", 3)
        found = until(lambda: [taken for _, taken in reading.take(None) if taken])

    assert [each.sequence for each in found[0]] == ["3"]
    assert Position("AFTER_SEQUENCE_NUMBER", "2") in kinesis.asked


def test_a_throttled_shard_is_read_later() -> None:
    """However often it is refused, no batch fails for it."""
    kinesis = FakeKinesis([shard("a")])
    kinesis.put("a", 1)
    kinesis.failures += [KinesisBusyError("too fast") for _ in range(8)]
    with fetching(kinesis, timeout_s=0.005) as reading:
        reading.go_on_after([fresh()])
        found = until(lambda: [taken for _, taken in reading.take(None) if taken])

    assert [each.sequence for each in found[0]] == ["1"]


def test_an_outage_is_told_when_it_lasts() -> None:
    """Not before the time-out is over; then until the first answer."""
    kinesis = FakeKinesis([shard("a")])
    kinesis.put("a", 1)
    kinesis.failures += [KinesisUnreachableError("no answer") for _ in range(15)]
    with fetching(kinesis, timeout_s=0.03) as reading:
        reading.go_on_after([fresh()])
        until(lambda: len(kinesis.failures) < 15)
        assert reading.take(None)[0][1] == []

        def told() -> bool:
            try:
                reading.take(None)
            except KinesisUnreachableError:
                return True
            return False

        until(told)
        until(lambda: not kinesis.failures)
        until(lambda: not told())


def test_a_refusal_is_told_at_once() -> None:
    """A wrong key doesn't get better by waiting."""
    kinesis = FakeKinesis([shard("a")])
    kinesis.failures += [KinesisError("refused us")] * 1000
    with fetching(kinesis) as reading:
        reading.go_on_after([fresh()])
        until(lambda: len(kinesis.failures) < 1000)
        with pytest.raises(KinesisError, match="refused us"):
            until(lambda: reading.take(None)[0][1])
        kinesis.failures.clear()


def test_records_that_may_have_expired() -> None:
    """The error says so; without `must_have_all` reading goes on."""
    kinesis = FakeKinesis([shard("a")])
    kinesis.put("a", 7)
    old_ms = SystemClock().now_ms() - 26 * HOUR_MS
    with fetching(kinesis) as reading:
        reading.go_on_after([fresh(last="3", as_of_ms=old_ms)])
        with pytest.raises(KinesisDataLossError, match="keeps records for 24 hours"):
            until(lambda: reading.take(None)[0][1])
    with fetching(kinesis, must_have_all=False) as reading:
        reading.go_on_after([fresh(last="3", as_of_ms=old_ms)])
        found = until(lambda: [taken for _, taken in reading.take(None) if taken])

    assert [each.sequence for each in found[0]] == ["7"]


def test_a_shard_that_has_expired() -> None:
    """Without `must_have_all` it has ended, and its children can begin."""
    kinesis = FakeKinesis([shard("b", "a")])
    old_ms = SystemClock().now_ms() - 26 * HOUR_MS
    with fetching(kinesis, must_have_all=False) as reading:
        reading.go_on_after([fresh(last="3", as_of_ms=old_ms)])
        until(lambda: reading.take(None)[0][0].is_end)


def test_records_that_are_kept_for_longer_now() -> None:
    """Then nothing is lost: it is looked up before anything is said."""
    kinesis = FakeKinesis([shard("a")])
    kinesis.put("a", 7)
    with fetching(kinesis) as reading:
        kinesis.retention_hours = 48
        old_ms = SystemClock().now_ms() - 26 * HOUR_MS
        reading.go_on_after([fresh(last="3", as_of_ms=old_ms)])

        assert until(lambda: [taken for _, taken in reading.take(None) if taken])


def test_up_to_when_a_shard_was_read() -> None:
    """What waits is behind; when nothing does, it is as new as the last call."""
    reader = ShardReader.after(fresh(as_of_ms=0))
    kinesis = FakeKinesis([shard("a")], page_records=2)
    kinesis.put("a", 1, 2, at_ms=50)
    kinesis.put("a", 3, at_ms=60)
    reader.add(kinesis.page("a:0"), asked_ms=2_000)

    assert reader.take(1)[0].as_of_ms == 50
    assert reader.take(1)[0].as_of_ms == 1_000  # It is a second behind.


def test_a_range_is_read_again() -> None:
    """Page by page, and over errors that pass: the same records."""
    kinesis = FakeKinesis([shard("a")], page_records=3)
    kinesis.put("a", *range(20))
    kinesis.failures += [
        KinesisBusyError("too fast"),
        KinesisUnreachableError("no answer"),
        KinesisIteratorExpiredError("old"),
    ]
    of = KinesisRange("a", "4", "12", 9, 0)
    found = read_range(cast("KinesisClient", kinesis), of, 5.0)

    assert [int(each.sequence) for each in found] == list(range(4, 13))


@pytest.mark.parametrize("there", [(6, 7, 8), (5, 6), (5, 6, 9), ()])
def test_a_range_that_isn_t_all_there(there: tuple[int, ...]) -> None:
    """Its beginning has expired, or its end isn't there: it isn't half read."""
    kinesis = FakeKinesis([shard("a", closed=True)])
    kinesis.put("a", *there)

    with pytest.raises(KinesisDataLossError, match="records 5 to 8 of shard 'a'"):
        read_range(
            cast("KinesisClient", kinesis), KinesisRange("a", "5", "8", 4, 0), 0.05
        )


def test_a_range_that_can_t_be_read() -> None:
    """The task fails with the error when the time-out is over."""
    kinesis = FakeKinesis([shard("a")])
    kinesis.failures += [KinesisUnreachableError("no answer")] * 1000

    with pytest.raises(KinesisUnreachableError, match="no answer"):
        read_range(
            cast("KinesisClient", kinesis), KinesisRange("a", "5", "8", 4, 0), 0.03
        )
