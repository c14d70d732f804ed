"""The overview's tiles say how the stream is, and why."""

import pytest
from tests.engine.observe.observed import FakeApplication, batch

from millstream.engine.observe.application import Facts
from millstream.engine.observe.page.overview import Tile, overview
from millstream.engine.observe.progress import StreamProgress
from millstream.engine.streams.events import (
    BatchCompleted,
    BatchSubmitted,
    ReceiverInfo,
    ReceiverStopped,
)


def tiles(
    values: dict[str, float] | None = None,
    settings: dict[str, str] | None = None,
    progress: StreamProgress | None = None,
    ended_ms: int | None = None,
) -> dict[str, Tile]:
    """Return the tiles by id, at 10 s."""
    application = FakeApplication(
        Facts("local-1", "words", "me", 0, "4.3.0", {"Settings": settings or {}}),
        progress=progress or StreamProgress(1000),
        values=values or {},
        ended_ms=ended_ms,
    )
    picture = application.picture()
    assert picture is not None
    return {each.id: each for each in overview(application, picture, 10_000).tiles}


def test_a_stream_without_waiting_batches_is_up_to_date() -> None:
    """Green."""
    tile = tiles()["behind"]

    assert (tile.text, tile.level) == ("up to date", "good")


@pytest.mark.parametrize(
    ("submitted_ms", "text", "level"),
    [(9_500, "500 ms", "good"), (8_000, "2.0 s", "warn"), (-5_000, "15.0 s", "bad")],
)
def test_how_far_behind_is_the_age_of_the_oldest_unfinished_batch(
    submitted_ms: int, text: str, level: str
) -> None:
    """Green within a batch, red from ten on."""
    progress = StreamProgress(1000)
    progress.on_event(BatchSubmitted(batch(submitted_ms)))
    tile = tiles(progress=progress)["behind"]

    assert (tile.text, tile.level) == (text, level)


def test_batches_that_are_held_back_count_as_late() -> None:
    """Each by its interval; the tile beside says which setting holds them."""
    found = tiles({"millstream.heldBackBatches": 3})

    assert found["behind"].text == "3.0 s"
    assert found["held"].text == "3"
    assert "spark.millstream.waitingBatches.max" in found["held"].note


def test_a_program_that_has_ended_is_not_behind() -> None:
    """What it left undone is told."""
    progress = StreamProgress(1000)
    progress.on_event(BatchSubmitted(batch(1000)))

    assert tiles(progress=progress, ended_ms=5_000)["behind"].note == "1 batch left"
    assert tiles(ended_ms=5_000)["behind"].note == ""


def test_the_limit_says_why() -> None:
    """Back-pressure, a setting, the page, or nothing; limits of all inputs are added."""
    limits = {
        "millstream.receiver.0.rateLimit": 100.0,
        "millstream.input.1.rateLimit": 50.0,
        "millstream.receiver.2.rateLimit": -1.0,
    }
    adapting = tiles(limits, {"spark.streaming.backpressure.enabled": "true"})["limit"]
    rate_max = "spark.streaming.receiver.maxRate"
    fixed = tiles(limits, {rate_max: "50"})["limit"]
    by_hand, below = tiles(limits)["limit"], tiles(limits, {rate_max: "100"})["limit"]
    free = tiles()["limit"]

    assert (adapting.text, fixed.text) == ("150 records/s", "150 records/s")
    assert adapting.note.startswith("back-pressure")
    assert fixed.note == rate_max
    assert by_hand.note == below.note == "set on this page"
    assert (free.text, free.note) == ("no limit", "back-pressure is off")


def test_what_is_durable_has_tiles_where_there_is_any() -> None:
    """State, checkpoints, write-ahead logs; red where writing failed."""
    found = tiles(
        {
            "millstream.state.partitions": 4,
            "millstream.state.spilledPartitions": 1,
            "millstream.state.rows": 1200,
            "millstream.state.memoryBytes": 2048,
            "millstream.checkpoint.written": 3,
            "millstream.checkpoint.lastWriteMs": 12,
            "millstream.checkpoint.lastBytes": 100,
            "millstream.wal.writes": 7,
            "millstream.wal.failed": 1,
            "millstream.wal.lastWriteMs": 3,
            "millstream.gc.lastPauseMs": 5,
        }
    )

    assert found["state"].text == "2.0 KiB"
    assert found["state"].note == "1,200 rows, 4 partitions, 1 in files"
    assert found["checkpoint"].text == "12 ms"
    assert found["checkpoint"].note == "100 B written last"
    assert (found["wal"].note, found["wal"].level) == ("7 writes, 1 failed", "bad")
    assert found["collector"].text == "5 ms"
    assert not {"state", "checkpoint", "wal", "collector"} & set(tiles())


def test_a_failed_checkpoint_is_red() -> None:
    """Even if none was written yet."""
    tile = tiles({"millstream.checkpoint.failed": 2})["checkpoint"]

    assert (tile.note, tile.level) == ("0 B, 2 failed", "bad")


def test_inputs_tell_their_lag_and_that_a_receiver_is_gone() -> None:
    """Of what has no receiver there is no state."""
    progress = StreamProgress(1000)
    progress.on_event(BatchCompleted(batch(1000)))
    progress.on_event(ReceiverStopped(ReceiverInfo(0, "Lines-0", active=False)))
    application = FakeApplication(
        progress=progress,
        names={0: "lines", 1: "topics"},
        values={"millstream.input.1.lag": 12_000.0},
    )
    lines, topics = overview(application, progress.picture(), 2_000).inputs

    assert (lines.name, lines.status, lines.lag) == ("Lines-0", "INACTIVE", "-")
    assert (topics.name, topics.status, topics.lag) == ("topics", "-", "12,000 records")
    assert lines.rate == "Avg: 10.00 records/sec"


def test_gauges_are_in_words() -> None:
    """Sizes, spans, times and counts; -1 is what isn't known."""
    application = FakeApplication(
        progress=StreamProgress(1000),
        values={
            "a.memoryBytes": 1024,
            "b.lastWriteMs": 1500,
            "c.totalDelay": -1,
            "d.count": 1000,
            "e.submissionTime": 1,
        },
    )
    picture = application.picture()
    assert picture is not None
    texts = [text for _, text in overview(application, picture, 0).gauges]

    assert texts[:4] == ["1.0 KiB", "1.5 s", "-1", "1,000"]
    assert texts[4].endswith(".001")


@pytest.mark.parametrize(
    ("gauges", "text"),
    [
        ({}, "-"),
        ({"lag": 0}, "0 records"),
        ({"lag": 1}, "1 record"),
        ({"lag": -1}, "unknown"),
        ({"lagMs": 1500}, "1.5 s"),
        ({"lagMs": -1}, "unknown"),
    ],
)
def test_an_input_says_how_far_behind_it_is(
    gauges: dict[str, float], text: str
) -> None:
    """In records or in time; that it isn't known now, where it can be at all."""
    values = {f"millstream.input.0.{name}": value for name, value in gauges.items()}
    application = FakeApplication(progress=StreamProgress(1000), values=values)
    picture = application.picture()
    assert picture is not None
    (found,) = overview(application, picture, 0).inputs

    assert found.lag == text
