"""Console: what is printed of a batch."""

import pytest

from millstream.engine.base.errors import IllegalArgumentError
from millstream.engine.sinks.console import ConsoleSink
from millstream.engine.sinks.contract import SinkBatch
from millstream.engine.sinks.records import Records

BATCH = SinkBatch("app.out", 1_700_000_000_000, 2, 1)


def printed(sink: ConsoleSink, *partitions: list[object]) -> list[str]:
    """Return the lines of a batch, without its title."""
    found = [
        sink.write(BATCH, number, Records([rows]))
        for number, rows in enumerate(partitions)
    ]
    title, *lines = sink.text_of(BATCH, found).splitlines()[1:]
    assert title.startswith("app.out  2023-11-14 22:13:20 UTC")
    return lines[1:]


def test_rows_are_a_table() -> None:
    """Of all partitions, in order."""
    lines = printed(ConsoleSink(), [{"a": 1, "b": "x"}], [{"a": 2, "b": None}])

    assert lines == ["| a | b    |", "|---|------|", "| 1 | x    |", "| 2 | null |"]


def test_other_records_are_lines() -> None:
    """Each one's repr, cut where it is too long."""
    lines = printed(ConsoleSink(width=10), ["a", 1], ["x" * 20, {"a": 1}])

    assert lines == ["'a'", "1", "'xxxxxx...", "{'a': 1}"]


def test_so_many_are_printed_and_all_are_counted() -> None:
    """A partition gives no more rows than are printed."""
    sink = ConsoleSink(rows=3)
    lines = printed(sink, list(range(100)), list(range(5)))

    assert lines == ["0", "1", "2", "... and 102 more"]
    assert len(sink.write(BATCH, 0, Records([list(range(100))])).rows) == 3


def test_a_batch_without_records_is_a_title() -> None:
    """So one sees that it was there."""
    assert printed(ConsoleSink(), [], []) == []


@pytest.mark.parametrize("rows", [0, -1, 1.5, True])
def test_rows_are_a_number(rows: int) -> None:
    """Others are refused."""
    with pytest.raises(IllegalArgumentError, match="rows must be a number"):
        ConsoleSink(rows=rows)
