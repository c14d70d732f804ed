"""Text lines: a stream of bytes read in blocks of whole lines."""

from collections.abc import Iterator
from io import SEEK_END
from typing import BinaryIO

from millstream.engine.plan.text import ENDS, end_of_lines

_LOOK_BYTES = 1 << 16
_SLOP = 1.25
_READ_BYTES = 1 << 18
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_text_blocks(
    source: BinaryIO,
    block_bytes: int,
    *,
    length_bytes: int | None = None,
    is_start: bool = True,
) -> Iterator[bytes]:
    r"""Yield the bytes of a stream in blocks that end where a line does.

    A block has about `block_bytes`, more only when one line does. It is never cut between
    \r and \n. At most `length_bytes` are read. A byte order mark is left out where
    `is_start` is true.
    """
    parts: list[bytes | memoryview] = []  # Of a block that goes on: joined once.
    size, left = 0, length_bytes
    if is_start:
        first = source.read(_at_most(len(_BYTE_ORDER_MARK), left))
        left = None if left is None else left - len(first)
        parts = [first.removeprefix(_BYTE_ORDER_MARK)]
        size = len(parts[0])
    # Small reads: what decompresses gathers all of a large one, and then copies it.
    read_bytes = min(_READ_BYTES, block_bytes)
    while data := source.read(_at_most(read_bytes, left)):
        left = None if left is None else left - len(data)
        size += len(data)
        end = end_of_lines(data) if size >= block_bytes else 0
        if end == 0:
            parts.append(data)
            continue
        parts.append(memoryview(data)[:end])
        rest = data[end:]
        block = b"".join(parts)
        parts, size = [rest], len(rest)
        yield block
        del block  # Before the next one is made.
    if block := b"".join(parts):
        yield block


def seek_text_blocks(
    source: BinaryIO, block_bytes: int, *, first: int = 0, last: int | None = None
) -> Iterator[bytes]:
    """Yield such blocks of the bytes from `first` to `last`, where lines end, or the end.

    Where a block ends is looked up before it is read, so that no byte is copied; `source`
    must be a file in which seeking costs nothing.
    """
    at = first
    if last is None:
        last = source.seek(0, SEEK_END)
    while at < last:
        end = last
        if last - at > block_bytes * _SLOP:  # A small rest stays with its neighbour.
            end = min(last, _line_end_before(source, at, at + block_bytes))
        source.seek(at)
        size = end - at
        block = source.read(size)
        if not block:
            return
        if at == 0:
            block = block.removeprefix(_BYTE_ORDER_MARK)
        at += size
        if block:
            yield block
        del block  # Before the next one is read.


def _line_end_before(source: BinaryIO, begin: int, limit: int) -> int:
    """Return where a line ends at or before `limit`; after it, if one is that long."""
    look = max(begin, limit - _LOOK_BYTES)
    source.seek(look)
    end = end_of_lines(source.read(limit - look))
    return look + end if end else line_end_after(source, limit)


def _at_most(count: int, left: int | None) -> int:
    return count if left is None else min(count, left)


def line_end_after(source: BinaryIO, position: int) -> int:
    """Return where the line that goes on at `position` ends: after its line end.

    Ranges of a file cut at such places share no line and lose none.
    """
    source.seek(position)
    at = position
    while data := source.read(1 << 16):
        found = ENDS.search(data)
        if found is None:
            at += len(data)
            continue
        if found[0] == b"\r" and found.end() == len(data):
            return at + found.end() + (source.read(1) == b"\n")
        return at + found.end()
    return at
