"""Ranges: where a sorted RDD is cut into partitions."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class RangeFunction:
    """The partition of a key: the number of bounds below it.

    Equal keys share a partition. With `ascending` false the partitions are in reverse.
    """

    bounds: tuple[Any, ...]
    key: Callable[[Any], Any]
    is_ascending: bool

    def __call__(self, key: Any) -> int:
        """Return the partition of `key`."""
        place = bisect_left(self.bounds, self.key(key))
        return place if self.is_ascending else len(self.bounds) - place


def choose_bounds(sample: Sequence[Any], partition_count: int) -> tuple[Any, ...]:
    """Return `partition_count - 1` bounds that cut a sorted sample evenly."""
    if not sample:
        return ()
    return tuple(
        sample[len(sample) * (index + 1) // partition_count]
        for index in range(partition_count - 1)
    )


@dataclass(frozen=True, slots=True)
class SortPartition:
    """The pairs of a partition by key; stable, in memory."""

    key: Callable[[Any], Any]
    is_ascending: bool

    def __call__(self, _index: int, rows: Iterable[Any]) -> list[Any]:
        """Return the sorted pairs."""
        by_key, reverse = self.key, not self.is_ascending
        return sorted(rows, key=lambda pair: by_key(pair[0]), reverse=reverse)
