"""File parts: what a task writes of a batch: files that nobody counts yet."""

import secrets
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any, BinaryIO, cast
from urllib.parse import quote

import polars as pl

from millstream.engine.base.errors import DurabilityError
from millstream.engine.base.storage import open_storage
from millstream.engine.sinks.files.formats import Format, Input, Piece, Writing
from millstream.engine.sinks.files.manifest import DataFile, Merge, Sizes
from millstream.engine.sinks.files.schema import Schema, layout_of

_OPEN_MAX = 100
_KEPT_BYTES = 128 << 20
_PART = ".part"
# Hive's own, for rows without a value.
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True, slots=True)
class Where:
    """Where a task's files go, and what they are called."""

    directory: str
    parts: str
    """The folder of the output's parts, below the directory."""
    final: str
    """Begins the final names of the output's files."""
    output: str
    run: int
    batch_ms: int
    partition: int


class PartWriter:
    """Writes the files of one attempt of a task; not thread-safe."""

    def __init__(self, where: Where, form: Format, sizes: Sizes) -> None:
        """Write files of about the target's size."""
        self._where = where
        self._format = form
        self._sizes = sizes
        # Another attempt may run at the same time, anywhere.
        self._attempt = secrets.token_hex(4)
        self._count = 0
        self._open: OrderedDict[tuple[str, str], _Part] = OrderedDict()
        self._files: list[DataFile] = []
        self._merged: list[str] = []

    def add(self, folder: str, schema: Schema, piece: Piece, rows: int) -> None:
        """Write rows to the file of a folder; `schema` is that of the piece."""
        key = folder, layout_of(schema)
        part = self._open.get(key)
        if part is None:
            if len(self._open) >= _OPEN_MAX:
                self._end(next(iter(self._open)))
            part = _Part(self._path(folder), self._where.directory)
            self._open[key] = part
            part.begin(self._format, schema, self._sizes.target_bytes)
        self._open.move_to_end(key)
        part.add(piece, rows)
        if sum(each.kept_bytes for each in self._open.values()) > _KEPT_BYTES:
            max(self._open.values(), key=_kept_bytes).shed()
        if self._sizes.target_bytes and part.size_bytes >= self._sizes.target_bytes:
            self._end(key)

    def merge(self, merge: Merge) -> DataFile:
        """Write a file with what is in small ones.

        Raises:
            DurabilityError: One of them is damaged or gone; names it.
        """
        first = merge.inputs[0]
        with ExitStack() as undoing:
            part = _Part(self._path(first.folder), self._where.directory)
            undoing.callback(part.drop)
            inputs = [self._input(each) for each in merge.inputs]
            part.merge(self._format, inputs)
            undoing.pop_all()
        self._merged.append(part.path)
        return self._named(
            part,
            first.folder,
            first.layout,
            rows=sum(each.rows for each in merge.inputs),
            oldest_ms=min(each.batch_ms for each in merge.inputs),
            newest_ms=max(each.newest_ms for each in merge.inputs),
            level=max(each.level for each in merge.inputs) + 1,
            is_final=merge.is_final,
        )

    def end(self) -> tuple[DataFile, ...]:
        """End all files, and return them."""
        while self._open:
            self._end(next(iter(self._open)))
        return tuple(self._files)

    def drop(self) -> None:
        """Delete what was written."""
        for part in self._open.values():
            part.drop()
        storage, base = open_storage(self._where.directory)
        for path in (*self._merged, *(file.part for file in self._files)):
            storage.delete(f"{base}/{path}")

    def _end(self, key: tuple[str, str]) -> None:
        folder, layout = key
        part = self._open[key]
        part.end()
        del self._open[key]
        batch_ms = self._where.batch_ms
        self._files.append(
            self._named(
                part,
                folder,
                layout,
                rows=part.rows,
                oldest_ms=batch_ms,
                newest_ms=batch_ms,
                level=0,
                is_final=self._sizes.is_final(part.size_bytes),
            )
        )

    def _named(
        self,
        part: "_Part",
        folder: str,
        layout: str,
        *,
        rows: int,
        oldest_ms: int,
        newest_ms: int,
        level: int,
        is_final: bool,
    ) -> DataFile:
        path = part.path
        if is_final:
            name = path.rpartition("/")[2].removesuffix(_PART).partition("-")[2]
            name = f"{self._where.final}-{name}{self._format.extension}"
            path = f"{folder}/{name}" if folder else name
        return DataFile(
            path,
            part.path,
            folder,
            part.size_bytes,
            rows,
            part.crc32,
            layout,
            oldest_ms,
            newest_ms,
            self._where.output,
            level,
        )

    def _path(self, folder: str) -> str:
        where = self._where
        self._count += 1
        below = f"{where.parts}/{folder}" if folder else where.parts
        return (
            f"{below}/{where.run}-{where.batch_ms}-{where.partition}-"
            f"{self._attempt}-{self._count}{_PART}"
        )

    def _input(self, file: DataFile) -> Input:
        return lambda: read_checked(self._where.directory, file)


def read_checked(directory: str, file: DataFile, path: str | None = None) -> bytes:
    """Return a file's bytes; `path` is where it is, if it isn't at its own.

    Raises:
        DurabilityError: They aren't what was written, or it is gone.
    """
    storage, base = open_storage(directory)
    path = f"{base}/{path or file.path}"
    try:
        with storage.open_input(path) as source:
            data = source.read()
    except FileNotFoundError as error:
        msg = f"'{storage.uri(path)}' is gone, and the manifest counts it"
        raise DurabilityError(
            msg, hint="nobody but the sink may delete files"
        ) from error
    if len(data) != file.size_bytes or _crc32(data) != file.crc32:
        msg = f"'{storage.uri(path)}' isn't what was written: {len(data)} bytes, "
        msg += f"CRC-32 {_crc32(data)}, not {file.size_bytes} and {file.crc32}"
        raise DurabilityError(msg, hint="restore the file from a copy")
    return data


def _crc32(data: bytes) -> str:
    return f"{zlib.crc32(data):08x}"


class _Part:
    """One file that is written."""

    def __init__(self, path: str, directory: str) -> None:
        self.path = path
        self.rows = 0
        self._directory = directory
        storage, base = open_storage(directory)
        self._full = f"{base}/{path}"
        self._storage = storage
        self._ending = ExitStack()
        out = self._ending.enter_context(storage.open_atomic(self._full))
        self._out = _Counted(out)
        self._writing: Writing | None = None

    @property
    def size_bytes(self) -> int:
        return self._out.size_bytes

    @property
    def crc32(self) -> str:
        return f"{self._out.crc32:08x}"

    def begin(self, form: Format, schema: Schema, target_bytes: int) -> None:
        self._writing = form.begin(cast(BinaryIO, self._out), schema, target_bytes)

    def add(self, piece: Piece, rows: int) -> None:
        assert self._writing is not None, "it has begun"
        self._writing.add(piece)
        self.rows += rows

    @property
    def kept_bytes(self) -> int:
        return 0 if self._writing is None else self._writing.kept_bytes

    def shed(self) -> None:
        if self._writing is not None:
            self._writing.shed()

    def merge(self, form: Format, inputs: list[Input]) -> None:
        form.merge(inputs, cast(BinaryIO, self._out))
        self._ending.close()

    def end(self) -> None:
        assert self._writing is not None, "it has begun"
        self._writing.end()
        self._ending.close()

    def drop(self) -> None:
        """Leave nothing."""
        self._out.is_abandoned = True
        with suppress(_AbandonedError):
            self._ending.__exit__(_AbandonedError, _AbandonedError(), None)
        self._storage.delete(self._full)


def _kept_bytes(part: _Part) -> int:
    return part.kept_bytes


class _AbandonedError(Exception):
    """Ends a file that is not to appear."""


class _Counted:
    """A stream that knows what went through it; as much of one as writers ask for."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self.size_bytes = 0
        self.crc32 = 0
        self.closed = False
        self.is_abandoned = False
        """Writers that are thrown away write the end of their file nevertheless."""

    def write(self, data: Any) -> int:
        view = memoryview(data)
        if self.is_abandoned:
            return view.nbytes
        self._out.write(view)
        self.crc32 = zlib.crc32(view, self.crc32)
        self.size_bytes += view.nbytes
        return view.nbytes

    def writelines(self, pieces: Iterable[Any]) -> None:
        for each in pieces:
            self.write(each)

    def tell(self) -> int:
        return self.size_bytes

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def flush(self) -> None:
        """Do nothing: the end of the file makes it safe."""

    def close(self) -> None:
        """Do nothing: who opened the stream closes it."""


def by_folder(
    frame: pl.DataFrame, columns: tuple[str, ...]
) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yield the rows of each folder without the columns that are in its name."""
    if not columns:
        yield "", frame
        return
    parts = frame.partition_by(
        columns, as_dict=True, include_key=False, maintain_order=True
    )
    for values, part in parts.items():
        pairs = zip(columns, values, strict=True)
        yield (
            "/".join(f"{_quoted(name)}={_text_of(value)}" for name, value in pairs),
            part,
        )


def _text_of(value: Any) -> str:
    if value is None:
        return _NO_VALUE
    if isinstance(value, bool):
        return str(value).lower()
    return _quoted(str(value))


def _quoted(text: str) -> str:
    # An empty name would be no folder at all: Hive has it as no value.
    return quote(text, safe=" +,@()") or _NO_VALUE
