"""Stories of recovery: a stream that crashes, and goes on as if it hadn't."""

import logging
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from millstream import SparkContext
from millstream.engine.base.errors import (
    DurabilityError,
    IllegalStateError,
    NotSerializableError,
    SparkError,
)
from millstream.streaming import StreamingContext
from millstream.testing import StreamHarness

Counts = list[tuple[str, int]]


def count(new: list[int], old: int | None) -> int:
    """Add up."""
    return sum(new) + (old or 0)


def by_time(h: StreamHarness, name: str) -> dict[int, list[Any]]:
    """Return the last output of each batch, sorted."""
    out = h.output(name)
    return {
        time: sorted(records)
        for time, records in zip(out.times_ms, out.records, strict=True)
    }


SCRIPT = [["a", "b"], ["a"], None, ["b", "b"], [], ["c"], ["a"], ["a"]]


def counting(h: StreamHarness) -> None:
    """Count words over the whole stream, over windows, and by batches."""
    words = h.stream(SCRIPT).map(lambda word: (word, 1))
    h.collect(words.updateStateByKey(count), "state")
    h.collect(words.reduceByKeyAndWindow(lambda a, b: a + b, None, 3, 1), "window")
    h.collect(
        words.reduceByKeyAndWindow(lambda a, b: a + b, lambda a, b: a - b, 5, 1),
        "inverse",
    )
    h.collect(words.count(), "count")


@pytest.mark.parametrize("crashes_after", range(1, 8))
@pytest.mark.slow
def test_a_restart_after_any_batch_changes_no_result(
    crashes_after: int, tmp_path: Path
) -> None:
    """State and windows are as without the crash; the checkpointed batch ran twice."""
    with StreamHarness(checkpoint=str(tmp_path / "a"), setup=counting) as h:
        h.run(8)
        expected = {n: by_time(h, n) for n in ("state", "window", "count", "inverse")}
    with StreamHarness(checkpoint=str(tmp_path / "b"), setup=counting) as h:
        h.run(crashes_after)
        h.crash()
        h.restart()
        h.run(8 - crashes_after)
        for name in ("state", "window", "count"):
            assert by_time(h, name) == expected[name], name
        for time, records in by_time(h, "inverse").items():
            positive = [pair for pair in records if pair[1]]
            assert positive == [pair for pair in expected["inverse"][time] if pair[1]]
        times = h.output("state").times_ms
        assert times.count(crashes_after * 1000) == 2
        assert len(times) == 9


def test_missed_batches_run_on_the_old_grid(tmp_path: Path) -> None:
    """What came due while the stream was down runs first, each at its own time."""

    def setup(h: StreamHarness) -> None:
        h.collect(
            h.stream(SCRIPT).map(lambda w: (w, 1)).updateStateByKey(count), "state"
        )

    with StreamHarness(batch=2.0, checkpoint=str(tmp_path), setup=setup) as h:
        h.run(2)
        h.crash()
        h.clock.advance(7.3)  # To 11.3 s: 6, 8 and 10 s were missed.
        h.restart()
        h.run(1)

        out = h.output("state")
        assert out.times_ms == [2000, 4000, 4000, 6000, 8000, 10000, 12000]
        assert sorted(out.records[-1]) == [("a", 2), ("b", 3), ("c", 1)]


def test_files_of_a_batch_are_read_again_and_no_others(tmp_path: Path) -> None:
    """A restart reads what the checkpoint says, and then what is new."""
    folder = tmp_path / "in"
    folder.mkdir()

    def setup(h: StreamHarness) -> None:
        lines = h.ssc.textFileStream(str(folder))
        h.collect(lines, "lines")
        h.collect(lines.map(lambda x: (x, 1)).updateStateByKey(count), "state")

    def put(name: str, time_s: float) -> None:
        (folder / name).write_text(name + "\n")
        os.utime(folder / name, (time_s, time_s))

    with StreamHarness(checkpoint=str(tmp_path / "c"), setup=setup) as h:
        put("one", 0.5)
        h.run(1)
        put("two", 1.5)
        h.run(1)
        h.crash()
        put("late", 1.6)  # It came while the stream was down: for the next batch.
        h.restart()
        h.run(1)

        lines = h.output("lines")
        assert lines.times_ms == [1000, 2000, 2000, 3000]
        assert lines.records == [["one"], ["two"], ["two"], ["late"]]
        assert by_time(h, "state")[3000] == [("late", 1), ("one", 1), ("two", 1)]


def test_a_failed_batch_runs_again_after_a_restart(tmp_path: Path) -> None:
    """With the records it had, though later batches are done."""
    flag = tmp_path / "works"

    def setup(h: StreamHarness) -> None:
        stream = h.stream([[1], [2], [3]])
        path = str(flag)

        def output(rdd: Any) -> None:
            if 2 in rdd.collect() and not Path(path).exists():
                raise ValueError("the database is down")

        stream.foreachRDD(output)
        h.collect(stream, "records")

    with StreamHarness(checkpoint=str(tmp_path / "c"), setup=setup) as h:
        h.run(1)
        with pytest.raises(Exception, match="the database is down"):
            h.run(1)
        h.run(1)
        flag.touch()
        h.crash()
        h.restart()
        h.run(1)

        assert h.output("records").times_ms == [1000, 2000, 3000, 2000, 3000, 4000]
        assert h.output("records").records[3] == [2]


def test_the_state_is_in_the_checkpoint_before_the_batch_counts_as_done(
    tmp_path: Path,
) -> None:
    """Damage to the newest checkpoint falls back to the one before, and to its state."""
    with StreamHarness(checkpoint=str(tmp_path), setup=counting) as h:
        h.run(4)
        h.crash()
        for name in ("checkpoint-4000", "checkpoint-4000.bk"):
            path = tmp_path / name
            path.write_bytes(path.read_bytes()[:-3])
        h.restart()
        h.run(1)

        assert by_time(h, "state")[5000] == [("a", 2), ("b", 3)]
        assert h.output("state").times_ms[4] == 3000


@pytest.mark.parametrize("damage", ["cut", "missing"])
@pytest.mark.slow
def test_a_checkpoint_whose_state_is_damaged_gives_way_to_an_older_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    """Seen before anything runs; the log names the file."""
    with StreamHarness(checkpoint=str(tmp_path), setup=counting) as h:
        h.run(6)
        h.crash()
        # A restart makes the state of the checkpointed batch again: not the newest one.
        (delta,) = tmp_path.glob("state/*/delta-4000-*.arrow")
        if damage == "cut":
            delta.write_bytes(delta.read_bytes()[:-1])
        else:
            delta.unlink()
        with caplog.at_level(logging.WARNING):
            h.restart()
        h.run(1)

        assert h.output("state").times_ms[6] == 4000
        assert by_time(h, "state")[7000] == [("a", 3), ("b", 3), ("c", 1)]
        assert "trying an older one" in caplog.text
        assert delta.name in caplog.text


def make(directory: str) -> StreamingContext:
    """Return a context of its own SparkContext; for getOrCreate."""
    ssc = StreamingContext(SparkContext("local[1]", "made"), 1)
    ssc.textFileStream(directory).pprint()
    return ssc


@pytest.mark.slow
def test_the_conf_and_the_context_come_from_the_checkpoint(tmp_path: Path) -> None:
    """Without an active SparkContext one is made, as it was; setup isn't called."""
    checkpoint = str(tmp_path / "c")
    calls = []

    def setup() -> StreamingContext:
        calls.append(1)
        return make(str(tmp_path))

    first = StreamingContext.getOrCreate(checkpoint, setup)
    first.start()
    scheduler = first._scheduler
    assert scheduler is not None
    assert scheduler.wait_until_processed(scheduler.clock.now_ms(), 30)
    first.stop()
    again = StreamingContext.getOrCreate(checkpoint, setup)
    try:
        assert len(calls) == 1
        assert again.sparkContext.appName == "made"
        assert again.sparkContext.master == "local[1]"
        assert again._checkpoint_dir == f"file:{checkpoint}"
        assert StreamingContext.getActiveOrCreate(checkpoint, setup) is not again
    finally:
        again.stop()


def test_a_queue_cannot_be_restored(tmp_path: Path) -> None:
    """Writing only warns, reading says why and what to use."""

    def setup(h: StreamHarness) -> None:
        h.collect(h.ssc.queueStream([[1], [2]]), "out")

    with StreamHarness(checkpoint=str(tmp_path), setup=setup) as h:
        h.run(1)
        h.crash()
        with pytest.raises(SparkError, match="Failed to read checkpoint") as caught:
            h.restart()
        assert "queueStream doesn't support checkpointing" in str(
            caught.value.__cause__
        ) + str(caught.value.__notes__)


def test_createOnError_starts_from_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Only when it is asked for; the log has the reason."""
    (tmp_path / "checkpoint-1000").write_bytes(b"garbage")
    with StreamHarness() as h:
        h.collect(h.stream([]))
        with pytest.raises(SparkError, match="Failed to read checkpoint"):
            StreamingContext.getOrCreate(str(tmp_path), lambda: h.ssc)
        with caplog.at_level(logging.ERROR):
            made = StreamingContext.getOrCreate(
                str(tmp_path), lambda: h.ssc, createOnError=True
            )
    assert made is h.ssc
    assert "starting from nothing" in caplog.text


def test_what_cannot_be_pickled_is_told_at_the_start(checkpoint: str) -> None:
    """With the stream whose function holds it."""
    with StreamHarness(checkpoint=checkpoint) as h:
        lock = threading.Lock()
        h.stream([[1]]).foreachRDD(lambda rdd: lock.locked())
        with pytest.raises(NotSerializableError, match="not serializable") as caught:
            h.run(1)
    assert "in a function of foreachRDD" in str(caught.value.__notes__)


def test_functions_may_refer_to_the_context(tmp_path: Path) -> None:
    """They find the new one after a restart: the driver's functions only name it."""

    def setup(h: StreamHarness) -> None:
        ssc, sc = h.ssc, h.sc
        stream = h.stream([[1], [2]])
        h.collect(stream.transform(lambda rdd: rdd.union(sc.parallelize([0]))), "out")
        stream.foreachRDD(lambda rdd: ssc.getState())

    with StreamHarness(checkpoint=str(tmp_path), setup=setup) as h:
        h.run(1)
        h.crash()
        h.restart()
        h.run(1)
        assert h.output("out").records == [[1, 0], [1, 0], [2, 0]]


def test_streams_added_to_a_restored_context_are_refused_by_name(
    tmp_path: Path,
) -> None:
    """The commonest mistake: a graph built outside the function of getOrCreate."""
    with StreamHarness(checkpoint=str(tmp_path), setup=counting) as h:
        h.run(1)
        h.crash()
        h.restart()
        with pytest.raises(IllegalStateError, match="restored from a checkpoint"):
            h.stream([[1]])


def test_a_crash_before_the_first_batch_loses_no_beginning(tmp_path: Path) -> None:
    """The first checkpoint is written before anything can come in."""
    folder = tmp_path / "in"
    folder.mkdir()
    calls = []

    def setup(h: StreamHarness) -> None:
        calls.append(1)
        h.collect(h.ssc.textFileStream(str(folder)), "lines")

    with StreamHarness(checkpoint=str(tmp_path / "c"), setup=setup) as h:
        h.ssc.start()
        (folder / "a").write_text("early\n")
        os.utime(folder / "a", (0.5, 0.5))
        h.crash()
        h.clock.advance(0.7)
        h.restart()
        h.run(1)

        assert len(calls) == 1
        assert h.output("lines").times_ms == [1000]
        assert h.output("lines").records == [["early"]]


def test_a_directory_that_cannot_be_written_stops_the_start(tmp_path: Path) -> None:
    """With an error that names it, instead of a stream that would lose everything."""
    with StreamHarness(checkpoint=str(tmp_path / "c")) as h:
        h.collect(h.stream([[1]]))
        (tmp_path / "c" / "checkpoint-0").mkdir()  # A file can't be put there.
        with pytest.raises(DurabilityError, match="first checkpoint can't be written"):
            h.run(1)
        assert h.ssc.getState().value == "STOPPED"


def test_files_of_a_batch_are_on_disk_before_its_outputs_run(tmp_path: Path) -> None:
    """Else a crash could give the batch other files when it runs again."""
    folder, checkpoint = tmp_path / "in", tmp_path / "c"
    folder.mkdir()
    seen = tmp_path / "seen"

    def look(rdd: Any) -> None:
        files = checkpoint.glob("checkpoint-1000*")
        known = any(b"in/a" in each.read_bytes() for each in files)
        seen.write_text(f"{rdd.count()} {known}")

    with StreamHarness(checkpoint=str(checkpoint)) as h:
        h.ssc.textFileStream(str(folder)).foreachRDD(look)
        (folder / "a").write_text("early\n")
        os.utime(folder / "a", (0.5, 0.5))
        h.run(1)

    assert seen.read_text() == "1 True"
