"""Tests of what is taken out of a task, and of what fails it all the same."""

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.marking import Marker

from millstream import SparkConf, SparkContext, StorageLevel
from millstream.engine.base import frames
from millstream.engine.base.errors import JobFailedError
from millstream.engine.jobs.bad_records import TooManyBadRecordsError
from millstream.engine.jobs.found_records import as_plain_json
from millstream.streaming.direct import BatchPlan, DirectSource


@pytest.fixture(params=["threads", "processes"])
def sc(request: pytest.FixtureRequest) -> Iterator[SparkContext]:
    """Return a context whose tasks run here, or in worker processes."""
    conf = SparkConf(loadDefaults=False).setMaster("local[2]").setAppName("bad records")
    mode = "always" if request.param == "processes" else "off"
    with SparkContext(conf=conf.set("spark.millstream.processes", mode)) as context:
        yield context


@pytest.fixture
def marker() -> Marker:
    """Return what marks RDDs."""
    return Marker()


def inverse(number: int) -> float:
    """Return 1 / number."""
    return 1 / number


pytestmark = pytest.mark.slow


def test_a_bad_record_is_told_with_all_that_helps(
    sc: SparkContext, marker: Marker
) -> None:
    """Its error, the user's line, the step by its name, its place, and itself."""
    rdd = sc.parallelize([1, 2, 0, 4], 1)

    made = marker.mark(rdd).map(lambda x: x).map(inverse).filter(bool).collect()

    assert made == [1.0, 0.5, 0.25]
    (bad,) = marker.records
    assert (bad.index, bad.error, bad.message) == (
        2,
        "ZeroDivisionError",
        "division by zero",
    )
    assert bad.file == __file__
    assert bad.line == inverse.__code__.co_firstlineno + 2
    assert bad.operator.startswith("map (map at test_bad_records.py:")
    assert (bad.text, bad.record, bad.pickled) == ("0", "0", None)
    assert [(find.total, find.indexes) for find in marker.finds] == [(4, (2,))]


def test_what_is_no_plain_data_is_pickled(sc: SparkContext, marker: Marker) -> None:
    """A tuple isn't a list, as JSON would have it."""
    marker.mark(sc.parallelize([("a", 0)], 1)).mapValues(inverse).collect()

    (bad,) = marker.records
    assert bad.record is None
    assert frames.loads(base64.b64decode(bad.pickled or "")) == ("a", 0)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": [1, None, True, "ü", 1.5]}, '{"a": [1, null, true, "\\u00fc", 1.5]}'),
        (float("nan"), None),
        ({1: 2}, None),
        ([(1,)], None),
        (b"x", None),
    ],
)
def test_only_what_comes_back_the_same_is_kept_as_json(
    value: Any, text: str | None
) -> None:
    """Types and all."""
    assert as_plain_json(value) == text


def test_accumulators_count_the_good_records_once(
    sc: SparkContext, marker: Marker
) -> None:
    """Before the mark and behind it, though there were several runs."""
    before, behind = sc.accumulator(0), sc.accumulator(0)

    def seen(number: int) -> int:
        before.add(1)
        return number

    def checked(number: int) -> float:
        behind.add(1)
        return inverse(number)

    rdd = sc.parallelize([0, 1, 0, 2, 4], 2).map(seen)

    assert marker.mark(rdd).map(checked).count() == 3
    assert (before.value, behind.value) == (5, 3)


def test_records_that_steps_change_are_kept_as_they_were(
    sc: SparkContext, marker: Marker
) -> None:
    """In the letters, and for the last run."""

    def grown(record: dict[str, int]) -> dict[str, int]:
        record["n"] += 1
        if record["n"] == 3:
            raise ValueError(record)
        return record

    rdd = sc.parallelize([{"n": n} for n in range(5)], 1)

    assert marker.mark(rdd).map(grown).collect() == [{"n": n} for n in (1, 2, 4, 5)]
    assert [each.record for each in marker.records] == ['{"n": 2}']


def test_what_a_shuffle_cant_place_is_a_bad_record(
    sc: SparkContext, marker: Marker
) -> None:
    """No pair, or a key that has no hash; but not what is wrong with the reduction."""
    rdd = marker.mark(sc.parallelize([("a", 1), "xyz", (["b"], 2), ("a", 3)], 1))

    assert rdd.reduceByKey(lambda a, b: a + b).collect() == [("a", 4)]
    assert marker.places == [(0, 1), (0, 2)]
    assert all("reduceByKey at" in each.operator for each in marker.records)
    with pytest.raises(
        JobFailedError, match=r"must be str, not int|unsupported operand"
    ):
        marker.mark(sc.parallelize([("a", 1), ("a", "2")], 1)).reduceByKey(
            lambda a, b: a + b
        ).collect()


def test_a_record_that_no_combiner_begins_with_is_bad(
    sc: SparkContext, marker: Marker
) -> None:
    """It is one record that raises, wherever it is among those of its key."""
    rdd = marker.mark(sc.parallelize([("a", "1"), ("a", "x"), ("a", "3")], 1))

    made = rdd.combineByKey(int, lambda a, b: a + int(b), lambda a, b: a + b).collect()

    assert made == [("a", 4)]
    assert marker.places == [(0, 1)]


@pytest.mark.parametrize(
    ("data", "settings", "words"),
    [
        ([0] * 10, {}, "not all of ten or more"),
        ([0] * 51 + [1] * 49, {}, "max_share=0.5"),
        ([0] * 11 + [1] * 89, {"max_share": 0.1}, "max_share=0.1"),
        ([0] * 3 + [1] * 6, {"max_records": 2}, "max_records=2"),
    ],
)
def test_where_too_much_is_bad_it_is_the_program(
    sc: SparkContext,
    marker: Marker,
    data: list[int],
    settings: dict[str, Any],
    words: str,
) -> None:
    """The task fails, and says why, with one of the errors."""
    rdd = marker.mark(sc.parallelize(data, 1), **settings)

    with pytest.raises(JobFailedError, match=words) as caught:
        rdd.map(inverse).count()
    assert "raised ZeroDivisionError: division by zero" in str(caught.value)
    assert isinstance(caught.value.user_error, TooManyBadRecordsError)
    assert marker.finds == []


@pytest.mark.parametrize("data", [[0], [0] * 9, [0] * 9 + [1], [0] * 50 + [1] * 50])
def test_little_can_be_bad_altogether(
    sc: SparkContext, marker: Marker, data: list[int]
) -> None:
    """Of fewer than ten records all may be, of 100 half of them."""
    rdd = marker.mark(sc.parallelize(data, 1))

    assert rdd.map(inverse).count() == data.count(1)
    assert len(marker.places) == data.count(0)


def test_what_is_only_counted_stays_where_it_is(
    sc: SparkContext, marker: Marker
) -> None:
    """A few are described, for the log, and nothing of them is kept."""
    rdd = marker.mark(sc.parallelize([0, 1] * 40, 1), keeps_records=False)

    assert rdd.map(inverse).count() == 40
    (find,) = marker.finds
    assert len(find.indexes) == 40
    assert [each.text for each in find.records] == ["0", "0", "0"]
    assert {each.record for each in find.records} == {None}


def test_errors_before_the_mark_fail_the_task(sc: SparkContext, marker: Marker) -> None:
    """Nothing there was marked."""
    rdd = sc.parallelize([1, 0], 1).map(inverse)

    with pytest.raises(JobFailedError, match="division by zero"):
        marker.mark(rdd).map(inverse).collect()
    assert marker.finds == []


def test_each_mark_has_what_fails_behind_it(sc: SparkContext, marker: Marker) -> None:
    """Up to the next one; and where it says "fail", nothing is taken out."""
    other = Marker("other")
    parsed = marker.mark(sc.parallelize(["1", "x", "0", "2"], 1)).map(int)

    assert other.mark(parsed).map(inverse).collect() == [1.0, 0.5]
    assert marker.places == [(0, 1)]
    assert other.places == [(0, 1)]
    with pytest.raises(JobFailedError, match="division by zero"):
        other.mark(parsed, is_tolerant=False).map(inverse).collect()
    assert other.mark(parsed, is_tolerant=False).collect() == [1, 0, 2]


def test_what_is_kept_lacks_the_bad_and_stands_for_itself(
    sc: SparkContext, marker: Marker
) -> None:
    """Behind a persisted RDD the mark has no say, however fresh it is."""
    parsed = marker.mark(sc.parallelize(["1", "x", "0"], 1)).map(int)
    kept = parsed.persist(StorageLevel.MEMORY_ONLY)

    with pytest.raises(JobFailedError, match="division by zero"):
        kept.map(inverse).collect()
    assert kept.collect() == [1, 0]
    with pytest.raises(JobFailedError, match="division by zero"):
        kept.map(inverse).collect()
    assert Marker("own").mark(kept).map(inverse).collect() == [1.0]
    assert marker.places == [(0, 1)]


def test_a_mark_that_is_kept_lets_pass_as_another_does(
    sc: SparkContext, marker: Marker
) -> None:
    """The first time and when it is there already."""
    rdd = marker.mark(sc.parallelize(["1", "x"], 1)).persist(StorageLevel.MEMORY_ONLY)

    assert [rdd.map(int).collect() for _ in range(2)] == [[1], [1]]
    assert [find.indexes for find in marker.finds] == [(1,), (1,)]


def test_partitions_that_are_put_together_each_lose_their_own(
    sc: SparkContext, marker: Marker
) -> None:
    """As by a union, or where partitions are made fewer."""
    left = marker.mark(sc.parallelize(["1", "x", "2", "y"], 2))
    right = sc.parallelize(["7"], 1)

    assert left.union(right).map(int).collect() == [1, 2, 7]
    assert left.coalesce(1).map(int).collect() == [1, 2]
    assert marker.places == [(0, 1), (1, 1)]


def test_a_join_in_one_stage_gets_the_good_records(
    sc: SparkContext, marker: Marker
) -> None:
    """What fails on the way to it is taken out; what fails behind it isn't a record's."""
    left = sc.parallelize([("a", "1"), ("b", "x"), ("c", "3")], 2).partitionBy(2)
    right = sc.parallelize([("a", 1), ("b", 2), ("c", 0)], 2).partitionBy(2)
    joined = marker.mark(left).mapValues(int).join(right)

    assert sorted(joined.collect()) == [("a", (1, 1)), ("c", (3, 0))]
    (bad,) = marker.records
    assert bad.text == "('b', 'x')"
    with pytest.raises(JobFailedError, match="division by zero"):
        joined.mapValues(lambda pair: inverse(pair[1])).collect()


def test_what_is_known_to_be_bad_stays_out(sc: SparkContext, marker: Marker) -> None:
    """Good or not by now; and new ones are where they were without that."""
    known = {0: frozenset({0, 2})}
    rdd = marker.mark(sc.parallelize([1, 0, 2, 0, 4, 5], 2), taken_out=known)

    assert rdd.collect() == [0, 0, 4, 5]
    assert rdd.map(inverse).collect() == [0.25, 0.2]
    assert marker.places == [(0, 1), (1, 0)]
    assert [find.total for find in marker.finds] == [3, 3]


def test_the_same_letters_whoever_tries_again(marker: Marker, tmp_path: Path) -> None:
    """An attempt that fails tells nothing: what counts is the one that succeeds."""
    conf = SparkConf(loadDefaults=False).setMaster("local[2,3]").setAppName("again")

    def ending(rows: Iterator[float]) -> None:
        made = list(rows)
        (tmp_path / f"{len(list(tmp_path.iterdir()))}").write_text(f"{made}")
        if len(list(tmp_path.iterdir())) < 3:
            msg = "the sink is down"
            raise ConnectionError(msg)

    with SparkContext(conf=conf) as sc:
        rdd = marker.mark(sc.parallelize([1, 0, 2], 1)).map(inverse)
        rdd.foreachPartition(ending)

    assert [each.read_text() for each in tmp_path.iterdir()] == ["[1.0, 0.5]"] * 3
    assert [find.indexes for find in marker.finds] == [(1,)]


def test_memory_that_runs_out_is_no_records_fault(
    sc: SparkContext, marker: Marker
) -> None:
    """Nor is what the engine finds wrong with itself."""

    def hungry(number: int) -> int:
        if number:
            raise MemoryError
        return number

    with pytest.raises(JobFailedError, match="memory ran out"):
        marker.mark(sc.parallelize([0, 1], 1)).map(hungry).count()


class Tens(DirectSource[int, int]):
    """Ten numbers a range."""

    def plan(self, batch: BatchPlan[int]) -> Sequence[int]:
        """Return nothing: ranges are given."""
        return []

    def read(self, of: int) -> Iterator[int]:
        """Yield them."""
        yield from range(10 * of, 10 * of + 10)

    def describe(self, of: int) -> str:
        """Say which."""
        return f"the tens from {10 * of}"


def test_the_range_of_a_source_is_told_in_words(
    sc: SparkContext, marker: Marker
) -> None:
    """Whatever narrow steps are between it and the mark."""
    from millstream.engine.ingest.direct_source import DirectPartition
    from millstream.engine.plan.nodes import Source

    pickled = frames.dumps_function(Tens())
    parts = tuple(DirectPartition(pickled, number) for number in range(2))
    rdd = sc._rdd(Source(parts), 2).map(lambda x: x)

    assert marker.mark(rdd).map(lambda x: 1 / (x - 15)).count() == 19
    assert [(find.range, find.indexes) for find in marker.finds] == [
        ("the tens from 10", (5,))
    ]
