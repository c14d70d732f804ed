"""PostgresSink against a real server, also one that fails."""

import datetime
import decimal
import logging
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.integration.servers.postgres import (
    PASSWORD,
    PostgresServer,
    postgres_server,
)
from tests.integration.sink_batches import Output

from millstream.engine.base.clock import monotonic_s
from millstream.engine.base.errors import (
    IllegalStateError,
    OutputOperationError,
    SparkError,
)
from millstream.engine.sinks.contract import StaleRunError
from millstream.engine.sinks.postgres.connections import _close_all
from millstream.engine.sinks.postgres.sink import PostgresSink
from millstream.engine.sinks.records import Records
from millstream.engine.sinks.tables.errors import TableError
from millstream.testing import StreamHarness, certify_sink

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def running() -> Iterator[PostgresServer]:
    """Return a server."""
    with postgres_server() as server:
        yield server
    _close_all()


@pytest.fixture
def server(running: PostgresServer) -> PostgresServer:
    """Return a server with nothing in it."""
    with psycopg.connect(running.dsn, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return running


def rows_of(server: PostgresServer, query: str) -> list[tuple[Any, ...]]:
    """Return what a query finds."""
    with psycopg.connect(server.dsn) as connection:
        return connection.execute(query.encode()).fetchall()


@pytest.mark.parametrize(("mode", "key"), [("append", ()), ("upsert", ("number",))])
def test_it_commits_exactly_once(
    server: PostgresServer, mode: str, key: Sequence[str]
) -> None:
    """The kit crashes it at every step, and wakes up a writer that was replaced."""
    dsn = server.dsn

    def make(_imported: object = psycopg) -> PostgresSink:
        return PostgresSink(dsn, "numbers", mode=mode, key=key)

    def read_back() -> list[int]:
        return [row[0] for row in rows_of(server, "SELECT number FROM numbers")]

    report = certify_sink(make, read_back)

    assert report.guarantee == "exactly once", str(report)


def test_values_of_all_types_come_back_as_they_were(server: PostgresServer) -> None:
    """Each type has a column of its own type, None included."""
    hours = datetime.timezone(datetime.timedelta(hours=3))
    row = {
        "whole": 2**62,
        "real": float("-inf"),
        "text": "",
        "odd": 'x\r\n"y"\t\\.,',
        "bytes": b"\0\\x",
        "moment": datetime.datetime(2024, 1, 1, 1, 2, 3, 4),
        "instant": datetime.datetime(2024, 1, 1, tzinfo=hours),
        "day": datetime.date(1, 2, 3),
        "time": datetime.time(1, 2, 3, 4),
        "span": datetime.timedelta(days=-1, microseconds=3),
        "exact": decimal.Decimal("1.50"),
        "flag": True,
        "numbers": [1, None, 3],
        "texts": ['a"\\,{}', None, "", "NULL"],
        "nested": {"a": [1, 2], "b": {"c": None, "d": "é"}},
    }
    output = Output(PostgresSink(server.dsn, "kinds"))
    output.write(1000, [row, dict.fromkeys(row)])

    with psycopg.connect(server.dsn) as connection:
        cursor = connection.execute("SELECT * FROM kinds")
        names = [each.name for each in cursor.description or ()]
        first, second = cursor.fetchall()

    assert dict(zip(names, first, strict=True)) == row
    assert set(second) == {None}


def test_names_may_be_any(server: PostgresServer) -> None:
    """Schemas, reserved words, quotes and letters of all kinds are taken as they are."""
    with psycopg.connect(server.dsn) as connection:
        connection.execute('CREATE SCHEMA IF NOT EXISTS "Größe; x"')
    sink = PostgresSink(
        server.dsn, ("Größe; x", 'select "from"'), mode="upsert", key=["group"]
    )
    Output(sink).write(1000, [{"group": 1, 'ключ"); DROP': "a", "order": 2}])

    found = rows_of(server, 'SELECT * FROM "Größe; x"."select ""from"""')

    assert found == [(1, "a", 2)]


def test_the_table_is_made_when_there_are_records(server: PostgresServer) -> None:
    """Empty batches leave marks only; two partitions that make it don't collide."""
    output = Output(PostgresSink(server.dsn, "numbers"))
    output.write(1000, [], [])
    assert rows_of(server, "SELECT to_regclass('numbers')") == [(None,)]

    batch = output.batch(2000, *[[]] * 4)
    with ThreadPoolExecutor(4) as pool:
        futures = [
            pool.submit(output.sink.write, batch, part, Records([[{"n": part}]]))
            for part in range(4)
        ]
        for each in futures:
            each.result()

    assert rows_of(server, "SELECT n FROM numbers ORDER BY n") == [
        (0,),
        (1,),
        (2,),
        (3,),
    ]


def test_a_new_column_is_refused_or_added(server: PostgresServer) -> None:
    """The error names the column, and says what to do; nothing of the batch is there."""
    output = Output(PostgresSink(server.dsn, "rows"))
    output.write(1000, [{"a": 1, "later": None}])
    with pytest.raises(SparkError, match="no column 'later'") as refused:
        output.write(2000, [{"a": 2, "later": None}], [{"a": 3, "later": "x"}])
    assert "evolve=True" in (refused.value.hint or "")

    wider = Output(PostgresSink(server.dsn, "rows", evolve=True))
    wider.write(2000, [{"a": 2, "later": None}], [{"a": 3, "later": "x"}])

    assert rows_of(server, "SELECT * FROM rows ORDER BY a") == [
        (1, None),
        (2, None),
        (3, "x"),
    ]


def test_a_value_that_does_not_fit_is_told_with_its_column(
    server: PostgresServer,
) -> None:
    """The batch fails, and is whole when the column fits."""
    output = Output(PostgresSink(server.dsn, "rows"))
    output.write(1000, [{"a": 1}])
    with pytest.raises(TableError, match="column a") as refused:
        output.write(2000, [{"a": "x"}])
    assert "types=" in (refused.value.hint or "")

    with psycopg.connect(server.dsn) as connection:
        connection.execute("ALTER TABLE rows ALTER a TYPE text")
    output.write(2000, [{"a": "x"}])

    assert rows_of(server, "SELECT a FROM rows ORDER BY a") == [("1",), ("x",)]


def test_the_last_record_of_a_key_wins(server: PostgresServer) -> None:
    """Over records, over partitions, and over batches; a lacking column is left alone."""
    sink = PostgresSink(server.dsn, "totals", mode="upsert", key=["k"], evolve=True)
    output = Output(sink)
    output.write(1000, [{"k": 1, "v": "old", "w": "kept"}, {"k": 3, "v": "x"}])
    output.write(
        2000,
        [{"k": 1, "v": "a"}, {"k": 2, "v": "b"}, {"k": 1, "v": "c"}],
        [{"k": 2, "v": "d"}],
        [],
    )

    assert rows_of(server, "SELECT k, v, w FROM totals ORDER BY k") == [
        (1, "c", "kept"),
        (2, "d", None),
        (3, "x", None),
    ]


def test_an_upsert_without_an_index_is_told(server: PostgresServer) -> None:
    """The table is somebody else's, and lacks a primary key."""
    with psycopg.connect(server.dsn) as connection:
        connection.execute("CREATE TABLE totals (k integer, v text)")
    sink = PostgresSink(server.dsn, "totals", mode="upsert", key=["k"])

    with pytest.raises(TableError) as refused:
        Output(sink).write(1000, [{"k": 1, "v": "a"}])

    assert "unique index" in (refused.value.hint or "")


def test_a_table_that_is_not_there_is_not_made_unasked(
    server: PostgresServer,
) -> None:
    """With create=False it must be there."""
    with pytest.raises(SparkError, match="table rows isn't there"):
        Output(PostgresSink(server.dsn, "rows", create=False)).write(1000, [{"a": 1}])


def test_marks_that_are_gone_stop_the_program(server: PostgresServer) -> None:
    """Without them nobody knows what is committed."""
    output = Output(PostgresSink(server.dsn, "rows"))
    with psycopg.connect(server.dsn) as connection:
        connection.execute("DELETE FROM millstream_commits")

    with pytest.raises(IllegalStateError, match="marks of output"):
        output.write(1000, [{"a": 1}])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ((PASSWORD, "no-" + PASSWORD), "password authentication failed"),
        (("/postgres", "/postgres?sslmode=require"), "does not support SSL"),
        (("@127.0.0.1:", "@127.0.0.1:1"), "failed"),
    ],
)
def test_a_server_that_refuses_is_told_without_the_password(
    server: PostgresServer, change: tuple[str, str], told: str
) -> None:
    """The error names the server, says what it said, and what to look at."""
    dsn = server.dsn
    if change[1] == "@127.0.0.1:1":
        dsn = dsn.replace(f":{server.port}/", ":1/")
    else:
        dsn = dsn.replace(*change)
    with pytest.raises(TableError, match=told) as refused:
        PostgresSink(dsn, "rows").open("tests.rows", 1)

    assert "postgresql://127.0.0.1:" in str(refused.value)
    assert "password" in (refused.value.hint or "")
    assert (
        PASSWORD
        not in f"{refused.value!r} {refused.value.hint} {refused.value.__cause__}"
    )


def test_a_server_that_is_silent_fails_one_batch(
    server: PostgresServer, checkpoint: str
) -> None:
    """The wait is bounded; when the server answers again, both batches are committed."""
    sink = PostgresSink(server.dsn, "numbers", timeout_s=0.5)
    with StreamHarness(checkpoint=checkpoint) as harness:
        batches = [[{"n": 1}], [{"n": 2}], [{"n": 3}]]
        harness.stream(batches, partitions=1).writeTo(sink, name="rows")
        harness.run(1)
        stopped = server.freeze()
        begin_s = monotonic_s()
        try:
            with pytest.raises(OutputOperationError, match=r"silent for 0\.5 s"):
                harness.run(1)
            taken_s = monotonic_s() - begin_s
        finally:
            server.thaw(stopped)
        harness.run(1)

    assert taken_s < 10
    assert rows_of(server, "SELECT n FROM numbers ORDER BY n") == [(1,), (2,), (3,)]


def test_a_server_that_crashes_loses_nothing(server: PostgresServer) -> None:
    """What was staged for an upsert is gone with it, and is noticed, not left out."""
    rows = Output(PostgresSink(server.dsn, "rows"), "tests.appended")
    totals = Output(PostgresSink(server.dsn, "totals", mode="upsert", key=["k"]))
    rows.write(1000, [{"a": 1}])
    totals.write(1000, [{"k": 1, "v": "a"}])
    batch = totals.batch(2000, [])
    staged = totals.sink.write(batch, 0, Records([[{"k": 1, "v": "b"}]]))
    server.stop()
    with pytest.raises(TableError, match="refused"):
        rows.write(2000, [{"a": 2}])
    server.start()
    with pytest.raises(SparkError, match="of 1 records of batch 2000 ms"):
        totals.sink.commit(batch, {0: staged})
    totals.write(2000, [{"k": 1, "v": "b"}])
    rows.write(2000, [{"a": 2}])

    assert rows_of(server, "SELECT a FROM rows ORDER BY a") == [(1,), (2,)]
    assert rows_of(server, "SELECT k, v FROM totals") == [(1, "b")]


def test_a_deadlock_is_tried_again(server: PostgresServer) -> None:
    """The server ends the sink's transaction; the second one waits, and goes through."""
    # The sink is the first to see that both wait for each other.
    dsn = f"{server.dsn}?options=-cdeadlock_timeout%3D300ms"
    output = Output(PostgresSink(dsn, "totals", mode="upsert", key=["k"]))
    output.write(1000, [{"k": 1, "v": "a"}, {"k": 2, "v": "a"}])
    with (
        psycopg.connect(server.dsn, autocommit=True) as watching,
        psycopg.connect(server.dsn) as other,
        ThreadPoolExecutor(1) as pool,
    ):
        other.execute("SET deadlock_timeout = '30s'")
        other.execute("UPDATE totals SET v = 'other' WHERE k = 2")
        merged = pool.submit(
            output.write, 2000, [{"k": 1, "v": "b"}, {"k": 2, "v": "b"}]
        )
        _until_one_waits(watching)
        other.execute("UPDATE totals SET v = 'other' WHERE k = 1")
        other.commit()
        merged.result()

    assert rows_of(server, "SELECT k, v FROM totals ORDER BY k") == [(1, "b"), (2, "b")]


def test_a_new_run_waits_for_what_an_older_one_commits(
    server: PostgresServer,
) -> None:
    """The wait is bounded, and the error says for what; then the older one is refused."""
    output = Output(PostgresSink(server.dsn, "rows"))
    newer = PostgresSink(server.dsn, "rows", timeout_s=0.5)
    with psycopg.connect(server.dsn) as older:
        older.execute("SELECT run FROM millstream_commits FOR SHARE")
        with pytest.raises(TableError) as refused:
            newer.open(output.name, 1)
    assert "another run of the program" in (refused.value.hint or "")

    assert newer.open(output.name, 1).run == output.run + 1
    with pytest.raises(StaleRunError):
        output.write(1000, [{"a": 1}])


def test_the_password_is_in_no_log_and_in_no_checkpoint(
    server: PostgresServer, checkpoint: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What goes on from a checkpoint finds it in the environment."""
    with (
        caplog.at_level(logging.DEBUG),
        StreamHarness(checkpoint=checkpoint) as harness,
    ):
        stream = harness.stream([[{"n": 1}], [{"n": 2}]], partitions=2)
        stream.writeTo(PostgresSink(server.dsn, "numbers"), name="rows")
        harness.run(2)

    files = [path for path in Path(checkpoint).rglob("*") if path.is_file()]
    assert files
    assert not any(PASSWORD.encode() in path.read_bytes() for path in files)
    assert PASSWORD not in caplog.text
    assert rows_of(server, "SELECT count(*) FROM numbers") == [(2,)]


def _until_one_waits(connection: "psycopg.Connection[Any]") -> None:
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    until_s = monotonic_s() + 10
    while connection.execute(query).fetchone() == (0,):
        assert monotonic_s() < until_s, "nobody waits for a lock"
        threading.Event().wait(0.01)
