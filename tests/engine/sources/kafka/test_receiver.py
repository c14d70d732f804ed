"""Tests of KafkaReceiver: what needs no broker; the rest is tests/integration/test_kafka.py."""

import pickle

import pytest

from millstream.engine.base.errors import IllegalArgumentError
from millstream.engine.base.levels import StorageLevel
from millstream.engine.sources.kafka.receiver import KafkaReceiver
from millstream.engine.sources.kafka.settings import read_settings

SERVERS = {"bootstrap.servers": "one:9092"}


def receiver(topics: dict[str, int], group: str = "g", **more: str) -> KafkaReceiver:
    """Return a receiver that isn't started."""
    settings = read_settings({**SERVERS, "group.id": group, **more})
    return KafkaReceiver(settings, topics, StorageLevel.MEMORY_ONLY)


def test_a_receiver_has_as_many_members_as_a_topic_asks_for() -> None:
    """The largest number: each member reads every topic. A copy has as many."""
    made = receiver({"a": 1, "b": 3})

    assert (made.connections, made.identity) == (3, "kafka a,b")
    assert pickle.loads(pickle.dumps(made)).connections == 3


@pytest.mark.parametrize("topics", [{}, {"a": 0}])
def test_topics_have_numbers_of_threads(topics: dict[str, int]) -> None:
    """At least one topic, and one thread for it."""
    with pytest.raises(IllegalArgumentError, match="topics with their numbers"):
        receiver(topics)


def test_a_receiver_needs_a_group() -> None:
    """Or nobody would know what is stored."""
    with pytest.raises(IllegalArgumentError, match="name of a group"):
        receiver({"a": 1}, group="")


def test_members_of_one_receiver_are_told_apart() -> None:
    """Each has a `group.instance.id` of its own: with the same they throw each other out."""
    name = "group.instance.id"
    several = receiver({"a": 2}, **{name: "me"})
    alone = receiver({"a": 1}, **{name: "me"})

    assert [several.member_settings(n).client[name] for n in (0, 1)] == ["me-0", "me-1"]
    assert alone.member_settings(0).client[name] == "me"
    assert name not in receiver({"a": 2}).member_settings(1).client
