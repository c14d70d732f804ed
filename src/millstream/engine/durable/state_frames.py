"""State frames: rows of keyed state as an Arrow IPC stream with a checksum behind it.

Columns: `partition`, `key`, `state`, `stamp` (ms), `is_gone`. Keys and states of one plain
type are columns of that type; any other are pickles, and their columns are called
`key_pickled` and `state_pickled`; or `key_plain`, where equal keys have equal pickles. Behind the stream, where Arrow readers don't look, are
its length (8 bytes), its CRC-32 (4 bytes) and `MSTA`.
"""

import io
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from millstream.engine.base import frames
from millstream.engine.base.errors import DurabilityError
from millstream.engine.columnar.blocks import Columns
from millstream.engine.columnar.shapes import (
    Kind,
    Plain,
    TupleOf,
    column_names,
    dtype_of,
)
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


def _trailer(payload: bytes | memoryview) -> bytes:
    length = len(payload).to_bytes(8, "big")
    checksum = zlib.crc32(payload, zlib.crc32(length)).to_bytes(4, "big")
    return length + checksum + _MAGIC


def unseal(data: bytes, name: str) -> memoryview:
    """Return what stands before the trailer.

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
    with out.getbuffer() as payload:
        trailer = _trailer(payload)
    out.write(trailer)  # Behind it in place: a snapshot's bytes aren't held twice.
    return out.getvalue()


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
        keys_of(frame),
        states_of(frame),
        frame["stamp"].to_list(),
        frame["is_gone"].to_list(),
    )


SLICE_ROWS = 100_000


def in_slices(frame: Any) -> Iterator[tuple[list[Any], list[Any], list[int]]]:
    """Yield keys, states and stamps of a frame's rows, so many at a time."""
    for part in frame.iter_slices(SLICE_ROWS):
        yield keys_of(part), states_of(part), part["stamp"].to_list()


_SAMPLE_ROWS = 40


def sample_of(frame: Any) -> list[tuple[Any, Any]]:
    """Return a few rows' keys and states, as they are kept."""
    few = frame.gather_every(max(1, frame.height // _SAMPLE_ROWS))
    return list(zip(keys_of(few), states_of(few), strict=True))


def values_of(frame: Any) -> list[Any]:
    """Return the states of a frame as programs see them: copies of the caller's own."""
    if "state" in frame.columns:
        return states_of(frame)
    return [
        None if each is None else frames.loads(each)
        for each in frame["state_pickled"].to_list()
    ]


def as_columns(frame: Any) -> Columns | None:
    """Return keys and states as pairs in columns; None where they are pickled."""
    if not {"key", "state"} <= set(frame.columns) or frame["state"].null_count():
        return None
    kinds = {dtype_of(kind): kind for kind in Kind}
    pair = frame.select("key", "state")
    shape = TupleOf(tuple(Plain(kinds[dtype]) for dtype in pair.dtypes))
    names = dict(zip(pair.columns, column_names(2), strict=True))
    return Columns(pair.rename(names), shape)


def with_partitions(frame: Any, partitions: Sequence[int]) -> Any:
    """Return a Polars frame of the same rows in other partitions."""
    import polars as pl  # noqa: PLC0415  Heavy; only where there is state.

    return frame.with_columns(pl.Series("partition", partitions, dtype=pl.UInt32))


def by_partition(frame: Any, only: int | None = None) -> dict[int, Any]:
    """Return the rows of each partition, or of one, in their order."""
    import polars as pl  # noqa: PLC0415  Heavy; only where there is state.

    if only is not None:
        rows = frame.filter(pl.col("partition") == only)
        return {only: rows} if rows.height else {}
    parts = frame.partition_by("partition", as_dict=True, maintain_order=True)
    return {partition: rows for (partition,), rows in parts.items()}


def alike(parts: list[Any]) -> list[Any]:
    """Return the same frames, those without any state value with the others' type of it."""
    import polars as pl  # noqa: PLC0415  Heavy; only where there is state.

    def has_values(part: Any) -> bool:
        return "state" not in part.columns or part["state"].null_count() < part.height

    kinds = {p.schema["state"] for p in parts if "state" in p.columns and has_values(p)}
    if len(kinds) != 1:
        return parts
    (kind,) = kinds
    return [
        p if has_values(p) else p.with_columns(pl.col("state").cast(kind))
        for p in parts
    ]


def concat(parts: Sequence[Any]) -> Any:
    """Return the rows of frames, one behind the other; they may differ in their types."""
    import polars as pl  # noqa: PLC0415  Heavy; only where there is state.

    parts = alike(list(parts))
    if len({tuple(each.schema.items()) for each in parts}) == 1:
        return pl.concat(parts)
    rows = StateColumns([], [], [], [], [])
    for each in map(from_frame, parts):
        rows.partitions.extend(each.partitions)
        rows.keys.extend(each.keys)
        rows.states.extend(each.states)
        rows.stamps.extend(each.stamps)
        rows.gone.extend(each.gone)
    return to_frame(rows)


def key_column(frame: Any) -> str | None:
    """Return the column in which equal keys, and only those, are equal values.

    Floats aren't: 0.0 is -0.0 for Python alone, and NaN is NaN for Polars alone.
    """
    import polars as pl  # noqa: PLC0415  Heavy; only where there is state.

    for name in ("key", "key_plain"):
        if frame.schema.get(name, pl.Float64) != pl.Float64:
            return name
    return None


def keys_of(frame: Any) -> list[Any]:
    """Return the keys of a Polars frame, row by row."""
    if "key" in frame.columns:
        typed: list[Any] = frame["key"].to_list()
        return typed
    name = "key_plain" if "key_plain" in frame.columns else "key_pickled"
    return list(map(frames.loads, frame[name].to_list()))


def states_of(frame: Any) -> list[Any]:
    """Return the states of a frame, as they are kept."""
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
    if name == "key" and all(map(_is_plain, values)):
        pickles = list(map(frames.dumps_unshared, values))
        return pl.Series("key_plain", pickles, dtype=pl.Binary)
    return pl.Series(f"{name}_pickled", list(_pickles(values)), dtype=pl.Binary)


_PLAIN = frozenset({int, str, bytes, type(None)})


def _is_plain(key: Any) -> bool:
    """Say whether only keys of the same types inside can be equal to it."""
    kind = type(key)
    return kind in _PLAIN or (kind is tuple and all(map(_is_plain, key)))


def _pickles(values: Iterable[Any]) -> Iterable[bytes | None]:
    for value in values:
        if type(value) is Pickled:
            yield bytes(value)
        else:
            yield frames.dumps(value)
