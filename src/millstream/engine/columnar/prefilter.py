"""Prefilter: lines that a filter is sure to drop, left out before they become a column.

A search through the whole block, for a text that each line which stays must contain, is
several times as fast as to cut lines and to look at each: where few have it, as with
`filter(lambda line: "ERROR" in line)`, the others need not be cut.
"""

import ctypes
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import TypeAlias

import polars as pl

from millstream.engine.columnar.shapes import column_names

_REPLACEMENT = "�"  # What invalid UTF-8 becomes: then it isn't in the bytes.
_SAMPLE_BYTES = 1 << 16
_BYTES_A_LINE = 2048
"""Picking a line out by Python takes about as long as cutting and looking at so many."""


def needle_of(condition: pl.Expr, lets: Mapping[str, pl.Expr]) -> str | None:
    """Return a text that a line contains if `condition` holds, None if none is known.

    `lets` are the columns that were computed for it, by name.
    """
    (name,) = column_names(1)
    line = pl.col(name)
    for each in _all_true(condition, lets):
        operands = each.meta.pop()
        if len(operands) != len(("needle", "text")) or operands[0].meta.root_names():
            continue
        needle = pl.select(operands[0]).item()
        if not isinstance(needle, str) or not each.meta.eq(
            line.str.contains(pl.lit(needle, dtype=pl.String), literal=True)
        ):
            continue
        if needle and not set(needle) & {"\n", "\r", _REPLACEMENT}:
            return needle
    return None


def _all_true(condition: pl.Expr, lets: Mapping[str, pl.Expr]) -> Iterator[pl.Expr]:
    """Yield conditions that all hold where `condition` does."""
    condition = _meant(condition, lets)
    operands = condition.meta.pop()
    if len(operands) == len(("first", "otherwise", "second")):
        first, otherwise, second = operands
        both = pl.when(first).then(second).otherwise(otherwise)
        if both.meta.eq(condition):
            first, otherwise = _meant(first, lets), _meant(otherwise, lets)
            if otherwise.meta.eq(first) or otherwise.meta.eq(pl.lit(False)):
                # `first and second`, `if first: return second`
                yield from _all_true(first, lets)
                yield from _all_true(second, lets)
            elif second.meta.eq(pl.lit(False)):
                # `if not first: return False`, and then `otherwise`
                yield from _all_false(first)
                yield from _all_true(otherwise, lets)
            return
    yield condition


def _all_false(condition: pl.Expr) -> Iterator[pl.Expr]:
    """Yield conditions that all hold where `condition` doesn't."""
    operands = condition.meta.pop()
    if len(operands) == 1 and (~operands[0]).meta.eq(condition):
        yield operands[0]


def _meant(expr: pl.Expr, lets: Mapping[str, pl.Expr]) -> pl.Expr:
    while (
        expr.meta.is_column() and (let := lets.get(expr.meta.output_name())) is not None
    ):
        expr = let
    return expr


def lines_with(data: bytes, needle: str) -> bytes:
    """Return the lines of a text that contain `needle`, maybe with others, in order.

    All of them, if so many do that picking them out would save nothing.
    """
    raw = needle.encode()
    is_common = data.count(raw, 0, _SAMPLE_BYTES) > _SAMPLE_BYTES // _BYTES_A_LINE
    search = None if is_common else _search()
    if search is None:
        return data
    lines: list[bytes] = []
    end = 0
    while (place := search(data, raw, end)) is not None:
        start = data.rfind(b"\n", end, place) + 1 or end
        end = data.find(b"\n", place) + 1 or len(data)
        lines.append(data[start:end])
        if len(lines) > len(data) // _BYTES_A_LINE:
            return data
    return b"".join(lines)


_Search: TypeAlias = Callable[[bytes, bytes, int], int | None]


@cache
def _search() -> _Search | None:
    """Return what finds bytes in bytes, from a place on; None where there is none.

    The C library's: it lets other threads run, and takes a quarter of the time that
    `bytes.find` does.
    """
    try:
        memmem = ctypes.CDLL(None).memmem
    except (AttributeError, TypeError, OSError):  # Windows, for one, has none.
        return None
    memmem.restype = ctypes.c_void_p
    memmem.argtypes = [
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_char_p,
        ctypes.c_size_t,
    ]

    def search(data: bytes, wanted: bytes, start: int) -> int | None:
        begin = ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value
        assert begin is not None, "bytes are somewhere"
        found = memmem(begin + start, len(data) - start, wanted, len(wanted))
        return None if found is None else int(found) - begin

    return search
