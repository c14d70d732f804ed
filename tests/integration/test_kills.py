"""Real drivers, killed at random moments: nothing is lost, nothing counts twice."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PROGRAM = Path(__file__).with_name("killed_program.py")
BATCH_MS = 100
WORDS = ["to", "be", "or", "not", "that", "is", "the", "question"]
LIMIT_S = 150.0
KILLS = int(os.environ.get("MILLSTREAM_KILLS", "20"))
"""In all; a longer run finds rarer moments."""


class Lives:
    """A driver, life after life. The next one gets ready while the last one runs."""

    def __init__(self, kind: str, directory: Path, *arguments: str) -> None:
        self._command = [sys.executable, str(PROGRAM), kind, str(directory), *arguments]
        self._directory = directory
        self._count = 0
        self.driver, self._next = self._spawn(), self._spawn()

    def _spawn(self) -> subprocess.Popen[str]:
        self._count += 1
        with self._errors_of(self._count).open("w") as errors:
            return subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def _errors_of(self, life: int) -> Path:
        return self._directory / f"errors-{life}"

    def begin(self) -> None:
        """Let the driver that is ready go."""
        _close(self.driver)
        self.driver, self._next = self._next, self._spawn()
        assert self.said() == "ready"
        assert self.driver.stdin is not None, "it is a pipe"
        self.driver.stdin.write("go\n")
        self.driver.stdin.flush()

    def said(self) -> str:
        """Return the next line that the driver says; waits for it."""
        assert self.driver.stdout is not None, "it is a pipe"
        line = self.driver.stdout.readline().strip()
        assert line, f"the driver has ended: {self.driver.wait(LIMIT_S)}\n{self.errors}"
        return line

    @property
    def errors(self) -> str:
        """What the driver of this life has logged as an error."""
        return self._errors_of(self._count - 1).read_text()

    def end(self, rng: random.Random) -> None:
        """Kill the driver: at once mostly, else while it stops because it was asked to."""
        allowed = {-signal.SIGKILL}
        if rng.random() < 0.15:
            self.driver.terminate()
            # Asked to before it listens, it just ends; else it may even be done in time.
            allowed |= {-signal.SIGTERM, 0}
            with suppress(subprocess.TimeoutExpired):
                self.driver.wait(rng.uniform(0, 0.2))
        self.driver.kill()
        code = self.driver.wait(LIMIT_S)

        assert code in allowed, f"the driver ended by itself: {code}\n{self.errors}"
        assert not self.errors

    def run_for(self, seconds: float) -> None:
        """Let the driver run for so long: the random moment is the test."""
        with suppress(subprocess.TimeoutExpired):
            self.driver.wait(seconds)

    def stop(self) -> None:
        """Ask the driver to stop, and wait until everything is done."""
        self.driver.terminate()
        code = self.driver.wait(LIMIT_S)

        assert code == 0, f"the driver didn't stop in order: {code}\n{self.errors}"
        assert not self.errors

    def close(self) -> None:
        """Leave no process behind."""
        _close(self.driver)
        _close(self._next)


def _close(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None, "they are pipes"
        with suppress(BrokenPipeError):
            pipe.close()


@contextmanager
def lives(kind: str, directory: Path, *arguments: str) -> Iterator[Lives]:
    """Return the lives of a driver, none of which outlives the test."""
    (directory / "in").mkdir()
    (directory / "out").mkdir()
    made = Lives(kind, directory, *arguments)
    try:
        yield made
    finally:
        made.close()


class Source:
    """Sends records to whoever connects, again and again until they are acknowledged."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._changed = threading.Condition()
        self._server = socket.create_server(("127.0.0.1", 0))
        self._connection: socket.socket | None = None
        self._unsent: list[int] = []
        self._is_closed = False
        self.port: int = self._server.getsockname()[1]
        self.words: dict[int, str] = {}
        self.times_sent: Counter[int] = Counter()
        self.acknowledged: set[int] = set()
        self._threads = [
            threading.Thread(target=self._accept, daemon=True),
            threading.Thread(target=self._send, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def put(self, count: int) -> None:
        """Have so many new records."""
        with self._changed:
            new = range(len(self.words), len(self.words) + count)
            self.words.update((identity, self._rng.choice(WORDS)) for identity in new)
            self._unsent += new
            self._changed.notify_all()

    def wait_until_acknowledged(self) -> bool:
        """Return when all records are, or False after a long time."""
        with self._changed:
            return self._changed.wait_for(
                lambda: len(self.acknowledged) == len(self.words), LIMIT_S
            )

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            with self._changed:
                if self._is_closed:
                    connection.close()
                    return
                self._connection = connection
                self._unsent = sorted(set(self.words) - self.acknowledged)
                self._changed.notify_all()
            with connection, suppress(OSError), connection.makefile() as answers:
                self._listen(answers)
            with self._changed:
                self._connection = None

    def _listen(self, answers: IO[str]) -> None:
        for line in answers:
            if not line.endswith("\n"):
                return  # Killed while it said so.
            with self._changed:
                self.acknowledged.update(json.loads(line))
                self._changed.notify_all()

    def _send(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: (self._connection and self._unsent) or self._is_closed
                )
                connection = self._connection
                if self._is_closed or connection is None:
                    return
                block = self._unsent[: self._rng.randint(1, 8)]
                del self._unsent[: len(block)]
                self.times_sent.update(block)
                records = [[identity, self.words[identity]] for identity in block]
            with suppress(OSError):  # It was killed; the next one gets them.
                connection.sendall(json.dumps(records).encode() + b"\n")

    def close(self) -> None:
        """End, with all threads."""
        with self._changed:
            self._is_closed = True
            connection = self._connection
            self._changed.notify_all()
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        if connection is not None:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(LIMIT_S)


@pytest.fixture
def rng() -> random.Random:
    """Return randomness; its seed is printed when the test fails."""
    seed = int(os.environ.get("MILLSTREAM_SEED", random.SystemRandom().getrandbits(32)))
    print(f"MILLSTREAM_SEED={seed}")
    return random.Random(seed)


def outputs(directory: Path, name: str) -> dict[int, Any]:
    """Return what each batch put out under a name, by time."""
    return {
        int(file.name.rpartition("-")[2]): json.loads(file.read_text())
        for file in sorted((directory / "out").glob(f"{name}-*"))
    }


def check_words(directory: Path) -> Counter[str]:
    """Compare each batch's outputs with what its words say; return the last totals."""
    words = outputs(directory, "words")
    totals = outputs(directory, "totals")
    numbers = outputs(directory, "numbers")

    assert list(words) == list(range(min(words), max(words) + 1, BATCH_MS))
    assert list(totals) == list(numbers) == list(words)
    known: Counter[str] = Counter()
    for time, batch in words.items():
        new = Counter(batch)
        expected = [
            [word, known[word] + n + 1] for word in new for n in range(new[word])
        ]
        known += new
        assert sorted(numbers[time]) == sorted(expected), time
        assert sorted(totals[time]) == sorted(map(list, known.items())), time
    return known


def put_file(directory: Path, name: str, words: list[str]) -> None:
    """Move a complete file into what the stream watches."""
    scratch = directory / name
    scratch.write_text("".join(f"{word}\n" for word in words))
    scratch.rename(directory / "in" / name)


def test_files_are_counted_exactly_once_whenever_the_driver_is_killed(
    tmp_path: Path, rng: random.Random
) -> None:
    """Every batch's output and both kinds of state are as if nothing had happened."""
    put: Counter[str] = Counter()
    with lives("files", tmp_path) as driver:
        driver.begin()
        assert driver.said() == "started"  # Files count from here on.
        for kill in range(KILLS // 2):
            for number in range(rng.randint(0, 3)):
                words = rng.choices(WORDS, k=rng.randint(1, 6))
                put_file(tmp_path, f"file-{kill}-{number}", words)
                put.update(words)
            driver.run_for(rng.uniform(0.02, 0.4))
            driver.end(rng)
            driver.begin()
        assert driver.said() == "started"
        put_file(tmp_path, "last", ["last"])
        driver.stop()

        assert check_words(tmp_path) == put + Counter(["last"])


def test_acknowledged_records_are_counted_exactly_once_whenever_the_driver_is_killed(
    tmp_path: Path, rng: random.Random
) -> None:
    """None is lost, none invented; one is met again only if the source sent it again."""
    source = Source(rng)
    try:
        with lives("receiver", tmp_path, str(source.port)) as driver:
            driver.begin()
            for _ in range(KILLS // 2):
                source.put(rng.randint(0, 20))
                driver.run_for(rng.uniform(0.02, 0.4))
                driver.end(rng)
                driver.begin()
            assert driver.said() == "started"
            source.put(1)
            assert source.wait_until_acknowledged()
            driver.stop()
    finally:
        source.close()

    assert check_words(tmp_path) == Counter(source.words.values())
    met: Counter[int] = Counter()
    records = outputs(tmp_path, "records")
    for time, batch in outputs(tmp_path, "met").items():
        identities = [identity for identity, _ in records[time]]
        met.update(identities)
        assert sorted(i for i, _, _ in batch) == sorted(identities), time
        assert all(source.words[i] == word for i, word in records[time]), time
    assert met.keys() == source.words.keys()
    assert not met - source.times_sent


@contextmanager
def stopping(directory: Path) -> Iterator[Lives]:
    """Return a driver that was asked to stop while a batch's output is at work."""
    os.mkfifo(directory / "gate")
    with lives("slow", directory) as driver:
        driver.begin()
        assert driver.said() == "started"
        put_file(directory, "first", ["to", "be"])
        assert driver.said() == "working"
        put_file(directory, "second", ["or"])
        driver.driver.terminate()
        assert driver.said() == "stopping"
        yield driver


def test_a_graceful_stop_ends_the_work_that_was_begun(tmp_path: Path) -> None:
    """SIGTERM: what was there is processed and committed, then the driver exits with 0."""
    with stopping(tmp_path) as driver:
        (tmp_path / "gate").write_bytes(b"open")
        assert driver.said() == "working"  # On the file that came meanwhile.
        (tmp_path / "gate").write_bytes(b"open")
        assert driver.driver.wait(LIMIT_S) == 0
        assert not driver.errors

        assert check_words(tmp_path) == {"to": 1, "be": 1, "or": 1}


def test_a_second_signal_stops_at_once(tmp_path: Path) -> None:
    """The batch isn't waited for; it runs again when the driver comes back."""
    with stopping(tmp_path) as driver:
        driver.driver.terminate()
        assert driver.driver.wait(LIMIT_S) == -signal.SIGTERM
        assert not any(outputs(tmp_path, "totals").values())
        driver.begin()
        # What runs again may begin before `start` returns.
        assert {driver.said(), driver.said()} == {"started", "working"}
        (tmp_path / "gate").write_bytes(b"open")
        assert driver.said() == "working"
        (tmp_path / "gate").write_bytes(b"open")
        driver.stop()

        assert check_words(tmp_path) == {"to": 1, "be": 1, "or": 1}
