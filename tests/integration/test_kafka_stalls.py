"""What a driver asks a Kafka broker that stands still, and answers when time is up."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.integration.servers.kafka import Broker, broker

from millstream.engine.sources.kafka.cluster import Cluster, KafkaUnreachableError
from millstream.engine.sources.kafka.offsets import TopicAndPartition
from millstream.engine.sources.kafka.settings import read_settings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]

LIMIT_S = 30


@pytest.fixture
def kafka(tmp_path: Path) -> Iterator[Broker]:
    """A broker that may stand still."""
    with broker(tmp_path) as server:
        if not server.is_own:
            pytest.skip("someone else's cluster isn't stopped")
        yield server


def test_where_partitions_end_is_an_error_while_the_broker_stands_still(
    kafka: Broker,
) -> None:
    """And no offset: a stream would take a low one for lost records, and read all again."""
    topic = kafka.topic()
    kafka.produce(topic, ["a", "b"])
    place = TopicAndPartition(topic, 0)
    given = {"bootstrap.servers": kafka.bootstrap, "default.api.timeout.ms": 500}
    cluster = Cluster(read_settings(given))
    assert cluster.latest([place]) == {place: 2}

    kafka.pause()
    try:
        with pytest.raises(KafkaUnreachableError, match="doesn't give the offsets"):
            cluster.latest([place])
    finally:
        kafka.resume()

    assert cluster.latest([place]) == {place: 2}


ASKING = """
import sys
from millstream.engine.sources.kafka.cluster import Cluster, KafkaUnreachableError
from millstream.engine.sources.kafka.offsets import TopicAndPartition
from millstream.engine.sources.kafka.settings import read_settings

servers, topic = sys.argv[1:]
cluster = Cluster(read_settings({
    "bootstrap.servers": servers, "group.id": "g", "default.api.timeout.ms": 500,
}))
place = TopicAndPartition(topic, 0)
cluster.partitions()
print("connected", flush=True)
for _ in sys.stdin:
    try:
        print(cluster.committed([place]), flush=True)
    except KafkaUnreachableError as error:
        print(error, flush=True)
"""


def _answer(asking: "subprocess.Popen[str]") -> str:
    """Let the program ask, and return what it says; nothing, when it has ended."""
    assert asking.stdin is not None, "it is a pipe"
    assert asking.stdout is not None, "it is a pipe"
    with suppress(BrokenPipeError):
        asking.stdin.write("again\n")
        asking.stdin.flush()
    return asking.stdout.readline()


def test_a_late_answer_of_what_a_group_has_committed_ends_no_process(
    kafka: Broker,
) -> None:
    """It is an error in time, and known again when the broker goes on.

    Asked by a client that is connected, and doesn't know yet who answers for the group.
    """
    topic = kafka.topic()
    asking = subprocess.Popen(
        [sys.executable, "-c", ASKING, kafka.bootstrap, topic],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with asking:
        assert asking.stdout is not None, "it is a pipe"
        assert asking.stdout.readline() == "connected\n"
        kafka.pause()
        try:
            while_it_stands = _answer(asking)
        finally:
            kafka.resume()
        afterwards = _answer(asking)
        _, errors = asking.communicate(timeout=LIMIT_S)

    assert asking.returncode == 0, errors
    assert "doesn't tell what group 'g' has committed" in while_it_stands
    assert afterwards == "{}\n"
