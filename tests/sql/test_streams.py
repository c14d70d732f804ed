"""Tests of sql/streams.py."""

import os
import signal
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.thoroughness import tries

from millstream.conf import SparkConf
from millstream.context import SparkContext
from millstream.engine.base.errors import (
    IllegalStateError,
    NotSerializableError,
    OutputOperationError,
)
from millstream.engine.sinks.sqlite import SqliteSink
from millstream.errors import PySparkTypeError, PySparkValueError
from millstream.sql import Row, SparkSession
from millstream.testing import StreamHarness

pytest.importorskip("pysail", reason="needs the extra `sql`")
pytestmark = pytest.mark.slow

WORDS = [[("a", 1), ("b", 2), ("a", 3)], [], [("c", 4)]]


@pytest.fixture
def h() -> Iterator[StreamHarness]:
    """Return a harness with batches of a second."""
    with StreamHarness(batch=1.0) as harness:
        yield harness


def spark() -> Any:
    """Return the session of the harness's context."""
    return SparkSession.builder.getOrCreate()


def tuples(batches: list[list[Any]]) -> list[list[Any]]:
    """Return rows of batches as tuples, in order."""
    return [sorted(map(tuple, batch)) for batch in batches]


def test_a_query_is_asked_of_every_batch(h: StreamHarness) -> None:
    """The batch is `stream`, however the query spells it; what comes are rows."""
    words = h.stream(WORDS, partitions=2)
    query = "SELECT word, count(*) c, sum(n) s FROM Stream GROUP BY word"
    counted = h.collect(words.sql(query, schema=["word", "n"]))
    h.run(3)

    assert tuples(counted.records) == [[("a", 2, 4), ("b", 1, 2)], [], [("c", 1, 4)]]
    assert type(counted.records[0][0]) is Row
    assert counted.records[0][0].asDict().keys() == {"word", "c", "s"}
    assert [len(parts) for parts in counted.partitions] == [1, 1, 1]


class Event(NamedTuple):
    """A record with names for its fields."""

    user: str
    amount: float


COLUMNS: list[tuple[list[Any], Any, list[tuple[str, str]]]] = [
    ([1, 2], None, [("value", "bigint")]),
    (["a"], ["word"], [("word", "string")]),
    (["a"], "string", [("value", "string")]),
    ([(1, "a")], None, [("_1", "bigint"), ("_2", "string")]),
    ([(1, "a")], "n int, s string", [("n", "int"), ("s", "string")]),
    ([Row(n=1, s="a")], None, [("n", "bigint"), ("s", "string")]),
    ([{"n": 1, "s": "a"}], None, [("n", "bigint"), ("s", "string")]),
    ([Event("a", 1.5)], None, [("user", "string"), ("amount", "double")]),
    ([(None, 1), ("a", 2)], ["s", "n"], [("s", "string"), ("n", "bigint")]),
]


def test_columns_are_as_createdataframe_finds_them(h: StreamHarness) -> None:
    """Of plain values, tuples, rows, dicts, and whatever the schema says."""
    found = []
    for records, schema, _ in COLUMNS:
        stream = h.stream([records]).toDF(schema)
        stream.foreachBatch(lambda df: found.append((df.dtypes, df.count())))
    h.run()

    assert found == [(expected, len(records)) for records, _, expected in COLUMNS]


def test_empty_batches_have_the_columns_of_those_before(h: StreamHarness) -> None:
    """So that a count of them is 0; before the first record there is no row at all."""
    counts = h.collect(
        h.stream([[], [("a", 1)], [], None, [("b", 2)]]).sql(
            "select count(*), max(_2) from stream"
        )
    )
    h.run(5)

    assert tuples(counts.records) == [[], [(1, 1)], [(0, None)], [(1, 2)]]


def test_a_schema_makes_the_first_batch_no_exception(h: StreamHarness) -> None:
    """It is empty, and its columns are known."""
    counts = h.collect(h.stream([[]]).sql("select count(n) c from stream", "n int"))
    h.run()

    assert tuples(counts.records) == [[(0,)]]


def test_partitions_agree_on_types(h: StreamHarness) -> None:
    """A column of None in one, a field that another lacks; and later batches do."""
    batches = [[Row(a=None, b=1), Row(a="x", c=2.5)], [Row(a=None, b=None, c=None)]]
    stream = h.stream(batches, partitions=2)
    rows = h.collect(stream.sql("select * from stream order by b nulls last"))
    types = h.collect(stream.sql("select typeof(a) a, typeof(c) c from stream"))
    h.run(2)

    assert rows.records == [
        [Row(a=None, b=1, c=None), Row(a="x", b=None, c=2.5)],
        [Row(a=None, b=None, c=None)],
    ]
    assert {row for batch in types.records for row in batch} == {("string", "double")}


def test_types_that_do_not_go_together_fail_the_batch(h: StreamHarness) -> None:
    """As merging them does in Spark."""
    records = [(1,), ((1,),)]
    h.collect(h.stream([records], partitions=2).sql("select * from stream"))

    with pytest.raises(OutputOperationError, match="CANNOT_MERGE_TYPE"):
        h.run()


def test_a_wrong_query_fails_its_batch_and_no_other(h: StreamHarness) -> None:
    """It says which query of which batch; the next batch is asked again."""
    stream = h.stream([[(1,)], [(2,)]])
    answers = h.collect(stream.sql("select n from numbers, stream"))
    with pytest.raises(OutputOperationError) as caught:
        h.run()

    assert "numbers" in str(caught.value)
    assert "in sql('select n from numbers, stream'), of batch 1000 ms" in str(
        caught.value
    )
    spark().range(2).toDF("n").createOrReplaceTempView("numbers")
    h.run()
    assert tuples(answers.records) == [[(0,), (1,)]]


def test_an_engine_that_ends_fails_its_batch_and_no_other(h: StreamHarness) -> None:
    """In the middle of a query; the next batch is asked of a new one."""

    def die_of_two(n: int) -> int:
        if n == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return n

    # Functions of queries run in the engine's process.
    spark().udf.register("die_of_two", die_of_two, "long")
    stream = h.stream([[(1,)], [(2,)], [(3,)]])
    answers = h.collect(stream.sql("select die_of_two(_1) n from stream"))
    h.run()

    with pytest.raises(OutputOperationError, match="the SQL engine's process ended"):
        h.run()
    h.run()
    assert answers.records == [[Row(n=1)], [Row(n=3)]]


def test_an_engine_that_ends_between_batches_is_replaced(h: StreamHarness) -> None:
    """No batch fails, if the end is known before the next one asks."""
    stream = h.stream([[(1,)], [(2,)]])
    answers = h.collect(stream.sql("select _1 n from stream"))
    h.run()
    engine = spark()._backend._now.engine
    os.kill(engine.pid, signal.SIGKILL)
    assert engine.end_of(wait_s=10.0) == "SIGKILL"

    h.run()
    assert answers.records == [[Row(n=1)], [Row(n=2)]]


def test_other_views_are_those_that_the_batch_sees(h: StreamHarness) -> None:
    """Those that an earlier output of the same batch has registered."""
    stream = h.stream([[1], [2, 3]])
    stream.toDF(["n"]).createOrReplaceTempView("own")
    both = stream.sql("select max(own.n), count(*) from own cross join stream")
    answers = h.collect(both)
    h.run(2)

    assert tuples(answers.records) == [[(1, 1)], [(3, 4)]]
    assert spark().table("own").count() == 2


def test_nothing_is_asked_while_a_batch_is_generated(h: StreamHarness) -> None:
    """The query runs in the job, on another thread than the one that makes RDDs."""
    threads = []

    def noted(df: Any) -> Any:
        threads.append(threading.current_thread().name)
        return df

    generated = []

    def note(rdd: Any) -> Any:
        generated.append(threading.current_thread().name)
        return rdd

    h.collect(h.stream([[1], [2]]).transform(note).toDF().transform(noted))
    h.run(2)

    assert len(threads) == len(generated) == 2
    assert not set(threads) & set(generated)


def test_frames_are_functions_arguments(h: StreamHarness) -> None:
    """With the batch's time or without; what `transform` gives are rows."""
    times = []
    frames = h.stream(WORDS).toDF(["word", "n"])
    frames.foreachBatch(lambda time, df: times.append((time, df.columns)))
    large = h.collect(frames.transform(lambda df: df.filter("n > 2").select("word")))
    timed = h.collect(frames.transform(lambda time, df: df.limit(time.second % 2)))
    h.run(3)

    assert times == [
        (datetime.fromtimestamp(second), ["word", "n"]) for second in (1, 2, 3)
    ]
    assert tuples(large.records) == [[("a",)], [], [("c",)]]
    assert [len(batch) for batch in timed.records] == [1, 0, 1]


def test_a_function_that_returns_no_frame_fails_its_batch(h: StreamHarness) -> None:
    """By a name that says what it gave."""
    h.collect(h.stream([[1]]).toDF().transform(lambda df: df.collect()))

    with pytest.raises(OutputOperationError, match="must return a DataFrame, not list"):
        h.run()


@pytest.mark.parametrize(
    ("query", "error"),
    [
        (7, PySparkTypeError),
        ("create temp view v as select * from stream", PySparkValueError),
        ("drop view v", PySparkValueError),
    ],
)
def test_what_is_no_query_is_refused_at_once(
    h: StreamHarness, query: Any, error: type[Exception]
) -> None:
    """When the stream is built, not in a batch."""
    with pytest.raises(error, match="quer"):
        h.stream([]).sql(query)


def test_what_is_no_schema_is_refused_at_once(h: StreamHarness) -> None:
    """By its type."""
    with pytest.raises(PySparkTypeError, match="not int"):
        h.stream([]).toDF(7)


def test_records_that_are_columns_stay_so(h: StreamHarness) -> None:
    """A large batch of numbers, by both ways."""
    numbers = h.stream([range(30_000)], partitions=2).map(lambda n: (n % 7, n))
    query = "select k, count(*) c, sum(n) s from stream group by k"
    rows = h.collect(numbers.sql(query, schema=["k", "n"]))
    h.run()

    assert tuples(rows.records) == [
        [(k, len(range(k, 30_000, 7)), sum(range(k, 30_000, 7))) for k in range(7)]
    ]


def test_transform_may_use_the_session(h: StreamHarness) -> None:
    """Its views are of the batch that it makes an RDD for, and seen after that."""
    session = spark()
    seen = []

    def largest(rdd: Any) -> Any:
        session.createDataFrame(rdd, ["word", "n"]).createOrReplaceTempView("batch")
        seen.append(session.catalog.tableExists("batch"))
        return session.sql("select word from batch order by n desc limit 1").rdd

    answers = h.collect(h.stream([WORDS[0], WORDS[2]]).transform(largest))
    h.stream([[], []]).foreachRDD(
        lambda _rdd: seen.append(session.sql("select max(n) from batch").first()[0])
    )
    assert not session.catalog.tableExists("batch")
    h.run(2)

    assert tuples(answers.records) == [[("a",)], [("c",)]]
    assert seen == [True, 3, True, 4]
    assert session.table("batch").collect() == [Row(word="c", n=4)]


def test_what_is_known_of_columns_outlives_a_restart(checkpoint: str) -> None:
    """The checkpoint has it; a function may refer to the session, too."""

    def build(h: StreamHarness) -> None:
        session = spark()
        stream = h.stream([[("a", 1)], [], []])
        counts = stream.sql("select count(*) c, max(w) w from stream", ["w", "n"])
        h.collect(counts, "counts")
        h.collect(stream.transform(lambda rdd: session.range(3).rdd), "range")

    with StreamHarness(batch=1.0, checkpoint=checkpoint, setup=build) as h:
        h.run(2)
        h.crash()
        h.restart()
        h.run(1)

        assert tuples(h.output("counts").records)[-1] == [(0, None)]
        assert tuples(h.output("range").records)[-1] == [(0,), (1,), (2,)]


def test_a_session_does_not_get_into_tasks(sc: SparkContext) -> None:
    """It is told where to call it instead."""
    session = SparkSession(sc)

    with pytest.raises(NotSerializableError, match="SparkSession can't be pickled"):
        sc.parallelize([1]).map(lambda n: session.range(n).count()).collect()


# Sinks.


def stored(path: Path, table: str = "words") -> list[tuple[Any, ...]]:
    """Return the rows of a table."""
    with closing(sqlite3.connect(path)) as database:
        return sorted(database.execute(f"select * from {table}"))


def test_a_stream_of_frames_goes_to_a_sink(h: StreamHarness, tmp_path: Path) -> None:
    """With the frame's names for columns."""
    sink = SqliteSink(tmp_path / "out.db", "words")
    h.stream(WORDS).toDF(["word", "n"]).writeTo(sink, name="words")
    h.run(3)

    assert stored(tmp_path / "out.db") == [("a", 1), ("a", 3), ("b", 2), ("c", 4)]


def test_a_batchs_frame_goes_to_a_sink_once(checkpoint: str, tmp_path: Path) -> None:
    """However often the batch runs: under its time."""
    path = tmp_path / "out.db"
    works = tmp_path / "works"

    def write(df: Any) -> None:
        df.writeTo(SqliteSink(path, "words"), name="words")
        if not works.exists():
            msg = "after the commit"
            raise ValueError(msg)

    def build(h: StreamHarness) -> None:
        h.stream([[("a", 1)]]).toDF("w string, n int").foreachBatch(write)

    with StreamHarness(batch=1.0, checkpoint=checkpoint, setup=build) as h:
        with pytest.raises(OutputOperationError, match="after the commit"):
            h.run()
        assert stored(path) == [("a", 1)]
        h.crash()
        works.touch()
        h.restart()
        h.run()

    assert stored(path) == [("a", 1)]


def refused(h: StreamHarness, write: Any) -> str:
    """Return why a function of a batch's frame is refused."""
    h.stream([[("a", 1)]]).toDF(["w", "n"]).foreachBatch(write)
    with pytest.raises(OutputOperationError) as caught:
        h.run()
    return str(caught.value)


def test_a_frame_is_written_once_a_batch_and_name(
    h: StreamHarness, tmp_path: Path
) -> None:
    """A second one would be taken for the first."""

    def write(df: Any) -> None:
        for _ in range(2):
            df.writeTo(SqliteSink(tmp_path / "out.db", "words"), name="words")

    assert "output 'words' has batch 1000 ms already" in refused(h, write)
    assert stored(tmp_path / "out.db") == [("a", 1)]


def test_an_output_has_one_sink(h: StreamHarness, tmp_path: Path) -> None:
    """Two would each have part of the batches."""

    def write(df: Any) -> None:
        for name in ("one", "two"):
            df.writeTo(SqliteSink(tmp_path / "out.db", name), name="words")

    assert "and now to" in refused(h, write)


def test_an_output_of_a_stream_keeps_its_name(h: StreamHarness, tmp_path: Path) -> None:
    """A frame can't write under it."""
    sink = SqliteSink(tmp_path / "out.db", "words")
    h.stream([[]]).writeTo(sink, name="words")

    assert "named 'words', too" in refused(h, lambda df: df.writeTo(sink, name="words"))


def test_a_sink_is_written_to_in_batches_only(h: StreamHarness, tmp_path: Path) -> None:
    """Elsewhere nothing says what is once; and it must have a name."""
    frame = spark().range(3)
    sink = SqliteSink(tmp_path / "out.db", "words")

    with pytest.raises(IllegalStateError, match="commits a batch, and none is running"):
        frame.writeTo(sink, name="words")
    with pytest.raises(PySparkTypeError, match="name must be text, not None"):
        frame.writeTo(sink)
    assert type(frame.writeTo("table")).__name__ == "DataFrameWriterV2"


# Isolation.


@pytest.mark.timeout(120)
def test_no_batch_sees_anothers_views() -> None:
    """Of many batches, four at a time, all with one name; others see whole ones only."""
    batches, failing = tries(300, 1000), 7
    wrong: list[tuple[int, Any]] = []
    seen: list[Any] = []
    done = threading.Event()
    conf = SparkConf().set("spark.streaming.concurrentJobs", 4)
    conf.set("spark.millstream.waitingBatches.max", 0)
    with StreamHarness(batch=0.1, master="local[4]", conf=conf) as h:
        session = spark()

        def check(rdd: Any) -> None:
            number = rdd.first()
            frame = session.createDataFrame([(number, "half")], "n int, what string")
            frame.createOrReplaceTempView("words")
            found = session.sql("select n from words").first()[0]
            if found != number:
                wrong.append((number, found))
            if number % failing == 0:
                msg = "a batch that fails"
                raise ValueError(msg)
            frame = session.createDataFrame([(number, "whole")], "n int, what string")
            frame.createOrReplaceTempView("words")

        def watch() -> None:
            while not done.is_set():
                if session.catalog.tableExists("words"):
                    seen.append(tuple(session.table("words").first()))

        h.stream([[number] for number in range(1, batches + 1)]).foreachRDD(check)
        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            h._start()
            h.clock.advance_ms(batches * 100)
            scheduler = h.ssc._scheduler
            assert scheduler is not None
            assert scheduler.wait_until_processed(batches * 100, 110)
        finally:
            done.set()
            watcher.join()
        last = tuple(session.table("words").first())

    assert wrong == []
    assert last == (batches, "whole")
    assert len(seen) > 1
    assert {what for _, what in seen} == {"whole"}
    numbers = [number for number, _ in seen]
    assert numbers == sorted(numbers)
    assert not [number for number in numbers if number % failing == 0]


def test_a_batchs_view_is_there_for_as_long_as_the_program_remembers(
    h: StreamHarness,
) -> None:
    """By a name of its own; one of what isn't a batch's data stays."""
    h.ssc.remember(2)
    session = spark()

    def name(time: datetime, rdd: Any) -> None:
        frame = session.createDataFrame(rdd, ["n"])
        frame.createOrReplaceTempView(f"words_{time.second}")
        if time.second == 1:
            session.range(3).createOrReplaceTempView("static")
            frame.join(session.table("static")).createOrReplaceTempView("joined")
            session.sql("select * from words_1").createOrReplaceTempView("asked")
            session.sql("create temp view told as select * from words_1")

    h.stream([[(n,)] for n in range(1, 5)]).foreachRDD(name)
    h.run(4)

    assert [each.name for each in session.catalog.listTables()] == [
        "static",
        "words_2",
        "words_3",
        "words_4",
    ]
    assert session.table("words_2").first()[0] == 2
