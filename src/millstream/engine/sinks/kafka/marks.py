"""KafkaMarks: up to which batch an output is, as offsets that consumer groups have committed.

The group of a partition has its mark: the batch's time is the offset. Two more groups have
the number of the newest run, and how many partitions there may be.
"""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from millstream.engine.base.errors import SparkError
from millstream.engine.base.extras import needed
from millstream.engine.base.secrets import revealed


@dataclass(frozen=True, slots=True)
class Mark:
    """Up to which batch a partition is committed."""

    time_ms: int
    partitions: int


@dataclass(frozen=True, slots=True)
class KafkaPlace:
    """A cluster, the topic whose name marks have, and for how long to wait. Picklable."""

    settings: tuple[tuple[str, Any], ...]
    """The clients' settings; secrets are `Secret`s."""
    marks: str
    """A topic that is there: offsets are of its partition 0."""
    timeout_s: float

    @property
    def servers(self) -> str:
        """Where the cluster is."""
        return str(dict(self.settings)["bootstrap.servers"])

    def settings_with(self, **more: Any) -> dict[str, Any]:
        """Return settings for a client; never show them."""
        own = {name.replace("_", "."): value for name, value in more.items()}
        # Errors have what it would say on the standard error output.
        return {"log_level": 0, **revealed(dict(self.settings)), **own}


def run_of(place: KafkaPlace, output: str) -> int:
    """Return the number of the output's newest run; 0 if there was none."""
    return max(0, _offset(place, _run_group(output))[0])


def set_run(place: KafkaPlace, output: str, run: int) -> None:
    """Keep the number of the newest run."""
    _set_offset(place, _run_group(output), run)


def count_of(place: KafkaPlace, output: str) -> int:
    """Return how many partitions may have marks, or producers."""
    return max(0, _offset(place, _count_group(output))[0])


def set_count(place: KafkaPlace, output: str, count: int) -> None:
    """Keep how many there may be; before any of them is written."""
    _set_offset(place, _count_group(output), count)


def marks_of(
    place: KafkaPlace, output: str, partitions: Sequence[int]
) -> dict[int, Mark]:
    """Return the marks of the partitions that have one."""
    groups = {group_of(output, each): each for each in partitions}
    found = _offsets(place, list(groups))
    return {
        groups[group]: _mark_of(offset, metadata)
        for group, (offset, metadata) in found.items()
        if offset >= 0
    }


_admins: dict[KafkaPlace, Any] = {}
_lock = threading.Lock()


def check_topic(place: KafkaPlace, topic: str) -> None:
    """Look whether a topic is there.

    Raises:
        SparkError: It isn't, or the cluster can't be reached.
    """
    with told(place, f"what topic '{topic}' is"):
        found = _admin(place).list_topics(topic, timeout=place.timeout_s)
    error = found.topics[topic].error
    if error is not None:
        msg = f"Kafka at {place.servers} has no topic '{topic}': {error}"
        raise SparkError(msg, hint="create it, or check its name")


def _admin(place: KafkaPlace) -> Any:
    with _lock:
        if place not in _admins:
            settings = {
                key: value
                for key, value in place.settings_with().items()
                if key not in _PRODUCERS_ONLY
            }
            _admins[place] = library("admin").AdminClient(settings)
        return _admins[place]


_PRODUCERS_ONLY = frozenset(
    {
        "acks",
        "batch.num.messages",
        "batch.size",
        "compression.codec",
        "compression.level",
        "compression.type",
        "delivery.timeout.ms",
        "linger.ms",
        "message.timeout.ms",
        "partitioner",
        "queue.buffering.max.kbytes",
        "queue.buffering.max.messages",
        "queue.buffering.max.ms",
        "retries",
        "sticky.partitioning.linger.ms",
        "transaction.timeout.ms",
    }
)
"""Settings that librdkafka warns of in a client that isn't a producer."""


def _offset(place: KafkaPlace, group: str) -> tuple[int, str]:
    return _offsets(place, [group])[group]


def _offsets(place: KafkaPlace, groups: Sequence[str]) -> dict[str, tuple[int, str]]:
    """Return each group's offset, or a negative number, and its metadata."""
    clients, admin = library(), _admin(place)
    with told(place, "the marks of an output"):
        asked = {}
        for group in groups:
            what = clients.ConsumerGroupTopicPartitions(
                group, [clients.TopicPartition(place.marks, 0)]
            )
            asked[group] = admin.list_consumer_group_offsets(
                [what], require_stable=True, request_timeout=place.timeout_s
            )[group]
        found = {}
        for group, future in asked.items():
            (offset,) = future.result(place.timeout_s + 5).topic_partitions
            if offset.error is not None:
                raise clients.KafkaException(offset.error)
            found[group] = (offset.offset, offset.metadata or "")
    return found


def _set_offset(place: KafkaPlace, group: str, value: int) -> None:
    clients = library()
    with told(place, "keep the number of a run"):
        what = clients.ConsumerGroupTopicPartitions(
            group, [clients.TopicPartition(place.marks, 0, value)]
        )
        asked = _admin(place).alter_consumer_group_offsets(
            [what], request_timeout=place.timeout_s
        )[group]
        (offset,) = asked.result(place.timeout_s + 5).topic_partitions
        if offset.error is not None:
            raise clients.KafkaException(offset.error)


def _mark_of(offset: int, metadata: str) -> Mark:
    return Mark(offset, int(json.loads(metadata)["partitions"]))


@contextmanager
def told(place: KafkaPlace, what: str) -> Iterator[None]:
    """Turn the client's errors into ones that say what was asked, and of whom.

    Raises:
        SparkError: It can't be reached, doesn't answer, or refuses.
    """
    try:
        yield
    except library().KafkaException as error:
        raise error_of(place, what, error.args[0]) from error
    except TimeoutError as error:
        raise error_of(place, what, "it didn't answer") from error


def error_of(place: KafkaPlace, what: str, said: Any) -> SparkError:
    """Return an error of a client's, or of words, that says what was asked."""
    words = said if isinstance(said, str) else f"{said.str()} ({said.name()})"
    msg = f"Kafka at {place.servers}: {what}: {words}"
    return SparkError(
        msg,
        hint=f"look whether brokers can be reached in {place.timeout_s:g} s, whether "
        "the topics are there, and whether this user may write them and commit offsets",
    )


def group_of(output: str, partition: int) -> str:
    """Return a partition's group, which its producer is named after, too."""
    return f"millstream.{output}.{partition}"


def _run_group(output: str) -> str:
    return f"millstream.{output}.run"


def _count_group(output: str) -> str:
    return f"millstream.{output}.partitions"


def library(part: str = "") -> Any:
    """Return the client library, or a part of it."""
    name = f"confluent_kafka.{part}" if part else "confluent_kafka"
    return needed(name, "kafka", "KafkaSink")


def drop_admin(place: KafkaPlace) -> None:
    """Let the client go that asks for marks."""
    with _lock:
        _admins.pop(place, None)
