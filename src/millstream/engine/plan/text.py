"""Text: bytes that hold lines, cut and counted the way Hadoop's readers cut them.

Lines end with a line feed, a carriage return, or both in this order. A last line without
an end counts; nothing after the last end doesn't.
"""

import re
from itertools import islice
from typing import Literal, overload

ENDS = re.compile(rb"\r\n|\r|\n")


@overload
def split_lines(data: bytes, *, is_text: Literal[True]) -> list[str]: ...
@overload
def split_lines(data: bytes, *, is_text: Literal[False]) -> list[bytes]: ...
@overload
def split_lines(data: bytes, *, is_text: bool) -> list[str] | list[bytes]: ...
def split_lines(data: bytes, *, is_text: bool) -> list[str] | list[bytes]:
    """Return the lines of `data`, without their ends; invalid UTF-8 becomes U+FFFD.

    With `is_text` false they are bytes. `data` ends where a line ends.
    """
    if is_text:
        text = data.decode("utf-8", "replace")
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        lines = text.split("\n")
        if not lines[-1]:
            lines.pop()
        return lines
    raw = ENDS.split(data) if b"\r" in data else data.split(b"\n")
    if not raw[-1]:
        raw.pop()
    return raw


def count_lines(data: bytes) -> int:
    """Return how many lines `split_lines` makes of `data`; 2 GB a second."""
    count = data.count(b"\n")
    if b"\r" in data:
        count += data.count(b"\r") - data.count(b"\r\n")
    has_open_end = data and not data.endswith((b"\n", b"\r"))
    return count + bool(has_open_end)


def end_of_lines(data: bytes) -> int:
    r"""Return where the last line that is surely complete ends in `data`; 0: nowhere.

    A \r as the very last byte may be half of \r\n: it waits for what follows.
    """
    newline = data.rfind(b"\n") + 1
    return max(newline, data.rfind(b"\r", newline, len(data) - 1) + 1)


def end_of_line_number(data: bytes, count: int, start: int) -> int:
    """Return where the `count`-th line from `start` on ends, or the end of `data`."""
    found = next(islice(ENDS.finditer(data, start), count - 1, None), None)
    return len(data) if found is None else found.end()


def with_unix_ends(data: bytes) -> bytes:
    r"""Return the same lines, each ended by \n; but a last one without an end has none."""
    if b"\r" not in data:
        return data
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def with_closed_end(data: bytes) -> bytes:
    r"""Return the same lines, the last one ended by \n: lines of others may follow."""
    if not data or data.endswith(b"\n"):
        return data
    return data + b"\n"  # Behind a \r, too: that makes one end of both.
