"""Partitioners: which partition a key belongs to; one hash for rows and columns."""

import datetime
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from millstream.engine.base.errors import IllegalArgumentError


def portable_hash(key: Any) -> int:
    """Return a hash that is the same in every process and after every restart.

    None is 0, a tuple mixes the hashes of its items by the recipe CPython 2 used, numbers
    hash as Python hashes them. Text and bytes go through CRC-32 rather than `hash()`, which
    differs from process to process, so PYTHONHASHSEED need not be set.

    >>> portable_hash(None), portable_hash(7), portable_hash("a")
    (0, 7, 3904355907)
    """
    if isinstance(key, str):
        return zlib.crc32(key.encode("utf-8", "surrogatepass"))
    if key is None:
        return 0
    if isinstance(key, tuple):
        mixed = 0x345678
        for item in key:
            mixed ^= portable_hash(item)
            mixed *= 1000003
            mixed &= _SIZE_MAX
        mixed ^= len(key)
        return -2 if mixed == -1 else mixed
    if isinstance(key, int | float):
        return hash(key)
    return _hash_of_others(key)


_SIZE_MAX = 0x7FFFFFFFFFFFFFFF


def _hash_of_others(key: Any) -> int:
    if isinstance(key, bytes):
        return zlib.crc32(key)
    if isinstance(key, frozenset):
        return portable_hash(tuple(sorted(portable_hash(item) for item in key)))
    if isinstance(key, datetime.datetime):
        offset = key.utcoffset()
        naive = key.replace(tzinfo=None)
        since = (naive if offset is None else naive - offset) - datetime.datetime.min  # noqa: DTZ901
        return hash(since)
    if isinstance(key, datetime.date):
        return hash(key.toordinal())
    return hash(key)


@dataclass(frozen=True, slots=True)
class Partitioner:
    """Places keys: `function(key) % count`. Equal iff count and function are."""

    count: int
    function: Callable[[Any], int] = portable_hash

    def __post_init__(self) -> None:
        if self.count < 0:
            msg = f"Number of partitions ({self.count}) cannot be negative."
            raise IllegalArgumentError(msg)

    def partition_of(self, key: Any) -> int:
        """Return the partition of `key`, from 0 to count - 1."""
        return self.function(key) % self.count


def split_pairs(
    pairs: Iterable[Any], count: int, function: Callable[[Any], int]
) -> list[list[Any]]:
    """Return `pairs` as one list a partition, each in the order they came.

    The hot loop of a shuffle: text and ints, which most keys are, skip a call.
    """
    buckets: list[list[Any]] = [[] for _ in range(count)]
    appends = [bucket.append for bucket in buckets]
    crc32, is_portable = zlib.crc32, function is portable_hash
    for record in pairs:
        key, value = record
        kind = type(key)
        if not is_portable or count == 1:
            place = function(key) % count if count > 1 else 0
        elif kind is str:
            place = crc32(key.encode("utf-8", "surrogatepass")) % count
        elif kind is int:
            place = hash(key) % count
        else:
            place = portable_hash(key) % count
        appends[place]((key, value))
    return buckets
