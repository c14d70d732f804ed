"""File schema: the columns that all files of a directory have, and what happens to new ones.

A column that is new is added, and null where older files lack it. A value of another type
than its column's is taken where nothing of it is lost: 1 in a column of floats. Otherwise
it is refused.
"""

import base64
import io
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from millstream.engine.base.errors import SparkError

Schema = dict[str, pl.DataType]


class SchemaError(SparkError):
    """A batch has a column that doesn't fit into the files."""


@dataclass(frozen=True, slots=True)
class Place:
    """What is written where, for errors."""

    batch_ms: int
    output: str
    identity: str

    def error(self, column: str, wrong: str, hint: str) -> SchemaError:
        """Return the error for a column."""
        msg = (
            f"column '{column}' in batch {self.batch_ms} ms of output '{self.output}' "
            f"{wrong}; nothing of the batch was committed to {self.identity}"
        )
        return SchemaError(msg, hint=hint)


def fitted(
    frame: pl.DataFrame, schema: Schema, place: Place, *, may_grow: bool
) -> tuple[pl.DataFrame, Schema]:
    """Return a frame with the columns of `schema`, and the schema with what is new.

    Raises:
        SchemaError: A column has a type that doesn't fit, or is new and `may_grow` is
            false.
    """
    grown = dict(schema)
    for name, dtype in frame.schema.items():
        if name in grown:
            continue
        if not may_grow:
            hint = "add it to `schema`, or leave it out of the records"
            raise place.error(name, "isn't in `schema`", hint)
        if not dtype.is_(pl.Null):  # Nobody knows of what type it will be.
            grown[name] = dtype
    if not grown and frame.width:
        hint = "say what it is with schema={...}"
        raise place.error(frame.columns[0], "has nothing but None", hint)
    columns = [
        _fitted(frame.get_column(name), dtype, place)
        if name in frame.columns
        else pl.Series(name, [None], dtype=dtype).new_from_index(0, frame.height)
        for name, dtype in grown.items()
    ]
    return pl.DataFrame(columns), grown


def _fitted(values: pl.Series, dtype: pl.DataType, place: Place) -> pl.Series:
    if values.dtype == dtype:
        return values
    if values.dtype.is_(pl.Null) or _may_become(values.dtype, dtype):
        try:
            made = values.cast(dtype, strict=True)
            if made.cast(values.dtype, strict=True).equals(values, null_equal=True):
                return made
        except pl.exceptions.PolarsError:
            pass  # Told below, in words of columns.
    wrong = f"is {values.dtype}, which doesn't fit into {dtype}, as it is in the files"
    hint = (
        f"map the records to {dtype}; or begin a new directory with "
        f"schema={{'{values.name}': ...}}, a type that holds both"
    )
    raise place.error(values.name, wrong, hint)


def _may_become(have: pl.DataType, want: pl.DataType) -> bool:
    if have.is_numeric():
        return want.is_numeric()
    if have.is_(pl.String):
        return isinstance(want, (pl.Categorical, pl.Enum))
    kinds = (pl.Datetime, pl.Duration, pl.List, pl.Array, pl.Struct)
    return any(isinstance(have, each) and isinstance(want, each) for each in kinds)


def joined(known: Schema, found: Sequence[Schema], place: Place) -> Schema:
    """Return the schema of a batch, of what each of its partitions has found.

    Raises:
        SchemaError: Two partitions have found a new column with different types.
    """
    grown = dict(known)
    for each in found:
        for name, dtype in each.items():
            other = grown.setdefault(name, dtype)
            if other != dtype:
                wrong = f"is {other} in one partition and {dtype} in another"
                hint = "map the records to one type, or give one with schema={...}"
                raise place.error(name, wrong, hint)
    return grown


def agreed(known: Schema, given: Schema, place: Place) -> Schema:
    """Return the columns of the files with those that the program has given.

    Raises:
        SchemaError: A column is of one type in the files, and was given another.
    """
    for name, dtype in given.items():
        other = known.get(name, dtype)
        if other != dtype:
            wrong = f"is {other} in the files, and {dtype} in `schema`"
            raise place.error(name, wrong, "begin a new directory with the new schema")
    return {**known, **given}


def schema_of(given: Mapping[str, Any]) -> Schema:
    """Return a schema of what a program has given: Polars' types, or Python's."""
    return dict(pl.DataFrame(schema=dict(given)).schema)


def encoded(schema: Schema) -> str:
    """Return a schema as text: an Arrow stream without rows, in Base64."""
    if not schema:
        return ""
    out = io.BytesIO()
    pl.DataFrame(schema=schema).write_ipc_stream(out)
    return base64.b64encode(out.getvalue()).decode()


def decoded(text: str) -> Schema:
    """Return the schema that `encoded` gave as text."""
    if not text:
        return {}
    return dict(pl.read_ipc_stream(io.BytesIO(base64.b64decode(text))).schema)


def layout_of(schema: Schema, hidden: Sequence[str] = ()) -> str:
    """Return a short name for the columns of a file, in order, and their types."""
    columns = [
        f"{name}:{dtype}" for name, dtype in schema.items() if name not in hidden
    ]
    return f"{zlib.crc32(chr(0).join(columns).encode()):08x}"
