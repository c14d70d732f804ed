"""Text lines: bytes cut into lines the way Hadoop's readers cut them."""

import re
from collections.abc import Iterator
from typing import BinaryIO

_READ_BYTES = 1 << 18
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_ENDS = re.compile(rb"\r\n|\r|\n")


def read_line_lists(
    source: BinaryIO,
    *,
    is_text: bool,
    length_bytes: int | None = None,
    is_start: bool = True,
) -> Iterator[list[str] | list[bytes]]:
    r"""Yield the lines of a stream without their ends, many at a time.

    Lines end with \n, \r\n or \r. Invalid UTF-8 becomes U+FFFD; with `is_text` false lines
    are bytes. A last line without an end counts; nothing after the last end doesn't. At
    most `length_bytes` are read. A byte order mark is left out where `is_start` is true.

    Lists, so that `chain.from_iterable` can hand out lines without Python code for each.
    """
    parts: list[bytes] = []  # Of a line that goes on: joined once, however long.
    left = length_bytes
    if is_start:
        first = source.read(min(len(_BYTE_ORDER_MARK), _size(left)))
        left = None if left is None else left - len(first)
        parts = [first.removeprefix(_BYTE_ORDER_MARK)]
    while data := source.read(_size(left)):
        if left is not None:
            left -= len(data)
        end = _after_last_end(data)
        if end == 0:
            parts.append(data)
            continue
        parts.append(data[:end])
        yield split_lines(b"".join(parts), is_text=is_text)
        parts = [data[end:]]
    if rest := b"".join(parts):
        yield split_lines(rest, is_text=is_text)


def _size(left: int | None) -> int:
    return _READ_BYTES if left is None else min(_READ_BYTES, left)


def line_end_after(source: BinaryIO, position: int) -> int:
    """Return where the line that goes on at `position` ends: after its line end.

    Ranges of a file cut at such places share no line and lose none.
    """
    source.seek(position)
    at = position
    while data := source.read(1 << 16):
        found = _ENDS.search(data)
        if found is None:
            at += len(data)
            continue
        if found[0] == b"\r" and found.end() == len(data):
            return at + found.end() + (source.read(1) == b"\n")
        return at + found.end()
    return at


def split_lines(data: bytes, *, is_text: bool) -> list[str] | list[bytes]:
    """Return the lines of `data`, which ends where a line ends."""
    if is_text:
        text = data.decode("utf-8", "replace")
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        lines = text.split("\n")
        if not lines[-1]:
            lines.pop()
        return lines
    raw = _ENDS.split(data) if b"\r" in data else data.split(b"\n")
    if not raw[-1]:
        raw.pop()
    return raw


def _after_last_end(data: bytes) -> int:
    newline = data.rfind(b"\n") + 1
    # A \r as the very last byte may be half of \r\n: it waits for what follows.
    return max(newline, data.rfind(b"\r", newline, len(data) - 1) + 1)
