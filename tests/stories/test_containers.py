"""Stories of a program in a container: it is probed, told to end, and started again."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

LIMIT_S = 40.0

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


class Pod:
    """A program that runs as a container's command would."""

    def __init__(self, process: "subprocess.Popen[str]", url: str) -> None:
        self.process = process
        self._url = url

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


@contextmanager
def pod(directory: Path, runner: str = "millstream") -> Iterator[Pod]:
    """Run the program, by `millstream run` or by `python`."""
    path = directory / "app.py"
    path.write_text(PROGRAM, "utf-8")
    launch = {"millstream": ["-m", "millstream", "run"], "python": []}[runner]
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
            [sys.executable, *launch, str(path), str(directory)],
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
            yield Pod(process, process.stdout.readline().strip())
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
