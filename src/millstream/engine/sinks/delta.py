"""DeltaSink: batches go to a Delta Lake table, each as one commit, with its mark.

The mark is a transaction of the table's own kind: an application's identifier, and a number
that only rises, here the batch's time. A second one has the number of the run. Two commits
that go on from the same version with the same identifier exclude each other, so a writer
that was replaced is refused.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import polars as pl

from millstream.engine.base.errors import SparkError
from millstream.engine.base.extras import needed
from millstream.engine.base.secrets import Secret, revealed, without_password
from millstream.engine.sinks.contract import Opening, SinkBatch
from millstream.engine.sinks.tables.errors import TableError
from millstream.engine.sinks.tables.fitting import (
    Types,
    check_can_be_made,
    fitted,
    stored,
    unified,
)
from millstream.engine.sinks.tables.handed_over import (
    HandedOver,
    Place,
    as_arrow,
    frames_of,
    read_in_a_thread,
    schemas_of,
)
from millstream.engine.sinks.tables.lake import (
    LakeSink,
    Marks,
    lake_type,
    options_apart,
    polars_schema,
)
from millstream.engine.sinks.tables.sql import new_columns

_FILE_BYTES = 32 << 20
_EMPTY = "millstream_has_no_batch_yet"
"""The one column of a table before its first records: Delta Lake has none without."""
_BOUNDS = {
    "timeout": "30s",
    "connect_timeout": "10s",
    "max_retries": "4",
    "retry_timeout": "30s",
}


class DeltaSink(LakeSink):
    """Writes records to a Delta Lake table: dicts, rows, dataclasses, or columns."""

    def __init__(
        self,
        uri: str | Path,
        *,
        partition_by: Sequence[str] = (),
        evolve: bool = False,
        types: Types | None = None,
        storage_options: Mapping[str, str | Secret] | None = None,
    ) -> None:
        """Append to the table at `uri`: a directory, or s3://, gs://, abfs:// and so on.

        A table that isn't there is made: of the first records' types, or of those in
        `types`, {column: Polars type}; with a directory for each value of the columns in
        `partition_by`. `evolve` adds columns that later records have. `storage_options`
        are those of the package deltalake; secrets among them are kept as such.

        Raises:
            MissingDependencyError: deltalake isn't installed.
        """
        needed("deltalake", "delta", "DeltaSink")
        needed("pyarrow", "delta", "DeltaSink")
        text = str(uri)
        self._is_remote = len(urlsplit(text).scheme) > 1 and "://" in text
        self._uri = text if self._is_remote else str(Path(text).absolute())
        options = options_apart(storage_options or {}, "delta")
        super().__init__(options, partition_by, types, evolve=evolve)

    @property
    def identity(self) -> str:
        """The table's URI."""
        return f"Delta table {without_password(self._uri)}"

    # On the driver.

    @contextmanager
    def _library(self) -> Iterator[Any]:
        yield needed("deltalake", "delta", "DeltaSink")

    def _opened(self, deltalake: Any, output: str, run: int) -> Opening:
        options = self._storage_options()
        if not deltalake.DeltaTable.is_deltatable(self._uri, options):
            # A run has to be known before there are records, and a column at least.
            deltalake.DeltaTable.create(
                self._uri,
                deltalake.Schema([deltalake.Field(_EMPTY, "boolean")]),
                storage_options=options,
                commit_properties=_marks({_run_of(output): run}),
            )
            return Opening(run, None)
        table = self._table(deltalake)
        known = table.transaction_version(_run_of(output))
        kept = run if known is None else max(known + 1, run)
        _commit_marks(table, {_run_of(output): kept})
        return Opening(kept, table.transaction_version(output))

    def _committed(
        self, deltalake: Any, batch: SinkBatch, written: Mapping[int, HandedOver]
    ) -> None:
        table = self._table(deltalake)
        if self._is_there(table, batch):
            return
        schema = stored(unified(schemas_of(written), self._types), _type_of)
        target, options = self._target(table, schema)
        place = self._place(batch.output).of_run(batch.run)
        frames = frames_of(written, lambda: place)
        with (
            read_in_a_thread(frames) as read,
            as_arrow(fitted(read, target, self.identity), target) as reader,
        ):
            deltalake.write_deltalake(
                table,  # As it was when the marks were looked at.
                reader,
                commit_properties=_marks(
                    {batch.output: batch.time_ms, _run_of(batch.output): batch.run}
                ),
                # The library has a file in memory until it is full.
                target_file_size=_FILE_BYTES,
                **options,
            )

    def _target(
        self, table: Any, schema: pl.Schema
    ) -> tuple[pl.Schema, dict[str, Any]]:
        """Return what records have to be like, and how they are to be written."""
        known = polars_schema(table.schema().to_arrow())
        if list(known) == [_EMPTY]:
            check_can_be_made(self.identity, schema, "Polars type")
            return schema, {
                "mode": "overwrite",
                "schema_mode": "overwrite",
                "partition_by": list(self._partition_by) or None,
            }
        self._check_partitioned_by(table.metadata().partition_columns)
        empty = pl.DataFrame(schema=schema)
        new = new_columns(empty, known, self.identity, evolve=self._evolve)
        target = {name: known.get(name, dtype) for name, dtype in schema.items()}
        if not new:
            # Columns that records lack are None.
            return pl.Schema({**known, **target}), {"mode": "append"}
        return pl.Schema({**known, **target}), {
            "mode": "append",
            "schema_mode": "merge",
        }

    def _marks_of(self, table: Any, output: str) -> Marks:
        return Marks(
            table.transaction_version(_run_of(output)) or 0,
            table.transaction_version(output),
        )

    # Errors.

    def _is_late(self, error: BaseException | None) -> bool:
        deltalake = needed("deltalake", "delta", "DeltaSink")
        return isinstance(error, deltalake.exceptions.CommitFailedError)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Tell errors of the library, and of what it reads and writes, as ours."""
        deltalake = needed("deltalake", "delta", "DeltaSink")
        try:
            yield
        except SparkError:
            raise
        except (deltalake.exceptions.DeltaError, OSError, ValueError) as error:
            msg = f"{self.identity}: {self._shown(error)}"
            raise TableError(msg, hint=_HINT) from error

    # Storage.

    def _table(self, deltalake: Any) -> Any:
        return deltalake.DeltaTable(self._uri, storage_options=self._storage_options())

    def _storage_options(self) -> dict[str, str]:
        given = revealed(self._options)
        if not self._is_remote:
            return given
        names = {name.lower().removeprefix("aws_") for name in given}
        known = {name: value for name, value in _BOUNDS.items() if name not in names}
        if urlsplit(self._uri).scheme in {"s3", "s3a"} and not names & {
            "conditional_put",
            "s3_locking_provider",
            "s3_allow_unsafe_rename",
        }:
            # A version is put only where there is none: S3 itself refuses the second one.
            known["conditional_put"] = "etag"
        return {**known, **given}

    def _place(self, output: str) -> Place:
        from pyarrow.fs import LocalFileSystem  # noqa: PLC0415

        # Readers of such a table leave alone what begins with `_`.
        if not self._is_remote:
            path = f"{self._uri}/_millstream"
            return Place.beside(LocalFileSystem(), path, output)
        files = _files_of(self._uri, self._storage_options())
        return Place.beside(files, "_millstream", output)


def _files_of(uri: str, options: Mapping[str, str]) -> Any:
    """Return a table's storage as pyarrow has it, with the table's own settings."""
    import pyarrow as pa  # noqa: PLC0415
    from deltalake.fs import DeltaStorageHandler  # noqa: PLC0415
    from pyarrow.fs import PyFileSystem  # noqa: PLC0415

    class Files(DeltaStorageHandler):
        def open_output_stream(self, path: str, metadata: Any = None) -> Any:
            out = self._handler.open_output_stream(path, metadata)
            return pa.PythonFile(_TakesBuffers(out), mode="w")

    return PyFileSystem(Files(uri, dict(options)))


class _TakesBuffers:
    """A file of deltalake's, which takes bytes only, as pyarrow wants one."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, data: Any) -> Any:
        return self._file.write(bytes(data))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


_HINT = (
    "check that the storage is there, and its options; the batch is tried again with the "
    "next one"
)


def _run_of(output: str) -> str:
    return f"{output}.run"


def _marks(versions: Mapping[str, int]) -> Any:
    deltalake = needed("deltalake", "delta", "DeltaSink")
    return deltalake.CommitProperties(
        app_transactions=[
            deltalake.Transaction(name, version) for name, version in versions.items()
        ]
    )


def _commit_marks(table: Any, versions: Mapping[str, int]) -> None:
    table.create_write_transaction(
        [],
        "append",
        table.schema(),
        list(table.metadata().partition_columns),
        commit_properties=_marks(versions),
    )


def _type_of(dtype: pl.DataType) -> pl.DataType | None:
    # Delta Lake has no time of day.
    return pl.String() if dtype == pl.Time else lake_type(dtype)
