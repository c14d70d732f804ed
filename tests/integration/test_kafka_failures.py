"""Kafka streams on a mock cluster that fails as planned: leaders move, brokers go and come."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.integration.servers.kafka import (
    FETCH,
    METADATA,
    NOT_LEADER,
    OFFSETS,
    UNKNOWN_TOPIC,
    MockCluster,
    mock_cluster,
    wait_until,
)

from millstream import SparkConf, SparkContext
from millstream.engine.sources.kafka.cluster import KafkaUnreachableError
from millstream.streaming.kafka import KafkaUtils, OffsetRange
from millstream.testing import StreamHarness

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    """Return three brokers."""
    with mock_cluster() as made:
        yield made


def params(cluster: MockCluster, timeout_ms: int = 10_000) -> dict[str, Any]:
    """Return parameters of a stream."""
    return {
        "bootstrap.servers": cluster.bootstrap,
        "auto.offset.reset": "smallest",
        "default.api.timeout.ms": timeout_ms,
        "reconnect.backoff.max.ms": 200,
    }


def flat(batches: list[list[Any]]) -> list[str]:
    """Return the values of all batches."""
    return [value for batch in batches for _, value in batch]


def test_a_leader_that_moves_delays_records_and_loses_none(
    cluster: MockCluster,
) -> None:
    """Neither while a batch is planned nor while it is read."""
    topic = cluster.topic()
    with StreamHarness() as h:
        stream = KafkaUtils.createDirectStream(h.ssc, [topic], params(cluster))
        batches = h.collect(stream)
        for number, leader in enumerate((2, 3)):
            cluster.produce(topic, [f"{number}"])
            cluster.lead(topic, 0, leader)
            cluster.fail(OFFSETS, NOT_LEADER, times=2)
            cluster.fail(FETCH, NOT_LEADER, times=2)
            h.run()

    assert flat(batches.records) == ["0", "1"]


def test_a_topic_that_isn_t_known_everywhere_yet_is_asked_for_again(
    cluster: MockCluster,
) -> None:
    """As when it was just made."""
    topic = cluster.topic()
    cluster.produce(topic, ["a"])
    with StreamHarness() as h:
        stream = KafkaUtils.createDirectStream(h.ssc, [topic], params(cluster))
        batches = h.collect(stream)
        h.ssc.start()
        cluster.fail(OFFSETS, UNKNOWN_TOPIC, times=2)
        h.run()

    assert flat(batches.records) == ["a"]


def test_without_brokers_batches_fail_until_they_are_back(cluster: MockCluster) -> None:
    """The error comes in time and names them; a later batch has everything."""
    topic = cluster.topic()
    with StreamHarness() as h:
        given = params(cluster, timeout_ms=700)
        batches = h.collect(KafkaUtils.createDirectStream(h.ssc, [topic], given))
        cluster.produce(topic, ["a"])
        h.run()
        cluster.produce(topic, ["b"])
        cluster.down()
        began_s = time.monotonic()
        with pytest.raises(KafkaUnreachableError, match="doesn't list its topics") as e:
            h.run()
        took_s = time.monotonic() - began_s
        cluster.up()

        def is_read() -> bool:
            try:
                h.run()
            except KafkaUnreachableError:
                return False
            return flat(batches.records) == ["a", "b"]

        wait_until(is_read, "the brokers are reached again")

    assert took_s < 5
    assert cluster.bootstrap in str(e.value)
    assert "A later batch reads what this one would have" in str(e.value.__notes__)


def test_a_stream_may_start_before_its_cluster(cluster: MockCluster) -> None:
    """Its first batches fail; then it begins where it was told to."""
    topic = cluster.topic()
    cluster.produce(topic, ["a"])
    cluster.down()
    with StreamHarness() as h:
        given = params(cluster, timeout_ms=500)
        batches = h.collect(KafkaUtils.createDirectStream(h.ssc, [topic], given))
        with pytest.raises(KafkaUnreachableError):
            h.run()
        cluster.up()

        def is_read() -> bool:
            try:
                h.run()
            except KafkaUnreachableError:
                return False
            return True

        wait_until(is_read, "the brokers are reached")

    assert flat(batches.records) == ["a"]


def test_a_task_that_gets_nothing_says_where_it_waits(cluster: MockCluster) -> None:
    """It waits as long as the setting says, and the next attempt has a new consumer."""
    topic = cluster.topic()
    cluster.produce(topic, ["a", "b"])
    conf = SparkConf().setMaster("local[1]").setAppName("t")
    conf.set("spark.streaming.kafka.consumer.poll.ms", "600")
    with SparkContext(conf=conf) as sc:
        rdd = KafkaUtils.createRDD(sc, params(cluster), [OffsetRange(topic, 0, 0, 2)])
        cluster.down()
        with pytest.raises(Exception, match="nothing came for") as caught:
            rdd.collect()
        cluster.up()
        found = rdd.values().collect()

    assert f"partition 0 of Kafka topic '{topic}' at {cluster.bootstrap}" in str(
        caught.value
    )
    assert "at offset 0 of 0 to 2" in str(caught.value)
    assert found == ["a", "b"]


def test_records_that_are_deleted_under_way_are_told_of(cluster: MockCluster) -> None:
    """Between planning and reading: the task finds out."""
    topic = cluster.topic()
    cluster.produce(topic, ["a", "b", "c"])
    with SparkContext("local[1]", "t") as sc:
        rdd = KafkaUtils.createRDD(sc, params(cluster), [OffsetRange(topic, 0, 0, 3)])
        cluster.delete_records(topic, 0, 2)
        with pytest.raises(Exception, match="has no offset 0 any more: it has 2 to 3"):
            rdd.collect()


def test_records_that_are_deleted_under_way_may_be_passed_over(
    cluster: MockCluster, caplog: pytest.LogCaptureFixture
) -> None:
    """What is left of the range is read, and the rest is logged."""
    topic = cluster.topic()
    cluster.produce(topic, ["a", "b", "c"])
    with StreamHarness() as h:
        stream = KafkaUtils.createDirectStream(
            h.ssc, [topic], params(cluster), failOnDataLoss=False
        )

        def cut(rdd: Any) -> Any:
            cluster.delete_records(topic, 0, 2)
            return rdd

        batches = h.collect(stream.transform(cut))
        h.run()

    assert flat(batches.records) == ["c"]
    assert f"records are lost topic={topic} partition=0 offsets=0 to 2" in caplog.text


def test_a_receiver_goes_on_when_its_brokers_are_back(cluster: MockCluster) -> None:
    """What was sent before and after comes, at least once."""
    topic = cluster.topic()
    cluster.produce(topic, ["a"])
    with StreamHarness() as h:
        stream = KafkaUtils.createStream(h.ssc, "", "g", {topic: 1}, params(cluster))
        batches = h.collect(stream)
        h.ssc.start()

        def has(value: str) -> bool:
            h.run()
            return value in flat(batches.records)

        wait_until(lambda: has("a"), "the first is received")
        cluster.down()
        cluster.up()
        cluster.fail(METADATA, NOT_LEADER)
        cluster.produce(topic, ["b"])
        wait_until(lambda: has("b"), "the second is received")
