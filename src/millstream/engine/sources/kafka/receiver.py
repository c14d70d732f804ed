"""KafkaReceiver: a member of a consumer group, which commits what is stored.

What was stored and couldn't be committed any more comes again: at least once.
"""

import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from millstream.engine.base.clock import monotonic_s
from millstream.engine.base.errors import IllegalArgumentError, SparkError
from millstream.engine.base.levels import StorageLevel
from millstream.engine.ingest.lag import Lag, TellsLag
from millstream.engine.ingest.reliable_receiver import (
    Connection,
    Delivery,
    ReliableReceiver,
)
from millstream.engine.sources.kafka.clients import (
    Complaints,
    library,
    make_consumer,
)
from millstream.engine.sources.kafka.cluster import Cluster, Topics, choose
from millstream.engine.sources.kafka.reading import AT_A_TIME
from millstream.engine.sources.kafka.settings import KafkaSettings

_log = logging.getLogger(__name__)

_INSTANCE = "group.instance.id"
_BLOCK_S = 0.2
_BLOCK_RECORDS = 20_000
_BLOCK_BYTES = 16 << 20

Raw = tuple[bytes | None, bytes | None]


class KafkaReceiver(ReliableReceiver[Raw], TellsLag):
    """Receives pairs of key and value as they are, from topics that a group shares."""

    def __init__(
        self,
        settings: KafkaSettings,
        topics: Mapping[str, int],
        storageLevel: StorageLevel,
    ) -> None:
        """Have as many members of the group as the largest number that a topic asks for.

        Raises:
            IllegalArgumentError: There are no topics, or numbers of threads, or no group.
            MissingDependencyError: The client library isn't installed.
        """
        super().__init__(storageLevel)
        library()
        if not topics or min(topics.values()) < 1:
            msg = f"a Kafka stream needs topics with their numbers of threads, not {topics!r}"
            raise IllegalArgumentError(msg, hint="such as {'logs': 1}")
        if not settings.group:
            msg = "a Kafka receiver needs the name of a group"
            raise IllegalArgumentError(msg)
        self._settings = settings
        self._topics = tuple(topics)
        self._numbers: Iterator[int] = iter(())
        self.connections = max(topics.values())  # type: ignore[misc]

    @property
    def identity(self) -> str:
        """The topics."""
        return f"kafka {','.join(self._topics)}"

    def onStart(self) -> None:
        """Start the threads."""
        self._numbers = itertools.cycle(range(self.connections))
        super().onStart()

    def connect(self) -> Connection[Raw]:
        """Join the group."""
        return _Member(self.member_settings(next(self._numbers)), self._topics)

    def member_settings(self, number: int) -> KafkaSettings:
        """Return the settings of a member: `group.instance.id` is of one member only."""
        given = self._settings.client.get(_INSTANCE)
        if given is None or self.connections == 1:
            return self._settings
        client = {**self._settings.client, _INSTANCE: f"{given}-{number}"}
        return replace(self._settings, client=client)

    def ask_lag(self, timeout_s: float) -> Lag:
        """Return how many offsets the topics have beyond what the group has committed.

        Where it has committed nothing, beyond where it begins.
        """
        timeout_s = min(timeout_s, self._settings.timeout_s)
        # One of its own each time: it isn't a member, and nothing of it stays.
        cluster = Cluster(replace(self._settings, timeout_s=timeout_s))
        chosen = choose(Topics(self._topics), cluster.partitions())
        if chosen.missing:
            return Lag(None)
        ends = cluster.latest(chosen.present)
        known = cluster.committed(chosen.present)
        new = [each for each in chosen.present if each not in known]
        if new and self._settings.reset == "none":
            return Lag(None)  # It begins nowhere: the receiver's own error says so.
        begins = cluster.earliest(new) if self._settings.reset == "earliest" else ends
        return Lag(
            sum(
                max(0, end - (known[at] if at in known else begins[at]))
                for at, end in ends.items()
            )
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_numbers": iter(())}


class _Member(Connection[Raw]):
    """A consumer that is a member of the group."""

    def __init__(self, settings: KafkaSettings, topics: Sequence[str]) -> None:
        self._settings = settings
        self._complaints = Complaints()
        self._kafka = library()
        config = {**settings.for_group(), "on_commit": self._on_commit}
        self._consumer = make_consumer(config, self._complaints)
        self._consumer.subscribe(list(topics))

    def receive(self, timeout_s: float) -> Delivery[Raw] | None:
        """Return what comes within a fifth of a second from the first record on."""
        first = self._consumer.poll(timeout_s)
        if first is None:
            if self._complaints.refused is not None:
                self._refuse(self._complaints.refused)
            return None
        until_s = monotonic_s() + _BLOCK_S
        records: list[Raw] = []
        ends: dict[tuple[str, int], int] = {}
        size = 0
        some = [first]
        while True:
            for each in some:
                if each.error() is not None:
                    self._on_event(each.error())
                    continue
                records.append((each.key(), each.value()))
                size += len(each)
                ends[each.topic(), each.partition()] = each.offset() + 1
            left_s = until_s - monotonic_s()
            if left_s <= 0 or len(records) >= _BLOCK_RECORDS or size >= _BLOCK_BYTES:
                break
            some = self._consumer.consume(AT_A_TIME, min(left_s, timeout_s))
        return Delivery(records, ends) if records else None

    def _on_event(self, error: Any) -> None:
        if (
            error.retriable()
            or error.code() == self._kafka.KafkaError._ALL_BROKERS_DOWN
        ):
            # The client goes on by itself, and connects again.
            _log.warning(
                "receiving is interrupted servers=%s error=%s",
                self._settings.servers,
                error.str(),
            )
            return
        self._refuse(error.str())

    def _refuse(self, reason: str) -> None:
        msg = f"the Kafka cluster at {self._settings.servers} gives nothing: {reason}"
        raise SparkError(msg)

    def acknowledge(self, token: Any) -> None:
        """Commit offsets, in the background; errors are logged: then records come again."""
        self._consumer.commit(
            offsets=[
                self._kafka.TopicPartition(topic, partition, offset)
                for (topic, partition), offset in token.items()
            ],
            asynchronous=True,
        )

    def _on_commit(self, error: Any, _offsets: Any) -> None:
        if error is not None:
            _log.warning(
                "offsets couldn't be committed group=%s error=%s; their records may come "
                "again",
                self._settings.group,
                error.str(),
            )

    def close(self) -> None:
        """Leave the group, after what is being committed."""
        self._consumer.close()
