"""Kafka 0-10: direct streams by strategies, as Spark's newer connector has them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from millstream.engine.base.errors import IllegalArgumentError
from millstream.engine.sources.kafka.cluster import (
    Chosen,
    Partitions,
    TopicPattern,
    Topics,
)
from millstream.engine.sources.kafka.offsets import (
    OffsetRange,
    PerPartitionConfig,
    TopicAndPartition,
)
from millstream.engine.sources.kafka.settings import read_settings
from millstream.engine.sources.kafka.source import KafkaSource, Start, utf8_decoder
from millstream.streaming.kafka import (
    HasOffsetRanges,
    KafkaDStream,
    KafkaRDD,
    _direct,
    _rates,
    _rdd,
    _reading,
    _time_ms,
    _timestamp_of,
)

if TYPE_CHECKING:
    from millstream.context import SparkContext
    from millstream.streaming.context import StreamingContext

__all__ = [
    "CanCommitOffsets",
    "ConsumerRecord",
    "ConsumerStrategies",
    "HasOffsetRanges",
    "KafkaRDD",
    "KafkaUtils",
    "LocationStrategies",
    "OffsetRange",
    "PerPartitionConfig",
    "TopicPartition",
]

TopicPartition = TopicAndPartition
CanCommitOffsets = KafkaDStream
"""What has `commitAsync`."""


@dataclass(frozen=True, slots=True)
class ConsumerRecord:
    """A record of Kafka. `timestamp` is in ms since the epoch, or None."""

    topic: str
    partition: int
    offset: int
    timestamp: int | None
    timestampType: str
    key: Any
    value: Any
    headers: tuple[tuple[str, bytes | None], ...] = field(default=())


@dataclass(frozen=True, slots=True)
class LocationStrategy:
    """Where partitions are read. Tasks run where there is room, whatever is chosen."""

    name: str
    hosts: Mapping[TopicAndPartition, str] = field(default_factory=dict)


class LocationStrategies:
    """The strategies that Spark has."""

    PreferBrokers = LocationStrategy("PreferBrokers")
    PreferConsistent = LocationStrategy("PreferConsistent")

    @staticmethod
    def PreferFixed(hosts: Mapping[TopicAndPartition, str]) -> LocationStrategy:
        """Return the strategy that names hosts."""
        return LocationStrategy("PreferFixed", dict(hosts))


@dataclass(frozen=True, slots=True)
class ConsumerStrategy:
    """Which partitions are read, with which parameters, from where."""

    chosen: Chosen
    kafkaParams: Mapping[str, Any]
    offsets: Mapping[TopicAndPartition, int]


class ConsumerStrategies:
    """The strategies that Spark has.

    `offsets` say where partitions begin of a stream without a checkpoint. Others begin at
    what the group `group.id` has committed, else where `auto.offset.reset` says: "latest"
    by default.
    """

    @staticmethod
    def Subscribe(
        topics: Iterable[str],
        kafkaParams: Mapping[str, Any],
        offsets: Mapping[TopicAndPartition, int] | None = None,
    ) -> ConsumerStrategy:
        """Read every partition of topics, also of those to come."""
        names = (topics,) if isinstance(topics, str) else tuple(topics)
        if not names:
            msg = "a Kafka stream needs topics"
            raise IllegalArgumentError(msg)
        return ConsumerStrategy(Topics(names), kafkaParams, dict(offsets or {}))

    @staticmethod
    def SubscribePattern(
        pattern: str,
        kafkaParams: Mapping[str, Any],
        offsets: Mapping[TopicAndPartition, int] | None = None,
    ) -> ConsumerStrategy:
        """Read every topic whose whole name matches, also those to come.

        `pattern` is a text, or what `re.compile` has made of one.
        """
        text = getattr(pattern, "pattern", pattern)
        return ConsumerStrategy(TopicPattern(text), kafkaParams, dict(offsets or {}))

    @staticmethod
    def Assign(
        topicPartitions: Iterable[TopicAndPartition],
        kafkaParams: Mapping[str, Any],
        offsets: Mapping[TopicAndPartition, int] | None = None,
    ) -> ConsumerStrategy:
        """Read these partitions and no others."""
        places = tuple(sorted(topicPartitions))
        if not places:
            msg = "a Kafka stream needs partitions"
            raise IllegalArgumentError(msg)
        return ConsumerStrategy(Partitions(places), kafkaParams, dict(offsets or {}))


class KafkaUtils:
    """Makes streams and RDDs of ConsumerRecords."""

    @staticmethod
    def createDirectStream(
        ssc: "StreamingContext",
        locationStrategy: LocationStrategy,
        consumerStrategy: ConsumerStrategy,
        perPartitionConfig: PerPartitionConfig | None = None,
        *,
        startingTimestamp: int | datetime | None = None,
        failOnDataLoss: bool = True,
    ) -> KafkaDStream:
        """Return the ConsumerRecords of partitions, each once.

        `key.deserializer` and `value.deserializer` in the parameters are functions of
        bytes or None, or the names of Java's classes for text (the default) and bytes.

        Raises:
            IllegalArgumentError: A parameter can't be used.
            MissingDependencyError: `confluent-kafka` isn't installed.
        """
        del locationStrategy
        params = consumerStrategy.kafkaParams
        settings = read_settings(params)
        source = KafkaSource(
            settings,
            consumerStrategy.chosen,
            Start(
                consumerStrategy.offsets, _time_ms(startingTimestamp), uses_group=True
            ),
            _reading(ssc.sparkContext, settings, fails_on_loss=failOnDataLoss),
            perPartitionConfig or _rates(ssc.sparkContext),
            _records_of(params),
        )
        return _direct(ssc, source)

    @staticmethod
    def createRDD(
        sc: "SparkContext",
        kafkaParams: Mapping[str, Any],
        offsetRanges: Sequence[OffsetRange],
        locationStrategy: LocationStrategy = LocationStrategies.PreferConsistent,
    ) -> KafkaRDD:
        """Return the ConsumerRecords of ranges, a partition each.

        Raises:
            AssertionError: The strategy is PreferBrokers, for which a stream is needed.
            DataLossError: The partition doesn't have such offsets.
            MissingTopicError: There is no such partition.
            IllegalArgumentError: A parameter can't be used.
        """
        assert locationStrategy != LocationStrategies.PreferBrokers, (
            "If you want to prefer brokers, you must provide a mapping using PreferFixed "
            "A single KafkaRDD does not have a driver consumer and cannot look up brokers "
            "for you."
        )
        settings = read_settings(kafkaParams)
        return _rdd(sc, settings, offsetRanges, KafkaSource, _records_of(kafkaParams))


@dataclass(frozen=True, slots=True)
class _RecordsOf:
    """Makes ConsumerRecords of messages."""

    key_decoder: Callable[[Any], Any]
    value_decoder: Callable[[Any], Any]

    def __call__(self, messages: Sequence[Any]) -> Iterator[ConsumerRecord]:
        return map(self._record, messages)

    def _record(self, message: Any) -> ConsumerRecord:
        kind, timestamp = _timestamp_of(message)
        return ConsumerRecord(
            message.topic(),
            message.partition(),
            message.offset(),
            timestamp,
            kind,
            self.key_decoder(message.key()),
            self.value_decoder(message.value()),
            tuple(message.headers() or ()),
        )


def _records_of(params: Mapping[str, Any]) -> _RecordsOf:
    return _RecordsOf(
        *(_decoder(params, f"{which}.deserializer") for which in ("key", "value"))
    )


def _decoder(params: Mapping[str, Any], key: str) -> Callable[[Any], Any]:
    given = params.get(key)
    if given is None:
        return utf8_decoder
    if callable(given):
        found: Callable[[Any], Any] = given
        return found
    match str(given).rpartition(".")[2]:
        case "StringDeserializer":
            return utf8_decoder
        case "ByteArrayDeserializer":
            return _same
        case _:
            msg = f"the Kafka parameter '{key}' can't be {given!r}"
            raise IllegalArgumentError(
                msg, hint="give a function of bytes or None that returns a value"
            )


def _same(raw: bytes | None) -> bytes | None:
    return raw
