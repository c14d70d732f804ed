"""Tests of `millstream explain`: what goes by columns, told before anything runs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from millstream.commands.explain import of_stream
from millstream.testing import StreamHarness

STREAM = """
import sys
from pyspark import SparkContext
from pyspark.streaming import StreamingContext

with SparkContext("local[2]") as sc:
    ssc = StreamingContext(sc, 1)
    ssc.checkpoint(sys.argv[1])
    words = ssc.socketTextStream("localhost", 9).flatMap(str.split)
    words.map(lambda word: (word, 1)).updateStateByKey(
        lambda new, old: sum(new) + (old or 0)
    ).named("counts").pprint()
    ssc.start()
    print("never")
"""
ACTIONS = """
import sys
from pyspark import SparkContext
sc = SparkContext("local")
numbers = sc.parallelize(range(4)).map(lambda n: n + 1)
print(numbers.count())
numbers.saveAsTextFile(sys.argv[1])
print(numbers.map(lambda n: open(n)).filter(lambda f: f).isEmpty())
"""


LOOKS_UP = """
import sys, time
from pyspark import SparkContext
from pyspark.streaming import StreamingContext

def slow(word):
    while True:
        time.sleep(0.01)

sc = SparkContext("local[2]")
known = sc.parallelize(["b", "a"]).sortBy(lambda word: word).collect()
if "slowly" in sys.argv:
    sc.parallelize(known).map(slow).count()
ssc = StreamingContext(sc, 1)
ssc.socketTextStream("localhost", 9).filter(lambda line: line in known).pprint()
ssc.start()
"""


def explain(program: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run `millstream explain` in a process of its own; options come first."""
    options = [each for each in arguments if each.startswith("--")]
    others = [each for each in arguments if not each.startswith("--")]
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "millstream",
            "explain",
            *options,
            str(program),
            *others,
        ],
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        timeout=50,
    )


def test_each_output_is_told_with_its_streams_and_the_way_of_each_step() -> None:
    """By the names that they have in checkpoints, and where the program makes them."""

    def setup(h: StreamHarness) -> None:
        lines = h.ssc.socketTextStream("localhost", 9)
        lines.map(lambda line: (line, id(line))).pprint()
        lines.map(lambda line: (line, 1)).reduceByKey(lambda a, b: a + b).pprint()

    with StreamHarness(setup=setup) as h:
        bad, good = _outputs(list(of_stream(h.ssc)))
    assert "rows: " in bad[-2]
    assert "id" in bad[-2]
    assert good[0].startswith("output 1: pprint (pprint at test_explain.py:")
    assert any(": SocketInputDStream, every 1000 ms" in line for line in good)
    (reduced,) = [line for line in good if "* Shuffled (reduceByKey" in line]
    assert reduced.endswith(": columns")


def _outputs(texts: list[str]) -> list[list[str]]:
    lines = "\n".join(texts).splitlines()
    second = next(at for at, line in enumerate(lines) if line.startswith("output 1"))
    return [lines[:second], lines[second:]]


@pytest.mark.slow
def test_a_stream_is_explained_and_not_started(tmp_path: Path) -> None:
    """No directory is made, no receiver connects, and what follows the start isn't run."""
    program = tmp_path / "app.py"
    program.write_text(STREAM)
    done = explain(program, str(tmp_path / "checkpoint"))

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("output 0: pprint (pprint at app.py:")
    assert "stream 'counts': updateStateByKey, every 1000 ms keeps state" in done.stdout
    assert "text, as columns" in done.stdout
    assert "never" not in done.stdout
    assert not (tmp_path / "checkpoint").exists()


@pytest.mark.slow
def test_actions_run_up_to_one_that_may_write(tmp_path: Path) -> None:
    """Which is explained, and named with its line and with what to do; --actions goes on."""
    program, written = tmp_path / "app.py", tmp_path / "written"
    program.write_text(ACTIONS)

    done = explain(program, str(written))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("action on map\n    map at app.py:5: columns\n")
    assert "\n4\n" in done.stdout
    *_, stopped, _, to_go_on = done.stdout.splitlines()
    assert stopped.startswith("stopped at saveAsTextFile at app.py:7: it may write")
    assert to_go_on == "  To go on: --actions, which runs whatever comes."
    assert not written.exists()
    done = explain(program, "--actions", str(written))
    assert "stopped" not in done.stdout
    assert done.stdout.count("action on") == 3
    assert done.returncode == 1  # The last one fails, as it does without explaining.
    assert (written / "_SUCCESS").exists()


@pytest.mark.slow
def test_a_stream_is_explained_after_what_is_looked_up_before_it(
    tmp_path: Path,
) -> None:
    """The actions before its start run, and what they return is there."""
    program = tmp_path / "app.py"
    program.write_text(LOOKS_UP)

    done = explain(program)
    assert done.returncode == 0, done.stderr
    assert "(sortBy at app.py:11)" in done.stdout
    assert "output 0: pprint (pprint at app.py:15)" in done.stdout
    assert "stopped" not in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limit", "stopped"),
    [
        ("0", "stopped at sortBy at app.py:11: none is to run."),
        ("0.7", "stopped at count at app.py:13: actions have taken 0.7 s together."),
    ],
)
def test_actions_have_a_limit_together(
    tmp_path: Path, limit: str, stopped: str
) -> None:
    """The one that runs then is cancelled, and named."""
    program = tmp_path / "app.py"
    program.write_text(LOOKS_UP)

    done = explain(program, f"--actions-limit={limit}", "slowly")
    assert done.returncode == 0, done.stderr
    assert stopped in done.stdout
    assert "--actions-limit SECONDS, or --actions" in done.stdout
    assert "output 0" not in done.stdout


@pytest.mark.slow
def test_a_program_with_nothing_to_explain_is_told(tmp_path: Path) -> None:
    """With exit code 1."""
    program = tmp_path / "app.py"
    program.write_text("print('idle')\n")
    done = explain(program)

    assert done.returncode == 1
    assert "ended without starting a stream or running an action" in done.stderr


def test_help_says_that_nothing_starts() -> None:
    """So that nobody fears to run it."""
    from millstream.cli import main

    text = CliRunner().invoke(main, ["explain", "--help"]).output
    assert "no stream starts" in " ".join(text.split())
