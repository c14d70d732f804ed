"""Tests of progress.py: bars on a terminal, lines elsewhere, nothing for what is short."""

import io
import threading
from types import SimpleNamespace

import pytest

from millstream import SparkContext
from millstream.commands import progress
from millstream.commands.progress import Progress
from millstream.engine.base.progress import counted
from millstream.engine.jobs.book import StageRecord


class Terminal(io.StringIO):
    """Text that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


class Watch:
    """A clock in the test's hand."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    """Return the clock that progress goes by."""
    made = Watch()
    monkeypatch.setattr(progress, "monotonic_s", made)
    return made


def test_what_is_short_is_not_told(watch: Watch) -> None:
    """Neither on a terminal nor elsewhere."""
    for out in (Terminal(), io.StringIO()):
        told = Progress(out)
        for done in range(3):
            watch.now_s += 0.1
            told("reading", done, 2)
        assert out.getvalue() == ""


def test_lines_come_now_and_then_and_at_the_end(watch: Watch) -> None:
    """Not one a step."""
    out = io.StringIO()
    told = Progress(out)
    for done in range(25):
        told("reading", done, 24)
        watch.now_s += 0.5

    assert out.getvalue().splitlines() == [
        "reading: 10 of 24",
        "reading: 20 of 24",
        "reading: 24 of 24",
    ]


def test_a_terminal_has_a_bar(watch: Watch) -> None:
    """It ends with the work, or when another begins."""
    out = Terminal()
    told = Progress(out)
    for done in range(11):
        watch.now_s += 0.3
        told("reading", done, 10)
    assert "reading  [" in out.getvalue()
    assert "100%" in out.getvalue()
    assert out.getvalue().endswith("\n")

    for done in (1, 2):
        watch.now_s += 0.6
        told("writing", done, 10)
    assert "writing  [" in out.getvalue()
    watch.now_s += 0.6
    told("checking", 0, 10)
    assert out.getvalue().count("\n") >= 2


def test_stages_that_run_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest one that has tasks at work."""
    stages = [
        StageRecord(7, 1, "count of map", 12, completed_count=4),
        StageRecord(6, 1, "reduceByKey", 8, active_count=2, completed_count=3),
    ]
    book = SimpleNamespace(stages=lambda: stages)
    context = SimpleNamespace(_driver=SimpleNamespace(book=book))
    monkeypatch.setattr(SparkContext, "_active_spark_context", context)
    monkeypatch.setattr(progress, "_LOOK_EVERY_S", 0.001)
    heard: list[tuple[str, int, int]] = []
    ended = threading.Event()

    class Hearing(Progress):
        def __call__(self, what: str, done: int, count: int) -> None:
            heard.append((what, done, count))
            ended.set()

    progress._watch_stages(Hearing(), ended)
    assert heard == [("stage 6 (reduceByKey)", 3, 8)]


def test_long_work_of_the_engine_is_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the block runs, on the standard error."""
    monkeypatch.setattr(progress, "_SHOWN_AFTER_S", 0.0)
    with progress.shown():
        assert list(counted("reading", [1])) == [1]
    assert list(counted("writing", [1])) == [1]

    assert capsys.readouterr().err == "reading: 0 of 1\nreading: 1 of 1\n"
