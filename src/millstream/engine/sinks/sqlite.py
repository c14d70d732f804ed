"""SqliteSink: batches go to a table in a SQLite file, each row once, with their marks.

Partitions take turns: SQLite has one writer at a time. Upserts are gathered in a table
beside, and go to the real one all at once, so that the last record of a key wins.
"""

# ruff: noqa: S608  Names are quoted, and values are parameters.

import secrets
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from millstream.engine.base.errors import IllegalStateError, SparkError
from millstream.engine.sinks.contract import (
    Opening,
    Sink,
    SinkBatch,
    check_partitions,
    check_run,
)
from millstream.engine.sinks.records import Records
from millstream.engine.sinks.tables.errors import TableError
from millstream.engine.sinks.tables.fitting import check_can_be_made
from millstream.engine.sinks.tables.frame_spool import FrameSpool
from millstream.engine.sinks.tables.sql import (
    as_json,
    check_mode,
    create_table,
    names,
    new_columns,
    on_conflict,
    parts_of,
    quoted,
    types_for,
    without_unknown,
)

T = TypeVar("T")
_WHOLE = -1
_ATTEMPT, _PART = "millstream_attempt", "millstream_part"
_PLAIN: Mapping[Any, str] = {
    **dict.fromkeys((pl.Boolean, pl.Int8, pl.Int16, pl.Int32, pl.Int64), "INTEGER"),
    **dict.fromkeys((pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64), "INTEGER"),
    **dict.fromkeys((pl.Float32, pl.Float64), "REAL"),
    **dict.fromkeys((pl.String, pl.Categorical, pl.Enum, pl.Decimal), "TEXT"),
    **dict.fromkeys((pl.Date, pl.Datetime, pl.Time), "TEXT"),
    **dict.fromkeys((pl.List, pl.Array, pl.Struct), "TEXT"),
    pl.Duration: "INTEGER",
    pl.Binary: "BLOB",
}


class SqliteSink(Sink[Any]):
    """Writes records to a table in a SQLite file: dicts, rows, dataclasses, or columns."""

    def __init__(
        self,
        path: str | Path,
        table: str,
        *,
        mode: str = "append",
        key: Sequence[str] = (),
        create: bool = True,
        evolve: bool = False,
        types: Mapping[str, str] | None = None,
        marks: str = "millstream_commits",
        timeout_s: float = 30.0,
    ) -> None:
        """Write to `table` of the file at `path`, which is made if it isn't there.

        With `mode="upsert"`, records replace rows of the same `key`. `create` has a table
        made that isn't there, a STRICT one of the first records' types, or of those in
        `types`, {column: INTEGER, REAL, TEXT, BLOB or ANY}; `evolve` adds columns that
        later records have. `marks` is the table that says which batches are committed.
        `timeout_s` bounds the wait for other writers.

        Raises:
            PySparkValueError: An argument can't be used.
        """
        check_mode(mode, key)
        self._path = str(Path(path).absolute())
        self._name = ".".join(parts_of((table,)))
        self._table = quoted(self._name)
        self._mode, self._key = mode, tuple(key)
        self._create, self._evolve = create, evolve
        self._types = dict(types or {})
        self._marks = quoted(marks)
        self._timeout_s = timeout_s

    @property
    def identity(self) -> str:
        """The file and the table."""
        return f"{self._path} table {self._name}"

    # On the driver.

    def open(self, output: str, run: int) -> Opening:
        """Make the table of marks, and keep the run's number in it."""
        return self._in_transaction(
            lambda database: self._opened(database, output, run)
        )

    def _opened(self, database: sqlite3.Connection, output: str, run: int) -> Opening:
        database.execute(
            f"CREATE TABLE IF NOT EXISTS {self._marks} (output TEXT, part INTEGER, "
            "batch_ms INTEGER, partitions INTEGER, run INTEGER NOT NULL, "
            "PRIMARY KEY (output, part)) STRICT"
        )
        kept: int = database.execute(
            f"INSERT INTO {self._marks} (output, part, run) VALUES (?, ?, ?) "
            "ON CONFLICT (output, part) DO UPDATE SET run = max(run + 1, excluded.run) "
            "RETURNING run",
            (output, _WHOLE, run),
        ).fetchall()[0][0]
        database.execute(f"DROP TABLE IF EXISTS {self._staging(output)}")
        newest_ms = database.execute(
            f"SELECT max(batch_ms) FROM {self._marks} WHERE output = ?", (output,)
        ).fetchone()[0]
        return Opening(kept, newest_ms)

    def begin(self, batch: SinkBatch) -> Collection[int]:
        """Return the partitions whose marks are at the batch."""
        return self._in_transaction(lambda database: self._begun(database, batch))

    def _begun(self, database: sqlite3.Connection, batch: SinkBatch) -> Collection[int]:
        self._check_run(database, batch)
        found = database.execute(
            f"SELECT part, batch_ms, partitions FROM {self._marks} "
            "WHERE output = ? AND batch_ms >= ?",
            (batch.output, batch.time_ms),
        ).fetchall()
        for _, batch_ms, partitions in found:
            if batch_ms == batch.time_ms:
                check_partitions(batch, partitions, self.identity)
        there = {part for part, _, _ in found}
        return range(batch.partitions) if _WHOLE in there else there

    def commit(self, batch: SinkBatch, written: Mapping[int, Any]) -> None:
        """Take upserts from the table beside to the real one."""
        if self._mode == "upsert":
            self._in_transaction(
                lambda database: self._merged(database, batch, list(written.values()))
            )

    # In tasks.

    def check(self, records: Records[Any]) -> None:
        """Raise if some of these records have no place in a table."""
        records.check_tables()

    def write(self, batch: SinkBatch, partition: int, records: Records[Any]) -> Any:
        """Commit one partition; or, for upserts, stage it, and return what is staged."""
        # All are there before others have to wait.
        with FrameSpool.of(records.tables()) as spool:
            work = self._staged if self._mode == "upsert" else self._appended
            return self._in_transaction(
                lambda database: work(database, batch, partition, spool)
            )

    def _appended(
        self,
        database: sqlite3.Connection,
        batch: SinkBatch,
        partition: int,
        spool: FrameSpool,
    ) -> None:
        self._check_run(database, batch)
        is_new = database.execute(
            f"INSERT INTO {self._marks} (output, part, batch_ms, partitions, run) "
            "VALUES (?, ?, ?, ?, ?) ON CONFLICT (output, part) DO UPDATE "
            "SET batch_ms = excluded.batch_ms, partitions = excluded.partitions, "
            "run = excluded.run WHERE batch_ms < excluded.batch_ms RETURNING 1",
            (batch.output, partition, batch.time_ms, batch.partitions, batch.run),
        ).fetchall()
        if not is_new:
            return
        for frame in spool.frames():
            ready = self._prepared(database, frame)
            _insert(database, self._table, ready, {})

    def _prepared(
        self, database: sqlite3.Connection, frame: pl.DataFrame
    ) -> pl.DataFrame:
        """Return records as the table takes them, which has all their columns."""
        known = _columns(database, self._table)
        if not known:
            types = types_for(frame, self._types, _type_of)
            check_can_be_made(self.identity, types, "type in SQL", create=self._create)
            database.execute(create_table(self._table, types, self._key, " STRICT"))
            known = list(types)
        new = new_columns(frame, known, self.identity, evolve=self._evolve)
        for name, kind in types_for(frame.select(new), {}, _type_of).items():
            kind_of = self._types.get(name, kind)
            database.execute(
                f"ALTER TABLE {self._table} ADD COLUMN {quoted(name)} {kind_of}"
            )
        return without_unknown(frame, [*known, *new])

    # Upserts.

    def _staging(self, output: str) -> str:
        digest = sha256(f"{output}\0{self._name}".encode()).hexdigest()[:12]
        return quoted(f"millstream_staged_{digest}")

    def _staged(
        self,
        database: sqlite3.Connection,
        batch: SinkBatch,
        partition: int,
        spool: FrameSpool,
    ) -> "_Staged":
        self._check_run(database, batch)
        # Each attempt has its own number: what another one has staged isn't merged.
        attempt, staging = secrets.randbits(60), self._staging(batch.output)
        columns: dict[str, None] = {}
        database.execute(f"CREATE TABLE IF NOT EXISTS {staging} ({_ATTEMPT}, {_PART})")
        for frame in spool.frames():
            ready = self._prepared(database, frame)
            there = _columns(database, staging)
            for name in ready.columns:
                if name not in there:
                    database.execute(f"ALTER TABLE {staging} ADD COLUMN {quoted(name)}")
            columns.update(dict.fromkeys(ready.columns))
            _insert(database, staging, ready, {_ATTEMPT: attempt, _PART: partition})
        return _Staged(attempt, tuple(columns))

    def _merged(
        self,
        database: sqlite3.Connection,
        batch: SinkBatch,
        parts: "Sequence[_Staged]",
    ) -> None:
        batch_ms = self._check_run(database, batch)
        if batch_ms is not None and batch_ms >= batch.time_ms:
            return
        columns = list(dict.fromkeys(name for each in parts for name in each.columns))
        staging = self._staging(batch.output)
        if columns:
            marks = ", ".join("?" * len(parts))
            # One after the other, so that the last one of a key wins.
            database.execute(
                f"INSERT INTO {self._table} ({names(columns)}) "
                f"SELECT {names(columns)} FROM {staging} WHERE {_ATTEMPT} IN ({marks}) "
                f"ORDER BY {_PART}, rowid {on_conflict(self._key, columns)}",
                [each.attempt for each in parts],
            )
        database.execute(f"DELETE FROM {staging}")
        database.execute(
            f"UPDATE {self._marks} SET batch_ms = ?, partitions = ? "
            "WHERE output = ? AND part = ?",
            (batch.time_ms, batch.partitions, batch.output, _WHOLE),
        )

    # Both.

    def _check_run(self, database: sqlite3.Connection, batch: SinkBatch) -> int | None:
        """Refuse an older run; return the batch that is committed as one."""
        found = database.execute(
            f"SELECT run, batch_ms FROM {self._marks} WHERE output = ? AND part = ?",
            (batch.output, _WHOLE),
        ).fetchone()
        if found is None:
            msg = f"the marks of output '{batch.output}' are gone from {self.identity}"
            raise IllegalStateError(
                msg, hint="nothing but this program may change them; start it anew"
            )
        check_run(batch, found[0], self.identity)
        batch_ms: int | None = found[1]
        return batch_ms

    def _in_transaction(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            with self._database() as database:
                database.execute("BEGIN IMMEDIATE")
                made = work(database)
                database.execute("COMMIT")
                return made
        except OverflowError as error:
            msg = (
                f"{self.identity}: a whole number has more than 64 bits, with its sign"
            )
            raise TableError(msg, hint="map it to text") from error
        except sqlite3.Error as error:
            is_busy = "locked" in str(error)
            hint = (
                f"another program has been writing for {self._timeout_s:g} s: see timeout_s"
                if is_busy
                else None
            )
            msg = f"{self.identity}: {error}"
            raise TableError(msg, hint=hint) from error

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        database = sqlite3.connect(
            self._path, timeout=self._timeout_s, isolation_level=None
        )
        try:
            # Readers don't wait for writers, nor these for them.
            database.execute("PRAGMA journal_mode = WAL")
            # What is committed is on disk: the program won't write it again.
            database.execute("PRAGMA synchronous = FULL")
            yield database
        finally:
            database.close()  # What isn't committed is rolled back.


@dataclass(frozen=True, slots=True)
class _Staged:
    """What one attempt of a task has put beside the table."""

    attempt: int
    columns: tuple[str, ...]


def _type_of(dtype: pl.DataType) -> str | None:
    return _PLAIN.get(dtype.base_type())


def _columns(database: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in database.execute(f"PRAGMA table_info({table})")]


def _insert(
    database: sqlite3.Connection,
    table: str,
    frame: pl.DataFrame,
    constants: Mapping[str, int],
) -> None:
    columns = [_plain(each) for each in frame.get_columns()]
    places = ", ".join("?" * len(columns))
    fixed = "".join(f"{value}, " for value in constants.values())
    database.executemany(
        f"INSERT INTO {table} ({names([*constants, *frame.columns])}) "
        f"VALUES ({fixed}{places})",
        zip(*(each.to_list() for each in columns), strict=True),
    )


def _plain(series: pl.Series) -> pl.Series:
    """Return values as SQLite has them: it has no dates, decimals and lists."""
    match series.dtype:
        case pl.Datetime(time_zone=None):
            return series.dt.strftime("%Y-%m-%d %H:%M:%S%.6f")
        case pl.Datetime():
            in_utc = series.dt.convert_time_zone("UTC")
            return in_utc.dt.strftime("%Y-%m-%d %H:%M:%S%.6f+00:00")
        case pl.Time():
            return series.dt.strftime("%H:%M:%S%.6f")
        case pl.Date() | pl.Decimal() | pl.Categorical() | pl.Enum():
            return series.cast(pl.String)
        case pl.Duration():
            return series.dt.total_microseconds()
        case pl.List() | pl.Array() | pl.Struct():
            return as_json(series)
        case pl.Float32() | pl.Float64() if series.is_nan().any():
            msg = f"column '{series.name}' has a NaN, which SQLite would take for None"
            raise SparkError(msg, hint="map it to None, or to another value")
        case _:
            return series
