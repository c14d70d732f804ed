"""Tests of progress.py: who hears of long work, and what the log says without anybody."""

import logging

import pytest

from millstream.engine.base import progress
from millstream.engine.base.progress import counted, heard_by


def test_listeners_hear_of_each_step() -> None:
    """From nothing to all of it, while the block runs and not after."""
    heard: list[tuple[str, int, int]] = []
    with heard_by(lambda *told: heard.append(told)):
        assert list(counted("reading", [7, 8])) == [7, 8]
    list(counted("writing", [7]))

    assert heard == [("reading", 0, 2), ("reading", 1, 2), ("reading", 2, 2)]


def test_work_without_parts_is_heard_of_once() -> None:
    """As done."""
    heard: list[tuple[str, int, int]] = []
    with heard_by(lambda *told: heard.append(told)):
        assert list(counted("reading", [])) == []

    assert heard == [("reading", 0, 0)]


def test_without_a_listener_long_work_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Every five seconds; short work is none."""
    seconds = iter(range(0, 100, 2))
    monkeypatch.setattr(progress, "monotonic_s", lambda: next(seconds))
    with caplog.at_level(logging.INFO):
        list(counted("reading", [1]))
        assert caplog.messages == []
        list(counted("reading", range(6)))

    assert caplog.messages == [
        "long work what=reading done=2 of=6",
        "long work what=reading done=5 of=6",
    ]
