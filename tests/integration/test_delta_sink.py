"""DeltaSink on directories, and on an S3 server."""

import datetime
import decimal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import deltalake
import pandas
import polars as pl
import pyarrow.compute
import pyarrow.fs
import pytest
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from tests.integration.sink_batches import Output
from tests.stories.object_store import BUCKET, object_store

from millstream.engine.base.errors import SparkError
from millstream.engine.sinks.contract import StaleRunError
from millstream.engine.sinks.delta import DeltaSink
from millstream.engine.sinks.records import Records
from millstream.engine.sinks.tables import handed_over
from millstream.engine.sinks.tables.errors import TableError
from millstream.testing import certify_sink

pytestmark = pytest.mark.slow

IMPORTED = (deltalake, pandas, pyarrow.compute, pyarrow.fs)
"""What a writer takes: imported once, before the kit forks its writers."""


def numbers_of(uri: str, options: dict[str, str] | None = None) -> list[int]:
    """Return the numbers that a reader sees."""
    table = DeltaTable(uri, storage_options=options).to_pyarrow_table()
    return sorted(table["n"].to_pylist())


@pytest.fixture(scope="module")
def store() -> Iterator[dict[str, str]]:
    """Return how to reach a server."""
    with object_store() as options:
        yield {**options, "AWS_ALLOW_HTTP": "true"}


@pytest.mark.timeout(120)
def test_it_commits_exactly_once(tmp_path: Path) -> None:
    """The kit crashes it at every step, and wakes up a writer that was replaced."""
    uri = str(tmp_path / "numbers")

    def make(_imported: object = IMPORTED) -> DeltaSink:
        return DeltaSink(uri)

    def read_back() -> list[int]:
        table = DeltaTable(uri).to_pyarrow_table()
        is_empty = "number" not in table.column_names
        return [] if is_empty else table["number"].to_pylist()

    report = certify_sink(make, read_back)

    assert report.guarantee == "exactly once", str(report)


def test_a_writer_that_was_replaced_between_look_and_commit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its marks were good when it looked; the table itself refuses the commit."""
    uri = str(tmp_path / "numbers")
    older = Output(DeltaSink(uri))
    older.write(1000, [{"n": 1}])
    plain = write_deltalake

    def late(*args: Any, **options: Any) -> None:
        monkeypatch.setattr(deltalake, "write_deltalake", plain)
        Output(DeltaSink(uri))
        plain(*args, **options)

    monkeypatch.setattr(deltalake, "write_deltalake", late)
    with pytest.raises(StaleRunError):
        older.write(2000, [{"n": 2}])

    assert numbers_of(uri) == [1]


def test_outputs_and_others_write_to_one_table_at_the_same_time(tmp_path: Path) -> None:
    """A commit that comes second is made again on the newer version."""
    uri = str(tmp_path / "numbers")
    outputs = [Output(DeltaSink(uri), f"tests.{name}") for name in "ab"]
    outputs[0].write(1000, [{"n": 0}])

    def write(output: Output, begin: int) -> None:
        for time_ms in range(2000, 8000, 1000):
            output.write(time_ms, [{"n": begin + time_ms}])

    threads = [
        threading.Thread(target=write, args=(output, place))
        for place, output in enumerate(outputs)
    ]
    for each in threads:
        each.start()
    write_deltalake(uri, pl.DataFrame({"n": [1]}).to_arrow(), mode="append")
    for each in threads:
        each.join()

    times = range(2000, 8000, 1000)
    assert numbers_of(uri) == [0, 1, *[t + place for t in times for place in range(2)]]


def test_values_of_all_types_are_there(tmp_path: Path) -> None:
    """Times of day are text, durations microseconds; a partition is a directory."""
    row = {
        "whole": 2**62,
        "real": float("-inf"),
        "text": "",
        "bytes": b"\0\\x",
        "moment": datetime.datetime(2024, 1, 1, 1, 2, 3, 4),
        "instant": datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC),
        "day": datetime.date(1, 2, 3),
        "time": datetime.time(1, 2, 3, 4),
        "span": datetime.timedelta(seconds=-1),
        "exact": decimal.Decimal("1.50"),
        "flag": True,
        "numbers": [1, None, 3],
        "nested": {"a": ["x"]},
        "ключ": "é",
    }
    uri = str(tmp_path / "kinds")
    output = Output(DeltaSink(uri, partition_by=["ключ"]))
    output.write(1000, [row, {"ключ": "b", "none": None}])
    output.write(2000, [row])

    found = DeltaTable(uri).to_pyarrow_table().to_pylist()
    full = [each for each in found if each["whole"] is not None]

    changed = {**row, "time": "01:02:03.000004", "span": -1_000_000}
    assert full == [changed, changed]
    assert len(found) == 3
    assert DeltaTable(uri).metadata().partition_columns == ["ключ"]


def test_a_new_column_is_refused_or_added(tmp_path: Path) -> None:
    """The error names the column, and says what to do."""
    uri = str(tmp_path / "rows")
    output = Output(DeltaSink(uri))
    output.write(1000, [{"n": 1}])
    with pytest.raises(SparkError, match="no column 'later'"):
        output.write(2000, [{"n": 2}], [{"n": 3, "later": "x"}])
    with pytest.raises(SparkError, match="is Int64"):
        output.write(2000, [{"n": "x"}])
    with pytest.raises(SparkError, match="not by n"):
        Output(DeltaSink(uri, partition_by=["n"])).write(2000, [{"n": 2}])

    wider = Output(DeltaSink(uri, evolve=True))
    wider.write(2000, [{"n": 2}], [{"n": 3, "later": "x"}])
    wider.write(3000, [{"later": "y"}])

    rows = DeltaTable(uri).to_pyarrow_table().to_pylist()
    assert sorted((row["n"] or 9, row["later"]) for row in rows) == [
        (1, None),
        (2, None),
        (3, "x"),
        (9, "y"),
    ]


def test_it_goes_on_with_marks_of_other_writers(tmp_path: Path) -> None:
    """A table that is there already is appended to, and its own marks are kept."""
    uri = str(tmp_path / "rows")
    marks = CommitProperties(app_transactions=[Transaction("other", 7)])
    write_deltalake(uri, pl.DataFrame({"n": [1]}).to_arrow(), commit_properties=marks)

    Output(DeltaSink(uri)).write(1000, [{"n": 2}], [])

    assert numbers_of(uri) == [1, 2]
    assert DeltaTable(uri).transaction_version("other") == 7
    assert DeltaTable(uri).transaction_version("tests.rows") == 1000


def test_on_s3_a_stale_writer_is_refused_and_large_partitions_wait_there(
    store: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By conditional puts, without any lock table; nothing is left of the waiting."""
    monkeypatch.setattr(handed_over, "SMALL_BYTES", 1)
    uri = f"s3://{BUCKET}/numbers"
    older = Output(DeltaSink(uri, storage_options=store))
    older.write(1000, [{"n": 1}], [{"n": 2}])
    batch = older.batch(2000, [])
    written = {0: older.sink.write(batch, 0, Records([[{"n": 9}]]))}
    newer = Output(DeltaSink(uri, storage_options=store))
    with pytest.raises(StaleRunError):
        older.sink.commit(batch, written)
    newer.write(2000, [{"n": 3}])

    handler = deltalake.fs.DeltaStorageHandler(uri, store)
    selector = pyarrow.fs.FileSelector("", recursive=True)
    found = pyarrow.fs.PyFileSystem(handler).get_file_info(selector)

    assert numbers_of(uri, store) == [1, 2, 3]
    assert not [f.path for f in found if f.is_file and "_millstream" in f.path]


def test_a_storage_that_is_not_there_is_told_without_its_keys() -> None:
    """The error names the table, and says what to do."""
    options = {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "me",
        "AWS_SECRET_ACCESS_KEY": "open-sesame",
        "AWS_REGION": "us-east-1",
        "max_retries": "0",
    }
    with pytest.raises(TableError, match="Delta table s3://bucket/rows") as refused:
        DeltaSink("s3://bucket/rows", storage_options=options).open("tests.rows", 1)

    assert "storage" in (refused.value.hint or "")
    assert "open-sesame" not in str(refused.value)
