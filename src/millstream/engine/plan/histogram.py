"""Histogram: edges of buckets, and which bucket a value is in."""

import math
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

_EDGES_MIN = 2


def is_number(value: Any) -> bool:
    """Say whether a record counts: neither None nor NaN."""
    return value is not None and not (isinstance(value, float) and math.isnan(value))


@dataclass(frozen=True, slots=True)
class Range:
    """The least and the greatest record of a partition."""

    def __call__(self, rows: Iterable[Any]) -> tuple[Any, Any] | None:
        """Return them, or None of nothing."""
        low = high = None
        for value in filter(is_number, rows):
            if low is None:
                low = high = value
            low, high = min(low, value), max(high, value)
        return None if low is None else (low, high)


def even_edges(low: Any, high: Any, count: int) -> tuple[list[Any], bool]:
    """Return the edges of `count` even buckets, and whether one bucket holds all.

    Raises:
        ValueError: The range is infinite.
        TypeError: The records aren't numbers.
    """
    if count == 1 or low == high:
        return [low, high], True
    try:
        step = (high - low) / count
    except TypeError as error:
        msg = "Can not generate buckets with non-number in RDD"
        raise TypeError(msg) from error
    if math.isinf(step):
        msg = "Can not generate buckets with infinite value"
        raise ValueError(msg)
    if isinstance(low, int) and isinstance(high, int) and (high - low) % count == 0:
        step = (high - low) // count
    edges = [low + step * index for index in range(count)]
    return [*edges, high], False


def check_edges(buckets: Any) -> Any:
    """Return `buckets`, a sorted list or tuple of distinct edges.

    Raises:
        ValueError: Fewer than two, NaN or None, unsorted or repeated edges.
        TypeError: No list or tuple, or edges of different types.
    """
    if not isinstance(buckets, list | tuple):
        msg = "buckets should be a list or tuple or number(int or long)"
        raise TypeError(msg)
    if len(buckets) < _EDGES_MIN:
        msg = "buckets should have more than one value"
        raise ValueError(msg)
    if not all(map(is_number, buckets)):
        msg = "can not have None or NaN in buckets"
        raise ValueError(msg)
    if {type(edge) for edge in buckets if isinstance(edge, str)} and not all(
        isinstance(edge, str) for edge in buckets
    ):
        msg = "buckets should be all in one type"
        raise TypeError(msg)
    if sorted(buckets) != list(buckets):
        msg = "buckets should be sorted"
        raise ValueError(msg)
    if len(set(buckets)) != len(buckets):
        msg = "buckets should not contain duplicated values"
        raise ValueError(msg)
    return buckets


@dataclass(frozen=True, slots=True)
class CountBuckets:
    """How many records of a partition are in each bucket."""

    edges: tuple[Any, ...]

    def __call__(self, rows: Iterable[Any]) -> list[int]:
        """Return one count a bucket; what is outside all buckets isn't counted."""
        edges = self.edges
        low, high = edges[0], edges[-1]
        counts = [0] * (len(edges) - 1)
        for value in filter(is_number, rows):
            if low <= value <= high:
                counts[min(bisect_right(edges, value) - 1, len(counts) - 1)] += 1
        return counts
