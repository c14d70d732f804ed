"""Tests of cli.py: programs run as they are, exit codes, signals, help."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from millstream.cli import main

pytestmark = pytest.mark.slow


def run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "millstream", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=50,
    )


def program(tmp_path: Path, text: str) -> str:
    """Write a program and return its path."""
    path = tmp_path / "app.py"
    path.write_text(text)
    return str(path)


def test_help_has_examples() -> None:
    """Every command says how it is used."""
    for arguments in (["--help"], ["run", "--help"], ["demo", "--help"]):
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0
        assert "Example" in result.output
    assert "API of Spark" in CliRunner().invoke(main, ["--version"]).output


def test_a_program_runs_unchanged(tmp_path: Path) -> None:
    """`__main__`, arguments, its own directory on the path, settings."""
    (tmp_path / "beside.py").write_text("VALUE = 41\n")
    path = program(
        tmp_path,
        "import sys, os\n"
        "from pyspark import SparkContext\n"
        "import beside\n"
        "assert __name__ == '__main__'\n"
        "sc = SparkContext()\n"
        "print(sys.argv[1:], beside.VALUE + 1, sc.master, sc.appName,"
        " sc.getConf().get('spark.x.y'), os.environ['PYTHONHASHSEED'], __file__)\n",
    )
    done = run(
        "run",
        "--master",
        "local[3]",
        "--name",
        "n",
        "-c",
        "spark.x.y=z",
        path,
        "--a",
        "b",
    )

    assert done.stdout == f"['--a', 'b'] 42 local[3] n z 0 {path}\n"
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("import sys; sys.exit(7)", 7),
        ("1 // 0", 1),
        ("raise KeyboardInterrupt", 130),
        ("", 0),
    ],
)
def test_exit_codes_are_the_programs(tmp_path: Path, text: str, code: int) -> None:
    """What the program asks for; 1 for an error, 130 for an interrupt."""
    assert run("run", program(tmp_path, text)).returncode == code


def test_tracebacks_begin_in_the_program(tmp_path: Path) -> None:
    """No frame of the runner, the user's line and error."""
    path = program(tmp_path, "def f():\n    return 1 // 0\n\n\nf()\n")
    error = run("run", path).stderr

    assert error.startswith("Traceback (most recent call last):\n")
    assert f'File "{path}", line 5' in error
    assert "ZeroDivisionError" in error
    assert "cli.py" not in error
    assert "runpy" not in error


def test_the_log_can_be_lines_of_json_from_a_level_on(tmp_path: Path) -> None:
    """On the standard error; the program's output stays its own."""
    path = program(
        tmp_path,
        "import logging\n"
        "logging.getLogger('millstream.x').info('began rows=%d', 5)\n"
        "logging.getLogger('millstream.x').debug('too fine')\n"
        "print('mine')\n",
    )
    done = run("run", "--log-format", "json", "--log-level", "info", path)

    assert done.stdout == "mine\n"
    (line,) = map(json.loads, done.stderr.splitlines())
    assert (line["event"], line["fields"]) == ("began", {"rows": 5})
    assert run("run", "--log-level", "info", path).stderr.count("began rows=5") == 1
    assert run("run", path).stderr == ""


def test_the_pages_token_goes_by_the_environment(tmp_path: Path) -> None:
    """Which others can't see: the program's own process wasn't given it."""
    path = program(
        tmp_path,
        "import os, sys\n"
        "print(os.environ['MILLSTREAM_UI_TOKEN'], 'a-token' in str(sys.orig_argv))\n",
    )
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONHASHSEED"}
    done = subprocess.run(
        [sys.executable, "-m", "millstream", "run", "--ui-token", "a-token", path],
        env=environment,
        capture_output=True,
        text=True,
        timeout=50,
    )

    assert done.stdout == "a-token False\n"


def test_an_empty_token_is_refused(tmp_path: Path) -> None:
    """As of a variable that isn't set: the page would be read-only without a word."""
    done = run("run", "--ui-token", "", program(tmp_path, "print('ran')\n"))

    assert (done.returncode, done.stdout) == (2, "")
    assert "Invalid value for --ui-token: it is empty" in done.stderr


def test_progress_is_shown_where_it_is_asked_for(tmp_path: Path) -> None:
    """Of what takes long; the exit code is still the program's."""
    path = program(
        tmp_path,
        "import sys\n"
        "from millstream.commands import progress\n"
        "from millstream.engine.base.progress import counted\n"
        "progress._SHOWN_AFTER_S = 0.0\n"
        "list(counted('reading', [1]))\n"
        "sys.exit(7)\n",
    )
    shown, plain = run("run", "--progress", path), run("run", path)

    assert "reading: 1 of 1\n" in shown.stderr
    assert plain.stderr == ""
    assert shown.returncode == plain.returncode == 7


def test_bad_usage_is_told(tmp_path: Path) -> None:
    """A missing program, a setting without a value, PySpark that isn't there."""
    path = program(tmp_path, "")

    assert run("run", "nothing.py").returncode == 2
    assert "is not KEY=VALUE" in run("run", "--conf", "x", path).stderr
    done = run("run", "--engine", "pyspark", path)
    assert done.returncode == 1
    assert "PySpark isn't installed" in done.stderr


def test_the_real_pyspark_can_be_asked_for(tmp_path: Path) -> None:
    """`--engine pyspark` runs the same program on whatever is installed."""
    (tmp_path / "pyspark").mkdir()
    (tmp_path / "pyspark" / "__init__.py").write_text("NAME = 'the real one'\n")
    path = program(tmp_path, "import pyspark; print(pyspark.NAME)")
    search = os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]])

    done = run("run", "--engine", "pyspark", path, PYTHONPATH=search)
    assert done.stdout == "the real one\n"


STREAM = """
from pyspark import SparkContext
from pyspark.streaming import StreamingContext
sc = SparkContext("local")
ssc = StreamingContext(sc, 0.1)
ssc.queueStream([[1]], default=[2]).foreachRDD(lambda rdd: print(rdd.collect(), flush=True))
ssc.start()
ssc.awaitTermination()
"""


@pytest.mark.parametrize(
    ("number", "graceful", "codes"),
    [
        (signal.SIGINT, "false", {130}),
        (signal.SIGTERM, "false", {143}),
        (signal.SIGTERM, "true", {0}),
    ],
)
def test_signals_end_a_stream_cleanly(
    tmp_path: Path, number: int, graceful: str, codes: set[int]
) -> None:
    """No traceback, the right code, in bounded time."""
    path = program(tmp_path, STREAM)
    process = subprocess.Popen(
        [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "millstream",
            "run",
            "--conf",
            f"spark.streaming.stopGracefullyOnShutdown={graceful}",
            path,
        ],
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    process.send_signal(number)
    killer = threading.Timer(30, process.kill)
    killer.start()
    _out, error = process.communicate()
    killer.cancel()

    assert first == "[1]\n"
    assert process.returncode in codes
    assert "Traceback" not in error


def test_the_demo_counts_words() -> None:
    """Top words and a rate a batch, a summary at the end."""
    done = run("demo", DEMO_SECONDS="2.5")

    assert done.returncode == 0
    assert "lines/s" in done.stdout
    assert "the " in done.stdout
    assert done.stdout.rstrip().endswith("lines/s while processing.")


def test_a_profile_shows_the_programs_functions_in_workers_too(tmp_path: Path) -> None:
    """A flame graph of the whole tree of processes."""
    path = program(
        tmp_path,
        "from pyspark import SparkContext\n"
        "def slowly(number):\n"
        "    return sum(n * n for n in range(300_000)) % 7 + number\n"
        "print(SparkContext().parallelize(range(12), 4).map(slowly).count())\n",
    )
    flames = tmp_path / "flames.svg"

    done = run(
        *("run", "--profile", str(flames), "--master", "local[2]"),
        *("--conf", "spark.millstream.processes=always", path),
    )

    if "not permitted" in done.stderr or "ermission denied" in done.stderr:
        pytest.skip("this system lets no process look into another")
    assert "12" in done.stdout.splitlines(), done.stderr
    assert "slowly (app.py" in flames.read_text().replace("&#", " ")


def test_a_profile_says_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the profiler isn't installed."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    path = program(tmp_path, "")

    result = CliRunner().invoke(main, ["run", "--profile", "flames.svg", path])

    assert result.exit_code == 1
    assert "pip install 'millstream[profile]'" in result.output
