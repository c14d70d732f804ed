"""Stories of a program in a container: it is probed, told to end, and started again."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import psutil
import pytest

LIMIT_S = 40.0
AS_PROCESS_1 = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")

PROGRAM = '''
import sys
from millstream import SparkContext
from millstream.streaming import StreamingContext
from millstream.streaming.direct import DirectSource
from millstream.streaming.sinks import SqliteSink

directory = sys.argv[1]


class Numbers(DirectSource):
    """Five more numbers a batch, without an end."""

    def plan(self, batch):
        begin = batch.previous[-1][1] if batch.previous else 0
        return [[begin, begin + 5]]

    def read(self, of):
        return range(*of)


def setup():
    ssc = StreamingContext(SparkContext(appName="Numbers"), 0.2)
    rows = ssc.directStream(Numbers()).map(lambda number: (number,))
    sink = SqliteSink(f"{directory}/numbers.db", "numbers")
    rows.writeTo(sink, name="numbers", columns=["number"])
    return ssc


ssc = StreamingContext.getOrCreate(f"{directory}/checkpoint", setup, upgrade="apply")
print(ssc.sparkContext.uiWebUrl, flush=True)
sys.stdin.readline()
ssc.start()
ssc.awaitTermination()
'''

UNENDING = """
import sys, threading
from millstream import SparkContext
from millstream.streaming import StreamingContext
ssc = StreamingContext(SparkContext(), 0.2)
ssc.queueStream([[1]]).foreachRDD(lambda rdd: threading.Event().wait())
print(ssc.sparkContext.uiWebUrl, flush=True)
sys.stdin.readline()
ssc.start()
ssc.awaitTermination()
"""

TASKS = """
import sys, threading
from millstream import SparkContext
sc = SparkContext()
def task(number):
    print("ready", file=sys.stderr, flush=True)
    threading.Event().wait()
print(sc.uiWebUrl, flush=True)
sc.parallelize([1], 1).foreach(task)
"""

OWN = """
import signal, sys
from millstream import SparkContext
def end(number, frame):
    sys.exit(7)
signal.signal(signal.SIGTERM, end)
print(SparkContext().uiWebUrl, flush=True)
sys.stdin.readline()
"""


class Pod:
    """A program that runs as a container's command would."""

    def __init__(
        self, process: "subprocess.Popen[str]", url: str, *, is_inner: bool
    ) -> None:
        self.process = process
        self._url = url
        self._is_inner = is_inner

    def signal(self, number: int) -> None:
        """Send a signal, as the container's runtime does: from outside."""
        receiver = psutil.Process(self.process.pid)
        if self._is_inner:
            (receiver,) = receiver.children()
        receiver.send_signal(number)

    def probe(self, path: str) -> tuple[int, Any]:
        """Return the status and the answer of a probe."""
        try:
            with urlopen(f"{self._url}{path}", timeout=LIMIT_S) as answer:
                return answer.status, json.load(answer)
        except HTTPError as error:
            with error:
                return error.code, json.load(error)

    def begin(self) -> None:
        """Let it start its stream, and wait until it is ready."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        until(lambda: self.probe("/readyz") == (200, {"ready": True, "reasons": []}))


def until(is_so: Callable[[], bool]) -> None:
    """Return when a condition holds."""
    pause = threading.Event()
    for _ in range(int(LIMIT_S / 0.05)):
        if is_so():
            return
        pause.wait(0.05)
    pytest.fail("it never came true")


@cache
def outer_command() -> tuple[str, ...]:
    """Return the command that makes another one process 1; skip where none can."""
    if shutil.which(AS_PROCESS_1[0]) is None:
        pytest.skip("there is no unshare here")
    for command in (AS_PROCESS_1, (*AS_PROCESS_1, "--map-root-user")):
        done = subprocess.run(
            [*command, "true"], capture_output=True, timeout=LIMIT_S, check=False
        )
        if done.returncode == 0:
            return command
    pytest.skip("this system lets nobody make a process namespace")


@contextmanager
def pod(
    directory: Path,
    runner: str = "millstream",
    program: str = PROGRAM,
    *,
    is_first: bool = False,
) -> Iterator[Pod]:
    """Run a program, by `millstream run` or by `python`; perhaps as process 1."""
    path = directory / "app.py"
    path.write_text(program, "utf-8")
    launch = {"millstream": ["-m", "millstream", "run"], "python": []}[runner]
    outer = outer_command() if is_first else ()
    conf = {"spark.master": "local[2]", "spark.ui.port": "0"}
    environment = {
        **os.environ,
        "MILLSTREAM_UI": "on",
        "MILLSTREAM_CONF": json.dumps(conf),
        "PYTHONHASHSEED": "0",
        "PYTHONWARNINGS": "ignore",
    }
    with (directory / "log").open("ab") as log:
        process = subprocess.Popen(
            [*outer, sys.executable, *launch, str(path), str(directory)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        try:
            url = process.stdout.readline().strip()
            yield Pod(process, url, is_inner=is_first)
        except AssertionError as error:
            error.add_note((directory / "log").read_text()[-3000:])
            raise
        finally:
            process.kill()
            process.wait()


def numbers(directory: Path) -> list[int]:
    """Return what is in the table; nothing while it isn't there."""
    with (
        suppress(sqlite3.OperationalError),
        closing(sqlite3.connect(directory / "numbers.db")) as database,
    ):
        return sorted(
            number for (number,) in database.execute("SELECT number FROM numbers")
        )
    return []


@pytest.mark.slow
@pytest.mark.parametrize("runner", ["millstream", "python"])
def test_a_program_is_probed_ended_and_started_again(
    tmp_path: Path, runner: str
) -> None:
    """It lives and isn't ready, is ready, ends with 0; none is lost, none comes twice."""
    with pod(tmp_path, runner) as first:
        assert first.probe("/healthz") == (200, {"live": True, "reasons": []})
        assert first.probe("/readyz") == (
            503,
            {"ready": False, "reasons": ["no stream has started"]},
        )
        first.begin()
        until(lambda: len(numbers(tmp_path)) >= 10)
        first.process.terminate()
        assert first.process.wait(LIMIT_S) == 0
    then = numbers(tmp_path)
    with pod(tmp_path, runner) as second:
        second.begin()
        until(lambda: len(numbers(tmp_path)) >= len(then) + 10)
        assert second.probe("/healthz")[0] == 200
        second.process.terminate()
        assert second.process.wait(LIMIT_S) == 0
    now = numbers(tmp_path)

    assert then == list(range(len(then)))
    assert now == list(range(len(now)))


@pytest.mark.slow
def test_a_pod_that_is_killed_goes_on(tmp_path: Path) -> None:
    """When its grace is over, or its memory: as after any crash."""
    with pod(tmp_path) as first:
        first.begin()
        until(lambda: len(numbers(tmp_path)) >= 5)
        first.process.send_signal(signal.SIGKILL)
        assert first.process.wait(LIMIT_S) == -signal.SIGKILL
    then = numbers(tmp_path)
    with pod(tmp_path) as second:
        second.begin()
        until(lambda: len(numbers(tmp_path)) >= len(then) + 5)
        second.process.terminate()
        assert second.process.wait(LIMIT_S) == 0
    now = numbers(tmp_path)

    assert now == list(range(len(now)))


@pytest.mark.slow
def test_process_1_stops_its_stream_in_order(tmp_path: Path) -> None:
    """And goes on in the next container."""
    then: list[int] = []
    for _ in range(2):
        with pod(tmp_path, is_first=True) as each:
            each.begin()
            until(lambda: len(numbers(tmp_path)) >= len(then) + 10)
            each.signal(signal.SIGTERM)
            assert each.process.wait(LIMIT_S) == 0
        then = numbers(tmp_path)
        assert then == list(range(len(then)))


@pytest.mark.slow
@pytest.mark.parametrize("program", [PROGRAM, TASKS])
def test_process_1_ends_by_sigterm_without_a_stream(
    tmp_path: Path, program: str
) -> None:
    """Before it starts one, and when it never does: as any process, with 143."""
    with pod(tmp_path, program=program, is_first=True) as one:
        until(lambda: program is PROGRAM or b"ready" in (tmp_path / "log").read_bytes())
        one.signal(signal.SIGTERM)

        assert one.process.wait(LIMIT_S) == 128 + signal.SIGTERM


@pytest.mark.slow
def test_process_1_ends_by_a_second_sigterm(tmp_path: Path) -> None:
    """Though its last batch never does."""
    with pod(tmp_path, program=UNENDING, is_first=True) as one:
        one.begin()
        one.signal(signal.SIGTERM)
        until(lambda: one.probe("/readyz")[0] == 503)
        one.signal(signal.SIGTERM)

        assert one.process.wait(LIMIT_S) == 128 + signal.SIGTERM


@pytest.mark.slow
def test_process_1_leaves_sigterm_to_the_programs_own_handler(tmp_path: Path) -> None:
    """Whatever that does."""
    with pod(tmp_path, program=OWN, is_first=True) as one:
        one.signal(signal.SIGTERM)

        assert one.process.wait(LIMIT_S) == 7
