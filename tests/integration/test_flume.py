"""Flume streams with peers of other makings: nothing that was acknowledged is lost."""

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from tests.integration.killing import run_with_kills
from tests.integration.receiving import Errors, until
from tests.integration.servers.flume import (
    POLLING,
    PUSH,
    NobodyListensError,
    PushClient,
    Sink,
)
from tests.integration.servers.ports import free_port
from tests.integration.test_programs import lines_until

from millstream.streaming.flume import FlumeUtils
from millstream.testing import Collected, StreamHarness

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

PROGRAM = Path(__file__).parent / "programs" / "flume_program.py"
PEER = Path(__file__).parent / "servers" / "flume_peer.js"
AVSC = "avsc@5.7.9"
needs_node = pytest.mark.skipif(
    shutil.which("node") is None or shutil.which("npm") is None,
    reason="no node; apt-get install nodejs npm",
)


def bodies(directory: Path) -> list[str]:
    """Return all that the program has written down."""
    files = [each for each in directory.glob("batch-*") if each.suffix != ".part"]
    return [line for each in files for line in each.read_text().splitlines()]


def killed_while_it_works(arguments: list[str], progress: Callable[[], int]) -> None:
    """Run the program twice; kill it a little after it has got somewhere."""
    draw = random.Random(7)
    with Path(arguments[0], "program.log").open("ab") as log:
        for _ in range(2):
            before = progress()
            process = subprocess.Popen(
                [sys.executable, "-W", "ignore", str(PROGRAM), *arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            try:
                until(lambda before=before: progress() > before)  # type: ignore[misc]
                with suppress(subprocess.TimeoutExpired):
                    process.wait(draw.uniform(0.0, 0.8))  # The moment is the test.
            finally:
                process.kill()
                assert process.wait() == -signal.SIGKILL, "it ended by itself"


def test_polling_loses_nothing_when_the_driver_is_killed(tmp_path: Path) -> None:
    """Killed at any moment: each event comes at least once, and none stays in the sink."""
    expected: set[str] = set()
    with closing(Sink()) as sink:
        arguments = [str(tmp_path), "polling", str(sink.port)]
        ended = threading.Event()

        def put() -> None:
            while not ended.wait(0.02):
                new = [f"event {len(expected) + each}" for each in range(5)]
                expected.update(new)
                sink.put(each.encode() for each in new)

        putting = threading.Thread(target=put)
        putting.start()
        try:
            killed_while_it_works(arguments, lambda: sink.heard["ack"])
        finally:
            ended.set()
            putting.join(10)
        run_with_kills(
            PROGRAM,
            arguments,
            lambda: sink.is_empty and set(bodies(tmp_path)) >= expected,
            kills=0,
        )

        assert set(bodies(tmp_path)) == expected


def records_of(out: Collected) -> list[Any]:
    """Return all records that came out."""
    return [record for batch in out.records for record in batch]


class Agent:
    """Pushes batch after batch, each until it is answered with OK."""

    def __init__(self, port: int, text: str = "event {}") -> None:
        self.answered: set[str] = set()
        self._port = port
        self._text = text
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._is_over.is_set():
            # A kill breaks the connection, or leaves nobody to connect to.
            with suppress(OSError, EOFError, NobodyListensError):
                self._push()
            self._is_over.wait(0.02)

    def _push(self) -> None:
        """Push until the end; an error leaves the batch that wasn't answered."""
        with closing(PushClient(self._port, wait_s=0)) as client:
            while not self._is_over.is_set():
                first = len(self.answered)
                batch = [self._text.format(first + each) for each in range(5)]
                if client.append_batch([({}, each.encode()) for each in batch]) == "OK":
                    self.answered.update(batch)
                self._is_over.wait(0.02)

    def stop(self) -> None:
        """Push no more."""
        self._is_over.set()
        self._thread.join(20)


def test_a_pushed_batch_that_was_answered_is_not_lost(tmp_path: Path) -> None:
    """With the write-ahead log on: OK means that it is in it, wherever the kill comes."""
    port = free_port()
    arguments = [str(tmp_path), "push", str(port)]
    agent = Agent(port)
    try:
        killed_while_it_works(arguments, lambda: len(agent.answered))
    finally:
        agent.stop()
    answered = set(agent.answered)
    run_with_kills(
        PROGRAM, arguments, lambda: set(bodies(tmp_path)) >= answered, kills=0
    )

    assert len(answered) >= 10


def test_a_sink_that_goes_away_is_found_again() -> None:
    """Listeners hear where it was; what it has when it is back comes."""
    sink = Sink()
    with StreamHarness() as h:
        errors = Errors()
        h.ssc.addStreamingListener(errors)
        addresses = [("127.0.0.1", sink.port)]
        events = FlumeUtils.createPollingStream(h.ssc, addresses, parallelism=1)
        out = h.collect(events)
        sink.put([b"before"])
        h.ssc.start()
        until(lambda: records_of(out), h.run)
        sink.close()
        until(lambda: errors.messages, h.run)
        with closing(Sink(port=sink.port)) as back:
            back.put([b"after"])
            until(lambda: len(records_of(out)) == 2, h.run)

    assert records_of(out) == [({"at": "6"}, "before"), ({"at": "5"}, "after")]
    assert f"127.0.0.1:{sink.port}" in errors.messages[0]


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install avsc for this run."""
    folder = tmp_path_factory.mktemp("node")
    command = ["npm", "install", AVSC, "--prefix", str(folder), "--no-audit"]
    subprocess.run([*command, "--no-fund", "--silent"], check=True, timeout=60)
    return folder / "node_modules"


@contextmanager
def peer(modules: Path, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """Run avsc's side; it is stopped afterwards."""
    process = subprocess.Popen(
        ["node", str(PEER), *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "NODE_PATH": str(modules)},
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(10)
        assert process.stdout is not None, "it is a pipe"
        process.stdout.close()


@needs_node
def test_avsc_pushes(modules: Path) -> None:
    """Another implementation's client: its handshake, its frames, its events."""
    port = free_port()
    with StreamHarness() as h:
        out = h.collect(FlumeUtils.createStream(h.ssc, "127.0.0.1", port))
        h.ssc.start()
        PushClient(port).close()  # It listens.
        with peer(modules, "push", PUSH, str(port), "3", "50") as process:
            assert process.stdout is not None, "it is a pipe"
            assert process.stdout.read().split() == ["OK"] * 4
        h.run(2)

    records = records_of(out)
    expected = [f"event {number} é" for number in [*range(150), "last"]]
    assert [body for _, body in records] == expected
    assert records[149][0] == {"batch": "2", "hé": ""}


@needs_node
def test_avsc_is_polled(modules: Path) -> None:
    """Another implementation's server: batches come, and are acknowledged."""
    with peer(modules, "sink", POLLING, "120") as process, StreamHarness() as h:
        assert process.stdout is not None, "it is a pipe"
        addresses = [("127.0.0.1", int(process.stdout.readline()))]
        events = FlumeUtils.createPollingStream(
            h.ssc, addresses, maxBatchSize=50, parallelism=2
        )
        out = h.collect(events)
        h.ssc.start()
        acknowledged = {process.stdout.readline().strip() for _ in range(3)}
        h.run()

    assert acknowledged == {f"acknowledged sequence {n}" for n in (1, 2, 3)}
    found = {body for _, body in records_of(out)}
    assert found == {f"event {number} é" for number in range(120)}


def test_the_push_example(tmp_path: Path) -> None:
    """Counts words of what is pushed."""
    port = free_port()
    agent = Agent(port, "hello flume")
    try:
        lines_until(
            ["('hello', ", "('flume', "], "flume_wordcount.py", "127.0.0.1", str(port)
        )
    finally:
        agent.stop()


def test_the_polling_example(tmp_path: Path) -> None:
    """Counts words of what it fetches from two agents."""
    with closing(Sink()) as sink, closing(Sink()) as other:
        sink.put([b"hello agent"])
        other.put([b"hello other"])
        addresses = [f"127.0.0.1:{each.port}" for each in (sink, other)]
        lines_until(
            ["('agent', 1)", "('other', 1)"],
            "flume_polling.py",
            str(tmp_path / "checkpoint"),
            *addresses,
        )
        sink.wait_until(lambda: sink.heard["ack"] == 1)
