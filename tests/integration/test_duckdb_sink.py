"""DuckDbSink on real files, also while another process has one open."""

import datetime
import decimal
import ssl
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pandas
import polars as pl
import pyarrow.compute
import pyarrow.fs
import pyarrow.pandas_compat
import pytest
from tests.integration.sink_batches import Output

from millstream.engine.base.errors import OutputOperationError, SparkError
from millstream.engine.sinks.duckdb import DuckDbSink
from millstream.engine.sinks.records import Records
from millstream.engine.sinks.tables import handed_over
from millstream.testing import StreamHarness, certify_sink

pytestmark = pytest.mark.slow

IMPORTED = (duckdb, pandas, pyarrow.compute, pyarrow.fs, pyarrow.pandas_compat, ssl)
"""What a writer takes: imported once, before the kit forks its writers."""


def rows_of(path: Path | str, query: str) -> list[tuple[Any, ...]]:
    """Return what a query finds."""
    with closing(duckdb.connect(str(path))) as database:
        return database.execute(query).fetchall()


@pytest.mark.timeout(120)
def test_it_commits_exactly_once(tmp_path: Path) -> None:
    """The kit crashes it at every step, and wakes up a writer that was replaced."""
    path = str(tmp_path / "numbers.duckdb")

    def make(_imported: object = IMPORTED) -> DuckDbSink:
        return DuckDbSink(path, "numbers")

    def read_back() -> list[int]:
        return [row[0] for row in rows_of(path, "SELECT number FROM numbers")]

    report = certify_sink(make, read_back)

    assert report.guarantee == "exactly once", str(report)


def test_values_of_all_types_come_back_as_they_were(tmp_path: Path) -> None:
    """Each type has a column of its own type, None included."""
    row = {
        "whole": 2**62,
        "real": float("-inf"),
        "text": "",
        "bytes": b"\0\\x",
        "moment": datetime.datetime(2024, 1, 1, 1, 2, 3, 4),
        "day": datetime.date(1, 2, 3),
        "time": datetime.time(1, 2, 3, 4),
        "span": datetime.timedelta(days=-1, microseconds=3),
        "exact": decimal.Decimal("1.50"),
        "flag": True,
        "numbers": [1, None, 3],
        "nested": {"a": ["x"], "b": None},
        'select "ключ"': 1,
    }
    path = tmp_path / "kinds.duckdb"
    Output(DuckDbSink(path, "main.order")).write(1000, [row, dict.fromkeys(row)])
    # Again, into columns that are there.
    Output(DuckDbSink(path, "order")).write(2000, [row])

    first, second, third = rows_of(path, 'SELECT * FROM "order"')

    assert dict(zip(row, first, strict=True)) == row
    assert set(second) == {None}
    assert third == first


def test_the_last_record_of_a_key_wins(tmp_path: Path) -> None:
    """Over records, over partitions, and over batches."""
    path = tmp_path / "totals.duckdb"
    output = Output(DuckDbSink(path, "totals", mode="upsert", key=["k"], evolve=True))
    output.write(1000, [{"k": 1, "v": "old"}, {"k": 3, "v": "x"}])
    output.write(
        2000,
        [{"k": 1, "v": "a"}, {"k": 2, "v": "b"}, {"k": 1, "v": "c"}],
        [{"k": 2, "v": "d", "w": 1}],
    )

    found = rows_of(path, "SELECT k, v, w FROM totals ORDER BY k")

    assert found == [(1, "c", None), (2, "d", 1), (3, "x", None)]


@pytest.mark.parametrize(
    ("record", "told"),
    [
        ({"n": 2.5}, "would change some"),
        ({"n": "x"}, "is Int64"),
        ({"n": 1, "new": 1}, "no column 'new'"),
    ],
)
def test_what_the_table_can_not_take_is_told_with_its_column(
    tmp_path: Path, record: dict[str, Any], told: str
) -> None:
    """Nothing of the batch is there, and nothing was rounded."""
    path = tmp_path / "numbers.duckdb"
    output = Output(DuckDbSink(path, "numbers"))
    output.write(1000, [{"n": 1}])
    with pytest.raises(SparkError, match=told):
        output.write(2000, [{"n": 2.0}], [record])

    assert rows_of(path, "SELECT n FROM numbers") == [(1,)]


def test_types_may_be_given(tmp_path: Path) -> None:
    """A decimal column then has room for values that come later."""
    path = tmp_path / "numbers.duckdb"
    types = {"n": pl.Decimal(38, 9), "later": pl.String()}
    output = Output(DuckDbSink(path, "numbers", types=types))
    output.write(1000, [{"n": decimal.Decimal("1.5"), "later": None}])
    output.write(2000, [{"n": decimal.Decimal("2.555"), "later": "x"}])

    found = rows_of(path, "SELECT n, later FROM numbers ORDER BY n")

    assert found == [
        (decimal.Decimal("1.5"), None),
        (decimal.Decimal("2.555"), "x"),
    ]


def test_large_partitions_wait_in_files_which_are_gone_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside the database, until the commit, an error, or the next run."""
    monkeypatch.setattr(handed_over, "SMALL_BYTES", 1)
    path = tmp_path / "numbers.duckdb"
    output = Output(DuckDbSink(path, "numbers"))
    output.write(1000, [{"n": 1}], [{"n": 2}])
    with pytest.raises(SparkError):
        output.write(2000, [{"n": "x"}])
    assert rows_of(path, "SELECT n FROM numbers ORDER BY n") == [(1,), (2,)]
    assert _files_beside(path) == []

    crashed = Output(DuckDbSink(path, "numbers"))
    batch = crashed.batch(2000, [])
    crashed.sink.write(batch, 0, Records([[{"n": 3}]]))
    assert len(_files_beside(path)) == 1
    Output(DuckDbSink(path, "numbers"))
    assert _files_beside(path) == []


def test_a_batch_waits_for_another_process_within_bounds(
    tmp_path: Path, checkpoint: str
) -> None:
    """The batch fails with what to do, and is committed with the next one."""
    path = tmp_path / "numbers.duckdb"
    sink = DuckDbSink(path, "numbers", timeout_s=0.2)
    code = f"import duckdb; c = duckdb.connect({str(path)!r}); print(1, flush=True); input()"
    with StreamHarness(checkpoint=checkpoint) as harness:
        batches = [[{"n": 1}], [{"n": 2}, {"n": 3}], [{"n": 4}]]
        harness.stream(batches, partitions=2).writeTo(sink, name="rows")
        harness.run(1)
        with subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as other:
            assert other.stdout is not None
            other.stdout.readline()
            with pytest.raises(
                OutputOperationError, match="another process has the file"
            ):
                harness.run(1)
            other.communicate(b"\n")
        harness.run(1)

    assert rows_of(path, "SELECT n FROM numbers ORDER BY n") == [(1,), (2,), (3,), (4,)]


def _files_beside(path: Path) -> list[Path]:
    beside = Path(f"{path}.millstream")
    return [each for each in beside.rglob("*") if each.is_file()]
