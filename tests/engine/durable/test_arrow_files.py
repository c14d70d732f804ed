"""Arrow files: frames come back as they were, with PyArrow and without it."""

import io
from datetime import date, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from polars.testing.parametric import dataframes

from millstream.engine.durable import arrow_files

HAS = pytest.mark.parametrize("has", ["written", "read", "both", "neither"])
DTYPES = [pl.Int64, pl.Float64, pl.String, pl.Boolean, pl.Binary, pl.Date, pl.UInt32]


def _have_pyarrow(monkeypatch: pytest.MonkeyPatch, has: bool) -> None:
    monkeypatch.setattr(arrow_files, "_has_pyarrow", lambda: has)


FRAME = pl.DataFrame(
    {
        "word": ["short", "longer than a view holds", None, ""],
        "n": [1, None, -3, 4],
        "x": [0.5, float("nan"), None, -0.0],
        "is": [True, None, False, True],
        "words": [["a", None], [], None, ["longer than a view holds"]],
        "data": [b"\0", None, b"", b"more than twelve bytes"],
        "day": [date(2026, 1, 2), None, date(1, 1, 1), date(9999, 12, 31)],
        "at": [datetime(2026, 1, 2, 3, 4, 5, 6), None, None, None],
        "none": [None, None, None, None],
    },
    schema_overrides={"at": pl.Datetime("us")},
)


@HAS
@pytest.mark.parametrize("frame", [FRAME, FRAME.clear(), FRAME[1:3], FRAME.select("n")])
def test_a_frame_comes_back(
    frame: pl.DataFrame, has: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has PyArrow, in one chunk, from a file and from bytes."""
    _have_pyarrow(monkeypatch, has in ("written", "both"))
    data = io.BytesIO()
    arrow_files.write(frame, data)
    arrow_files.write(frame, tmp_path / "file")

    _have_pyarrow(monkeypatch, has in ("read", "both"))
    for again in (
        arrow_files.read(data.getvalue()),
        arrow_files.read(tmp_path / "file"),
    ):
        assert_frame_equal(again, frame)
        assert again.n_chunks() == 1


@given(dataframes(allowed_dtypes=DTYPES, allow_chunks=True), st.booleans())
def test_any_frame_comes_back(frame: pl.DataFrame, is_mapped: bool) -> None:
    """However it is chunked."""
    data = io.BytesIO()
    arrow_files.write(frame, data)
    source = memoryview(data.getvalue()) if is_mapped else data.getvalue()

    assert_frame_equal(arrow_files.read(source), frame)


@pytest.mark.parametrize("has", [True, False])
def test_of_a_part_of_a_frame_only_that_part_is_written(
    has: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the texts of all its records: a shuffle cuts a frame into many."""
    _have_pyarrow(monkeypatch, has)
    texts = [f"a text that is in a buffer of its column: {n}" for n in range(10_000)]
    frame = pl.DataFrame({"text": texts})
    data = io.BytesIO()

    arrow_files.write(frame.filter(pl.arange(pl.len()) % 100 == 0), data)

    assert len(data.getvalue()) < 10_000


def test_a_mapped_frame_outlives_its_file(tmp_path: Path) -> None:
    """The driver removes what it no longer refers to, while a task reads it."""
    path = tmp_path / "file"
    arrow_files.write(FRAME, path)
    again = arrow_files.read(path)
    path.unlink()

    assert_frame_equal(again, FRAME)


@pytest.mark.parametrize("has", [True, False])
def test_a_file_that_is_gone_is_an_os_error(
    has: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which is how a lost block is told."""
    _have_pyarrow(monkeypatch, has)
    with pytest.raises(OSError, match="gone"):
        arrow_files.read(tmp_path / "gone")
