"""Gathering: several blocks of records as one frame, whatever each of them is."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from millstream.engine.columnar import shapes
from millstream.engine.columnar.blocks import Columns, Frozen, rows_of
from millstream.engine.columnar.shapes import (
    DictOf,
    Fixed,
    ListOf,
    Plain,
    Shape,
    TupleOf,
    infer_shape,
    to_frame,
)
from millstream.engine.columnar.values import Refusal, literal

_NO_SHAPE = "the records have no one shape"


def gathered(blocks: Sequence[Frozen | list[Any]]) -> Columns | None:
    """Return the records of blocks as one frame, with a column for each value; None of none.

    Rows become columns too.

    Raises:
        Refusal: They have no one shape.
    """
    parts = [_as_columns(each) for each in blocks if _count(each)]
    if not parts:
        return None
    shape = parts[0].shape
    for each in parts[1:]:
        shape = alike(shape, each.shape)
    if len(parts) == 1:
        return parts[0]
    return Columns(pl.concat([each.frame for each in parts]), shape)


def together(blocks: list[Frozen]) -> list[Frozen]:
    """Return the records of blocks as one frame if they can be, else the blocks."""
    try:
        whole = gathered(blocks)
    except Refusal:
        return blocks
    return blocks if whole is None else [whole]


def _count(block: Frozen | list[Any]) -> int:
    return len(block) if isinstance(block, list) else block.count


def _as_columns(block: Frozen | list[Any]) -> Columns:
    if isinstance(block, Columns):
        return spread(block)
    rows = list(rows_of(block))
    shape = infer_shape(rows)
    frame = None if shape is None else to_frame(rows, shape)
    if shape is None or frame is None:
        raise Refusal(_NO_SHAPE)
    return Columns(frame, shape)


def alike(a: Shape, b: Shape) -> Shape:
    """Return the shape of which records of both shapes are, in the same columns.

    Raises:
        Refusal: There is none.
    """
    if a == b:
        return a
    match a, b:
        case Plain(kind), Plain(other) if kind is other:
            return Plain(kind, is_optional=True)
        case TupleOf(x), TupleOf(y) if len(x) == len(y):
            return TupleOf(tuple(map(alike, x, y)))
        case _:
            raise Refusal(_NO_SHAPE)


def spread(columns: Columns) -> Columns:
    """Return the same records with a column for what is the same in each, except None.

    Raises:
        Refusal: It is a value that no column can hold.
    """
    if not _has_fixed(columns.shape):
        return columns
    names = iter(shapes.column_names(shapes.column_count(columns.shape)))
    exprs: list[pl.Expr] = []

    def walk(shape: Shape) -> Shape:
        match shape:
            case Fixed(value) if value is not None:
                scalar = literal(value)
                exprs.append(scalar.expr)
                return Plain(scalar.kind)
            case TupleOf(items):
                return TupleOf(tuple(map(walk, items)))
            case DictOf(keys, items):
                return DictOf(keys, tuple(map(walk, items)))
            case _:
                exprs.extend(pl.col(next(names)) for _ in shapes.plain_shapes(shape))
                return shape

    shape = walk(columns.shape)
    new = shapes.column_names(len(exprs))
    # Beside the old columns, or literals alone would be one record.
    made = columns.frame.with_columns(
        expr.alias(f"new_{name}") for expr, name in zip(exprs, new, strict=True)
    )
    frame = made.select(pl.col(f"new_{name}").alias(name) for name in new)
    return replace(columns, frame=frame, shape=shape)


def _has_fixed(shape: Shape) -> bool:
    match shape:
        case Fixed(value):
            return value is not None
        case TupleOf(items) | DictOf(_, items):
            return any(map(_has_fixed, items))
        case Plain() | ListOf():
            return False
