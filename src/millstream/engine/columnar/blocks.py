"""Blocks: the records of a partition, or of a part of it, as rows, bytes or columns."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeAlias

from millstream.engine.columnar.shapes import Fixed, Plain, Shape, TupleOf, to_rows
from millstream.engine.plan.partitions import FrozenRows, FrozenText


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class Columns:
    """Records as a Polars frame, which nothing changes, and the shape that they have."""

    frame: Any
    shape: Shape
    is_keyed: bool = False
    """Whether no two records are pairs of one key, as far as is known."""

    @property
    def count(self) -> int:
        """How many records there are."""
        return int(self.frame.height)

    def thaw(self) -> list[Any]:
        """Return the records as rows of the caller's own."""
        return to_rows(self.frame, self.shape)

    def read(self) -> Iterable[Any]:
        """Return the records; the contract of a source partition."""
        return self.thaw()

    def __reduce__(self) -> tuple[Any, ...]:
        return Columns, (self.frame, self.shape, self.is_keyed)


@dataclass(frozen=True, slots=True)
class Texts:
    """Blocks of text, one behind the other, that are taken through a stage as one."""

    blocks: tuple[FrozenText, ...]

    @property
    def count(self) -> int:
        """How many lines there are."""
        return sum(each.count for each in self.blocks)

    def thaw(self) -> Iterator[str]:
        """Return the lines, made into objects a block at a time."""
        return chain.from_iterable(each.thaw() for each in self.blocks)


Frozen: TypeAlias = FrozenRows | FrozenText | Columns
Taken: TypeAlias = Frozen | Texts
"""What goes through a stage at a time."""


def rows_of(block: Frozen | Iterable[Any]) -> Iterable[Any]:
    """Return the records of a block as rows, of the caller's own if they can change."""
    return block.thaw() if isinstance(block, Frozen) else block


def joined(blocks: Sequence[Frozen | Iterable[Any]]) -> Columns | None:
    """Return blocks as one, if all are columns of one shape."""
    first = blocks[0] if blocks else None
    if not isinstance(first, Columns):
        return None
    frames = [
        each.frame
        for each in blocks
        if isinstance(each, Columns) and each.shape == first.shape
    ]
    if len(frames) < len(blocks):
        return None
    if len(frames) == 1:
        return first
    import polars as pl  # noqa: PLC0415  Heavy; only where there are columns.

    return Columns(pl.concat(frames), first.shape)


_FIRST_SLICE = 100
_SLICE_GROWTH = 8


def in_slices(columns: Columns) -> Iterator[Any]:
    """Yield the records of a block, made into objects some at a time, ever more."""
    start, size = 0, _FIRST_SLICE
    while start < columns.count:
        part = columns.frame.slice(start, size)
        yield from to_rows(part, columns.shape)
        start += size
        size *= _SLICE_GROWTH


def is_pair(shape: Shape) -> bool:
    """Say whether records of a shape are pairs whose key can be placed."""
    return (
        isinstance(shape, TupleOf)
        and len(shape.items) == 2
        and is_hashable(shape.items[0])
    )


def is_hashable(shape: Shape) -> bool:
    """Say whether Python can hash values of a shape."""
    match shape:
        case Plain():
            return True
        case Fixed(value):
            return bool(value == value)  # NaN is no key twice.  # noqa: PLR0124
        case TupleOf(items):
            return all(map(is_hashable, items))
        case _:
            return False
