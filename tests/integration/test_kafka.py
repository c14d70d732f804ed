"""Kafka streams on a real broker: each record once, whatever happens in between."""

import itertools
import json
import logging
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.killing import run_with_kills
from tests.integration.servers.kafka import Broker, broker, wait_until
from tests.integration.test_programs import lines_until

from millstream import SparkConf, SparkContext
from millstream.engine.base.errors import IllegalStateError, PySparkTypeError
from millstream.engine.base.secrets import MissingSecretError
from millstream.engine.sources.kafka.cluster import MissingTopicError
from millstream.engine.sources.kafka.reading import DataLossError
from millstream.streaming import kafka010
from millstream.streaming.kafka import (
    KafkaMessageAndMetadata,
    KafkaRDD,
    KafkaUtils,
    OffsetRange,
    TopicAndPartition,
)
from millstream.testing import StreamHarness

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

PROGRAM = Path(__file__).parent / "programs" / "kafka_program.py"
_groups = itertools.count()


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Return a broker that all tests share."""
    with broker(tmp_path_factory.mktemp("kafka")) as made:
        yield made


@pytest.fixture
def group(kafka: Broker) -> str:
    """Return the name of a new group."""
    return kafka.topic() + f"-group-{next(_groups)}"


def params(kafka: Broker, **more: Any) -> dict[str, Any]:
    """Return parameters; `_` is for the dots in names."""
    return {
        "bootstrap.servers": kafka.bootstrap,
        "auto.offset.reset": "smallest",
        **{key.replace("_", "."): value for key, value in more.items()},
    }


def values(batches: list[list[Any]]) -> list[list[str]]:
    """Return the values of pairs, batch by batch."""
    return [sorted(value for _, value in batch) for batch in batches]


# Batches and their ranges.


def test_each_batch_has_what_is_new_and_its_ranges(kafka: Broker) -> None:
    """A partition for each of Kafka's, in order; also those with nothing new."""
    topic, seen = kafka.topic(2), []
    kafka.produce(topic, ["a", "b"])
    with StreamHarness() as h:
        pairs = KafkaUtils.createDirectStream(h.ssc, [topic], params(kafka))

        def look(rdd: Any) -> None:
            assert isinstance(rdd, KafkaRDD)
            assert isinstance(rdd, kafka010.HasOffsetRanges)
            seen.append((rdd.offsetRanges(), rdd.getNumPartitions()))

        pairs.foreachRDD(look)
        batches = h.collect(pairs)
        transformed = h.collect(
            pairs.transform(lambda rdd: rdd.context.parallelize(rdd.offsetRanges()))
        )
        h.run()
        kafka.produce(topic, ["c"], partition=1, key="k")
        h.run(2)

    assert batches.records == [[(None, "a"), (None, "b")], [("k", "c")], []]
    assert [[(e.fromOffset, e.untilOffset) for e in ranges] for ranges, _ in seen] == [
        [(0, 2), (0, 0)],
        [(2, 2), (0, 1)],
        [(2, 2), (1, 1)],
    ]
    assert [[e.partition for e in ranges] for ranges, _ in seen] == [[0, 1]] * 3
    assert {count for _, count in seen} == {2}
    assert transformed.records[0] == seen[0][0]


def test_input_of_a_batch_is_reported_by_offsets(kafka: Broker) -> None:
    """Its count and its description, of non-empty ranges, the longest first."""
    topic = kafka.topic(3)
    kafka.produce(topic, ["a"], partition=0)
    kafka.produce(topic, ["a", "b"], partition=2)
    with StreamHarness() as h:
        pairs = KafkaUtils.createDirectStream(h.ssc, [topic], params(kafka))
        h.collect(pairs)
        h.run()
        info = pairs._operator.info_of(1000)  # type: ignore[attr-defined]

    assert info.record_count == 3
    assert [line.split("\t") for line in info.metadata["Description"].split("\n")] == [
        [f"topic: {topic}", "partition: 2", "offsets: 0 to 2", "count: 2"],
        [f"topic: {topic}", "partition: 0", "offsets: 0 to 1", "count: 1"],
    ]


def test_large_batches_go_by_columns_and_are_the_same(kafka: Broker) -> None:
    """Tombstones and keys too."""
    topic = kafka.topic()
    lines = [f"{number % 7} {number % 3}" for number in range(4000)]
    kafka.produce(topic, lines)

    def counted(mode: str) -> tuple[list[Any], Any]:
        conf = {"spark.millstream.columnar": mode}
        with StreamHarness(conf=conf) as h:
            pairs = KafkaUtils.createDirectStream(h.ssc, [topic], params(kafka))
            words = pairs.map(lambda pair: pair[1]).flatMap(lambda line: line.split())
            counts = h.collect(words.map(lambda w: (w, 1)).reduceByKey(int.__add__))
            everything = h.collect(pairs)
            h.run()
        return sorted(counts.records[0]), everything.records

    by_columns, by_rows = counted("on"), counted("off")

    assert by_columns == by_rows
    assert sum(count for _, count in by_columns[0]) == 8000
    assert counted("verify") == by_rows


def test_what_is_no_text_fails_as_the_decoder_does(kafka: Broker) -> None:
    """Whichever way it goes, and however large the batch."""
    topic = kafka.topic()
    kafka.produce(topic, [b"fine"] * 3000 + [b"\xff"])
    for mode in ("on", "off"):
        with SparkContext(
            conf=SparkConf()
            .setMaster("local[1]")
            .setAppName("t")
            .set("spark.millstream.columnar", mode)
        ) as sc:
            rdd = KafkaUtils.createRDD(
                sc, params(kafka), [OffsetRange(topic, 0, 0, 3001)]
            )
            with pytest.raises(Exception, match="can't decode byte 0xff"):
                rdd.map(lambda pair: len(pair[1])).sum()
            assert rdd.take(1) == [(None, "fine")]


# Where a stream begins.


def test_latest_begins_where_the_stream_was_started(kafka: Broker) -> None:
    """What comes between the start and the first batch counts; it is the default."""
    topic = kafka.topic()
    kafka.produce(topic, ["before"])
    with StreamHarness() as h:
        given = {"metadata.broker.list": kafka.bootstrap}
        batches = h.collect(KafkaUtils.createDirectStream(h.ssc, [topic], given))
        h.ssc.start()
        kafka.produce(topic, ["after"])
        h.run()

    assert values(batches.records) == [["after"]]


def test_given_offsets_say_where_to_begin_and_what_is_read(
    kafka: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    """Partitions without one aren't read, as in PySpark; the log says so, once."""
    topic = kafka.topic(2)
    for partition in (0, 1):
        kafka.produce(topic, ["a", "b", "c"], partition=partition)
    with StreamHarness() as h:
        start = {TopicAndPartition(topic, 1): 2}
        pairs = KafkaUtils.createDirectStream(h.ssc, [topic], params(kafka), start)
        batches = h.collect(pairs)
        h.run(2)
        with pytest.raises(IllegalStateError, match="do not equal to the topic from"):
            KafkaUtils.createDirectStream(h.ssc, ["other"], params(kafka), start)

    assert values(batches.records) == [["c"], []]
    assert caplog.text.count("partitions aren't read") == 1


def test_a_time_says_where_to_begin(kafka: Broker) -> None:
    """A partition with nothing since then begins at its end."""
    import time

    topic = kafka.topic(2)
    now = time.time_ns() // 1_000_000
    kafka.produce(topic, ["old"], timestamp=now - 5000)
    kafka.produce(topic, ["new"], timestamp=now - 1000)
    kafka.produce(topic, ["old"], partition=1, timestamp=now - 5000)
    with StreamHarness() as h:
        pairs = KafkaUtils.createDirectStream(
            h.ssc, [topic], params(kafka), startingTimestamp=now - 3000
        )
        batches = h.collect(pairs)
        h.run()

    assert values(batches.records) == [["new"]]


def test_a_group_goes_on_where_it_has_committed(kafka: Broker, group: str) -> None:
    """The ends of ranges, at the next batch; the callback is told of them later."""
    topic, told = kafka.topic(2), []
    kafka.produce(topic, ["a", "b"])
    given = params(kafka, group_id=group)
    everywhere = kafka010.LocationStrategies.PreferConsistent

    def stream(h: StreamHarness) -> Any:
        strategy = kafka010.ConsumerStrategies.Subscribe([topic], given)
        return kafka010.KafkaUtils.createDirectStream(h.ssc, everywhere, strategy)

    with StreamHarness() as h:
        records = stream(h)
        records.foreachRDD(
            lambda rdd: records.commitAsync(
                rdd.offsetRanges(), lambda *each: told.append(each)
            )
        )
        with pytest.raises(IllegalStateError, match="doesn't run here"):
            records.commitAsync([OffsetRange(topic, 0, 0, 1)])
        h.run()
        assert kafka.committed(group, topic) is None
        h.run()
        wait_until(lambda: kafka.committed(group, topic) == 2, "offsets are committed")
        kafka.produce(topic, ["c"])
        h.run()
    with StreamHarness() as h:
        again = h.collect(stream(h).map(lambda record: record.value))
        h.run()

    first, second = TopicAndPartition(topic, 0), TopicAndPartition(topic, 1)
    assert told[0] == ({first: 2, second: 0}, None)
    # Nothing is committed after the last batch: it is read again.
    assert again.records == [["c"]]


def test_offsets_are_committed_as_they_are_planned_if_a_program_wants_it(
    kafka: Broker, group: str
) -> None:
    """`enable.auto.commit`: the ends of the batch before, when a batch is planned."""
    topic = kafka.topic()
    kafka.produce(topic, ["a"])
    given = params(kafka, group_id=group, enable_auto_commit=True)
    strategy = kafka010.ConsumerStrategies.Subscribe([topic], given)
    with StreamHarness() as h:
        h.collect(
            kafka010.KafkaUtils.createDirectStream(
                h.ssc, kafka010.LocationStrategies.PreferConsistent, strategy
            )
        )
        h.run(2)
        wait_until(lambda: kafka.committed(group, topic) == 1, "offsets are committed")


def test_a_restored_stream_still_commits(
    kafka: Broker, group: str, checkpoint: str
) -> None:
    """An output operation may refer to the stream, and go into a checkpoint."""
    topic = kafka.topic()
    given = params(kafka, group_id=group)

    def setup(h: StreamHarness) -> None:
        records = KafkaUtils.createDirectStream(h.ssc, [topic], given)
        records.foreachRDD(lambda rdd: records.commitAsync(rdd.offsetRanges()))

    kafka.produce(topic, ["a"])
    with StreamHarness(checkpoint=checkpoint, setup=setup) as h:
        h.run()
        h.crash()
        h.restart()
        h.run(2)
        wait_until(lambda: kafka.committed(group, topic) == 1, "offsets are committed")


def test_a_stream_of_tasks_is_refused(kafka: Broker) -> None:
    """A function of records can't commit."""
    topic = kafka.topic()
    kafka.produce(topic, ["a"])
    with StreamHarness() as h:
        records = KafkaUtils.createDirectStream(h.ssc, [topic], params(kafka))
        h.collect(records.map(lambda _: records.commitAsync([])))
        with pytest.raises(Exception, match="StreamingContext can't be pickled"):
            h.run()


def test_without_an_offset_and_without_a_reset_it_is_said(
    kafka: Broker, group: str
) -> None:
    """`auto.offset.reset` is "none", and the group has committed nothing."""
    topic = kafka.topic()
    given = params(kafka, group_id=group) | {"auto.offset.reset": "none"}
    strategies = kafka010.ConsumerStrategies
    with StreamHarness() as h:
        for strategy in (
            strategies.Subscribe([topic], given),
            strategies.Assign([TopicAndPartition(topic, 0)], given),
        ):
            stream = kafka010.KafkaUtils.createDirectStream(
                h.ssc, kafka010.LocationStrategies.PreferBrokers, strategy
            )
            h.collect(stream)
        with pytest.raises(IllegalStateError, match="no offset to begin with"):
            h.run()


# What changes while it runs.


def test_new_partitions_are_read_from_their_beginning(kafka: Broker) -> None:
    """Also those that hold records already when they are found."""
    topic = kafka.topic()
    with StreamHarness() as h:
        latest = params(kafka) | {"auto.offset.reset": "largest"}
        batches = h.collect(KafkaUtils.createDirectStream(h.ssc, [topic], latest))
        h.run()
        kafka.grow(topic, 3)
        kafka.produce(topic, ["a"], partition=2)
        h.run()

    assert values(batches.records) == [[], ["a"]]


def test_a_pattern_finds_topics_that_come_later(kafka: Broker) -> None:
    """The whole name must match."""
    first = kafka.topic()
    with StreamHarness() as h:
        strategy = kafka010.ConsumerStrategies.SubscribePattern(
            f"{first}(-more)?", params(kafka)
        )
        stream = kafka010.KafkaUtils.createDirectStream(
            h.ssc, kafka010.LocationStrategies.PreferConsistent, strategy
        )
        batches = h.collect(stream.map(lambda each: (each.topic, each.value)))
        kafka.produce(first, ["a"])
        h.run()
        kafka.topic(name=f"{first}-more")
        kafka.topic(name=f"{first}-more-still")
        kafka.produce(f"{first}-more", ["b"])
        kafka.produce(f"{first}-more-still", ["c"])
        h.run()

    assert batches.records == [[(first, "a")], [(f"{first}-more", "b")]]


def test_a_topic_that_comes_later_is_waited_for(kafka: Broker) -> None:
    """Batches fail, naming it, until it is there; then nothing of it is left out."""
    topic = kafka.topic()
    late = f"{topic}-late"
    with StreamHarness() as h:
        given = params(kafka) | {"auto.offset.reset": "largest"}
        batches = h.collect(KafkaUtils.createDirectStream(h.ssc, [topic, late], given))
        with pytest.raises(MissingTopicError, match=f"no topic '{late}'"):
            h.run()
        kafka.topic(name=late)
        kafka.produce(late, ["a"])
        h.run()

    assert values(batches.records) == [["a"]]


def test_a_topic_that_vanishes_fails_batches_until_it_is_given_up(
    kafka: Broker, checkpoint: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With failOnDataLoss=False the others are read; made anew, it is read from zero."""
    kept, gone = kafka.topic(), kafka.topic()
    kafka.produce(gone, ["a", "b"])

    def setup(h: StreamHarness, is_strict: bool = False) -> None:
        stream = KafkaUtils.createDirectStream(
            h.ssc, [kept, gone], params(kafka), failOnDataLoss=is_strict
        )
        h.collect(stream.named("records"), "strict" if is_strict else "lax")

    with StreamHarness(checkpoint=checkpoint, setup=lambda h: setup(h, True)) as h:
        h.run()
        kafka.delete(gone)
        with pytest.raises(MissingTopicError, match=f"{gone}', read until offset 2"):
            h.run()
        kafka.produce(kept, ["c"])
        h.restart(setup, upgrade="apply")
        h.run(2)
        assert caplog.text.count("partitions aren't there") == 1
        kafka.topic(name=gone)
        kafka.produce(gone, ["d"])
        h.run()
        read = [record for batch in h.output("lax").records for record in batch]

    assert read == [(None, "c"), (None, "d")]


def test_what_is_deleted_before_it_is_read_is_an_error(kafka: Broker) -> None:
    """It names topic, partition and offsets, and what to do."""
    topic = kafka.topic()
    kafka.produce(topic, ["a", "b", "c", "d"])
    with StreamHarness() as h:
        start = {TopicAndPartition(topic, 0): 1}
        stream = KafkaUtils.createDirectStream(h.ssc, [topic], params(kafka), start)
        h.collect(stream)
        kafka.delete_records(topic, 0, 3)
        with pytest.raises(
            Exception, match=f"partition 0 of Kafka topic '{topic}'"
        ) as e:
            h.run()

    assert "has no offset 1 any more: it has 3 to 4" in str(e.value)
    assert "DataLossError" in str(e.value)


def test_what_is_deleted_before_it_is_read_can_be_passed_over(
    kafka: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    """Told in the log, and counted."""
    topic = kafka.topic()
    kafka.produce(topic, ["a", "b", "c", "d"])
    with StreamHarness() as h:
        start = {TopicAndPartition(topic, 0): 1}
        stream = KafkaUtils.createDirectStream(
            h.ssc, [topic], params(kafka), start, failOnDataLoss=False
        )
        batches = h.collect(stream)
        kafka.delete_records(topic, 0, 3)
        h.run()
        assert stream.lostOffsets == 2

    assert values(batches.records) == [["d"]]
    assert f"records are lost topic={topic} partition=0 offsets=1 to 3" in caplog.text


def test_a_topic_made_anew_with_fewer_records_is_an_error(kafka: Broker) -> None:
    """Not a batch that goes backwards."""
    topic = kafka.topic()
    kafka.produce(topic, ["a", "b"])
    with StreamHarness() as h:
        h.collect(KafkaUtils.createDirectStream(h.ssc, [topic], params(kafka)))
        h.run()
        kafka.delete(topic)
        kafka.topic(name=topic)
        kafka.produce(topic, ["c"])
        with pytest.raises(DataLossError, match="at offset 1, but was read until 2"):
            h.run()


# How much a batch has.


def test_a_limit_holds_for_each_partition(kafka: Broker) -> None:
    """So many records a second; a program's own rates are asked partition by partition."""
    topic = kafka.topic(2)
    for partition in (0, 1):
        kafka.produce(topic, map(str, range(10)), partition=partition)

    class Rates(kafka010.PerPartitionConfig):
        def maxRatePerPartition(self, topicPartition: TopicAndPartition) -> int:
            return 3 + topicPartition.partition

    with StreamHarness(conf={"spark.streaming.kafka.maxRatePerPartition": "4"}) as h:
        pairs = KafkaUtils.createDirectStream(h.ssc, [topic], params(kafka))
        strategy = kafka010.ConsumerStrategies.Subscribe([topic], params(kafka))
        own = kafka010.KafkaUtils.createDirectStream(
            h.ssc, kafka010.LocationStrategies.PreferConsistent, strategy, Rates()
        )
        counts, own_counts = h.collect(pairs.count()), h.collect(own.count())
        h.run(3)

    assert counts.records == [[8], [8], [4]]
    assert own_counts.records == [[7], [7], [5]]


def test_back_pressure_shares_its_rate_out_by_lag(kafka: Broker) -> None:
    """The first rate is the one that is set; a rarely used partition gets little."""
    topic = kafka.topic(2)
    kafka.produce(topic, map(str, range(90)))
    kafka.produce(topic, map(str, range(10)), partition=1)
    seen: list[list[int]] = []
    conf = {
        "spark.streaming.backpressure.enabled": "true",
        "spark.streaming.backpressure.initialRate": "20",
    }
    with StreamHarness(conf=conf) as h:
        pairs = KafkaUtils.createDirectStream(h.ssc, [topic], params(kafka))
        pairs.foreachRDD(
            lambda rdd: seen.append([each.count() for each in rdd.offsetRanges()])
        )
        h.run()

    assert seen == [[18, 2]]


# Transactions.


def transactional(kafka: Broker, name: str) -> Any:
    """Return a producer whose transactions have begun."""
    from confluent_kafka import Producer

    made = Producer(
        {"bootstrap.servers": kafka.bootstrap, "transactional.id": name, "log_level": 0}
    )
    made.init_transactions(10)
    return made


def put(producer: Any, topic: str, *records: str) -> None:
    """Send records in a transaction, and wait until they are there."""
    producer.begin_transaction()
    for each in records:
        producer.produce(topic, each, partition=0)
    producer.flush(10)


def test_only_what_is_committed_is_read(kafka: Broker, group: str) -> None:
    """Aborted records never, those of open transactions later; offsets have holes."""
    topic, seen = kafka.topic(), []
    failing = transactional(kafka, f"{group}-failing")
    put(failing, topic, "aborted", "aborted")
    failing.abort_transaction(10)
    # Another one: the server from a wheel tells of aborted transactions that ended before
    # what is fetched, and the client then leaves out the same producer's later records.
    producer = transactional(kafka, group)
    put(producer, topic, "a", "b")
    producer.commit_transaction(10)
    with StreamHarness() as h:
        pairs = KafkaUtils.createDirectStream(h.ssc, [topic], params(kafka))
        pairs.foreachRDD(lambda rdd: seen.extend(rdd.offsetRanges()))
        batches = h.collect(pairs)
        h.run()
        put(producer, topic, "c")
        kafka.produce(topic, ["behind"])
        h.run()
        producer.commit_transaction(10)
        h.run(2)

    assert values(batches.records) == [["a", "b"], [], ["behind", "c"], []]
    # Markers take offsets: two for what was aborted, and so on.
    assert [each.untilOffset for each in seen] == [6, 6, 9, 9]
    assert seen[1].count() == 0


def test_a_range_of_nothing_but_aborted_records_is_read_to_its_end(
    kafka: Broker, group: str
) -> None:
    """Nothing comes, and nobody waits for it."""
    topic = kafka.topic()
    producer = transactional(kafka, group)
    put(producer, topic, "aborted")
    producer.abort_transaction(10)
    with SparkContext("local[1]", "t") as sc:
        rdd = KafkaUtils.createRDD(sc, params(kafka), [OffsetRange(topic, 0, 0, 2)])

        assert rdd.collect() == []


# Records.


def test_a_handler_sees_everything_of_a_message(kafka: Broker) -> None:
    """Headers and times too; and decoders are used."""
    import time

    topic, now = kafka.topic(), time.time_ns() // 1_000_000
    kafka.produce(topic, [b"5"], key=b"k", headers=[("h", b"x")], timestamp=now)
    kafka.produce(topic, [None])
    with SparkContext("local[1]", "t") as sc:
        rdd = KafkaUtils.createRDD(
            sc,
            params(kafka),
            [OffsetRange(topic, 0, 0, 2)],
            keyDecoder=lambda raw: raw,
            valueDecoder=lambda raw: raw if raw is None else int(raw),
            messageHandler=lambda message: message,
        )
        first, second = rdd.collect()
        newer = kafka010.KafkaUtils.createRDD(
            sc,
            params(kafka, value_deserializer="x.ByteArrayDeserializer"),
            [OffsetRange(topic, 0, 0, 1)],
        ).collect()

    assert first == KafkaMessageAndMetadata(topic, 0, 0, b"k", 5)
    assert (first.headers, first.timestamp) == ((("h", b"x"),), now)
    assert first.timestampType == "CreateTime"
    assert (second.key, second.message, second.offset) == (None, None, 1)
    assert newer == [
        kafka010.ConsumerRecord(
            topic, 0, 0, now, "CreateTime", "k", b"5", (("h", b"x"),)
        )
    ]


def test_ranges_of_an_rdd_are_checked_first(kafka: Broker) -> None:
    """Each error names the partition; arguments of the wrong type are PySpark's errors."""
    topic = kafka.topic()
    kafka.produce(topic, ["a"])
    with SparkContext("local[1]", "t") as sc:

        def make(*of: Any) -> Any:
            return KafkaUtils.createRDD(sc, params(kafka), [OffsetRange(*of)])

        with pytest.raises(
            DataLossError, match="the offsets 0 to 1, not all of 0 to 2"
        ):
            make(topic, 0, 0, 2)
        with pytest.raises(
            MissingTopicError, match=f"no partition 7 of topic '{topic}'"
        ):
            make(topic, 7, 0, 1)
        with pytest.raises(ValueError, match="ends before it begins"):
            make(topic, 0, 1, 0)
        with pytest.raises(PySparkTypeError, match="offsetRanges should be list"):
            KafkaUtils.createRDD(sc, params(kafka), 5)  # type: ignore[arg-type]
        with pytest.raises(AssertionError, match="PreferFixed"):
            kafka010.KafkaUtils.createRDD(
                sc, params(kafka), [], kafka010.LocationStrategies.PreferBrokers
            )


def test_ranges_may_be_read_in_any_order_and_again(kafka: Broker) -> None:
    """A kept consumer gives what is asked for, not what it has fetched ahead."""
    topic = kafka.topic(2)
    for partition in (0, 1):
        kafka.produce(
            topic, (f"{partition}-{n}" for n in range(20_000)), partition=partition
        )
    draw = random.Random(5)
    with SparkContext("local[2]", "t") as sc:
        for _ in range(8):
            ranges = []
            for _ in range(draw.randint(1, 4)):
                begin = draw.randint(0, 19_000)
                end = draw.randint(begin, begin + 1000)
                ranges.append(OffsetRange(topic, draw.randint(0, 1), begin, end))
            found = KafkaUtils.createRDD(sc, params(kafka), ranges).values().glom()

            assert found.collect() == [
                [f"{of.partition}-{n}" for n in range(of.fromOffset, of.untilOffset)]
                for of in ranges
            ]


def test_worker_processes_read_too(kafka: Broker) -> None:
    """Each with consumers of its own."""
    topic = kafka.topic(2)
    kafka.produce(topic, map(str, range(3000)))
    kafka.produce(topic, map(str, range(3000)), partition=1)
    conf = SparkConf().setMaster("local[2]").setAppName("t")
    conf.set("spark.millstream.processes", "always")
    ranges = [OffsetRange(topic, each, 0, 3000) for each in (0, 1)]
    with SparkContext(conf=conf) as sc:
        rdd = KafkaUtils.createRDD(sc, params(kafka), ranges)

        assert rdd.map(lambda pair: int(pair[1])).sum() == 2 * sum(range(3000))


# Failures.


def test_a_restarted_stream_reads_the_same_ranges(
    kafka: Broker, checkpoint: str
) -> None:
    """A batch that was planned before the crash has its records, and no later ones."""
    topic, seen = kafka.topic(), []

    def setup(h: StreamHarness) -> None:
        pairs = KafkaUtils.createDirectStream(h.ssc, [topic], params(kafka))
        h.collect(pairs.map(lambda pair: pair[1]), "values")

    with StreamHarness(checkpoint=checkpoint, setup=setup) as h:
        kafka.produce(topic, ["a"])
        h.run()
        kafka.produce(topic, ["b"])
        h.run()
        h.crash()
        kafka.produce(topic, ["c"])
        h.restart()
        h.run()
        output = h.output("values")
        for time_ms, records in zip(output.times_ms, output.records, strict=True):
            seen.append((time_ms, records))

    by_time: dict[int, list[str]] = {}
    for time_ms, records in seen:
        assert by_time.setdefault(time_ms, records) == records
    assert [record for _, each in sorted(by_time.items()) for record in each] == [
        "a",
        "b",
        "c",
    ]


def outputs(directory: Path) -> list[int]:
    """Return what all batches have put out."""
    return [
        number
        for file in (directory / "out").glob("[0-9]*")
        for number in json.loads(file.read_text())
    ]


@pytest.mark.parametrize("kind", ["direct", "receiver"])
def test_nothing_is_lost_whenever_the_driver_is_killed(
    kafka: Broker, tmp_path: Path, kind: str
) -> None:
    """Direct: each record in one batch. Received: in one at least."""
    topic, count = kafka.topic(2), 4000
    (tmp_path / "out").mkdir()
    numbers = iter(range(count))

    def send(_life: int = 0, some: int = count // 4) -> None:
        for partition in (0, 1):
            batch = list(itertools.islice(numbers, some // 2))
            kafka.produce(topic, map(str, batch), partition=partition)

    send()
    run_with_kills(
        PROGRAM,
        [str(tmp_path), kind, kafka.bootstrap, topic],
        lambda: len(set(outputs(tmp_path))) == count,
        kills=3,
        seed=11,
        life_s=(0.9, 1.8),
        between=send,
    )
    found = outputs(tmp_path)

    assert set(found) == set(range(count))
    if kind == "direct":
        assert len(found) == count


def test_a_receiver_commits_what_is_stored(kafka: Broker, group: str) -> None:
    """The next member of the group goes on there; decoders run in tasks."""
    topic = kafka.topic(2)
    kafka.produce(topic, ["1", "2"])
    kafka.produce(topic, ["3"], partition=1)
    with StreamHarness() as h:
        stream = KafkaUtils.createStream(
            h.ssc, "", group, {topic: 2}, params(kafka), valueDecoder=int
        )
        batches = h.collect(stream)
        h.ssc.start()

        def is_committed() -> bool:
            return [kafka.committed(group, topic, each) for each in (0, 1)] == [2, 1]

        wait_until(is_committed, "offsets are committed")
        h.run()
        received = [record for batch in batches.records for record in batch]

    assert sorted(received) == [(None, 1), (None, 2), (None, 3)]


def test_a_receiver_needs_topics_with_numbers(kafka: Broker) -> None:
    """PySpark's error, and ours."""
    with StreamHarness() as h:
        for topics, error in (
            ([], PySparkTypeError),
            ({}, ValueError),
            ({"a": 0}, ValueError),
        ):
            with pytest.raises(error):
                KafkaUtils.createStream(h.ssc, "", "g", topics, params(kafka))  # type: ignore[arg-type]
        for given in ("topic", 5):
            with pytest.raises(PySparkTypeError, match="topics should be list"):
                KafkaUtils.createDirectStream(h.ssc, given, params(kafka))  # type: ignore[arg-type]


def test_no_secret_is_in_checkpoints_logs_or_errors(
    kafka: Broker,
    checkpoint: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of a stream that runs, and of one whose cluster refuses it."""
    caplog.set_level(logging.DEBUG)
    topic = kafka.topic()
    kafka.produce(topic, ["a"])
    secret = {"sasl.password": "hunter2", "sasl.username": "me"}

    def setup(h: StreamHarness) -> None:
        given = params(kafka) | secret
        h.collect(KafkaUtils.createDirectStream(h.ssc, [topic], given), "pairs")

    with StreamHarness(checkpoint=checkpoint, setup=setup) as h:
        h.run(2)
        h.crash()
        with pytest.raises(MissingSecretError, match=r"kafka\.sasl\.password"):
            h.restart()
        monkeypatch.setenv("MILLSTREAM_SECRET_KAFKA_SASL_PASSWORD", "hunter2")
        h.restart()
        h.run()
    found = [e for e in Path(checkpoint).rglob("*") if e.is_file()]
    refused = secret | {
        "security.protocol": "sasl_plaintext",
        "sasl.mechanism": "SCRAM-SHA-256",
    }
    with StreamHarness() as h:
        h.collect(
            KafkaUtils.createDirectStream(h.ssc, [topic], params(kafka) | refused)
        )
        with pytest.raises(Exception, match="authentication error") as caught:
            h.run()

    assert kafka.bootstrap in str(caught.value)
    assert "user, password and certificates" in str(caught.value.__notes__)
    assert found
    assert not [each for each in found if b"hunter2" in each.read_bytes()]
    assert "hunter2" not in caplog.text
    assert "hunter2" not in repr(caught.value)


def test_a_server_without_tls_is_an_error_that_says_so(kafka: Broker) -> None:
    """In the client's words, in time."""
    topic = kafka.topic()
    given = params(kafka) | {"security.protocol": "ssl", "default.api.timeout.ms": 1000}
    with StreamHarness() as h:
        h.collect(KafkaUtils.createDirectStream(h.ssc, [topic], given))
        with pytest.raises(Exception, match="SSL") as caught:
            h.run()

    assert kafka.bootstrap in str(caught.value)


def test_a_broker_that_stands_still_fails_batches_until_it_goes_on(
    tmp_path: Path,
) -> None:
    """In time, and nothing is left out; so does one that is restarted."""
    with broker(tmp_path / "data") as kafka:
        if not kafka.is_own:
            pytest.skip("someone else's cluster isn't stopped")
        topic = kafka.topic()
        given = params(kafka) | {"default.api.timeout.ms": 700}
        with StreamHarness() as h:
            batches = h.collect(KafkaUtils.createDirectStream(h.ssc, [topic], given))
            h.run()
            kafka.produce(topic, ["a"])
            kafka.pause()
            waker = threading.Timer(20, kafka.resume)  # Whatever happens.
            waker.start()
            try:
                with pytest.raises(
                    Exception, match="doesn't list its topics"
                ) as caught:
                    h.run()
            finally:
                waker.cancel()
                waker.join()
                kafka.resume()
            h.run()

    assert kafka.bootstrap in str(caught.value)
    assert values(batches.records) == [[], ["a"]]


# Programs.


def test_the_word_count_goes_on_over_restarts(kafka: Broker, tmp_path: Path) -> None:
    """examples/kafka_wordcount.py: what is counted isn't counted again."""
    topic = kafka.topic()
    kafka.produce(topic, ["apple apple"])
    arguments = ("kafka_wordcount.py", kafka.bootstrap, topic, str(tmp_path / "c"))
    lines_until(["('apple', 2)"], *arguments)
    kafka.produce(topic, ["pear"])
    again = lines_until(["('pear', 1)"], *arguments)

    assert not [line for line in again if "apple" in line]


def test_what_is_put_out_is_committed(kafka: Broker, group: str) -> None:
    """examples/kafka_commits.py: the group has it when the program says so."""
    topic = kafka.topic()
    kafka.produce(topic, ["apple", "pear"])
    arguments = ("kafka_commits.py", kafka.bootstrap, topic, group)
    lines_until(
        [f"{topic} 0 0 apple", f"{topic} 0 1 pear", "committed [2]"], *arguments
    )

    assert kafka.committed(group, topic) == 2
