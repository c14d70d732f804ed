"""Lake tables: what the sinks for Delta Lake and Iceberg share: types and settings."""

import re
from collections.abc import Mapping
from typing import Any

import polars as pl

from millstream.engine.base.secrets import Secret, is_secret_key, secret_of

_SECRET = re.compile("key|sas|signature|authorization|keytab", re.IGNORECASE)
_WIDER: Mapping[Any, pl.DataType] = {
    pl.UInt8: pl.Int16(),
    pl.UInt16: pl.Int32(),
    pl.UInt32: pl.Int64(),
    pl.UInt64: pl.Decimal(20, 0),
    pl.Int128: pl.Decimal(38, 0),
    pl.Categorical: pl.String(),
    pl.Enum: pl.String(),
    pl.Duration: pl.Int64(),
}


def lake_type(dtype: pl.DataType) -> pl.DataType | None:
    """Return the type that a lake's table has for one of Polars, or None.

    Lakes have whole numbers with a sign only, and no durations: these are kept as
    microseconds.
    """
    match dtype:
        case pl.Datetime():
            return pl.Datetime("us", None if dtype.time_zone is None else "UTC")
        case (
            pl.List(inner=pl.DataType() as inner)
            | pl.Array(inner=pl.DataType() as inner)
        ):
            found = lake_type(inner)
            return None if found is None else pl.List(found)
        case pl.Struct():
            plain = pl.Schema(dtype.to_schema())
            fields = {name: lake_type(kind) for name, kind in plain.items()}
            known = {name: kind for name, kind in fields.items() if kind is not None}
            return pl.Struct(known) if len(known) == len(fields) else None
        case pl.Object() | pl.Unknown() | pl.Null():
            return None
        case _:
            return _WIDER.get(dtype.base_type(), dtype)


def options_apart(options: Mapping[str, str | Secret], prefix: str) -> dict[str, Any]:
    """Return settings of a storage or a catalog, those that are secret as secrets."""
    return {
        name: secret_of(value, f"{prefix}.{name}")
        if is_secret_key(name) or _SECRET.search(name) or "@" in str(value)
        else value
        for name, value in options.items()
    }


def polars_schema(arrow_schema: Any) -> pl.Schema:
    """Return the schema of an Arrow one: anything that pyarrow makes a schema of."""
    import pyarrow as pa  # noqa: PLC0415

    made: Any = pl.from_arrow(pa.schema(arrow_schema).empty_table())
    schema: pl.Schema = made.schema
    return schema
