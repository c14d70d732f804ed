"""Tests of reading ranges: what needs no broker; the rest is tests/integration/test_kafka.py."""

import pytest

from millstream.engine.base.errors import IllegalArgumentError
from millstream.engine.base.secrets import Secret
from millstream.engine.sources.kafka.offsets import OffsetRange
from millstream.engine.sources.kafka.reading import Reading, messages_of

READING = Reading({"bootstrap.servers": "127.0.0.1:1"}, timeout_s=0.1)


def test_an_empty_range_needs_no_broker() -> None:
    """Nothing listens there."""
    assert list(messages_of(READING, OffsetRange("t", 0, 7, 7))) == []


def test_a_range_that_ends_before_it_begins_is_refused() -> None:
    """The error shows it."""
    with pytest.raises(
        IllegalArgumentError, match=r"\[7 -> 6\]\) ends before it begins"
    ):
        list(messages_of(READING, OffsetRange("t", 0, 7, 6)))


def test_consumers_stand_in_for_each_other_when_their_settings_are_the_same() -> None:
    """Callbacks don't count, which are new objects in each task; secrets do."""
    one = Reading({"a": 1, "b": Secret("x", "b"), "oauth_cb": print}, 1.0)
    same = Reading({"b": Secret("x", "b"), "a": "1", "oauth_cb": repr}, 2.0)
    other = Reading({"a": 1, "b": Secret("y", "b")}, 1.0)

    assert one.key == same.key != other.key
