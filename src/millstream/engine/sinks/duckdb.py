"""DuckDbSink: batches go to a table in a DuckDB file, each as one, with its mark.

One process at a time can have such a file open, so the tasks hand over what they have to
the driver, which opens the file for the time of a commit.
"""

# ruff: noqa: S608  Names are quoted, and values are parameters.

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from millstream.engine.base.clock import monotonic_s
from millstream.engine.base.errors import IllegalStateError
from millstream.engine.base.extras import needed
from millstream.engine.sinks.contract import (
    Opening,
    Sink,
    SinkBatch,
    check_partitions,
    check_run,
)
from millstream.engine.sinks.records import Records
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
    hand_over,
    has_files,
    schemas_of,
)
from millstream.engine.sinks.tables.sql import (
    check_mode,
    create_table,
    names,
    new_columns,
    on_conflict,
    parts_of,
    qualified,
    quoted,
)

T = TypeVar("T")
_LOOK_S = 0.05
_PLACE = "millstream_place"


class DuckDbSink(Sink[Any]):
    """Writes records to a table in a DuckDB file: dicts, rows, dataclasses, or columns."""

    def __init__(
        self,
        path: str | Path,
        table: str | Sequence[str],
        *,
        mode: str = "append",
        key: Sequence[str] = (),
        create: bool = True,
        evolve: bool = False,
        types: Types | None = None,
        marks: str = "millstream_commits",
        timeout_s: float = 30.0,
    ) -> None:
        """Write to `table`, "table" or "schema.table", of the file at `path`.

        With `mode="upsert"`, records replace rows of the same `key`. `create` has a table
        made that isn't there, of the first records' types, or of those in `types`, {column:
        Polars type}; `evolve` adds columns that later records have. `marks` is the table,
        in the same schema, that says which batches are committed. `timeout_s` bounds the
        wait for another process that has the file open.

        Raises:
            MissingDependencyError: duckdb isn't installed.
            PySparkValueError: An argument can't be used.
            PySparkTypeError: An argument is of the wrong type.
        """
        check_mode(mode, key)
        needed("duckdb", "duckdb", "DuckDbSink")
        needed("pyarrow", "duckdb", "DuckDbSink")
        self._path = str(Path(path).absolute())
        self._parts = parts_of(table)
        self._table = qualified(self._parts)
        self._mode, self._key = mode, tuple(key)
        self._create, self._evolve = create, evolve
        self._types = dict(types or {})
        self._marks = qualified((*self._parts[:-1], marks))
        self._timeout_s = timeout_s

    @property
    def identity(self) -> str:
        """The file and the table."""
        return f"{self._path} table {'.'.join(self._parts)}"

    # On the driver.

    def open(self, output: str, run: int) -> Opening:
        """Make the table of marks, and keep the run's number in it."""
        opening = self._in_transaction(lambda db: self._opened(db, output, run))
        self._place(output).clear()
        return opening

    def _opened(self, database: Any, output: str, run: int) -> Opening:
        database.execute(
            f"CREATE TABLE IF NOT EXISTS {self._marks} (output VARCHAR PRIMARY KEY, "
            "batch_ms BIGINT, partitions INTEGER, run BIGINT NOT NULL)"
        ).fetchall()
        known = self._mark(database, output)
        if known is None:
            database.execute(
                f"INSERT INTO {self._marks} (output, run) VALUES (?, ?)", (output, run)
            ).fetchall()
            return Opening(run, None)
        known_run, newest_ms, _ = known
        kept = max(known_run + 1, run)
        database.execute(
            f"UPDATE {self._marks} SET run = ? WHERE output = ?", (kept, output)
        ).fetchall()
        return Opening(kept, newest_ms)

    def begin(self, batch: SinkBatch) -> Collection[int]:
        """Return all partitions, if the batch is committed."""
        return self._in_transaction(
            lambda db: range(batch.partitions) if self._is_there(db, batch) else ()
        )

    def check(self, records: Records[Any]) -> None:
        """Raise if some of these records have no place in a table."""
        records.check_tables()

    def write(self, batch: SinkBatch, partition: int, records: Records[Any]) -> Any:
        """Return a partition for the driver."""
        return hand_over(
            records,
            batch,
            partition,
            lambda: self._place(batch.output).of_run(batch.run),
        )

    def commit(self, batch: SinkBatch, written: Mapping[int, Any]) -> None:
        """Commit the batch, with its mark, in one transaction."""
        self._in_transaction(lambda db: self._committed(db, batch, written))
        if has_files(written):
            self._place(batch.output).of_run(batch.run).clear()

    def abort(self, batch: SinkBatch) -> None:
        """Delete files that tasks have handed over."""
        self._place(batch.output).of_run(batch.run).clear()

    def _committed(
        self, database: Any, batch: SinkBatch, written: Mapping[int, HandedOver]
    ) -> None:
        if self._is_there(database, batch):
            return
        schema = stored(unified(schemas_of(written), self._types), _type_of)
        if any(each.rows for each in written.values()):
            self._insert(database, batch, written, schema)
        database.execute(
            f"UPDATE {self._marks} SET batch_ms = ?, partitions = ? WHERE output = ?",
            (batch.time_ms, batch.partitions, batch.output),
        ).fetchall()

    def _insert(
        self,
        database: Any,
        batch: SinkBatch,
        written: Mapping[int, HandedOver],
        schema: pl.Schema,
    ) -> None:
        known = self._prepared(database, schema)
        target = pl.Schema(
            {
                name: known[name] or kind
                for name, kind in schema.items()
                if name in known
            }
        )
        frames = frames_of(written, lambda: self._place(batch.output).of_run(batch.run))
        ready = fitted(frames, target, self.identity)
        columns = names(target)
        statement = f"SELECT {columns} FROM millstream_rows"
        if self._mode == "upsert":
            target = pl.Schema({_PLACE: pl.UInt64(), **target})
            ready = _numbered(ready)
            # DuckDB refuses to update a row twice: of each key the last one is taken.
            statement += (
                f" QUALIFY row_number() OVER (PARTITION BY {names(self._key)} "
                f"ORDER BY {_PLACE} DESC) = 1 "
                f"{on_conflict(self._key, list(target)[1:])}"
            )
        with as_arrow(ready, target) as reader:
            database.register("millstream_rows", reader)
            database.execute(
                f"INSERT INTO {self._table} ({columns}) {statement}"
            ).fetchall()

    def _prepared(
        self, database: Any, schema: pl.Schema
    ) -> Mapping[str, pl.DataType | None]:
        """Return the table's columns, when it has all those of the records."""
        known = self._columns(database)
        if not known:
            check_can_be_made(self.identity, schema, "Polars type", create=self._create)
            types = _sql_types(database, schema)
            database.execute(create_table(self._table, types, self._key)).fetchall()
            return self._columns(database)
        empty = pl.DataFrame(schema=schema)
        new = new_columns(empty, known, self.identity, evolve=self._evolve)
        types = _sql_types(database, schema) if new else {}
        for name in new:
            database.execute(
                f"ALTER TABLE {self._table} ADD COLUMN {quoted(name)} {types[name]}"
            ).fetchall()
        return self._columns(database) if new else known

    def _columns(self, database: Any) -> Mapping[str, pl.DataType | None]:
        """Return the table's columns, None for a type that only DuckDB has.

        There are none if the table isn't there.
        """
        schema, name = ("main", *self._parts)[-2:]
        there = database.execute(
            "SELECT 1 FROM information_schema.tables WHERE table_schema = ? "
            "AND table_name = ? AND table_catalog = current_database()",
            (schema, name),
        ).fetchall()
        if not there:
            return {}
        table = database.sql(f"SELECT * FROM {self._table} LIMIT 0").to_arrow_table()
        return {field.name: _polars_type(field.type) for field in table.schema}

    # Marks.

    def _mark(self, database: Any, output: str) -> Any:
        found = database.execute(
            f"SELECT run, batch_ms, partitions FROM {self._marks} WHERE output = ?",
            (output,),
        ).fetchall()
        return found[0] if found else None

    def _is_there(self, database: Any, batch: SinkBatch) -> bool:
        """Say whether a batch is committed; refuse an older run."""
        mark = self._mark(database, batch.output)
        if mark is None:
            msg = f"the mark of output '{batch.output}' is gone from {self.identity}"
            raise IllegalStateError(
                msg, hint="nothing but this program may change it; start it anew"
            )
        run, batch_ms, partitions = mark
        check_run(batch, run, self.identity)
        if batch_ms == batch.time_ms:
            check_partitions(batch, partitions, self.identity)
        return batch_ms is not None and batch_ms >= batch.time_ms

    # Connections.

    def _place(self, output: str) -> Place:
        from pyarrow.fs import LocalFileSystem, SubTreeFileSystem  # noqa: PLC0415

        path = Path(self._path)
        files = SubTreeFileSystem(str(path.parent), LocalFileSystem())
        return Place.beside(files, f"{path.name}.millstream", output)

    def _in_transaction(self, work: Callable[[Any], T]) -> T:
        duckdb = needed("duckdb", "duckdb", "DuckDbSink")
        try:
            with self._database() as database:
                database.begin()
                made = work(database)
                database.commit()
                return made
        except duckdb.Error as error:
            text = " ".join(str(error).split())
            msg = f"{self.identity}: {text}"
            hint = _LOCKED if "lock" in text else None
            raise TableError(msg, hint=hint) from error

    @contextmanager
    def _database(self) -> Iterator[Any]:
        """Open the file; when another process has it, look again for some time."""
        duckdb = needed("duckdb", "duckdb", "DuckDbSink")
        until_s = monotonic_s() + self._timeout_s
        database: Any = None
        while database is None:
            try:
                database = duckdb.connect(self._path)
            except duckdb.IOException as error:
                if "lock" not in str(error) or monotonic_s() > until_s:
                    raise
                threading.Event().wait(_LOOK_S)
        try:
            yield database
        finally:
            database.close()  # What isn't committed is rolled back.


_LOCKED = (
    "another process has the file open: close it, or read a copy; timeout_s is how long to "
    "wait"
)


def _type_of(dtype: pl.DataType) -> Any:
    match dtype:
        case pl.Categorical() | pl.Enum():
            return pl.String()  # Later batches have other values.
        case pl.Datetime(time_zone=str()):
            return pl.Datetime("us", "UTC")
        case pl.Object() | pl.Unknown():
            return None
        case _:
            return dtype


def _polars_type(arrow_type: Any) -> pl.DataType | None:
    import pyarrow as pa  # noqa: PLC0415

    if pa.types.is_interval(arrow_type):
        return pl.Duration("us")
    if pa.types.is_dictionary(arrow_type):
        return pl.String()
    if isinstance(arrow_type, pa.BaseExtensionType):
        return None
    made: Any = pl.from_arrow(pa.array([], arrow_type))
    dtype: pl.DataType = made.dtype
    return dtype


def _sql_types(database: Any, schema: pl.Schema) -> dict[str, str]:
    with as_arrow(iter(()), schema) as reader:
        database.register("millstream_empty", reader)
        found = database.execute("DESCRIBE SELECT * FROM millstream_empty").fetchall()
    return {row[0]: row[1] for row in found}


def _numbered(frames: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    begin = 0
    for frame in frames:
        numbers = pl.arange(begin, begin + frame.height, eager=True, dtype=pl.UInt64)
        yield frame.insert_column(0, numbers.alias(_PLACE))
        begin += frame.height
