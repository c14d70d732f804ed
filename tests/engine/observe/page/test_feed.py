"""The feed tells everything once, then what has changed."""

from dataclasses import replace
from typing import Any

from tests.engine.observe.observed import FakeApplication, batch

from millstream.engine.base.clock import ManualClock
from millstream.engine.observe.control import Action
from millstream.engine.observe.page.feed import Feed, point
from millstream.engine.observe.progress import Batch, BatchStatus, StreamProgress
from millstream.engine.streams.events import (
    BatchCompleted,
    BatchStarted,
    BatchSubmitted,
    StreamInputInfo,
)


class Watched:
    """A stream of a test, and a feed of it."""

    def __init__(self, retained: int = 1000) -> None:
        self.progress = StreamProgress(1000, retained)
        self.application = FakeApplication(progress=self.progress)
        self.clock = ManualClock()
        self.feed = Feed(self.application, self.clock)

    def complete(self, time_ms: int, **kwargs: Any) -> None:
        """Let a batch end."""
        self.on(BatchCompleted(batch(time_ms, **kwargs)))

    def on(self, event: Any) -> None:
        """Let something happen."""
        self.progress.on_event(event)
        self.application.version = self.progress.version

    def tell(self) -> dict[str, Any]:
        """Return what is new."""
        message = self.feed.next_message()
        assert message is not None, "there are news"
        return message


def test_what_was_done_comes_as_rows_once() -> None:
    """Where nothing was done nothing is told."""
    watched = Watched()
    watched.complete(1000)
    assert "actions" not in watched.tell()["tables"]
    watched.application.done = [Action("pause batches", "192.0.2.7", 2000)]
    watched.application.version += 1
    (told,) = watched.tell()["tables"].items()
    watched.application.version += 1

    assert told[0] == "actions"
    assert told[1]["title"] == "What was done from the page (1)"
    assert told[1]["count"] == 1
    ((when, what, by),) = [row["cells"] for row in told[1]["rows"]]
    assert (what["text"], by["text"]) == ("pause batches", "192.0.2.7")
    assert when["text"]
    assert watched.feed.next_message() is None


def test_without_a_stream_there_are_no_news() -> None:
    """Until one starts."""
    assert Feed(FakeApplication(), ManualClock()).next_message() is None


def test_the_first_message_has_everything() -> None:
    """All points and all tables."""
    watched = Watched()
    watched.complete(1000)
    watched.complete(2000)
    message = watched.tell()

    assert message["series"] == {
        "batchMs": 1000,
        "inputs": [0],
        "points": [[1000, 2, 30, 32, 0, 10.0], [2000, 2, 30, 32, 0, 10.0]],
    }
    assert message["texts"]["completed-count"] == "2 completed batches"
    completed = message["tables"]["completedBatches"]
    assert [each["key"] for each in completed["new"]] == [2000, 1000]


def test_without_change_there_are_no_news() -> None:
    """The page hears nothing."""
    watched = Watched()
    watched.complete(1000)
    watched.tell()

    assert watched.feed.next_message() is None


def test_later_messages_have_what_changed_alone() -> None:
    """A new batch is one point and one row; texts that stay aren't told again."""
    watched = Watched()
    watched.complete(1000)
    watched.complete(2000)
    watched.tell()
    watched.complete(3000)
    message = watched.tell()

    assert message["points"] == [[3000, 2, 30, 32, 0, 10.0]]
    assert message["oldest"] == 1000
    assert message["texts"]["completed-count"] == "3 completed batches"
    assert "processing-time-mean" not in message["texts"]
    assert list(message["tables"]) == ["completedBatches"]
    assert [e["key"] for e in message["tables"]["completedBatches"]["new"]] == [3000]


def test_a_batch_is_told_again_when_it_ends() -> None:
    """Its point had no delays while it ran; it is in its table all the while."""
    watched = Watched()
    info = batch(1000)
    idle = replace(info, processing_start_ms=None, processing_end_ms=None)
    watched.on(BatchSubmitted(idle))
    first = watched.tell()
    watched.on(BatchStarted(replace(info, processing_end_ms=None)))
    second = watched.tell()
    watched.on(BatchCompleted(info))
    third = watched.tell()

    assert first["series"]["points"] == [[1000, None, None, None, 0, 10.0]]
    assert first["tables"]["waitingBatches"]["count"] == 1
    assert second["points"] == [[1000, 2, None, None, 0, 10.0]]
    assert second["tables"]["waitingBatches"]["count"] == 0
    assert third["points"] == [[1000, 2, 30, 32, 0, 10.0]]
    assert third["tables"]["runningBatches"]["rows"] == []


def test_what_runs_grows_older_without_an_event() -> None:
    """How far the stream is behind is told while nothing else happens."""
    watched = Watched()
    watched.on(BatchSubmitted(replace(batch(1000), submission_ms=0)))
    watched.clock.advance_ms(2_500)
    first = watched.tell()
    watched.clock.advance_ms(20_000)
    second = watched.tell()

    assert first["texts"]["tile-behind"] == "2.5 s"
    assert second == {
        "texts": {"tile-behind": "22.5 s"},
        "levels": {"behind": "bad"},
    }


def test_points_that_are_forgotten_are_told_of() -> None:
    """The page drops what is older than the oldest retained batch."""
    watched = Watched(retained=2)
    for time_ms in (1000, 2000):
        watched.complete(time_ms)
    watched.tell()
    watched.complete(3000)

    assert watched.tell()["oldest"] == 2000


def test_a_batch_that_ends_after_newer_ones_is_told_of() -> None:
    """With several at a time; those between aren't told again."""
    watched = Watched()
    info = batch(1000)
    watched.on(BatchStarted(replace(info, processing_end_ms=None)))
    watched.complete(2000)
    watched.tell()
    watched.on(BatchCompleted(info))

    assert [each[0] for each in watched.tell()["points"]] == [1000]


def test_a_failed_batch_comes_into_both_tables() -> None:
    """With why, and its whole text."""
    watched = Watched()
    watched.complete(1000)
    watched.tell()
    watched.complete(2000, failure="Traceback\nValueError: no")
    tables = watched.tell()["tables"]

    for name in ("failedBatches", "completedBatches"):
        (row,) = tables[name]["new"]
        assert row["cells"][-1]["text"] == "ValueError: no"
        assert row["cells"][-1]["details"] == "Traceback\nValueError: no"
        assert tables[name]["hasFailed"]


def test_a_new_input_begins_the_charts_anew() -> None:
    """Points have a place for each input."""
    watched = Watched()
    watched.complete(1000)
    watched.tell()
    watched.application.names = {0: "lines", 1: "files"}
    watched.complete(2000)
    message = watched.tell()

    assert message["series"]["inputs"] == [0, 1]
    assert [len(each) for each in message["series"]["points"]] == [7, 7]


def test_a_point_has_the_rate_of_each_input() -> None:
    """Zero where a batch doesn't tell of one."""
    info = replace(batch(1000), inputs={3: StreamInputInfo(3, 5)})

    assert point(Batch(info, BatchStatus.COMPLETED), [1, 3], 500)[5:] == [0, 10.0]
