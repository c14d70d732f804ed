"""How far a stream is behind Kafka, on a real broker."""

from pathlib import Path

import pytest
from tests.integration.servers.kafka import broker

from millstream.engine.observe.prometheus import exposition
from millstream.streaming.kafka import KafkaUtils
from millstream.testing import StreamHarness

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def test_what_a_batch_leaves_in_kafka_is_the_lag(tmp_path: Path) -> None:
    """As the newest batch was planned; of all partitions, and in Prometheus' format."""
    conf = {"spark.streaming.kafka.maxRatePerPartition": "4"}
    with broker(tmp_path) as kafka:
        topic = kafka.topic(2)
        for partition in (0, 1):
            kafka.produce(topic, map(str, range(10)), partition=partition)
        given = {
            "bootstrap.servers": kafka.bootstrap,
            "auto.offset.reset": "smallest",
        }
        lags = []
        with StreamHarness(conf=conf) as h:
            h.collect(KafkaUtils.createDirectStream(h.ssc, [topic], given))
            for _ in range(3):
                h.run()
                lags.append(h.ssc.metrics()["millstream.input.0.lag"])
            text = exposition(h.sc._observers.application).decode()

    assert lags == [12, 4, 0]
    assert "millstream_input_lag{" in text
