"""PostgresSink: batches go to a table of PostgreSQL, each row once, with their marks.

What a partition has is made ready before its transaction begins, so that this one is short
and can be run again: the batch's mark, then COPY. Upserts are gathered in a table beside,
and go to the real one all at once: whichever task was faster, the last record of a key wins.
"""

# ruff: noqa: S608  Names are quoted, and values are parameters.

import secrets
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from hashlib import sha256
from tempfile import SpooledTemporaryFile
from typing import IO, Any, TypeVar, cast

import polars as pl

from millstream.engine.base.errors import (
    IllegalStateError,
    PySparkTypeError,
    PySparkValueError,
)
from millstream.engine.base.extras import needed
from millstream.engine.base.secrets import (
    Secret,
    is_secret_key,
    kept_apart,
    revealed,
)
from millstream.engine.sinks.contract import (
    Opening,
    Sink,
    SinkBatch,
    check_partitions,
    check_run,
)
from millstream.engine.sinks.postgres.columns import PostgresColumn, csv_of, type_of
from millstream.engine.sinks.postgres.connections import close_idle, connected
from millstream.engine.sinks.postgres.copying import (
    Piece,
    Staged,
    Staging,
    columns_of,
    lock_name,
)
from millstream.engine.sinks.records import Records
from millstream.engine.sinks.tables.errors import TableError
from millstream.engine.sinks.tables.fitting import check_can_be_made
from millstream.engine.sinks.tables.sql import (
    check_mode,
    create_table,
    names,
    new_columns,
    parts_of,
    qualified,
    quoted,
    types_for,
    without_unknown,
)

T = TypeVar("T")

_SPOOLED_BYTES = 16 << 20
_TRIES = 5
_WHOLE = -1
"""The partition in whose mark the output's run is, and the batch's where it is one."""


class PostgresSink(Sink[Any]):
    """Writes records to a table of PostgreSQL: dicts, rows, dataclasses, or columns."""

    def __init__(
        self,
        dsn: str | Secret | Mapping[str, Any],
        table: str | Sequence[str],
        *,
        mode: str = "append",
        key: Sequence[str] = (),
        create: bool = True,
        evolve: bool = False,
        types: Mapping[str, str] | None = None,
        marks: str = "millstream_commits",
        timeout_s: float = 30.0,
    ) -> None:
        """Write to `table`, "table" or "schema.table", of the database that `dsn` names.

        `dsn` is a connection string or URL, or libpq's settings as a dict; its password is
        kept as a secret. With `mode="upsert"`, records replace rows of the same `key`.
        `create` has a table made that isn't there, of the first records' types, or of those
        in `types`, {column: type in SQL}; `evolve` adds columns that later records have.
        `marks` is the table, in the same schema, that says which batches are committed.
        `timeout_s` bounds each wait: to connect, for a lock, and for a silent server.

        Raises:
            MissingDependencyError: psycopg isn't installed.
            PySparkValueError: An argument can't be used.
            PySparkTypeError: An argument is of the wrong type.
        """
        check_mode(mode, key)
        self._secret_dsn = dsn if isinstance(dsn, Secret) else None
        self._settings = {} if isinstance(dsn, Secret) else _settings_of(dsn)
        self._parts = parts_of(table)
        self._table = qualified(self._parts)
        self._mode, self._key = mode, tuple(key)
        self._create, self._evolve = create, evolve
        self._types = dict(types or {})
        self._marks = qualified((*self._parts[:-1], marks))
        self._timeout_s = timeout_s

    @property
    def identity(self) -> str:
        """The server, the database and the table."""
        known = self._settings
        host, port = known.get("host", "localhost"), known.get("port", 5432)
        table = ".".join(self._parts)
        if self._secret_dsn is not None:
            return f"PostgreSQL table {table}"
        return f"postgresql://{host}:{port}/{known.get('dbname', '')} table {table}"

    # On the driver.

    def open(self, output: str, run: int) -> Opening:
        """Make the table of marks, and keep the run's number in it."""
        return self._in_transaction(lambda cursor: self._opened(cursor, output, run))

    def _opened(self, cursor: Any, output: str, run: int) -> Opening:
        lock_name(cursor, self._marks)
        cursor.execute(
            f"CREATE TABLE IF NOT EXISTS {self._marks} (output text, part integer, "
            "batch_ms bigint, partitions integer, run bigint NOT NULL, "
            "PRIMARY KEY (output, part))"
        )
        # Waits for the transactions of older runs that are under way.
        cursor.execute(
            f"INSERT INTO {self._marks} AS mark (output, part, run) VALUES (%s, %s, %s) "
            "ON CONFLICT (output, part) "
            "DO UPDATE SET run = greatest(mark.run + 1, excluded.run) RETURNING run",
            (output, _WHOLE, run),
        )
        kept: int = cursor.fetchone()[0]
        if self._mode == "upsert":
            self._staging(output).drop(cursor)
        cursor.execute(
            f"SELECT max(batch_ms) FROM {self._marks} WHERE output = %s", (output,)
        )
        return Opening(kept, cursor.fetchone()[0])

    def begin(self, batch: SinkBatch) -> Collection[int]:
        """Return the partitions whose marks are at the batch."""
        return self._in_transaction(lambda cursor: self._begun(cursor, batch))

    def _begun(self, cursor: Any, batch: SinkBatch) -> Collection[int]:
        self._check_run(cursor, batch)
        cursor.execute(
            f"SELECT part, batch_ms, partitions FROM {self._marks} "
            "WHERE output = %s AND batch_ms >= %s",
            (batch.output, batch.time_ms),
        )
        there = set()
        for part, batch_ms, partitions in cursor.fetchall():
            if batch_ms == batch.time_ms:
                check_partitions(batch, partitions, self.identity)
            there.add(part)
        return range(batch.partitions) if _WHOLE in there else there

    def commit(self, batch: SinkBatch, written: Mapping[int, Any]) -> None:
        """Take upserts from the table beside to the real one."""
        if self._mode == "upsert":
            parts = [written[partition] for partition in sorted(written)]
            self._in_transaction(lambda cursor: self._merged(cursor, batch, parts))

    def close(self) -> None:
        """Close this process' connections that nobody uses."""
        close_idle(self._plain_settings(), self._timeout_s)

    # In tasks.

    def check(self, records: Records[Any]) -> None:
        """Raise if some of these records have no place in a table."""
        records.check_tables()

    def write(self, batch: SinkBatch, partition: int, records: Records[Any]) -> Any:
        """Commit one partition; or, for upserts, stage it, and return what is staged."""
        # Each attempt has its own number: what another one has staged isn't merged.
        attempt = secrets.randbits(60) if self._mode == "upsert" else None
        with SpooledTemporaryFile(_SPOOLED_BYTES) as spool:
            file = cast(IO[bytes], spool)
            pieces = self._spooled(file, records, batch, attempt)
            if attempt is not None:
                self._in_transaction(
                    lambda cursor: self._staged(cursor, batch, pieces, file)
                )
                return Staged.of(attempt, pieces)
            self._in_transaction(
                lambda cursor: self._appended(cursor, batch, partition, pieces, file)
            )
        return None

    def _spooled(
        self,
        file: IO[bytes],
        records: Records[Any],
        batch: SinkBatch,
        attempt: int | None,
    ) -> list[Piece]:
        pieces: list[Piece] = []
        known: dict[str, PostgresColumn] = {}
        for frame in records.tables():
            if not frame.height:
                continue
            if not known or _lacks(known, frame):
                known = self._in_transaction(partial(self._prepared, frame, batch))
            ready = without_unknown(frame, known)
            begin = file.tell()
            file.write(csv_of(ready, known, attempt))
            piece = Piece(tuple(ready.columns), begin, file.tell(), frame.height)
            if pieces and pieces[-1].columns == piece.columns:
                piece = pieces.pop().together_with(piece)
            pieces.append(piece)
        return pieces

    def _prepared(
        self, frame: pl.DataFrame, batch: SinkBatch, cursor: Any
    ) -> dict[str, PostgresColumn]:
        """Return the table's columns, when it has all those of the records."""
        known = columns_of(cursor, self._table)
        if not known or _lacks(known, frame):
            lock_name(cursor, self._table)  # Other tasks do the same.
            known = self._made_or_changed(cursor, frame)
        if self._mode == "upsert":
            self._staging(batch.output).prepare(cursor, known)
        return known

    def _made_or_changed(
        self, cursor: Any, frame: pl.DataFrame
    ) -> dict[str, PostgresColumn]:
        known = columns_of(cursor, self._table)
        if not known:
            types = types_for(frame, self._types, type_of)
            check_can_be_made(self.identity, types, "type in SQL", create=self._create)
            cursor.execute(create_table(self._table, types, self._key))
            known = columns_of(cursor, self._table)
        new = new_columns(frame, known, self.identity, evolve=self._evolve)
        types = types_for(frame.select(new), {}, type_of)
        for name in new:
            kind = self._types.get(name, types[name])
            cursor.execute(
                f"ALTER TABLE {self._table} ADD COLUMN {quoted(name)} {kind}"
            )
        return columns_of(cursor, self._table)

    def _appended(
        self,
        cursor: Any,
        batch: SinkBatch,
        partition: int,
        pieces: Sequence[Piece],
        file: IO[bytes],
    ) -> None:
        # Held to the end: a new run waits until this is committed, or refuses it.
        self._check_run(cursor, batch, "FOR SHARE")
        cursor.execute(
            f"INSERT INTO {self._marks} AS mark "
            "(output, part, batch_ms, partitions, run) VALUES (%s, %s, %s, %s, %s) "
            "ON CONFLICT (output, part) DO UPDATE SET batch_ms = excluded.batch_ms, "
            "partitions = excluded.partitions, run = excluded.run "
            "WHERE mark.batch_ms < excluded.batch_ms RETURNING 1",
            (batch.output, partition, batch.time_ms, batch.partitions, batch.run),
        )
        if cursor.fetchone() is None:
            return  # It is there already.
        for piece in pieces:
            piece.copy(cursor, file, self._table, names(piece.columns))

    def _staged(
        self, cursor: Any, batch: SinkBatch, pieces: Sequence[Piece], file: IO[bytes]
    ) -> None:
        self._check_run(cursor, batch, "FOR SHARE")
        for piece in pieces:
            self._staging(batch.output).copy(cursor, piece, file)

    def _merged(self, cursor: Any, batch: SinkBatch, parts: Sequence[Staged]) -> None:
        batch_ms = self._check_run(cursor, batch, "FOR UPDATE")
        if batch_ms is not None and batch_ms >= batch.time_ms:
            return
        self._staging(batch.output).merge(cursor, batch, parts, self.identity)
        cursor.execute(
            f"UPDATE {self._marks} SET batch_ms = %s, partitions = %s "
            "WHERE output = %s AND part = %s",
            (batch.time_ms, batch.partitions, batch.output, _WHOLE),
        )

    def _staging(self, output: str) -> Staging:
        digest = sha256(f"{output}\0{self._table}".encode()).hexdigest()[:12]
        name = qualified((*self._parts[:-1], f"millstream_staged_{digest}"))
        return Staging(name, self._table, self._key)

    # Both.

    def _check_run(self, cursor: Any, batch: SinkBatch, lock: str = "") -> int | None:
        """Refuse an older run; return the batch that is committed as one."""
        cursor.execute(
            f"SELECT run, batch_ms FROM {self._marks} WHERE output = %s AND part = %s "
            f"{lock}",
            (batch.output, _WHOLE),
        )
        found = cursor.fetchone()
        if found is None:
            msg = f"the marks of output '{batch.output}' are gone from {self._marks}"
            raise IllegalStateError(
                msg, hint="nothing but this program may change them; start it anew"
            )
        check_run(batch, found[0], self.identity)
        batch_ms: int | None = found[1]
        return batch_ms

    def _plain_settings(self) -> dict[str, Any]:
        if self._secret_dsn is not None:
            return revealed(_settings_of(self._secret_dsn.reveal()))
        return revealed(self._settings)

    def _in_transaction(self, work: Callable[[Any], T]) -> T:
        """Run a transaction; again, some times, where others were in its way.

        Raises:
            TableError: The server can't be reached, or refuses it.
        """
        psycopg = needed("psycopg", "postgres", "PostgresSink")
        in_the_way = (
            psycopg.errors.SerializationFailure,
            psycopg.errors.DeadlockDetected,
        )
        for attempt in range(1, _TRIES + 1):
            try:
                return self._transaction(work)
            except in_the_way as error:
                if attempt == _TRIES:
                    raise self._error(error) from error
                threading.Event().wait(0.05 * 2**attempt)
            except (psycopg.Error, TimeoutError) as error:
                raise self._error(error) from error
        msg = "the last try returns or raises"
        raise AssertionError(msg)

    def _transaction(self, work: Callable[[Any], T]) -> T:
        settings = self._plain_settings()
        with (
            connected(settings, self._timeout_s) as connection,
            connection.transaction(),
            connection.cursor() as cursor,
        ):
            return work(cursor)

    def _error(self, error: Any) -> TableError:
        text = " ".join(str(error).split())
        for name, value in self._plain_settings().items():
            if is_secret_key(name):
                text = text.replace(value, "*****")
        state = getattr(error, "sqlstate", None)
        is_lost = state is None or state in _UNREACHABLE
        hint = _UNREACHABLE_HINT if is_lost else _HINTS.get(str(state))
        # A message of the server has its own lines, of which the first says it all.
        return TableError(f"{self.identity}: {text}", hint=hint)


_UNREACHABLE = {"57P01", "57P02", "57P03", "53300"}
_UNREACHABLE_HINT = (
    "check host, port, user, password and sslmode, and that the server runs and isn't "
    "overloaded; the batch is tried again with the next one"
)
_HINTS = {
    "28P01": "check user and password",
    "28000": "check user, password and sslmode",
    "3D000": "make the database, or name another in the connection string",
    "3F000": "make the schema: CREATE SCHEMA",
    "42501": "grant the user what it needs: INSERT and SELECT on the table and on the "
    "table of marks; and CREATE on the schema, unless both are there",
    "42P10": "an upsert needs a primary key or a unique index of just the key's columns",
    "55P03": "another transaction holds the table, or another run of the program still "
    "commits; timeout_s is how long a wait may take",
    **dict.fromkeys(
        ("22P02", "22003", "22001", "22007", "22008", "42804", "22021", "23502"),
        "a value doesn't fit its column: map the records, or change the column's type; "
        "types={column: type in SQL} has a new table made so",
    ),
}


def _settings_of(dsn: str | Mapping[str, Any]) -> dict[str, Any]:
    psycopg = needed("psycopg", "postgres", "PostgresSink")
    if isinstance(dsn, Mapping):
        return kept_apart(dsn, "postgres")
    if not isinstance(dsn, str):
        msg = f"a connection string or settings are needed, not {type(dsn).__name__}"
        raise PySparkTypeError(msg)
    try:
        settings = psycopg.conninfo.conninfo_to_dict(dsn)
    except psycopg.Error:
        # Not shown, nor what the library says of it: it may have a password in it.
        msg = "the connection string of a PostgresSink can't be understood"
        raise PySparkValueError(
            msg, hint="postgresql://user:password@host:port/database?sslmode=require"
        ) from None
    return kept_apart(settings, "postgres")


def _lacks(known: Collection[str], frame: pl.DataFrame) -> bool:
    return any(
        name not in known and dtype != pl.Null for name, dtype in frame.schema.items()
    )
