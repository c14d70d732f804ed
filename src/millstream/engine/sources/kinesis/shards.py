"""Shards: which of a Kinesis stream's are read, and in which order after resharding.

A shard that is split or merged is closed, and its keys go to its children. Records of a key
stay in order if no child is read before its parents have been read to their ends, in an
earlier batch. Where a stream is read is therefore a cut through the family tree of shards:
the shards of the ranges of a batch. What is above the cut is finished, what is below it is
still to come.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard, as ListShards tells of it."""

    id: str
    parents: tuple[str, ...]
    first_key: int
    """Of its hash keys."""
    last_key: int
    is_closed: bool


@dataclass(frozen=True, slots=True)
class KinesisRange:
    """Records of a shard, from one sequence number to another; plain data."""

    shard: str
    first: str | None
    """The sequence number of the first record; None: the range is empty."""
    last: str | None
    """That of the last record in this or any earlier range; None: there was none yet."""
    count: int
    """How many records it has; those of the producer library count one by one."""
    as_of_ms: int
    """Up to when the shard has been read: what came later comes in later ranges."""
    start_ms: int | None = None
    """Where reading began, if it wasn't the shard's oldest record."""
    is_end: bool = False
    """Whether the shard is closed, and ends here."""


def unread(
    shards: Mapping[str, Shard], previous: Sequence[KinesisRange]
) -> tuple[list[KinesisRange], list[str]]:
    """Return which shards belong to the batch after that of `previous`.

    First those of `previous` that go on, or have ended but aren't replaced yet; then, by
    id, those that can begin because their parents have ended.
    """
    known = {each.shard: each for each in previous}
    above = _ancestors(shards, known)
    finished = above | {each.shard for each in previous if each.is_end}
    going_on = [
        each
        for each in previous
        if not each.is_end or not _is_replaced(each, shards, known)
    ]
    beginning = [
        each.id
        for each in shards.values()
        if each.id not in known
        and each.id not in above
        # A parent that isn't listed has expired.
        and all(parent in finished or parent not in shards for parent in each.parents)
    ]
    return going_on, sorted(beginning)


def roots(shards: Mapping[str, Shard]) -> list[str]:
    """Return the shards to begin with, to read all there is."""
    return sorted(
        each.id
        for each in shards.values()
        if not any(parent in shards for parent in each.parents)
    )


def open_shards(shards: Mapping[str, Shard]) -> list[str]:
    """Return the shards that records are put into now."""
    return sorted(each.id for each in shards.values() if not each.is_closed)


def shares(waiting: Sequence[int], limit: int) -> list[int]:
    """Return how many records to take of each shard, `limit` in all: in proportion.

    >>> shares([100, 300, 0], 40), shares([1, 1], 40)
    ([10, 30, 0], [1, 1])
    """
    total = sum(waiting)
    if total <= limit:
        return list(waiting)
    # At least one of each that has any, or a small one might wait forever.
    return [min(each, max(1, limit * each // total)) for each in waiting]


def _ancestors(shards: Mapping[str, Shard], of: Iterable[str]) -> set[str]:
    found: set[str] = set()
    waiting = list(of)
    while waiting:
        shard = shards.get(waiting.pop())
        for parent in () if shard is None else shard.parents:
            if parent not in found:
                found.add(parent)
                waiting.append(parent)
    return found


def _is_replaced(
    ended: KinesisRange, shards: Mapping[str, Shard], known: Mapping[str, KinesisRange]
) -> bool:
    """Say whether all keys of a shard that has ended are in children that are read."""
    shard = shards.get(ended.shard)
    if shard is None:
        return True  # It has expired: whatever is listed can begin.
    keys = sum(
        max(
            0,
            min(each.last_key, shard.last_key)
            - max(each.first_key, shard.first_key)
            + 1,
        )
        for each in shards.values()
        if shard.id in each.parents and each.id in known
    )
    return keys > shard.last_key - shard.first_key
