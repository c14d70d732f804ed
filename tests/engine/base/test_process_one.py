"""Tests of base/process_one.py: what leaves a signal to its default ends process 1, too.

That the kernel has it so is in stories/test_containers.py.
"""

import os
import signal
from types import FrameType

import pytest

from millstream.engine.base import process_one
from millstream.engine.base.config import Settings
from millstream.streaming import signals


class Ended(BaseException):
    """This process would have ended."""


pytestmark = pytest.mark.usefixtures("usual_signals")


@pytest.fixture
def _as_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be process 1, and raise where that would end."""

    def end(code: int) -> None:
        raise Ended(code)

    monkeypatch.setattr(os, "getpid", lambda: 1)
    monkeypatch.setattr(os, "_exit", end)


@pytest.mark.usefixtures("_as_first")
def test_process_1_ends_by_sigterm() -> None:
    """With the code that a shell has for it."""
    process_one.end_at_sigterm()

    with pytest.raises(Ended, match="143"):
        signal.raise_signal(signal.SIGTERM)


def test_any_other_process_is_left_to_the_kernel() -> None:
    """Which ends it without our help."""
    process_one.end_at_sigterm()

    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert process_one.default_action() is signal.SIG_DFL


@pytest.mark.usefixtures("_as_first")
def test_a_handler_of_the_programs_own_stays() -> None:
    """Set before or after."""
    heard = []

    def own(number: int, _frame: FrameType | None) -> None:
        heard.append(number)

    signal.signal(signal.SIGTERM, own)
    process_one.end_at_sigterm()
    signal.raise_signal(signal.SIGTERM)

    assert heard == [signal.SIGTERM]
    assert not process_one.has_default_action(signal.SIGTERM)


@pytest.mark.usefixtures("_as_first")
def test_a_stream_takes_sigterm_over_and_gives_it_back() -> None:
    """The first one stops it gracefully, the next one, and Ctrl-C, end process 1."""
    process_one.end_at_sigterm()
    signals.install(Settings({}))
    try:
        with pytest.raises(signals.StopRequested):
            signal.raise_signal(signal.SIGTERM)
        with pytest.raises(Ended, match="143"):
            signal.raise_signal(signal.SIGTERM)
        with pytest.raises(Ended, match="130"):
            signal.raise_signal(signal.SIGINT)
    finally:
        signals.uninstall()

    with pytest.raises(Ended, match="143"):
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
