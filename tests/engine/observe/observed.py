"""Applications for the tests of what looks at them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from millstream.engine.ingest.direct_source import BatchPlan, DirectSource
from millstream.engine.ingest.lag import Lag, LagUnit, TellsLag
from millstream.engine.ingest.receiver import Receiver
from millstream.engine.jobs.book import JobRecord, StageRecord
from millstream.engine.observe.application import Facts, StoredRdd
from millstream.engine.observe.control import Action, ThreadDump
from millstream.engine.observe.progress import Picture, StreamProgress
from millstream.engine.streams.events import (
    BatchCompleted,
    BatchInfo,
    BatchStarted,
    BatchSubmitted,
    OutputOperationInfo,
    StreamingEvent,
    StreamInputInfo,
)
from millstream.streaming import StreamingContext
from millstream.testing import StreamHarness

FACTS = Facts(
    "local-1", "words", "me", 1_000, "4.3.0", {"Settings": {"spark.app.name": "words"}}
)


@dataclass
class FakeApplication:
    """An application of which a test says everything."""

    facts: Facts = FACTS
    ended_ms: int | None = None
    version: int = 0
    progress: StreamProgress | None = None
    names: dict[int, str] = field(default_factory=lambda: {0: "lines [0]"})
    values: dict[str, float] = field(default_factory=dict)
    known_jobs: list[JobRecord] = field(default_factory=list)
    done: list[Action] = field(default_factory=list)

    def wait_for_news(self, known_version: int, timeout_s: float) -> bool:
        return False

    def picture(self) -> Picture | None:
        return None if self.progress is None else self.progress.picture()

    def input_names(self) -> Mapping[int, str]:
        return self.names

    def receiver_count(self) -> int:
        return 0

    def gauges(self) -> Mapping[str, float]:
        return self.values

    def jobs(self) -> Sequence[JobRecord]:
        return self.known_jobs

    def stages(self) -> Sequence[StageRecord]:
        return []

    def stored(self) -> Sequence[StoredRdd]:
        return []

    def actions(self) -> Sequence[Action]:
        return tuple(self.done)


def batch(
    time_ms: int,
    *,
    records: int = 10,
    waited: int = 2,
    took: int = 30,
    failure: str | None = None,
) -> BatchInfo:
    """Return a batch of one input and one output that has ended."""
    start = time_ms + waited
    output = OutputOperationInfo(
        time_ms, 0, "print", "print at app.py:3", start, start + took, failure
    )
    return BatchInfo(
        time_ms,
        {0: StreamInputInfo(0, records, {"Description": "some lines"})},
        time_ms,
        start,
        start + took,
        {0: output},
    )


def life_of(info: BatchInfo) -> list[StreamingEvent]:
    """Return the events of a batch."""
    return [BatchSubmitted(info), BatchStarted(info), BatchCompleted(info)]


class Numbers(DirectSource[list[int], int]):
    """Numbers of which ten wait always."""

    @property
    def lag(self) -> Lag:
        """Ten."""
        return Lag(10)

    def plan(self, batch: BatchPlan[list[int]]) -> Sequence[list[int]]:
        """Give two numbers."""
        return [[1, 2]]

    def read(self, of: list[int]) -> list[int]:
        """Return them."""
        return of

    def count(self, of: list[int]) -> int:
        """Count them."""
        return len(of)


def wait_until_told(h: StreamHarness, batches: int) -> None:
    """Block until who looks at the stream has heard that so many batches have ended."""
    progress = h.sc._observers.application.progress
    assert progress is not None, "the stream has started"
    known = progress.version
    while progress.picture().completed_count < batches:
        assert progress.wait_for_news(known, 10), "events don't come"
        known = progress.version


class Quiet(Receiver[str], TellsLag):
    """A receiver that receives nothing, of a source that counts in time."""

    lag_unit = LagUnit.MS

    def ask_lag(self, timeout_s: float) -> Lag:
        """Say how far it is behind."""
        del timeout_s
        return Lag(30, LagUnit.MS)

    def onStart(self) -> None:
        """Begin."""

    def onStop(self) -> None:
        """End."""


@contextmanager
def everything(directory: Any, conf: Mapping[str, str]) -> Iterator[StreamHarness]:
    """Run a stream that has an input of each kind, state and checkpoints: two batches."""

    def set_up(h: StreamHarness) -> None:
        words = h.stream([["a", "b"], ["b"]])
        counts = words.map(lambda word: (word, 1)).updateStateByKey(
            lambda new, old: sum(new) + (old or 0)
        )
        h.collect(counts, "counts")
        ssc: StreamingContext = h.ssc
        h.collect(ssc.directStream(Numbers()), "numbers")
        h.collect(ssc.receiverStream(Quiet()), "received")

    with StreamHarness(checkpoint=str(directory), conf=dict(conf), setup=set_up) as h:
        h.run(2)
        wait_until_told(h, 2)
        yield h


class FakeControl:
    """A program to which nothing happens; `done` has what was asked for."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.is_paused = False
        self.is_stopping = False
        self.limits: dict[int, float] = {}
        self.refusal: Exception | None = None
        """What everything is answered with."""

    def _do(self, what: str, by: str) -> str:
        if self.refusal is not None:
            raise self.refusal
        self.done.append(f"{what} by {by}")
        return what

    def stop_stream(self, *, gracefully: bool, by: str) -> str:
        return self._do(f"stop {'gracefully' if gracefully else 'at once'}", by)

    def pause_batches(self, *, by: str) -> str:
        self.is_paused = True
        return self._do("pause", by)

    def resume_batches(self, *, by: str) -> str:
        self.is_paused = False
        return self._do("resume", by)

    def limit_input(self, input_id: int, per_second: int, *, by: str) -> str:
        self.limits[input_id] = per_second
        return self._do(f"limit {input_id} to {per_second}", by)

    def unlimit_input(self, input_id: int, *, by: str) -> str:
        self.limits.pop(input_id, None)
        return self._do(f"unlimit {input_id}", by)

    def kill_job(self, job_id: int, *, by: str) -> str:
        return self._do(f"kill job {job_id}", by)

    def kill_stage(self, stage_id: int, *, by: str) -> str:
        return self._do(f"kill stage {stage_id}", by)

    def threads(self) -> Sequence[ThreadDump]:
        return [
            ThreadDump(7, "MainThread", False, ("main (app.py:3)", "wait (app.py:9)"))
        ]
