"""Tests of engine/sources/text_lines.py."""

import io
import re
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.sources import text_lines
from millstream.engine.sources.text_lines import line_end_after, read_line_lists

texts = st.lists(
    st.sampled_from([b"a", b"bc", b"\n", b"\r", b"\r\n", "é".encode(), b"\xff"]),
    max_size=30,
).map(b"".join)


def _model(data: bytes) -> list[str]:
    lines = re.split(r"\r\n|\r|\n", data.decode("utf-8", "replace"))
    return lines[:-1] if not lines[-1] else lines


def _read(data: bytes, *, is_text: bool) -> list[str | bytes]:
    return list(chain.from_iterable(read_line_lists(io.BytesIO(data), is_text=is_text)))


@given(texts, st.sampled_from([1, 2, 3, 5, 1 << 18]))
def test_lines_are_cut_at_every_kind_of_end(data: bytes, read_bytes: int) -> None:
    r"""\n, \r\n and \r; as text or bytes; wherever one read ends and the next begins."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_lines, "_READ_BYTES", read_bytes)

        assert _read(data, is_text=True) == _model(data)
        raw = [
            line.decode("utf-8", "replace")
            for line in _read(data, is_text=False)
            if isinstance(line, bytes)
        ]
        assert raw == _model(data)


@given(texts, st.integers(0, 40))
def test_a_cut_lies_behind_a_line_end(data: bytes, position: int) -> None:
    """It is the first one from a position on, or the end of the file."""
    position = min(position, len(data))
    ends = [found.end() for found in re.finditer(rb"\r\n|\r|\n", data[position:])]
    expected = position + ends[0] if ends else len(data)

    assert line_end_after(io.BytesIO(data), position) == expected
