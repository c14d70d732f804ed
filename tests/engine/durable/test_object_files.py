"""Tests of engine/durable/object_files.py."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.base.errors import DurabilityError
from millstream.engine.base.storage import LocalStorage
from millstream.engine.columnar.gathering import gathered
from millstream.engine.durable.object_files import read_rows, write_pieces, write_rows

STORAGE = LocalStorage()
ROWS = [(i, "x" * i) for i in range(7)]


def _read_until_damage(path: str) -> list[Any]:
    read: list[Any] = []
    with pytest.raises(DurabilityError, match="rows' is damaged"):
        read.extend(read_rows(STORAGE, path))
    return read


@given(st.lists(st.integers() | st.text() | st.none()), st.integers(1, 9))
def test_what_was_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Any], batch_rows: int
) -> None:
    """Any rows in batches of any size."""
    path = str(tmp_path_factory.getbasetemp() / "object-file")

    assert write_rows(STORAGE, path, rows, batch_rows, sync=False) == len(rows)
    assert list(read_rows(STORAGE, path)) == rows


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), max_size=4))
def test_columns_are_read_as_the_rows_that_they_are(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[tuple[bool, int]]
) -> None:
    """Before and behind others, and rows that come one by one; in their order."""
    path = str(tmp_path_factory.getbasetemp() / "pieces")
    each = [(is_columns, ROWS[:count]) for is_columns, count in pieces]

    count = write_pieces(
        STORAGE,
        path,
        (
            (gathered([rows]) if is_columns else None) or iter(rows)
            for is_columns, rows in each
        ),
    )

    expected = [row for _, rows in each for row in rows]
    assert count == len(expected)
    assert list(read_rows(STORAGE, path)) == expected


def test_many_columns_are_several_frames(tmp_path: Path) -> None:
    """None is too large to be read at once."""
    columns = gathered([list(range(100_001))])
    assert columns is not None
    path = str(tmp_path / "rows")

    assert write_pieces(STORAGE, path, [columns]) == 100_001
    assert list(read_rows(STORAGE, path)) == list(range(100_001))


def test_a_file_cut_anywhere_is_noticed(tmp_path: Path) -> None:
    """Also between two frames, and when nothing is left: records, then a named error."""
    path = str(tmp_path / "rows")
    write_rows(STORAGE, path, ROWS, 2)
    whole = Path(path).read_bytes()
    for cut in range(len(whole)):
        Path(path).write_bytes(whole[:cut])
        read = _read_until_damage(path)
        assert read == ROWS[: len(read)]


def test_a_changed_byte_is_noticed(tmp_path: Path) -> None:
    """Wherever it is; no wrong record comes before the error."""
    path = str(tmp_path / "rows")
    write_rows(STORAGE, path, ROWS, 2)
    whole = Path(path).read_bytes()
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 0x41
        Path(path).write_bytes(changed)
        read = _read_until_damage(path)
        assert read == ROWS[: len(read)]


def test_what_follows_the_end_is_damage(tmp_path: Path) -> None:
    """Zeros that a file system left, or a second file."""
    path = str(tmp_path / "rows")
    write_rows(STORAGE, path, ROWS, 2)
    whole = Path(path).read_bytes()
    for rest in (whole, bytes(8), b"x"):
        Path(path).write_bytes(whole + rest)
        assert _read_until_damage(path) == ROWS


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """Neither a file nor a part of one; what was there before stays."""

    def breaks() -> Iterator[int]:
        yield 1
        msg = "user code"
        raise ValueError(msg)

    path = tmp_path / "rows"
    with contextlib.suppress(ValueError):
        write_rows(STORAGE, str(path), breaks(), 1)
    assert list(tmp_path.iterdir()) == []
    write_rows(STORAGE, str(path), [5])
    with contextlib.suppress(ValueError):
        write_rows(STORAGE, str(path), breaks(), 1)
    assert list(tmp_path.iterdir()) == [path]
    assert list(read_rows(STORAGE, str(path))) == [5]


def test_two_attempts_may_write_at_once(tmp_path: Path) -> None:
    """One file comes of it, whole."""
    path = str(tmp_path / "rows")

    def rival() -> Iterator[int]:
        yield 1
        write_rows(STORAGE, path, [7, 8])
        yield 2

    write_rows(STORAGE, path, rival(), 1)

    assert list(read_rows(STORAGE, path)) == [1, 2]
    assert len(list(tmp_path.iterdir())) == 1
