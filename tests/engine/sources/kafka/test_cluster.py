"""Tests of a cluster's choice: which of its partitions a stream reads."""

import pytest

from millstream.engine.sources.kafka.cluster import (
    Chosen,
    Partitions,
    TopicPattern,
    Topics,
    choose,
)
from millstream.engine.sources.kafka.offsets import TopicAndPartition

THERE = {"a": [1, 0], "ab": [0], "b": [0], "__consumer_offsets": [0]}


@pytest.mark.parametrize(
    ("chosen", "present", "missing"),
    [
        (Topics(("b", "a")), "a0 a1 b0", []),
        (Topics(("a", "no")), "a0 a1", ["topic 'no'"]),
        (TopicPattern("a.*"), "a0 a1 ab0", []),
        (TopicPattern("b"), "b0", []),
        (TopicPattern(".*"), "a0 a1 ab0 b0", []),
        (
            Partitions((TopicAndPartition("a", 1), TopicAndPartition("a", 2))),
            "a1",
            ["partition 2 of topic 'a'"],
        ),
    ],
)
def test_partitions_are_chosen_in_order(
    chosen: Chosen, present: str, missing: list[str]
) -> None:
    """By topic, by a pattern of the whole name, or one by one; Kafka's own never."""
    choice = choose(chosen, THERE)

    assert " ".join(f"{e.topic}{e.partition}" for e in choice.present) == present
    assert list(choice.missing) == missing
