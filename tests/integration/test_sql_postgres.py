"""Tables of a real PostgreSQL server in queries, and frames written to it."""

import datetime
import decimal
import logging
import socket
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from tests.integration.servers.postgres import (
    PASSWORD,
    USER,
    PostgresServer,
    postgres_server,
)

from millstream.errors import PySparkValueError
from millstream.sql import Row, SparkSession
from millstream.sql.tables.jdbc import DatabaseError

pytestmark = pytest.mark.slow

PROPERTIES = {"user": USER, "password": PASSWORD}
USERS = """
CREATE TABLE users (id bigint PRIMARY KEY, name text, joined date);
INSERT INTO users SELECT n, 'user ' || n, date '1969-12-31' + n::int
FROM generate_series(1, 100) AS n;
"""


@pytest.fixture(scope="module")
def running() -> Iterator[PostgresServer]:
    """Return a server."""
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="module")
def spark(running: PostgresServer) -> Iterator[SparkSession]:
    """Return a session, for all tests of the module."""
    del running
    builder = SparkSession.builder.master("local[2]")
    with builder.config("spark.sql.session.timeZone", "UTC").getOrCreate() as session:
        yield session


@pytest.fixture
def server(running: PostgresServer) -> PostgresServer:
    """Return a server with 100 users in it, and nothing else."""
    asked(running, f"DROP SCHEMA public CASCADE; CREATE SCHEMA public; {USERS}")
    return running


def asked(server: PostgresServer, text: str) -> list[tuple[Any, ...]]:
    """Return what the server answers."""
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        cursor = connection.execute(text.encode())
        return cursor.fetchall() if cursor.description else []


def url(server: PostgresServer) -> str:
    """Return the server's URL as Spark has it."""
    return f"jdbc:postgresql://127.0.0.1:{server.port}/postgres"


def rows_read(server: PostgresServer) -> int:
    """Return how many rows of the users the server has read, for whomever."""
    text = "SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'users'"
    return int(asked(server, text)[0][0])


def wait_for_rows(server: PostgresServer, expected: int) -> None:
    """Wait until the server has counted so many, which it does when it is left."""
    until_s = time.monotonic() + 10
    while rows_read(server) < expected:
        assert time.monotonic() < until_s, rows_read(server)


def test_a_table_is_a_frame(server: PostgresServer, spark: SparkSession) -> None:
    """In the API and in SQL, by name, as a query in parentheses, and by `query`."""
    users = spark.read.jdbc(url(server), "users", properties=PROPERTIES)

    assert users.schema.simpleString() == "struct<id:bigint,name:string,joined:date>"
    first = Row(id=1, name="user 1", joined=datetime.date(1970, 1, 1))
    assert users.filter("id = 1").collect() == [first]
    users.createOrReplaceTempView("users")
    assert spark.sql("SELECT count(*) FROM users").first() == (100,)

    few = "(SELECT id FROM public.users WHERE id < 4) AS few"
    assert spark.read.jdbc(url(server), few, properties=PROPERTIES).count() == 3
    reader = spark.read.format("jdbc").options(url=url(server), **PROPERTIES)
    assert reader.option("query", "SELECT max(id) AS m FROM users;").load().first() == (
        100,
    )


@pytest.mark.parametrize(
    "more",
    [
        {"column": "id", "lowerBound": 1, "upperBound": 100, "numPartitions": 7},
        {"column": "id", "lowerBound": 40, "upperBound": 42, "numPartitions": 9},
        {"predicates": ["id <= 50", "id > 50"]},
    ],
    ids=["seven", "more than values", "predicates"],
)
def test_a_table_is_read_in_parts(
    server: PostgresServer, spark: SparkSession, more: dict[str, Any]
) -> None:
    """All rows are there once, also those beyond the bounds, and with NULL."""
    asked(server, "CREATE TABLE parts AS SELECT id FROM users")
    if "column" in more:
        asked(server, "INSERT INTO parts VALUES (NULL)")

    frame = spark.read.jdbc(url(server), "parts", properties=PROPERTIES, **more)

    found = sorted(row.id or 0 for row in frame.collect())
    assert found == ([0] if "column" in more else []) + list(range(1, 101))


VALUES = [
    ("boolean", "true", True),
    ("smallint", "-3", -3),
    ("integer", "7", 7),
    ("bigint", "-9223372036854775808", -(2**63)),
    ("real", "1.5", 1.5),
    ("double precision", "'Infinity'", float("inf")),
    ("numeric(10,2)", "12.30", decimal.Decimal("12.30")),
    ("numeric", "0.1", decimal.Decimal("0.100000000000000000")),
    ("text", "'a,\"b\"\n\\x'", 'a,"b"\n\\x'),
    ("text", "''", ""),
    ("varchar(9)", "'NULL'", "NULL"),
    (
        "uuid",
        "'00000000-0000-0000-0000-000000000001'",
        f"{'0' * 8}-0000-0000-0000-{1:012}",
    ),
    ("jsonb", "'{\"a\": [1]}'", '{"a": [1]}'),
    ("bytea", "'\\x00ff'", b"\x00\xff"),
    ("date", "'1969-12-31'", datetime.date(1969, 12, 31)),
    (
        "timestamp",
        "'1960-01-02 03:04:05.000006'",
        datetime.datetime(1960, 1, 2, 3, 4, 5, 6),
    ),
    ("timestamptz", "'2020-01-02 03:04:05+02'", datetime.datetime(2020, 1, 2, 1, 4, 5)),
    ("time", "'03:04:05'", "03:04:05"),
    ("integer[]", "'{1,NULL,3}'", [1, None, 3]),
    ("text[]", "ARRAY['a,b', '', NULL]", ["a,b", "", None]),
]


def test_values_of_all_types_come_as_they_are(
    server: PostgresServer, spark: SparkSession
) -> None:
    """Each in a row of its own beside NULL; what Spark has no type for is text."""
    columns = ", ".join(f"c{n} {kind}" for n, (kind, _, _) in enumerate(VALUES))
    texts = ", ".join(text for _, text, _ in VALUES)
    asked(server, f"CREATE TABLE kinds ({columns})")
    asked(
        server,
        f"INSERT INTO kinds VALUES ({texts}), ({', '.join(['NULL'] * len(VALUES))})",
    )

    rows = spark.read.jdbc(url(server), "kinds", properties=PROPERTIES).collect()

    assert list(rows[0]) == [value for _, _, value in VALUES]
    assert set(rows[1]) == {None}


def test_a_kept_table_is_read_once(server: PostgresServer, spark: SparkSession) -> None:
    """Looking at it reads nothing; after `unpersist` each query reads it anew."""
    users = spark.read.jdbc(url(server), "users", properties=PROPERTIES)
    batch = spark.createDataFrame(
        [(n, n * n) for n in range(50)], "id long, square long"
    )
    before = rows_read(server)

    users.cache().createOrReplaceTempView("users")
    assert batch.join(users, "id").columns == ["id", "square", "name", "joined"]
    for _ in range(3):
        assert batch.join(users, "id").count() == 49
        batch.createOrReplaceTempView("batch")
        text = "SELECT sum(square) FROM batch JOIN users USING (id)"
        assert spark.sql(text).first() == (sum(n * n for n in range(50)),)
    wait_for_rows(server, before + 100)
    asked(server, "DELETE FROM users")  # Reads them, too.
    assert users.count() == 100
    wait_for_rows(server, before + 200)
    assert rows_read(server) == before + 200

    users.unpersist()
    assert users.count() == 0


def test_a_frame_is_written_and_comes_back(
    server: PostgresServer, spark: SparkSession
) -> None:
    """By appending to a table, which is made, and in the place of what was there."""
    schema = "id int, name string, at timestamp, price decimal(9,2), tags array<string>"
    at = datetime.datetime(1960, 1, 2, 3, 4, 5)
    rows = [
        Row(id=1, name='a,"b"', at=at, price=decimal.Decimal("1.50"), tags=["x", None]),
        Row(id=2, name=None, at=None, price=None, tags=None),
    ]
    frame = spark.createDataFrame(rows, schema)

    frame.write.jdbc(url(server), "public.written", properties=PROPERTIES)
    frame.write.jdbc(url(server), "written", "append", PROPERTIES)

    back = spark.read.jdbc(url(server), "written", properties=PROPERTIES)
    fields = ["id", "name", "at", "tags"]
    kept = sorted(back.select(*fields).collect(), key=lambda row: row.id)
    assert kept == [Row(*(row[name] for name in fields)) for row in rows for _ in "12"]
    more = {"url": url(server), "dbtable": "written", **PROPERTIES}
    frame.limit(1).write.format("jdbc").options(**more).mode("overwrite").save()
    assert spark.read.format("jdbc").options(**more).load().count() == 1
    with pytest.raises(PySparkValueError, match="table written is there"):
        frame.write.jdbc(url(server), "written", properties=PROPERTIES)
    frame.write.jdbc(url(server), "written", "ignore", PROPERTIES)
    assert asked(server, "SELECT count(*) FROM written") == [(1,)]


def test_a_write_that_fails_changes_nothing(
    server: PostgresServer, spark: SparkSession
) -> None:
    """Not even the table that was to be overwritten, nor its grants with `truncate`."""
    asked(server, "ALTER TABLE users ADD CHECK (id < 1000)")
    frame = spark.createDataFrame([(5000, "x")], "id long, name string")
    options = {"url": url(server), "dbtable": "users", "truncate": True, **PROPERTIES}

    with pytest.raises(DatabaseError, match="users_id_check"):
        frame.write.format("jdbc").options(**options).mode("overwrite").save()

    assert asked(server, "SELECT count(*) FROM users") == [(100,)]
    with pytest.raises(PySparkValueError, match="no column 'other'"):
        frame.withColumnRenamed("name", "other").write.jdbc(
            url(server), "users", "append", PROPERTIES
        )


def test_passwords_are_shown_nowhere(
    server: PostgresServer,
    spark: SparkSession,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Not by plans, errors and logs; whether it is in the URL or a property."""
    caplog.set_level(logging.DEBUG)
    inside = f"{url(server)}?user={USER}&password={PASSWORD}"
    frame = spark.read.jdbc(inside, "users")
    frame.explain(True)
    assert frame.count() == 100
    wrong = PASSWORD + "-wrong"
    shown = [
        repr(frame),
        repr(vars(frame._plan)),
        repr(spark.read.jdbc(inside, "users")),
    ]
    for given in (
        {"url": url(server), "properties": {"user": USER, "password": wrong}},
        {"url": f"{url(server)}?user={USER}&password={wrong}"},
        {"url": f"jdbc:postgresql://{USER}:{wrong}@127.0.0.1:{server.port}/postgres"},
    ):
        with pytest.raises(
            DatabaseError, match="password authentication failed"
        ) as info:
            spark.read.jdbc(table="users", **given)
        error: BaseException | None = info.value
        while error is not None:
            shown.append(f"{error!r} {error}")
            error = error.__cause__
    written = capsys.readouterr()

    assert PASSWORD not in "".join([*shown, caplog.text, written.out, written.err])


def test_what_is_wrong_is_told(server: PostgresServer, spark: SparkSession) -> None:
    """A table or column that isn't there, and a database; each names what it is about."""
    with pytest.raises(DatabaseError, match=r"127\.0\.0\.1.*table nobody.*nobody"):
        spark.read.jdbc(url(server), "nobody", properties=PROPERTIES)
    with pytest.raises(DatabaseError, match='"none" does not exist'):
        spark.read.jdbc(
            url(server).replace("/postgres", "/none"), "users", properties=PROPERTIES
        )
    reader = spark.read.format("jdbc").options(url=url(server), **PROPERTIES)
    reader = reader.options(dbtable="users", partitionColumn="id")
    with pytest.raises(PySparkValueError, match="lowerBound"):
        reader.load()
    users = spark.read.jdbc(url(server), "users", properties=PROPERTIES)
    asked(server, "ALTER TABLE users DROP COLUMN name")
    with pytest.raises(DatabaseError, match="its columns have changed"):
        users.count()
    asked(server, "DROP TABLE users")
    with pytest.raises(DatabaseError, match='"users" does not exist'):
        users.count()


def test_a_server_that_is_silent_is_given_up(
    server: PostgresServer, spark: SparkSession
) -> None:
    """One that takes connections and says nothing, after the time for logging in."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        begin_s = time.monotonic()
        with pytest.raises(DatabaseError, match=f"127.0.0.1:{port}"):
            spark.read.jdbc(
                f"jdbc:postgresql://127.0.0.1:{port}/postgres?loginTimeout=2",
                "users",
                properties=PROPERTIES,
            )
        assert time.monotonic() - begin_s < 8
    with pytest.raises(DatabaseError, match="refused"):
        spark.read.jdbc(
            f"jdbc:postgresql://127.0.0.1:{port}/postgres",
            "users",
            properties=PROPERTIES,
        )
    users = spark.read.jdbc(
        url(server), "users", properties={**PROPERTIES, "loginTimeout": "2"}
    )
    frozen = server.freeze()
    try:
        with pytest.raises(DatabaseError, match=r"PostgreSQL 127.*timeout"):
            users.count()
    finally:
        server.thaw(frozen)
