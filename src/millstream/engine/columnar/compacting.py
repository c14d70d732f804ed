"""Compacting: frames that are kept hold no more text than their own.

A text in a column is a place in a buffer, and a record that is picked out of a frame takes
no copy along: a thousand lines of a block keep all of the block in memory.
"""

import io
from random import Random

import polars as pl

_CALLS = 16
# By chance: by counting, some of the partitions that take turns might never have theirs.
_random = Random(0)


def compacted(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the same records, their texts copied if there are any."""
    columns = [
        _with_own_texts(pl.col(name), dtype).alias(name)
        for name, dtype in frame.schema.items()
        if _innermost(dtype) == pl.String
    ]
    names = [name for name, dtype in frame.schema.items() if dtype == pl.Binary]
    if names:
        frame = frame.with_columns(_rewritten(frame.select(names)))
    return frame.with_columns(columns) if columns else frame


def _innermost(dtype: pl.DataType) -> pl.DataType:
    while isinstance(dtype, pl.List):
        dtype = dtype.inner  # type: ignore[assignment]
    return dtype


def _with_own_texts(expr: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if isinstance(dtype, pl.List):
        inner: pl.DataType = dtype.inner  # type: ignore[assignment]
        return expr.list.eval(_with_own_texts(pl.element(), inner))
    # A text that is put together, if of nothing more, is in a buffer of its own.
    return pl.concat_str([expr, pl.lit("")])


def _rewritten(frame: pl.DataFrame) -> pl.DataFrame:
    # What isn't referred to isn't written; but for texts this takes five times as long,
    # and for lists it isn't so.
    out = io.BytesIO()
    frame.rechunk().write_ipc_stream(out)
    out.seek(0)
    return pl.read_ipc_stream(out)


def compacted_at_times(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the same records; in one of so many calls compacted, and in one chunk.

    For frames that are made of each other batch by batch: what they hold of records that
    are gone stays bounded, and copying costs a fraction of a batch.
    """
    if _random.random() * _CALLS < 1:
        return compacted(frame.rechunk())
    return frame
