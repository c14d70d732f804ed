"""Stories of the end: what was taken is processed, in bounded time, however it is asked for."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from millstream.engine.base.errors import SparkError
from millstream.engine.base.levels import StorageLevel
from millstream.engine.streams import scheduler
from millstream.streaming.receiver import Receiver
from millstream.testing import StreamHarness

LIMIT_S = 60.0

PROGRAM = """
import socket, sys, threading, time
from contextlib import suppress
from pathlib import Path
from millstream import SparkConf, SparkContext, StorageLevel
from millstream.streaming import StreamingContext
from millstream.streaming.receiver import Receiver

class Acknowledging(Receiver):
    def onStart(self):
        self.connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
        threading.Thread(target=self.run, daemon=True).start()

    def onStop(self):
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def run(self):
        with self.connection, suppress(OSError), self.connection.makefile() as lines:
            for line in lines:
                self.store([line.strip()])
                self.connection.sendall(b"stored\\n")

def output(rdd):
    for record in rdd.collect():
        if record == "wait":
            print("working", flush=True)
            Path(sys.argv[2]).read_bytes()  # A pipe: waits until somebody opens it.
        print("got", record, "open" if is_open else "closed", flush=True)

conf = SparkConf().setMaster("local[2]").setAppName("stopping")
for each in sys.argv[4:]:
    conf.set(*each.split("="))
sc = SparkContext(conf=conf)
ssc = StreamingContext(sc, 0.3)
ssc.receiverStream(Acknowledging(StorageLevel.MEMORY_ONLY)).foreachRDD(output)
ssc.start()
is_open = True  # Something that outputs need, a connection to a database.
try:
    match sys.argv[3]:
        case "waits":
            ssc.awaitTermination()
        case "polls":
            while not ssc.awaitTerminationOrTimeout(0.05):
                pass
        case "sleeps":
            time.sleep(60)
        case "sleeps within":
            with sc:
                time.sleep(60)
finally:
    is_open = sys.argv[3].startswith("sleeps")
    print("over", flush=True)
    ssc.stop()
"""


class Running:
    """A program that runs, and the server that it receives from."""

    def __init__(
        self, process: subprocess.Popen[str], connection: socket.socket
    ) -> None:
        self.process = process
        self._connection = connection
        self._replies = connection.makefile()
        self.lines: list[str] = []

    def send(self, record: str) -> None:
        """Send a record; return when the program has said that it is stored."""
        self._connection.sendall(f"{record}\n".encode())
        assert self._replies.readline() == "stored\n"

    def said(self) -> str:
        """Return the next line of the program's output."""
        assert self.process.stdout is not None
        self.lines.append(self.process.stdout.readline().strip())
        return self.lines[-1]

    def ends(self) -> int:
        """Read the rest of what it says, and return its exit code."""
        assert self.process.stdout is not None
        self.lines += self.process.stdout.read().splitlines()
        code = self.process.wait(LIMIT_S)
        assert self.process.stderr is not None
        self.errors = self.process.stderr.read()
        return code

    def close(self) -> None:
        """Leave nothing behind."""
        self.process.kill()
        self.process.wait()
        self._replies.close()
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()


@contextmanager
def running(
    folder: Path, how: str = "waits", *conf: str, runner: str = "python"
) -> Iterator[Running]:
    """Run the program, by `python` or by `millstream run`."""
    path, gate = folder / "app.py", folder / "gate"
    path.write_text(PROGRAM, encoding="utf-8")
    os.mkfifo(gate)
    launch = {"python": [], "millstream": ["-m", "millstream", "run"]}[runner]
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(LIMIT_S)
        port = str(server.getsockname()[1])
        process = subprocess.Popen(
            [sys.executable, *launch, str(path), port, str(gate), how, *conf],
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        connection, _ = server.accept()
    connection.settimeout(LIMIT_S)
    with connection:
        program = Running(process, connection)
        try:
            yield program
        finally:
            program.close()


def got(lines: list[str]) -> list[str]:
    """Return the records that outputs had, in order."""
    return [line.split()[1] for line in lines if line.startswith("got ")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "runner"),
    [
        ("waits", "python"),
        ("waits", "millstream"),
        ("polls", "python"),
        ("sleeps", "millstream"),
        ("sleeps within", "python"),
    ],
)
def test_sigterm_processes_what_was_acknowledged_and_exits_with_0(
    tmp_path: Path, how: str, runner: str
) -> None:
    """By default; also when the program's own `finally` stops the context at once."""
    with running(tmp_path, how, runner=runner) as program:
        program.send("one")
        assert program.said() == "got one open"
        for record in ("two", "three", "four"):
            program.send(record)
        program.process.terminate()

        assert program.ends() == 0
        assert program.errors == ""
        assert got(program.lines) == ["one", "two", "three", "four"]


@pytest.mark.slow
def test_a_program_that_awaits_is_stopped_before_it_unwinds(tmp_path: Path) -> None:
    """What its outputs need is still open when the last batches run."""
    with running(tmp_path) as program:
        program.send("first")
        assert program.said() == "got first open"
        program.send("last")
        program.process.terminate()
        program.ends()

        assert program.lines == ["got first open", "got last open", "over"]


@pytest.mark.slow
def test_an_immediate_stop_by_conf_as_in_spark(tmp_path: Path) -> None:
    """With false SIGTERM waits for nothing, and says by its code that it was told to."""
    conf = "spark.streaming.stopGracefullyOnShutdown=false"
    with running(tmp_path, "waits", conf) as program:
        program.send("wait")
        assert program.said() == "working"
        program.process.terminate()

        assert program.ends() == 128 + signal.SIGTERM
        assert got(program.lines) == []


@pytest.mark.slow
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_is_immediate(tmp_path: Path, second: int) -> None:
    """Whichever it is; the work that was waited for is left."""
    with running(tmp_path) as program:
        program.send("wait")
        assert program.said() == "working"
        program.process.terminate()
        # The receiver's end is the first that a stop does: by then the signal was seen.
        assert program._replies.readline() == ""
        program.process.send_signal(second)

        assert program.ends() == -second
        assert program.lines == ["working"]


@pytest.mark.slow
def test_ctrl_c_is_immediate(tmp_path: Path) -> None:
    """As it always was: KeyboardInterrupt, no traceback, nothing is waited for."""
    with running(tmp_path, runner="millstream") as program:
        program.send("wait")
        assert program.said() == "working"
        program.process.send_signal(signal.SIGINT)

        assert program.ends() == 130
        assert "Traceback" not in program.errors
        assert got(program.lines) == []


@pytest.mark.slow
def test_an_output_that_hangs_is_waited_for_within_the_limit(tmp_path: Path) -> None:
    """Then the stop is an immediate one; the log says what to raise."""
    conf = "spark.streaming.gracefulStopTimeout=300ms"
    with running(tmp_path, "waits", conf) as program:
        program.send("wait")
        assert program.said() == "working"
        program.process.terminate()

        assert program.ends() == 0
        assert program.lines == ["working", "over"]
        assert "raise spark.streaming.gracefulStopTimeout" in program.errors


# In this process, on a clock in the test's hand.


class Gates:
    """What receivers, which are copies, share with the test."""

    up = threading.Event()
    may_stop = threading.Event()
    tap: "Stubborn | None" = None


class Stubborn(Receiver[Any]):
    """Its onStop doesn't return."""

    def onStart(self) -> None:
        """Let the test find it."""
        Gates.tap = self
        Gates.up.set()

    def onStop(self) -> None:
        """Wait."""
        assert Gates.may_stop.wait(LIMIT_S)


@pytest.fixture
def _gates() -> Iterator[None]:
    Gates.up.clear()
    Gates.may_stop.clear()
    yield
    Gates.may_stop.set()


@contextmanager
def ticking(h: StreamHarness) -> Iterator[None]:
    """Let time pass by itself, as it does outside of tests."""
    ended = threading.Event()

    def tick() -> None:
        while not ended.wait(0.002):
            h.clock.advance_ms(100)

    thread = threading.Thread(target=tick, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(LIMIT_S)


@pytest.mark.slow
@pytest.mark.usefixtures("_gates")
def test_an_onStop_that_hangs_is_left_to_itself(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """After the limit; what its receiver had handed over is processed, the rest refused."""
    monkeypatch.setattr(scheduler, "_RECEIVERS_S", 0.1)
    conf = {"spark.streaming.gracefulStopTimeout": "3s"}
    with StreamHarness(conf=conf) as h:
        out = h.collect(h.ssc.receiverStream(Stubborn(StorageLevel.MEMORY_ONLY)))
        h._start()
        assert Gates.up.wait(LIMIT_S)
        assert Gates.tap is not None
        Gates.tap.store("single")
        Gates.tap.store(["block"])
        with ticking(h):
            h.ssc.stop(stopSparkContext=False, stopGraceFully=True)
        with pytest.raises(SparkError, match="already shut down"):
            Gates.tap.store(["late"])
        with pytest.raises(SparkError, match="has been stopped"):
            Gates.tap.store("late")
        Gates.may_stop.set()

    assert sorted(r for batch in out.records for r in batch) == ["block", "single"]
    assert "its onStop hangs" in caplog.text
    assert "time ran out" not in caplog.text


class Talkative(Stubborn):
    """Stores from a thread until it can't; knows what was taken."""

    taken: int = 0
    has_begun = threading.Event()

    def onStart(self) -> None:
        """Begin."""
        super().onStart()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def onStop(self) -> None:
        """Wait for the thread, as a tidy receiver does."""
        self.thread.join(LIMIT_S)

    def _run(self) -> None:
        while not self.isStopped():
            try:
                self.store([Talkative.taken])
            except SparkError:
                return
            Talkative.taken += 1
            Talkative.has_begun.set()
            # Each is a block, and a partition: some thousands a batch would take minutes.
            threading.Event().wait(0.001)


@pytest.mark.slow
@pytest.mark.usefixtures("_gates")
def test_nothing_is_acknowledged_that_the_stop_does_not_process() -> None:
    """The receiver stores all the while: each block is in a batch, or was refused."""
    Talkative.taken = 0
    Talkative.has_begun.clear()
    with StreamHarness() as h:
        out = h.collect(h.ssc.receiverStream(Talkative(StorageLevel.MEMORY_ONLY)))
        h._start()
        assert Talkative.has_begun.wait(LIMIT_S)
        h.run(3)
        with ticking(h):
            h.ssc.stop(stopSparkContext=False, stopGraceFully=True)

    assert Talkative.taken > 0
    records = [record for batch in out.records for record in batch]
    assert records == list(range(Talkative.taken))


# A graceful stop that somebody can't wait for.


class Hanging:
    """An output that hangs at its first record, in the test's process, until it is told."""

    entered = threading.Event()
    goes_on = threading.Event()


def hang(value: int) -> int:
    """Wait in steps, between which a cancelled task is ended."""
    Hanging.entered.set()
    for _ in range(int(LIMIT_S / 0.01)):
        if Hanging.goes_on.wait(0.01):
            break
    return value


@pytest.fixture
def _hanging() -> Iterator[None]:
    Hanging.entered.clear()
    Hanging.goes_on.clear()
    yield
    Hanging.goes_on.set()


def count_and_hang(h: StreamHarness) -> None:
    """Keep sums in state, and put each out by a job that hangs; another output is quick."""
    stream = h.stream([[1], [2], [3], [4]])
    h.collect(stream, "quick")
    sums = stream.map(lambda value: ("sum", value)).updateStateByKey(
        lambda new, old: sum(new) + (old or 0)
    )
    h.collect(sums.mapValues(hang), "sums")


def in_background(work: Callable[[], Any]) -> threading.Thread:
    """Start a thread."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def until(condition: Callable[[], bool]) -> None:
    """Wait for what other threads do."""
    pause = threading.Event()
    for _ in range(int(LIMIT_S / 0.002)):
        if condition():
            return
        pause.wait(0.002)
    pytest.fail("it never came true")


def scheduler_of(h: StreamHarness) -> scheduler.JobScheduler:
    """Return the scheduler of a harness that has started."""
    assert h.ssc._scheduler is not None
    return h.ssc._scheduler


@pytest.mark.slow
@pytest.mark.usefixtures("_hanging")
def test_batches_that_a_hurried_stop_leaves_run_again_after_a_restart(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The one half done and those that waited, each with its state as it was."""
    with StreamHarness(checkpoint=str(tmp_path), setup=count_and_hang) as h:
        h._start()
        h.clock.advance_ms(1000)
        assert Hanging.entered.wait(LIMIT_S)
        h.clock.advance_ms(1000)
        until(lambda: scheduler_of(h).pending_ms == [1000, 2000])
        stopping = in_background(lambda: h.ssc.stop(False, True))
        until(lambda: scheduler_of(h).is_stopping)
        assert h.output("quick").records == [[1]]
        assert scheduler_of(h).hurry()
        assert not scheduler_of(h).hurry()
        stopping.join(LIMIT_S)
        assert h.ssc.awaitTerminationOrTimeout(LIMIT_S)
        assert h.clock.now_ms() == 2000
        Hanging.goes_on.set()
        h.restart()
        h.run(2)

        assert h.output("quick").times_ms == [1000, 1000, 2000, 3000, 4000]
        assert h.output("sums").records == [
            [("sum", 1)],
            [("sum", 3)],
            [("sum", 6)],
            [("sum", 10)],
        ]
    assert "told to wait no longer" in caplog.text
    assert "raise spark.streaming.gracefulStopTimeout" not in caplog.text


def test_a_hurried_stop_does_not_wait_for_the_last_batch() -> None:
    """Nothing hangs; but time stands still, and the next batch never comes."""
    with StreamHarness() as h:
        h.collect(h.stream([[1]]))
        h.run(1)
        stopping = in_background(lambda: h.ssc.stop(False, True))
        until(lambda: scheduler_of(h).is_stopping)
        stopping.join(0.05)
        assert stopping.is_alive()
        scheduler_of(h).hurry()
        stopping.join(LIMIT_S)

        assert not stopping.is_alive()
        assert h.ssc.getState().value == "STOPPED"


@pytest.mark.slow
@pytest.mark.usefixtures("_gates")
def test_a_hurried_stop_does_not_wait_for_a_receiver(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its onStop hangs; what it has handed over is stored, as when the limit is over."""
    conf = {"spark.streaming.gracefulStopTimeout": "1h"}
    with StreamHarness(conf=conf) as h:
        h.collect(h.ssc.receiverStream(Stubborn(StorageLevel.MEMORY_ONLY)))
        h._start()
        assert Gates.up.wait(LIMIT_S)
        stopping = in_background(lambda: h.ssc.stop(False, True))
        until(lambda: scheduler_of(h).is_stopping)
        scheduler_of(h).hurry()
        stopping.join(LIMIT_S)

        assert not stopping.is_alive()
        assert h.clock.now_ms() == 0
    assert "its onStop hangs" in caplog.text


def test_a_stop_that_is_hurried_before_it_begins_is_one_at_once() -> None:
    """Who is quicker than the thread that stops."""
    with StreamHarness() as h:
        h.collect(h.stream([[1]]))
        h.run(1)
        assert scheduler_of(h).hurry()
        h.ssc.stop(stopSparkContext=False, stopGraceFully=True)

        assert h.ssc.getState().value == "STOPPED"
        assert not scheduler_of(h).hurry()
