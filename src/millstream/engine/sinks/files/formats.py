"""File formats: how records become the bytes of a file, and small files a larger one."""

import csv
import io
import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, BinaryIO, Protocol

import polars as pl

from millstream.engine.base.compression import codec_of, compressing, decompressed
from millstream.engine.base.errors import UsageError
from millstream.engine.base.extras import needed
from millstream.engine.sinks.files.schema import Schema

_ROW_GROUP_BYTES = 16 << 20
_COPIED_BYTES = 1 << 20

Piece = Any
"""What a format writes at once: a frame, or lines as bytes."""
Input = Callable[[], bytes]
"""Reads a whole small file."""


class Writing(Protocol):
    """A file that is being written."""

    @property
    def kept_bytes(self) -> int:
        """How much is in memory that isn't written yet."""
        ...

    def shed(self) -> None:
        """Write what is kept."""
        ...

    def add(self, piece: Piece) -> None:
        """Write some more."""
        ...

    def end(self) -> None:
        """Write what is still kept, and the end of the file."""
        ...


class Format(Protocol):
    """A kind of file. Picklable."""

    @property
    def extension(self) -> str:
        """What ends the files' names."""
        ...

    def begin(self, out: BinaryIO, schema: Schema, target_bytes: int) -> Writing:
        """Begin a file."""
        ...

    def merge(self, inputs: Sequence[Input], out: BinaryIO) -> None:
        """Write a file with what is in others, of the same layout."""
        ...


class ParquetFormat:
    """Parquet, by Arrow's writer: a row group is written when it has some MB."""

    extension = ".parquet"

    def __init__(self, compression: str) -> None:
        """Compress columns by `compression`."""
        self._compression = compression

    def begin(self, out: BinaryIO, schema: Schema, target_bytes: int) -> Writing:
        """Begin a file."""
        arrow = pl.DataFrame(schema=schema).to_arrow(compat_level=_COMPATIBLE).schema
        return _ParquetWriting(out, arrow, self._compression, target_bytes)

    def merge(self, inputs: Sequence[Input], out: BinaryIO) -> None:
        """Write the row groups of all as larger ones."""
        parquet = _parquet()
        writing: _ParquetWriting | None = None
        for read in inputs:
            file = parquet.ParquetFile(io.BytesIO(read()))
            if writing is None:
                schema = file.schema_arrow
                writing = _ParquetWriting(out, schema, self._compression, 0)
            for number in range(file.num_row_groups):
                writing.add_table(file.read_row_group(number))
        if writing is not None:
            writing.end()


# Text as Arrow has always had it: every reader of Parquet knows it.
_COMPATIBLE = pl.CompatLevel.oldest()


def _parquet() -> Any:
    return needed("pyarrow.parquet", "files", "ParquetSink")


class _ParquetWriting:
    def __init__(
        self, out: BinaryIO, schema: Any, compression: str, target_bytes: int
    ) -> None:
        self._schema = schema
        self._writer = _parquet().ParquetWriter(out, schema, compression=compression)
        self._tables: list[Any] = []
        self.kept_bytes = 0
        self._most_bytes = min(_ROW_GROUP_BYTES, target_bytes or _ROW_GROUP_BYTES)

    def add(self, piece: Piece) -> None:
        self.add_table(piece.to_arrow(compat_level=_COMPATIBLE))

    def add_table(self, table: Any) -> None:
        self._tables.append(table)
        self.kept_bytes += table.nbytes
        if self.kept_bytes >= self._most_bytes:
            self.shed()

    def end(self) -> None:
        if self._tables:
            self.shed()
        self._writer.close()

    def shed(self) -> None:
        arrow = needed("pyarrow", "files", "ParquetSink")
        self._writer.write_table(arrow.concat_tables(self._tables))
        self._tables, self.kept_bytes = [], 0


class _LineFormat:
    """Lines, which may be compressed: small files are one behind the other in a large."""

    def __init__(self, extension: str, compression: str | None) -> None:
        self._compressed = "" if compression is None else _extension_of(compression)
        self.extension = extension + self._compressed

    def begin(self, out: BinaryIO, schema: Schema, target_bytes: int) -> Writing:
        del schema, target_bytes
        return _LineWriting(out, self._compressed, self._encode)

    def merge(self, inputs: Sequence[Input], out: BinaryIO) -> None:
        out.writelines(read() for read in inputs)

    def _encode(self, piece: Piece) -> bytes:
        raise NotImplementedError


class _LineWriting:
    kept_bytes = 0

    def __init__(
        self, out: BinaryIO, extension: str, encode: Callable[[Piece], bytes]
    ) -> None:
        self._ending = ExitStack()
        self._plain = self._ending.enter_context(compressing(out, extension))
        self._encode = encode

    def add(self, piece: Piece) -> None:
        self._plain.write(self._encode(piece))

    def shed(self) -> None:
        """Do nothing: nothing is kept."""

    def end(self) -> None:
        self._ending.close()


class TextFormat(_LineFormat):
    """Text: pieces are bytes, lines with their ends."""

    def __init__(self, compression: str | None) -> None:
        """Compress by gzip, zstd, bz2 or lz4, or not."""
        super().__init__(".txt", compression)

    def _encode(self, piece: Piece) -> bytes:
        return bytes(piece)


class JsonFormat(_LineFormat):
    """JSON, an object a line."""

    def __init__(self, compression: str | None) -> None:
        """Compress by gzip, zstd, bz2 or lz4, or not."""
        super().__init__(".jsonl", compression)

    def _encode(self, piece: Piece) -> bytes:
        out = io.BytesIO()
        piece.write_ndjson(out)
        return out.getvalue()


class CsvFormat(_LineFormat):
    """CSV with a line of names in each file."""

    def __init__(self, compression: str | None, separator: str) -> None:
        """Separate values by `separator`."""
        super().__init__(".csv", compression)
        self._separator = separator

    def begin(self, out: BinaryIO, schema: Schema, target_bytes: int) -> Writing:
        """Begin a file with the names."""
        writing = super().begin(out, schema, target_bytes)
        writing.add(self._names(schema))
        return writing

    def merge(self, inputs: Sequence[Input], out: BinaryIO) -> None:
        """Write the lines of all below one line of names."""
        codec = codec_of(self.extension)
        with compressing(out, self._compressed) as plain:
            for number, read in enumerate(inputs):
                source = decompressed(io.BytesIO(read()), codec)
                if number:
                    source.readline()
                shutil.copyfileobj(source, plain, _COPIED_BYTES)

    def _names(self, schema: Schema) -> bytes:
        if wrong := [name for name in schema if "\n" in name or "\r" in name]:
            msg = f"a column of a CSV file can't be called {wrong[0]!r}"
            raise UsageError(msg, hint="name the columns with columns=[...]")
        line = io.StringIO()
        csv.writer(line, delimiter=self._separator, lineterminator="\n").writerow(
            schema
        )
        return line.getvalue().encode()

    def _encode(self, piece: Piece) -> bytes:
        if isinstance(piece, bytes):
            return piece
        try:
            text: str = piece.write_csv(include_header=False, separator=self._separator)
        except pl.exceptions.PolarsError as error:
            nested = [name for name, dtype in piece.schema.items() if dtype.is_nested()]
            msg = f"a CSV file can't hold column '{(nested or piece.columns)[0]}': {error}"
            raise UsageError(
                msg, hint="write it with JsonSink or ParquetSink"
            ) from error
        return text.encode()


_COMPRESSIONS = {"gzip": ".gz", "zstd": ".zst", "bz2": ".bz2", "lz4": ".lz4"}


def _extension_of(compression: str) -> str:
    if compression not in _COMPRESSIONS:
        msg = f"compression '{compression}' isn't known"
        raise UsageError(msg, hint=f"one of {', '.join(_COMPRESSIONS)}, or None")
    if compression in {"zstd", "lz4"}:
        module = "zstandard" if compression == "zstd" else "lz4.frame"
        needed(module, "files", f"compression='{compression}'")
    return _COMPRESSIONS[compression]
