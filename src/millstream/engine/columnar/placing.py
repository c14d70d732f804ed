"""Placing: which partition each record of a frame belongs to, by the hash of its key.

The very hash that the row path takes (`portable_hash`), so that a key is in one partition
whichever path its records came by.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from millstream.engine.columnar import shapes
from millstream.engine.columnar.blocks import Columns
from millstream.engine.columnar.checksums import crc32
from millstream.engine.columnar.shapes import Kind, Plain, Shape, TupleOf
from millstream.engine.columnar.values import Refusal
from millstream.engine.plan.partitioners import portable_hash
from millstream.engine.plan.ranges import RangeFunction

# Python's hash of an int is the int modulo this, -1 left out.
_HASH_MODULUS = 2**61 - 1


def split(
    columns: Columns, count: int, function: Callable[[Any], int]
) -> list[Columns]:
    """Return pairs as one block a partition, each in the order they came."""
    if count == 1:
        return [columns]
    shape = columns.shape
    assert isinstance(shape, TupleOf), "only pairs are placed"
    key = shape.items[0]
    width = shapes.column_count(key)
    frame = columns.frame
    places: pl.Series | int
    if isinstance(function, RangeFunction) and frame.height:
        places = _ranges(columns, width, key, count, function)
    else:
        places = _places(frame[:, :width], key, frame.height, count, function)
    if isinstance(places, int):
        empty = replace(columns, frame=frame.clear())
        return [columns if each == places else empty for each in range(count)]
    if count <= 8:
        return [
            replace(columns, frame=frame.filter(places == each))
            for each in range(count)
        ]
    marked = frame.with_columns(places.alias("place"))
    parts = marked.partition_by("place", as_dict=True, maintain_order=True)
    empty = frame.clear()
    frames = [
        parts[(each,)].drop("place") if (each,) in parts else empty
        for each in range(count)
    ]
    return [replace(columns, frame=each) for each in frames]


def _ranges(
    columns: Columns, width: int, key: Shape, count: int, function: RangeFunction
) -> pl.Series | int:
    from millstream.engine.columnar.partitionwise import range_places  # noqa: PLC0415

    try:
        return range_places(function, columns)
    except Refusal:
        keys = columns.frame[:, :width]
        return _places(keys, key, columns.count, count, function)


def _places(
    keys: pl.DataFrame,
    shape: Shape,
    height: int,
    count: int,
    function: Callable[[Any], int],
) -> pl.Series | int:
    if function is portable_hash:
        if not shapes.column_count(shape):
            if not height:
                return 0
            (key,) = shapes.to_rows(shapes.blank_frame(1), shape)
            return portable_hash(key) % count
        if isinstance(shape, Plain) and not shape.is_optional:
            column = keys.to_series(0)
            if shape.kind is Kind.STR:
                return crc32(column) % count
            if shape.kind is Kind.INT and _is_small(column):
                return _of_ints(column, count)
    rows: Sequence[Any] = shapes.to_rows(keys, shape)
    if not shapes.column_count(shape):
        rows = shapes.to_rows(shapes.blank_frame(height), shape)
    return pl.Series([function(key) % count for key in rows], dtype=pl.UInt32)


def _is_small(ints: pl.Series) -> bool:
    low, high = ints.min(), ints.max()
    return low is None or bool(low > -_HASH_MODULUS and high < _HASH_MODULUS)  # type: ignore[operator]


def _of_ints(ints: pl.Series, count: int) -> pl.Series:
    hashes = pl.when(pl.col("x") == -1).then(-2).otherwise(pl.col("x"))
    return pl.select(x=ints).select((hashes % count).cast(pl.UInt32)).to_series()
