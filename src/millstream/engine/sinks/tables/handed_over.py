"""HandedOver: a partition on its way from a task to the driver, which commits all as one.

A small one goes along with the task's result. A large one waits in a file beside the table,
so that neither the task nor the driver ever has all of it in memory.
"""

import io
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from queue import Full, Queue
from typing import Any

import polars as pl

from millstream.engine.sinks.contract import SinkBatch
from millstream.engine.sinks.records import Records
from millstream.engine.sinks.tables.frame_spool import FrameSpool, frames_in

SMALL_BYTES = 4 << 20
_SPOOLED_BYTES = 16 << 20
_COPIED_BYTES = 1 << 20
_READ_AHEAD, _LOOK_S = 1, 0.1
_BATCH_ROWS = 8192
_OLDEST = pl.CompatLevel.oldest()  # Not all readers know newer layouts of text.


@dataclass(frozen=True, slots=True)
class HandedOver:
    """What a task has written."""

    schemas: tuple[pl.Schema, ...]
    """The schemas that its frames have, each once."""
    rows: int
    ends: tuple[int, ...]
    """Where each frame ends, in bytes."""
    data: bytes | None
    """The frames themselves; None: they are in a file."""
    name: str | None
    """The file's name."""


@dataclass(frozen=True, slots=True)
class Place:
    """A directory for files of one output, on any file system of pyarrow."""

    files: Any
    directory: str

    @classmethod
    def beside(cls, files: Any, directory: str, output: str) -> "Place":
        """Return an output's own place below a directory."""
        digest = sha256(output.encode()).hexdigest()[:12]
        return cls(files, f"{directory}/{digest}")

    def of_run(self, run: int) -> "Place":
        """Return the place of one run in it, which no other run clears."""
        return Place(self.files, f"{self.directory}/{run}")

    def clear(self) -> None:
        """Delete it, with all that is there."""
        with suppress(FileNotFoundError):
            self.files.delete_dir(self.directory)


def hand_over(
    records: Records[Any], batch: SinkBatch, partition: int, place: Callable[[], Place]
) -> HandedOver:
    """Return a partition for `frames_of`; a large one is put into `place()`."""
    with FrameSpool.of(records.tables(), _SPOOLED_BYTES) as spool:
        data = name = None
        file = spool.file()
        if spool.size_bytes <= SMALL_BYTES:
            data = file.read()
        else:
            # Another attempt may be under way, and has a name of its own.
            attempt = secrets.token_hex(4)
            name = f"{batch.time_ms}-{partition}-{attempt}.arrow"
            there = place()
            there.files.create_dir(there.directory, recursive=True)
            with there.files.open_output_stream(f"{there.directory}/{name}") as out:
                while piece := file.read(_COPIED_BYTES):
                    out.write(piece)
        return HandedOver(tuple(spool.schemas), spool.rows, spool.ends, data, name)


def frames_of(
    written: Mapping[int, HandedOver], place: Callable[[], Place]
) -> Iterator[pl.DataFrame]:
    """Yield what tasks have handed over, partition by partition."""
    for partition in sorted(written):
        each = written[partition]
        if each.data is not None:
            yield from frames_in(io.BytesIO(each.data), each.ends)
        elif each.name is not None:
            there = place()
            path = f"{there.directory}/{each.name}"
            with there.files.open_input_stream(path) as file:
                yield from frames_in(file, each.ends)


@contextmanager
def read_in_a_thread(
    frames: Iterator[pl.DataFrame],
) -> Iterator[Iterator[pl.DataFrame]]:
    """Lend frames that a thread of ours reads, a few ahead.

    For a library that asks for them in a thread of its own, where it can't read files.
    """
    waiting: Queue[pl.DataFrame | Exception | None] = Queue(_READ_AHEAD)
    ended = threading.Event()

    def put(item: pl.DataFrame | Exception | None) -> None:
        while not ended.is_set():
            with suppress(Full):
                waiting.put(item, timeout=_LOOK_S)
                return

    def read() -> None:
        try:
            for frame in frames:
                put(frame)
                if ended.is_set():
                    return
        except Exception as error:  # It is the reader's.
            put(error)
        else:
            put(None)

    def taken() -> Iterator[pl.DataFrame]:
        while (item := waiting.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item

    thread = threading.Thread(target=read, name="millstream-handed-over", daemon=True)
    thread.start()
    try:
        yield taken()
    finally:
        ended.set()
        thread.join()


def schemas_of(written: Mapping[int, HandedOver]) -> Sequence[pl.Schema]:
    """Return the schemas of what tasks have handed over, partition by partition."""
    return [
        schema for partition in sorted(written) for schema in written[partition].schemas
    ]


def has_files(written: Mapping[int, HandedOver]) -> bool:
    """Say whether any of it is in a file."""
    return any(each.name is not None for each in written.values())


@contextmanager
def as_arrow(
    frames: Iterator[pl.DataFrame], schema: Mapping[str, pl.DataType]
) -> Iterator[Any]:
    """Lend frames of a schema as a pyarrow RecordBatchReader, which reads as it goes.

    An error of `frames` comes out of the block as it was, whatever the reader's user makes
    of it.
    """
    import pyarrow as pa  # noqa: PLC0415

    empty = pl.DataFrame(schema=schema).to_arrow(compat_level=_OLDEST)
    arrow_schema = pa.schema(
        field.with_type(pa.time64("us")) if pa.types.is_time64(field.type) else field
        for field in empty.schema
    )
    failures: list[Exception] = []

    def batches() -> Iterator[Any]:
        try:
            for frame in frames:
                table = frame.to_arrow(compat_level=_OLDEST)
                yield from table.cast(arrow_schema).to_batches(_BATCH_ROWS)
        except Exception as error:
            failures.append(error)
            raise

    try:
        yield pa.RecordBatchReader.from_batches(arrow_schema, batches())
    except Exception:
        if failures:
            raise failures[0] from None
        raise
