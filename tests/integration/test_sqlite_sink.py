"""SqliteSink on real files, also under another writer's lock."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from millstream.engine.base.errors import OutputOperationError
from millstream.engine.sinks.sqlite import SqliteSink
from millstream.testing import StreamHarness, certify_sink

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("mode", "key"), [("append", ()), ("upsert", ("number",))])
def test_it_commits_exactly_once(tmp_path: Path, mode: str, key: Sequence[str]) -> None:
    """The kit crashes it at every step, and wakes up a writer that was replaced."""
    path = str(tmp_path / "numbers.db")

    def make() -> SqliteSink:
        return SqliteSink(path, "numbers", mode=mode, key=key)

    def read_back() -> list[int]:
        with closing(sqlite3.connect(path)) as database:
            return [row[0] for row in database.execute("SELECT number FROM numbers")]

    report = certify_sink(make, read_back)

    assert report.guarantee == "exactly once", str(report)


def test_a_batch_waits_for_another_writer_within_bounds(
    tmp_path: Path, checkpoint: str
) -> None:
    """The batch fails with what to do, and is committed with the next one."""
    path = tmp_path / "numbers.db"
    sink = SqliteSink(path, "numbers", timeout_s=0.2)
    with StreamHarness(checkpoint=checkpoint) as harness:
        batches = [[{"n": 1}], [{"n": 2}, {"n": 3}], [{"n": 4}]]
        harness.stream(batches, partitions=2).writeTo(sink, name="rows")
        harness.run(1)
        with closing(sqlite3.connect(path)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(OutputOperationError, match="see timeout_s"):
                harness.run(1)
        harness.run(1)

    with closing(sqlite3.connect(path)) as database:
        found = database.execute("SELECT n FROM numbers ORDER BY n").fetchall()
    assert found == [(1,), (2,), (3,), (4,)]
