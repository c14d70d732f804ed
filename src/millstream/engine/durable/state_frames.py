"""State frames: rows of keyed state as an Arrow IPC stream with a checksum behind it.

Columns: `partition`, `key`, `state`, `stamp` (ms), `is_gone`. Keys and states of one plain
type are columns of that type; any other are pickles, and their columns are called
`key_pickled` and `state_pickled`. Behind the stream, where Arrow readers don't look, are
its length (8 bytes), its CRC-32 (4 bytes) and `MSTA`.
"""

import io
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from millstream.engine.base import frames
from millstream.engine.base.errors import DurabilityError
from millstream.engine.durable.state_values import Pickled

_MAGIC = b"MSTA"
_TRAILER_BYTES = 16


@dataclass(frozen=True, slots=True)
class StateColumns:
    """Rows of state, a list a column; states are kept ones (see state_values)."""

    partitions: list[int]
    keys: list[Any]
    states: list[Any]
    stamps: list[int]
    gone: list[bool]


def seal(payload: bytes) -> bytes:
    """Return `payload` with its trailer."""
    length = len(payload).to_bytes(8, "big")
    checksum = zlib.crc32(payload, zlib.crc32(length)).to_bytes(4, "big")
    return payload + length + checksum + _MAGIC


def unseal(data: bytes, name: str) -> memoryview:
    """Return what `seal` was given.

    Raises:
        DurabilityError: It was cut short or changed; names the file.
    """
    trailer = data[-_TRAILER_BYTES:]
    length = len(data) - _TRAILER_BYTES
    payload = memoryview(data)[: max(0, length)]
    if (
        length < 0
        or trailer[12:] != _MAGIC
        or int.from_bytes(trailer[:8], "big") != length
        or zlib.crc32(payload, zlib.crc32(trailer[:8]))
        != int.from_bytes(trailer[8:12], "big")
    ):
        msg = f"file '{name}' is damaged: it was cut short or changed"
        raise DurabilityError(msg)
    return payload


def to_frame(rows: StateColumns) -> Any:
    """Return the rows as a Polars frame."""
    import polars as pl  # noqa: PLC0415  Heavy; only where there is state.

    return pl.DataFrame(
        [
            pl.Series("partition", rows.partitions, dtype=pl.UInt32),
            _series("key", rows.keys),
            _series("state", rows.states),
            pl.Series("stamp", rows.stamps, dtype=pl.Int64),
            pl.Series("is_gone", rows.gone, dtype=pl.Boolean),
        ]
    )


def write(frame: Any) -> bytes:
    """Return a Polars frame of state as the bytes of a file."""
    out = io.BytesIO()
    frame.write_ipc_stream(out)
    return seal(out.getvalue())


def read(data: bytes, name: str) -> Any:
    """Return the Polars frame in the bytes of a file.

    Raises:
        DurabilityError: They were cut short or changed; names the file.
    """
    import polars as pl  # noqa: PLC0415  Heavy; only where there is state.

    return pl.read_ipc_stream(io.BytesIO(unseal(data, name)))


def encode(rows: StateColumns) -> bytes:
    """Return rows as the bytes of a file."""
    return write(to_frame(rows))


def decode(data: bytes, name: str) -> StateColumns:
    """Return the rows in the bytes of a file.

    Raises:
        DurabilityError: They were cut short or changed; names the file.
    """
    return from_frame(read(data, name))


def from_frame(frame: Any) -> StateColumns:
    """Return the rows of a Polars frame."""
    return StateColumns(
        frame["partition"].to_list(),
        _keys(frame),
        _states(frame),
        frame["stamp"].to_list(),
        frame["is_gone"].to_list(),
    )


def is_typed(frame: Any) -> bool:
    """Say whether equal keys are equal values in the frame.

    Floats aren't: 0.0 is -0.0 for Python alone, and NaN is NaN for Polars alone.
    """
    import polars as pl  # noqa: PLC0415  Heavy; only where there is state.

    return bool(frame.schema.get("key", pl.Float64) != pl.Float64)


def _keys(frame: Any) -> list[Any]:
    if "key" in frame.columns:
        typed: list[Any] = frame["key"].to_list()
        return typed
    return list(map(frames.loads, frame["key_pickled"].to_list()))


def _states(frame: Any) -> list[Any]:
    if "state" in frame.columns:
        typed: list[Any] = frame["state"].to_list()
        return typed
    pickles = frame["state_pickled"].to_list()
    return [None if each is None else Pickled(each) for each in pickles]


def _series(name: str, values: Sequence[Any]) -> Any:
    import polars as pl  # noqa: PLC0415  Heavy; only where there is state.

    types = {
        int: pl.Int64,
        float: pl.Float64,
        str: pl.String,
        bytes: pl.Binary,
        bool: pl.Boolean,
    }
    kinds = set(map(type, values)) - {type(None)}
    if not kinds:
        kinds = {int}
    if len(kinds) == 1:
        dtype = types.get(next(iter(kinds)))
        # A key that is None is no missing value: only states may be.
        if dtype is not None and (name == "state" or None not in values):
            try:
                return pl.Series(name, values, dtype=dtype, strict=True)
            except (OverflowError, UnicodeError, TypeError, pl.exceptions.PolarsError):
                pass  # Too large an int, text that isn't UTF-8: pickled instead.
    return pl.Series(f"{name}_pickled", list(_pickles(values)), dtype=pl.Binary)


def _pickles(values: Iterable[Any]) -> Iterable[bytes | None]:
    for value in values:
        if type(value) is Pickled:
            yield bytes(value)
        else:
            yield frames.dumps(value)
