"""Tests of sql/sail/backend.py: the process behind SQL is replaced, and nobody notices."""

import gc
import os
import shutil
import signal
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pyarrow as pa
import pytest
from tests.sql.gates import WAIT_S, Gate, running, until

from millstream.engine.base.errors import SparkError
from millstream.errors import QueryExecutionException
from millstream.sql import SparkSession, functions
from millstream.sql.sail import backend as backend_module
from millstream.sql.sail.backend import SailBackend

F: Any = functions


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """Return a gate, which is open at the end."""
    gate = Gate(tmp_path)
    yield gate
    gate.open()


@pytest.fixture
def backend(spark: SparkSession) -> SailBackend:
    """Return the backend of the module's session."""
    return spark._backend


def _kill(backend: SailBackend) -> None:
    engine = backend._now.engine
    os.kill(engine.pid, signal.SIGKILL)
    until(lambda: engine.end_of() is not None)


def _grown(backend: SailBackend) -> None:
    """Have the process be one that has grown too much, at the next look."""
    backend._now.settled_bytes = 1
    backend._now.calls = backend_module._SETTLED_AFTER


# Replacing.


@pytest.mark.slow
def test_frames_answer_after_the_process_was_replaced(
    spark: SparkSession, backend: SailBackend, tmp_path: Path
) -> None:
    """Whatever they were made of."""
    spark.range(3).write.parquet(str(tmp_path / "of.parquet"))
    spark.range(4).createOrReplaceTempView("four")
    spark.udf.register("times_three", lambda x: x * 3, "bigint")
    twice = F.udf(lambda x: x * 2, "bigint")
    rdd = spark.sparkContext.parallelize([(1, "a"), (2, "b")], 2)
    large = pa.table({"x": range(100_000)})
    frames = {
        "rdd": spark.createDataFrame(rdd, ["n", "s"]),
        "list": spark.createDataFrame([(1, None)], "a int, b string"),
        "staged": spark.createDataFrame(large).agg(F.sum("x")),
        "view": spark.sql("select count(*) from four"),
        "registered": spark.sql("select times_three(id) from four order by 1"),
        "function": spark.range(2).select(twice("id")),
        "kept": spark.range(5).filter("id > 2").persist(),
        "reader": spark.read.parquet(str(tmp_path / "of.parquet")).orderBy("id"),
        "checkpoint": spark.range(2).localCheckpoint(),
        "shown": spark.sql("show databases"),
    }
    before = {name: frame.collect() for name, frame in frames.items()}
    old = backend.pid

    backend.replace()

    assert backend.pid != old
    assert not psutil.pid_exists(old)
    for name, frame in frames.items():
        assert frame.collect() == before[name], name
    assert spark.table("four").count() == 4


@pytest.mark.slow
def test_settings_and_functions_are_told_to_the_new_process(
    spark: SparkSession, backend: SailBackend
) -> None:
    """Two functions of one type, too."""
    spark.conf.set("spark.sql.session.timeZone", "Asia/Tokyo")
    spark.conf.set("spark.sql.ansi.enabled", False)
    spark.udf.register("one_more", lambda x: x + 1, "bigint")
    spark.udf.register("one_less", lambda x: x - 1, "bigint")

    backend.replace()

    query = "select one_more(5) a, one_less(5) b, current_timezone() c"
    assert spark.sql(query).first() == (6, 4, "Asia/Tokyo")
    assert spark.sql("select cast('x' as int)").first() == (None,)
    spark.conf.set("spark.sql.session.timeZone", "UTC")
    spark.conf.unset("spark.sql.ansi.enabled")


@pytest.mark.slow
def test_queries_that_run_meanwhile_end_where_they_began(
    spark: SparkSession, backend: SailBackend, gate: Gate
) -> None:
    """The old process is there until its last one, the new one takes all others."""
    old = backend.pid
    with running(spark, gate, 2) as queries:
        backend.replace()
        assert psutil.pid_exists(old)
        assert spark.sql("select 1").first() == (1,)
        assert not any(each.done() for each in queries)

        gate.open()

        assert [each.result(WAIT_S) for each in queries] == [[(0,)], [(0,)]]
    assert not psutil.pid_exists(old)


@pytest.mark.slow
def test_an_iterator_that_is_dropped_holds_no_process(
    spark: SparkSession, backend: SailBackend
) -> None:
    """Nor one of which nothing was taken."""
    rows = spark.range(1_000_000).toLocalIterator()
    untouched = spark.range(1_000_000).toLocalIterator()
    assert next(rows) == (0,)
    old = backend.pid
    backend.replace()
    assert psutil.pid_exists(old)

    del rows, untouched

    assert not psutil.pid_exists(old)


@pytest.mark.slow
def test_a_replacement_that_does_not_start_is_told_and_the_old_one_goes_on(
    spark: SparkSession,
    backend: SailBackend,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It tries again only when the old one has grown by as much again."""

    def none() -> None:
        msg = "the SQL engine didn't start: no memory"
        raise SparkError(msg)

    monkeypatch.setattr(backend, "_made", none)
    monkeypatch.setattr(backend, "_growth_max_bytes", 100 << 20)
    old = backend.pid
    _grown(backend)

    for _ in range(20):
        assert spark.sql("select 1").first() == (1,)
    until(lambda: backend._replacing is None)

    assert backend.pid == old
    assert caplog.text.count("SQL engine can't be replaced") == 1
    assert "no memory" in caplog.text


@pytest.mark.slow
def test_memory_that_grew_is_given_back_by_new_processes(
    spark: SparkSession, backend: SailBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several times, in the course of queries; each process ends."""
    monkeypatch.setattr(backend, "_growth_max_bytes", 4 << 20)
    begun = backend.replaced_count
    before = len(psutil.Process().children())
    spark.range(1000).createOrReplaceTempView("many")
    most = 0

    for _ in range(1000):
        spark.sql("select count(*) from many").collect()
        most = max(most, backend.memory_bytes)
        if backend.replaced_count >= begun + 2:
            break

    assert backend.replaced_count >= begun + 2
    assert most < 250 << 20
    until(lambda: len(psutil.Process().children()) == before)


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        lambda session: session.range(1).write.saveAsTable("kept_here"),
        lambda session: session.range(1).writeTo("kept_here").create(),
        lambda session: session.sql("create table kept_here (a int)"),
        lambda session: session.sql("-- its name\ncreate database kept_here"),
    ],
    ids=["saveAsTable", "writeTo", "create table", "create database"],
)
def test_a_process_that_has_tables_is_not_replaced(
    spark: SparkSession,
    make: Callable[[Any], object],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """They are nowhere else; it is told once."""
    monkeypatch.chdir(tmp_path)  # Where its process has its tables.
    session = spark.newSession()
    backend = session._backend
    assert not backend.keeps
    make(session)
    assert "kept_here" in backend.keeps
    backend._growth_max_bytes = 0
    old = backend.pid
    _grown(backend)

    for _ in range(20):
        session.sql("select 1").collect()

    assert backend.pid == old
    assert caplog.text.count("can't give back memory") == 1


@pytest.mark.slow
def test_what_only_tells_keeps_nothing(
    spark: SparkSession, backend: SailBackend
) -> None:
    """Nor does a view."""
    spark.sql("show databases").collect()
    spark.sql("show catalogs").collect()
    spark.sql("create or replace temp view shown as select 1").collect()
    assert backend.keeps == ""


@pytest.mark.slow
def test_nothing_is_kept_of_a_process_that_was_replaced(
    spark: SparkSession, backend: SailBackend
) -> None:
    """As its connection's callback for the end of the program would."""
    old = weakref.ref(backend._now.connection)
    backend.replace()
    gc.collect()
    assert old() is None


# A process that ends.


@pytest.mark.slow
def test_a_process_that_ended_idle_is_replaced_before_the_next_query(
    spark: SparkSession, backend: SailBackend, caplog: pytest.LogCaptureFixture
) -> None:
    """Which doesn't fail; the log has how it ended."""
    _kill(backend)
    assert spark.sql("select 1").first() == (1,)
    assert "how=SIGKILL" in caplog.text


@pytest.mark.slow
def test_only_queries_fail_that_ran_on_a_process_that_ended(
    spark: SparkSession, backend: SailBackend, gate: Gate
) -> None:
    """Each says how it ended; however many notice, one new process starts."""
    begun = backend.replaced_count
    before = set(psutil.Process().children())
    with running(spark, gate, 2) as queries:
        os.kill(backend.pid, signal.SIGKILL)
        errors = [each.exception(WAIT_S) for each in queries]
    with ThreadPoolExecutor(4) as pool:
        later = [pool.submit(spark.sql("select 1").first) for _ in range(4)]
        assert [each.result(WAIT_S) for each in later] == [(1,)] * 4

    assert all(isinstance(each, QueryExecutionException) for each in errors)
    assert all("process ended (SIGKILL)" in str(each) for each in errors)
    assert "run it again" in errors[0].__notes__[0]  # type: ignore[union-attr]
    assert backend.replaced_count == begun + 1
    assert len(set(psutil.Process().children()) - before) == 1


@pytest.mark.slow
def test_a_function_that_ends_the_process_fails_its_query(
    spark: SparkSession,
) -> None:
    """With its exit code, and the query's text."""

    def end(value: int) -> int:
        import os

        os._exit(3 + value)

    spark.udf.register("end_it", end, "int")
    with pytest.raises(
        QueryExecutionException, match=r"exit code 7\) while it ran: select end_it\(4\)"
    ):
        spark.sql("select end_it(4)\nfrom range(1)".replace("\n", " ")).collect()
    assert spark.sql("select 1").first() == (1,)


@pytest.mark.slow
def test_an_engine_that_is_broken_says_so_to_each_query(
    spark: SparkSession, backend: SailBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And takes queries again once it can start."""
    with monkeypatch.context() as patched:
        start = "print('no such engine', file=__import__('sys').stderr)"
        patched.setattr("millstream.sql.sail.engine._START", start)
        _kill(backend)
        for _ in range(2):
            with pytest.raises(SparkError, match="didn't start: no such engine"):
                spark.sql("select 1")
    assert spark.sql("select 1").first() == (1,)


# Large tables.


@pytest.mark.slow
def test_tables_of_hundreds_of_megabytes_go_in(spark: SparkSession) -> None:
    """In files: a message has 128 MiB at most."""
    table = pa.table({"n": pa.array(range(1000)).cast(pa.int64())})
    table = pa.concat_tables([table] * 30_000)
    assert table.nbytes > 200 << 20
    frame = spark.createDataFrame(table)

    assert frame.agg(F.sum("n"), F.count("*")).first() == (
        30_000 * 499_500,
        30_000_000,
    )


@pytest.mark.slow
def test_long_texts_go_in_and_out(spark: SparkSession) -> None:
    """More than a message holds, in few records."""
    texts = [str(number % 10) * (1 << 20) for number in range(150)]
    frame = spark.createDataFrame(pa.table({"t": texts}))

    assert frame.toArrow().column("t").to_pylist() == texts
    assert frame.agg(F.max(F.length("t"))).first() == (1 << 20,)


@pytest.mark.slow
@pytest.mark.usefixtures("spark")
def test_a_table_that_finds_no_room_in_shared_memory_lies_on_disk(
    backend: SailBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And answers from there."""
    full = SimpleNamespace(free=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    table = pa.table({"n": range(100_000)})
    plan = backend.stage(table)

    assert backend.fetch(plan).equals(table)
    path = plan._path
    assert path.is_file()
    assert not path.is_relative_to("/dev/shm")
    del plan
    assert not path.exists()
