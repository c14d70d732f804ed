"""Object files: pickled records in checksummed frames.

One frame holds a batch of records as one pickled list. A file that was cut short or
changed is noticed and named.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from millstream.engine.base import frames
from millstream.engine.base.storage import Storage

_BATCH_ROWS = 1000


def write_rows(
    storage: Storage, path: str, rows: Iterable[Any], batch_rows: int = _BATCH_ROWS
) -> int:
    """Write `rows` to a new file and return how many they were.

    The file appears under its name when it is complete: until then it has another.
    """
    count = 0
    remaining = iter(rows)
    scratch = f"{path}.writing"
    with storage.create(scratch) as out:
        while batch := list(islice(remaining, max(1, batch_rows))):
            count += len(batch)
            frames.write_frame(out, frames.dumps(batch))
    storage.rename(scratch, path)
    return count


def read_rows(storage: Storage, path: str) -> Iterator[Any]:
    """Yield the records of a file.

    Raises:
        DurabilityError: The file is damaged; names it and the place.
        FileNotFoundError: There is no such file.
    """
    with storage.open_input(path) as source:
        for payload in frames.read_frames(source, path):
            yield from frames.loads(payload)
