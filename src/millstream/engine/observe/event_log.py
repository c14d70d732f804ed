"""Event log: what a program has done, as lines of JSON, to be looked at when it is over.

A run has a directory of files `events-000001.jsonl` and so on, of which the newest are kept.
Each begins with what a reader must know of the files before it: the application, its stream
and sums. A line is an object; `event` says what it tells, times are ms since the epoch, and
a reader passes over events that it doesn't know. A line that a crash has cut short is the
last of its file, and is left out.
"""

import json
import logging
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

from millstream.engine.base.clock import SystemClock
from millstream.engine.base.config import Settings
from millstream.engine.base.errors import DurabilityError, UsageError
from millstream.engine.base.seldom import Seldom
from millstream.engine.base.storage import AppendStream, Storage, open_storage
from millstream.engine.columnar.reports import StageReport, StepFate
from millstream.engine.jobs.book import JobRecord, StageOperator, StageRecord
from millstream.engine.jobs.task_log import (
    TaskLog,
    TaskRecord,
    TaskStatus,
    Traffic,
)
from millstream.engine.observe.application import (
    ACTIONS_MAX,
    Application,
    Facts,
    StoredRdd,
)
from millstream.engine.observe.control import Action
from millstream.engine.observe.histograms import Delays, Histogram
from millstream.engine.observe.progress import Picture, StreamProgress, Sums
from millstream.engine.streams import events as told
from millstream.engine.streams.events import (
    BatchInfo,
    OutputOperationInfo,
    ReceiverInfo,
    StreamingEvent,
    StreamInputInfo,
)

_SUMMED = (
    told.BatchStarted,
    told.BatchCompleted,
    told.ReceiverStarted,
    told.ReceiverError,
    told.ReceiverStopped,
)
FORMAT = 1
"""Grows when a reader of today couldn't read what is written any more."""

_log = logging.getLogger(__name__)
_WAITING_MAX = 10_000
_AT_ONCE = 1000
_GAUGES_MS = 10_000
_GATHER_S = 0.25
_CLOSE_S = 5.0
_RETRY_S = 5.0
_POLL_S = 0.5

Line: TypeAlias = dict[str, Any]
_Item: TypeAlias = StreamingEvent | Line | tuple[JobRecord, Sequence[StageRecord]]


def open_writer(settings: Settings, application: Application) -> "EventLogWriter":
    """Return the writer that the settings ask for; `start` it.

    Raises:
        DurabilityError: Its directory can't be made, or can't be appended in.
    """
    root = settings.get_str("spark.eventLog.dir").rstrip("/")
    return EventLogWriter(
        f"{root}/{application.facts.id}",
        application,
        file_bytes_max=settings.get_bytes("spark.eventLog.rolling.maxFileSize"),
        files_max=settings.get_int("spark.millstream.eventLog.files.max"),
    )


class EventLogWriter:
    """Writes an application's event log on a thread of its own.

    What is told is queued, and never waits: when 10,000 events wait for a slow disk,
    further ones are dropped, and the log says how many. What comes within a quarter of a
    second is written together and handed to the operating system; nothing is synced, for
    nothing depends on it.
    """

    def __init__(
        self,
        uri: str,
        application: Application,
        *,
        file_bytes_max: int = 128 << 20,
        files_max: int = 10,
        storage: Storage | None = None,
    ) -> None:
        """Write to directory `uri`; `storage` stands in for the one of `uri`.

        Raises:
            DurabilityError: It can't be made, or can't be appended in.
        """
        self._application = application
        if storage is None:
            storage, uri = open_storage(uri)
        self._files = _Files(storage, uri, file_bytes_max, files_max)
        # No queue.Queue: a wake-up for each event is what costs, not writing it.
        self._waiting: deque[_Item] = deque()
        self._has_news = threading.Event()
        self._lock = threading.Lock()
        self._dropped = 0
        self._seldom = Seldom(_log)
        self._gauges_ms = 0
        self._is_closing = threading.Event()
        # What has been written so far tells; the application may be ahead of it.
        self._written: StreamProgress | None = None
        self._written_actions: deque[Line] = deque(maxlen=ACTIONS_MAX)
        self._clock = SystemClock()
        self._thread = threading.Thread(
            target=self._run, name="millstream-event-log", daemon=True
        )
        self._files.begin(self._header)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def directory(self) -> str:
        """Where the files are."""
        return self._files.directory

    # What is told.

    def on_event(self, event: StreamingEvent) -> None:
        """Take an event of the stream."""
        self._put(event)

    def on_job(self, job: JobRecord, stages: Sequence[StageRecord]) -> None:
        """Take a job that has begun or ended, with its stages."""
        # One that runs changes until the thread comes to it.
        self._put(_job_line(job, ()) if job.status == "RUNNING" else (job, stages))

    def on_action(self, action: Action) -> None:
        """Take what somebody has done to the program."""
        line = {"event": "ActionTaken", "time": action.time_ms}
        self._put({**line, "what": action.what, "by": action.by})

    def on_stream(self) -> None:
        """Hear that the application has a stream now."""
        self._put(_stream_line(self._application))

    def on_stream_stopped(self) -> None:
        """Hear that the stream has stopped."""
        self._put({"event": "StreamStopped", "time": self._clock.now_ms()})

    def close(self) -> None:
        """Write what waits and that the application has ended; waits 5 s at most."""
        if not self._thread.is_alive():
            return
        self._is_closing.set()
        self._has_news.set()
        self._thread.join(_CLOSE_S)
        if self._thread.is_alive():
            _log.error("the event log's end isn't written directory=%s", self.directory)

    def _put(self, item: _Item) -> None:
        if len(self._waiting) >= _WAITING_MAX:
            self._note_dropped(1)
            return
        self._waiting.append(item)
        if not self._has_news.is_set():
            self._has_news.set()

    def _note_dropped(self, count: int) -> None:
        with self._lock:
            self._dropped += count

    # On the thread.

    def _run(self) -> None:
        is_over = False
        while not is_over:
            items, is_over = self._take()
            try:
                # First: what a new file begins with has nothing in it of these items.
                self._files.make_ready(self._header)
                self._files.append(self._lines(items, is_over=is_over))
            except DurabilityError as error:
                self._note_dropped(len(items))
                self._seldom.warning(
                    "events aren't written to the event log events=%d error=%s",
                    len(items),
                    error,
                )
                # A full disk won't be empty at once; events that come meanwhile wait.
                self._is_closing.wait(0 if is_over else _RETRY_S)
        self._files.close()

    def _take(self) -> tuple[list[_Item], bool]:
        """Wait for something to write; return it, and whether nothing follows."""
        self._has_news.wait()
        # More comes right behind: one wake-up for them all.
        is_over = self._is_closing.wait(_GATHER_S)
        self._has_news.clear()
        count = min(len(self._waiting), _AT_ONCE)
        items = [self._waiting.popleft() for _ in range(count)]
        if self._waiting or is_over:
            self._has_news.set()
        return items, is_over and not self._waiting

    def _lines(self, items: Sequence[_Item], *, is_over: bool) -> list[Line]:
        lines = [line for item in items for line in self._lines_of(item)]
        if is_over:
            lines.append(_gauges_line(self._application))
            now_ms = self._clock.now_ms()
            lines.append({"event": "ApplicationEnded", "time": now_ms})
        return lines

    def _lines_of(self, item: _Item) -> Iterator[Line]:
        if self._dropped:
            with self._lock:
                count, self._dropped = self._dropped, 0
            self._seldom.warning(
                "events are missing from the event log events=%d", count
            )
            yield {"event": "EventsDropped", "count": count}
        match item:
            case dict():
                if item["event"] == "StreamAttached":
                    self._written = StreamProgress(item["batch_ms"], retained_max=1)
                elif item["event"] == "ActionTaken":
                    facts = {key: item[key] for key in ("time", "what", "by")}
                    self._written_actions.append(facts)
                yield item
            case (job, stages):
                yield _job_line(job, stages)
            case _:
                yield encode(item)
                if self._written is not None and isinstance(item, _SUMMED):
                    self._written.on_event(item)
                if isinstance(item, told.BatchCompleted):
                    yield from self._gauges_now_and_then()

    def _gauges_now_and_then(self) -> Iterator[Line]:
        now_ms = self._clock.now_ms()
        if now_ms - self._gauges_ms >= _GAUGES_MS:
            self._gauges_ms = now_ms
            yield _gauges_line(self._application)

    def _header(self) -> list[Line]:
        application = self._application
        facts = application.facts
        lines: list[Line] = [
            {
                "event": "ApplicationStarted",
                "format": FORMAT,
                "id": facts.id,
                "name": facts.name,
                "user": facts.user,
                "time": facts.started_ms,
                "version": facts.version,
                "environment": {
                    title: dict(table) for title, table in facts.environment.items()
                },
            }
        ]
        if self._written is not None:
            receivers = self._written.picture().receivers.values()
            lines += [
                {**_stream_line(application), "event": "StreamKnown"},
                {"event": "Sums", **asdict(self._written.sums)},
                *(_receiver_line("ReceiverStarted", each) for each in receivers),
            ]
        if self._written_actions:
            known = [*self._written_actions]
            lines.append({"event": "ActionsKnown", "actions": known})
        return lines


class _Files:
    """The files of a log: one is appended to until it is large, then the next."""

    def __init__(
        self, storage: Storage, uri: str, file_bytes_max: int, files_max: int
    ) -> None:
        self._storage = storage
        self.directory = uri.rstrip("/")
        self._file_bytes_max = file_bytes_max
        self._files_max = files_max
        self._number = 0
        self._size_bytes = 0
        self._out: AppendStream | None = None
        self._kept: list[str] = []

    def begin(self, header: Callable[[], Iterable[Line]]) -> None:
        """Begin the next file."""
        self.close()
        self._number += 1
        path = f"{self.directory}/events-{self._number:06}.jsonl"
        if self._number == 1 and self._storage.exists(path):
            msg = f"an event log is there already: '{path}'"
            raise DurabilityError(
                msg, hint="runs with the same spark.app.id need other directories"
            )
        try:
            self._out = self._storage.append(path)
        except (OSError, DurabilityError) as error:
            why = error.args[0] if isinstance(error, DurabilityError) else error
            msg = f"the event log can't be written to '{path}': {why}"
            raise DurabilityError(
                msg,
                hint="set spark.eventLog.dir to a directory that you may write in, on a "
                "local or mounted disk",
            ) from error
        self._kept.append(path)
        self._size_bytes = 0
        self.append(header())
        while len(self._kept) > self._files_max:
            self._storage.delete(self._kept.pop(0))

    def make_ready(self, header: Callable[[], Iterable[Line]]) -> None:
        """Begin the next file if this one is full, or its end may be torn."""
        if self._out is None or self._size_bytes >= self._file_bytes_max:
            self.begin(header)

    def append(self, lines: Iterable[Line]) -> None:
        """Write lines, and hand them to the operating system."""
        out = self._out
        assert out is not None, "a file is open"
        data = b"".join(_encoded(each) for each in lines)
        try:
            out.write(data)
            out.flush()
        except DurabilityError:
            self._out = None  # Nothing is written behind a line that may be torn.
            with suppress(DurabilityError):  # It is told once.
                out.close()
            raise
        self._size_bytes += len(data)

    def close(self) -> None:
        """Close the file."""
        out, self._out = self._out, None
        if out is not None:
            out.close()


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str)


def _encoded(line: Line) -> bytes:
    return _ENCODER.encode(line).encode("utf-8", "replace") + b"\n"


# Lines.


def encode(event: StreamingEvent) -> Line:
    """Return the line of an event."""
    name = type(event).__name__
    match event:
        case told.StreamingStarted(time_ms):
            return {"event": name, "time": time_ms}
        case (
            told.ReceiverStarted(receiver)
            | told.ReceiverError(receiver)
            | told.ReceiverStopped(receiver)
        ):
            return _receiver_line(name, receiver)
        case (
            told.BatchSubmitted(batch)
            | told.BatchStarted(batch)
            | told.BatchCompleted(batch)
        ):
            return _batch_line(name, batch)
        case told.OutputOperationStarted(output) | told.OutputOperationCompleted(
            output
        ):
            return {"event": name, "batch": output.batch_ms, **_output(output)}


def _receiver_line(name: str, info: ReceiverInfo) -> Line:
    return {"event": name, **asdict(info)}


def _batch_line(name: str, info: BatchInfo) -> Line:
    return {
        "event": name,
        "batch": info.batch_ms,
        "submitted": info.submission_ms,
        "started": info.processing_start_ms,
        "ended": info.processing_end_ms,
        "inputs": [
            {
                "stream": each.input_stream_id,
                "records": each.record_count,
                "description": each.description,
            }
            for each in info.inputs.values()
        ],
        "outputs": [_output(each) for each in info.outputs.values()],
    }


def _output(info: OutputOperationInfo) -> Line:
    return {
        "output": info.id,
        "name": info.name,
        "description": info.description,
        "started": info.start_ms,
        "ended": info.end_ms,
        "failure": info.failure_reason,
    }


def _job_line(job: JobRecord, stages: Sequence[StageRecord]) -> Line:
    return {
        "event": "JobStarted" if job.status == "RUNNING" else "JobEnded",
        "job": job.id,
        "name": job.name,
        "group": job.group,
        "tags": sorted(job.tags),
        "description": job.description,
        "batch": None if job.batch_time is None else int(job.batch_time),
        "output": None if job.output_id is None else int(job.output_id),
        "status": job.status,
        "submitted": job.submitted_ms,
        "ended": job.ended_ms,
        "error": job.error,
        "stages": [_stage(each) for each in stages],
    }


def _stage(stage: StageRecord) -> Line:
    return {
        "stage": stage.id,
        "name": stage.name,
        "attempt": stage.attempt,
        "tasks": stage.task_count,
        "completed": stage.completed_count,
        "failed": stage.failed_count,
        "submitted": stage.submitted_ms,
        "ended": stage.ended_ms,
        "steps": [
            {"rdd": rdd, **_fate(fate)} for (rdd, _), fate in stage.report.steps.items()
        ],
        "by_key": [
            {"rdd": rdd, **_fate(fate)} for rdd, fate in stage.report.shuffles.items()
        ],
        "task_s": round(stage.task_s, 6),
        "longest_task_s": round(stage.longest_task_s, 6),
        "operators": [
            {
                "id": each.id,
                "name": each.name,
                "site": each.site,
                "parents": list(each.parent_ids),
            }
            for each in stage.operators
        ],
        "writes_shuffle": stage.writes_shuffle,
        "attempts_ended": stage.tasks.ended_count,
        "attempts": _attempts(stage.tasks),
    }


def _attempts(log: TaskLog) -> list[Line]:
    sampled = {(each.partition, each.attempt) for each in log.sample()}
    return [
        {
            "task": each.id,
            "partition": each.partition,
            "attempt": each.attempt,
            "where": each.where,
            "begun": round(each.begun_ms, 3),
            "took_ms": round(each.took_ms, 3),
            "status": each.status.value,
            **{key: value for key, value in _extras(each, sampled) if value},
        }
        for each in log.records()
    ]


def _extras(
    record: TaskRecord, sampled: set[tuple[int, int]]
) -> Iterator[tuple[str, Any]]:
    """Yield what most attempts don't have; it is left out where it is empty."""
    yield "error", record.error
    yield "is_copy", record.is_copy
    yield "is_extra", (record.partition, record.attempt) not in sampled
    traffic = {k: v for k, v in asdict(record.traffic).items() if v is not None}
    yield "traffic", traffic


def _fate(fate: StepFate) -> Line:
    return {
        "name": fate.name,
        "columns": fate.columns,
        "rows": fate.rows,
        "reasons": dict(fate.reasons),
        "processes": fate.processes,
    }


def _stream_line(application: Application) -> Line:
    picture = application.picture()
    assert picture is not None, "the application has a stream"
    return {
        "event": "StreamAttached",
        "batch_ms": picture.batch_ms,
        "started": picture.started_ms,
        "inputs": {str(key): name for key, name in application.input_names().items()},
        "receivers": application.receiver_count(),
    }


def _decoded_action(line: Mapping[str, Any]) -> Action:
    return Action(line["what"], line["by"], line["time"])


def _gauges_line(application: Application) -> Line:
    return {"event": "Gauges", "values": dict(application.gauges())}


def decode(line: Mapping[str, Any]) -> StreamingEvent | None:
    """Return the event of the stream that a line tells; None if it tells another thing."""
    kind = _KINDS.get(line["event"])
    if kind is None:
        return None
    if kind is told.StreamingStarted:
        return told.StreamingStarted(line["time"])
    if line["event"].startswith("Receiver"):
        facts = {key: value for key, value in line.items() if key != "event"}
        return kind(ReceiverInfo(**facts))  # type: ignore[no-any-return]
    if line["event"].startswith("Batch"):
        return kind(_decoded_batch(line))  # type: ignore[no-any-return]
    return kind(_decoded_output(line["batch"], line))  # type: ignore[no-any-return]


_KINDS: dict[str, Any] = {
    each.__name__: each
    for each in (
        told.StreamingStarted,
        told.ReceiverStarted,
        told.ReceiverError,
        told.ReceiverStopped,
        told.BatchSubmitted,
        told.BatchStarted,
        told.BatchCompleted,
        told.OutputOperationStarted,
        told.OutputOperationCompleted,
    )
}


def _decoded_batch(line: Mapping[str, Any]) -> BatchInfo:
    return BatchInfo(
        line["batch"],
        {each["stream"]: _decoded_input(each) for each in line["inputs"]},
        line["submitted"],
        line["started"],
        line["ended"],
        {
            each["output"]: _decoded_output(line["batch"], each)
            for each in line["outputs"]
        },
    )


def _decoded_input(line: Mapping[str, Any]) -> StreamInputInfo:
    words = line["description"]
    metadata = {} if words is None else {"Description": words}
    return StreamInputInfo(line["stream"], line["records"], metadata)


def _decoded_output(batch_ms: int, line: Mapping[str, Any]) -> OutputOperationInfo:
    return OutputOperationInfo(
        batch_ms,
        line["output"],
        line["name"],
        line["description"],
        line["started"],
        line["ended"],
        line["failure"],
    )


def _decoded_job(line: Mapping[str, Any]) -> tuple[JobRecord, list[StageRecord]]:
    job = JobRecord(
        line["job"],
        line["name"],
        line["group"],
        frozenset(line["tags"]),
        line["description"],
        None if line["batch"] is None else str(line["batch"]),
        None if line["output"] is None else str(line["output"]),
        line["status"],
        [each["stage"] for each in line["stages"]],
        line["submitted"],
        line["ended"],
        line["error"],
    )
    return job, [_decoded_stage(each, job.id) for each in line["stages"]]


def _decoded_stage(line: Mapping[str, Any], job_id: int) -> StageRecord:
    report = StageReport(
        {(each["rdd"], each["name"]): _decoded_fate(each) for each in line["steps"]},
        {each["rdd"]: _decoded_fate(each) for each in line["by_key"]},
    )
    return StageRecord(
        line["stage"],
        job_id,
        line["name"],
        line["tasks"],
        line["attempt"],
        0,
        line["completed"],
        line["failed"],
        line["submitted"],
        line["ended"],
        report,
        line["task_s"],
        line["longest_task_s"],
        tuple(
            StageOperator(
                each["id"], each["name"], each["site"], tuple(each["parents"])
            )
            for each in line["operators"]
        ),
        # Logs from before there were times of tasks have no word of them.
        line.get("writes_shuffle", False),
        _decoded_attempts(line.get("attempts", []), line.get("attempts_ended", 0)),
    )


def _decoded_attempts(lines: Sequence[Line], ended_count: int) -> TaskLog:
    sample: list[TaskRecord] = []
    others: list[TaskRecord] = []
    for line in lines:
        kept = others if line.get("is_extra") else sample
        kept.append(
            TaskRecord(
                line["task"],
                line["partition"],
                line["attempt"],
                line["where"],
                line["begun"],
                line["took_ms"],
                TaskStatus(line["status"]),
                line.get("error", ""),
                line.get("is_copy", False),
                Traffic(**line.get("traffic", {})),
            )
        )
    return TaskLog.of_records(sample, others, ended_count)


def _decoded_fate(line: Mapping[str, Any]) -> StepFate:
    return StepFate(
        line["name"],
        line["columns"],
        line["rows"],
        Counter(line["reasons"]),
        line["processes"],
    )


# Reading.


@dataclass(slots=True)
class _Read:
    """What the lines so far have told."""

    facts: Facts | None = None
    ended_ms: int | None = None
    progress: StreamProgress | None = None
    input_names: dict[int, str] = field(default_factory=dict)
    receiver_count: int = 0
    gauges: dict[str, float] = field(default_factory=dict)
    jobs: dict[int, JobRecord] = field(default_factory=dict)
    stages: dict[int, StageRecord] = field(default_factory=dict)
    actions: deque[Action] = field(default_factory=lambda: deque(maxlen=ACTIONS_MAX))
    """Newest first."""
    dropped_count: int = 0
    lines: int = 0


class EventLogApplication:
    """An application as its event log tells it; of one that still runs, as far as it has.

    Thread-safe.
    """

    def __init__(
        self, path: str, *, retained_max: int = 1000, storage: Storage | None = None
    ) -> None:
        """Read the log in directory `path`, or one file of it.

        `retained_max` of batches, of jobs and of stages are remembered.

        Raises:
            UsageError: There is no event log, or one that this version can't read.
        """
        if storage is None:
            storage, path = open_storage(path)
        self._storage = storage
        self._path = path.rstrip("/")
        self._retained_max = retained_max
        self._lock = threading.Lock()
        self._read = _Read()
        self._positions: dict[str, int] = {}
        self.refresh()
        if self._read.facts is None:
            raise _no_log(self._path)

    def refresh(self) -> None:
        """Read what was written since.

        Raises:
            UsageError: A line that isn't the last of its file can't be read.
        """
        with self._lock:
            for path in self._files():
                for line in self._new_lines(path):
                    self._fold(line)

    def _files(self) -> list[str]:
        try:
            if not self._storage.stat(self._path).is_dir:
                return [self._path]
            found = self._storage.list(self._path)
        except FileNotFoundError:
            raise _no_log(self._path) from None
        return [each.path for each in found if each.name.endswith(".jsonl")]

    def _new_lines(self, path: str) -> Iterator[Line]:
        begin = self._positions.get(path, 0)
        if self._storage.stat(path).size_bytes <= begin:
            return
        with self._storage.open_input(path) as file:
            file.seek(begin)
            data = file.read()
        # What is behind the last line break is torn, or being written.
        whole, _, _ = data.rpartition(b"\n")
        if not whole:
            return
        self._positions[path] = begin + len(whole) + 1
        for number, text in enumerate(whole.split(b"\n"), 1):
            try:
                line = json.loads(text)
                line["event"]
            except (ValueError, KeyError, TypeError) as error:
                msg = f"line {number} of '{path}' isn't an event: {error}"
                raise UsageError(
                    msg, hint="is this an event log? It ends in .jsonl"
                ) from error
            yield line

    def _fold(self, line: Line) -> None:
        read = self._read
        read.lines += 1
        match line["event"]:
            case "ApplicationStarted":
                self._begin(line)
            case "ApplicationEnded":
                read.ended_ms = line["time"]
            case "StreamAttached":
                read.progress = None
                self._attach(line)
            case "StreamKnown" if read.progress is None:
                self._attach(line)
            case "Sums":
                self._go_on_from(line)
            case "Gauges":
                read.gauges = line["values"]
            case "EventsDropped":
                read.dropped_count += line["count"]
            case "JobStarted" | "JobEnded":
                self._note_job(line)
            case "ActionTaken":
                read.actions.appendleft(_decoded_action(line))
            case "ActionsKnown" if not read.actions:
                # Those of files that are gone; else they were read.
                read.actions.extendleft(map(_decoded_action, line["actions"]))
            case _:
                event = decode(line)
                if event is not None and read.progress is not None:
                    read.progress.on_event(event)

    def _begin(self, line: Line) -> None:
        if line["format"] > FORMAT:
            msg = (
                f"the event log '{self._path}' is of a newer version: {line['format']}"
            )
            raise UsageError(msg, hint="update millstream, which reads older ones too")
        self._read.facts = Facts(
            line["id"],
            line["name"],
            line["user"],
            line["time"],
            line["version"],
            line["environment"],
        )

    def _attach(self, line: Line) -> None:
        read = self._read
        read.progress = StreamProgress(line["batch_ms"], self._retained_max)
        read.progress.started_ms = line["started"]
        read.input_names = {int(key): name for key, name in line["inputs"].items()}
        read.receiver_count = line["receivers"]

    def _go_on_from(self, line: Line) -> None:
        """Take over what files that are gone had summed up; those read have told it."""
        progress = self._read.progress
        if progress is not None and progress.version == 0:
            delays = {key: Histogram(**of) for key, of in line["delays"].items()}
            progress.go_on_from(
                Sums(
                    line["completed"],
                    line["failed"],
                    line["received_records"],
                    line["processed_records"],
                    Delays(**delays),
                    {int(key): count for key, count in line["input_records"].items()},
                )
            )

    def _note_job(self, line: Line) -> None:
        job, stages = _decoded_job(line)
        read = self._read
        read.jobs[job.id] = job
        read.stages.update({each.id: each for each in stages})
        for known in (read.jobs, read.stages):
            while len(known) > self._retained_max:
                del known[next(iter(known))]

    # What an application is asked for.

    @property
    def facts(self) -> Facts:
        """What doesn't change."""
        facts = self._read.facts
        assert facts is not None, "a log without them is refused"
        return facts

    @property
    def ended_ms(self) -> int | None:
        """When it ended; None while it runs, and when it was killed."""
        return self._read.ended_ms

    @property
    def dropped_count(self) -> int:
        """How many events the log says are missing from it."""
        return self._read.dropped_count

    @property
    def version(self) -> int:
        """A number that grows with every line."""
        return self._read.lines

    def wait_for_news(self, known_version: int, timeout_s: float) -> bool:
        """Read on until there is news, or time runs out, or the application has ended.

        Raises:
            UsageError: The log is gone, or can't be read any more.
        """
        waiting, left_s = threading.Event(), timeout_s
        while True:
            self.refresh()
            if self.version > known_version:
                return True
            if left_s <= 0:
                return False
            waiting.wait(min(left_s, _POLL_S))
            left_s -= _POLL_S

    def picture(self) -> Picture | None:
        """Return the progress of its stream; None if it has none."""
        progress = self._read.progress
        return None if progress is None else progress.picture()

    def input_names(self) -> Mapping[int, str]:
        """Return what the stream's inputs are called, by their ids."""
        return self._read.input_names

    def receiver_count(self) -> int:
        """Return how many receivers the stream has."""
        return self._read.receiver_count

    def gauges(self) -> Mapping[str, float]:
        """Return the newest gauges that the log has: some seconds old at most."""
        return self._read.gauges

    def jobs(self) -> Sequence[JobRecord]:
        """Return the jobs that are known, newest first."""
        with self._lock:
            return sorted(self._read.jobs.values(), key=lambda each: -each.id)

    def stages(self) -> Sequence[StageRecord]:
        """Return the stages that are known, newest first."""
        with self._lock:
            return sorted(self._read.stages.values(), key=lambda each: -each.id)

    def stored(self) -> Sequence[StoredRdd]:
        """Return nothing: what was kept isn't in the log."""
        return []

    def actions(self) -> Sequence[Action]:
        """Return what was done to it from its page, newest first."""
        with self._lock:
            return tuple(self._read.actions)


def _no_log(path: str) -> UsageError:
    return UsageError(
        f"there is no event log at '{path}'",
        hint="give the directory of one run, which is below spark.eventLog.dir and is "
        "called like the application's id",
    )
