"""Replaying a batch of Kafka's: from a real broker, which has moved on since."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.servers.kafka import Broker, broker

from millstream import planning
from millstream.streaming.kafka import KafkaUtils
from millstream.streaming.replaying import Replay
from millstream.testing import StreamHarness

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Return a broker."""
    with broker(tmp_path_factory.mktemp("broker")) as made:
        yield made


def test_a_batch_reads_its_own_offsets_again_and_commits_none(
    kafka: Broker, tmp_path: Path
) -> None:
    """With the count of then; its RDD still knows its ranges."""
    topic = kafka.topic(2)
    params = {
        "bootstrap.servers": kafka.bootstrap,
        "group.id": "replayed",
        "auto.offset.reset": "smallest",
    }

    def setup(h: StreamHarness) -> None:
        pairs = KafkaUtils.createDirectStream(h.ssc, [topic], params)
        words = pairs.map(lambda pair: (pair[1], 1))
        h.collect(words.updateStateByKey(lambda new, old: sum(new) + (old or 0)))
        h.collect(pairs)

    kafka.produce(topic, ["a", "b"])
    with StreamHarness(checkpoint=str(tmp_path / "checkpoint"), setup=setup) as h:
        h.run()
        kafka.produce(topic, ["a"], partition=1)
        h.run()
        kafka.produce(topic, ["c", "d"])
        h.run()

    with (
        planning.looking(planning.Look(lambda _: None)),
        StreamHarness(setup=setup) as h,
    ):
        h.ssc.checkpoint(str(tmp_path / "checkpoint"))
        replay = Replay(h.ssc, 2000, tmp_path / "scratch")
        replay.prepare()
        counts, pairs = replay.outputs()
        assert sorted(counts.rdd.collect()) == [("a", 2), ("b", 1)]
        assert pairs.rdd.collect() == [(None, "a")]
        ranges: list[Any] = pairs.rdd.offsetRanges()
    assert [(e.partition, e.fromOffset, e.untilOffset) for e in ranges] == [
        (0, 2, 2),
        (1, 0, 1),
    ]
    assert kafka.committed("replayed", topic) is None
