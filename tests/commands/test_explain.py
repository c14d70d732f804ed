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
from pyspark import SparkContext
sc = SparkContext("local")
numbers = sc.parallelize(range(4)).map(lambda n: n + 1)
print(numbers.count())
print(numbers.map(lambda n: open(n)).filter(lambda f: f).isEmpty())
"""


def explain(program: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run `millstream explain` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "millstream", "explain", *arguments[:1], str(program)]
        if arguments[:1] == ("--actions",)
        else [sys.executable, "-m", "millstream", "explain", str(program), *arguments],
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
def test_a_program_without_a_stream_ends_at_its_first_action(tmp_path: Path) -> None:
    """Unless its actions are to run: then each is explained once."""
    program = tmp_path / "app.py"
    program.write_text(ACTIONS)

    done = explain(program)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("action on map\n    map at app.py:4: columns\n")
    assert "\n4\n" not in done.stdout
    done = explain(program, "--actions")
    assert "\n4\n" in done.stdout
    assert done.stdout.count("action on") == 2
    assert done.returncode == 1  # The second one fails, as it does without explaining.


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
    assert "nothing starts" in " ".join(text.split())
