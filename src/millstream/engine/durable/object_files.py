"""Object files: pickled records in checksummed frames.

One frame holds a batch of records as one pickled list; a last one says how many there
were. A file that was cut short or changed, wherever, is noticed and named.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from millstream.engine.base import frames
from millstream.engine.base.errors import DurabilityError
from millstream.engine.base.storage import Storage, disk_errors

_BATCH_ROWS = 1000
# Begins the last frame. No pickle begins so: theirs begin with 0x80.
_END = b"end "


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
    count = 0
    remaining = iter(rows)
    with storage.open_atomic(path, sync=sync) as out:
        while batch := list(islice(remaining, max(1, batch_rows))):
            count += len(batch)
            payload = frames.dumps(batch)
            with disk_errors(path):
                frames.write_frame(out, payload)
        with disk_errors(path):
            frames.write_frame(out, _END + count.to_bytes(8, "big"))
    return count


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
            batch = frames.loads(payload)
            count += len(batch)
            yield from batch
    if expected != count:
        msg = f"file '{path}' is damaged: cut short after {count} records"
        raise DurabilityError(msg)
