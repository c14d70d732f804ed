"""Warnings that could come with every batch."""

import logging
import pickle

import pytest

from millstream.engine.base.seldom import Seldom

LOG = logging.getLogger("millstream.test")


class Now:
    """What time it is, as the test says."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_a_warning_is_told_once_in_its_time(caplog: pytest.LogCaptureFixture) -> None:
    """What comes sooner is left out, and counted by the next one."""
    now = Now()
    seldom = Seldom(LOG, 60, now)

    for seconds in (0, 1, 59, 60, 61, 200):
        now.seconds = seconds
        seldom.warning("can't list at=%d", seconds)

    assert caplog.messages == [
        "can't list at=0",
        "can't list at=60 left_out=2",
        "can't list at=200 left_out=1",
    ]


def test_each_key_and_text_has_its_own_turn(caplog: pytest.LogCaptureFixture) -> None:
    """One receiver's errors hide neither another's nor another event."""
    seldom = Seldom(LOG, 60, Now())

    for stream in (0, 1, 0, 1):
        seldom.warning("receiver error stream=%d", stream, key=stream)
    seldom.warning("another event")

    assert caplog.messages == [
        "receiver error stream=0",
        "receiver error stream=1",
        "another event",
    ]


def test_a_warning_names_who_told_it(caplog: pytest.LogCaptureFixture) -> None:
    """The line in the log is the caller's, at WARNING, in the caller's logger."""
    Seldom(LOG).warning("told")

    record = caplog.records[0]
    assert (record.filename, record.levelname) == ("test_seldom.py", "WARNING")
    assert record.name == LOG.name


def test_what_is_unpickled_has_told_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """A restart tells again."""
    seldom = Seldom(LOG, 60, Now())
    seldom.warning("again")
    pickle.loads(pickle.dumps(seldom)).warning("again")

    assert caplog.messages == ["again", "again"]


def test_it_forgets_the_oldest_of_very_many_keys(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Keys without end take no memory without end."""
    seldom = Seldom(LOG, 60, Now())
    for key in range(200):
        seldom.warning("key=%d", key, key=key)
    seldom.warning("key=%d", 0, key=0)
    seldom.warning("key=%d", 199, key=199)

    assert len(seldom._told) == 100
    assert caplog.messages[200:] == ["key=0"]
