"""Certify: finds out what a sink promises, by crashing at every step of its protocol.

Each writer is a process of its own, which ends at the chosen step as a killed one does,
without cleaning up. Another one then goes on as a restarted program would. What a reader
sees in the end says whether every record is there, and how often.
"""

import json
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from millstream.engine.base import frames
from millstream.engine.sinks.contract import Sink
from millstream.testing.certified_writer import (
    Crash,
    Moment,
    Step,
    steps_of,
)

_FIRST_MS = 1_700_000_000_000
_BATCH_MS = 1_000
_REPLY_S = 60.0
_RECORDS = 6
_PARTITIONS = 2


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of one scenario."""

    scenario: str
    lost: int
    """Records that no reader sees."""
    doubled: int
    """Records that a reader sees more than once."""
    strange: int
    """Records that no program should have written: of a writer that was replaced."""
    note: str = ""

    @property
    def is_good(self) -> bool:
        """Whether each record is there once."""
        return not (self.lost or self.doubled or self.strange)


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a sink promises, and the evidence."""

    sink: str
    findings: tuple[Finding, ...]

    @property
    def guarantee(self) -> str:
        """What it promises: "exactly once", "at least once", or "loses records"."""
        if any(each.lost for each in self.findings):
            return "loses records"
        if all(each.is_good for each in self.findings):
            return "exactly once"
        return "at least once"

    def __str__(self) -> str:
        """Return the evidence as a table."""
        wide = max(len(each.scenario) for each in self.findings)
        lines = [f"{self.sink}: {self.guarantee}"]
        for each in self.findings:
            found = [
                f"{count} {word}"
                for count, word in (
                    (each.lost, "lost"),
                    (each.doubled, "twice"),
                    (each.strange, "of a stale writer"),
                )
                if count
            ]
            told = ", ".join(found) or "each record once"
            note = f"  ({each.note})" if each.note else ""
            lines.append(f"  {each.scenario:<{wide}}  {told}{note}")
        return "\n".join(lines)


def certify_sink(
    make_sink: Callable[[], Sink[Any]], read_back: Callable[[], Iterable[int]]
) -> Certificate:
    """Return what a sink promises.

    `make_sink()` returns a new sink, always on the same target, which must be empty at the
    beginning; it is called in other processes. Records are dicts, `{"number": int, "text":
    str}`. `read_back()` returns the numbers of the records that a reader of the target
    sees, each as often as it is there; it is called here. It takes some seconds, and
    needs Linux or macOS.

    Raises:
        AssertionError: A writer couldn't do its work though nothing was wrong; says why.
    """
    kit = _Kit(make_sink, read_back)
    kit.run_all()
    return Certificate(make_sink().identity, tuple(kit.findings))


@dataclass(slots=True)
class _Kit:
    make_sink: Callable[[], Sink[Any]]
    read_back: Callable[[], Iterable[int]]
    findings: list[Finding] = field(default_factory=list)
    expected: list[int] = field(default_factory=list)
    next_number: int = 0
    next_ms: int = _FIRST_MS
    seen: Counter[int] = field(default_factory=Counter)
    writers: "list[_Writer]" = field(default_factory=list)
    nursery: "_Nursery" = field(init=False)

    def run_all(self) -> None:
        self.nursery = _Nursery(self.make_sink)
        try:
            self._scenario("batches one after the other", self._plain)
            for crash in _crashes():
                self._scenario(f"a crash {crash}", partial(self._crash, crash))
            self._scenario("a restart, and all batches again", self._again)
            self._scenario("a second attempt of each task", self._twice)
            self._scenario("batches without records", self._empty)
            self._scenario("a writer that was replaced wakes up", self._zombie)
            self._scenario("a writer is replaced between its steps", self._inside)
        finally:
            for writer in self.writers:
                writer.end()
            self.nursery.end()

    def _scenario(self, name: str, run: Callable[[], str | None]) -> None:
        note = run() or ""
        found = Counter(self.read_back())
        known = set(self.expected)
        lost = sum(1 for number in known if not found[number])
        doubled = sum(1 for n in known if found[n] > max(1, self.seen[n]))
        strange = sum(
            count - self.seen[n]
            for n, count in found.items()
            if n not in known and count > self.seen[n]
        )
        self.findings.append(Finding(name, lost, doubled, strange, note))
        # What was found out once isn't told again.
        self.expected = [n for n in self.expected if found[n]]
        self.seen = found

    def _batch(self) -> dict[str, Any]:
        parts: list[list[int]] = []
        for _ in range(_PARTITIONS):
            numbers = range(self.next_number, self.next_number + _RECORDS)
            parts.append(list(numbers))
            self.next_number += _RECORDS
        self.next_ms += _BATCH_MS
        return {"do": "batch", "time_ms": self.next_ms, "parts": parts}

    def _expect(self, batch: dict[str, Any]) -> None:
        self.expected += [n for part in batch["parts"] for n in part]

    def _new(self) -> "_Writer":
        """Return a new process; those before it are as good as dead."""
        writer = _Writer(self.nursery.new())
        self.writers.append(writer)
        return writer

    def _current(self) -> "_Writer":
        """Return the newest process, or a new one if it has crashed."""
        is_there = self.writers and not self.writers[-1].has_crashed
        return self.writers[-1] if is_there else self._new()

    def _plain(self) -> None:
        for _ in range(3):
            batch = self._batch()
            self._expect(batch)
            self._current().must(batch)

    def _crash(self, crash: Crash) -> str:
        first, second = self._batch(), self._batch()
        self._expect(first)
        self._expect(second)
        if crash.step is Step.OPEN:
            crashed = self._new().crashes({**first, "crash": crash.as_data()})
        else:
            self._current().must(first)
            crashed = self._current().crashes({**second, "crash": crash.as_data()})
        self._current().must(first)
        self._current().must(second)
        return "" if crashed else "the step never came"

    def _again(self) -> None:
        batches = [self._batch() for _ in range(2)]
        for each in batches:
            self._expect(each)
            self._current().must(each)
        self._new()
        for each in batches:
            self._current().must(each)

    def _twice(self) -> None:
        batch = self._batch()
        self._expect(batch)
        self._current().must({**batch, "attempts": 2})

    def _empty(self) -> None:
        batch, nothing = self._batch(), self._batch()
        batch["parts"] = [[], batch["parts"][1]]
        nothing["parts"] = [[], []]
        self._expect(batch)
        self._current().must(batch)
        self._current().must(nothing)

    def _zombie(self) -> str:
        first, second, third = self._batch(), self._batch(), self._batch()
        old = self._current()
        old.must(first)
        self._expect(first)
        new = self._new()
        new.must(first)
        new.must(second)
        self._expect(second)
        # The old one has planned other records for it, and for later ones.
        refused = old.tries({**second, "parts": self._batch()["parts"]})
        refused_later = old.tries({**third, "parts": self._batch()["parts"]})
        new.must(third)
        self._expect(third)
        return "" if refused and refused_later else "it wasn't refused"

    def _inside(self) -> str:
        first, second = self._batch(), self._batch()
        old = self._current()
        old.must(first)
        self._expect(first)
        other = {**second, "parts": self._batch()["parts"]}
        old.must({**other, "do": "begin"})
        new = self._new()
        new.must(second)
        self._expect(second)
        refused = old.tries({**other, "do": "finish"})
        return "" if refused else "it wasn't refused"


class _Nursery:
    """A process that has everything imported, and forks writers: it takes milliseconds."""

    def __init__(self, make_sink: Callable[[], Sink[Any]]) -> None:
        self._control, theirs = socket.socketpair()
        with theirs:
            code = "from millstream.testing.certified_writer import main; main()"
            self._process = subprocess.Popen(  # noqa: S603  This program.
                [sys.executable, "-c", code, str(theirs.fileno())],
                stdin=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
            )
        pipe = self._process.stdin
        assert pipe is not None, "it was asked for"
        with pipe:
            pipe.write(frames.dumps((sys.path, frames.dumps_function(make_sink))))

    def new(self) -> socket.socket:
        """Return the connection to a new writer."""
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._control, [b"."], [theirs.fileno()])
        return ours

    def end(self) -> None:
        self._control.close()
        try:
            self._process.wait(_REPLY_S)
        finally:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()


class _Writer:
    """A process that writes as it is told."""

    def __init__(self, connection: socket.socket) -> None:
        self.has_crashed = False
        connection.settimeout(_REPLY_S)
        self._connection = connection
        self._lines = connection.makefile("r")

    def must(self, order: dict[str, Any]) -> None:
        reply = self._ask(order)
        assert reply == {}, f"a writer failed though nothing was wrong: {reply}"

    def tries(self, order: dict[str, Any]) -> bool:
        """Say whether a writer failed."""
        return "error" in self._ask(order)

    def crashes(self, order: dict[str, Any]) -> bool:
        """Say whether it came to the step where it was to crash."""
        reply = self._ask(order)
        self.has_crashed = "crashes" in reply
        assert "error" not in reply, f"a writer failed before it crashed: {reply}"
        return self.has_crashed

    def end(self) -> None:
        self._lines.close()
        self._connection.close()

    def _ask(self, order: dict[str, Any]) -> dict[str, Any]:
        self._connection.sendall(json.dumps(order).encode() + b"\n")
        line = self._lines.readline()
        assert line, "a writer ended by itself: the sink ends its process"
        reply: dict[str, Any] = json.loads(line)
        return reply


def _crashes() -> Sequence[Crash]:
    return [
        Crash(step, partition, moment)
        for step, partition in steps_of(_PARTITIONS)
        for moment in Moment
        if moment is not Moment.INSIDE or step is Step.WRITE
    ]
