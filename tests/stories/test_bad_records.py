"""Stories of bad records: a stream goes on without them, and none of them is lost."""

import json
import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.stories.test_direct_streams import Numbers, there_are
from tests.testing.certified_sinks import Right

from millstream.commands import letter_report
from millstream.engine.base.errors import (
    MillstreamError,
    OutputOperationError,
    PySparkTypeError,
    PySparkValueError,
    UsageError,
)
from millstream.engine.durable.letter_files import Letter, LetterBox
from millstream.streaming.bad_records import DeadLetters
from millstream.streaming.sinks import Records, SinkBatch, SqliteSink
from millstream.testing import StreamHarness

pytestmark = pytest.mark.slow


def letters(directory: Path, name: str = "parse") -> list[Letter]:
    """Return the dead letters of a name."""
    return list(LetterBox(str(directory), name).letters())


def told(directory: Path) -> list[tuple[str, str, int]]:
    """Return where letters were, what they have, and their attempt."""
    return [(each.id, each.text, each.attempt) for each in letters(directory)]


def replay(directory: Path, *only: str) -> None:
    """Mark letters for replay, as the command does."""
    letter_report.mark(str(directory), only=only)


class Parsed:
    """Returns words, and raises for those that are in a file."""

    def __init__(self, bad: Path) -> None:
        self.bad = bad

    def __call__(self, word: str) -> str:
        """Return a word."""
        if word in self.bad.read_text().split():
            raise ValueError(word)
        return word


# What a stream does.


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_batch_goes_on_without_its_bad_records(jobs: int, tmp_path: Path) -> None:
    """By every output, whether it shuffles or not; each record is one letter."""
    with StreamHarness(conf={"spark.streaming.concurrentJobs": jobs}) as h:
        words = h.stream([["1", "x", "3"], ["4"], ["y", "5"]], partitions=1)
        numbers = words.onError(DeadLetters(tmp_path), name="parse").map(int)
        out = h.collect(numbers)
        sums = h.collect(numbers.map(lambda n: (n % 2, n)).reduceByKey(max, 1))
        h.run(3)

    assert out.records == [[1, 3], [4], [5]]
    assert sums.records == [[(1, 3)], [(0, 4)], [(1, 5)]]
    assert told(tmp_path) == [("1000-0-1", "'x'", 1), ("3000-0-0", "'y'", 1)]


def test_a_letter_says_what_happened_where(tmp_path: Path) -> None:
    """The user's line, the step, the range of the source, and the record itself."""

    def parsed(number: int) -> float:
        return 10 / (number - 3)

    there_are(tmp_path, 8)
    with StreamHarness() as h:
        numbers = h.ssc.directStream(Numbers(tmp_path))
        marked = numbers.onError(DeadLetters(tmp_path / "dead"), name="parse")
        h.collect(marked.map(parsed))
        h.run()

    (letter,) = letters(tmp_path / "dead")
    assert letter.value() == 3
    assert (letter.error, letter.message) == ("ZeroDivisionError", "division by zero")
    line = parsed.__code__.co_firstlineno + 1
    assert (letter.file, letter.line) == (__file__, line)
    assert letter.operator.startswith("map (map at test_bad_records.py:")
    assert letter.range == "Span(start=0, until=4)"
    assert (letter.batch_ms, letter.partition, letter.index) == (1000, 0, 3)
    file = tmp_path / "dead/parse/letters/1000.jsonl"
    assert json.loads(file.read_text())["record"] == 3


def test_skipped_records_are_counted_and_logged_now_and_then(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Once in a while, with an example, however many there are."""
    with StreamHarness() as h:
        words = h.stream([["1", "x"]] * 5, partitions=1)
        out = h.collect(words.onError("skip", name="parse").map(int))
        with caplog.at_level(logging.WARNING):
            h.run(5)

    assert out.records == [[1]] * 5
    lines = [each for each in caplog.messages if "bad records taken out" in each]
    assert len(lines) == 1
    assert "stream=parse records=1" in lines[0]
    assert "'x': ValueError: invalid literal" in lines[0]


@pytest.mark.parametrize("marks", [False, True])
def test_without_a_policy_a_bad_record_fails_its_batch(marks: bool) -> None:
    """And behind one that says "fail", whatever there is above it."""
    with StreamHarness() as h:
        words = h.stream([["1", "x"], ["2"]])
        marked = words.onError("skip").onError("fail", name="f") if marks else words
        out = h.collect(marked.map(int))
        with pytest.raises(OutputOperationError, match="invalid literal"):
            h.run()
        h.run()

    assert out.records == [[2]]


def test_a_batch_that_is_all_bad_fails_and_has_no_letters(tmp_path: Path) -> None:
    """It is the program that is wrong."""
    with StreamHarness() as h:
        words = h.stream([["x"] * 20], partitions=1)
        h.collect(words.onError(DeadLetters(tmp_path), name="parse").map(int))
        with pytest.raises(
            OutputOperationError, match="looks like the program's fault"
        ):
            h.run()

    assert told(tmp_path) == []


def test_a_windowed_record_is_one_letter(tmp_path: Path) -> None:
    """Though it fails in each window that has it."""
    with StreamHarness(checkpoint=str(tmp_path / "checkpoint")) as h:
        words = h.stream([["1", "x"], ["2"], ["y"], []], partitions=1)
        marked = words.onError(DeadLetters(tmp_path / "dead"), name="parse")
        out = h.collect(marked.window(2, 1).map(int))
        h.run(4)

    assert out.records == [[1], [1, 2], [2], []]
    assert told(tmp_path / "dead") == [("1000-0-1", "'x'", 1), ("3000-0-0", "'y'", 1)]


def test_state_goes_on_without_bad_records(tmp_path: Path) -> None:
    """And is called as it was before the stream had onError."""

    def names(*, marks: bool) -> set[str]:
        with StreamHarness(checkpoint=str(tmp_path / f"checkpoint-{marks}")) as h:
            words = h.stream([["1", "x", "1"], ["2"]], partitions=1)
            if marks:
                words = words.onError(DeadLetters(tmp_path / "dead"), name="parse")
            else:
                words = words.filter(str.isdigit)
            counts = words.map(lambda word: (int(word), 1)).updateStateByKey(
                lambda new, old: sum(new) + (old or 0)
            )
            out = h.collect(counts)
            h.run(2)

            assert sorted(out.records[-1]) == [(1, 2), (2, 1)]
            return {
                name
                for operator, name in h.ssc._graph.names().items()
                if operator.keeps_state
            }

    assert names(marks=True) == names(marks=False)
    assert told(tmp_path / "dead") == [("1000-0-1", "'x'", 1)]


def test_a_mark_hides_nothing_from_columns(capsys: pytest.CaptureFixture[str]) -> None:
    """Steps on both sides of it are one pass by columns."""
    with StreamHarness(conf={"spark.millstream.columnar.rows.min": "1"}) as h:
        words = h.stream([["a b", "b"]], partitions=1)
        marked = words.flatMap(lambda line: line.split(" ")).onError("skip")
        counts = marked.map(lambda word: (word, 1)).reduceByKey(lambda a, b: a + b, 1)
        out = h.collect(counts)
        counts.explain()
        before = capsys.readouterr().out
        h.run()
        counts.explain()
        after = capsys.readouterr().out

    assert sorted(out.records[0]) == [("a", 1), ("b", 2)]
    assert "onError" in after
    assert "rows" not in after
    del before


def test_what_is_no_policy_or_name_is_refused(tmp_path: Path) -> None:
    """When the stream is built."""
    with StreamHarness() as h:
        words = h.stream()
        with pytest.raises(PySparkValueError, match="onError needs 'fail', 'skip' or"):
            words.onError("ignore")
        with pytest.raises(PySparkValueError, match="max_share must be above 0"):
            words.onError("skip", max_share=0)
        with pytest.raises(PySparkTypeError, match="a directory or a Sink, not int"):
            DeadLetters(1)  # type: ignore[arg-type]
        with pytest.raises(PySparkValueError, match="max_records must be positive"):
            DeadLetters(tmp_path, max_records=0)
        with pytest.raises(UsageError, match="can't name dead letters"):
            words.onError(DeadLetters(tmp_path), name="a/b")
        with pytest.raises(PySparkTypeError, match="must be text"):
            words.onError("skip", name=1)  # type: ignore[arg-type]
        words.onError("skip", name="parse")
        with pytest.raises(PySparkValueError, match="with the name 'parse'"):
            words.onError("skip", name="parse")


class Evens(Right):
    """Has even numbers only."""

    def check(self, records: Records[Any]) -> None:
        """Refuse others."""
        if any(row["number"] % 2 for row in records):
            msg = "odd numbers have no place here"
            raise ValueError(msg)

    def write(self, batch: SinkBatch, partition: int, records: Records[Any]) -> None:
        """Write, if that is possible."""
        rows = list(records)
        self.check(Records([rows]))
        super().write(batch, partition, Records([rows]))


def test_what_a_sink_can_never_write_is_a_bad_record(tmp_path: Path) -> None:
    """If it says so; the record is a letter as it was at the mark."""
    with StreamHarness() as h:
        words = h.stream([["1 2", "4", "6 x", "8"]], partitions=1)
        marked = words.onError(DeadLetters(tmp_path / "dead"), name="parse")
        rows = marked.flatMap(lambda line: line.split(" ")).map(as_row)
        rows.writeTo(Evens(str(tmp_path / "out.db")), name="rows")
        h.run()

    assert numbers_in(tmp_path / "out.db") == [4, 8]
    assert [(each.text, each.error) for each in letters(tmp_path / "dead")] == [
        ("'1 2'", "ValueError"),
        ("'6 x'", "ValueError"),
    ]
    assert letters(tmp_path / "dead")[0].operator == "writeTo"


def test_what_has_no_place_in_a_table_is_a_bad_record(tmp_path: Path) -> None:
    """Of a real sink of tables: too large a number, an object, a tuple too short."""
    rows = [("a", 1), ("b", 1 << 70), ("c", object()), ("d",), ("e", 5)]
    with StreamHarness() as h:
        stream = h.stream([rows], partitions=1)
        marked = stream.onError(DeadLetters(tmp_path / "dead"), name="parse")
        sink = SqliteSink(tmp_path / "out.db", "rows")
        marked.writeTo(sink, name="rows", columns=["name", "number"])
        h.run()

    connection = sqlite3.connect(tmp_path / "out.db")
    assert connection.execute("select * from rows").fetchall() == [("a", 1), ("e", 5)]
    connection.close()
    assert len(letters(tmp_path / "dead")) == 3


# Crashes.


class Failing:
    """An output that fails, or is killed, once when a file is there."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __call__(self, rdd: Any) -> None:
        """Count, and fail if it is to."""
        rdd.count()
        if self.file.exists():
            msg = "killed"
            raise ConnectionError(msg)


def test_a_batch_that_runs_again_has_the_same_letters(tmp_path: Path) -> None:
    """Each once, though its outputs run twice."""
    file = tmp_path / "fail"
    file.touch()

    def setup(h: StreamHarness) -> None:
        words = h.stream([["1", "x"], ["2", "y"], ["3"]], partitions=1)
        numbers = words.onError(DeadLetters(tmp_path / "dead"), name="parse").map(int)
        h.collect(numbers, "numbers")
        numbers.foreachRDD(Failing(file))

    with StreamHarness(checkpoint=str(tmp_path / "checkpoint"), setup=setup) as h:
        with pytest.raises(OutputOperationError, match="killed"):
            h.run()
        h.crash()
        file.unlink()
        h.restart()
        h.run(2)

    assert h.output("numbers").records == [[1], [1], [2], [3]]
    assert told(tmp_path / "dead") == [("1000-0-1", "'x'", 1), ("2000-0-1", "'y'", 1)]


def test_a_corrected_program_leaves_out_what_are_letters_already(
    tmp_path: Path,
) -> None:
    """The batch runs again as it ran: those records come by being replayed, once."""
    dead, bad, fail = tmp_path / "dead", tmp_path / "bad", tmp_path / "fail"
    bad.write_text("x y")
    fail.touch()

    def setup(h: StreamHarness) -> None:
        words = h.stream([["1", "x", "2", "y", "3"], ["4"]], partitions=1)
        marked = words.onError(DeadLetters(dead), name="parse")
        parsed = marked.map(Parsed(bad))
        h.collect(parsed, "out")
        parsed.foreachRDD(Failing(fail))

    with StreamHarness(checkpoint=str(tmp_path / "checkpoint"), setup=setup) as h:
        with pytest.raises(OutputOperationError, match="killed"):
            h.run()
        h.crash()
        bad.write_text("2")
        fail.unlink()
        replay(dead)
        h.restart()
        h.run()

    seen = h.output("out")
    assert seen.times_ms == [1000, 1000, 2000]
    assert seen.records == [["1", "2", "3"], ["1", "3"], ["4", "x", "y"]]
    assert told(dead) == [
        ("1000-0-1", "'x'", 1),
        ("1000-0-2", "'2'", 1),
        ("1000-0-3", "'y'", 1),
    ]


class FailingTable(Right):
    """Commits partitions one by one; the second fails while a file is there."""

    def __init__(self, path: str, file: Path) -> None:
        super().__init__(path)
        self.file = file

    def write(self, batch: SinkBatch, partition: int, records: Records[Any]) -> None:
        """Write one partition."""
        super().write(batch, partition, records)
        if self.file.exists():
            msg = "killed"
            raise ConnectionError(msg)


def numbers_in(path: Path) -> list[int]:
    """Return what a table has."""
    connection = sqlite3.connect(path)
    found = [n for (n,) in connection.execute("select number from numbers")]
    connection.close()
    return sorted(found)


def as_row(word: str) -> dict[str, int]:
    """Return a row."""
    return {"number": int(word)}


@pytest.mark.parametrize("crashes", [False, True])
def test_letters_of_partitions_that_a_sink_has_already_are_found_again(
    crashes: bool, tmp_path: Path
) -> None:
    """The sink has committed them before the letters were safe: they run once more."""
    file = tmp_path / "fail"
    file.touch()

    def setup(h: StreamHarness) -> None:
        words = h.stream([["1", "x", "2", "y"], ["5", "z"]], partitions=2)
        marked = words.onError(DeadLetters(tmp_path / "dead"), name="parse")
        sink = FailingTable(str(tmp_path / "out.db"), file)
        marked.map(as_row).writeTo(sink, name="rows")

    with StreamHarness(checkpoint=str(tmp_path / "checkpoint"), setup=setup) as h:
        with pytest.raises(MillstreamError, match="killed"):
            h.run()
        # The other partition's task may have been cancelled before it wrote.
        assert numbers_in(tmp_path / "out.db") in ([1], [2], [1, 2])
        assert told(tmp_path / "dead") == []
        file.unlink()
        if crashes:
            h.crash()
            h.restart()
        h.run()

    assert numbers_in(tmp_path / "out.db") == [1, 2, 5]
    assert told(tmp_path / "dead") == [
        ("1000-0-1", "'x'", 1),
        ("1000-1-1", "'y'", 1),
        ("2000-1-0", "'z'", 1),
    ]


class LetterTable(Right):
    """Has the indexes of letters."""

    def write(self, batch: SinkBatch, partition: int, records: Records[Any]) -> None:
        """Write one partition."""
        assert partition == 0
        assert batch.partitions == 1
        rows = [{"number": each["batch_ms"] + each["index"]} for each in records]
        super().write(batch, partition, Records([rows]))


def test_letters_go_to_any_sink_each_once(tmp_path: Path) -> None:
    """By the sink's own marks: a batch that runs again adds nothing."""
    file = tmp_path / "fail"

    def setup(h: StreamHarness) -> None:
        words = h.stream([["1", "x"], ["y", "2"], ["3"]], partitions=1)
        sink = LetterTable(str(tmp_path / "dead.db"))
        numbers = words.onError(DeadLetters(sink), name="parse").map(int)
        h.collect(numbers, "numbers")
        numbers.foreachRDD(Failing(file))

    with StreamHarness(checkpoint=str(tmp_path / "checkpoint"), setup=setup) as h:
        h.run()
        file.touch()
        with pytest.raises(OutputOperationError, match="killed"):
            h.run()
        h.crash()
        file.unlink()
        h.restart()
        h.run()

    assert h.output("numbers").records == [[1], [2], [2], [3]]
    assert numbers_in(tmp_path / "dead.db") == [1001, 2000]


class FailingFirst:
    """An output that reads its batch, unless there is a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __call__(self, rdd: Any) -> None:
        """Fail, or read."""
        if self.file.exists():
            msg = "killed"
            raise OSError(msg)
        rdd.collect()


def test_letters_of_a_batch_that_runs_again_late_are_not_lost(tmp_path: Path) -> None:
    """The sink's mark has gone past it: it gets one of its own."""
    file = tmp_path / "fail"

    def setup(h: StreamHarness) -> None:
        words = h.stream([["1"], ["x"], ["y"], ["2"]], partitions=1)
        sink = LetterTable(str(tmp_path / "dead.db"))
        numbers = words.onError(DeadLetters(sink), name="parse").map(int)
        numbers.foreachRDD(FailingFirst(file))

    with StreamHarness(checkpoint=str(tmp_path / "checkpoint"), setup=setup) as h:
        h.run()
        file.touch()
        with pytest.raises(OutputOperationError, match="killed"):
            h.run()
        file.unlink()
        h.run()
        assert numbers_in(tmp_path / "dead.db") == [3000]
        for _ in range(2):
            h.crash()
            h.restart()
            h.run()

    assert numbers_in(tmp_path / "dead.db") == [2000, 3000]


def test_a_disk_that_is_full_of_letters_fails_the_batch(tmp_path: Path) -> None:
    """Its bad records would be nowhere; when there is room they are kept."""
    blocked = tmp_path / "dead"
    blocked.write_text("a file where the directory should be")
    with StreamHarness() as h:
        words = h.stream([["1", "x"], ["2"]], partitions=1)
        out = h.collect(words.onError(DeadLetters(blocked), name="parse").map(int))
        with pytest.raises((OutputOperationError, OSError)):
            h.run()
        blocked.unlink()
        h.run()

    assert out.records[-1:] == [[2]]


# Replays.


def build(
    tmp_path: Path, batches: list[list[str]], bad: Path
) -> Callable[[StreamHarness], None]:
    """Return a setup whose words are bad while they are named in a file."""

    def setup(h: StreamHarness) -> None:
        words = h.stream(list(batches), partitions=1)
        marked = words.onError(DeadLetters(tmp_path / "dead"), name="parse")
        h.collect(marked.map(Parsed(bad)), "out")

    return setup


def test_marked_letters_come_again_with_the_next_batch(tmp_path: Path) -> None:
    """Once each, at the mark; what fails again is a letter again, of a later attempt."""
    dead, bad = tmp_path / "dead", tmp_path / "bad"
    bad.write_text("x y z")
    setup = build(tmp_path, [["a", "x"], ["y", "z"], ["b"], ["c"], []], bad)
    with StreamHarness(setup=setup) as h:
        h.run(2)
        replay(dead, "1000-0-1", "2000-0-1")
        bad.write_text("z")
        h.run(2)

        assert h.output("out").records == [["a"], [], ["b", "x"], ["c"]]
        assert told(dead)[2:] == [("2000-0-1", "'z'", 1), ("3000-1-1", "'z'", 2)]
        assert letters(dead)[3].first == "2000-0-1"
        assert letters(dead)[3].range == (
            f"2 dead letters of {dead}/parse/replays/000001.jsonl"
        )
        bad.write_text("")
        replay(dead)
        h.run()

    assert sorted(h.output("out").records[-1]) == ["y", "z"]
    with pytest.raises(UsageError, match="there is no dead letter"):
        replay(dead)


@pytest.mark.parametrize("has_checkpoint", [False, True])
def test_a_restart_takes_letters_in_once(tmp_path: Path, has_checkpoint: bool) -> None:
    """With a checkpoint the same batch has them again; without one they are gone by."""
    dead, bad = tmp_path / "dead", tmp_path / "bad"
    bad.write_text("x")
    setup = build(tmp_path, [["a", "x"], ["b"], ["c"], ["d"]], bad)
    checkpoint = str(tmp_path / "checkpoint") if has_checkpoint else None
    with StreamHarness(setup=setup, checkpoint=checkpoint) as h:
        h.run()
        bad.write_text("")
        replay(dead)
        h.run()
        assert h.output("out").records == [["a"], ["b", "x"]]
        if has_checkpoint:
            h.crash()
            h.restart()
            h.run()
            seen = h.output("out")
            assert dict(zip(seen.times_ms, seen.records, strict=True)) == {
                1000: ["a"],
                2000: ["b", "x"],
                3000: ["c"],
            }
            return
    with StreamHarness(setup=setup) as h:
        h.clock.advance_ms(60_000)
        h.run(2)
        assert h.output("out").records == [["a", "x"], ["b"]]


def test_letters_that_were_marked_while_nothing_ran_come_with_the_first_batch(
    tmp_path: Path,
) -> None:
    """A corrected program is started, and they are there."""
    dead, bad = tmp_path / "dead", tmp_path / "bad"
    bad.write_text("x")
    with StreamHarness(setup=build(tmp_path, [["x"]], bad)) as h:
        h.run()
    replay(dead)
    bad.write_text("")
    with StreamHarness(setup=build(tmp_path, [[], ["b"]], bad)) as h:
        h.run(2)

        assert h.output("out").records == [["x"], ["b"]]


def test_a_replay_that_a_sink_gets_is_committed_once(tmp_path: Path) -> None:
    """A batch with letters that came again runs again with the very same partitions."""
    dead, bad, fail = tmp_path / "dead", tmp_path / "bad", tmp_path / "fail"
    bad.write_text("7")

    def setup(h: StreamHarness) -> None:
        words = h.stream([["1", "7"], ["2"], ["3"]], partitions=2)
        marked = words.onError(DeadLetters(dead), name="parse")
        sink = FailingTable(str(tmp_path / "out.db"), fail)
        marked.map(Parsed(bad)).map(as_row).writeTo(sink, name="rows")

    with StreamHarness(checkpoint=str(tmp_path / "checkpoint"), setup=setup) as h:
        h.run()
        bad.write_text("")
        replay(dead)
        fail.touch()
        with pytest.raises(MillstreamError, match="killed"):
            h.run()
        h.crash()
        fail.unlink()
        h.restart()
        h.run()

    assert numbers_in(tmp_path / "out.db") == [1, 2, 3, 7]
    assert len(told(dead)) == 1
