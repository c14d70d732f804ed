"""Certified writer: the process that `certify_sink` has write, and crash.

It reads orders from a socket, a JSON object a line, and answers each with one.
"""

import json
import os  # noqa: TID251  Ends the process as a kill does.
import signal
import socket
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from millstream.engine.base import frames
from millstream.engine.sinks.contract import Opening, Sink, SinkBatch
from millstream.engine.sinks.records import Records
from millstream.engine.sinks.writing import SinkWriter, WritePart

_CRASHED = 9
OUTPUT = "certify.numbers"


class Step(Enum):
    """The steps of the protocol."""

    OPEN = "open"
    BEGIN = "begin"
    WRITE = "write"
    COMMIT = "commit"


class Moment(Enum):
    """When in a step."""

    BEFORE = "before"
    INSIDE = "inside"
    AFTER = "after"


@dataclass(frozen=True, slots=True)
class Crash:
    """Where a writer ends."""

    step: Step
    partition: int | None
    moment: Moment

    def __str__(self) -> str:
        """Return it in words."""
        part = "" if self.partition is None else f" of partition {self.partition}"
        words = {
            Moment.BEFORE: "before",
            Moment.INSIDE: "half-way through",
            Moment.AFTER: "after",
        }
        return f"{words[self.moment]} `{self.step.value}`{part}"

    def as_data(self) -> list[Any]:
        """Return it as JSON has it."""
        return [self.step.value, self.partition, self.moment.value]


def steps_of(partitions: int) -> Sequence[tuple[Step, int | None]]:
    """Return the steps that a batch takes."""
    writes = [(Step.WRITE, partition) for partition in range(partitions)]
    return [(Step.OPEN, None), (Step.BEGIN, None), *writes, (Step.COMMIT, None)]


class _Crashing(Sink[Any]):
    """A sink whose process ends at a moment of one of its steps."""

    def __init__(self, sink: Sink[Any], say: Callable[[dict[str, Any]], None]) -> None:
        self.plain = sink
        self._say = say
        self.crash: list[Any] | None = None

    @property
    def identity(self) -> str:
        return self.plain.identity

    def _at(self, step: Step, moment: Moment, partition: int | None = None) -> None:
        if self.crash == Crash(step, partition, moment).as_data():
            self._say({"crashes": True})
            os._exit(_CRASHED)

    def open(self, output: str, run: int) -> Opening:
        self._at(Step.OPEN, Moment.BEFORE)
        made = self.plain.open(output, run)
        self._at(Step.OPEN, Moment.AFTER)
        return made

    def begin(self, batch: SinkBatch) -> Collection[int]:
        self._at(Step.BEGIN, Moment.BEFORE)
        there = self.plain.begin(batch)
        self._at(Step.BEGIN, Moment.AFTER)
        return there

    def write(self, batch: SinkBatch, partition: int, records: Records[Any]) -> Any:
        self._at(Step.WRITE, Moment.BEFORE, partition)
        rows = list(records)
        made = self.plain.write(
            batch, partition, Records([self._some(rows, partition)])
        )
        self._at(Step.WRITE, Moment.AFTER, partition)
        return made

    def _some(self, rows: list[Any], partition: int) -> Iterator[Any]:
        for place, row in enumerate(rows):
            if place == len(rows) // 2:
                self._at(Step.WRITE, Moment.INSIDE, partition)
            yield row

    def commit(self, batch: SinkBatch, written: Mapping[int, Any]) -> None:
        self._at(Step.COMMIT, Moment.BEFORE)
        self.plain.commit(batch, written)
        self._at(Step.COMMIT, Moment.AFTER)

    def abort(self, batch: SinkBatch) -> None:
        self.plain.abort(batch)

    def close(self) -> None:
        self.plain.close()


class _Process:
    """What the process keeps between orders."""

    def __init__(
        self, make_sink: Callable[[], Sink[Any]], say: Callable[[dict[str, Any]], None]
    ) -> None:
        self._say = say
        self.sink = _Crashing(make_sink(), say)
        self.writer = SinkWriter(self.sink, OUTPUT, self._run_parts)
        self.parts: list[list[int]] = []
        self.attempts = 1
        self.begun: tuple[SinkBatch, set[int]] | None = None

    def getNumPartitions(self) -> int:
        return len(self.parts)

    def _run_parts(
        self, _rdd: Any, write: Callable[..., Any], partitions: Sequence[int]
    ) -> list[Any]:
        assert isinstance(write, WritePart), "the writer's own"
        return [self._write(write.batch, partition) for partition in partitions]

    def _write(self, batch: SinkBatch, partition: int) -> Any:
        rows = [{"number": n, "text": f"record {n}"} for n in self.parts[partition]]
        made: Any = None
        for _ in range(self.attempts):  # The last one's counts.
            # A copy, as tasks on other machines have it.
            copy = frames.loads_function(frames.dumps_function(self.sink.plain))
            sink = _Crashing(copy, self._say)
            sink.crash = self.sink.crash
            made = sink.write(batch, partition, Records([rows]))
        return made

    def obey(self, order: dict[str, Any]) -> None:
        self.parts = order["parts"]
        self.attempts = order.get("attempts", 1)
        self.sink.crash = order.get("crash")
        time_ms = order["time_ms"]
        match order["do"]:
            case "batch":
                self.writer.write(time_ms, self, None)
            case "begin":
                run = self.writer.run
                batch = SinkBatch(OUTPUT, time_ms, len(self.parts), run)
                self.begun = batch, set(self.sink.begin(batch))
            case "finish":
                assert self.begun is not None, "it has begun"
                self._finish(*self.begun)
            case other:
                msg = f"no such order: {other}"
                raise ValueError(msg)

    def _finish(self, batch: SinkBatch, there: set[int]) -> None:
        missing = [part for part in range(batch.partitions) if part not in there]
        written = {part: self._write(batch, part) for part in missing}
        self.sink.commit(batch, written)


def main() -> None:
    """Fork a writer for each connection that comes, until there are no more."""
    control = socket.socket(fileno=int(sys.argv[1]))
    path, pickled = frames.loads(sys.stdin.buffer.read())
    sys.path[:] = path
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    frames.loads_function(pickled)  # Imports what it needs, once for all writers.
    while True:
        asked, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not asked:
            return
        if os.fork() == 0:
            control.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _serve(socket.socket(fileno=descriptors[0]), pickled)
            os._exit(0)
        os.close(descriptors[0])


def _serve(connection: socket.socket, pickled: bytes) -> None:
    def say(reply: dict[str, Any]) -> None:
        connection.sendall(json.dumps(reply).encode() + b"\n")

    process = _Process(frames.loads_function(pickled), say)
    for line in connection.makefile("r"):
        reply: dict[str, Any] = {}
        try:
            process.obey(json.loads(line))
        except Exception as error:
            reply["error"] = f"{type(error).__name__}: {error}"
        say(reply)
    process.writer.close()
