"""SinkWriter: a batch's way through the protocol."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import pytest

from millstream.engine.base.errors import IllegalStateError
from millstream.engine.sinks.contract import (
    Opening,
    PartitionsChangedError,
    Sink,
    SinkBatch,
    StaleRunError,
    check_partitions,
    check_run,
)
from millstream.engine.sinks.records import Records
from millstream.engine.sinks.writing import SinkWriter


class Noting(Sink[int]):
    """A sink that notes what is asked of it."""

    def __init__(
        self, newest_ms: int | None = None, there: Collection[int] = ()
    ) -> None:
        self.newest_ms = newest_ms
        self.there = there
        self.fails = False
        self.steps: list[Any] = []

    def open(self, output: str, run: int) -> Opening:
        """Note the name."""
        self.steps.append(("open", output))
        return Opening(run + 1, self.newest_ms)

    def begin(self, batch: SinkBatch) -> Collection[int]:
        """Note the time."""
        self.steps.append(("begin", batch.time_ms, batch.partitions))
        return self.there

    def write(self, batch: SinkBatch, partition: int, records: Records[int]) -> Any:
        """Note the records."""
        del batch
        if self.fails:
            msg = "no"
            raise OSError(msg)
        rows = list(records)
        self.steps.append(("write", partition, rows))
        return sum(rows)

    def commit(self, batch: SinkBatch, written: Mapping[int, Any]) -> None:
        """Note what was written."""
        self.steps.append(("commit", batch.time_ms, dict(written)))

    def abort(self, batch: SinkBatch) -> None:
        """Note the time."""
        self.steps.append(("abort", batch.time_ms))

    def close(self) -> None:
        """Note it."""
        self.steps.append("close")


class Rdd:
    """Partitions of numbers."""

    def __init__(self, parts: list[list[int]]) -> None:
        self.parts = parts

    def getNumPartitions(self) -> int:
        """Return how many."""
        return len(self.parts)


def run_parts(
    rdd: Rdd, function: Callable[..., Any], partitions: Sequence[int]
) -> list[Any]:
    """Run tasks here."""
    return [function(part, [rdd.parts[part]]) for part in partitions]


def test_a_batch_is_begun_written_and_committed() -> None:
    """The sink is opened once, and closed if it was opened."""
    sink = Noting()
    writer = SinkWriter(sink, "app.x", run_parts)
    writer.write(1000, Rdd([[1, 2], [3]]), -1)
    writer.write(2000, Rdd([[4]]), -1)
    writer.close()

    assert sink.steps == [
        ("open", "app.x"),
        ("begin", 1000, 2),
        ("write", 0, [1, 2]),
        ("write", 1, [3]),
        ("commit", 1000, {0: 3, 1: 3}),
        ("begin", 2000, 1),
        ("write", 0, [4]),
        ("commit", 2000, {0: 4}),
        "close",
    ]


def test_what_is_there_is_not_computed_again() -> None:
    """Partitions, or a whole batch."""
    sink = Noting(there=[0])
    writer = SinkWriter(sink, "app.x", run_parts)
    writer.write(1000, Rdd([[1], [2]]), None)
    writer.write(2000, Rdd([[3]]), None)

    assert sink.steps[1:] == [
        ("begin", 1000, 2),
        ("write", 1, [2]),
        ("commit", 1000, {1: 2}),
        ("begin", 2000, 1),
    ]


def test_a_batch_without_partitions_is_nobodys_business() -> None:
    """There is nothing that could be there twice."""
    sink = Noting()
    SinkWriter(sink, "app.x", run_parts).write(1000, Rdd([]), -1)

    assert sink.steps == [("open", "app.x")]


def test_a_failed_batch_is_aborted_and_told() -> None:
    """It isn't committed."""
    sink = Noting()
    sink.fails = True
    with pytest.raises(OSError, match="no"):
        SinkWriter(sink, "app.x", run_parts).write(1000, Rdd([[1]]), -1)

    assert sink.steps[-1] == ("abort", 1000)


@pytest.mark.parametrize(
    ("newest_ms", "known_ms", "is_refused"),
    [
        (None, -1, False),
        (999, -1, False),
        (1000, -1, True),
        (5000, 5000, False),
        (5001, 5000, True),
        (9000, None, False),
    ],
)
def test_marks_that_the_program_cannot_know_are_refused(
    newest_ms: int | None, known_ms: int | None, is_refused: bool
) -> None:
    """Without a restart, anything at or after the first batch; else after the checkpoint."""
    writer = SinkWriter(Noting(newest_ms), "app.x", run_parts)
    if not is_refused:
        writer.write(1000, Rdd([[1]]), known_ms)
        assert writer.run > 0
        return
    with pytest.raises(IllegalStateError, match=f"has batch {newest_ms} ms"):
        writer.write(1000, Rdd([[1]]), known_ms)


def test_a_restored_writer_opens_its_sink_anew() -> None:
    """A checkpoint has no run."""
    writer = SinkWriter(Noting(), "app.x", run_parts)
    writer.write(1000, Rdd([[1]]), -1)

    assert writer.__getstate__()["_opening"] is None


def test_older_runs_and_other_partitions_are_refused_by_name() -> None:
    """With what to do."""
    batch = SinkBatch("app.x", 1000, 2, run=5)
    check_run(batch, 5, "a table")
    check_partitions(batch, 2, "a table")
    with pytest.raises(StaleRunError, match=r"'app\.x' was taken over"):
        check_run(batch, 6, "a table")
    with pytest.raises(PartitionsChangedError, match="in 3 partitions, to a table"):
        check_partitions(batch, 3, "a table")
