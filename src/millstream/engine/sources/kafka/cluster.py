"""Cluster: what a driver asks a Kafka cluster; it gets an answer, or an error, in time."""

import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, assert_never

from millstream.engine.base.clock import monotonic_s
from millstream.engine.base.errors import SparkError
from millstream.engine.sources.kafka.clients import (
    Complaints,
    admin_library,
    library,
    make_admin,
    make_consumer,
)
from millstream.engine.sources.kafka.offsets import TopicAndPartition
from millstream.engine.sources.kafka.settings import KafkaSettings

_AGAIN_S = 0.1
_SLICE_S = 2.0
_INTERNAL = frozenset({"__consumer_offsets", "__transaction_state"})

Offsets: TypeAlias = dict[TopicAndPartition, int]


class KafkaUnreachableError(SparkError):
    """A cluster didn't answer in time, or not what it was asked."""


class MissingTopicError(SparkError):
    """A topic or partition that a stream reads isn't there."""


@dataclass(frozen=True, slots=True)
class Topics:
    """Every partition of these topics, also of those to come."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TopicPattern:
    """Every partition of every topic whose whole name matches."""

    pattern: str


@dataclass(frozen=True, slots=True)
class Partitions:
    """These partitions and no others."""

    partitions: tuple[TopicAndPartition, ...]


Chosen: TypeAlias = Topics | TopicPattern | Partitions


def choose(chosen: Chosen, there: Mapping[str, Iterable[int]]) -> "Choice":
    """Return which of the partitions that are there were chosen, and what isn't there."""
    match chosen:
        case Topics(names):
            topics = [each for each in names if each in there]
            missing = [f"topic '{each}'" for each in names if each not in there]
        case TopicPattern(pattern):
            topics = [
                each
                for each in there
                if re.fullmatch(pattern, each) and each not in _INTERNAL
            ]
            missing = []
        case Partitions(partitions):
            present = [e for e in partitions if e.partition in there.get(e.topic, ())]
            missing = [str(each) for each in partitions if each not in present]
            return Choice(tuple(sorted(present)), tuple(missing))
        case _:
            assert_never(chosen)
    found = [
        TopicAndPartition(topic, partition)
        for topic in topics
        for partition in there[topic]
    ]
    return Choice(tuple(sorted(found)), tuple(missing))


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen: in order."""

    present: tuple[TopicAndPartition, ...]
    missing: tuple[str, ...]
    """In words."""


class Cluster:
    """A client of a cluster; for one thread at a time."""

    def __init__(self, settings: KafkaSettings) -> None:
        """Make the client; it connects when it is asked.

        Raises:
            IllegalArgumentError: A parameter is unknown or wrong.
        """
        self._settings = settings
        self._complaints = Complaints()
        self._client = make_admin(settings.for_driver(), self._complaints)

    def partitions(self) -> dict[str, list[int]]:
        """Return the partitions of every topic that may be seen.

        Asks for all, since to ask for one by its name may create it.

        Raises:
            KafkaUnreachableError: The cluster didn't answer in time.
        """
        self._complaints.forget()
        told = self._listed(monotonic_s() + self._settings.timeout_s)
        return {
            topic: sorted(each.partitions)
            for topic, each in told.topics.items()
            if each.error is None
        }

    def _listed(self, deadline_s: float) -> Any:
        kafka = library()
        while True:
            left_s = deadline_s - monotonic_s()
            try:
                # Some seconds at a time: to one that is refused no answer would come.
                return self._client.list_topics(
                    timeout=max(min(left_s, _SLICE_S), 0.01)
                )
            except kafka.KafkaException as error:
                self._client.poll(0)
                if self._complaints.refused is not None or monotonic_s() >= deadline_s:
                    what = "list its topics"
                    raise self._unreachable(what, error) from None
                threading.Event().wait(_AGAIN_S)
            finally:
                self._client.poll(0)  # Else what it logs would wait for ever.

    def latest(self, of: Iterable[TopicAndPartition]) -> Offsets:
        """Return where each partition ends, as its readers see it.

        With "read_committed" that is before the first transaction that is still open.
        """
        return self._offsets(dict.fromkeys(of, admin_library().OffsetSpec.latest()))

    def earliest(self, of: Iterable[TopicAndPartition]) -> Offsets:
        """Return where each partition begins."""
        return self._offsets(dict.fromkeys(of, admin_library().OffsetSpec.earliest()))

    def at_time(self, of: Iterable[TopicAndPartition], time_ms: int) -> Offsets:
        """Return the first record since then; a partition without one has -1."""
        return self._offsets(
            dict.fromkeys(of, admin_library().OffsetSpec.for_timestamp(time_ms))
        )

    def _offsets(self, wanted: Mapping[TopicAndPartition, Any]) -> Offsets:
        """Ask for offsets until all are known or time is up: leaders may be moving."""
        self._complaints.forget()
        deadline_s = monotonic_s() + self._settings.timeout_s
        found: Offsets = {}
        failed: dict[TopicAndPartition, Any] = {}
        while left := {each: s for each, s in wanted.items() if each not in found}:
            remaining_s = deadline_s - monotonic_s()
            if failed:
                threading.Event().wait(min(_AGAIN_S, max(remaining_s, 0)))
                remaining_s = deadline_s - monotonic_s()
            if remaining_s <= 0:
                where = ", ".join(map(str, failed or left))
                first = next(iter(failed.values()), None)
                what = f"give the offsets of {where}"
                raise self._unreachable(what, first)
            failed = self._ask(left, remaining_s, found)
            for place, error in failed.items():
                if not _may_pass(error.args[0]):
                    what = f"give the offsets of {place}"
                    raise self._unreachable(what, error)
        return found

    def _ask(
        self,
        wanted: Mapping[TopicAndPartition, Any],
        timeout_s: float,
        found: Offsets,
    ) -> dict[TopicAndPartition, Any]:
        """Add what is found to `found`; return errors of the others."""
        kafka = library()
        level = kafka.IsolationLevel[self._settings.isolation.upper()]
        try:
            asked = self._client.list_offsets(
                {
                    kafka.TopicPartition(each.topic, each.partition): spec
                    for each, spec in wanted.items()
                },
                isolation_level=level,
                request_timeout=timeout_s,
            )
        except kafka.KafkaException as error:
            return dict.fromkeys(wanted, error)
        failed: dict[TopicAndPartition, Any] = {}
        for place, answer in asked.items():
            key = TopicAndPartition(place.topic, place.partition)
            try:
                offset = int(answer.result(timeout_s + 1).offset)
            except kafka.KafkaException as error:
                failed[key] = error
                continue
            if offset == kafka.OFFSET_INVALID:
                # What a broker that said nothing in time has as its offset.
                silent = kafka.KafkaError(kafka.KafkaError._TIMED_OUT)
                failed[key] = kafka.KafkaException(silent)
            else:
                found[key] = offset
        self._client.poll(0)
        return failed

    def committed(self, of: Iterable[TopicAndPartition]) -> Offsets:
        """Return what the group has committed, of the partitions where it has.

        Raises:
            KafkaUnreachableError: The cluster didn't answer in time.
        """
        kafka = library()
        places = [kafka.TopicPartition(each.topic, each.partition) for each in of]
        if not places:
            return {}
        self._complaints.forget()
        what = f"tell what group '{self._settings.group}' has committed"
        consumer = make_consumer(self._settings.for_asking_group(), self._complaints)
        try:
            told = consumer.committed(places, timeout=self._settings.timeout_s)
        except kafka.KafkaException as error:
            consumer.poll(0)  # Else it wouldn't complain.
            raise self._unreachable(what, error) from None
        finally:
            consumer.close()
        for each in told:
            if each.error is not None:
                raise self._unreachable(what, kafka.KafkaException(each.error))
        return {
            TopicAndPartition(each.topic, each.partition): int(each.offset)
            for each in told
            if each.offset >= 0
        }

    def commit(self, offsets: Mapping[TopicAndPartition, int]) -> Any:
        """Begin to commit offsets for the group, and return a future of it."""
        kafka = library()
        places = [
            kafka.TopicPartition(each.topic, each.partition, offset)
            for each, offset in offsets.items()
        ]
        asked = [kafka.ConsumerGroupTopicPartitions(self._settings.group, places)]
        (answer,) = self._client.alter_consumer_group_offsets(
            asked, request_timeout=self._settings.timeout_s
        ).values()
        return answer

    def _unreachable(self, what: str, error: Any) -> KafkaUnreachableError:
        self._client.poll(0)
        known = str(self._complaints)
        reason = "time is up" if error is None else error.args[0].str()
        msg = (
            f"the Kafka cluster at {self._settings.servers} doesn't {what}: {reason}"
            + (f" ({known})" if known and known != reason else "")
        )
        hint = (
            "it refuses this client: look at its user, password and certificates"
            if self._complaints.refused is not None
            else "is it running, and can it be reached from here by the addresses that it "
            "advertises? A later batch reads what this one would have"
        )
        return KafkaUnreachableError(msg, hint=hint)


def _may_pass(error: Any) -> bool:
    """Say whether an error is one that asking again may end."""
    kafka = library().KafkaError
    return bool(error.retriable()) or error.code() in {
        kafka.NOT_LEADER_FOR_PARTITION,
        kafka.LEADER_NOT_AVAILABLE,
        kafka.UNKNOWN_TOPIC_OR_PART,
        kafka.OFFSET_NOT_AVAILABLE,
        kafka.FENCED_LEADER_EPOCH,
        kafka.UNKNOWN_LEADER_EPOCH,
        kafka.REQUEST_TIMED_OUT,
        kafka.NETWORK_EXCEPTION,
        kafka._TRANSPORT,
        kafka._TIMED_OUT,
    }
