"""Frozen bytes: a partition's data as one string of bytes, and back; what it weighs.

Spilled blocks and the logs of received data hold them. The first bytes say the kind: rows
are a pickle, which begins with 0x80 (and are so in every log, the oldest ones too), text
begins with `text`, columns with `cols` (a pickled shape and an Arrow IPC stream), and what
is compressed with `x`, as zlib does. What worker processes share of columns is a plain
Arrow IPC file, whose shape is told apart, so that it can be mapped.
"""

import io
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeAlias, assert_never

from millstream.engine.base import frames
from millstream.engine.base.errors import DurabilityError
from millstream.engine.columnar.blocks import Columns, Frozen
from millstream.engine.columnar.shapes import Shape
from millstream.engine.durable import arrow_files
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


class Held(Protocol):
    """Bytes that workers hold, for as long as something in the driver refers to this."""

    @property
    def size(self) -> int:
        """How many bytes there are."""
        ...

    @property
    def memory_bytes(self) -> int:
        """How much of this machine's memory they take; 0 if they are elsewhere."""
        ...

    @property
    def path(self) -> Path | None:
        """The file that they are, if they are one."""
        ...

    def read(self) -> bytes | memoryview:
        """Return them.

        Raises:
            OSError: They are lost.
        """
        ...

    def is_there(self) -> bool:
        """Say whether they can be read, as far as that can be told without doing it."""
        ...


@dataclass(frozen=True, slots=True)
class Description:
    """What must be known of a block to read it where workers hold it."""

    count: int
    shape: Shape | None
    """Of columns, which are an Arrow IPC file; all else is as `encode` has it."""
    is_keyed: bool

    def unpack(self, held: Held) -> Frozen:
        """Return the block; columns are mapped where PyArrow is installed.

        Raises:
            OSError: It is lost.
        """
        if self.shape is None:
            return decode(held.read(), self.count)
        frame = arrow_files.read(held.read() if held.path is None else held.path)
        return Columns(frame, self.shape, self.is_keyed)


def describe(block: Frozen) -> Description:
    """Return what is known of a block that `share` writes."""
    if isinstance(block, Columns):
        return Description(block.count, block.shape, block.is_keyed)
    return Description(block.count, None, is_keyed=False)


@dataclass(frozen=True, slots=True)
class Shared:
    """A partition's data that workers hold: any of them can read it, and the driver."""

    about: Description
    held: Held

    @property
    def count(self) -> int:
        """How many records there are."""
        return self.about.count

    def unpack(self) -> Frozen:
        """Return the data.

        Raises:
            OSError: It is lost.
        """
        return self.about.unpack(self.held)


Kept: TypeAlias = Frozen | Packed | Shared
"""What a block store keeps."""


def share(frozen: Frozen, sink: Path | BinaryIO) -> None:
    """Write data that workers hold, as `Description.unpack` reads it.

    Raises:
        OSError: There is no room.
        PySparkPicklingError: A row can't be pickled.
    """
    if isinstance(frozen, Columns):
        arrow_files.write(frozen.frame, sink)
    elif isinstance(sink, Path):
        sink.write_bytes(encode(frozen))
    else:
        sink.write(encode(frozen))


def encode(kept: Kept) -> bytes:
    """Return the data as bytes.

    Raises:
        PySparkPicklingError: A row can't be pickled.
    """
    match kept:
        case FrozenRows(pickled=pickled):
            return (
                frames.dumps(list(kept.thaw())) if pickled is None else bytes(pickled)
            )
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
        case Shared():
            return encode(kept.unpack())
        case _:
            assert_never(kept)


def decode(data: bytes | memoryview, count: int | None = None) -> Frozen:
    """Return what `encode` made `data` of; `count` says how many records, when known.

    Raises:
        DurabilityError: It is nothing that `encode` makes.
    """
    kind = bytes(data[: len(_TEXT)])
    if kind.startswith(_PICKLE):
        return _decoded_rows(data, count)
    if kind.startswith(_PACKED):
        return decode(zlib.decompress(data), count)
    if kind == _TEXT:
        begin = len(_TEXT) + _COUNT_BYTES
        lines = int.from_bytes(data[len(_TEXT) : begin], "big")
        return FrozenText(bytes(data[begin:]), lines)
    if kind == _COLUMNS:
        return _decoded_columns(data)
    msg = f"a block begins with {kind!r}, which says of no kind of block"
    raise DurabilityError(msg, hint="was it written by a newer version?")


def _decoded_columns(data: bytes | memoryview) -> Columns:
    import polars as pl  # noqa: PLC0415  Heavy; only where there are columns.

    begin = len(_COLUMNS) + _COUNT_BYTES
    end = begin + int.from_bytes(data[len(_COLUMNS) : begin], "big")
    shape = frames.loads(data[begin:end])
    return Columns(pl.read_ipc_stream(io.BytesIO(memoryview(data)[end:])), shape)


def _decoded_rows(data: bytes | memoryview, count: int | None) -> FrozenRows:
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
    """Return the data as it was before it was packed or shared, if it was.

    Raises:
        OSError: It was shared, and is lost.
    """
    match kept:
        case Packed(count, data):
            return decode(data, count)
        case Shared():
            return kept.unpack()
        case _:
            return kept


def size_bytes(kept: Kept) -> int:
    """Return about how many bytes the data takes in memory, rows by a sample of them."""
    match kept:
        case FrozenRows():
            return _OVERHEAD_BYTES + _rows_bytes(kept)
        case FrozenText(data=data) | Packed(data=data):
            return _OVERHEAD_BYTES + len(data)
        case Columns(frame):
            return _OVERHEAD_BYTES + int(frame.estimated_size())
        case Shared(held=held):
            return _OVERHEAD_BYTES + held.memory_bytes
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
