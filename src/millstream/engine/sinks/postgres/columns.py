"""Postgres columns: the type that a column has, and its values as COPY takes them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

from millstream.engine.base.errors import SparkError
from millstream.engine.sinks.tables.sql import as_json

_PLAIN: Mapping[Any, str] = {
    pl.Boolean: "boolean",
    pl.Int8: "smallint",
    pl.Int16: "smallint",
    pl.Int32: "integer",
    pl.Int64: "bigint",
    pl.Int128: "numeric",
    pl.UInt8: "smallint",
    pl.UInt16: "integer",
    pl.UInt32: "bigint",
    pl.UInt64: "numeric",
    pl.Float32: "real",
    pl.Float64: "double precision",
    # Of any precision: the first batch doesn't tell how large later values are.
    pl.Decimal: "numeric",
    pl.String: "text",
    pl.Categorical: "text",
    pl.Enum: "text",
    pl.Binary: "bytea",
    pl.Date: "date",
    pl.Time: "time",
    pl.Duration: "interval",
}


@dataclass(frozen=True, slots=True)
class PostgresColumn:
    """A column of a table that is there."""

    name: str
    kind: str
    """Its type, as SQL has it."""
    is_array: bool


def type_of(dtype: pl.DataType) -> str | None:
    """Return the type for a new column, or None: there is none."""
    match dtype:
        case pl.Datetime():
            return "timestamp" if dtype.time_zone is None else "timestamptz"
        case pl.List(inner=pl.DataType() as inner) if _is_plain(inner):
            return f"{type_of(inner)}[]"
        case pl.List() | pl.Array() | pl.Struct():
            return "jsonb"
        case _:
            return _PLAIN.get(dtype.base_type())


def _is_plain(inner: pl.DataType) -> bool:
    """Say whether values can be elements of an array."""
    return not inner.is_nested() and inner != pl.Binary and type_of(inner) is not None


def csv_of(
    frame: pl.DataFrame,
    columns: Mapping[str, PostgresColumn],
    first: int | None = None,
) -> bytes:
    """Return records as COPY takes them in CSV, without names.

    With `first`, each begins with this number.

    Raises:
        SparkError: A value has no place in its column.
    """
    series = [
        _as_text(each, columns[each.name]).alias(each.name)
        for each in frame.get_columns()
    ]
    if first is not None:
        series = [pl.repeat(first, frame.height, eager=True).alias(""), *series]
    # With a single column a text of `\.` alone would end the COPY: it needs its quotes.
    quotes: Literal["necessary", "non_numeric"] = (
        "necessary" if len(series) > 1 else "non_numeric"
    )
    text: str = pl.DataFrame(series).write_csv(
        include_header=False,
        quote_style=quotes,
    )
    return text.encode()


def _as_text(series: pl.Series, column: PostgresColumn) -> pl.Series:
    match series.dtype:
        case pl.Binary():
            if column.kind != "bytea":
                msg = f"column '{column.name}' has bytes, and is {column.kind}"
                raise SparkError(
                    msg, hint="decode them, or make the column a bytea column"
                )
            return "\\x" + series.bin.encode("hex")
        case pl.Datetime(time_zone=str()):
            # A column without a time zone takes the clock's reading: that of UTC.
            return series.dt.convert_time_zone("UTC")
        case pl.Duration():
            return series.dt.total_microseconds().cast(pl.String) + " microseconds"
        case pl.List(inner=pl.DataType() as inner) if column.is_array:
            return _array(series, inner, column)
        case pl.List() | pl.Array() | pl.Struct():
            return as_json(series)
        case pl.Object():
            msg = f"column '{column.name}' has objects, which have no place in a table"
            raise SparkError(msg, hint="map them to text, numbers or bytes first")
        case _:
            return series


def _array(series: pl.Series, inner: pl.DataType, column: PostgresColumn) -> pl.Series:
    if not _is_plain(inner):
        msg = f"column '{column.name}' is {column.kind}, and has lists of {inner}"
        raise SparkError(msg, hint="make it a jsonb column, or map the lists")
    text = pl.element().cast(pl.String)
    escaped = text.str.replace_all(r'([\\"])', r"\${1}")
    element = pl.concat_str(pl.lit('"'), escaped, pl.lit('"')).fill_null("NULL")
    return "{" + series.list.eval(element).list.join(",") + "}"
