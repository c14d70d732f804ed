"""IcebergSink: batches go to an Iceberg table, each as one snapshot, with its mark.

The mark is in the table's properties, which last, and in the snapshot's summary, for who
looks at the history. A commit holds only if the snapshot is still the one that the marks
were read with: the library's own retries, which would let a stale writer in, are off. A new
run adds an empty snapshot, so that whatever an older one is about to commit is refused.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import polars as pl

from millstream.engine.base.errors import PySparkTypeError, SparkError
from millstream.engine.base.extras import needed
from millstream.engine.base.secrets import Secret, revealed
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


class IcebergSink(LakeSink):
    """Writes records to an Iceberg table: dicts, rows, dataclasses, or columns."""

    def __init__(
        self,
        catalog: Mapping[str, str | Secret],
        table: str | Sequence[str],
        *,
        partition_by: Sequence[str] = (),
        evolve: bool = False,
        types: Types | None = None,
    ) -> None:
        """Append to `table`, "namespace.table", of a catalog.

        `catalog` has the properties of the package pyiceberg, such as {"type": "sql",
        "uri": "sqlite:////data/catalog.db", "warehouse": "file:///data"}, and "name" if it
        isn't called "default"; secrets among them are kept as such. A namespace or table
        that isn't there is made: the table of the first records' types, or of those in
        `types`, {column: Polars type}, partitioned by the columns in `partition_by`.
        `evolve` adds columns that later records have.

        Raises:
            MissingDependencyError: pyiceberg isn't installed.
            PySparkTypeError: The table isn't named so.
        """
        needed("pyiceberg", "iceberg", "IcebergSink")
        needed("pyarrow", "iceberg", "IcebergSink")
        parts = tuple(table.split(".")) if isinstance(table, str) else tuple(table)
        if len(parts) < 2 or not all(parts):
            msg = f"an Iceberg table is named 'namespace.table', not {table!r}"
            raise PySparkTypeError(msg)
        self._parts = parts
        settings = dict(catalog)
        self._catalog_name = str(settings.pop("name", "default"))
        options = options_apart(settings, "iceberg")
        super().__init__(options, partition_by, types, evolve=evolve)

    @property
    def identity(self) -> str:
        """The catalog's name and the table's."""
        return f"Iceberg table {self._catalog_name}.{'.'.join(self._parts)}"

    # On the driver.

    def _opened(self, catalog: Any, output: str, run: int) -> Opening:
        exceptions = needed("pyiceberg.exceptions", "iceberg", "IcebergSink")
        try:
            table = self._table(catalog)
        except (exceptions.NoSuchTableError, exceptions.NoSuchNamespaceError):
            table = self._made(catalog)
        known = table.properties.get(_run_of(output))
        kept = run if known is None else max(int(known) + 1, run)
        with table.transaction() as transaction:
            transaction.set_properties({_run_of(output): str(kept)})
            # A snapshot, so that commits which are under way are refused.
            transaction.append(
                table.schema().as_arrow().empty_table(),
                snapshot_properties={_run_of(output): str(kept)},
            )
        newest = table.properties.get(_batch_of(output))
        return Opening(kept, None if newest is None else int(newest))

    def _committed(
        self, catalog: Any, batch: SinkBatch, written: Mapping[int, HandedOver]
    ) -> None:
        table = self._table(catalog)
        if self._is_there(table, batch):
            return
        schema = stored(unified(schemas_of(written), self._types), lake_type)
        marks = {
            _batch_of(batch.output): str(batch.time_ms),
            _run_of(batch.output): str(batch.run),
        }
        place = self._place(batch.output).of_run(batch.run)
        frames = frames_of(written, lambda: place)
        with table.transaction() as transaction:
            target = self._target(table, transaction, schema)
            with as_arrow(fitted(frames, target, self.identity), target) as reader:
                # The library reads tables with partitions at once only.
                is_whole = bool(transaction.table_metadata.spec().fields)
                data = reader.read_all() if is_whole else reader
                transaction.append(data, snapshot_properties=marks)
            transaction.set_properties(marks)

    def _target(self, table: Any, transaction: Any, schema: pl.Schema) -> pl.Schema:
        """Return what records have to be like, when the table has their columns."""
        known = polars_schema(table.schema().as_arrow())
        is_new = not known
        if is_new:
            check_can_be_made(self.identity, schema, "Polars type")
        fields = [table.schema().find_field(f.source_id) for f in table.spec().fields]
        if not is_new:
            self._check_partitioned_by([field.name for field in fields])
        empty = pl.DataFrame(schema=schema)
        evolve = self._evolve or is_new
        new = new_columns(empty, known, self.identity, evolve=evolve)
        if new:
            with (
                as_arrow(iter(()), {name: schema[name] for name in new}) as reader,
                transaction.update_schema() as update,
            ):
                update.union_by_name(reader.schema)
        if is_new and self._partition_by:
            with transaction.update_spec() as spec:
                for name in self._partition_by:
                    spec.add_identity(name)
        return pl.Schema({**schema, **known})

    def _marks_of(self, table: Any, output: str) -> Marks:
        newest_ms = table.properties.get(_batch_of(output))
        return Marks(
            int(table.properties.get(_run_of(output), 0)),
            None if newest_ms is None else int(newest_ms),
        )

    # Errors.

    def _is_late(self, error: BaseException | None) -> bool:
        exceptions = needed("pyiceberg.exceptions", "iceberg", "IcebergSink")
        return isinstance(error, exceptions.CommitFailedException)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Tell errors of the library, and of what it reads and writes, as ours."""
        try:
            yield
        except SparkError:
            raise
        except Exception as error:
            # The library lets through those of its catalogs' and storages' clients.
            msg = f"{self.identity}: {type(error).__name__}: {self._shown(error)}"
            raise TableError(msg, hint=_HINT) from error

    # The catalog.

    @contextmanager
    def _library(self) -> Iterator[Any]:
        catalogs = needed("pyiceberg.catalog", "iceberg", "IcebergSink")
        catalog = catalogs.load_catalog(self._catalog_name, **revealed(self._options))
        try:
            yield catalog
        finally:
            catalog.close()

    def _table(self, catalog: Any) -> Any:
        table = catalog.load_table(self._parts)
        # The library tries a commit again, and so lets in who began before another one.
        # This is of the object only, not of the table.
        changed = {**table.properties, "commit.retry.num-retries": "0"}
        table.metadata = table.metadata.model_copy(update={"properties": changed})
        return table

    def _made(self, catalog: Any) -> Any:
        exceptions = needed("pyiceberg.exceptions", "iceberg", "IcebergSink")
        schemas = needed("pyiceberg.schema", "iceberg", "IcebergSink")
        catalog.create_namespace_if_not_exists(self._parts[:-1])
        with suppress(exceptions.TableAlreadyExistsError):  # By another run, just now.
            # A run has to be known before there are records: columns come with these.
            catalog.create_table(self._parts, schemas.Schema())
        return self._table(catalog)

    def _place(self, output: str) -> Place:
        """Return where large partitions wait, in the table's own storage."""
        arrow_io = needed("pyiceberg.io.pyarrow", "iceberg", "IcebergSink")
        with self._library() as catalog:
            table = self._table(catalog)
        location = f"{table.location().rstrip('/')}/_millstream"
        files = arrow_io.PyArrowFileIO(table.io.properties)
        scheme, host, path = arrow_io.PyArrowFileIO.parse_location(location)
        return Place.beside(files.fs_by_scheme(scheme, host), path, output)


_HINT = (
    "check that catalog and storage are there, and their settings; the batch is tried "
    "again with the next one"
)


def _run_of(output: str) -> str:
    return f"millstream.{output}.run"


def _batch_of(output: str) -> str:
    return f"millstream.{output}.batch-ms"
