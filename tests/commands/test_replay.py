"""Tests of `millstream replay`: a batch shown, failures with their own traceback, pdb."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from millstream.cli import main

pytestmark = pytest.mark.slow

PROGRAM = """
import sys
from pyspark import SparkContext
from pyspark.streaming import StreamingContext

directory, folder, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])


def count(new, old):
    if 99 in new:
        raise ValueError(f"too much after {old}")
    return sum(new) + (old or 0)


def pair(line):
    word, number = line.split()
    return word, int(number)


def setup():
    sc = SparkContext("local[2]", appName="replayed")
    ssc = StreamingContext(sc, 0.5)
    lines = ssc.textFileStream(folder).map(pair)
    lines.updateStateByKey(count).named("counts").pprint()
    lines.saveAsTextFiles(folder + "/../out")
    return ssc


ssc = StreamingContext.getOrCreate(directory, setup)
ssc.start()
ssc.awaitTerminationOrTimeout(seconds)
ssc.stop()
"""


def millstream(
    *arguments: str, given: str = "", cwd: Path | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "millstream", *arguments],
        env={**os.environ, "MILLSTREAM_UI": "off", "PYTHONWARNINGS": "ignore"},
        cwd=cwd,
        input=given,
        capture_output=True,
        text=True,
        timeout=50,
    )


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a program whose batch has failed, and its checkpoint."""
    home = tmp_path_factory.mktemp("program")
    (home / "in").mkdir()
    (home / "app.py").write_text(PROGRAM)
    process = subprocess.Popen(
        [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "millstream",
            "run",
            "app.py",
            "c",
            "in",
            "20",
        ],
        env={**os.environ, "MILLSTREAM_UI": "off"},
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("Time:"):
            break
    write(home, "second", "a 5\n")
    for line in process.stdout:
        if line.startswith("('a', 5)"):
            break
    write(home, "third", "a 99\nb 1\n")
    _out, error = process.communicate(timeout=40)
    assert "too much after 5" in error
    return home


def write(home: Path, name: str, text: str) -> None:
    """Put a whole file into the directory that is watched."""
    (home / name).write_text(text)
    (home / name).rename(home / "in" / name)


def failed_batch(home: Path) -> int:
    """Return the time of the batch that had the third file."""
    shown = millstream("checkpoint", "show", "c", cwd=home).stdout
    line = next(line for line in shown.splitlines() if line.endswith(": third"))
    return int(line.split("(")[1].split(" ms")[0])


def test_a_failed_batch_fails_again_and_its_frame_can_be_looked_into(ran: Path) -> None:
    """The user's own traceback; the debugger is in the user's own function."""
    time_ms = failed_batch(ran)
    done = millstream(
        *("replay", "--batch", str(time_ms), "--pdb", "app.py", "c", "in", "1"),
        given="p (old, new)\nq\n",
        cwd=ran,
    )

    assert done.returncode == 1
    assert "-> raise ValueError" in done.stdout
    assert "(5, [99])" in done.stdout
    assert "Traceback (most recent call last):\n" in done.stderr
    assert "ValueError: too much after 5\n" in done.stderr
    assert "/millstream/" not in done.stderr.split("Traceback")[1]


def test_what_would_be_written_is_shown_and_nothing_is_changed(ran: Path) -> None:
    """Neither in the checkpoint directory nor where outputs write."""
    before = sorted(
        (str(e), e.stat().st_mtime_ns) for e in ran.rglob("*") if e.is_file()
    )
    time_ms = failed_batch(ran)
    done = millstream(
        *("replay", "--batch", str(time_ms), "--rows", "1", "app.py", "c", "in", "1"),
        cwd=ran,
    )

    assert "output 1: saveAsTextFiles at app.py:" in done.stdout
    assert done.stdout.endswith("  ('a', 99)\n  ...\n")
    after = sorted(
        (str(e), e.stat().st_mtime_ns) for e in ran.rglob("*") if e.is_file()
    )
    assert after == before


def test_a_batch_that_succeeded_succeeds_again(ran: Path) -> None:
    """A time of day will do, too."""
    from datetime import UTC, datetime

    time_ms = failed_batch(ran) - 500
    moment = datetime.fromtimestamp(time_ms / 1000, UTC).isoformat()
    done = millstream("replay", "--batch", moment, "app.py", "c", "in", "1", cwd=ran)

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(
        f"batch {time_ms} ms of 'replayed', from the checkpoint"
    )
    assert "\n('a', 5)\n" in done.stdout
    assert done.stdout.endswith("the batch succeeded\n")


def test_what_cannot_be_replayed_is_told(ran: Path) -> None:
    """With exit code 2: another batch, a program that never starts a stream."""
    (ran / "idle.py").write_text("print('nothing to do')\n")

    done = millstream("replay", "--batch", "500", "app.py", "c", "in", "1", cwd=ran)
    assert done.returncode == 2
    assert "batches that can be replayed: " in done.stderr
    done = millstream("replay", "--batch", "500", "idle.py", cwd=ran)
    assert done.returncode == 2
    assert "idle.py never started a stream" in done.stderr


def test_a_time_that_is_none_is_refused(ran: Path) -> None:
    """It says what one looks like."""
    program = str(ran / "app.py")
    result = CliRunner().invoke(main, ["replay", "--batch", "yesterday", program])

    assert result.exit_code == 2
    assert "'yesterday' is neither ms nor a time such as 2026-01-31T12:00:05" in (
        result.output.replace("\n", " ")
    )
