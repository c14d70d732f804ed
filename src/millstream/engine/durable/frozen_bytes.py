"""Frozen bytes: a partition's data as one string of bytes, and back; what it weighs.

Spilled blocks and the logs of received data hold them. The first bytes say the kind: rows
are a pickle, which begins with 0x80 (and are so in every log, the oldest ones too), text
begins with `text`, columns with `cols` (a pickled shape and an Arrow IPC stream), and what
is compressed with `x`, as zlib does.
"""

import io
import sys
import zlib
from dataclasses import dataclass
from typing import Any, TypeAlias, assert_never

from millstream.engine.base import frames
from millstream.engine.base.errors import DurabilityError
from millstream.engine.columnar.blocks import Columns, Frozen
from millstream.engine.plan.partitions import (
    FrozenRows,
    FrozenText,
    is_immutable,
)

_PICKLE = b"\x80"
_PACKED = b"x"
_TEXT = b"text"
_COLUMNS = b"cols"
_COUNT_BYTES = 8
_OVERHEAD_BYTES = 100
_SAMPLE_ROWS = 40


@dataclass(frozen=True, slots=True)
class Packed:
    """A partition's data, compressed."""

    count: int
    data: bytes


Kept: TypeAlias = Frozen | Packed
"""What a block store keeps."""


def encode(kept: Kept) -> bytes:
    """Return the data as bytes.

    Raises:
        PySparkPicklingError: A row can't be pickled.
    """
    match kept:
        case FrozenRows(pickled=pickled):
            return frames.dumps(list(kept.thaw())) if pickled is None else pickled
        case FrozenText(data):
            count = kept.count
            return b"".join((_TEXT, count.to_bytes(_COUNT_BYTES, "big"), data))
        case Columns(frame, shape):
            described = frames.dumps(shape)
            out = io.BytesIO()
            out.write(_COLUMNS + len(described).to_bytes(_COUNT_BYTES, "big"))
            out.write(described)
            frame.write_ipc_stream(out)
            return out.getvalue()
        case Packed(data=data):
            return data
        case _:
            assert_never(kept)


def decode(data: bytes, count: int | None = None) -> Frozen:
    """Return what `encode` made `data` of; `count` says how many records, when known.

    Raises:
        DurabilityError: It is nothing that `encode` makes.
    """
    if data.startswith(_PICKLE):
        return _decoded_rows(data, count)
    if data.startswith(_PACKED):
        return decode(zlib.decompress(data), count)
    if data.startswith(_TEXT):
        begin = len(_TEXT) + _COUNT_BYTES
        lines = int.from_bytes(data[len(_TEXT) : begin], "big")
        return FrozenText(data[begin:], lines)
    if data.startswith(_COLUMNS):
        return _decoded_columns(data)
    msg = f"a block begins with {data[:4]!r}, which says of no kind of block"
    raise DurabilityError(msg, hint="was it written by a newer version?")


def _decoded_columns(data: bytes) -> Columns:
    import polars as pl  # noqa: PLC0415  Heavy; only where there are columns.

    begin = len(_COLUMNS) + _COUNT_BYTES
    end = begin + int.from_bytes(data[len(_COLUMNS) : begin], "big")
    shape = frames.loads(data[begin:end])
    return Columns(pl.read_ipc_stream(io.BytesIO(memoryview(data)[end:])), shape)


def _decoded_rows(data: bytes, count: int | None) -> FrozenRows:
    if count is not None:
        return FrozenRows(count, None, data)
    rows: list[Any] = frames.loads(data)
    if is_immutable(rows):
        return FrozenRows(len(rows), rows, None)
    return FrozenRows(len(rows), None, data)


def pack(frozen: Frozen) -> Packed:
    """Return the data compressed, fast rather than well."""
    return Packed(frozen.count, zlib.compress(encode(frozen), 1))


def unpack(kept: Kept) -> Frozen:
    """Return the data as it was before it was packed, if it was."""
    return decode(kept.data, kept.count) if isinstance(kept, Packed) else kept


def size_bytes(kept: Kept) -> int:
    """Return about how many bytes the data takes in memory, rows by a sample of them."""
    match kept:
        case FrozenRows():
            return _OVERHEAD_BYTES + _rows_bytes(kept)
        case FrozenText(data=data) | Packed(data=data):
            return _OVERHEAD_BYTES + len(data)
        case Columns(frame):
            return _OVERHEAD_BYTES + int(frame.estimated_size())
        case _:
            assert_never(kept)


def _rows_bytes(rows: FrozenRows) -> int:
    if rows.pickled is not None:
        return len(rows.pickled)
    shared = rows.shared
    assert shared is not None, "frozen rows hold neither objects nor bytes"
    if isinstance(shared, range) or not shared:
        return 0
    step = max(1, len(shared) // _SAMPLE_ROWS)
    sample = shared[::step]
    sampled = sum(_size_of(row, depth_left=3) for row in sample)
    return len(shared) * 8 + sampled * len(shared) // len(sample)


def _size_of(value: Any, depth_left: int) -> int:
    size = sys.getsizeof(value)
    if type(value) is tuple and depth_left:
        size += sum(_size_of(item, depth_left - 1) for item in value)
    return size
