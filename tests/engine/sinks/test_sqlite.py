"""SqliteSink on files."""

import datetime
import decimal
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from millstream.engine.base.errors import IllegalStateError, SparkError
from millstream.engine.sinks.contract import SinkBatch
from millstream.engine.sinks.records import Records
from millstream.engine.sinks.sqlite import SqliteSink
from millstream.engine.sinks.tables.errors import TableError


def write(sink: SqliteSink, time_ms: int, *parts: Sequence[Any]) -> None:
    """Begin a run, and commit a batch in it."""
    run = sink.open("tests.rows", 1).run
    batch = SinkBatch("tests.rows", time_ms, len(parts), run)
    there = set(sink.begin(batch))
    written = {
        place: sink.write(batch, place, Records([rows]))
        for place, rows in enumerate(parts)
        if place not in there
    }
    sink.commit(batch, written)


def rows_of(path: Path, query: str) -> list[tuple[Any, ...]]:
    """Return what a query finds."""
    with closing(sqlite3.connect(path)) as database:
        return database.execute(query).fetchall()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where there is no file yet."""
    return tmp_path / "rows.db"


def test_values_of_all_types_have_a_place(path: Path) -> None:
    """Dates and decimals are text, durations microseconds, lists and dicts JSON."""
    hours = datetime.timezone(datetime.timedelta(hours=3))
    row = {
        'select "ключ"': 2**62,
        "real": float("-inf"),
        "text": "",
        "bytes": b"\0\xff",
        "flag": True,
        "moment": datetime.datetime(2024, 1, 1, 1, 2, 3, 4),
        "instant": datetime.datetime(2024, 1, 1, tzinfo=hours),
        "day": datetime.date(1, 2, 3),
        "time": datetime.time(1, 2, 3, 4),
        "span": datetime.timedelta(seconds=-1),
        "exact": decimal.Decimal("1.50"),
        "list": [1, None],
        "dict": {"a": "é"},
    }
    write(SqliteSink(path, "group"), 1000, [row, dict.fromkeys(row)])

    assert rows_of(path, 'SELECT * FROM "group"') == [
        (
            2**62,
            float("-inf"),
            "",
            b"\0\xff",
            1,
            "2024-01-01 01:02:03.000004",
            "2023-12-31 21:00:00.000000+00:00",
            "0001-02-03",
            "01:02:03.000004",
            -1_000_000,
            "1.50",
            "[1, null]",
            '{"a": "é"}',
        ),
        (None,) * len(row),
    ]


def test_the_table_is_made_when_there_are_records(path: Path) -> None:
    """A strict one: a later value of another type is refused, with its batch."""
    sink = SqliteSink(path, "rows")
    write(sink, 1000, [])
    write(sink, 2000, [{"n": 1}])
    with pytest.raises(TableError, match="cannot store TEXT value in INTEGER column"):
        write(sink, 3000, [{"n": 2}, {"n": 3}], [{"n": "x"}])
    write(sink, 3000, [{"n": 2}, {"n": 3}], [{"n": 4}])

    # The first partition was committed before, and isn't again.
    assert rows_of(path, "SELECT n FROM rows") == [(1,), (2,), (3,), (4,)]


def test_a_new_column_is_refused_or_added(path: Path) -> None:
    """The error names it."""
    write(SqliteSink(path, "rows"), 1000, [{"n": 1}])
    with pytest.raises(SparkError, match="no column 'later'"):
        write(SqliteSink(path, "rows"), 2000, [{"n": 2, "later": "x"}])
    write(SqliteSink(path, "rows", evolve=True), 2000, [{"n": 2, "later": "x"}])

    assert rows_of(path, "SELECT n, later FROM rows") == [(1, None), (2, "x")]


def test_the_last_record_of_a_key_wins(path: Path) -> None:
    """Over records, over partitions, and over batches; a lacking column is left alone."""
    sink = SqliteSink(path, "totals", mode="upsert", key=["k"])
    write(sink, 1000, [{"k": 1, "v": "old", "w": "kept"}, {"k": 3, "v": "x", "w": ""}])
    again = [{"k": 1, "v": "a"}, {"k": 2, "v": "b"}, {"k": 1, "v": "c"}]
    write(sink, 2000, again, [{"k": 2, "v": "d"}], [])
    write(sink, 3000, [], [])

    assert rows_of(path, "SELECT k, v, w FROM totals ORDER BY k") == [
        (1, "c", "kept"),
        (2, "d", None),
        (3, "x", ""),
    ]


def test_what_an_attempt_staged_that_failed_is_not_merged(path: Path) -> None:
    """Only what `commit` is told of."""
    sink = SqliteSink(path, "totals", mode="upsert", key=["k"])
    run = sink.open("tests.rows", 1).run
    batch = SinkBatch("tests.rows", 1000, 1, run)
    sink.write(batch, 0, Records([[{"k": 1, "v": "failed"}, {"k": 2, "v": "failed"}]]))
    staged = sink.write(batch, 0, Records([[{"k": 1, "v": "good"}]]))
    sink.commit(batch, {0: staged})

    assert rows_of(path, "SELECT k, v FROM totals") == [(1, "good")]


def test_partitions_take_turns(path: Path) -> None:
    """Of several that are written at the same time, none fails."""
    sink = SqliteSink(path, "rows")
    run = sink.open("tests.rows", 1).run
    batch = SinkBatch("tests.rows", 1000, 4, run)
    failures: list[Exception] = []

    def commit(partition: int) -> None:
        try:
            sink.write(batch, partition, Records([[{"n": partition}]]))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=commit, args=(n,)) for n in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert not failures
    assert rows_of(path, "SELECT n FROM rows ORDER BY n") == [(0,), (1,), (2,), (3,)]
    assert set(sink.begin(batch)) == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("value", "told"), [(float("nan"), "has a NaN"), (2**63, "more than 64 bits")]
)
def test_what_sqlite_would_change_is_refused(
    path: Path, value: float, told: str
) -> None:
    """It would take a NaN for None."""
    with pytest.raises(SparkError, match=told):
        write(SqliteSink(path, "rows"), 1000, [{"n": value}])


def test_without_a_table_or_marks_it_says_so(path: Path) -> None:
    """What is missing isn't made up."""
    sink = SqliteSink(path, "rows", create=False)
    with pytest.raises(SparkError, match="table rows isn't there"):
        write(sink, 1000, [{"n": 1}])
    with pytest.raises(SparkError, match="all columns are None"):
        write(SqliteSink(path, "rows"), 1000, [{"n": None}])
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("DELETE FROM millstream_commits")
    with pytest.raises(IllegalStateError, match=r"marks of output 'tests\.rows'"):
        sink.begin(SinkBatch("tests.rows", 1000, 1, 1))


def test_a_directory_that_is_not_there_is_told(tmp_path: Path) -> None:
    """With the path."""
    with pytest.raises(TableError, match=r"nowhere/rows\.db table rows: unable"):
        SqliteSink(tmp_path / "nowhere" / "rows.db", "rows").open("tests.rows", 1)
