"""The Kafka sink, with a real broker: what readers of committed records see."""

import functools
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.killing import run_with_kills
from tests.integration.running_examples import file_example
from tests.integration.servers.kafka import Broker, broker, wait_until

from millstream.engine.base.errors import EngineError
from millstream.engine.sinks.contract import SinkBatch
from millstream.engine.sinks.kafka.sink import KafkaSink
from millstream.engine.sinks.records import Records
from millstream.testing import StreamHarness, certify_sink

pytestmark = pytest.mark.slow

_WAIT_S = 20.0


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker."""
    with broker(tmp_path_factory.mktemp("kafka")) as server:
        yield server


def committed(server: Broker, topic: str) -> list[Any]:
    """Return all messages of a topic that a reader of committed records sees."""
    from confluent_kafka import Consumer, KafkaError, TopicPartition

    consumer = Consumer(
        {
            "bootstrap.servers": server.bootstrap,
            "group.id": "readers",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    try:
        parts = consumer.list_topics(topic, timeout=_WAIT_S).topics[topic].partitions
        consumer.assign([TopicPartition(topic, each, 0) for each in parts])
        left, found = set(parts), []
        while left:
            message = consumer.poll(_WAIT_S)
            assert message is not None, f"partitions {left} don't end"
            error = message.error()
            if error is None:
                found.append(message)
            else:
                assert error.code() == KafkaError._PARTITION_EOF, error
                left.discard(message.partition())
        return found
    finally:
        consumer.close()


def numbers(server: Broker, topic: str) -> list[int]:
    """Return the numbers of the records that the certification kit writes."""
    return [json.loads(each.value())["number"] for each in committed(server, topic)]


def test_what_is_written_is_there_exactly_once(kafka: Broker) -> None:
    """Through crashes at every step, second attempts, restarts and stale writers."""
    topic = kafka.topic(2)
    report = certify_sink(
        functools.partial(KafkaSink, kafka.bootstrap, topic, timeout=15.0),
        lambda: numbers(kafka, topic),
    )

    assert report.guarantee == "exactly once", str(report)
    assert not [each for each in report.findings if each.note], str(report)


def test_pairs_have_keys_and_a_function_chooses_the_topic(kafka: Broker) -> None:
    """Text and bytes go as they are, other values as JSON, and None as a tombstone."""
    small, large = kafka.topic(), kafka.topic()

    def topic_of(pair: tuple[Any, Any]) -> str:
        return small if pair[0] in {"a", None} else large

    sink = KafkaSink(kafka.bootstrap, topic_of, marks=small, timeout=15.0)
    batch = [("a", "to"), (None, b"\xff"), (7, {"n": [1.5, None]}), ("gone", None)]
    with StreamHarness(master="local[1]") as h:
        h.stream([batch]).writeTo(sink, name="pairs")
        h.run(batches=1)

    got = {
        topic: [(each.key(), each.value()) for each in committed(kafka, topic)]
        for topic in (small, large)
    }
    assert got == {
        small: [(b"a", b"to"), (None, b"\xff")],
        large: [(b"7", b'{"n": [1.5, null]}'), (b"gone", None)],
    }


def test_the_mark_is_the_batch_time_as_a_committed_offset(kafka: Broker) -> None:
    """Any tool that shows a consumer group's offsets shows up to where an output is."""
    topic = kafka.topic()
    with StreamHarness(master="local[1]") as h:
        sink = KafkaSink(kafka.bootstrap, topic, timeout=15.0)
        h.stream([["to"], ["be"]]).writeTo(sink, name="words")
        h.run(batches=2)

    assert kafka.committed("millstream.StreamHarness.words.0", topic) == 2000


def test_a_record_that_can_not_be_written_fails_the_batch_whole(kafka: Broker) -> None:
    """Nothing of its partition is visible, and the batch before it stays."""
    topic = kafka.topic()
    with StreamHarness(master="local[1]") as h:
        sink = KafkaSink(kafka.bootstrap, topic, timeout=15.0)
        h.stream([["to"], ["be", {1, 2}]]).writeTo(sink, name="words")
        h.run(batches=1)
        with pytest.raises(EngineError, match="can't be written as JSON"):
            h.run(batches=1)

    assert [each.value() for each in committed(kafka, topic)] == [b"to"]


def test_a_topic_that_is_not_there_is_named(kafka: Broker) -> None:
    """Before anything is written."""
    with StreamHarness() as h:
        sink = KafkaSink(
            {"bootstrap.servers": kafka.bootstrap, "allow.auto.create.topics": False},
            "missing",
            timeout=5.0,
        )
        h.stream([["to"]]).writeTo(sink, name="words")
        with pytest.raises(EngineError, match="no topic 'missing'"):
            h.run(batches=1)


def test_a_broker_that_stalls_fails_batches_and_is_written_to_when_it_is_back(
    kafka: Broker,
) -> None:
    """The batch that failed is committed before the next one, once."""
    if not kafka.is_own:
        pytest.skip("a cluster of others can't be stopped")
    topic = kafka.topic()
    with StreamHarness(master="local[1]") as h:
        sink = KafkaSink(kafka.bootstrap, topic, timeout=1.0)
        h.stream([["to"], ["be"], ["or"]]).writeTo(sink, name="words")
        h.run(batches=1)
        kafka.pause()
        try:
            with pytest.raises(EngineError, match=f"Kafka at {kafka.bootstrap}"):
                h.run(batches=1)
        finally:
            kafka.resume()
        h.run(batches=1)

    assert [each.value() for each in committed(kafka, topic)] == [b"to", b"be", b"or"]


def test_a_broker_that_is_not_there_is_told_within_the_time_out() -> None:
    """The error names where it was looked for."""
    with StreamHarness() as h:
        sink = KafkaSink("127.0.0.1:1", "words", timeout=0.5)
        h.stream([["to"]]).writeTo(sink, name="words")
        with pytest.raises(EngineError, match=r"Kafka at 127\.0\.0\.1:1: what topic"):
            h.run(batches=1)


def test_no_checkpoint_and_no_log_has_a_secret_setting(
    kafka: Broker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Settings that are secret are kept apart by their names."""
    topic = kafka.topic()
    # It is only used for TLS, which there is none of here.
    params = {"bootstrap.servers": kafka.bootstrap, "ssl.key.password": "sesame-4410"}

    def setup(h: StreamHarness) -> None:
        sink = KafkaSink(params, topic, timeout=15.0)
        h.stream([["to"]]).writeTo(sink, name="words")

    caplog.set_level(logging.DEBUG)
    with StreamHarness(checkpoint=str(tmp_path), setup=setup) as h:
        h.run(batches=2)

    assert [each.value() for each in committed(kafka, topic)] == [b"to"]
    files = [each for each in tmp_path.rglob("*") if each.is_file()]
    assert files
    assert not [each for each in files if b"sesame-4410" in each.read_bytes()]
    assert "sesame-4410" not in caplog.text


def test_idle_producers_do_not_keep_a_program_from_ending(kafka: Broker) -> None:
    """A program that returns without stopping anything ends."""
    topic = kafka.topic()
    program = f"""
from millstream.engine.sinks.contract import SinkBatch
from millstream.engine.sinks.kafka.sink import KafkaSink
from millstream.engine.sinks.records import Records
sink = KafkaSink({kafka.bootstrap!r}, {topic!r}, timeout=15.0)
run = sink.open("idle", 1).run
batch = SinkBatch("idle", 1000, 3, run)
assert not sink.begin(batch)
for part in range(3):
    sink.write(batch, part, Records([["to"]]))
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=20)

    assert [each.value() for each in committed(kafka, topic)] == [b"to"] * 3


def test_a_killed_program_writes_each_number_once(
    kafka: Broker, tmp_path: Path
) -> None:
    """Whenever it is killed: readers of what is committed see each number once."""
    topic = kafka.topic(2)
    run_with_kills(
        Path(__file__).parent / "programs" / "kafka_sink_program.py",
        [str(tmp_path), kafka.bootstrap, topic, "300"],
        lambda: set(numbers(kafka, topic)) == set(range(300)),
        kills=3,
        seed=5,
        life_s=(0.9, 1.7),
    )

    assert sorted(numbers(kafka, topic)) == list(range(300))


def test_a_partition_moves_between_processes(kafka: Broker) -> None:
    """Whichever writes it next fences the one that did before, which takes it back."""
    topic = kafka.topic()
    sink = KafkaSink(kafka.bootstrap, topic, timeout=15.0)
    run = sink.open("moved", 1).run

    def write(time_ms: int, record: str) -> None:
        sink.write(SinkBatch("moved", time_ms, 1, run), 0, Records([[record]]))

    sink.begin(SinkBatch("moved", 1000, 1, run))
    write(1000, "to")
    program = f"""
from millstream.engine.sinks.contract import SinkBatch
from millstream.engine.sinks.kafka.sink import KafkaSink
from millstream.engine.sinks.records import Records
sink = KafkaSink({kafka.bootstrap!r}, {topic!r}, timeout=15.0)
sink.write(SinkBatch("moved", 2000, 1, {run}), 0, Records([["be"]]))
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=20)
    write(2000, "be, again")
    write(3000, "or")
    sink.close()

    assert [each.value() for each in committed(kafka, topic)] == [b"to", b"be", b"or"]


def test_the_example_sends_counts(kafka: Broker, tmp_path: Path) -> None:
    """As a user runs it."""
    topic = kafka.topic()
    with file_example("kafka_sink.py", tmp_path, kafka.bootstrap, topic):
        wait_until(lambda: len(committed(kafka, topic)) == 2, "counts are there")

    found = {each.key(): each.value() for each in committed(kafka, topic)}
    assert found == {b"hello": b"2", b"stream": b"1"}
