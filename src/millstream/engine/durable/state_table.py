"""StateTable: where one partition's keys are now, with their states; in memory, here.

Two kinds of tables do the same: this one is a dict, the other (state_spill) a file. Keys
are equal when Python says so, in both.
"""

import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, Final, Protocol


class Absent(Enum):
    """What stands for the state of a key that has none: None is a state."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT

_ENTRY_BYTES = 50
"""What a dict takes for a key, on average: its tables are a third to two thirds full."""
_STAMP_BYTES = 60
"""What a key's stamp takes: an entry of its own, and a place in a list."""
_SAMPLE_ROWS = 40
_SAMPLE_CHANGES = 10
"""Fewer: they are looked at several times a batch, and errors even out."""
_TOUCHED_SPARE = 10_000


class StateTable(Protocol):
    """Keys in the order they came, each with a state and a stamp. Not thread-safe."""

    @property
    def memory_bytes(self) -> int:
        """About how much memory it takes."""
        ...

    def __len__(self) -> int: ...

    def get(self, key: Any, default: Any, /) -> Any:
        """Return a key's state."""
        ...

    def stamp_of(self, key: Any) -> int:
        """Return the stamp of a key that is there; 0 in a table that keeps none."""
        ...

    def change(self, puts: Mapping[Any, Any], stamp: int, gone: Iterable[Any]) -> None:
        """Give keys their new states, and drop those in `gone`, which are there.

        Raises:
            DurabilityError: The disk refuses it; nothing has changed.
        """
        ...

    def restore(self, states: Mapping[Any, Any], stamps: Mapping[Any, int]) -> None:
        """Give keys back the states and stamps they had; ABSENT: drop them."""
        ...

    def fill(
        self, keys: Sequence[Any], states: Sequence[Any], stamps: Sequence[int]
    ) -> None:
        """Append keys that aren't there."""
        ...

    def items(self) -> Iterator[tuple[Any, Any]]:
        """Return (key, state) of all keys as they are now, whatever changes later."""
        ...

    def rows(self) -> Iterator[tuple[Any, Any, int]]:
        """Yield (key, state, stamp) of all keys; nothing may change meanwhile."""
        ...

    def older_than(self, stamp: int) -> list[Any]:
        """Return the keys with stamps before `stamp`, oldest first.

        The first call makes an index; after that the cost is that of what is found.
        """
        ...

    def close(self) -> None:
        """Give up what it holds."""
        ...


class MemoryTable:
    """A StateTable in dicts."""

    __slots__ = (
        "_size_bytes",
        "_stamps",
        "_states",
        "_touched",
        "_touched_count",
        "get",
    )

    def __init__(self, *, keeps_stamps: bool) -> None:
        """Start empty; without stamps nothing is ever old."""
        self._states: dict[Any, Any] = {}
        # Apart from the states: batches that look for no idle keys never come near them.
        self._stamps: dict[Any, int] | None = {} if keeps_stamps else None
        # Keys by stamp; also those that have a newer one by now, or are gone.
        self._touched: dict[int, list[Any]] | None = None
        self._touched_count = 0
        self._size_bytes = 0
        self.get = self._states.get  # Once a record: without a call in between.

    @property
    def memory_bytes(self) -> int:
        """About how much memory it takes: what is in it is measured by samples."""
        each = _ENTRY_BYTES + (0 if self._stamps is None else _STAMP_BYTES)
        return max(0, self._size_bytes) + each * len(self._states)

    def __len__(self) -> int:
        return len(self._states)

    def stamp_of(self, key: Any) -> int:
        """Return the stamp of a key that is there."""
        return 0 if self._stamps is None else self._stamps[key]

    def change(self, puts: Mapping[Any, Any], stamp: int, gone: Iterable[Any]) -> None:
        """Give keys their new states, and drop those in `gone`."""
        self._size_bytes += self._growth(puts)
        self._states.update(puts)
        if self._stamps is not None:
            self._stamps.update(dict.fromkeys(puts, stamp))
            self._note_touched(puts, stamp)
        for key in gone:
            self._drop(key)

    def _growth(self, puts: Mapping[Any, Any]) -> int:
        """Return about how many bytes more these states take than what they replace."""
        step = max(1, len(puts) // _SAMPLE_CHANGES)
        keys = list(puts)[::step]
        grown = 0
        for key in keys:
            before = self._states.get(key, ABSENT)
            grown += size_of(puts[key])
            grown += size_of(key) if before is ABSENT else -size_of(before)
        return grown * len(puts) // max(1, len(keys))

    def _drop(self, key: Any) -> None:
        before = self._states.pop(key, ABSENT)
        if before is not ABSENT:
            self._size_bytes -= size_of(key) + size_of(before)
            if self._stamps is not None:
                self._stamps.pop(key, None)

    def restore(self, states: Mapping[Any, Any], stamps: Mapping[Any, int]) -> None:
        """Give keys back the states and stamps they had; ABSENT: drop them."""
        for key, state in states.items():
            if state is ABSENT:
                self._drop(key)
                continue
            self._size_bytes += self._growth({key: state})
            self._states[key] = state
            if self._stamps is not None:
                self._stamps[key] = stamps[key]
                self._note_touched((key,), stamps[key])

    def fill(
        self, keys: Sequence[Any], states: Sequence[Any], stamps: Sequence[int]
    ) -> None:
        """Append keys that aren't there."""
        self._states.update(zip(keys, states, strict=True))
        self._size_bytes += sample_bytes(keys) + sample_bytes(states)
        if self._stamps is not None:
            known: dict[int, int] = {}  # One object a stamp, not one a key.
            same = (known.setdefault(stamp, stamp) for stamp in stamps)
            self._stamps.update(zip(keys, same, strict=True))
            self._touched = None

    def items(self) -> Iterator[tuple[Any, Any]]:
        """Return (key, state) of all keys as they are now."""
        return zip(list(self._states), list(self._states.values()), strict=True)

    def rows(self) -> Iterator[tuple[Any, Any, int]]:
        """Yield (key, state, stamp) of all keys."""
        for key, state in self._states.items():
            yield key, state, self.stamp_of(key)

    def _note_touched(self, keys: Collection[Any], stamp: int) -> None:
        if self._touched is None:
            return
        self._touched_count += len(keys)
        # Most may be out of date by now: made anew before they outnumber the keys.
        if self._touched_count > 4 * len(self._states) + _TOUCHED_SPARE:
            self._touched = None
            self._index()
        else:
            self._touched.setdefault(stamp, []).extend(keys)

    def _index(self) -> dict[int, list[Any]]:
        if self._touched is None:
            assert self._stamps is not None, "asked only where stamps are kept"
            made: dict[int, list[Any]] = {}
            for key, stamp in self._stamps.items():
                made.setdefault(stamp, []).append(key)
            self._touched, self._touched_count = made, len(self._stamps)
        return self._touched

    def older_than(self, stamp: int) -> list[Any]:
        """Return the keys with stamps before `stamp`, oldest first."""
        if self._stamps is None:
            return []
        touched, stamps = self._index(), self._stamps
        found: list[Any] = []
        for old in sorted(each for each in touched if each < stamp):
            # A key that was put back is there twice.
            keys = [k for k in dict.fromkeys(touched[old]) if stamps.get(k) == old]
            self._touched_count -= len(touched[old]) - len(keys)
            if keys:
                touched[old] = keys
                found += keys
            else:
                del touched[old]
        return found

    def close(self) -> None:
        """Do nothing: memory goes with the last reference."""


def size_of(value: Any) -> int:
    """Return about how many bytes a key or a kept state takes."""
    size = sys.getsizeof(value)
    if type(value) is tuple:
        size += sum(map(size_of, value))
    return size


def sample_bytes(values: Sequence[Any]) -> int:
    """Return about how many bytes keys or kept states take together."""
    sample = values[:: max(1, len(values) // _SAMPLE_ROWS)]
    return sum(map(size_of, sample)) * len(values) // max(1, len(sample))


def memory_of(
    count: int, sample: Iterable[tuple[Any, Any]], *, keeps_stamps: bool
) -> int:
    """Return about what `count` keys like these would take in a MemoryTable."""
    sizes = [size_of(key) + size_of(state) for key, state in sample]
    each = _ENTRY_BYTES + (_STAMP_BYTES if keeps_stamps else 0)
    return count * each + sum(sizes) * count // max(1, len(sizes))
