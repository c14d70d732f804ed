"""Partitions: records that nobody can change, as rows or as bytes of text.

Those that are columns stand above: `columnar.blocks`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import Any

from millstream.engine.base import frames
from millstream.engine.plan.text import count_lines, split_lines


@dataclass(frozen=True, slots=True)
class FrozenRows:
    """Rows that nobody can change: shared when immutable, else pickled.

    User code gets the very objects only if no one could change them through it; anything
    else is unpickled anew for each reader, as PySpark's serialised partitions are.
    """

    count: int
    shared: Sequence[Any] | None
    pickled: bytes | memoryview | None

    def thaw(self) -> Sequence[Any]:
        """Return the rows, safe to hand to user code. Don't change the sequence itself."""
        if self.shared is not None:
            return self.shared
        assert self.pickled is not None, "frozen rows hold neither objects nor bytes"
        rows: list[Any] = frames.loads(self.pickled)
        return rows

    def read(self) -> Iterable[Any]:
        """Return the rows; the contract of a source partition."""
        return self.thaw()

    def __reduce__(self) -> tuple[Any, ...]:
        pickled = self.pickled
        if isinstance(pickled, memoryview):
            pickled = bytes(pickled)
        return FrozenRows, (self.count, self.shared, pickled)


@dataclass(frozen=True, slots=True)
class FrozenText:
    """Lines of text that are bytes still: nothing was made of any line yet.

    The last line may lack its end. Invalid UTF-8 is in there as it came.
    """

    data: bytes
    known_count: int | None = None
    """How many lines there are, if somebody has counted."""

    @property
    def count(self) -> int:
        """How many lines there are."""
        if self.known_count is None:
            return count_lines(self.data)
        return self.known_count

    def thaw(self) -> list[str]:
        """Return the lines, in a list of the caller's own."""
        return split_lines(self.data, is_text=True)

    def read(self) -> list[str]:
        """Return the lines; the contract of a source partition."""
        return self.thaw()

    def text_blocks(self) -> Iterator[bytes]:
        """Yield the bytes of the lines, in one block."""
        yield self.data

    def __reduce__(self) -> tuple[Any, ...]:
        return FrozenText, (self.data, self.known_count)


def freeze_text(data: bytes) -> FrozenText:
    """Return the lines of `data`, counted: see `plan.text`."""
    return FrozenText(data, count_lines(data))


def freeze(rows: Sequence[Any]) -> FrozenRows:
    """Return `rows` frozen. The caller must not change the sequence afterwards."""
    if isinstance(rows, range) or is_immutable(rows):
        return FrozenRows(len(rows), rows, None)
    return FrozenRows(len(rows), None, frames.dumps(list(rows)))


_ATOMS = frozenset({int, float, str, bytes, bool, complex, type(None)})
_PAIR = 2


def is_immutable(rows: Sequence[Any]) -> bool:
    """Say whether no record can change: atoms, and tuples of such, nested a few deep.

    Looks at the type of every value, at C speed (some 20 ns each). False may mean that it
    was too deep to tell.
    """
    kinds = set(map(type, rows))
    if kinds <= _ATOMS:
        return True
    if kinds != {tuple}:
        return False
    if set(map(len, rows)) == {_PAIR}:  # Pairs, the common case: no flattening.
        return _are_atoms_or_tuples(rows, 0) and _are_atoms_or_tuples(rows, 1)
    return _flat_is_immutable(rows, depth_left=4)


def _are_atoms_or_tuples(rows: Sequence[Any], field: int) -> bool:
    kinds = set(map(type, map(itemgetter(field), rows)))
    if kinds <= _ATOMS:
        return True
    if not kinds <= _ATOMS | {tuple}:
        return False
    inner = [row[field] for row in rows if type(row[field]) is tuple]
    return _flat_is_immutable(inner, depth_left=3)


def _flat_is_immutable(tuples: Iterable[Any], depth_left: int) -> bool:
    values = list(chain.from_iterable(tuples))
    kinds = set(map(type, values))
    if kinds <= _ATOMS:
        return True
    if depth_left == 0 or not kinds <= _ATOMS | {tuple}:
        return False
    return _flat_is_immutable([v for v in values if type(v) is tuple], depth_left - 1)
