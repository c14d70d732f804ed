"""Cogrouping: the values of each key of several parents, a list a parent."""

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from millstream.engine.columnar.blocks import Columns
from millstream.engine.columnar.gathering import alike, spread
from millstream.engine.columnar.grouping import grouped_values
from millstream.engine.columnar.joins import Side, side_of, values_of
from millstream.engine.columnar.shapes import Shape, TupleOf
from millstream.engine.columnar.values import Refusal


def cogrouped(parents: Sequence[Columns | None]) -> Columns | None:
    """Return `(key, one list of values a parent)`, keys in order of first sight.

    None stands for a parent, or a result, without any pairs.

    Raises:
        Refusal: The row path must do it.
    """
    if all(parent is None for parent in parents):
        return None
    sides = [_side(parent, f"p{number}_") for number, parent in enumerate(parents)]
    key: Shape = sides[0].key
    for side in sides[1:]:
        key = alike(key, side.key)
    names = sides[0].keys
    frame = pl.concat([side.frame.select(names) for side in sides])
    frame = frame.unique(keep="first", maintain_order=True)
    for side in sides:
        frame = frame.join(
            side.frame, on=names, how="left", nulls_equal=True, maintain_order="left"
        )
    values = [name for side in sides for name in side.values]
    frame = frame.with_columns(_or_empty(name, frame.schema[name]) for name in values)
    shape = TupleOf((key, TupleOf(tuple(side.value for side in sides))))
    return replace(values_of(frame, [*names, *values], shape), is_keyed=True)


def _side(parent: Columns | None, prefix: str) -> Side:
    if parent is None:
        msg = "a parent without any pairs"
        raise Refusal(msg)
    pairs = spread(parent)
    side_of(pairs, prefix)  # Refuses keys that Polars doesn't compare as Python does.
    return side_of(grouped_values([pairs.frame], pairs.shape), prefix)


def _or_empty(name: str, dtype: pl.DataType) -> pl.Expr:
    return pl.col(name).fill_null(pl.lit([], dtype=dtype))
