"""Postgres copying: spooled rows go to a table by COPY, or beside it, to be merged."""

# ruff: noqa: S608  Names are quoted, and values are parameters.

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

from millstream.engine.base.errors import SparkError
from millstream.engine.sinks.contract import SinkBatch
from millstream.engine.sinks.postgres.columns import PostgresColumn
from millstream.engine.sinks.tables.sql import names, on_conflict, quoted

_COPIED_BYTES = 1 << 18
_ATTEMPT, _PLACE = "millstream_attempt", "millstream_place"


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows in a spool, as CSV, that have the same columns."""

    columns: tuple[str, ...]
    begin: int
    """Where they begin, in bytes."""
    end: int
    rows: int

    def together_with(self, following: "Piece") -> "Piece":
        """Return this piece and the one right behind it as one."""
        return Piece(
            self.columns, self.begin, following.end, self.rows + following.rows
        )

    def copy(self, cursor: Any, spool: IO[bytes], table: str, columns: str) -> None:
        """Copy the rows into `columns` of `table`; both as SQL has them."""
        spool.seek(self.begin)
        left = self.end - self.begin
        statement = f"COPY {table} ({columns}) FROM STDIN (FORMAT csv)"
        with cursor.copy(statement) as copy:
            while left:
                data = spool.read(min(left, _COPIED_BYTES))
                left -= len(data)
                copy.write(data)


@dataclass(frozen=True, slots=True)
class Staged:
    """What one attempt of a task has put beside the table."""

    attempt: int
    rows: int
    columns: tuple[str, ...]

    @classmethod
    def of(cls, attempt: int, pieces: Sequence[Piece]) -> "Staged":
        """Return what these pieces are."""
        columns = dict.fromkeys(name for each in pieces for name in each.columns)
        return cls(attempt, sum(each.rows for each in pieces), tuple(columns))


@dataclass(frozen=True, slots=True)
class Staging:
    """A table beside the real one, in which an output's upserts wait for the commit.

    It isn't logged, so costs little; what it loses in a crash of the server is noticed.
    """

    name: str
    table: str
    key: tuple[str, ...]

    def drop(self, cursor: Any) -> None:
        """Forget all that was staged."""
        cursor.execute(f"DROP TABLE IF EXISTS {self.name}")

    def prepare(self, cursor: Any, columns: Mapping[str, PostgresColumn]) -> None:
        """Make it, or add columns that it lacks."""
        there = columns_of(cursor, self.name)
        if there and set(columns) <= set(there):
            return
        lock_name(cursor, self.name)
        there = columns_of(cursor, self.name)
        if not there:
            cursor.execute(
                f"CREATE UNLOGGED TABLE {self.name} ({_ATTEMPT} bigint, "
                f"{_PLACE} bigint GENERATED ALWAYS AS IDENTITY)"
            )
        for name, column in columns.items():
            if name not in there:
                cursor.execute(
                    f"ALTER TABLE {self.name} ADD COLUMN {quoted(name)} {column.kind}"
                )

    def copy(self, cursor: Any, piece: Piece, spool: IO[bytes]) -> None:
        """Stage rows that begin with their attempt's number."""
        columns = names((_ATTEMPT, *piece.columns))
        piece.copy(cursor, spool, self.name, columns)

    def merge(
        self, cursor: Any, batch: SinkBatch, parts: Sequence[Staged], identity: str
    ) -> None:
        """Upsert what is staged; of rows with the same key the last one of the last part.

        Raises:
            SparkError: Not all of it is there any more.
        """
        attempts = [each.attempt for each in parts if each.rows]
        if not attempts:
            return
        self._check(cursor, batch, parts, identity)
        columns = list(dict.fromkeys(name for each in parts for name in each.columns))
        key = names(self.key)
        # In the order of the key: two merges can't wait for each other's rows.
        cursor.execute(
            f"INSERT INTO {self.table} ({names(columns)}) "
            f"SELECT DISTINCT ON ({key}) {names(columns)} FROM {self.name} "
            f"WHERE {_ATTEMPT} = ANY(%s) "
            f"ORDER BY {key}, array_position(%s, {_ATTEMPT}) DESC, {_PLACE} DESC "
            f"{on_conflict(self.key, columns)}",
            (attempts, attempts),
        )
        cursor.execute(f"TRUNCATE {self.name}")

    def _check(
        self, cursor: Any, batch: SinkBatch, parts: Sequence[Staged], identity: str
    ) -> None:
        expected = sum(each.rows for each in parts)
        there = 0
        if columns_of(cursor, self.name):
            cursor.execute(
                f"SELECT count(*) FROM {self.name} WHERE {_ATTEMPT} = ANY(%s)",
                ([each.attempt for each in parts],),
            )
            there = cursor.fetchone()[0]
        if there != expected:
            msg = (
                f"of {expected} records of batch {batch.time_ms} ms that were staged for "
                f"{identity}, {there} are there"
            )
            raise SparkError(
                msg,
                hint="the server has crashed in between, or another program has the same "
                "application and output name; the batch is tried again",
            )


def columns_of(cursor: Any, table: str) -> dict[str, PostgresColumn]:
    """Return the columns of a table, named as SQL has it; none: it isn't there."""
    cursor.execute(
        "SELECT attname, format_type(atttypid, atttypmod), typcategory = 'A' "
        "FROM pg_attribute JOIN pg_type ON pg_type.oid = atttypid "
        "WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped "
        "ORDER BY attnum",
        (table,),
    )
    return {name: PostgresColumn(name, kind, a) for name, kind, a in cursor.fetchall()}


def lock_name(cursor: Any, name: str) -> None:
    """Wait until no other transaction makes or changes what has this name."""
    cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (name,))
