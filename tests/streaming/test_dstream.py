"""Tests of streaming/dstream.py: every operation, on a virtual clock."""

import functools
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.base.errors import (
    IllegalArgumentError,
    NotSerializableError,
    OutputOperationError,
    PySparkTypeError,
    SparkError,
)
from millstream.engine.plan.kernels import StateFunction
from millstream.streaming import DStream, Milliseconds, Seconds, Time
from millstream.testing import Collected, StreamHarness

Build = Callable[[DStream[Any]], DStream[Any]]

SIMPLE: list[tuple[str, Build, list[Any], list[list[Any]]]] = [
    ("map", lambda s: s.map(str), [[1], [2]], [["1"], ["2"]]),
    ("flatMap", lambda s: s.flatMap(range), [[2], [0]], [[0, 1], []]),
    ("filter", lambda s: s.filter(bool), [[0, 1], [0]], [[1], []]),
    (
        "mapPartitions",
        lambda s: s.mapPartitions(lambda rows: [sum(rows)]),
        [[1, 2], [3]],
        [[3], [3]],
    ),
    (
        "mapPartitionsWithIndex",
        lambda s: s.mapPartitionsWithIndex(lambda i, rows: [(i, x) for x in rows]),
        [[7]],
        [[(0, 7)]],
    ),
    ("glom", lambda s: s.glom(), [[1, 2], []], [[[1, 2]], [[]]]),
    ("mapValues", lambda s: s.mapValues(str), [[(1, 2)]], [[(1, "2")]]),
    ("flatMapValues", lambda s: s.flatMapValues(range), [[(1, 2)]], [[(1, 0), (1, 1)]]),
    ("count", lambda s: s.count(), [[1, 2], []], [[2], [0]]),
    ("reduce", lambda s: s.reduce(max), [[1, 2], []], [[2], []]),
    ("countByValue", lambda s: s.countByValue(), [["a", "a"]], [[("a", 2)]]),
    (
        "reduceByKey",
        lambda s: s.reduceByKey(lambda a, b: a + b),
        [[("a", 1), ("a", 2)], []],
        [[("a", 3)], []],
    ),
    (
        "combineByKey",
        lambda s: s.combineByKey(str, lambda c, v: c + str(v), lambda a, b: a + b),
        [[("a", 1), ("a", 2)]],
        [[("a", "12")]],
    ),
    (
        "groupByKey",
        lambda s: s.groupByKey().mapValues(list),
        [[("a", 1), ("a", 2)]],
        [[("a", [1, 2])]],
    ),
    ("repartition", lambda s: s.repartition(3), [[5]], [[5]]),
    ("partitionBy", lambda s: s.partitionBy(2), [[(1, 1)]], [[(1, 1)]]),
    ("transform", lambda s: s.transform(lambda rdd: rdd.map(str)), [[1]], [["1"]]),
    (
        "transform with time",
        lambda s: s.transform(lambda t, rdd: rdd.map(lambda x: (x, t.second))),
        [[1]],
        [[(1, 1)]],
    ),
    ("union", lambda s: s.union(s.map(str)), [[1]], [[1, "1"]]),
    ("join", lambda s: s.join(s), [[("a", 1)]], [[("a", (1, 1))]]),
    (
        "leftOuterJoin",
        lambda s: s.leftOuterJoin(s.filter(lambda kv: kv[0] == "a")),
        [[("b", 1)]],
        [[("b", (1, None))]],
    ),
    (
        "rightOuterJoin",
        lambda s: s.filter(lambda kv: False).rightOuterJoin(s),
        [[("b", 1)]],
        [[("b", (None, 1))]],
    ),
    (
        "fullOuterJoin",
        lambda s: s.filter(lambda kv: False).fullOuterJoin(s),
        [[("b", 1)]],
        [[("b", (None, 1))]],
    ),
    (
        "cogroup",
        lambda s: s.cogroup(s).mapValues(lambda p: tuple(map(list, p))),
        [[("a", 1)]],
        [[("a", ([1], [1]))]],
    ),
    (
        "transformWith",
        lambda s: s.transformWith(lambda a, b: a.union(b), s.map(str)),
        [[1]],
        [[1, "1"]],
    ),
]


@pytest.mark.parametrize(
    ("build", "batches", "expected"),
    [case[1:] for case in SIMPLE],
    ids=[case[0] for case in SIMPLE],
)
def test_each_operation_on_each_batch(
    build: Build, batches: list[Any], expected: list[list[Any]]
) -> None:
    """The RDD operation happens to every batch."""
    with StreamHarness(master="local") as h:
        out = h.collect(build(h.stream(batches, partitions=1)))
        h.run(len(batches))

    assert out.records == expected


def test_a_batch_without_an_rdd_has_no_output() -> None:
    """None in, None out; windows and unions go on."""
    with StreamHarness() as h:
        s = h.stream([[1], None, [3]])
        plain, window = h.collect(s.map(lambda x: x)), h.collect(s.window(2))
        both = h.collect(s.union(h.stream([[7], [8], [9]])))
        h.run(3)

    assert plain.records == [[1], [3]]
    assert plain.times_ms == [1000, 3000]
    assert window.records == [[1], [1], [3]]
    assert both.records == [[1, 7], [8], [3, 9]]


WINDOWS = [
    (
        3,
        1,
        [
            [1],
            [1, 2],
            [1, 2, 3],
            [2, 3, 4],
            [3, 4, 5],
            [4, 5, 6],
            [5, 6, 7],
            [6, 7],
            [7],
            [],
        ],
    ),
    (3, 3, [[1, 2, 3], [4, 5, 6], [7]]),
    (6, 3, [[1, 2, 3], [1, 2, 3, 4, 5, 6], [4, 5, 6, 7]]),
    (2, 4, [[3, 4], [7]]),
]


@pytest.mark.parametrize(("window", "slide", "expected"), WINDOWS)
def test_windows_hold_the_batches_they_should(
    window: int, slide: int, expected: list[list[int]]
) -> None:
    """Partial at the start, aligned to the zero time, gaps are never seen."""
    with StreamHarness() as h:
        out = h.collect(h.stream([[i] for i in range(1, 8)]).window(window, slide))
        h.run(10)

    assert out.records == expected


batches_of_pairs = st.lists(
    st.lists(st.tuples(st.integers(0, 2), st.integers(1, 5)), max_size=4),
    min_size=1,
    max_size=9,
)


@pytest.mark.slow
@given(batches_of_pairs, st.integers(1, 7), st.integers(1, 3))
def test_windows_equal_a_brute_force_model(
    tmp_path_factory: pytest.TempPathFactory,
    batches: list[Any],
    length: int,
    slide: int,
) -> None:
    """With and without an inverse, values equal plain sums over the window."""
    window = max(length, slide)
    directory = str(tmp_path_factory.mktemp("checkpoint"))
    with StreamHarness(checkpoint=directory, master="local") as h:
        s = h.stream(batches)
        anew = h.collect(
            s.reduceByKeyAndWindow(lambda a, b: a + b, None, window, slide)
        )
        stepwise = h.collect(
            s.reduceByKeyAndWindow(
                lambda a, b: a + b,
                lambda a, b: a - b,
                window,
                slide,
                filterFunc=lambda kv: kv[1] != 0,
            )
        )
        grouped = h.collect(s.groupByKeyAndWindow(window, slide).mapValues(list))
        h.run(len(batches))
    expected, lists = [], []
    for end in range(slide, len(batches) + 1, slide):
        inside = batches[max(0, end - window) : end]
        values: dict[int, list[int]] = {}
        for batch in inside:
            for key, value in batch:
                values.setdefault(key, []).append(value)
        expected.append({key: sum(each) for key, each in values.items()})
        lists.append(values)

    assert [dict(batch) for batch in anew.records] == expected
    assert [dict(batch) for batch in stepwise.records] == expected
    kept = [{k: v for k, v in batch if v} for batch in grouped.records]
    assert [{k: sorted(v) for k, v in b.items()} for b in kept] == [
        {k: sorted(v) for k, v in b.items()} for b in lists
    ]


def test_incremental_windows_keep_zero_keys(checkpoint: str) -> None:
    """Five slides or more: emptied keys stay until filtered; fewer: they vanish."""

    def build(h: StreamHarness, length: int, **more: Any) -> Collected:
        s = h.stream([[("a", 1)], [("a", 2), ("b", 5)]])
        return h.collect(
            s.reduceByKeyAndWindow(
                lambda a, b: a + b, lambda a, b: a - b, length, 1, **more
            )
        )

    with StreamHarness(checkpoint=checkpoint) as h:
        short, long = build(h, 2), build(h, 5)
        filtered = build(h, 5, filterFunc=lambda kv: kv[1] > 0)
        counted = h.collect(h.stream([["x"]]).countByWindow(5, 1))
        counted_short = h.collect(h.stream([["x"]]).countByWindow(2, 1))
        by_value = h.collect(h.stream([["x"]]).countByValueAndWindow(5, 1))
        h.run(7)

    assert [dict(b) for b in short.records[:4]] == [
        {"a": 1},
        {"a": 3, "b": 5},
        {"a": 2, "b": 5},
        {},
    ]
    assert [dict(b) for b in long.records[5:]] == [{"a": 2, "b": 5}, {"a": 0, "b": 0}]
    assert [dict(b) for b in filtered.records[5:]] == [{"a": 2, "b": 5}, {}]
    assert counted.records == [[1]] * 5 + [[0]] * 2
    assert counted_short.records == [[1], [1], [], [], [], [], []]
    assert by_value.records == [[("x", 1)]] * 5 + [[], []]


def test_state_is_updated_for_every_key_every_batch(checkpoint: str) -> None:
    """New values, old state; None drops a key; the whole state comes out."""

    def update(values: list[int], state: int | None) -> int | None:
        return None if sum(values) < 0 else sum(values) + (state or 0)

    with StreamHarness(checkpoint=checkpoint) as h:
        s = h.stream([[("a", 1)], [("b", 2), ("a", 3)], None, [("a", -1)], []])
        out = h.collect(s.updateStateByKey(update))
        seen = h.collect(s.updateStateByKey(lambda v, n: (n or 0) + 1))
        h.run(5)

    assert [dict(batch) for batch in out.records] == [
        {"a": 1},
        {"a": 4, "b": 2},
        {"a": 4, "b": 2},
        {"b": 2},
        {"b": 2},
    ]
    assert [dict(batch) for batch in seen.records][-1] == {"a": 4, "b": 3}


def test_state_starts_from_an_initial_rdd(checkpoint: str) -> None:
    """A list or an RDD; of repeated keys the first counts."""

    def add(values: list[int], state: int | None) -> int:
        return sum(values) + (state or 0)

    with StreamHarness(checkpoint=checkpoint) as h:
        s = h.stream([[("a", 1)], [("b", 1)]])
        listed = h.collect(s.updateStateByKey(add, initialRDD=[("a", 10), ("c", 5)]))
        rdd = h.sc.parallelize([("a", 10), ("a", 99)], 1)
        of_rdd = h.collect(s.updateStateByKey(add, numPartitions=3, initialRDD=rdd))
        h.run(2)

    assert [dict(b) for b in listed.records] == [
        {"a": 11, "c": 5},
        {"a": 11, "b": 1, "c": 5},
    ]
    assert [dict(b) for b in of_rdd.records] == [{"a": 11}, {"a": 11, "b": 1}]
    assert len(of_rdd.partitions[0]) == 3


def test_the_other_forms_of_state_updates(checkpoint: str) -> None:
    """With the time and key, and for a whole partition at once."""

    def timed(time: datetime, key: str, values: list[int], state: Any) -> Any:
        return (time.second, key, values, state)

    def whole(rows: Any) -> Any:
        return (
            (key.upper(), sum(values) + (state or 0)) for key, values, state in rows
        )

    with StreamHarness(checkpoint=checkpoint) as h:
        s = h.stream([[("a", 1)], [("a", 2)]])
        by_time = h.collect(s.updateStateByKey(timed, form=StateFunction.TIMED))
        by_part = h.collect(s.updateStateByKey(whole, form=StateFunction.ITERATOR))
        h.run(2)

    assert by_time.records[0] == [("a", (1, "a", [1], None))]
    assert by_time.records[1] == [("a", (2, "a", [2], (1, "a", [1], None)))]
    assert sorted(by_part.records[1]) == [("A", 1), ("A", 2)]


def test_state_functions_may_change_what_they_are_given(checkpoint: str) -> None:
    """Lists kept as state aren't shared with the cache."""

    def extend(values: list[int], state: list[int] | None) -> list[int]:
        state = state or []
        state.extend(values)
        return state

    with StreamHarness(checkpoint=checkpoint) as h:
        s = h.stream([[("a", 1)], [("a", 2)], [("a", 3)]])
        state = s.updateStateByKey(extend)
        first, second = h.collect(state), h.collect(state)
        h.run(3)

    assert [dict(b)["a"] for b in first.records] == [[1], [1, 2], [1, 2, 3]]
    assert first.records == second.records


def test_stateful_lineage_is_cut_by_checkpoints(checkpoint: str) -> None:
    """Every tenth batch the state is written, and lineage starts anew."""
    with StreamHarness(checkpoint=checkpoint) as h:
        state = h.stream([[("a", 1)]] * 40).updateStateByKey(
            lambda values, n: sum(values) + (n or 0)
        )
        out = h.collect(state)
        h.run(40)
        depths = [
            len(_lineage(rdd._node)) for rdd in state._operator.generated.values()
        ]

    assert out.records[-1] == [("a", 40)]
    assert max(depths) < 120


def _lineage(node: Any) -> list[Any]:
    from millstream.engine.plan.nodes import ancestors

    return list(ancestors(node))


def test_outputs_run_in_the_order_they_were_made() -> None:
    """Two outputs are two jobs, one after the other, batch by batch."""
    seen: list[Any] = []
    with StreamHarness() as h:
        s = h.stream([[1], [2]])
        s.foreachRDD(lambda rdd: seen.append(("a", rdd.collect())))
        s.foreachRDD(lambda time, rdd: seen.append((time, rdd.count())))
        s.foreachRDD(functools.partial(lambda tag, rdd: seen.append(tag), "c"))
        h.run(2)
    one, two = datetime.fromtimestamp(1), datetime.fromtimestamp(2)

    assert seen == [("a", [1]), (one, 1), "c", ("a", [2]), (two, 1), "c"]


def test_pprint_prints_as_pyspark_does(capsys: pytest.CaptureFixture[str]) -> None:
    """Dashes, the time, records, dots when there are more, an empty line."""
    with StreamHarness() as h:
        h.stream([[1, 2, 3], []]).pprint(2)
        h.run(2)
    line, one, two = "-" * 43, datetime.fromtimestamp(1), datetime.fromtimestamp(2)

    assert capsys.readouterr().out == (
        f"{line}\nTime: {one}\n{line}\n1\n2\n...\n\n{line}\nTime: {two}\n{line}\n\n"
    )


def test_text_files_are_saved_by_batch(tmp_path: Any) -> None:
    """prefix-<ms>.suffix with parts and _SUCCESS, also when empty, also twice."""
    with StreamHarness(master="local") as h:
        h.stream([["a"], []], partitions=1).saveAsTextFiles(
            str(tmp_path / "out"), "txt"
        )
        h.run(2)

    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "out-1000.txt",
        "out-2000.txt",
    ]
    assert (tmp_path / "out-1000.txt" / "part-00000").read_text() == "a\n"
    assert (tmp_path / "out-2000.txt" / "_SUCCESS").exists()


def test_slice_gives_remembered_rdds() -> None:
    """Both ends included, floored to the grid; datetimes, Times or seconds."""
    with StreamHarness() as h:
        s = h.stream([[1], [2], [3], [4]])
        h.collect(s)
        with pytest.raises(SparkError, match="has not been initialized"):
            s.slice(0, 1)
        h.ssc.remember(10)
        h.run(4)
        found = s.slice(1.5, 3.5)
        assert [rdd.collect() for rdd in found] == [[1], [2], [3]]
        ends = datetime.fromtimestamp(2), datetime.fromtimestamp(3)
        assert [rdd.collect() for rdd in s.slice(*ends)] == [[2], [3]]
        assert len(s.slice(Time(1000), Time(2000))) == 2
        assert s.slice(-1, 0) == []


def test_old_rdds_are_forgotten() -> None:
    """After a batch only what must be remembered is left, and unpersisted."""
    with StreamHarness() as h:
        s = h.stream([[1], [2], [3]]).map(lambda x: x).cache()
        h.collect(s)
        h.run(3)
        assert list(s._operator.generated) == [3000]
        assert h.sc._driver.blocks.statistics().memory_blocks <= 2


def test_durations_may_be_seconds_or_durations() -> None:
    """Wherever PySpark takes seconds a Duration is taken too."""
    with StreamHarness(batch=Milliseconds(500)) as h:
        out = h.collect(h.stream([[1], [2], [3], [4]]).window(Seconds(1), 0.5))
        h.run(3)

    assert out.records == [[1], [1, 2], [2, 3]]
    assert out.times_ms == [500, 1000, 1500]


BAD: list[tuple[str, Callable[[Any, Any], Any], Any, str]] = [
    (
        "window",
        lambda h, s: s.window(0.7),
        ValueError,
        r"windowDuration must be multiple of the parent dstream's slide \(batch\) duration \(1000 ms\)",
    ),
    (
        "slide",
        lambda h, s: s.window(2, 0.3),
        ValueError,
        "slideDuration must be multiple",
    ),
    ("zero", lambda h, s: s.window(0), ValueError, "windowDuration must be multiple"),
    ("words", lambda h, s: s.window("2"), TypeError, "seconds or a Duration"),
    (
        "inverse",
        lambda h, s: s.reduceByKeyAndWindow(max, min, 2, 4),
        ValueError,
        "must not be longer",
    ),
    (
        "union",
        lambda h, s: s.union(s.window(2, 2)),
        ValueError,
        "the two DStream should have same slide duration",
    ),
    (
        "no union",
        lambda h, s: h.ssc.union(),
        ValueError,
        "should have at least one DStream to union",
    ),
    ("union of", lambda h, s: s.union([1]), TypeError, "needs a DStream"),
    (
        "arity",
        lambda h, s: s.transform(lambda a, b, c: a),
        AssertionError,
        "func should take one or two arguments",
    ),
    (
        "arity 2",
        lambda h, s: s.transformWith(lambda a: a, s),
        AssertionError,
        "func should take two or three arguments",
    ),
    (
        "function",
        lambda h, s: s.map(3),
        PySparkTypeError,
        "map needs a function, not int",
    ),
    (
        "queue",
        lambda h, s: h.ssc.queueStream([]),
        IndexError,
        "at least one RDD or a default",
    ),
    ("queue of", lambda h, s: h.ssc.queueStream([1]), TypeError, "needs RDDs or lists"),
    (
        "port",
        lambda h, s: h.ssc.socketTextStream("localhost", 0),
        ValueError,
        "port must be a number",
    ),
    ("receiver", lambda h, s: h.ssc.receiverStream(3), TypeError, "needs a Receiver"),
    (
        "initial",
        lambda h, s: s.updateStateByKey(max, initialRDD=3),
        TypeError,
        "must be an RDD or a list",
    ),
    (
        "records",
        lambda h, s: h.ssc.binaryRecordsStream("/tmp", 0),
        ValueError,
        "recordLength must be positive",
    ),
    (
        "remember",
        lambda h, s: (h.ssc.remember(1), h.ssc.remember(2)),
        IllegalArgumentError,
        "Remember duration already set",
    ),
]


@pytest.mark.parametrize(
    ("action", "error", "text"),
    [case[1:] for case in BAD],
    ids=[case[0] for case in BAD],
)
def test_bad_input_is_refused_in_words(
    action: Callable[[StreamHarness, DStream[Any]], Any], error: Any, text: str
) -> None:
    """Each mistake has a clear error at the call that made it."""
    with StreamHarness() as h, pytest.raises(error, match=text):
        action(h, h.stream([]))


def test_a_stream_in_a_closure_is_named() -> None:
    """A function that refers to a stream or context can't travel."""
    with StreamHarness() as h:
        s = h.stream([[1]])
        h.collect(s.map(lambda x: s))
        with pytest.raises(OutputOperationError, match="DStream can't be pickled"):
            h.run(1)
        with pytest.raises(NotSerializableError):
            h.ssc.__reduce_ex__(2)


def test_non_pairs_are_told_with_the_record() -> None:
    """Pair operations name the record that is no pair."""
    with StreamHarness() as h:
        h.collect(h.stream([[1]]).reduceByKey(max))
        with pytest.raises(OutputOperationError, match="this record is none") as caught:
            h.run(1)

    assert "record 1" in str(caught.value)
