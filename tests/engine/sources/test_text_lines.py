"""Tests of engine/sources/text_lines.py."""

import io
import itertools
import re

from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.plan.text import split_lines
from millstream.engine.sources.text_lines import (
    line_end_after,
    read_text_blocks,
    seek_text_blocks,
)

texts = st.lists(
    st.sampled_from([b"a", b"bc", b"\n", b"\r", b"\r\n", "é".encode(), b"\xff"]),
    max_size=30,
).map(b"".join)


def _model(data: bytes) -> list[str]:
    lines = re.split(r"\r\n|\r|\n", data.decode("utf-8", "replace"))
    return lines[:-1] if not lines[-1] else lines


def _blocks(data: bytes, block_bytes: int) -> list[bytes]:
    return list(read_text_blocks(io.BytesIO(data), block_bytes))


@given(texts, st.sampled_from([1, 2, 3, 5, 1 << 18]))
def test_lines_are_cut_at_every_kind_of_end(data: bytes, block_bytes: int) -> None:
    r"""\n, \r\n and \r; as text or bytes; wherever one block ends and the next begins."""
    blocks = _blocks(data, block_bytes)
    as_text = [line for block in blocks for line in split_lines(block, is_text=True)]
    as_bytes = [line for block in blocks for line in split_lines(block, is_text=False)]

    assert as_text == _model(data)
    assert [line.decode("utf-8", "replace") for line in as_bytes] == as_text
    assert b"".join(blocks) == data


@given(st.integers(1, 100), st.integers(1, 9), st.integers(0, 30))
def test_a_block_is_longer_only_when_a_line_is(
    count: int, line_bytes: int, block_bytes: int
) -> None:
    """At most the begin of a line is added, from the block before, or a mark's length."""
    block_bytes += line_bytes + 1
    data = (b"x" * line_bytes + b"\n") * count

    assert max(map(len, _blocks(data, block_bytes))) <= block_bytes + max(3, line_bytes)
    assert _blocks(data, len(data)) == [data]


def test_a_byte_order_mark_is_left_out_at_the_start_only() -> None:
    """Of the file, not of a range inside it; and what comes after it stays."""
    mark = b"\xef\xbb\xbf"
    data = mark + mark + b"a\n"

    assert _blocks(data, 5) == [mark + b"a\n"]
    assert list(read_text_blocks(io.BytesIO(data), 99, is_start=False)) == [data]
    assert _blocks(mark, 1) == []
    short = read_text_blocks(io.BytesIO(data), 99, length_bytes=5)
    assert list(short) == [mark[:2]]


@given(texts, st.integers(1, 20), st.booleans(), st.lists(st.integers(0, 40)))
def test_blocks_that_are_looked_up_are_the_same_lines(
    data: bytes, block_bytes: int, has_mark: bool, cuts: list[int]
) -> None:
    """Of a whole file, and of its ranges; a mark is left out, and no block is empty."""
    file = b"\xef\xbb\xbf" + data if has_mark else data
    source = io.BytesIO(file)
    ends = [line_end_after(source, min(cut, len(file))) for cut in sorted(cuts)]
    whole = list(seek_text_blocks(source, block_bytes))
    ranges = [
        block
        for first, last in itertools.pairwise([0, *ends, None])
        for block in seek_text_blocks(source, block_bytes, first=first or 0, last=last)
    ]

    for blocks in (whole, ranges):
        assert b"".join(blocks) == data
        lines = [line for block in blocks for line in split_lines(block, is_text=True)]
        assert lines == _model(data)
        assert b"" not in blocks


@given(texts, st.integers(0, 40))
def test_a_cut_lies_behind_a_line_end(data: bytes, position: int) -> None:
    """It is the first one from a position on, or the end of the file."""
    position = min(position, len(data))
    ends = [found.end() for found in re.finditer(rb"\r\n|\r|\n", data[position:])]
    expected = position + ends[0] if ends else len(data)

    assert line_end_after(io.BytesIO(data), position) == expected
