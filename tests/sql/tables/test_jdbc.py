"""Tests of sql/tables/jdbc.py: URLs and options, and databases that are files."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest

from millstream.engine.base.errors import PySparkNotImplementedError
from millstream.engine.base.secrets import Secret
from millstream.errors import PySparkValueError
from millstream.sql import SparkSession
from millstream.sql.tables.jdbc import DatabaseError, Source, _ranges, settings_of
from millstream.sql.tables.postgres import Postgres


@pytest.mark.parametrize(
    ("rest", "expected", "identity"),
    [
        (
            "//db.example:5433/shop?user=ada&sslmode=require",
            {"host": "db.example", "port": 5433, "user": "ada", "sslmode": "require"},
            "PostgreSQL db.example:5433/shop",
        ),
        ("//db/shop", {"host": "db"}, "PostgreSQL db/shop"),
        ("shop", {}, "PostgreSQL /shop"),
        (
            "//ada:p%40ss@[::1]:5/shop",
            {"host": "::1", "port": 5, "user": "ada", "password": "p@ss"},
            "PostgreSQL ::1:5/shop",
        ),
    ],
)
def test_a_url_is_taken_apart(
    rest: str, expected: dict[str, Any], identity: str
) -> None:
    """As JDBC's drivers take it, and with what else stands in URLs of databases."""
    found, named = settings_of(rest, {})

    revealed = {
        name: value.reveal() if isinstance(value, Secret) else value
        for name, value in found.items()
    }
    assert revealed == {**expected, "dbname": "shop"}
    assert named == identity


def test_passwords_are_secrets_wherever_they_stand() -> None:
    """In the URL, before the host, and among properties."""
    for rest, given in (
        ("//db/shop?password=hunter2", {}),
        ("//ada:hunter2@db/shop", {}),
        ("//db/shop", {"password": "hunter2"}),
        ("//db/shop", {"sslpassword": "hunter2"}),
    ):
        found, identity = settings_of(rest, given)
        database = Postgres.of(rest, given, 0)
        shown = f"{found} {identity} {database!r} {vars(database)}"
        assert "hunter2" not in shown
        assert "*****" in shown
    with pytest.raises(PySparkValueError) as info:
        settings_of("//ada:hunter2@db:port/shop", {})
    assert "hunter2" not in str(info.value)


def test_settings_of_the_jdbc_driver_are_libpqs() -> None:
    """By their other names."""
    url = "//db/shop?ssl=true&ApplicationName=a&currentSchema=s&loginTimeout=1"
    known = Postgres.of(url, {}, 0)._settings

    assert known["sslmode"] == "require"
    assert known["application_name"] == "a"
    assert known["options"] == "-c search_path=s"
    assert known["connect_timeout"] == 2


@pytest.mark.parametrize(
    ("lower", "upper", "parts", "count"),
    [(0, 100, 4, 4), (0, 3, 10, 3), (5, 5, 4, 0), (-10, 10, 3, 3), (0, 9, 1, 0)],
)
def test_ranges_cover_all_values_once(
    lower: int, upper: int, parts: int, count: int
) -> None:
    """Those beyond the bounds, too, and NULL; one part needs no condition."""
    options = {
        "partitioncolumn": "n",
        "lowerbound": lower,
        "upperbound": upper,
        "numpartitions": parts,
    }
    found = list(_ranges(options, "db"))

    assert len(found) == count
    with closing(sqlite3.connect(":memory:")) as connection:
        for value in [None, *range(lower - 3, upper + 4)] if found else []:
            rows = [
                connection.execute(
                    f"SELECT 1 FROM (SELECT ? AS n) WHERE {each}", [value]
                )
                for each in found
            ]
            assert sum(len(each.fetchall()) for each in rows) == 1


def test_a_source_is_a_query_for_each_part() -> None:
    """One without conditions."""
    assert Source("t", "table t").statements("*") == ["SELECT * FROM t"]
    parts = Source("t", "table t", ("a < 1", "a >= 1")).statements('"a"')
    assert parts == ['SELECT "a" FROM t WHERE a < 1', 'SELECT "a" FROM t WHERE a >= 1']


@pytest.fixture
def lite(tmp_path: Path) -> Path:
    """Return a SQLite file."""
    path = tmp_path / "a.db"
    connection = sqlite3.connect(path)
    connection.execute(
        "CREATE TABLE t (id INTEGER, x REAL, s TEXT, b BLOB, ok BOOLEAN)"
    )
    rows = [(1, 1.5, "a", b"\x00", 1), (None,) * 5]
    connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?)", rows)
    connection.commit()
    connection.close()
    return path


@pytest.mark.slow
def test_sqlite_is_read(spark: SparkSession, lite: Path) -> None:
    """By what its columns are declared as; a value of another type is told."""
    reader = spark.read.format("jdbc").option("url", f"jdbc:sqlite:{lite}")
    frame = reader.option("dbtable", "t").load()

    kinds = "struct<id:bigint,x:double,s:string,b:binary,ok:boolean>"
    assert frame.schema.simpleString() == kinds
    assert frame.collect() == [(1, 1.5, "a", b"\x00", True), (None,) * 5]
    counted = spark.read.jdbc(f"jdbc:sqlite:{lite}", "(SELECT id AS n FROM t) AS u")
    assert counted.filter("n = 1").count() == 1
    connection = sqlite3.connect(lite)
    connection.execute("INSERT INTO t (id) VALUES ('x')")
    connection.commit()
    connection.close()
    with pytest.raises(DatabaseError, match="column 'id'"):
        frame.count()


@pytest.mark.slow
def test_duckdb_is_read(spark: SparkSession, tmp_path: Path) -> None:
    """With types of all kinds, each time anew."""
    path = tmp_path / "a.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS id, [1, NULL] AS l, 'x' AS s")
    frame = spark.read.jdbc(
        f"jdbc:duckdb:{path}", "t", predicates=["id < 2", "id >= 2"]
    )

    assert frame.collect() == [(1, [1, None], "x")]
    with duckdb.connect(str(path)) as connection:
        connection.execute("INSERT INTO t VALUES (2, [], NULL)")
    assert frame.count() == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({}, PySparkValueError, "by its URL"),
        (
            {"url": "jdbc:mysql://h/d", "dbtable": "t"},
            PySparkNotImplementedError,
            "'mysql'",
        ),
        (
            {"url": "jdbc:sqlite:no.db", "dbtable": "t"},
            DatabaseError,
            "no.db isn't there",
        ),
        ({"url": "jdbc:sqlite:no.db"}, PySparkValueError, "'dbtable' or 'query'"),
        (
            {"url": "jdbc:sqlite:no.db", "dbtable": "t", "query": "select 1"},
            PySparkValueError,
            "'dbtable' or 'query'",
        ),
        (
            {"url": "jdbc:postgresql://h/d", "dbtable": "t", "customSchema": "a int"},
            PySparkNotImplementedError,
            "customSchema",
        ),
    ],
    ids=["no url", "mysql", "no file", "no table", "both", "custom schema"],
)
def test_what_is_wrong_is_told(
    spark: SparkSession, options: dict[str, str], kind: type[Exception], message: str
) -> None:
    """When the frame is made."""
    with pytest.raises(kind, match=message):
        spark.read.format("jdbc").options(**options).load()


@pytest.mark.slow
def test_files_are_not_written(spark: SparkSession, lite: Path) -> None:
    """There are sinks for these; a table that isn't there is named."""
    with pytest.raises(PySparkNotImplementedError, match="PostgreSQL alone"):
        spark.range(1).write.jdbc(f"jdbc:sqlite:{lite}", "t")
    with pytest.raises(DatabaseError, match="table nobody: no such table"):
        spark.read.jdbc(f"jdbc:sqlite:{lite}", "nobody")
