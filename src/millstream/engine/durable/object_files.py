"""Object files: records in checksummed frames, pickled or as columns.

One frame holds a batch of records as one pickled list, or as a frame of columns; a last one
says how many there were. A file that was cut short or changed, wherever, is noticed and
named.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from millstream.engine.base import frames
from millstream.engine.base.errors import DurabilityError
from millstream.engine.base.storage import Storage, disk_errors
from millstream.engine.columnar.blocks import Columns
from millstream.engine.durable import frozen_bytes

_BATCH_ROWS = 1000
_COLUMN_ROWS = 100_000
# Begins the last frame. No pickle begins so: theirs begin with 0x80. Columns don't either.
_END = b"end "
_PICKLE = b"\x80"


def write_rows(
    storage: Storage,
    path: str,
    rows: Iterable[Any],
    batch_rows: int = _BATCH_ROWS,
    *,
    sync: bool = True,
) -> int:
    """Write `rows` to a new file and return how many they were.

    The file appears under its name when it is complete, and not at all after an error.
    Several attempts of a task may write it at once. With `sync` it outlives a power cut.
    """
    return _write(storage, path, _pickled(rows, batch_rows), sync=sync)


def write_pieces(
    storage: Storage, path: str, pieces: Iterable[Columns | Iterable[Any]]
) -> int:
    """Write records, of which some are columns, as `write_rows` does.

    Columns are written as what they are: that takes a tenth of the time.
    """
    payloads = (
        payload
        for piece in pieces
        for payload in (
            _encoded(piece)
            if isinstance(piece, Columns)
            else _pickled(piece, _BATCH_ROWS)
        )
    )
    return _write(storage, path, payloads, sync=True)


def _pickled(rows: Iterable[Any], batch_rows: int) -> Iterator[tuple[int, bytes]]:
    remaining = iter(rows)
    while batch := list(islice(remaining, max(1, batch_rows))):
        yield len(batch), frames.dumps(batch)


def _encoded(columns: Columns) -> Iterator[tuple[int, bytes]]:
    for start in range(0, columns.count, _COLUMN_ROWS):
        part = replace(columns, frame=columns.frame.slice(start, _COLUMN_ROWS))
        yield part.count, frozen_bytes.encode(part)


def _write(
    storage: Storage, path: str, payloads: Iterable[tuple[int, bytes]], *, sync: bool
) -> int:
    total = 0
    with storage.open_atomic(path, sync=sync) as out:
        for count, payload in payloads:
            total += count
            with disk_errors(path):
                frames.write_frame(out, payload)
        with disk_errors(path):
            frames.write_frame(out, _END + total.to_bytes(8, "big"))
    return total


def check(storage: Storage, path: str) -> None:
    """Read a file without its records, to see if it is whole.

    Raises:
        DurabilityError: The file is damaged; names it and the place.
        FileNotFoundError: There is no such file.
    """
    last = b""
    with storage.open_input(path) as source:
        for payload in frames.read_frames(source, path):
            last = payload
    if not last.startswith(_END):
        msg = f"file '{path}' is damaged: it has no end"
        raise DurabilityError(msg)


def read_rows(storage: Storage, path: str) -> Iterator[Any]:
    """Yield the records of a file.

    Raises:
        DurabilityError: The file is damaged; names it and the place.
        FileNotFoundError: There is no such file.
    """
    count = 0
    expected: int | None = None
    with storage.open_input(path) as source:
        for payload in frames.read_frames(source, path):
            if expected is not None:
                msg = f"file '{path}' is damaged: it goes on after its end"
                raise DurabilityError(msg)
            if payload.startswith(_END):
                expected = int.from_bytes(payload[len(_END) :], "big")
                continue
            batch = _decoded(payload)
            count += len(batch)
            yield from batch
    if expected != count:
        msg = f"file '{path}' is damaged: cut short after {count} records"
        raise DurabilityError(msg)


def _decoded(payload: bytes) -> Sequence[Any]:
    if payload.startswith(_PICKLE):
        rows: list[Any] = frames.loads(payload)
        return rows
    return list(frozen_bytes.decode(payload).thaw())
