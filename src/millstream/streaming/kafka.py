"""Kafka: streams by offsets and by a group, with the names that PySpark 2.4 has.

The newer shape, with strategies, is in `millstream.streaming.kafka010`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from millstream.engine.base import frames
from millstream.engine.base.errors import (
    IllegalArgumentError,
    IllegalStateError,
    PySparkTypeError,
)
from millstream.engine.base.levels import StorageLevel
from millstream.engine.ingest.direct_source import DirectPartition
from millstream.engine.sources.kafka.cluster import (
    Chosen,
    Cluster,
    MissingTopicError,
    Partitions,
    Topics,
)
from millstream.engine.sources.kafka.offsets import (
    OffsetRange,
    PerPartitionConfig,
    TopicAndPartition,
)
from millstream.engine.sources.kafka.reading import DataLossError, Reading
from millstream.engine.sources.kafka.receiver import KafkaReceiver
from millstream.engine.sources.kafka.settings import KafkaSettings, read_settings
from millstream.engine.sources.kafka.source import (
    KafkaSource,
    OnCommit,
    Start,
    ToRecords,
    Utf8KafkaSource,
    utf8_decoder,
)
from millstream.engine.streams.direct import DirectInput
from millstream.streaming.batch_rdds import BatchRdds
from millstream.streaming.direct import DirectRDD
from millstream.streaming.dstream import DStream

if TYPE_CHECKING:
    from millstream.context import SparkContext
    from millstream.streaming.context import StreamingContext

__all__ = [
    "Broker",
    "HasOffsetRanges",
    "KafkaDStream",
    "KafkaMessageAndMetadata",
    "KafkaRDD",
    "KafkaUtils",
    "OffsetRange",
    "TopicAndPartition",
    "utf8_decoder",
]

_Decoder = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Broker:
    """Where a broker is. Leaders are found by the client: nothing asks for it."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class KafkaMessageAndMetadata:
    """A record of Kafka with what is known of it; `messageHandler` gets it.

    `headers` are pairs of a name and bytes. `timestamp` is in ms since the epoch, or None;
    `timestampType` says whose: "CreateTime", "LogAppendTime" or "NoTimestampType".
    """

    topic: str
    partition: int
    offset: int
    key: Any = None
    message: Any = None
    headers: tuple[tuple[str, bytes | None], ...] = field(default=(), compare=False)
    timestamp: int | None = field(default=None, compare=False)
    timestampType: str = field(default="NoTimestampType", compare=False)


class HasOffsetRanges:
    """An RDD that knows which offsets it has; only one that a stream itself gives."""

    ranges: tuple[Any, ...]

    def offsetRanges(self) -> list[OffsetRange]:
        """Return the range of each partition, in the order of partitions."""
        return list(self.ranges)


class KafkaRDD(DirectRDD, HasOffsetRanges):
    """The records of a batch of a direct stream, or of ranges."""


class KafkaDStream(DStream[Any]):
    """A direct stream of Kafka.

    `foreachRDD` and `transform` get a KafkaRDD, which knows its `offsetRanges()`; what is
    made of the stream, by `map` for one, has them no more.
    """

    def commitAsync(
        self, offsetRanges: Iterable[OffsetRange], callback: OnCommit | None = None
    ) -> None:
        """Commit the ends of ranges for the group `group.id`, when the next batch begins.

        Of several calls the highest offset of a partition counts, and the last callback:
        it is called with {TopicAndPartition: offset} and an error or None, some batch
        later. Nothing is sent after the last batch. Records are read at least once by who
        begins there: the commit is no part of what the outputs do.

        Raises:
            IllegalStateError: The stream doesn't run, or has no group.
        """
        self._source.commit_later(offsetRanges, callback)

    @property
    def lostOffsets(self) -> int:
        """How many offsets were passed over since the start; see `failOnDataLoss`."""
        return self._source.lost

    @property
    def _source(self) -> KafkaSource:
        operator = self._operator
        assert isinstance(operator, DirectInput), "a Kafka stream is a direct stream"
        source = operator.source
        assert isinstance(source, KafkaSource), "a Kafka stream has a Kafka source"
        return source

    def __reduce_ex__(self, _protocol: Any) -> tuple[Any, ...]:  # type: ignore[override]
        # Output operations call `commitAsync`, and go into checkpoints. The context comes
        # first: it refuses to be sent to a task.
        return _in_context, (self._ssc, self._operator)


def _in_context(ssc: "StreamingContext", operator: DirectInput) -> KafkaDStream:
    return KafkaDStream(operator, ssc)


class KafkaUtils:
    """Makes streams and RDDs of Kafka's records."""

    @staticmethod
    def createStream(
        ssc: "StreamingContext",
        zkQuorum: str,
        groupId: str,
        topics: Mapping[str, int],
        kafkaParams: Mapping[str, Any] | None = None,
        storageLevel: StorageLevel = StorageLevel.MEMORY_AND_DISK_2,
        keyDecoder: _Decoder = utf8_decoder,
        valueDecoder: _Decoder = utf8_decoder,
    ) -> "DStream[tuple[Any, Any]]":
        """Return pairs of key and value that a member of a consumer group receives.

        `topics` is {name: number of threads}. Offsets are committed when their records are
        stored, and logged if `spark.streaming.receiver.writeAheadLog.enable` is set: then
        each comes at least once. ZooKeeper isn't asked: give `bootstrap.servers` in
        `kafkaParams`, else Kafka is looked for at port 9092 of the hosts of `zkQuorum`.

        Raises:
            IllegalArgumentError: A parameter can't be used.
            PySparkTypeError: `topics` is no dict.
            MissingDependencyError: `confluent-kafka` isn't installed.
        """
        if not isinstance(topics, Mapping):
            msg = "topics should be dict"
            raise PySparkTypeError(msg)
        settings = read_settings(
            {**(kafkaParams or {}), "group.id": groupId}, zookeeper=zkQuorum
        )
        receiver = KafkaReceiver(settings, topics, storageLevel)
        stream = ssc.receiverStream(receiver, "KafkaInputDStream")

        def decode(pair: tuple[Any, Any]) -> tuple[Any, Any]:
            return keyDecoder(pair[0]), valueDecoder(pair[1])

        return stream.map(decode)

    @staticmethod
    def createDirectStream(
        ssc: "StreamingContext",
        topics: Iterable[str],
        kafkaParams: Mapping[str, Any],
        fromOffsets: Mapping[TopicAndPartition, int] | None = None,
        keyDecoder: _Decoder = utf8_decoder,
        valueDecoder: _Decoder = utf8_decoder,
        messageHandler: Callable[[KafkaMessageAndMetadata], Any] | None = None,
        *,
        startingTimestamp: int | datetime | None = None,
        failOnDataLoss: bool = True,
    ) -> KafkaDStream:
        """Return (key, value) of every record, or `messageHandler(message)`, each once.

        A new stream begins at `fromOffsets`, and then reads these partitions only; or at
        the first record since `startingTimestamp` (ms since the epoch, or a datetime); or
        where `auto.offset.reset` says: "largest", the default, or "smallest". Partitions
        that topics get later are read from their beginning. With `failOnDataLoss=False`
        what was deleted before it was read is passed over, logged and counted.

        Raises:
            IllegalArgumentError: A parameter can't be used.
            IllegalStateError: `fromOffsets` are of other topics.
            PySparkTypeError: An argument is of the wrong type.
            MissingDependencyError: `confluent-kafka` isn't installed.
        """
        _check_direct(topics, kafkaParams)
        chosen = _chosen(tuple(topics), fromOffsets)
        start = Start(dict(fromOffsets or {}), _time_ms(startingTimestamp))
        kind, to_records = _records_of(keyDecoder, valueDecoder, messageHandler)
        settings = read_settings(kafkaParams)
        reading = _reading(ssc.sparkContext, settings, fails_on_loss=failOnDataLoss)
        rates = _rates(ssc.sparkContext)
        return _direct(ssc, kind(settings, chosen, start, reading, rates, to_records))

    @staticmethod
    def createRDD(
        sc: "SparkContext",
        kafkaParams: Mapping[str, Any],
        offsetRanges: Sequence[OffsetRange],
        leaders: Mapping[TopicAndPartition, Broker] | None = None,
        keyDecoder: _Decoder = utf8_decoder,
        valueDecoder: _Decoder = utf8_decoder,
        messageHandler: Callable[[KafkaMessageAndMetadata], Any] | None = None,
    ) -> KafkaRDD:
        """Return the records of ranges, a partition each. `leaders` aren't needed.

        Raises:
            DataLossError: The partition doesn't have such offsets.
            MissingTopicError: There is no such partition.
            IllegalArgumentError: A parameter can't be used.
            PySparkTypeError: An argument is of the wrong type.
        """
        del leaders
        if not isinstance(kafkaParams, Mapping):
            msg = "kafkaParams should be dict"
            raise PySparkTypeError(msg)
        if not isinstance(offsetRanges, Sequence):
            msg = "offsetRanges should be list"
            raise PySparkTypeError(msg)
        kind, to_records = _records_of(keyDecoder, valueDecoder, messageHandler)
        return _rdd(sc, read_settings(kafkaParams), offsetRanges, kind, to_records)


def _check_direct(topics: Any, params: Any) -> None:
    if isinstance(topics, str) or not isinstance(topics, Iterable):
        msg = "topics should be list"
        raise PySparkTypeError(msg)
    if not isinstance(params, Mapping):
        msg = "kafkaParams should be dict"
        raise PySparkTypeError(msg)


def _chosen(
    topics: tuple[str, ...], offsets: Mapping[TopicAndPartition, int] | None
) -> Chosen:
    if not offsets:
        if not topics:
            msg = "a Kafka stream needs topics"
            raise IllegalArgumentError(msg)
        return Topics(topics)
    of_offsets = {each.topic for each in offsets}
    if of_offsets != set(topics):
        msg = (
            f"The specified topics: {' '.join(sorted(set(topics)))} do not equal to the "
            f"topic from offsets: {' '.join(sorted(of_offsets))}"
        )
        raise IllegalStateError(msg)
    return Partitions(tuple(sorted(offsets)))


def _time_ms(time: int | datetime | None) -> int | None:
    return int(time.timestamp() * 1000) if isinstance(time, datetime) else time


def _records_of(
    key_decoder: _Decoder,
    value_decoder: _Decoder,
    handler: Callable[[KafkaMessageAndMetadata], Any] | None,
) -> tuple[type[KafkaSource], ToRecords]:
    """Return the kind of source, and the function that makes records of messages."""
    if handler is None:
        is_text = key_decoder is utf8_decoder and value_decoder is utf8_decoder
        kind = Utf8KafkaSource if is_text else KafkaSource
        return kind, _PairsOf(key_decoder, value_decoder)
    return KafkaSource, _HandledBy(key_decoder, value_decoder, handler)


@dataclass(frozen=True, slots=True)
class _PairsOf:
    """Makes pairs of messages, each when it is asked for."""

    key_decoder: _Decoder
    value_decoder: _Decoder

    def __call__(self, messages: Sequence[Any]) -> Iterable[tuple[Any, Any]]:
        kind = type(messages[0])
        return zip(
            _decoded(map(kind.key, messages), self.key_decoder),
            _decoded(map(kind.value, messages), self.value_decoder),
            strict=True,
        )


def _decoded(raw: Iterator[Any], decoder: _Decoder) -> Iterator[Any]:
    if decoder is utf8_decoder:  # Called for each record: that would take longer.
        return (each if each is None else each.decode() for each in raw)
    return map(decoder, raw)


@dataclass(frozen=True, slots=True)
class _HandledBy:
    """Has a program's function make a record of a message."""

    key_decoder: _Decoder
    value_decoder: _Decoder
    handler: Callable[[KafkaMessageAndMetadata], Any]

    def __call__(self, messages: Sequence[Any]) -> Iterator[Any]:
        return map(self._record, messages)

    def _record(self, message: Any) -> Any:
        kind, timestamp = _timestamp_of(message)
        return self.handler(
            KafkaMessageAndMetadata(
                message.topic(),
                message.partition(),
                message.offset(),
                self.key_decoder(message.key()),
                self.value_decoder(message.value()),
                tuple(message.headers() or ()),
                timestamp,
                kind,
            )
        )


_TIMESTAMP_TYPES = ("NoTimestampType", "CreateTime", "LogAppendTime")


def _timestamp_of(message: Any) -> tuple[str, int | None]:
    kind, timestamp = message.timestamp()
    return _TIMESTAMP_TYPES[kind], timestamp if kind else None


def _reading(
    sc: "SparkContext", settings: KafkaSettings, *, fails_on_loss: bool
) -> Reading:
    conf = sc._driver.settings
    wait = "spark.streaming.kafka.consumer.poll.ms"
    return Reading(
        settings.for_tasks(),
        conf.get_ms(wait) / 1000 if conf.is_set(wait) else settings.timeout_s,
        fails_on_loss,
        conf.get_int("spark.streaming.kafka.consumer.cache.maxCapacity")
        if conf.get_bool("spark.streaming.kafka.consumer.cache.enabled")
        else 0,
    )


def _rates(sc: "SparkContext") -> PerPartitionConfig:
    conf = sc._driver.settings
    return PerPartitionConfig(
        conf.get_int("spark.streaming.kafka.maxRatePerPartition"),
        conf.get_int("spark.streaming.kafka.minRatePerPartition"),
    )


def _direct(ssc: "StreamingContext", source: KafkaSource) -> KafkaDStream:
    graph = ssc._graph
    graph.check_may_grow()
    rdds = graph.rdds
    assert isinstance(rdds, BatchRdds), "a context makes its RDDs by itself"
    to_rdd = partial(rdds.from_ranges, rdd_type=KafkaRDD)
    return KafkaDStream(
        DirectInput(graph, source, to_rdd, "DirectKafkaInputDStream"), ssc
    )


def _rdd(
    sc: "SparkContext",
    settings: KafkaSettings,
    ranges: Sequence[OffsetRange],
    kind: type[KafkaSource],
    to_records: ToRecords,
) -> KafkaRDD:
    _check_ranges(settings, ranges)
    reading = _reading(sc, settings, fails_on_loss=True)
    places = tuple(each.topicPartition() for each in ranges)
    source = kind(
        settings, Partitions(places), Start(), reading, PerPartitionConfig(), to_records
    )
    pickled = frames.dumps_function(source)
    parts = [
        DirectPartition(pickled, source.as_data(each), source.has_blocks)
        for each in ranges
    ]
    made: KafkaRDD = BatchRdds(sc).from_ranges(parts, ranges, KafkaRDD)
    return made


def _check_ranges(settings: KafkaSettings, ranges: Sequence[OffsetRange]) -> None:
    """Refuse ranges that can't be read.

    Raises:
        DataLossError: The partition doesn't have such offsets.
        MissingTopicError: There is no such partition.
        IllegalArgumentError: One ends before it begins.
    """
    for each in ranges:
        if each.fromOffset > each.untilOffset:
            msg = f"{each} ends before it begins"
            raise IllegalArgumentError(msg)
    cluster = Cluster(settings)
    there = cluster.partitions()
    places = {each.topicPartition() for each in ranges}
    for place in places:
        if place.partition not in there.get(place.topic, ()):
            msg = f"the Kafka cluster at {settings.servers} has no {place}"
            raise MissingTopicError(msg)
    earliest, latest = cluster.earliest(places), cluster.latest(places)
    for each in ranges:
        place = each.topicPartition()
        if each.fromOffset < earliest[place] or each.untilOffset > latest[place]:
            msg = (
                f"{place} has the offsets {earliest[place]} to {latest[place]}, not all "
                f"of {each.fromOffset} to {each.untilOffset}"
            )
            raise DataLossError(msg)
