"""IcebergSink with an SQL catalog."""

import datetime
import decimal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyiceberg.catalog.sql
import pyiceberg.io.pyarrow
import pytest
import rich.console
import rich.table
import sqlalchemy.dialects.sqlite
from pyiceberg.catalog import load_catalog
from pyiceberg.table import Transaction as IcebergTransaction
from tests.integration.sink_batches import Output, without_iceberg_threads

from millstream.engine.base.errors import SparkError
from millstream.engine.sinks.contract import StaleRunError
from millstream.engine.sinks.iceberg import IcebergSink
from millstream.engine.sinks.tables import handed_over
from millstream.engine.sinks.tables.errors import TableError
from millstream.testing import certify_sink

pytestmark = pytest.mark.slow

IMPORTED = (
    pyiceberg.catalog.sql,
    pyiceberg.io.pyarrow,
    rich.console,
    rich.table,
    sqlite3,
    sqlalchemy.dialects.sqlite,
)
"""What a writer takes: imported once, before the kit forks its writers."""


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    with without_iceberg_threads():
        yield


@pytest.fixture
def catalog(tmp_path: Path) -> dict[str, str]:
    """Return the properties of a catalog with nothing in it."""
    return {
        "type": "sql",
        "uri": f"sqlite:///{tmp_path}/catalog.db",
        "warehouse": f"file://{tmp_path}/warehouse",
    }


def table_of(catalog: dict[str, str], name: str = "tests.rows") -> Any:
    """Return a table."""
    with closing(load_catalog("default", **catalog)) as opened:
        return opened.load_table(name)


def rows_of(catalog: dict[str, str], name: str = "tests.rows") -> list[dict[str, Any]]:
    """Return the rows that a reader sees."""
    with closing(load_catalog("default", **catalog)) as opened:
        found: list[dict[str, Any]] = (
            opened.load_table(name).scan().to_arrow().to_pylist()
        )
    return found


@pytest.mark.timeout(120)
def test_it_commits_exactly_once(catalog: dict[str, str]) -> None:
    """The kit crashes it at every step, and wakes up a writer that was replaced."""

    def make(_imported: object = IMPORTED) -> IcebergSink:
        return IcebergSink(catalog, "tests.rows")

    report = certify_sink(make, lambda: [row["number"] for row in rows_of(catalog)])

    assert report.guarantee == "exactly once", str(report)


@pytest.mark.parametrize("is_first", [True, False])
def test_a_writer_that_was_replaced_between_look_and_commit_is_refused(
    catalog: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    is_first: bool,
) -> None:
    """The library would try the commit again, and let it in; here it is refused."""
    older = Output(IcebergSink(catalog, "tests.rows"))
    if not is_first:
        older.write(1000, [{"n": 1}])
    plain = IcebergTransaction.commit_transaction

    def late(self: Any) -> Any:
        monkeypatch.setattr(IcebergTransaction, "commit_transaction", plain)
        Output(IcebergSink(catalog, "tests.rows"))
        return plain(self)

    monkeypatch.setattr(IcebergTransaction, "commit_transaction", late)
    with pytest.raises(StaleRunError):
        older.write(2000, [{"n": 2}])

    assert rows_of(catalog) == ([] if is_first else [{"n": 1}])


def test_a_commit_of_another_program_in_between_is_no_matter(
    catalog: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch is committed on the newer snapshot, once."""
    output = Output(IcebergSink(catalog, "tests.rows"))
    output.write(1000, [{"n": 1}])
    plain = IcebergTransaction.commit_transaction

    def late(self: Any) -> Any:
        monkeypatch.setattr(IcebergTransaction, "commit_transaction", plain)
        with closing(load_catalog("default", **catalog)) as opened:
            opened.load_table("tests.rows").append(pa.table({"n": [5]}))
        return plain(self)

    monkeypatch.setattr(IcebergTransaction, "commit_transaction", late)
    output.write(2000, [{"n": 2}])
    output.write(2000, [{"n": 2}])

    assert sorted(row["n"] for row in rows_of(catalog)) == [1, 2, 5]


def test_the_mark_outlives_the_snapshots(catalog: dict[str, str]) -> None:
    """It is in the table's properties, and in the summary of the batch's snapshot."""
    output = Output(IcebergSink(catalog, "tests.rows"))
    output.write(1000, [{"n": 1}])
    output.write(2000, [], [])

    table = table_of(catalog)
    summary = table.current_snapshot().summary

    assert table.properties["millstream.tests.rows.batch-ms"] == "1000"
    assert summary["millstream.tests.rows.batch-ms"] == "1000"
    # No setting of the table's own was changed for it.
    assert "commit.retry.num-retries" not in table.properties
    assert IcebergSink(catalog, "tests.rows").open("tests.rows", 1).newest_ms == 1000


def test_values_of_all_types_are_there(
    catalog: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Durations are microseconds; with partitions, and from files in the warehouse."""
    monkeypatch.setattr(handed_over, "SMALL_BYTES", 1)
    row = {
        "whole": 2**62,
        "real": float("-inf"),
        "text": "",
        "bytes": b"\0\\x",
        "moment": datetime.datetime(2024, 1, 1, 1, 2, 3, 4),
        "day": datetime.date(2001, 2, 3),
        "time": datetime.time(1, 2, 3, 4),
        "span": datetime.timedelta(seconds=-1),
        "exact": decimal.Decimal("1.50"),
        "flag": True,
        "numbers": [1, None, 3],
        "nested": {"a": ["x"]},
        "ключ": "é",
    }
    output = Output(IcebergSink(catalog, "tests.rows", partition_by=["ключ"]))
    output.write(1000, [row, {"ключ": "b", "none": None}])
    output.write(2000, [row])

    found = rows_of(catalog)
    full = [each for each in found if each["whole"] is not None]
    left = Path(catalog["warehouse"].removeprefix("file://")).rglob("*.arrow")

    assert full == [{**row, "span": -1_000_000}] * 2
    assert len(found) == 3
    assert [field.name for field in table_of(catalog).spec().fields] == ["ключ"]
    assert not list(left)


def test_a_new_column_is_refused_or_added(catalog: dict[str, str]) -> None:
    """The error names the column, and says what to do."""
    output = Output(IcebergSink(catalog, "tests.rows"))
    output.write(1000, [{"n": 1}])
    with pytest.raises(SparkError, match="no column 'later'"):
        output.write(2000, [{"n": 2}], [{"n": 3, "later": "x"}])
    with pytest.raises(SparkError, match="is Int64"):
        output.write(2000, [{"n": "x"}])
    with pytest.raises(SparkError, match="not by n"):
        Output(IcebergSink(catalog, "tests.rows", partition_by=["n"])).write(
            2000, [{"n": 2}]
        )

    wider = Output(IcebergSink(catalog, "tests.rows", evolve=True))
    wider.write(2000, [{"n": 2}], [{"n": 3, "later": "x"}])

    rows = [(row["n"], row["later"]) for row in rows_of(catalog)]
    assert sorted(rows) == [(1, None), (2, None), (3, "x")]


def test_a_catalog_that_is_not_there_is_told_without_its_password(
    tmp_path: Path,
) -> None:
    """The error names the table, and says what to do."""
    catalog = {
        "type": "sql",
        "uri": f"sqlite:///{tmp_path}/nowhere/open-sesame@/catalog.db",
        "warehouse": f"file://{tmp_path}/warehouse",
    }
    with pytest.raises(
        TableError, match=r"Iceberg table default\.tests\.rows"
    ) as refused:
        IcebergSink(catalog, "tests.rows").open("tests.rows", 1)

    assert "catalog" in (refused.value.hint or "")
    assert "open-sesame" not in str(refused.value)
