"""JDBC: tables of databases, by the URLs that Spark knows them by; read in the driver.

PostgreSQL gives and takes rows by COPY, which Arrow parses; SQLite and DuckDB are files. A
table is read when a query with it runs, and each time, unless its frame is kept.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from millstream.engine.base.errors import PySparkNotImplementedError, SparkError
from millstream.engine.base.secrets import kept_apart
from millstream.errors import PySparkValueError
from millstream.sql import client
from millstream.sql.conversion import arrow_schema
from millstream.sql.deferred import Deferred
from millstream.sql.staging import Staged

if TYPE_CHECKING:
    import pyarrow as pa

_plans = client.module("sql.connect.plan")

_OPTIONS: Final = frozenset(
    {
        "url",
        "dbtable",
        "query",
        "driver",
        "partitioncolumn",
        "lowerbound",
        "upperbound",
        "numpartitions",
        "querytimeout",
        "fetchsize",
        "batchsize",
        "truncate",
        "sessioninitstatement",
        "preferTimestampNTZ".lower(),
        "pushdownpredicate",
        "pushdownaggregate",
        "pushdownlimit",
        "pushdownoffset",
        "pushdowntablesample",
    }
)
"""Spark's own options; all others are the database's settings."""
_REFUSED: Final = frozenset(
    {
        "customschema",
        "createtablecolumntypes",
        "createtableoptions",
        "cascadetruncate",
        "isolationlevel",
        "preparequery",
        "keytab",
        "principal",
        "hint",
    }
)


class DatabaseError(SparkError, OSError):
    """A database can't be reached, or has refused what was asked of it."""


@dataclass(frozen=True, slots=True)
class Source:
    """What to read of a database."""

    query: str
    """What stands behind FROM."""
    what: str
    """What errors call it."""
    predicates: tuple[str, ...] = ()
    """Conditions of which each gives a part; all parts are the table. None: it is one."""
    init: str | None = None
    """What each connection is told first."""

    def statements(self, columns: str) -> list[str]:
        """Return the queries of its parts."""
        select = f"SELECT {columns} FROM {self.query}"  # noqa: S608  The user's own.
        if not self.predicates:
            return [select]
        return [f"{select} WHERE {each}" for each in self.predicates]


class Database(ABC):
    """A database that can be read."""

    @property
    @abstractmethod
    def identity(self) -> str:
        """What errors call it; has no secret."""

    @abstractmethod
    def schema(self, source: Source) -> Any:
        """Return Spark's schema of a table.

        Raises:
            DatabaseError: It can't be reached, or refuses.
        """

    @abstractmethod
    def read(self, source: Source, schema: Any) -> "pa.Table":
        """Return a table, of the types of its schema.

        Raises:
            DatabaseError: It can't be reached, or refuses.
        """

    def write(
        self, table: "pa.Table", name: str, mode: str, *, is_emptied: bool
    ) -> None:
        """Write a table, all of it or nothing.

        `is_emptied` has an overwritten one keep its columns, indexes and grants.

        Raises:
            DatabaseError: It can't be reached, or refuses.
        """
        del table, name, mode, is_emptied
        msg = f"{self.identity}: write.jdbc writes to PostgreSQL alone"
        raise PySparkNotImplementedError(msg, hint="saveToSqlite or saveToDuckDB")


def table(session: Any, options: Mapping[str, Any], predicates: Any = None) -> Any:
    """Return the plan of a database's table; its columns are asked for now.

    Raises:
        DatabaseError: It can't be reached, or refuses.
        PySparkValueError: Options are missing, or don't go together.
    """
    del session
    known = {name.lower(): value for name, value in options.items()}
    database = _database(known, options)
    source = _source(known, predicates, database.identity)
    return _TablePlan(_Table(database, source, database.schema(source)))


def write(frame: Any, options: Mapping[str, Any], mode: str) -> None:
    """Write a frame to a database's table, in one transaction.

    Raises:
        DatabaseError: The database can't be reached, or refuses; nothing is written.
        PySparkValueError: Options are missing.
    """
    known = {name.lower(): value for name, value in options.items()}
    database = _database(known, options)
    name = known.get("dbtable")
    if not name:
        msg = "write.jdbc needs the table's name"
        raise PySparkValueError(msg, hint='option("dbtable", "schema.table")')
    is_emptied = str(known.get("truncate", "")).lower() == "true"
    database.write(frame.toArrow(), name, mode, is_emptied=is_emptied)


def _database(known: Mapping[str, Any], options: Mapping[str, Any]) -> Database:
    url = known.get("url")
    if not url:
        msg = "a database is named by its URL"
        raise PySparkValueError(
            msg, hint='option("url", "jdbc:postgresql://host:5432/database")'
        )
    for name in options:
        if name.lower() in _REFUSED:
            msg = f"option {name} isn't known when a database is asked"
            raise PySparkNotImplementedError(msg, hint="leave it out; cast in a query")
    settings = {
        name: str(value)
        for name, value in options.items()
        if name.lower() not in _OPTIONS
    }
    kind, _, rest = str(url).removeprefix("jdbc:").partition(":")
    if kind in ("postgresql", "postgres"):
        from millstream.sql.tables.postgres import Postgres  # noqa: PLC0415  An extra.

        return Postgres.of(rest, settings, float(known.get("querytimeout") or 0))
    if kind == "sqlite":
        return _Sqlite(_file_of(rest))
    if kind == "duckdb":
        return _DuckDb(_file_of(rest))
    msg = f"a database of kind {kind!r} isn't known"
    raise PySparkNotImplementedError(
        msg,
        hint="jdbc:postgresql://host:port/database, jdbc:sqlite:path, jdbc:duckdb:path",
    )


def _file_of(rest: str) -> Path:
    return Path(rest.partition("?")[0]).expanduser().absolute()


def _source(
    known: Mapping[str, Any], predicates: Sequence[str] | None, identity: str
) -> Source:
    name, query = known.get("dbtable"), known.get("query")
    if bool(name) == bool(query):
        msg = f"{identity}: either 'dbtable' or 'query' is needed"
        raise PySparkValueError(msg, hint='option("dbtable", "schema.table")')
    text = f"({str(query).rstrip().rstrip(';')}) AS millstream" if query else str(name)
    what = "a query" if query or text.lstrip().startswith("(") else f"table {text}"
    parts = tuple(predicates or _ranges(known, identity))
    return Source(text, what, parts, known.get("sessioninitstatement"))


def _ranges(known: Mapping[str, Any], identity: str) -> Iterator[str]:
    """Yield a condition for each part of a column's values, as Spark has them."""
    column = known.get("partitioncolumn")
    if column is None:
        return
    given = [known.get(each) for each in ("lowerbound", "upperbound", "numpartitions")]
    if any(each is None for each in given):
        msg = f"{identity}: partitionColumn needs lowerBound, upperBound, numPartitions"
        raise PySparkValueError(msg)
    try:
        lower, upper, parts = (int(str(each)) for each in given)
    except ValueError:
        msg = f"{identity}: lowerBound, upperBound and numPartitions are whole numbers"
        raise PySparkValueError(
            msg, hint="for dates and timestamps pass predicates"
        ) from None
    parts = max(1, min(parts, upper - lower))
    if parts == 1:
        return
    stride = (upper - lower) / parts
    bounds = [lower + round(stride * each) for each in range(1, parts)]
    yield f"{column} < {bounds[0]} OR {column} IS NULL"
    for low, high in pairwise(bounds):
        yield f"{column} >= {low} AND {column} < {high}"
    yield f"{column} >= {bounds[-1]}"


class _Table(Deferred):
    """A database's table, which is read when a query with it runs."""

    def __init__(self, database: Database, source: Source, schema: Any) -> None:
        super().__init__()
        self._database = database
        self._source = source
        self._schema = schema
        self._columns = Staged(arrow_schema(schema).empty_table(), self._schema.json())

    def seen(self, connection: Any) -> Any:
        """Return its columns, without rows."""
        return self._columns.plan(connection)

    def made(self, connection: Any, asked: frozenset[int]) -> tuple[Any, Any]:
        """Return its rows, as they are now."""
        del asked
        rows = self._database.read(self._source, self._schema)
        staged = Staged(rows, self._schema.json())
        return staged.plan(connection), staged


class _TablePlan(_plans.LogicalPlan):  # type: ignore[misc,name-defined]
    """The plan of a database's table; has nothing of how it is reached."""

    def __init__(self, of: _Table) -> None:
        super().__init__(None)
        self._of = of

    def plan(self, session: Any) -> Any:
        """Return what stands for it."""
        del session
        return self._of.mark(self._plan_id)


# Files that are databases.


class _DuckDb(Database):
    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def identity(self) -> str:
        return f"DuckDB {self._path}"

    def schema(self, source: Source) -> Any:
        """Return Spark's schema of a table."""
        with self._connected(source) as connection:
            query = f"SELECT * FROM {source.query} LIMIT 0"  # noqa: S608  The user's.
            found = connection.sql(query).to_arrow_table()
        return _spark_schema(found.schema)

    def read(self, source: Source, schema: Any) -> "pa.Table":
        """Return a table."""
        import pyarrow as pa  # noqa: PLC0415  An extra.

        with self._connected(source) as connection:
            parts = [
                connection.sql(each).to_arrow_table() for each in source.statements("*")
            ]
        return pa.concat_tables(parts).cast(arrow_schema(schema))

    @contextmanager
    def _connected(self, source: Source) -> Iterator[Any]:
        from millstream.engine.base.extras import needed  # noqa: PLC0415  Rarely used.

        duckdb = needed("duckdb", "duckdb", "a jdbc:duckdb: URL")
        _check_file(self._path, self.identity)
        try:
            with duckdb.connect(str(self._path), read_only=True) as connection:
                if source.init:
                    connection.execute(source.init)
                yield connection
        except duckdb.Error as error:
            msg = f"{self.identity}, {source.what}: {error}"
            raise DatabaseError(
                msg, hint="check the table's name, and the query"
            ) from None


class _Sqlite(Database):
    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def identity(self) -> str:
        return f"SQLite {self._path}"

    def schema(self, source: Source) -> Any:
        """Return Spark's schema of a table, by what its columns are declared as."""
        types = client.module("sql.types")
        made = types.StructType()
        with self._connected(source) as connection:
            # A view tells what a query's columns are declared as, too.
            view = f"CREATE TEMP VIEW millstream_view AS SELECT * FROM {source.query}"  # noqa: S608
            connection.execute(view)
            rows = connection.execute("PRAGMA temp.table_info(millstream_view)")
            for row in rows.fetchall():
                made = made.add(row[1], _sqlite_type(types, row[2]))
        return made

    def read(self, source: Source, schema: Any) -> "pa.Table":
        """Return a table."""
        import pyarrow as pa  # noqa: PLC0415  An extra.

        with self._connected(source) as connection:
            rows = [
                row
                for each in source.statements("*")
                for row in connection.execute(each).fetchall()
            ]
        wanted = arrow_schema(schema)
        columns = list(zip(*rows, strict=True)) or [()] * len(wanted)
        arrays = []
        for field, values in zip(wanted, columns, strict=True):
            try:
                convert = _SQLITE_VALUES[str(field.type)]
                known = [None if v is None else convert(v) for v in values]
                arrays.append(pa.array(known, field.type))
            except (ValueError, TypeError, OverflowError, pa.ArrowException) as error:
                msg = f"{self.identity}, {source.what}: column '{field.name}': {error}"
                raise DatabaseError(msg, hint="CAST it in a query") from error
        return pa.Table.from_arrays(arrays, schema=wanted)

    @contextmanager
    def _connected(self, source: Source) -> Iterator[Any]:
        import sqlite3  # noqa: PLC0415  Rarely used.

        _check_file(self._path, self.identity)
        try:
            connection = sqlite3.connect(f"{self._path.as_uri()}?mode=ro", uri=True)
            try:
                if source.init:
                    connection.execute(source.init)
                yield connection
            finally:
                connection.close()
        except sqlite3.Error as error:
            msg = f"{self.identity}, {source.what}: {error}"
            raise DatabaseError(
                msg, hint="check the table's name, and the query"
            ) from None


def _check_file(path: Path, identity: str) -> None:
    if not path.is_file():
        msg = f"{identity} isn't there"
        raise DatabaseError(msg, hint="check the path of the URL")


def _sqlite_type(types: Any, declared: str) -> Any:
    """Return the type of a column by SQLite's own rules for what it is declared as."""
    text = declared.upper()
    if "BOOL" in text:
        return types.BooleanType()
    if "INT" in text:
        return types.LongType()
    if any(each in text for each in ("REAL", "FLOA", "DOUB", "NUMERIC", "DECIMAL")):
        return types.DoubleType()
    return types.BinaryType() if "BLOB" in text else types.StringType()


def _whole(value: Any) -> int:
    if int(value) != value:
        msg = f"{value!r} isn't a whole number"
        raise ValueError(msg)
    return int(value)


_SQLITE_VALUES: Final[Mapping[str, Callable[[Any], Any]]] = {
    "bool": bool,
    "int64": _whole,
    "double": float,
    "string": str,
    "binary": bytes,
}


def _spark_schema(schema: "pa.Schema") -> Any:
    return client.module("sql.pandas.types").from_arrow_schema(
        schema, prefer_timestamp_ntz=True
    )


def settings_of(rest: str, given: Mapping[str, str]) -> tuple[dict[str, Any], str]:
    """Return settings of a URL's rest, such as `//host:5432/db?user=u`, and what is given.

    Passwords among them are secrets. Also returns what errors call the database.

    Raises:
        PySparkValueError: It isn't such a URL.
    """
    try:
        parts = urlsplit(rest)
        port = parts.port
    except ValueError:
        msg = "the URL of a database can't be understood"
        raise PySparkValueError(
            msg, hint="jdbc:postgresql://host:5432/database"
        ) from None
    found: dict[str, Any] = {}
    if parts.hostname:
        found["host"] = parts.hostname
    if port is not None:
        found["port"] = port
    name = unquote(parts.path.lstrip("/") if parts.netloc else rest.partition("?")[0])
    if name:
        found["dbname"] = name
    if parts.username:
        found["user"] = unquote(parts.username)
    if parts.password:
        found["password"] = unquote(parts.password)
    query = parts.query or rest.partition("?")[2]
    found |= dict(parse_qsl(query, keep_blank_values=True))
    found |= given
    where = ":".join(str(found[each]) for each in ("host", "port") if each in found)
    return kept_apart(found, "jdbc"), f"PostgreSQL {where}/{found.get('dbname', '')}"
