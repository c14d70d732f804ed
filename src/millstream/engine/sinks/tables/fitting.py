"""Fitting: frames whose columns differ become ones that a table takes, without any loss."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from millstream.engine.base.errors import SparkError
from millstream.engine.sinks.records import together

Types = Mapping[str, Any]
"""Polars types by column."""


def check_can_be_made(
    table: str, types: Mapping[str, object], kind: str, *, create: bool = True
) -> None:
    """Check that a table that isn't there may be made, and has columns with these types.

    `kind` is what types are given as: "type in SQL" or "Polars type".

    Raises:
        SparkError: It may not be made, or no record has told a column's type.
    """
    if not create:
        msg = f"{table} isn't there"
        raise SparkError(msg, hint="make it, or pass create=True")
    if not types:
        msg = f"{table} can't be made: all columns are None"
        raise SparkError(msg, hint=f"pass types={{column: {kind}}}")


def unified(schemas: Sequence[pl.Schema], given: Types) -> pl.Schema:
    """Return the one schema for frames of several; columns of nothing but None left out.

    Raises:
        SparkError: A column has types that don't go together.
    """
    frames = [
        pl.DataFrame(
            schema={**schema, **{n: t for n, t in given.items() if n in schema}}
        )
        for schema in schemas
    ]
    schema = together(frames).schema if frames else pl.Schema()
    kept = {name: dtype for name, dtype in schema.items() if dtype != pl.Null}
    return pl.Schema({**given, **kept})


def stored(
    schema: Mapping[str, pl.DataType], type_of: Callable[[pl.DataType], Any]
) -> pl.Schema:
    """Return a schema with the types that a table has for those of Polars.

    Raises:
        SparkError: There is none for one.
    """
    found = {}
    for name, dtype in schema.items():
        kind = type_of(dtype)
        if kind is None:
            msg = f"column '{name}' has values of type {dtype}, which have no place"
            raise SparkError(msg, hint="map them to text, numbers or bytes first")
        found[name] = kind
    return pl.Schema(found)


def fitted(
    frames: Iterable[pl.DataFrame], schema: Mapping[str, pl.DataType], table: str
) -> Iterator[pl.DataFrame]:
    """Yield frames with just these columns and types; None where a frame lacks one.

    Raises:
        SparkError: A value doesn't fit.
    """
    for frame in frames:
        yield pl.DataFrame(
            [
                _fitted(frame[name], dtype, table)
                if name in frame.columns
                else pl.repeat(None, frame.height, dtype=dtype, eager=True).alias(name)
                for name, dtype in schema.items()
            ]
        )


def _fitted(series: pl.Series, dtype: pl.DataType, table: str) -> pl.Series:
    if series.dtype in {dtype, pl.Null()}:
        return series.cast(dtype)
    if not _are_alike(series.dtype, dtype):
        raise _unfit(series, dtype, table, "")
    try:
        made = _converted(series, dtype)
    except pl.exceptions.PolarsError as error:
        raise _unfit(series, dtype, table, f": {error}") from error
    if dtype.is_numeric() and not series.equals(
        made.cast(series.dtype, strict=False), check_dtypes=True, null_equal=True
    ):
        raise _unfit(series, dtype, table, ", which would change some")
    return made


def _converted(series: pl.Series, dtype: pl.DataType) -> pl.Series:
    match series.dtype, dtype:
        case pl.Duration(), pl.Int64():
            return series.dt.total_microseconds()
        case pl.Time(), pl.String():
            return series.dt.strftime("%H:%M:%S%.6f")
        case pl.Datetime(time_zone=str()), pl.Datetime(time_zone=str()):
            return series.dt.convert_time_zone("UTC").cast(dtype)
        case _:
            return series.cast(dtype)


def _are_alike(found: pl.DataType, wanted: pl.DataType) -> bool:
    """Say whether values of a type can be of another one too."""
    if found.is_numeric() and wanted.is_numeric():
        return True
    match found, wanted:
        case (pl.Datetime(), pl.Datetime()):
            return (found.time_zone is None) == (wanted.time_zone is None)
        case (
            (pl.Categorical() | pl.Enum() | pl.Time() | pl.String(), pl.String())
            | (pl.Duration(), pl.Int64() | pl.Duration())
            | (pl.Time(), pl.Time())
            | (pl.List() | pl.Array(), pl.List())
            | (pl.Struct(), pl.Struct())
        ):
            return True
        case _:
            return False


def _unfit(series: pl.Series, dtype: pl.DataType, table: str, why: str) -> SparkError:
    msg = (
        f"column '{series.name}' of {table} is {dtype}, and records have values of type "
        f"{series.dtype}{why}"
    )
    return SparkError(msg, hint="map the records, or change the table's column")
