"""Offsets: which records of which Kafka partition belong to a batch."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class TopicAndPartition:
    """A partition of a topic."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"partition {self.partition} of topic '{self.topic}'"


@dataclass(frozen=True, slots=True)
class OffsetRange:
    """The records of a partition from an offset on, until before another one.

    Not every offset has a record: transactions and compaction leave holes.

    >>> print(OffsetRange("logs", 0, 1, 5))
    OffsetRange(topic: 'logs', partition: 0, range: [1 -> 5])
    """

    topic: str
    partition: int
    fromOffset: int
    untilOffset: int

    def count(self) -> int:
        """Return how many offsets there are: the most records it can have."""
        return self.untilOffset - self.fromOffset

    def topicPartition(self) -> TopicAndPartition:
        """Return whose offsets they are."""
        return TopicAndPartition(self.topic, self.partition)

    @classmethod
    def create(
        cls, topic: str, partition: int, fromOffset: int, untilOffset: int
    ) -> "OffsetRange":
        """Return a new range."""
        return cls(topic, partition, fromOffset, untilOffset)

    def __str__(self) -> str:
        return (
            f"OffsetRange(topic: '{self.topic}', partition: {self.partition}, "
            f"range: [{self.fromOffset} -> {self.untilOffset}])"
        )


class PerPartitionConfig:
    """How fast partitions are read, in records a second; override for rates of your own."""

    def __init__(self, maxRate: int = 0, minRate: int = 1) -> None:
        """Have the same rates for every partition; see the two methods."""
        self._max_rate, self._min_rate = maxRate, minRate

    def maxRatePerPartition(self, topicPartition: TopicAndPartition) -> int:
        """Return how many records a second are read at most; 0 for any number."""
        del topicPartition
        return self._max_rate

    def minRatePerPartition(self, topicPartition: TopicAndPartition) -> int:
        """Return how many records a limited batch has at least, if there are so many."""
        del topicPartition
        return self._min_rate


def plan_until(
    current: Mapping[TopicAndPartition, int],
    latest: Mapping[TopicAndPartition, int],
    rate: float | None,
    seconds: float,
    rates: PerPartitionConfig,
) -> dict[TopicAndPartition, int]:
    """Return until where each partition is read in a batch of so many seconds.

    `rate` is back-pressure's, in records a second for all partitions together: each has a
    share by how far it lags behind. The rule is that of Spark's 0-10 direct stream.
    """
    lags = {each: max(latest[each] - offset, 0) for each, offset in current.items()}
    limits = _limits(lags, rate, rates)
    if sum(limits.values()) <= 0:
        return {each: max(latest[each], offset) for each, offset in current.items()}
    return {
        each: min(
            offset + max(int(seconds * limits[each]), rates.minRatePerPartition(each)),
            max(latest[each], offset),
        )
        for each, offset in current.items()
    }


def _limits(
    lags: Mapping[TopicAndPartition, int],
    rate: float | None,
    rates: PerPartitionConfig,
) -> dict[TopicAndPartition, float]:
    most = {each: rates.maxRatePerPartition(each) for each in lags}
    if rate is None or rate <= 0:
        return {each: float(limit) for each, limit in most.items()}
    total = sum(lags.values())
    shares = {each: rate * lag / total if total else 0.0 for each, lag in lags.items()}
    return {
        each: min(share, most[each]) if most[each] > 0 else share
        for each, share in shares.items()
    }
