"""Tests of replaying.py: a recorded batch is made again from what it had, and nothing else."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.testing.certified_sinks import Right

from millstream import planning
from millstream.engine.base.errors import (
    JobFailedError,
    PythonException,
    UsageError,
)
from millstream.streaming import DeadLetters
from millstream.streaming.direct import BatchPlan, DirectSource
from millstream.streaming.receiver import Receiver
from millstream.streaming.replaying import Replay, row_by_row
from millstream.testing import StreamHarness

Setup = Callable[[StreamHarness], Any]


@dataclass(frozen=True)
class Span:
    """Numbers from one to before another."""

    start: int
    until: int


class Numbers(DirectSource[Span, int]):
    """The numbers below the one that is in a file."""

    range_type = Span

    def __init__(self, file: Path) -> None:
        self.file = file

    def start(self) -> None:
        """Say that it was started."""
        self.file.with_suffix(".started").touch()

    def plan(self, batch: BatchPlan[Span]) -> Sequence[Span]:
        """Return what is new."""
        start = batch.previous[-1].until if batch.previous else 0
        return [Span(start, int(self.file.read_text()))]

    def read(self, of: Span) -> Iterator[int]:
        """Yield them."""
        yield from range(of.start, of.until)


class Once(Receiver[str]):
    """A receiver that stores one block."""

    def onStart(self) -> None:
        """Store it."""
        self.store(["received", "here"])

    def onStop(self) -> None:
        """Do nothing."""


def count(new: list[int], old: int | None) -> int:
    """Add up, but for numbers that are too large."""
    if any(number > 90 for number in new):
        msg = f"too much after {old}"
        raise ValueError(msg)
    return sum(new) + (old or 0)


def pair(line: str) -> tuple[str, int]:
    """Take a word and a number apart."""
    word, number = line.split()
    return word, int(number)


def put(folder: Path, name: str, text: str, time_s: float) -> None:
    """Write a file of a time."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    os.utime(folder / name, (time_s, time_s))


def content(directory: Path) -> dict[str, bytes | None]:
    """Return every file and directory below one, with its content."""
    return {
        str(path.relative_to(directory)): path.read_bytes() if path.is_file() else None
        for path in sorted(directory.rglob("*"))
    }


@contextmanager
def replaying(
    home: Path,
    setup: Setup,
    time_ms: int,
    *,
    batch: float = 1.0,
    conf: dict[str, str] | None = None,
) -> Iterator[Replay]:
    """Give the block the replay of a batch, of a program that hasn't started."""
    with (
        planning.looking(planning.Look(lambda _: None)),
        StreamHarness(batch=batch, setup=setup, conf=conf) as h,
    ):
        h.ssc.checkpoint(str(home / "checkpoint"))
        yield Replay(h.ssc, time_ms, home / "scratch")


def rows(replay: Replay) -> list[list[Any]]:
    """Return what each output is given, sorted."""
    replay.prepare()
    return [sorted(each.rdd.collect()) for each in replay.outputs()]


def counting(home: Path) -> Setup:
    """Return what builds counts of words in files."""

    def setup(h: StreamHarness) -> None:
        lines = h.ssc.textFileStream(str(home / "in")).map(pair)
        h.collect(lines.updateStateByKey(count).named("counts"))

    return setup


def run_words(home: Path, texts: Sequence[str]) -> list[list[Any]]:
    """Run a batch of each text, and return what came out."""
    (home / "in").mkdir()
    with StreamHarness(checkpoint=str(home / "checkpoint"), setup=counting(home)) as h:
        for number, text in enumerate(texts):
            put(home / "in", f"file-{number}", text, number + 0.5)
            h.run()
        return [sorted(each) for each in h.output("output-0").records]


def test_a_batch_has_the_files_and_the_state_that_it_had(tmp_path: Path) -> None:
    """Each of the batches comes out as it did, though state and files have moved on."""
    came_out = run_words(tmp_path, ["a 1\n", "a 2\nb 5\n", "b 6\n"])
    assert came_out == [[("a", 1)], [("a", 3), ("b", 5)], [("a", 3), ("b", 11)]]

    for number, expected in enumerate(came_out, 1):
        home = tmp_path / f"replay-{number}"
        home.mkdir()
        (home / "checkpoint").symlink_to(tmp_path / "checkpoint")
        with replaying(home, counting(tmp_path), number * 1000) as replay:
            assert rows(replay) == [expected]
            assert replay.notes == []


def test_nothing_in_the_directory_changes(tmp_path: Path) -> None:
    """No file is written, moved or deleted, though keys are in other partitions now."""
    run_words(tmp_path, ["a 1\n", "a 2\nb 5\n"])
    before = content(tmp_path / "checkpoint")

    with replaying(
        tmp_path, counting(tmp_path), 2000, conf={"spark.default.parallelism": "5"}
    ) as replay:
        assert rows(replay) == [[("a", 3), ("b", 5)]]
    assert content(tmp_path / "checkpoint") == before


def test_a_batch_that_failed_fails_again_with_the_users_own_error(
    tmp_path: Path,
) -> None:
    """With the state as of before it, and the function's frame to look into."""
    with pytest.raises(PythonException, match="too much after 1"):
        run_words(tmp_path, ["a 1\n", "a 99\n"])

    with replaying(tmp_path, counting(tmp_path), 2000) as replay:
        replay.prepare()
        (output,) = replay.outputs()
        with pytest.raises(JobFailedError, match="too much after 1") as told:
            output.run()
    error = told.value.user_error
    assert isinstance(error, ValueError)
    assert error.__traceback__ is not None
    frame = error.__traceback__.tb_frame
    assert (frame.f_code.co_name, frame.f_locals["old"]) == ("count", 1)


def test_a_direct_source_reads_the_ranges_of_then_and_is_not_started(
    tmp_path: Path,
) -> None:
    """Whatever it has now; what it does at its start may change something elsewhere."""
    file = tmp_path / "numbers"

    def setup(h: StreamHarness) -> None:
        h.collect(h.ssc.directStream(Numbers(file)))

    file.write_text("3")
    with StreamHarness(checkpoint=str(tmp_path / "checkpoint"), setup=setup) as h:
        h.run()
        file.write_text("5")
        h.run()
    file.write_text("100")
    file.with_suffix(".started").unlink()

    with replaying(tmp_path, setup, 2000) as replay:
        assert rows(replay) == [[3, 4]]
    assert not file.with_suffix(".started").exists()


def received(home: Path) -> Setup:
    """Return what builds a stream of a receiver."""

    def setup(h: StreamHarness) -> None:
        h.collect(h.ssc.receiverStream(Once()).named("tap"))

    return setup


_LOGGED = {"spark.streaming.receiver.writeAheadLog.enable": "true"}


def run_received(home: Path, conf: dict[str, str]) -> int:
    """Receive a block, and return the time of the batch that had it."""
    with StreamHarness(
        checkpoint=str(home / "checkpoint"), setup=received(home), conf=conf
    ) as h:
        for _ in range(100):
            h.run()
            if h.output("output-0").records[-1]:
                return h.output("output-0").times_ms[-1]
    msg = "nothing was received"
    raise AssertionError(msg)


def test_blocks_that_were_logged_are_read_from_the_log(tmp_path: Path) -> None:
    """Without the receiver, which isn't started."""
    time_ms = run_received(tmp_path, _LOGGED)

    with replaying(tmp_path, received(tmp_path), time_ms, conf=_LOGGED) as replay:
        assert rows(replay) == [["here", "received"]]


def test_blocks_that_were_only_in_memory_are_missed_not_left_out(
    tmp_path: Path,
) -> None:
    """A batch without its records would be another batch."""
    time_ms = run_received(tmp_path, {})

    with (
        replaying(tmp_path, received(tmp_path), time_ms) as replay,
        pytest.raises(UsageError, match="1 of its blocks were in memory only"),
    ):
        rows(replay)


def test_windows_look_back_at_the_batches_before(tmp_path: Path) -> None:
    """What was recorded of them, too, is as it was."""

    def setup(h: StreamHarness) -> None:
        lines = h.ssc.textFileStream(str(tmp_path / "in")).map(pair)
        sums = lines.reduceByKeyAndWindow(lambda a, b: a + b, lambda a, b: a - b, 2, 1)
        h.collect(sums)

    (tmp_path / "in").mkdir()
    with StreamHarness(checkpoint=str(tmp_path / "checkpoint"), setup=setup) as h:
        for number in range(4):
            put(tmp_path / "in", f"f{number}", f"a {10**number}\n", number + 0.5)
            h.run()
        assert h.output("output-0").records[-1] == [("a", 1100)]

    with replaying(tmp_path, setup, 4000) as replay:
        assert rows(replay) == [[("a", 1100)]]


def test_what_writes_somewhere_is_told_from_what_is_the_programs_own(
    tmp_path: Path,
) -> None:
    """So that it can be shown instead."""

    def setup(h: StreamHarness) -> None:
        lines = h.ssc.textFileStream(str(tmp_path / "in"))
        lines.saveAsTextFiles(str(tmp_path / "out"))
        lines.foreachRDD(lambda rdd: None)

    (tmp_path / "in").mkdir()
    with StreamHarness(checkpoint=str(tmp_path / "checkpoint"), setup=setup) as h:
        put(tmp_path / "in", "f", "a\n", 0.5)
        h.run()
    with replaying(tmp_path, setup, 1000) as replay:
        replay.prepare()
        told = [
            (each.title.split(" at ")[0], each.commits) for each in replay.outputs()
        ]

    assert told == [("saveAsTextFiles", True), ("foreachRDD", False)]


def test_neither_sinks_nor_dead_letters_are_written(tmp_path: Path) -> None:
    """What a sink would be given is there to be shown; letters of then stay out."""

    def setup(h: StreamHarness) -> None:
        lines = h.ssc.textFileStream(str(tmp_path / "in"))
        good = lines.onError(DeadLetters(str(tmp_path / "letters")))
        numbers = good.map(lambda line: {"number": int(line)})
        numbers.writeTo(Right(str(tmp_path / "sink.db")), name="numbers")
        numbers.foreachRDD(lambda rdd: rdd.collect())

    (tmp_path / "in").mkdir()
    with StreamHarness(checkpoint=str(tmp_path / "checkpoint"), setup=setup) as h:
        put(tmp_path / "in", "f", "1\nx\n2\n", 0.5)
        h.run()
    before = content(tmp_path)
    assert any(name.startswith("letters/") for name in before)

    with replaying(tmp_path, setup, 1000) as replay:
        replay.prepare()
        sink, own = replay.outputs()
        assert (sink.commits, own.commits) == (True, False)
        assert sorted(row["number"] for row in sink.rdd.collect()) == [1, 2]
        own.run()
    after = content(tmp_path)
    assert {name: data for name, data in after.items() if name in before} == before
    assert all(name.startswith("scratch") for name in set(after) - set(before))


def test_state_that_was_not_kept_is_made_from_the_batches_between(
    tmp_path: Path,
) -> None:
    """As a restart does; it is told. So a corrected program is tried on what failed."""

    def corrected(h: StreamHarness) -> None:
        lines = h.ssc.textFileStream(str(tmp_path / "in")).map(pair)
        sums = lines.updateStateByKey(lambda new, old: sum(new) + (old or 0))
        h.collect(sums.named("counts"))

    (tmp_path / "in").mkdir()
    with StreamHarness(
        checkpoint=str(tmp_path / "checkpoint"), setup=counting(tmp_path)
    ) as h:
        for number, text in enumerate(["a 1\n", "a 99\n", "a 2\n"]):
            put(tmp_path / "in", f"file-{number}", text, number + 0.5)
            with suppress(PythonException):
                h.run()

    with replaying(tmp_path, corrected, 3000) as replay:
        assert rows(replay) == [[("a", 102)]]
        (note,) = replay.notes
    assert note == (
        "state 'counts' is kept as of 1000 ms: the batches from then to 2000 ms are "
        "computed first"
    )


@pytest.mark.parametrize(
    ("time_ms", "why"),
    [
        (1500, "there is no such batch: they are every 1000 ms from 1000 on"),
        (9000, "it was written at batch 2000, before"),
        (0, "there is no such batch"),
    ],
)
def test_a_batch_that_nobody_recorded_is_refused(
    tmp_path: Path, time_ms: int, why: str
) -> None:
    """With those that can be replayed."""
    run_words(tmp_path, ["a 1\n", "a 2\n"])

    with (
        replaying(tmp_path, counting(tmp_path), time_ms) as replay,
        pytest.raises(UsageError, match=f"has all of batch {time_ms} ms") as told,
    ):
        replay.prepare()
    assert why in str(told.value.hint)
    assert "batches that can be replayed: 1000, 2000" in str(told.value.hint)


def test_another_program_is_refused(tmp_path: Path) -> None:
    """Other batches, or a source of which nothing was recorded."""
    run_words(tmp_path, ["a 1\n", "a 2\n"])

    def other(h: StreamHarness) -> None:
        h.collect(h.ssc.textFileStream(str(tmp_path / "elsewhere")))

    for setup, batch, why in (
        (other, 1.0, "elsewhere' is new"),
        (counting(tmp_path), 2.0, "batches were 1000 ms, and are 2000 ms now"),
    ):
        with (
            replaying(tmp_path, setup, 2000, batch=batch) as replay,
            pytest.raises(UsageError, match="doesn't go with the checkpoint") as told,
        ):
            replay.prepare()
        assert why in str(told.value.hint)


def test_a_program_without_checkpoints_is_refused(tmp_path: Path) -> None:
    """Nothing is known of its batches."""
    with StreamHarness(setup=counting(tmp_path)) as h:
        replay = Replay(h.ssc, 1000, tmp_path)
        with pytest.raises(UsageError, match="keeps no checkpoints"):
            replay.prepare()


def test_a_directory_without_checkpoints_is_refused(tmp_path: Path) -> None:
    """It may be the wrong one."""
    with (
        replaying(tmp_path, counting(tmp_path), 1000) as replay,
        pytest.raises(UsageError, match="there is no checkpoint in"),
    ):
        replay.prepare()


def test_row_by_row_keeps_the_number_of_partitions() -> None:
    """One thread does what several did; nothing goes to processes or by columns."""
    made = row_by_row({"spark.master": "local[6]", "spark.x": "y"}, 6)

    assert made["spark.master"] == "local[1]"
    assert made["spark.default.parallelism"] == "6"
    assert made["spark.millstream.columnar"] == "off"
    assert made["spark.millstream.processes"] == "off"
    assert made["spark.x"] == "y"
    own = row_by_row({"spark.default.parallelism": "3"}, 6)
    assert own["spark.default.parallelism"] == "3"
