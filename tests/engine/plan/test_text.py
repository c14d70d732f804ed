"""Tests of engine/plan/text.py."""

import re

from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.plan.text import (
    count_lines,
    end_of_line_number,
    end_of_lines,
    split_lines,
    with_closed_end,
    with_unix_ends,
)

texts = st.lists(
    st.sampled_from([b"a", b"bc", b"\n", b"\r", b"\r\n", "é".encode(), b"\xff", b"\0"]),
    max_size=30,
).map(b"".join)


def lines_of(data: bytes) -> list[str]:
    """Return the lines, by a slow model."""
    lines = re.split(r"\r\n|\r|\n", data.decode("utf-8", "replace"))
    return lines if lines[-1] else lines[:-1]


@given(texts)
def test_lines_are_split_and_counted_alike(data: bytes) -> None:
    """Whatever ends them, and whether or not the last one has an end."""
    lines = split_lines(data, is_text=True)

    assert lines == lines_of(data)
    assert count_lines(data) == len(lines)
    assert len(split_lines(data, is_text=False)) == len(lines)


@given(texts, texts)
def test_what_follows_the_last_sure_end_may_be_read_later(
    data: bytes, more: bytes
) -> None:
    """Cut there, both halves have the lines of the whole, whatever else comes."""
    end = end_of_lines(data)

    assert lines_of(data[:end]) + lines_of(data[end:] + more) == lines_of(data + more)
    assert not re.search(rb"[\r\n].", data[end:], re.DOTALL)


@given(texts, st.integers(1, 9))
def test_lines_can_be_taken_a_number_at_a_time(data: bytes, count: int) -> None:
    """Each time so many, until the last ones."""
    lines, start = lines_of(data), 0
    while start < len(data):
        end = end_of_line_number(data, count, start)
        assert lines_of(data[start:end]) == lines[:count]
        lines, start = lines[count:], end

    assert lines == []


@given(texts, texts)
def test_closed_ends_keep_lines_apart(first: bytes, second: bytes) -> None:
    r"""Also the last one without an end, and a \r before a \n of somebody else."""
    closed = with_closed_end(first)

    assert lines_of(closed) == lines_of(first)
    assert lines_of(closed + second) == lines_of(first) + lines_of(second)


@given(texts)
def test_unix_ends_are_the_same_lines(data: bytes) -> None:
    r"""With no \r left."""
    unix = with_unix_ends(data)

    assert lines_of(unix) == lines_of(data)
    assert b"\r" not in unix
