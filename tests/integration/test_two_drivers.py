"""Two real drivers on one checkpoint directory: the newer one wins, and nothing is lost."""

import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from tests.integration.test_kills import LIMIT_S, PROGRAM, Source, check_words

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class HandedOver(Source):
    """A source that takes the newest connection; it listens to older ones on."""

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
            thread = threading.Thread(target=self._follow, args=[connection])
            thread.start()
            self._threads.append(thread)

    def _follow(self, connection: socket.socket) -> None:
        with connection, suppress(OSError), connection.makefile() as answers:
            self._listen(answers)
        with self._changed:
            if self._connection is connection:
                self._connection = None


class Driver:
    """A process of the program."""

    def __init__(self, directory: Path, port: int, name: str) -> None:
        self._errors = directory / f"errors-{name}"
        with self._errors.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, str(PROGRAM), "sink", str(directory), str(port)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert self._said() == "ready"

    def start(self) -> None:
        """Let it begin, and wait until it has."""
        assert self.process.stdin is not None, "it is a pipe"
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        assert self._said() == "started"

    def _said(self) -> str:
        assert self.process.stdout is not None, "it is a pipe"
        line = self.process.stdout.readline().strip()
        assert line, f"it ended: {self.process.wait(LIMIT_S)}\n{self.errors}"
        return line

    @property
    def errors(self) -> str:
        """What it has logged and raised."""
        return self._errors.read_text()

    def close(self) -> None:
        """Leave no process behind."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None, "they are pipes"
            with suppress(BrokenPipeError):
                pipe.close()


@contextmanager
def drivers(directory: Path, port: int) -> Iterator[Callable[[str], Driver]]:
    """Give what makes drivers; none of them outlives the block."""
    (directory / "in").mkdir()
    (directory / "out").mkdir()
    made: list[Driver] = []

    def make(name: str) -> Driver:
        made.append(Driver(directory, port, name))
        return made[-1]

    try:
        yield make
    finally:
        for each in made:
            each.close()


def check_records(directory: Path, source: Source) -> None:
    """Compare the table and all outputs with what was sent: each record counts once."""
    with closing(sqlite3.connect(directory / "records.db")) as database:
        rows = database.execute("select identity, word from records order by identity")
        assert rows.fetchall() == sorted(source.words.items())
    assert check_words(directory) == Counter(source.words.values())


@pytest.mark.parametrize("is_stopped", [True, False], ids=["stopped", "running"])
def test_the_newer_driver_wins_and_the_older_one_notices_and_ends(
    is_stopped: bool, tmp_path: Path
) -> None:
    """Whether it slept meanwhile or ran; it names the newer one, which is then killed.

    What the older one had accepted is in the newer one's results, and what it still does
    is in nobody's: each record is in the sink's table and in the state once.
    """
    rng = random.Random(os.environ.get("MILLSTREAM_SEED"))
    source = HandedOver(rng)
    try:
        with drivers(tmp_path, source.port) as make:
            older, newer, last = make("older"), make("newer"), make("last")
            older.start()
            source.put(20)
            assert source.wait_until_acknowledged()
            source.put(rng.randint(0, 20))
            with suppress(subprocess.TimeoutExpired):
                older.process.wait(rng.uniform(0.1, 0.5))  # The random moment.
            if is_stopped:
                older.process.send_signal(signal.SIGSTOP)
            source.put(20)
            newer.start()
            assert source.wait_until_acknowledged()
            source.put(20)
            assert source.wait_until_acknowledged()
            older.process.send_signal(signal.SIGCONT)

            assert older.process.wait(LIMIT_S) == 1
            (raised,) = [
                line for line in older.errors.splitlines() if "TakenOverError" in line
            ]
            assert f"'file:{tmp_path}/checkpoint' was taken over" in raised
            assert f"process {newer.process.pid} on {socket.gethostname()}" in raised

            source.put(10)
            assert source.wait_until_acknowledged()
            newer.process.kill()
            last.start()
            source.put(10)
            assert source.wait_until_acknowledged()
            last.process.terminate()
            assert last.process.wait(LIMIT_S) == 0
            assert not newer.errors
            assert not last.errors
    finally:
        source.close()

    check_records(tmp_path, source)
    owned = sorted(each.name for each in (tmp_path / "checkpoint").glob("driver-*"))
    assert owned == ["driver-3"]
