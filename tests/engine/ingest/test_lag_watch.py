"""A watch of a receiver's lag."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from millstream.engine.ingest import lag_watch
from millstream.engine.ingest.lag import Lag, LagUnit, TellsLag
from millstream.engine.ingest.lag_watch import LagWatch


class Told(TellsLag):
    """Says one thing after another, and counts how often it was asked."""

    lag_unit = LagUnit.MS

    def __init__(self, *answers: Lag | Exception) -> None:
        self._answers = answers
        self._asked = 0
        self._changed = threading.Condition()

    def ask_lag(self, timeout_s: float) -> Lag:
        """Return or raise the next answer; the last one again and again."""
        assert timeout_s > 0
        with self._changed:
            answer = self._answers[min(self._asked, len(self._answers) - 1)]
            self._asked += 1
            self._changed.notify_all()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def wait_for(self, asked: int) -> None:
        """Block until it was asked so often."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._asked >= asked, 10)

    @property
    def asked(self) -> int:
        """How often that was."""
        with self._changed:
            return self._asked


@contextmanager
def watching(source: TellsLag) -> Iterator[LagWatch]:
    """Watch meanwhile."""
    watch = LagWatch(5, source)
    watch.start()
    try:
        yield watch
    finally:
        watch.stop_soon()
        watch.join()


def becomes(watch: LagWatch, wanted: Callable[[Lag], bool]) -> Lag:
    """Return what a watch says once that is so."""
    for _ in range(2000):
        if wanted(watch.lag):
            return watch.lag
        threading.Event().wait(0.005)
    pytest.fail(f"it stays {watch.lag}")


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lag_watch, "_EVERY_S", 0.001)
    monkeypatch.setattr(lag_watch, "_UNKNOWN_S", 0.001)


@pytest.mark.usefixtures("_quick")
def test_it_asks_again_and_again() -> None:
    """So that what it says is what the source said last."""
    with watching(Told(*(Lag(n, LagUnit.MS) for n in (3, 2, 1)))) as watch:
        assert becomes(watch, lambda lag: lag.amount == 1).unit is LagUnit.MS


@pytest.mark.usefixtures("_quick")
def test_a_source_that_does_not_answer_is_unknown_and_warned_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """However often it is asked; the unit stays, and it is known when it answers again."""
    away = ConnectionError("nobody is there")
    source = Told(Lag(3, LagUnit.MS), away, away, away)
    with caplog.at_level(logging.WARNING), watching(source) as watch:
        source.wait_for(20)
        assert watch.lag == Lag(None, LagUnit.MS)
    told = [each.getMessage() for each in caplog.records]

    assert told == [
        "it isn't known how far behind a stream is stream=5: nobody is there"
    ]
    with watching(Told(away, Lag(4, LagUnit.MS))) as watch:
        assert becomes(watch, lambda lag: lag.amount is not None).amount == 4


def test_looking_at_it_asks_nobody() -> None:
    """However often: the source is asked every few seconds."""
    source = Told(Lag(3, LagUnit.MS))
    with watching(source) as watch:
        becomes(watch, lambda lag: lag.amount == 3)
        for _ in range(1000):
            assert watch.lag == Lag(3, LagUnit.MS)

    assert source.asked == 1


class Stalled(TellsLag):
    """Doesn't answer before it is let."""

    def __init__(self) -> None:
        self.is_let = threading.Event()

    def ask_lag(self, timeout_s: float) -> Lag:
        """Wait."""
        del timeout_s
        self.is_let.wait()
        return Lag(1)


def test_the_end_is_not_held_up_by_a_source_that_stands_still(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its thread ends when it answers."""
    monkeypatch.setattr(lag_watch, "_JOIN_S", 0.01)
    source = Stalled()
    with watching(source) as watch:
        assert watch.lag == Lag(None)
    assert watch.lag == Lag(None)
    source.is_let.set()

    assert becomes(watch, lambda lag: lag.amount is not None) == Lag(1)
