"""File sinks: Parquet, JSON, CSV and text in a directory, each batch once.

Tasks write parts, below a hidden folder. The driver commits a batch with one entry of the
manifest, which lists them; then large ones get their final names, below the directory, and
small ones wait to be merged. See `file_manifest` for who decides what.
"""

import logging
import re
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import polars as pl

from millstream.engine.base.clock import Clock, SystemClock
from millstream.engine.base.errors import DurabilityError, MillstreamError, UsageError
from millstream.engine.base.storage import open_storage, path_text
from millstream.engine.sinks.contract import Opening, Sink, SinkBatch, stale_run
from millstream.engine.sinks.files.formats import (
    CsvFormat,
    Format,
    JsonFormat,
    ParquetFormat,
    TextFormat,
)
from millstream.engine.sinks.files.log import HIDDEN, FileLog
from millstream.engine.sinks.files.manifest import (
    DataFile,
    Entry,
    Manifest,
    Mark,
    Merge,
    Sizes,
)
from millstream.engine.sinks.files.parts import PartWriter, Where, by_folder
from millstream.engine.sinks.files.schema import (
    Place,
    Schema,
    agreed,
    decoded,
    encoded,
    fitted,
    joined,
    schema_of,
)
from millstream.engine.sinks.records import Records
from millstream.engine.sinks.text_files import line_of

_log = logging.getLogger(__name__)

T = TypeVar("T")

TARGET_BYTES = 128 << 20
CARRY_S = 3600.0
GRACE_S = 3600.0
_TARGET_BYTES_MAX = 4 << 30  # Stores copy no larger objects in one go.
_SLICE_BYTES = 4 << 20
_LINES = 2_000
_OF_THE_DRIVER = ("_clock", "_log", "_manifest", "_placed", "_purged", "_opened")


@dataclass(frozen=True, slots=True)
class _Plan:
    """What the driver tells the tasks of a batch."""

    batch: SinkBatch
    schema: str
    merges: tuple[Merge, ...]


@dataclass(frozen=True, slots=True)
class _Written:
    """What a task tells the driver."""

    files: tuple[DataFile, ...]
    schema: str
    merges: tuple[tuple[Merge, DataFile], ...]


class FileSink(Sink[T]):
    """What all file sinks have in common."""

    def __init__(
        self,
        directory: Any,
        form: Format,
        *,
        target_bytes: int,
        carry_s: float,
        grace_s: float,
    ) -> None:
        """Write files of a format; see the guide for the rest.

        Raises:
            UsageError: A value is out of bounds.
        """
        if not 0 <= target_bytes <= _TARGET_BYTES_MAX:
            msg = (
                f"target_bytes is {target_bytes}, and must be 0 to {_TARGET_BYTES_MAX}"
            )
            raise UsageError(msg)
        if carry_s < 0 or grace_s < 0:
            msg = f"carry_s is {carry_s} and grace_s {grace_s}: both must be 0 or more"
            raise UsageError(msg)
        self.directory = path_text(directory).rstrip("/")
        self._format = form
        self._sizes = Sizes(target_bytes, int(carry_s * 1000))
        self._grace_ms = int(grace_s * 1000)
        self._plan: _Plan | None = None
        self._forget()

    def _forget(self) -> None:
        """Know nothing of the directory: it is read again when it is needed."""
        self._clock: Clock = SystemClock()
        self._log: FileLog | None = None
        self._manifest: Manifest | None = None
        self._placed = 0
        self._purged: tuple[str, ...] = ()
        self._opened: tuple[str, int] | None = None

    def __getstate__(self) -> dict[str, Any]:
        copy = dict(self.__dict__)
        for name in _OF_THE_DRIVER:
            del copy[name]
        return copy

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    @property
    def identity(self) -> str:
        """The kind of files, and the directory."""
        return f"{type(self).__name__} '{self.directory}'"

    def open(self, output: str, run: int) -> Opening:
        """Take over: commit the run's number, end what older runs began, clean up."""
        log = self._log = FileLog(self.directory, self._grace_ms, self._clock)
        made: list[Entry] = []

        def begin(manifest: Manifest) -> Entry:
            number = manifest.next_run(output, run)
            entry = Entry(manifest.number + 1, output, number, self._clock.now_ms())
            made.append(entry)
            return entry

        known = log.load()
        self._check_format(known)
        manifest = self._manifest = log.append(known, begin)
        log.check_conditions(made[-1])
        mark = manifest.marks[output]
        self._opened = output, mark.run
        self._place(manifest, output)
        self._clean(manifest, output)
        return Opening(mark.run, mark.batch_ms)

    def begin(self, batch: SinkBatch) -> Collection[int]:
        """Return all partitions if the batch is committed, else none; plan its merges."""
        manifest = self._known()
        mark = self._checked_mark(manifest, batch)
        self._place(manifest, batch.output)
        if mark.batch_ms is not None and batch.time_ms <= mark.batch_ms:
            return range(batch.partitions)
        merges = self._sizes.plan(manifest, batch.output, batch.time_ms)
        self._plan = _Plan(batch, manifest.schema, tuple(merges))
        return ()

    def write(self, batch: SinkBatch, partition: int, records: Records[T]) -> Any:
        """Write the records as parts, and do this partition's share of merges."""
        plan = self._plan
        assert plan is not None, "a batch begins before it is written"
        assert plan.batch == batch, "the plan is the batch's own"
        writer = PartWriter(self._where(batch, partition), self._format, self._sizes)
        share = plan.merges[partition :: batch.partitions]
        try:
            schema = self._write(writer, records, plan)
            merged = tuple((merge, writer.merge(merge)) for merge in share)
            return _Written(writer.end(), encoded(schema), merged)
        except BaseException:
            writer.drop()
            raise

    def _write(self, writer: PartWriter, records: Records[T], plan: _Plan) -> Schema:
        """Write records; return their columns."""
        raise NotImplementedError

    def commit(self, batch: SinkBatch, written: Mapping[int, Any]) -> None:
        """Write the batch's entry, give large files their names, delete old ones."""
        parts: list[_Written] = list(written.values())
        place = Place(batch.time_ms, batch.output, self.identity)
        known = self._known()
        schemas = [decoded(each.schema) for each in parts]
        files = [file for each in parts for file in each.files]
        merges = [pair for each in parts for pair in each.merges]
        purged = self._purge(known)

        def make(manifest: Manifest) -> Entry | None:
            mark = self._checked_mark(manifest, batch)
            is_there = mark.batch_ms is not None and mark.batch_ms >= batch.time_ms
            if is_there or not (files or merges):
                return None
            schema = encoded(joined(decoded(manifest.schema), schemas, place))
            return Entry(
                manifest.number + 1,
                batch.output,
                batch.run,
                self._clock.now_ms(),
                batch.time_ms,
                (*files, *(file for _, file in merges)),
                tuple(file.path for merge, _ in merges for file in merge.inputs),
                purged,
                None if schema == manifest.schema else schema,
            )

        # What fails from here on may have been committed, or still be.
        self._plan = None
        self._append(make, known, batch.output)

    def abort(self, batch: SinkBatch) -> None:
        """Delete parts of a batch whose commit wasn't begun."""
        plan, self._plan = self._plan, None
        # Another run may have taken over: then the next attempt hears of it.
        self._manifest = None
        if plan is None or plan.batch != batch:
            return
        prefix = f"{batch.run}-{batch.time_ms}-"
        for path in self._parts(batch.output):
            if path.rpartition("/")[2].startswith(prefix):
                self._delete(path)

    def close(self) -> None:
        """Make large files of all that is carried, so that everybody sees it.

        What can't be merged now stays as it is, and the next run merges it.
        """
        opened = self._opened
        try:
            if opened is not None:
                self._merge_all(*opened)
        except (OSError, MillstreamError) as error:
            _log.warning(
                "small files stay small until the next run directory=%s error=%s",
                self.directory,
                error,
            )
        self._forget()

    def _merge_all(self, output: str, run: int) -> None:
        known = self._known()
        merges = self._sizes.plan_last(known, output)
        if not merges or known.marks[output].run != run:
            return
        newest_ms = known.marks[output].batch_ms or 0
        batch = SinkBatch(output, newest_ms, 1, run)
        writer = PartWriter(self._where(batch, 0), self._format, self._sizes)
        files = tuple(writer.merge(merge) for merge in merges)
        removed = tuple(file.path for merge in merges for file in merge.inputs)

        def make(manifest: Manifest) -> Entry:
            self._checked_mark(manifest, batch)
            number, now_ms = manifest.number + 1, self._clock.now_ms()
            return Entry(
                number, output, run, now_ms, None, files, removed, self._purge(manifest)
            )

        self._append(make, known, output)

    def _append(self, make: Any, known: Manifest, output: str) -> None:
        log = self._log
        assert log is not None, "it is open"
        self._manifest = None  # Unless all goes well it is read again.
        manifest = log.append(known, make)
        self._purged = tuple(path for path in self._purged if path in manifest.removed)
        self._place(manifest, output)
        log.tidy(manifest)
        self._manifest = manifest

    def _known(self) -> Manifest:
        if self._log is None:
            self._log = FileLog(self.directory, self._grace_ms, self._clock)
        if self._manifest is None:
            self._manifest = self._log.load()
        return self._manifest

    def _checked_mark(self, manifest: Manifest, batch: SinkBatch) -> Mark:
        mark = manifest.marks.get(batch.output)
        if mark is None or mark.run != batch.run:
            raise stale_run(batch, self.identity)
        return mark

    def _check_format(self, manifest: Manifest) -> None:
        """Refuse to mix formats, which no reader could read."""
        other = next(
            (
                each.path
                for each in manifest.files.values()
                if each.is_final and not each.path.endswith(self._format.extension)
            ),
            None,
        )
        if other is not None:
            msg = f"{self.identity} has other files: '{other}'"
            raise UsageError(msg, hint="give each format a directory of its own")

    def _place(self, manifest: Manifest, output: str) -> None:
        """Give the final files of the last entry their names, if they don't have them."""
        if self._placed == manifest.number:
            return
        mark = manifest.marks.get(output)
        storage, base = open_storage(self.directory)
        for file in () if mark is None else mark.unplaced:
            try:
                storage.rename(f"{base}/{file.part}", f"{base}/{file.path}")
                storage.sync(f"{base}/{file.path}")
            except FileNotFoundError:
                if not storage.exists(f"{base}/{file.path}"):
                    msg = f"'{file.path}' of {self.identity} was written, and is gone"
                    hint = "write to storage that all nodes of the cluster share"
                    raise DurabilityError(msg, hint=hint) from None
        self._placed = manifest.number

    def _purge(self, manifest: Manifest) -> tuple[str, ...]:
        """Delete files that don't count since long; return them."""
        due = manifest.purgeable(self._clock.now_ms(), self._grace_ms)
        for path in due:
            if path not in self._purged:
                self._delete(path)
        self._purged = due
        return due

    def _clean(self, manifest: Manifest, output: str) -> None:
        """Delete what earlier runs have left and never committed."""
        for path in manifest.strays(output, self._parts(output)):
            _log.info("deleting a file that wasn't committed path=%s", path)
            self._delete(path)

    def _parts(self, output: str) -> list[str]:
        storage, base = open_storage(self.directory)
        found: list[str] = []
        folders = [f"{HIDDEN}/parts/{_token(output)}"]
        while folders:
            folder = folders.pop()
            with suppress(FileNotFoundError):
                for info in storage.list(f"{base}/{folder}"):
                    (folders if info.is_dir else found).append(f"{folder}/{info.name}")
        return found

    def _delete(self, path: str) -> None:
        storage, base = open_storage(self.directory)
        storage.delete(f"{base}/{path}")

    def _where(self, batch: SinkBatch, partition: int) -> Where:
        token = _token(batch.output)
        return Where(
            self.directory,
            f"{HIDDEN}/parts/{token}",
            f"part-{token}",
            batch.output,
            batch.run,
            batch.time_ms,
            partition,
        )


class TableSink(FileSink[T]):
    """A file sink that writes tables."""

    def __init__(
        self,
        directory: Any,
        form: Format,
        *,
        schema: Mapping[str, Any] | None,
        partition_by: Sequence[str],
        **settings: Any,
    ) -> None:
        """Write tables with these columns, or those that records have."""
        super().__init__(directory, form, **settings)
        if isinstance(partition_by, str):
            partition_by = [partition_by]
        self._partition_by = tuple(partition_by)
        self._schema = None if schema is None else encoded(schema_of(schema))
        if schema is not None:
            self._check_partition_by(schema)

    def _check_partition_by(self, columns: Collection[str]) -> None:
        missing = [name for name in self._partition_by if name not in columns]
        if missing or (columns and len(columns) == len(self._partition_by)):
            wrong = missing[0] if missing else self._partition_by[-1]
            why = (
                "records have no such column" if missing else "no other column is left"
            )
            msg = f"{self.identity} can't be partitioned by '{wrong}': {why}"
            raise UsageError(msg, hint=f"records have {', '.join(columns)}")

    def check(self, records: Records[T]) -> None:
        """Raise if some of these records have no place in a table."""
        if self._schema is None:
            records.check_tables()
            return
        place, given = Place(0, "", self.identity), decoded(self._schema)
        for table in records.tables():
            if table.height:
                fitted(table, given, place, may_grow=False)

    def _write(self, writer: PartWriter, records: Records[T], plan: _Plan) -> Schema:
        place = Place(plan.batch.time_ms, plan.batch.output, self.identity)
        known = decoded(plan.schema)
        given = None if self._schema is None else decoded(self._schema)
        # Columns that `schema` has more than the files, and no other ones.
        schema = known if given is None else agreed(known, given, place)
        for table in records.tables():
            if not table.height:
                continue
            frame, schema = fitted(table, schema, place, may_grow=given is None)
            self._check_partition_by(frame.columns)
            for folder, part in by_folder(frame, self._partition_by):
                columns = dict(part.schema)
                for piece in _slices(part, self._sizes.target_bytes):
                    writer.add(folder, columns, piece, piece.height)
        return schema


def _slices(frame: pl.DataFrame, target_bytes: int) -> Iterator[pl.DataFrame]:
    """Yield a frame in pieces, so that no file becomes much larger than wanted."""
    most_bytes = min(_SLICE_BYTES, target_bytes or _SLICE_BYTES)
    row_bytes = max(1, int(frame.estimated_size()) // max(1, frame.height))
    return frame.iter_slices(max(1, most_bytes // row_bytes))


class ParquetSink(TableSink[T]):
    """Parquet files."""

    def __init__(
        self,
        directory: Any,
        *,
        schema: Mapping[str, Any] | None = None,
        partition_by: Sequence[str] = (),
        compression: str = "zstd",
        target_bytes: int = TARGET_BYTES,
        carry_s: float = CARRY_S,
        grace_s: float = GRACE_S,
    ) -> None:
        """Write below `directory`, a path, URI or `Path`; see the guide's "File sinks".

        Raises:
            UsageError: A value is out of bounds.
        """
        super().__init__(
            directory,
            ParquetFormat(compression),
            schema=schema,
            partition_by=partition_by,
            target_bytes=target_bytes,
            carry_s=carry_s,
            grace_s=grace_s,
        )


class JsonSink(TableSink[T]):
    """JSON files, an object a line."""

    def __init__(
        self,
        directory: Any,
        *,
        schema: Mapping[str, Any] | None = None,
        partition_by: Sequence[str] = (),
        compression: str | None = None,
        target_bytes: int = TARGET_BYTES,
        carry_s: float = CARRY_S,
        grace_s: float = GRACE_S,
    ) -> None:
        """Write below `directory`, a path, URI or `Path`; see the guide's "File sinks".

        Raises:
            UsageError: A value is out of bounds.
        """
        super().__init__(
            directory,
            JsonFormat(compression),
            schema=schema,
            partition_by=partition_by,
            target_bytes=target_bytes,
            carry_s=carry_s,
            grace_s=grace_s,
        )


class CsvSink(TableSink[T]):
    """CSV files with a line of names."""

    def __init__(
        self,
        directory: Any,
        *,
        schema: Mapping[str, Any] | None = None,
        partition_by: Sequence[str] = (),
        separator: str = ",",
        compression: str | None = None,
        target_bytes: int = TARGET_BYTES,
        carry_s: float = CARRY_S,
        grace_s: float = GRACE_S,
    ) -> None:
        """Write below `directory`, a path, URI or `Path`; see the guide's "File sinks".

        Raises:
            UsageError: A value is out of bounds.
        """
        super().__init__(
            directory,
            CsvFormat(compression, separator),
            schema=schema,
            partition_by=partition_by,
            target_bytes=target_bytes,
            carry_s=carry_s,
            grace_s=grace_s,
        )


class TextSink(FileSink[Any]):
    """Text files, a record a line: text and bytes as they are, others by `str`."""

    def __init__(
        self,
        directory: Any,
        *,
        compression: str | None = None,
        target_bytes: int = TARGET_BYTES,
        carry_s: float = CARRY_S,
        grace_s: float = GRACE_S,
    ) -> None:
        """Write below `directory`, a path, URI or `Path`; see the guide's "File sinks".

        Raises:
            UsageError: A value is out of bounds.
        """
        super().__init__(
            directory,
            TextFormat(compression),
            target_bytes=target_bytes,
            carry_s=carry_s,
            grace_s=grace_s,
        )

    def _write(self, writer: PartWriter, records: Records[Any], plan: _Plan) -> Schema:
        del plan
        lines: list[bytes] = []
        size_bytes = 0
        most_bytes = min(_SLICE_BYTES, self._sizes.target_bytes or _SLICE_BYTES)
        for record in records:
            lines.append(line_of(record))
            size_bytes += len(lines[-1])
            if len(lines) >= _LINES or size_bytes >= most_bytes:
                writer.add("", {}, b"".join(lines), len(lines))
                lines, size_bytes = [], 0
        if lines:
            writer.add("", {}, b"".join(lines), len(lines))
        return {}


def _token(output: str) -> str:
    """Return an output's name as file names have it; others have other ones."""
    plain = re.sub(r"[^A-Za-z0-9_]+", "_", output)[:40]
    return f"{plain}_{zlib.crc32(output.encode()):08x}"
