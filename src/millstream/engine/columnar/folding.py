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
from millstream.engine.columnar.compacting import compacted_at_times
from millstream.engine.columnar.gathering import alike, spread
from millstream.engine.columnar.grouping import Grouping, OverflowRefusal
from millstream.engine.columnar.joins import Side, has_each_key_once, side_of, values_of
from millstream.engine.columnar.lookup import MergeValues, put_together, remember
from millstream.engine.columnar.shapes import TupleOf
from millstream.engine.columnar.values import Refusal

# Each frame costs a pass over all keys; past so many, grouping them is cheaper.
FRAMES_MAX = 3


def folded(
    blocks: Sequence[Columns], caller: Caller, grouping: Grouping | None = None
) -> Columns:
    """Return the pairs of all blocks, values of equal keys merged, in order of first sight.

    The `grouping` is what the function is known to do, if it is known.

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
    if len(sides) > 1 and not whole.values:
        msg = "pairs without values"
        raise Refusal(msg)
    merge = _merge(whole, caller, grouping)
    frame = whole.frame
    for part, side in zip(parts[1:], sides[1:], strict=True):
        frame, at = put_together(frame, side.frame, whole.keys, merge)
        remember(part, at)
    names = shapes.column_names(frame.width)
    frame = frame.rename(dict(zip(frame.columns, names, strict=True)))
    return Columns(compacted_at_times(frame), shape, is_keyed=True)


def _merge(side: Side, caller: Caller, grouping: Grouping | None) -> MergeValues:
    def called(old: list[pl.Series], new: list[pl.Series]) -> list[pl.Series]:
        columns = [*old, *(each.alias(f"other_{each.name}") for each in new)]
        names = [each.name for each in columns]
        pair = TupleOf((side.value, side.value))
        made = spread(caller(OfPair, values_of(pl.DataFrame(columns), names, pair)))
        if made.shape != side.value:
            msg = "what it returns isn't of the type of what it takes"
            raise Refusal(msg)
        return list(made.frame.get_columns())

    def merged(old: list[pl.Series], new: list[pl.Series]) -> list[pl.Series]:
        if grouping is not None and grouping.is_united(side.key, side.value):
            try:
                return grouping.merged(old, new)
            except OverflowRefusal:
                pass  # It is less exact about what fits.
        return called(old, new)

    return merged
