"""Frames that wait come back as they were, from memory or from disk."""

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from millstream.engine.sinks.tables.frame_spool import FrameSpool, frames_in

FRAMES = [
    pl.DataFrame({"a": [1, None], "b": ["x", "y"]}),
    pl.DataFrame({"a": [], "b": []}),
    pl.DataFrame({"a": [3], "b": ["z"]}),
    pl.DataFrame({"c": [[1, 2]]}),
]


@pytest.mark.parametrize("memory_bytes", [1, 1 << 20])
def test_frames_come_back_as_often_as_one_asks(memory_bytes: int) -> None:
    """In their order; those without rows are left out."""
    with FrameSpool.of(FRAMES, memory_bytes) as spool:
        for _ in range(2):
            found = list(spool.frames())
            for frame, expected in zip(found, [FRAMES[0], *FRAMES[2:]], strict=True):
                assert_frame_equal(frame, expected)
        copied = list(frames_in(spool.file(), spool.ends))

        assert spool.rows == 4
        assert spool.schemas == [FRAMES[0].schema, FRAMES[3].schema]
        assert spool.size_bytes == spool.ends[-1]
        assert [frame.height for frame in copied] == [2, 1, 1]


def test_nothing_is_nothing() -> None:
    """A partition may be without records."""
    with FrameSpool.of([]) as spool:
        assert spool.size_bytes == spool.rows == 0
        assert list(spool.frames()) == []


def test_an_error_of_the_frames_is_passed_on() -> None:
    """The file is closed before."""

    def broken() -> object:
        yield FRAMES[0]
        msg = "no more"
        raise OSError(msg)

    with pytest.raises(OSError, match="no more"):
        FrameSpool.of(broken())  # type: ignore[arg-type]
