"""Joins: two frames of pairs by key, in the order in which the row path joins them.

Keys come in order of first sight, those of the left side first; for each key come its left
values in their order, each with all right ones. Polars joins keep the order of the left
frame, so only where a key of it comes twice is there anything to sort.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl

from millstream.engine.columnar import shapes
from millstream.engine.columnar.blocks import Columns, is_pair
from millstream.engine.columnar.gathering import alike
from millstream.engine.columnar.lookup import recall
from millstream.engine.columnar.shapes import Fixed, Kind, Plain, Shape, TupleOf
from millstream.engine.columnar.values import Refusal
from millstream.engine.plan.kernels import JoinKind

_ORDER = "order"
_THERE = "there"


@dataclass(frozen=True, slots=True)
class Side:
    """Pairs as a frame: `k0, k1, ...` make up the key, and the value's columns follow."""

    frame: pl.DataFrame
    key: Shape
    value: Shape
    prefix: str
    is_keyed: bool = False
    """Whether all keys are known to differ."""

    @property
    def keys(self) -> list[str]:
        """The names of the key's columns."""
        return [f"k{n}" for n in range(shapes.column_count(self.key))]

    @property
    def values(self) -> list[str]:
        """The names of the value's columns."""
        count = shapes.column_count(self.value)
        return [f"{self.prefix}{n}" for n in range(count)]


def side_of(pairs: Columns, prefix: str) -> Side:
    """Return pairs as one side of a join.

    Raises:
        Refusal: They are no pairs, or keys that Polars doesn't compare as Python does.
    """
    if not is_pair(pairs.shape):
        msg = "the records aren't pairs whose key has a hash"
        raise Refusal(msg)
    assert isinstance(pairs.shape, TupleOf), "pairs are tuples"
    key, value = pairs.shape.items
    if any(plain.kind is Kind.FLOAT for plain in shapes.plain_shapes(key)):
        msg = "a key that is a float"
        raise Refusal(msg)
    side = Side(pairs.frame, key, value, prefix)
    if not side.keys:
        msg = "a key that is None"
        raise Refusal(msg)
    names = [*side.keys, *side.values]
    frame = _picked(pairs.frame, shapes.column_names(len(names)), names)
    return Side(frame, key, value, prefix, pairs.is_keyed)


def join(kind: JoinKind, left: Columns | None, right: Columns | None) -> Columns | None:
    """Return the joined pairs; None stands for a side, or a result, without any.

    Raises:
        Refusal: The row path must do it.
    """
    a = None if left is None else side_of(left, "a")
    b = None if right is None else side_of(right, "b")
    if a is not None and b is not None:
        if kind is JoinKind.LEFT and a.is_keyed and b.is_keyed:
            assert right is not None, "it has a side"
            made = _left_at_known_places(a, b, right)
            if made is not None:
                return made
        is_keyed = a.is_keyed and (b.is_keyed or kind is JoinKind.ONLY_LEFT)
        return replace(_join(kind, a, b), is_keyed=is_keyed)
    if a is not None:
        return _left_alone(kind, a)
    if b is not None and kind in (JoinKind.RIGHT, JoinKind.FULL):
        return _pairs(_by_first_sight(b), b, Fixed(None), b.value)
    return None


def _left_at_known_places(a: Side, b: Side, right: Columns) -> Columns | None:
    """Return a left join without looking for any key; None: they must be looked for."""
    if a.key != b.key:
        return None
    at = recall(right, b.frame.select(b.keys), a.frame.select(a.keys))
    if at is None:
        return None
    is_lacking = len(at) < a.frame.height
    value = _perhaps(b.value, is_lacking=is_lacking)
    columns = list(a.frame.get_columns())
    columns += [_spread_out(b.frame[name], at, a.frame.height) for name in b.values]
    made = _pairs(pl.DataFrame(columns), a, a.value, value)
    return replace(made, is_keyed=True)


def _spread_out(values: pl.Series, at: pl.Series, height: int) -> pl.Series:
    """Return values each at its place, null elsewhere."""
    empty = pl.repeat(None, height, dtype=values.dtype, eager=True)
    return empty.scatter(at, values).alias(values.name)


def _left_alone(kind: JoinKind, a: Side) -> Columns | None:
    if kind in (JoinKind.LEFT, JoinKind.FULL):
        return _pairs(_by_first_sight(a), a, a.value, Fixed(None))
    if kind is JoinKind.ONLY_LEFT:
        return _columns(_by_first_sight(a), a, a.value)
    return None


def _join(kind: JoinKind, a: Side, b: Side) -> Columns:
    key = alike(a.key, b.key)
    a, b = replace(a, key=key), replace(b, key=key)
    match kind:
        case JoinKind.ONLY_LEFT:
            return _columns(_by_first_sight(_lacking(a, b)), a, a.value)
        case JoinKind.KEYS:
            both = a.frame.join(
                b.frame, on=a.keys, how="semi", nulls_equal=True, maintain_order="left"
            )
            keys = both.unique(a.keys, keep="first", maintain_order=True)
            return _columns(keys, a, Fixed(None))
        case JoinKind.INNER:
            return _pairs(_matched(a, b, is_left=False), a, a.value, b.value)
        case JoinKind.LEFT:
            frame = _matched(a, b, is_left=True)
            return _pairs(frame, a, a.value, _right_value(b, frame))
        case _:
            return _right(kind, a, b)


def _right(kind: JoinKind, a: Side, b: Side) -> Columns:
    matched = _matched(a, b, is_left=kind is JoinKind.FULL)
    alone = _by_first_sight(_lacking(b, a))
    left = _perhaps(a.value, is_lacking=alone.height > 0)
    right = _right_value(b, matched) if kind is JoinKind.FULL else b.value
    return _pairs(pl.concat([matched, alone], how="diagonal"), a, left, right)


def _right_value(b: Side, matched: pl.DataFrame) -> Shape:
    return _perhaps(b.value, is_lacking=matched[_THERE].null_count() > 0)


def _matched(a: Side, b: Side, *, is_left: bool) -> pl.DataFrame:
    """Return the left pairs with the right ones of their keys, marked as `there`."""
    frame, is_unique = _with_first_sight(a)
    made = frame.join(
        b.frame.with_columns(pl.lit(True).alias(_THERE)),
        on=a.keys,
        how="left" if is_left else "inner",
        nulls_equal=True,
        maintain_order="left_right",
    )
    return made if is_unique else made.sort(_ORDER, maintain_order=True).drop(_ORDER)


def _with_first_sight(side: Side) -> tuple[pl.DataFrame, bool]:
    """Return a side with the place where each key was first seen, unless all differ."""
    frame = side.frame
    if has_each_key_once(side):
        return frame, True
    first = pl.col(_ORDER).min().over(side.keys)
    return frame.with_row_index(_ORDER).with_columns(first), False


def has_each_key_once(side: Side) -> bool:
    """Say whether all keys of a side differ; looks, if that isn't known."""
    return side.is_keyed or side.frame.select(side.keys).n_unique() == side.frame.height


def _by_first_sight(side: Side) -> pl.DataFrame:
    frame, is_unique = _with_first_sight(side)
    return frame if is_unique else frame.sort(_ORDER, maintain_order=True).drop(_ORDER)


def _lacking(side: Side, other: Side) -> Side:
    """Return the pairs of a side whose keys the other one lacks."""
    frame = side.frame.join(
        other.frame, on=side.keys, how="anti", nulls_equal=True, maintain_order="left"
    )
    return replace(side, frame=frame)


def _perhaps(value: Shape, *, is_lacking: bool) -> Shape:
    """Return the shape of a side's value that some keys may lack, and do if `is_lacking`.

    Raises:
        Refusal: No column can say that it lacks.
    """
    match value:
        case Plain(kind):
            return Plain(kind, is_optional=True)
        case _ if value == Fixed(None) or not is_lacking:
            return value
        case _:
            msg = "None in place of a value that isn't plain"
            raise Refusal(msg)


def _pairs(frame: pl.DataFrame, side: Side, left: Shape, right: Shape) -> Columns:
    names = [f"a{n}" for n in range(shapes.column_count(left))]
    names += [f"b{n}" for n in range(shapes.column_count(right))]
    return values_of(
        frame, [*side.keys, *names], TupleOf((side.key, TupleOf((left, right))))
    )


def _columns(frame: pl.DataFrame, side: Side, value: Shape) -> Columns:
    names = [f"{side.prefix}{n}" for n in range(shapes.column_count(value))]
    return values_of(frame, [*side.keys, *names], TupleOf((side.key, value)))


def values_of(frame: pl.DataFrame, names: list[str], shape: Shape) -> Columns:
    """Return some columns of a frame as records of a shape."""
    new = shapes.column_names(len(names))
    return Columns(_picked(frame, names, new), shape)


def _picked(
    frame: pl.DataFrame, names: Sequence[str], new: Sequence[str]
) -> pl.DataFrame:
    """Return some columns under other names, without the cost of a query."""
    pairs = zip(names, new, strict=True)
    return pl.DataFrame([frame.get_column(old).alias(name) for old, name in pairs])
