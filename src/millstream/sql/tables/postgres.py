"""Postgres: tables of PostgreSQL as Arrow tables, by COPY, and the other way."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from millstream.engine.base.errors import PySparkValueError
from millstream.engine.base.extras import needed
from millstream.engine.base.secrets import Secret, is_secret_key, revealed
from millstream.engine.sinks.postgres.columns import csv_of, type_of
from millstream.engine.sinks.postgres.connections import close_idle, connected
from millstream.engine.sinks.postgres.copying import columns_of
from millstream.engine.sinks.tables.sql import (
    create_table,
    names,
    parts_of,
    qualified,
    quoted,
    types_for,
)
from millstream.sql import client
from millstream.sql.conversion import arrow_schema
from millstream.sql.tables.jdbc import Database, DatabaseError, Source, settings_of

if TYPE_CHECKING:
    import pyarrow as pa

_CONNECT_S: Final = 10
_SILENCE_S: Final = 300.0
_AT_ONCE: Final = 8
"""So many parts of a table are read side by side at most."""
_RENAMED: Final = {
    "applicationname": "application_name",
    "logintimeout": "connect_timeout",
    "connecttimeout": "connect_timeout",
    "ssl": "sslmode",
    "currentschema": "options",
}
"""Settings of the JDBC driver, as libpq calls them; without their capitals."""


@dataclass(frozen=True, slots=True)
class _Column:
    """How a column comes: what is asked for, and what becomes of its text."""

    name: str
    kind: Any
    """Spark's type."""
    form: str = "{}"
    """What is selected of it."""
    parsed: str = "value"
    """Whether its text is the "value", "hex" bytes, or "json"."""


class Postgres(Database):
    """A PostgreSQL database."""

    def __init__(
        self, settings: Mapping[str, Any], identity: str, silence_s: float
    ) -> None:
        """Reach it with libpq's settings; give up if it is silent for `silence_s`."""
        needed("psycopg", "postgres", "a jdbc:postgresql: URL")
        self._settings = dict(settings)
        self._identity = identity
        self._silence_s = silence_s

    @classmethod
    def of(cls, rest: str, given: Mapping[str, str], timeout_s: float) -> "Postgres":
        """Return the one of a URL's rest, and of settings; 0: no query timeout is set.

        Raises:
            PySparkValueError: The URL can't be understood.
        """
        found, identity = settings_of(rest, given)
        settings = {"connect_timeout": _CONNECT_S}
        for name, value in found.items():
            settings |= dict([_as_libpq(name, value)])
        return cls(settings, identity, timeout_s or _SILENCE_S)

    @property
    def identity(self) -> str:
        """What errors call it."""
        return self._identity

    def __repr__(self) -> str:
        return f"Postgres({self._identity})"

    # Reading.

    def schema(self, source: Source) -> Any:
        """Return Spark's schema of a table."""
        types = client.module("sql.types")
        made = types.StructType()
        for each in self._columns(source):
            made = made.add(each.name, each.kind)
        return made

    def _columns(self, source: Source) -> list[_Column]:
        def found(cursor: Any) -> list[_Column]:
            query = f"SELECT * FROM {source.query} LIMIT 0"  # noqa: S608  The user's.
            cursor.execute(query)
            return [_column(each) for each in cursor.description or ()]

        columns: list[_Column] = self._asked(source, found)
        return columns

    def read(self, source: Source, schema: Any) -> "pa.Table":
        """Return a table, whose parts are read side by side."""
        import pyarrow as pa  # noqa: PLC0415  An extra.

        columns = self._columns(source)
        if [(each.name, each.kind) for each in columns] != [
            (each.name, each.dataType) for each in schema.fields
        ]:
            msg = f"{self._identity}, {source.what}: its columns have changed"
            raise DatabaseError(msg, hint="read it again: spark.read.jdbc")
        wanted = arrow_schema(schema)
        if not columns:
            return wanted.empty_table()
        selected = ", ".join(
            f"{each.form.format(quoted(each.name))} AS {quoted(each.name)}"
            for each in columns
        )
        statements = source.statements(selected)

        def part(statement: str) -> Any:
            return self._asked(source, lambda cursor: _copied(cursor, statement))

        if len(statements) == 1:
            texts = [part(statements[0])]
        else:
            with ThreadPoolExecutor(min(len(statements), _AT_ONCE)) as pool:
                texts = list(pool.map(part, statements))
        try:
            parts = [_parsed(each, columns, wanted) for each in texts]
        except (pa.ArrowException, ValueError) as error:
            msg = f"{self._identity}, {source.what}: a value has no place here: {error}"
            raise DatabaseError(
                msg,
                hint="select it as text in a query: NaN and infinite numerics, dates "
                "before year 1 or infinite ones are such values",
            ) from None
        return pa.concat_tables(parts)

    # Writing.

    def write(
        self, table: "pa.Table", name: str, mode: str, *, is_emptied: bool
    ) -> None:
        """Write a table in one transaction: others see all of it or nothing."""
        import polars as pl  # noqa: PLC0415  Slow to load.

        frame = pl.DataFrame(table)
        target = qualified(parts_of(name))

        def written(cursor: Any) -> None:
            there = columns_of(cursor, target)
            if there and mode == "ignore":
                return
            if there and mode == "error":
                msg = f"{self._identity}: table {name} is there"
                raise PySparkValueError(msg, hint='mode("append") or mode("overwrite")')
            if there and mode == "overwrite":
                cursor.execute(
                    f"TRUNCATE {target}" if is_emptied else f"DROP TABLE {target}"
                )
                there = there if is_emptied else {}
            if not there:
                cursor.execute(create_table(target, types_for(frame, {}, type_of), ()))
                there = columns_of(cursor, target)
            missing = [each for each in frame.columns if each not in there]
            if missing:
                msg = f"{self._identity}: table {name} has no column {missing[0]!r}"
                raise PySparkValueError(msg, hint=f"it has {', '.join(there)}")
            if frame.height:
                statement = f"COPY {target} ({names(frame.columns)}) FROM STDIN "
                with cursor.copy(statement + "(FORMAT csv)") as copy:
                    copy.write(csv_of(frame, there))

        self._asked(Source(target, f"table {name}"), written, is_written=True)

    # Both.

    def _asked(
        self,
        source: Source,
        work: Callable[[Any], Any],
        *,
        is_written: bool = False,
    ) -> Any:
        """Run a transaction.

        Raises:
            DatabaseError: The server can't be reached, is silent, or refuses it.
        """
        psycopg = needed("psycopg", "postgres", "a jdbc:postgresql: URL")
        settings = revealed(self._settings)
        try:
            with (
                self._connected(settings) as connection,
                connection.transaction(),
                connection.cursor() as cursor,
            ):
                if not is_written:
                    cursor.execute("SET TRANSACTION READ ONLY")
                if source.init:
                    cursor.execute(source.init)
                return work(cursor)
        except (psycopg.Error, TimeoutError) as error:
            raise self._error(source, error, settings) from None

    @contextmanager
    def _connected(self, settings: Mapping[str, Any]) -> Iterator[Any]:
        try:
            with connected(settings, self._silence_s) as connection:
                yield connection
        finally:
            # A table is read rarely: what stays open would keep a server's place.
            close_idle(settings, self._silence_s)

    def _error(
        self, source: Source, error: Any, settings: Mapping[str, Any]
    ) -> DatabaseError:
        text = " ".join(str(error).split())
        for name, value in settings.items():
            if is_secret_key(name) and value:
                text = text.replace(str(value), "*****")
        state = getattr(error, "sqlstate", None)
        hint = _HINTS.get(str(state), "check the table's name, and the query")
        if state is None:
            hint = "check host, port, user, password and sslmode, and that it runs"
        return DatabaseError(f"{self._identity}, {source.what}: {text}", hint=hint)


_HINTS: Final = {
    "28P01": "check user and password",
    "28000": "check user, password and sslmode",
    "3D000": "name another database in the URL, or make this one",
    "42P01": "check the table's name and its schema: schema.table",
    "42501": "grant the user what it needs",
    "57014": "the query took too long, or was cancelled; see queryTimeout",
}


def _as_libpq(name: str, value: Any) -> tuple[str, Any]:
    known = _RENAMED.get(name.lower(), name)
    text = value.reveal() if isinstance(value, Secret) else str(value)
    if known == "sslmode" and name.lower() == "ssl":
        return known, "require" if text.lower() == "true" else "prefer"
    if name.lower() == "currentschema":
        return known, f"-c search_path={text}"
    if known == "connect_timeout":
        return known, max(2, round(float(text)))
    return known, value


def _column(described: Any) -> _Column:
    """Return how to read a column that a cursor has described."""
    types = client.module("sql.types")
    name, code = described.name, described.type_code
    kind = _PLAIN.get(code)
    if kind is not None:
        return _Column(name, getattr(types, kind)())
    if code == _NUMERIC:
        return _Column(name, _decimal(types, described.precision, described.scale))
    if code == _BYTEA:
        return _Column(name, types.BinaryType(), "encode({}, 'hex')", "hex")
    element = _ARRAYS.get(code)
    if element is not None:
        kind = types.ArrayType(getattr(types, element)())
        return _Column(name, kind, "to_json({})", "json")
    return _Column(name, types.StringType(), "{}::text")


def _decimal(types: Any, precision: int | None, scale: int | None) -> Any:
    if precision is None or scale is None or not 0 <= scale <= precision <= 38:
        return types.DecimalType(38, 18)
    return types.DecimalType(precision, scale)


_NUMERIC: Final = 1700
_BYTEA: Final = 17
_PLAIN: Final = {
    16: "BooleanType",
    21: "ShortType",
    23: "IntegerType",
    20: "LongType",
    26: "LongType",
    700: "FloatType",
    701: "DoubleType",
    1082: "DateType",
    1114: "TimestampNTZType",
    1184: "TimestampType",
}
"""Types of the server, by their numbers, which never change."""
_ARRAYS: Final = {
    1000: "BooleanType",
    1005: "ShortType",
    1007: "IntegerType",
    1016: "LongType",
    1021: "FloatType",
    1022: "DoubleType",
    1009: "StringType",
    1015: "StringType",
}


def _copied(cursor: Any, statement: str) -> bytes:
    """Return what a query finds, as CSV whose quotes tell a text from NULL."""
    sink = BytesIO()
    copying = f"COPY ({statement}) TO STDOUT (FORMAT csv, FORCE_QUOTE *)"
    with cursor.copy(copying) as copy:
        for data in copy:
            sink.write(data)
    return sink.getvalue()


def _parsed(data: bytes, columns: list[_Column], wanted: Any) -> "pa.Table":
    import pyarrow as pa  # noqa: PLC0415  An extra, as the next.
    from pyarrow import csv  # noqa: PLC0415

    if not data:
        return wanted.empty_table()
    # By place: a query's columns may have the same name.
    places = [str(place) for place in range(len(columns))]
    kinds = {
        place: field.type if column.parsed == "value" else pa.string()
        for place, column, field in zip(places, columns, wanted, strict=True)
    }
    found = csv.read_csv(
        BytesIO(data),
        csv.ReadOptions(column_names=places, block_size=max(1 << 20, len(data) // 8)),
        csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        csv.ConvertOptions(
            column_types=kinds,
            null_values=[""],
            true_values=["t"],
            false_values=["f"],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
    arrays = [
        _converted(found.column(place), column, field.type)
        for place, (column, field) in enumerate(zip(columns, wanted, strict=True))
    ]
    return pa.Table.from_arrays(arrays, schema=wanted)


def _converted(array: Any, column: _Column, kind: Any) -> Any:
    import json  # noqa: PLC0415  Rarely used.

    import pyarrow as pa  # noqa: PLC0415  An extra.

    if column.parsed == "value":
        return array
    parse = bytes.fromhex if column.parsed == "hex" else json.loads
    texts = array.to_pylist()
    return pa.array([None if each is None else parse(each) for each in texts], kind)
