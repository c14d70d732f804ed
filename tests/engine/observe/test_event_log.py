"""The event log, written and read again."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.engine.observe.observed import FACTS, FakeApplication, batch, life_of

from millstream import SparkConf, SparkContext
from millstream.engine.base.errors import DurabilityError, UsageError
from millstream.engine.base.storage import AppendStream, LocalStorage
from millstream.engine.columnar.reports import StageReport
from millstream.engine.jobs.book import JobRecord, StageOperator, StageRecord
from millstream.engine.jobs.task_log import TaskRecord, TaskStatus, Traffic
from millstream.engine.observe import event_log
from millstream.engine.observe.application import ACTIONS_MAX
from millstream.engine.observe.control import Action
from millstream.engine.observe.event_log import (
    EventLogApplication,
    EventLogWriter,
    decode,
    encode,
)
from millstream.engine.observe.progress import StreamProgress
from millstream.engine.streams import events as told
from millstream.engine.streams.events import ReceiverInfo
from millstream.testing import StreamHarness

FAILED = batch(3000, failure="ValueError: odd\n  at app.py:4")
INFO = ReceiverInfo(1, "sensor", True, "host", "driver", "gone", "OSError: gone", 77)
EVENTS = [
    told.StreamingStarted(5),
    told.ReceiverStarted(INFO),
    told.ReceiverError(INFO),
    told.ReceiverStopped(INFO),
    *life_of(FAILED),
    told.OutputOperationStarted(FAILED.outputs[0]),
    told.OutputOperationCompleted(FAILED.outputs[0]),
]


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write at once."""
    monkeypatch.setattr(event_log, "_GATHER_S", 0.001)
    monkeypatch.setattr(event_log, "_POLL_S", 0.01)


class Streaming:
    """An application with a stream, whose log is written."""

    def __init__(self, directory: Path, **options: Any) -> None:
        self.application = FakeApplication(progress=StreamProgress(1000))
        self.writer = EventLogWriter(str(directory), self.application, **options)
        self.writer.start()
        self.writer.on_stream()
        self._marks = 0

    def tell(self, *events: told.StreamingEvent) -> None:
        assert self.application.progress is not None
        for event in events:
            self.application.progress.on_event(event)
            self.writer.on_event(event)

    def flushed(self) -> None:
        """Wait until all that was told is written."""
        done = threading.Event()
        self._marks += 1
        self.writer._put({"event": "Mark", "number": self._marks})
        mark = f'"number":{self._marks}}}'
        path = Path(self.writer.directory)
        for _ in range(2000):
            text = "".join(each.read_text() for each in sorted(path.iterdir()))
            if mark in text:
                return
            done.wait(0.005)
        raise AssertionError("nothing is written")


@contextmanager
def streaming(directory: Path, **options: Any) -> Iterator[Streaming]:
    """Write a log; it is whole when the block has ended."""
    made = Streaming(directory, **options)
    try:
        yield made
    finally:
        made.writer.close()


def job(number: int, status: str = "SUCCEEDED") -> JobRecord:
    """Return a job of the first batch."""
    return JobRecord(
        number,
        "collect",
        "mine",
        frozenset({"a", "b"}),
        "in words",
        "1000",
        "0",
        status,
        [4],
        10,
        20,
        "ValueError" if status == "FAILED" else None,
    )


def stage() -> StageRecord:
    """Return a stage with a report."""
    report = StageReport()
    report.note(7, "map", "columns", "")
    report.note(7, "filter", "rows", "`x.foo()` isn't known")
    report.note_ending("rows", "few records")
    operators = (StageOperator(3, "filter", "app.py:7", (2,)),)
    return StageRecord(
        4, 0, "result of filter", 2, 0, 0, 2, 1, 11, 19, report, 0.5, 0.25, operators
    )


def lines(directory: Path) -> list[dict[str, Any]]:
    """Return the lines of all files."""
    return [
        json.loads(line)
        for file in sorted(directory.iterdir())
        for line in file.read_text("utf-8").splitlines()
    ]


@pytest.mark.parametrize("event", EVENTS, ids=lambda each: type(each).__name__)
def test_an_event_is_read_as_it_was(event: told.StreamingEvent) -> None:
    """Through JSON, each kind."""
    assert decode(json.loads(json.dumps(encode(event)))) == event


def test_a_stream_is_read_as_it_was(tmp_path: Path) -> None:
    """Its picture, its inputs' names and the facts; and when it ended."""
    with streaming(tmp_path / "log") as it:
        it.tell(*EVENTS, *life_of(batch(4000)))
    read = EventLogApplication(str(tmp_path / "log"))

    assert read.picture() == it.application.picture()
    assert read.facts == FACTS
    assert read.input_names() == {0: "lines [0]"}
    assert read.receiver_count() == 0
    assert read.stored() == []
    assert read.ended_ms is not None
    assert read.dropped_count == 0


def test_jobs_and_stages_are_read_as_they_were(tmp_path: Path) -> None:
    """With which way each step went; the newest first."""
    first, second = job(0), job(1, "FAILED")
    with streaming(tmp_path / "log") as it:
        it.writer.on_job(job(0, "RUNNING"), ())
        it.writer.on_job(first, [stage()])
        it.writer.on_job(second, [])
    read = EventLogApplication(str(tmp_path / "log"))

    assert [each.id for each in read.jobs()] == [1, 0]
    assert read.jobs()[0].error == "ValueError"
    assert read.jobs()[1] == first
    assert read.stages() == [stage()]
    assert list(read.stages()[0].report.lines()) == list(stage().report.lines())


def test_times_of_tasks_are_read_as_they_were(tmp_path: Path) -> None:
    """What is kept of many, and how many there were."""
    ran = stage()
    for number in range(1000):
        status = TaskStatus.FAILED if number == 7 else TaskStatus.SUCCESS
        error = "ValueError: no" if number == 7 else ""
        ran.tasks.begin(number, 0, number, number)
        ran.tasks.end(number, 0, status, number / 8, Traffic(rows_in=number), error)
    ran.tasks.close()
    ran.writes_shuffle = True
    with streaming(tmp_path / "log") as it:
        it.writer.on_job(job(0), [ran])
    (read,) = EventLogApplication(str(tmp_path / "log")).stages()

    def told(each: TaskRecord) -> TaskRecord:
        return replace(each, begun_ms=round(each.begun_ms))

    assert list(map(told, read.tasks.records())) == list(map(told, ran.tasks.records()))
    assert len(read.tasks.sample()) == len(ran.tasks.sample()) < 1000
    assert read.tasks.ended_count == 1000
    assert read.writes_shuffle


def test_a_log_without_times_of_tasks_is_read(tmp_path: Path) -> None:
    """One that was written before there were any."""
    with streaming(tmp_path / "log") as it:
        it.writer.on_job(job(0), [stage()])
    (file,) = (tmp_path / "log").iterdir()
    text = file.read_text("utf-8")
    older = text.replace(',"writes_shuffle":false,"attempts_ended":0,"attempts":[]', "")
    file.write_text(older, "utf-8")
    (read,) = EventLogApplication(str(tmp_path / "log")).stages()

    assert older != text
    assert read == stage()
    assert read.tasks.records() == []


def test_a_job_that_runs_when_the_program_dies_is_known(tmp_path: Path) -> None:
    """It is what the program died of, perhaps."""
    with streaming(tmp_path / "log") as it:
        it.writer.on_job(job(0, "RUNNING"), ())
        it.flushed()
        read = EventLogApplication(str(tmp_path / "log"))

    assert [each.status for each in read.jobs()] == ["RUNNING"]
    assert read.ended_ms is None


def test_a_line_that_is_cut_short_is_left_out(tmp_path: Path) -> None:
    """Wherever the crash has cut it; what is before it counts."""
    with streaming(tmp_path / "log") as it:
        it.tell(*life_of(batch(1000)), *life_of(batch(2000)))
    file = tmp_path / "log" / "events-000001.jsonl"
    whole = file.read_bytes()
    end = whole.index(b'"event":"BatchCompleted","batch":2000')
    last = whole.index(b"\n", end)
    for cut in range(end, last, 40):
        file.write_bytes(whole[:cut])
        picture = EventLogApplication(str(tmp_path / "log")).picture()

        assert picture is not None
        assert picture.completed_count == 1
        assert [each.info.batch_ms for each in picture.running] == [2000]


def test_a_log_is_followed_while_it_grows(tmp_path: Path) -> None:
    """Each look reads on from where the last one was; half a line waits for the rest."""
    with streaming(tmp_path / "log") as it:
        it.tell(*life_of(batch(1000)))
        it.flushed()
        read = EventLogApplication(str(tmp_path / "log"))
        before = read.version
        assert not read.wait_for_news(before, 0)
        it.tell(*life_of(batch(2000)))
        assert read.wait_for_news(before, 10)
        it.flushed()
    read.refresh()
    picture = read.picture()

    assert picture is not None
    assert picture.completed_count == 2
    assert read.ended_ms is not None


def test_files_are_followed_by_others_and_the_oldest_are_deleted(
    tmp_path: Path,
) -> None:
    """Whoever reads what is left knows the application, its receivers and all sums."""
    with streaming(tmp_path / "log", file_bytes_max=3000, files_max=2) as it:
        it.tell(told.StreamingStarted(5), told.ReceiverStarted(INFO))
        for time in range(1, 13):
            it.tell(*life_of(batch(time * 1000)))
            it.flushed()
    files = sorted(each.name for each in (tmp_path / "log").iterdir())
    read = EventLogApplication(str(tmp_path / "log"))
    picture, whole = read.picture(), it.application.picture()

    assert len(files) == 2
    assert "events-000001.jsonl" not in files
    assert picture is not None
    assert whole is not None
    assert 0 < len(picture.completed) < 12
    assert picture.completed_count == whole.completed_count == 12
    assert picture.input_records == whole.input_records
    assert picture.delays == whole.delays
    assert picture.receivers == whole.receivers
    assert read.facts == FACTS


def test_all_files_together_count_each_batch_once(tmp_path: Path) -> None:
    """The sums that a later file begins with are for who hasn't the others."""
    with streaming(tmp_path / "log", file_bytes_max=3000) as it:
        for time in range(1, 10):
            it.tell(*life_of(batch(time * 1000)))
            it.flushed()
    read = EventLogApplication(str(tmp_path / "log"))

    assert len(list((tmp_path / "log").iterdir())) > 2
    assert read.picture() == it.application.picture()


def test_one_file_can_be_read_alone(tmp_path: Path) -> None:
    """Say what somebody has sent."""
    with streaming(tmp_path / "log") as it:
        it.tell(*life_of(batch(1000)))
    read = EventLogApplication(str(tmp_path / "log" / "events-000001.jsonl"))

    assert read.picture() == it.application.picture()


def test_what_was_done_is_read_newest_first(tmp_path: Path) -> None:
    """By whom and when; the newest two hundred."""
    with streaming(tmp_path / "log") as it:
        for number in range(ACTIONS_MAX + 5):
            it.writer.on_action(Action(f"kill job {number}", "192.0.2.7", number))
    actions = EventLogApplication(str(tmp_path / "log")).actions()

    assert len(actions) == ACTIONS_MAX
    assert actions[0] == Action(f"kill job {ACTIONS_MAX + 4}", "192.0.2.7", 204)
    assert actions[-1].what == "kill job 5"


def test_a_log_of_a_program_to_which_nothing_was_done_has_none(tmp_path: Path) -> None:
    """As those of before there were any."""
    with streaming(tmp_path / "log") as it:
        it.tell(*life_of(batch(1000)))

    assert EventLogApplication(str(tmp_path / "log")).actions() == ()
    assert not [each for each in lines(tmp_path / "log") if "Action" in each["event"]]


@pytest.mark.parametrize("files_max", [2, 100])
def test_what_was_done_is_known_though_its_file_is_gone(
    tmp_path: Path, files_max: int
) -> None:
    """Each later file begins with it; who has all files reads it once."""
    log = tmp_path / "log"
    with streaming(log, file_bytes_max=3000, files_max=files_max) as it:
        it.writer.on_action(Action("pause batches", "192.0.2.7", 1))
        it.writer.on_action(Action("resume batches", "192.0.2.7", 2))
        for time in range(1, 13):
            it.tell(*life_of(batch(time * 1000)))
            it.flushed()
        it.writer.on_action(Action("kill job 1", "192.0.2.8", 3))
    actions = EventLogApplication(str(log)).actions()

    assert len(list(log.iterdir())) > 1
    assert (log / "events-000001.jsonl").exists() == (files_max == 100)
    assert [each.what for each in actions] == [
        "kill job 1",
        "resume batches",
        "pause batches",
    ]


def test_gauges_are_those_of_the_end(tmp_path: Path) -> None:
    """And now and then in between."""
    with streaming(tmp_path / "log") as it:
        it.application.values = {"streaming.receivers": 1}
        it.tell(*life_of(batch(1000)))
        it.flushed()
        it.application.values = {"streaming.receivers": 2}
    found = [e["values"] for e in lines(tmp_path / "log") if e["event"] == "Gauges"]

    assert found == [{"streaming.receivers": 1}, {"streaming.receivers": 2}]
    assert EventLogApplication(str(tmp_path / "log")).gauges() == found[-1]


class Full(LocalStorage):
    """A disk that is full when the test says so, and then takes half of a write."""

    def __init__(self) -> None:
        self.is_full = False
        self.has_refused = threading.Event()

    def append(self, path: str) -> AppendStream:
        stream, disk = super().append(path), self

        class Refusing:
            def __init__(self) -> None:
                self.flush, self.close = stream.flush, stream.close

            def write(self, data: bytes) -> None:
                if not disk.is_full:
                    stream.write(data)
                    return
                stream.write(data[: len(data) // 2])
                stream.flush()
                disk.has_refused.set()
                raise DurabilityError("no space left on device")

        return Refusing()  # type: ignore[return-value]


def test_a_full_disk_costs_events_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """They are counted; what comes later is in a file of its own, behind no torn line."""
    monkeypatch.setattr(event_log, "_RETRY_S", 0.01)
    disk = Full()
    with streaming(tmp_path / "log", storage=disk) as it:
        it.tell(*life_of(batch(1000)))
        it.flushed()
        disk.is_full = True
        it.writer.on_event(told.BatchSubmitted(batch(2000)))
        assert disk.has_refused.wait(10)
        disk.is_full = False
        it.tell(*life_of(batch(3000)))
    read = EventLogApplication(str(tmp_path / "log"))
    picture = read.picture()

    assert picture is not None
    assert [each.info.batch_ms for each in picture.completed] == [3000, 1000]
    assert read.dropped_count >= 1
    assert "no space left on device" in caplog.text


def test_what_comes_too_fast_is_dropped_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Who tells never waits."""
    monkeypatch.setattr(event_log, "_WAITING_MAX", 10)
    application = FakeApplication(progress=StreamProgress(1000))
    writer = EventLogWriter(str(tmp_path / "log"), application)
    writer.on_stream()
    for time in range(30):
        writer.on_event(told.BatchSubmitted(batch(time * 1000)))
    writer.start()
    writer.close()
    read = EventLogApplication(str(tmp_path / "log"))
    picture = read.picture()

    assert read.dropped_count == 21
    assert picture is not None
    assert len(picture.waiting) == 9
    assert "events are missing from the event log events=21" in caplog.messages


def test_events_that_a_reader_doesnt_know_are_passed_over(tmp_path: Path) -> None:
    """A newer writer may tell more."""
    with streaming(tmp_path / "log") as it:
        it.writer._put({"event": "SomethingNew", "what": 1})
        it.tell(*life_of(batch(1000)))

    read = EventLogApplication(str(tmp_path / "log"))
    assert read.picture() == it.application.picture()


def test_a_newer_format_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what to do."""
    monkeypatch.setattr(event_log, "FORMAT", 2)
    with streaming(tmp_path / "log"):
        pass
    monkeypatch.undo()

    with pytest.raises(UsageError, match="is of a newer version: 2\nhint: update"):
        EventLogApplication(str(tmp_path / "log"))


@pytest.mark.parametrize("name", ["nowhere", "empty", "other.txt"])
def test_what_is_no_event_log_is_refused(tmp_path: Path, name: str) -> None:
    """Nothing there, an empty directory, another file."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "other.txt").write_text("")

    with pytest.raises(UsageError, match="there is no event log at"):
        EventLogApplication(str(tmp_path / name))


def test_a_line_in_the_middle_that_is_no_event_is_an_error(tmp_path: Path) -> None:
    """It is another file, or was damaged: nothing is guessed."""
    (tmp_path / "other.jsonl").write_text('{"event":"X"}\n[1]\n{"event":"X"}\n')

    with pytest.raises(UsageError, match=r"^line 2 of '.*other.jsonl' isn't an event"):
        EventLogApplication(str(tmp_path / "other.jsonl"))


def conf(directory: Path) -> dict[str, str]:
    """Return settings that turn the log on."""
    return {
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": str(directory),
        "spark.ui.enabled": "false",
        "spark.my.password": "hunter2",
    }


@pytest.mark.slow
def test_a_stream_writes_its_log(tmp_path: Path) -> None:
    """Batches, jobs by batch, stages; no secret of the settings."""
    with StreamHarness(conf=conf(tmp_path)) as h:
        words = h.stream([["a", "b"], ["b"], []])
        h.collect(words.map(lambda word: (word, 1)).reduceByKey(max))
        h.run(3)
        directory = tmp_path / h.sc.applicationId
    read = EventLogApplication(str(directory))
    picture = read.picture()

    assert picture is not None
    assert picture.completed_count == 3
    assert picture.processed_records == 3
    assert {each.batch_time for each in read.jobs()} == {"1000", "2000", "3000"}
    assert {each.job_id for each in read.stages()} == {each.id for each in read.jobs()}
    assert read.ended_ms is not None
    assert read.gauges()["streaming.totalCompletedBatches"] == 3
    assert "hunter2" not in (directory / "events-000001.jsonl").read_text()
    assert read.facts.environment["Settings"]["spark.my.password"] == "********"


def test_a_plain_program_writes_its_log(tmp_path: Path) -> None:
    """Jobs of no batch."""
    given = SparkConf(loadDefaults=False).setAll(conf(tmp_path).items())
    with SparkContext("local[2]", "plain", conf=given) as sc:
        sc.parallelize([1, 2]).count()
        directory = tmp_path / sc.applicationId
    read = EventLogApplication(str(directory))

    assert read.picture() is None
    assert [each.status for each in read.jobs()] == ["SUCCEEDED"]
    assert [each["event"] for each in lines(directory)] == [
        "ApplicationStarted",
        "JobStarted",
        "JobEnded",
        "Gauges",
        "ApplicationEnded",
    ]


def test_a_directory_that_cant_be_written_in_is_an_error_at_once(
    tmp_path: Path,
) -> None:
    """The context doesn't start, and another one may."""
    (tmp_path / "file").write_text("")
    given = SparkConf(loadDefaults=False).setAll(conf(tmp_path / "file").items())

    with pytest.raises(DurabilityError, match="the event log can't be written to"):
        SparkContext("local[2]", "plain", conf=given)
    with SparkContext("local[2]", "again") as sc:
        assert sc.parallelize([1]).count() == 1


def test_a_log_is_never_written_over(tmp_path: Path) -> None:
    """Two runs that are told to have one id."""
    with streaming(tmp_path / "log"):
        pass

    with pytest.raises(DurabilityError, match="an event log is there already"):
        EventLogWriter(str(tmp_path / "log"), FakeApplication())


def test_an_object_store_is_refused_in_its_own_words(tmp_path: Path) -> None:
    """The end of a file there can't be made safe; what to do is said of this log."""

    class NoAppending(LocalStorage):
        def append(self, path: str) -> AppendStream:
            raise DurabilityError("can't be appended to", hint="of another kind of log")

    told = "can't be appended to\nhint: set spark.eventLog.dir to a directory"
    with pytest.raises(DurabilityError, match=told):
        EventLogWriter(str(tmp_path), FakeApplication(), storage=NoAppending())
