"""How far streams are behind Kafka, Redis, NATS and Kinesis, on real servers."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.integration.servers.kafka import Broker, broker, wait_until
from tests.integration.servers.kinesis import REGION, Kinesis, moto
from tests.integration.servers.nats import NatsProcess, nats_process
from tests.integration.servers.redis import RedisProcess, redis_process

from millstream.engine.clients.nats import nats_loop
from millstream.engine.ingest import lag_watch
from millstream.engine.observe.prometheus import exposition
from millstream.streaming.kafka import KafkaUtils
from millstream.streaming.kinesis import InitialPositionInStream, KinesisUtils
from millstream.streaming.nats import NatsUtils
from millstream.streaming.redis import RedisUtils
from millstream.testing import StreamHarness

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

LAG = "millstream.input.0.lag"
LAG_MS = "millstream.input.0.lagMs"


@pytest.fixture(scope="module", autouse=True)
def _loop() -> None:
    """Start the thread that the process keeps, before tests look for threads."""
    nats_loop()


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lag_watch, "_EVERY_S", 0.05)
    monkeypatch.setattr(lag_watch, "_UNKNOWN_S", 0.05)


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    """A server."""
    with redis_process(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsProcess]:
    """A server with JetStream."""
    with nats_process(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker."""
    with broker(tmp_path_factory.mktemp("kafka")) as server:
        yield server


def lag_of(h: StreamHarness, name: str = LAG) -> float:
    """Return what the gauge says now."""
    return h.ssc.metrics()[name]


def lags_at_four_a_batch(h: StreamHarness, stream: Any, batches: int) -> list[float]:
    """Return the lag after each batch, of four records at most."""
    h.collect(stream)
    stream._operator.rate = 4.0
    found = []
    for _ in range(batches):
        h.run()
        found.append(lag_of(h))
    return found


def add(server: RedisProcess, stream: str, count: int) -> list[str]:
    """Add entries to a stream; return their ids."""
    with server.client() as client:
        return [client.xadd(stream, {"n": n}).decode() for n in range(count)]


def test_what_a_batch_leaves_in_redis_is_the_lag(redis_server: RedisProcess) -> None:
    """As the newest batch was planned; of all streams, and in Prometheus' format."""
    add(redis_server, "a", 6)
    add(redis_server, "b", 3)
    with StreamHarness(batch=1.0) as h:
        stream = RedisUtils.createDirectStream(
            h.ssc, redis_server.url, ["a", "b"], "earliest"
        )
        lags = lags_at_four_a_batch(h, stream, 4)
        text = exposition(h.sc._observers.application).decode()

    assert lags == [5, 2, 0, 0]
    assert "millstream_input_lag{" in text


def test_where_redis_does_not_count_the_lag_is_unknown_until_the_end(
    redis_server: RedisProcess,
) -> None:
    """After an id of the program's own, while batches are limited."""
    ids = add(redis_server, "counted", 8)
    with StreamHarness(batch=1.0) as h:
        stream = RedisUtils.createDirectStream(
            h.ssc, redis_server.url, ["counted"], ids[0]
        )
        assert lags_at_four_a_batch(h, stream, 2) == [-1, 0]


def test_what_a_redis_group_has_not_acknowledged_is_its_lag(
    redis_server: RedisProcess, caplog: pytest.LogCaptureFixture
) -> None:
    """None, when all is stored; what others hold counts. Unknown while nobody answers."""
    add(redis_server, "grouped", 5)
    with redis_server.client() as client:
        client.xgroup_create("grouped", "readers", "0")
        client.xreadgroup("readers", "another", {"grouped": ">"}, count=2)
    with StreamHarness() as h:
        h.collect(
            RedisUtils.createStream(h.ssc, redis_server.url, "readers", ["grouped"])
        )
        h._start()
        wait_until(lambda: lag_of(h) == 2, "all but the two of the other are stored")
        add(redis_server, "grouped", 3)
        wait_until(lambda: lag_of(h) == 2, "new ones are stored, too")
    assert "how far behind" not in caplog.text


def of_group(h: StreamHarness, server: Broker, topic: str, **more: str) -> Any:
    """Return what a group of Kafka's is given of a topic."""
    params = {"bootstrap.servers": server.bootstrap, **more}
    return KafkaUtils.createStream(h.ssc, "", f"of {topic}", {topic: 1}, params)


def test_what_a_kafka_group_has_not_committed_is_its_lag(kafka: Broker) -> None:
    """Of all partitions; also while the program's receiver stands still."""
    topic = kafka.topic(2)
    kafka.produce(topic, map(str, range(5)), 0)
    with StreamHarness() as h:
        h.collect(of_group(h, kafka, topic, **{"auto.offset.reset": "smallest"}))
        h._start()
        wait_until(
            lambda: kafka.committed(f"of {topic}", topic) == 5, "five are stored"
        )
        wait_until(lambda: lag_of(h) == 0, "nothing is left")
        scheduler: Any = h.ssc._scheduler
        scheduler.tracker.pause()
        kafka.produce(topic, map(str, range(3)), 0)
        kafka.produce(topic, map(str, range(4)), 1)
        wait_until(lambda: lag_of(h) == 7, "seven wait")
        scheduler.tracker.resume()
        wait_until(lambda: lag_of(h) == 0, "all are stored")
        text = exposition(h.sc._observers.application).decode()

    assert "millstream_input_lag{" in text


@pytest.mark.parametrize(
    ("reset", "lag"), [("smallest", 4), ("largest", 0), ("none", None)]
)
def test_a_group_that_has_committed_nothing_is_behind_by_what_it_begins_at(
    kafka: Broker, reset: str, lag: int | None
) -> None:
    """It is asked for as it stands, and not a member; where it can't begin, it's unknown."""
    topic = kafka.topic()
    kafka.produce(topic, map(str, range(4)))
    with StreamHarness() as h:
        of_group(h, kafka, topic, **{"auto.offset.reset": reset})
        made: Any = h.ssc._graph.inputs[0]

        assert made.receiver.ask_lag(10).amount == lag
        assert kafka.committed(f"of {topic}", topic) is None


def test_the_lag_of_a_topic_that_is_not_there_is_unknown(kafka: Broker) -> None:
    """It may come, and asking doesn't make it."""
    with StreamHarness() as h:
        of_group(h, kafka, "there-is-no-such-topic")
        made: Any = h.ssc._graph.inputs[0]

        assert made.receiver.ask_lag(10).amount is None


@contextmanager
def kafka_group(h: StreamHarness, directory: Path) -> Iterator[Any]:
    """Run a broker, and give what a group of its own gets."""
    with broker(directory) as server:
        topic = server.topic()
        yield of_group(h, server, topic)


@contextmanager
def redis_group(h: StreamHarness, directory: Path) -> Iterator[Any]:
    """Run a server, and give what a group of its own gets."""
    with redis_process(directory) as server:
        yield RedisUtils.createStream(h.ssc, server.url, "readers", ["a"])


@contextmanager
def nats_consumer(h: StreamHarness, directory: Path) -> Iterator[Any]:
    """Run a server, and give what a consumer of its own gets."""
    with nats_process(directory) as server:
        server.make("a")
        yield NatsUtils.createStream(h.ssc, server.url, "a", "readers")


@pytest.mark.parametrize("receiving", [kafka_group, redis_group, nats_consumer])
def test_a_server_that_is_away_is_an_unknown_lag(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, receiving: Any
) -> None:
    """It is warned of once, and no batch fails or waits."""
    conf = {"spark.streaming.receiverRestartDelay": "50"}
    with StreamHarness(conf=conf) as h:
        with receiving(h, tmp_path) as stream:
            h.collect(stream)
            h._start()
            wait_until(lambda: lag_of(h) == 0, "there is a group")
        wait_until(lambda: lag_of(h) == -1, "it isn't known")
        h.run(batches=3)
        assert h.ssc.metrics()["streaming.totalCompletedBatches"] == 3
        assert h.ssc.metrics()["millstream.failedBatches"] == 0
    told = [e for e in caplog.messages if "how far behind a stream is" in e]

    assert len(told) == 1
    assert "can't be reached" in told[0] or "doesn't list its topics" in told[0]


def test_what_a_batch_leaves_in_nats_is_the_lag(nats_server: NatsProcess) -> None:
    """As the newest batch was planned."""
    nats_server.make("a")
    nats_server.publish("a.x", range(10))
    with StreamHarness(batch=1.0) as h:
        stream = NatsUtils.createDirectStream(h.ssc, nats_server.url, ["a"], "earliest")
        assert lags_at_four_a_batch(h, stream, 3) == [6, 2, 0]


def test_what_a_nats_consumer_has_not_had_acknowledged_is_its_lag(
    nats_server: NatsProcess,
) -> None:
    """Also while the program's receiver stands still; of its subject only."""
    nats_server.make("held")
    with StreamHarness() as h:
        h.collect(
            NatsUtils.createStream(
                h.ssc,
                nats_server.url,
                "held",
                "readers",
                fromSequence="earliest",
                subject="held.x",
            )
        )
        h._start()
        wait_until(lambda: lag_of(h) == 0, "there is a consumer")
        scheduler: Any = h.ssc._scheduler
        scheduler.tracker.pause()
        nats_server.publish("held.y", range(5))
        nats_server.publish("held.x", range(7))
        wait_until(lambda: lag_of(h) == 7, "seven wait")
        scheduler.tracker.resume()
        wait_until(lambda: lag_of(h) == 0, "all are stored")


def test_kinesis_says_in_ms_how_far_the_newest_batch_is_behind() -> None:
    """By the times at which its records came; unknown when nobody answers."""
    name = "lagging"
    with StreamHarness(batch=1.0) as h:
        with moto() as server:
            server.create(name, 1)
            for each in (b"a", b"b", b"c"):
                server.put(name, [("k", each)])
                threading.Event().wait(0.05)  # Times of arrival are what is looked at.
            arrived = _arrivals(server, name)
            stream = _kinesis(h, server, name)
            stream._operator.rate = 1.0
            out = h.collect(stream)
            lags = []
            while sum(map(len, out.records)) < 3:
                before = sum(map(len, out.records))
                h.run()
                if sum(map(len, out.records)) > before:
                    lags.append(lag_of(h, LAG_MS))
        wait_until(lambda: _is_unknown(h), "nobody answers")
        text = exposition(h.sc._observers.application).decode()

    assert lags == [arrived[2] - arrived[0], arrived[2] - arrived[1], 0]
    assert lags[1] >= 50
    assert "millstream_input_lag_ms{" in text


def _is_unknown(h: StreamHarness) -> bool:
    h.run()
    return lag_of(h, LAG_MS) == -1


def _arrivals(server: Kinesis, stream: str) -> list[int]:
    """Return when the records of a stream of one shard came, in ms."""
    (shard,) = server.shards(stream)
    iterator = server.client.get_shard_iterator(
        StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    return [
        round(each["ApproximateArrivalTimestamp"].timestamp() * 1000)
        for each in server.client.get_records(ShardIterator=iterator)["Records"]
    ]


def _kinesis(h: StreamHarness, server: Kinesis, stream: str) -> Any:
    return KinesisUtils.createStream(
        h.ssc,
        "app",
        stream,
        server.url,
        REGION,
        InitialPositionInStream.TRIM_HORIZON,
        1,
        awsAccessKeyId="id",
        awsSecretKey="secret",
        fetchInterval=0.05,
    )
