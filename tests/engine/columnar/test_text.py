"""Tests of engine/columnar/text.py: a block's column is what Python cuts it into."""

import itertools
import random

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from millstream.engine.columnar.text import frame_of_text
from millstream.engine.plan.text import split_lines

MARK = b"\xef\xbb\xbf"
ODDITIES = [
    *(b"\n", b"\n\n", b"\r\n", b"\r", b"", b" ", b"\t", b"a", b"x" * 13, b"y" * 70),
    *(b"\x00", b"\x01", b"\x02\x03", b"\x0b\x0c", b"\x1a", b"\x1f", b"\x7f"),
    *(b'"', b"'", b",", b";", b"#", b"\\", b"null", b"NA", b'"a\n"'),
    *("é".encode(), "\x85".encode(), "\u2028".encode(), "😀".encode(), MARK, MARK[:2]),
    *(b"\xe2\x82", b"\xac", b"\xc3", b"\xa9", b"\xff", b"\xed\xa0\x80", b"\xf0\x9f"),
    bytes(range(32)),
]
odd_bytes = st.lists(st.sampled_from(ODDITIES), max_size=20).map(b"".join)
# The ends of every range in the standard's table of well-formed UTF-8.
EDGES = bytes.fromhex("61 7f 80 8f 90 9f a0 bf c1 c2 df e0 e1 ec ed ee ef f0 f3 f4 f5")


def check(data: bytes) -> None:
    """Compare the column of `data` with its lines."""
    frame = frame_of_text(data)

    assert frame.schema == {"c0": pl.String}
    assert frame["c0"].to_list() == split_lines(data, is_text=True)


@given(st.one_of(odd_bytes, st.binary()))
@example(b"")
@example(MARK)
@example(MARK + MARK + b"\n")
@example(b"\n" + MARK)
@example(b" \n  ")
def test_every_line_is_a_value(data: bytes) -> None:
    """Empty ones, blank ones, one without an end; whatever bytes they are made of."""
    check(data)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_invalid_characters_are_replaced_in_the_same_pieces(length: int) -> None:
    """By one U+FFFD each: all sequences of bytes at the edges of the UTF-8 table."""
    check(b"\n".join(map(bytes, itertools.product(EDGES, repeat=length))))


def test_a_character_is_never_put_together_over_a_line_end() -> None:
    """What begins in one line and goes on in the next are two that are invalid."""
    check(b"long enough for a buffer \xe2\n\x82\xac goes on\n" * 3)


@pytest.mark.parametrize("has_other_ends", [False, True])
@pytest.mark.slow
def test_blocks_that_are_read_in_parts_come_in_order(*, has_other_ends: bool) -> None:
    """Over 10 MB, with oddities far inside."""
    draw = random.Random(1)
    lines = [b"line %d " % number + b"w" * (number % 90) for number in range(200_000)]
    for odd in ODDITIES:
        for _ in range(5):
            if has_other_ends or not {*odd} & {*b"\r\x01\x02\x03"}:
                lines[draw.randrange(len(lines))] = odd
    lines[150_000] = "é".encode() * 500_000
    data = b"\n".join(lines)

    assert len(data) > 10 << 20
    check(data)


def test_bytes_that_leave_no_separator_are_still_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another way is taken, with the same answer, and no CSV reader."""
    data = b"a\r" + bytes(range(32)) * 3 + b"\xff\nlast"
    monkeypatch.setattr(pl, "read_csv", None)

    check(data)
