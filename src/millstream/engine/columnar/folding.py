"""Folding: frames of pairs, each key once in each, made one by a function of two values.

What a group-by of all of them gives, for a fraction: a key is looked for once a frame, and
only values that meet another one are computed.
"""

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from millstream.engine.columnar import shapes
from millstream.engine.columnar.blocks import Columns
from millstream.engine.columnar.calling import Caller, OfPair
from millstream.engine.columnar.compacting import compacted, compacted_at_times
from millstream.engine.columnar.gathering import alike, spread
from millstream.engine.columnar.joins import Side, has_each_key_once, side_of, values_of
from millstream.engine.columnar.shapes import TupleOf
from millstream.engine.columnar.values import Refusal

# Each frame costs a pass over all keys; past so many, grouping them is cheaper.
FRAMES_MAX = 3
_AT = "at"
_ORDER = "order"


def folded(blocks: Sequence[Columns], caller: Caller) -> Columns:
    """Return the pairs of all blocks, values of equal keys merged, in order of first sight.

    Raises:
        Refusal: A key comes twice in one block, or the row path must do it.
    """
    parts = [spread(each) for each in blocks if each.count]
    if not 0 < len(parts) <= FRAMES_MAX:
        msg = f"{len(parts)} blocks"
        raise Refusal(msg)
    shape = parts[0].shape
    for each in parts[1:]:
        shape = alike(shape, each.shape)
    sides = [side_of(replace(each, shape=shape), "v") for each in parts]
    if not all(map(has_each_key_once, sides)):
        msg = "a key that comes twice"
        raise Refusal(msg)
    whole = sides[0]
    for side in sides[1:]:
        whole = _merged(whole, side, caller)
    names = shapes.column_names(whole.frame.width)
    frame = whole.frame.rename(dict(zip(whole.frame.columns, names, strict=True)))
    return Columns(compacted_at_times(frame), shape, is_keyed=True)


def _merged(whole: Side, other: Side, caller: Caller) -> Side:
    names = [f"other_{name}" for name in other.values]
    renamed = dict(zip(other.values, names, strict=True))
    met = whole.frame.with_row_index(_AT).join(
        other.frame.with_row_index(_ORDER).rename(renamed),
        on=whole.keys,
        how="inner",
        nulls_equal=True,
        maintain_order="left",
    )
    columns = [whole.frame[name] for name in whole.keys]
    columns += _merged_values(whole, met, names, caller)
    frame = pl.DataFrame(columns)
    if met.height < other.frame.height:
        at = pl.int_range(pl.len(), dtype=pl.get_index_type())
        alone = other.frame.filter(~at.is_in(met[_ORDER].implode()))
        frame = pl.concat([frame, compacted(alone)])
    return replace(whole, frame=frame)


def _merged_values(
    whole: Side, met: pl.DataFrame, names: list[str], caller: Caller
) -> list[pl.Series]:
    values = [whole.frame[name] for name in whole.values]
    if not values:
        msg = "pairs without values"
        raise Refusal(msg)
    if not met.height:
        return values
    pair = TupleOf((whole.value, whole.value))
    made = spread(caller(OfPair, values_of(met, [*whole.values, *names], pair)))
    if made.shape != whole.value:
        msg = "what it returns isn't of the type of what it takes"
        raise Refusal(msg)
    return [
        old.clone().scatter(met[_AT], new)
        for old, new in zip(values, made.frame.get_columns(), strict=True)
    ]
