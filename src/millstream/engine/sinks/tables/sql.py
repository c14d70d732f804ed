"""SQL tables: what the sinks of SQL databases share: names, types and checks of columns."""

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import polars as pl

from millstream.engine.base.errors import (
    PySparkTypeError,
    PySparkValueError,
    SparkError,
)

MODES = ("append", "upsert")


def quoted(name: str) -> str:
    """Return a name as SQL has it, whatever is in it.

    >>> print(quoted('select'), quoted('a "b" c'))
    "select" "a ""b"" c"

    Raises:
        PySparkValueError: It is empty, or has a character that no database takes.
    """
    if not name or "\0" in name:
        msg = f"a table or column can't be called {name!r}"
        raise PySparkValueError(msg)
    return '"' + name.replace('"', '""') + '"'


def parts_of(table: str | Sequence[str]) -> tuple[str, ...]:
    """Return schema and table, or the table alone, of "schema.table" or of a sequence.

    Raises:
        PySparkTypeError: It is neither.
    """
    parts = tuple(table.split(".")) if isinstance(table, str) else tuple(table)
    if not 1 <= len(parts) <= 2 or not all(parts):
        msg = f"a table is 'table', 'schema.table' or such a pair, not {table!r}"
        raise PySparkTypeError(
            msg, hint='a table whose name has a dot in it: ("schema", "my.table")'
        )
    return parts


def qualified(parts: Sequence[str]) -> str:
    """Return a table's name as SQL has it.

    >>> qualified(("sales", "order"))
    '"sales"."order"'
    """
    return ".".join(map(quoted, parts))


def check_mode(mode: str, key: Collection[str]) -> None:
    """Refuse a mode that isn't there, or a key without need or the lack of one.

    Raises:
        PySparkValueError: As above.
    """
    if mode not in MODES:
        msg = f"mode is one of {', '.join(MODES)}, not {mode!r}"
        raise PySparkValueError(msg)
    if mode == "upsert" and (not key or isinstance(key, str)):
        msg = "mode='upsert' needs a key, the columns that tell rows apart"
        raise PySparkValueError(msg, hint="key=['id']")
    if mode == "append" and key:
        msg = "a key is for mode='upsert', and mode is 'append'"
        raise PySparkValueError(msg)


def new_columns(
    frame: pl.DataFrame,
    known: Collection[str],
    table: str,
    *,
    evolve: bool,
) -> list[str]:
    """Return the columns that records have and a table lacks, to be added to it.

    A column of nothing but None isn't missed.

    Raises:
        SparkError: There are some, and `evolve` is false.
    """
    new = [
        name
        for name, dtype in frame.schema.items()
        if name not in known and dtype != pl.Null
    ]
    if new and not evolve:
        names = ", ".join(f"'{name}'" for name in new)
        msg = f"{table} has no column {names}, which records have"
        raise SparkError(
            msg,
            hint="add it to the table, or pass evolve=True to have such columns added, "
            "or map the records to the table's columns",
        )
    return new


def without_unknown(frame: pl.DataFrame, known: Collection[str]) -> pl.DataFrame:
    """Return records without those columns of nothing but None that a table lacks."""
    return frame.select(name for name in frame.columns if name in known)


def create_table(
    table: str, columns: Mapping[str, str], key: Sequence[str], suffix: str = ""
) -> str:
    """Return the statement that makes a table of columns with their types.

    >>> create_table('"t"', {"id": "bigint", "n": "text"}, ["id"])
    'CREATE TABLE IF NOT EXISTS "t" ("id" bigint, "n" text, PRIMARY KEY ("id"))'

    Raises:
        SparkError: A column of the key isn't there.
    """
    for name in key:
        if name not in columns:
            msg = f"records have no column '{name}', which is in the key of {table}"
            raise SparkError(msg, hint=f"they have {', '.join(columns)}")
    lines = [f"{quoted(name)} {kind}" for name, kind in columns.items()]
    if key:
        lines.append(f"PRIMARY KEY ({names(key)})")
    return f"CREATE TABLE IF NOT EXISTS {table} ({', '.join(lines)}){suffix}"


def names(columns: Iterable[str]) -> str:
    """Return names of columns as SQL lists them."""
    return ", ".join(map(quoted, columns))


def on_conflict(key: Sequence[str], columns: Sequence[str]) -> str:
    """Return what an INSERT does with rows whose key is there: they take the new values.

    >>> on_conflict(["id"], ["id", "n"])
    'ON CONFLICT ("id") DO UPDATE SET "n" = excluded."n"'
    """
    rest = [quoted(name) for name in columns if name not in key]
    if not rest:
        return f"ON CONFLICT ({names(key)}) DO NOTHING"
    changes = ", ".join(f"{name} = excluded.{name}" for name in rest)
    return f"ON CONFLICT ({names(key)}) DO UPDATE SET {changes}"


def as_json(series: pl.Series) -> pl.Series:
    """Return lists and dicts as JSON; what JSON lacks, such as dates, as text."""
    texts = [
        None if value is None else json.dumps(value, default=str, ensure_ascii=False)
        for value in series.to_list()
    ]
    return pl.Series(series.name, texts, dtype=pl.String)


def types_for(
    frame: pl.DataFrame,
    given: Mapping[str, str],
    type_of: Callable[[pl.DataType], str | None],
) -> dict[str, str]:
    """Return the types that a new table's columns have: as given, or as values need.

    Columns of nothing but None are left out: nothing tells what they will be.

    Raises:
        SparkError: A column has values that no type is for.
    """
    found = dict(given)
    for name, dtype in frame.schema.items():
        if name in given or dtype == pl.Null:
            continue
        kind = type_of(dtype)
        if kind is None:
            msg = f"column '{name}' has values of type {dtype}, which have no place"
            raise SparkError(msg, hint="map them to text, numbers or bytes first")
        found[name] = kind
    # In the order of the records.
    order = {name: place for place, name in enumerate(frame.columns)}
    return dict(sorted(found.items(), key=lambda item: order.get(item[0], len(order))))
