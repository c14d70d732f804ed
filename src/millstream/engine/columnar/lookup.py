"""Lookup: where in a frame the keys of another one are, and both frames put together.

What was found once is remembered with the records whose keys they were: a batch that
leaves a window is looked for where it was put when it came. It is a guess, which costs
little to check, and need not be right.
"""

from collections.abc import Callable
from typing import TypeAlias
from weakref import WeakKeyDictionary

import polars as pl

from millstream.engine.columnar.blocks import Columns
from millstream.engine.columnar.compacting import compacted

MergeValues: TypeAlias = Callable[[list[pl.Series], list[pl.Series]], list[pl.Series]]
"""From the columns of two values for each of some keys to those of one."""

_AT = "at"
_HASH = "hash"

_guesses: "WeakKeyDictionary[Columns, pl.Series]" = WeakKeyDictionary()


def places(keys: pl.DataFrame, within: pl.DataFrame) -> pl.Series:
    """Return the place of each record of `keys` in `within`, null for one that isn't there.

    Both have the same columns, and the records of `within` all differ.
    """
    if keys.width == 1 and keys.dtypes[0] in (pl.String, pl.Binary):
        found = _places_by_hash(keys.to_series(), within.to_series())
        if found is not None:
            return found
    return _joined(keys, within)


def _places_by_hash(keys: pl.Series, within: pl.Series) -> pl.Series | None:
    """Return the places, or None: keys have the same hash that aren't the same.

    To join numbers and compare the texts that met takes less than to join texts.
    """
    found = _joined(
        keys.hash().alias(_HASH).to_frame(), within.hash().alias(_HASH).to_frame()
    )
    if len(found) != len(keys):
        return None
    is_right = _are_at(found.drop_nulls(), keys.filter(found.is_not_null()), within)
    return found if is_right else None


def _joined(keys: pl.DataFrame, within: pl.DataFrame) -> pl.Series:
    return keys.join(
        within.with_row_index(_AT),
        on=keys.columns,
        how="left",
        nulls_equal=True,
        maintain_order="left",
    )[_AT]


def _are_at(at: pl.Series, keys: pl.Series, within: pl.Series) -> bool:
    # From one chunk texts are picked ten times as fast as from two.
    return bool(within.rechunk().gather(at).eq_missing(keys).all())


def put_together(
    whole: pl.DataFrame, part: pl.DataFrame, keys: list[str], merge: MergeValues
) -> tuple[pl.DataFrame, pl.Series]:
    """Return two frames as one, and where in it the records of the second one are.

    Both have the same columns, and each key once. New keys come behind the old ones.
    """
    at = places(part.select(keys), whole.select(keys))
    is_there = at.is_not_null()
    frame = whole
    names = [name for name in whole.columns if name not in keys]
    if names and is_there.any():
        known = at.drop_nulls()
        met = part.select(names).filter(is_there)
        before = [whole[name].rechunk() for name in names]
        made = merge([each.gather(known) for each in before], met.get_columns())
        frame = whole.with_columns(
            [
                old.clone().scatter(known, new)
                for old, new in zip(before, made, strict=True)
            ]
        )
    if is_there.all():
        return frame, at
    alone = part.filter(~is_there).select(frame.columns)
    return pl.concat([frame, compacted(alone)]), _behind(at, whole.height)


def _behind(at: pl.Series, height: int) -> pl.Series:
    """Return places with those that are null put behind the first `height`, in order."""
    is_new = at.is_null()
    behind = (is_new.cum_sum() + height - 1).cast(at.dtype)
    return at.zip_with(~is_new, behind)


def remember(records: Columns, at: pl.Series) -> None:
    """Remember where the keys of some records were put."""
    _guesses[records] = at


def recall(
    records: Columns, keys: pl.DataFrame, within: pl.DataFrame
) -> pl.Series | None:
    """Return the places of the keys of `records` in `within`, if they are remembered.

    That is: all are there still. The records of `within` all differ.
    """
    at = _guesses.get(records)
    if at is None or not len(at) or at.max() >= within.height:  # type: ignore[operator]
        return None
    is_right = all(_are_at(at, keys[name], within[name]) for name in keys.columns)
    return at if is_right else None
