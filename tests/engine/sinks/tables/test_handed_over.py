"""A partition goes from a task to the driver by itself, or by a file."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from pyarrow.fs import LocalFileSystem

from millstream.engine.base import frames
from millstream.engine.sinks.contract import SinkBatch
from millstream.engine.sinks.records import Records
from millstream.engine.sinks.tables import handed_over
from millstream.engine.sinks.tables.handed_over import (
    Place,
    as_arrow,
    frames_of,
    hand_over,
    has_files,
    read_in_a_thread,
    schemas_of,
)

BATCH = SinkBatch("tests.rows", 1000, 2, 7)


@pytest.mark.parametrize("small_bytes", [1, 1 << 20])
def test_the_driver_has_what_tasks_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_bytes: int
) -> None:
    """Partition by partition; files are in the run's own place, until it is cleared."""
    monkeypatch.setattr(handed_over, "SMALL_BYTES", small_bytes)
    place = Place.beside(LocalFileSystem(), str(tmp_path), BATCH.output)
    ours = place.of_run(7)
    written = {
        part: hand_over(Records([[{"n": part}]]), BATCH, part, lambda: ours)
        for part in (1, 0)
    }
    written = frames.loads(frames.dumps(written))  # As from another process.
    files = [path for path in tmp_path.rglob("*") if path.is_file()]

    found = [frame.rows() for frame in frames_of(written, lambda: ours)]

    assert found == [[(0,)], [(1,)]]
    assert schemas_of(written) == [pl.Schema({"n": pl.Int64()})] * 2
    assert has_files(written) == (small_bytes == 1)
    assert len(files) == (2 if small_bytes == 1 else 0)
    place.of_run(6).clear()
    assert all(path.exists() for path in files)
    place.clear()
    assert not any(path.exists() for path in files)


def test_a_reader_gets_the_error_of_the_frames_as_it_was() -> None:
    """Whatever the library that reads makes of it."""

    def broken() -> Iterator[pl.DataFrame]:
        yield pl.DataFrame({"n": [1]})
        msg = "the file is gone"
        raise FileNotFoundError(msg)

    def read() -> None:
        with (
            read_in_a_thread(broken()) as read_ahead,
            as_arrow(read_ahead, {"n": pl.Int64()}) as reader,
        ):
            try:
                reader.read_all()
            except OSError as error:
                raise ValueError(str(error)) from error

    with pytest.raises(FileNotFoundError, match="gone"):
        read()


def test_a_reader_that_stops_early_ends_the_thread() -> None:
    """Also when it has not read all, and the thread waits."""
    closed: list[int] = []

    def many() -> Iterator[pl.DataFrame]:
        for number in range(1000):
            closed.append(number)
            yield pl.DataFrame({"n": [number]})

    with read_in_a_thread(many()) as read_ahead:
        assert next(read_ahead).rows() == [(0,)]

    assert len(closed) < 1000


def test_times_have_microseconds() -> None:
    """Tables have no finer ones, and Python neither."""
    frame = pl.DataFrame({"t": [None]}, schema={"t": pl.Time()})
    with as_arrow(iter([frame]), frame.schema) as reader:
        assert str(reader.schema.field("t").type) == "time64[us]"
        assert reader.read_all().num_rows == 1
