"""Tests of `millstream checkpoint`: what it shows, what it plans, and that it only looks."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from millstream.cli import main
from millstream.engine.base import frames
from millstream.streaming import context
from millstream.streaming.receiver import Receiver
from millstream.testing import StreamHarness


class Trap:
    """Says so when it is unpickled."""

    def __reduce__(self) -> Any:
        return exec, ("raise SystemExit('a function was unpickled')",)


class Silent(Receiver[str]):
    """A receiver that does nothing by itself."""

    def onStart(self) -> None:
        """Store one block."""
        self.store(["waits"])

    def onStop(self) -> None:
        """Do nothing."""


def count(new: list[int], old: int | None) -> int:
    """Add up."""
    return sum(new) + (old or 0)


def build(h: StreamHarness, folder: Path) -> None:
    """Keep a state of a directory's lines."""
    lines = h.ssc.textFileStream(str(folder))
    h.collect(lines.map(lambda w: (w, 1)).updateStateByKey(count).named("counts"))
    h.collect(h.ssc.receiverStream(Silent()).named("tap"))


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """Return a checkpoint directory of two batches, with received data."""
    folder = tmp_path / "in"
    folder.mkdir()
    checkpoint = tmp_path / "checkpoint"
    conf = {
        "spark.streaming.receiver.writeAheadLog.enable": "true",
        "spark.example.password": "hunter2",
    }
    with StreamHarness(
        checkpoint=str(checkpoint), conf=conf, setup=lambda h: build(h, folder)
    ) as h:
        for name in "abcde":
            (folder / name).write_text(f"{name}\n")
            os.utime(folder / name, (0.5, 0.5))
        h.run(2)
    return checkpoint


def content(directory: Path) -> dict[str, bytes | None]:
    """Return every file and directory below one, with its content."""
    return {
        str(path.relative_to(directory)): path.read_bytes() if path.is_file() else None
        for path in sorted(directory.rglob("*"))
    }


def show(*arguments: str) -> Result:
    """Run `millstream checkpoint show`."""
    return CliRunner().invoke(main, ["checkpoint", "show", *arguments])


# show


def test_show_tells_people_what_there_is(written: Path) -> None:
    """Batch, sources with positions, streams, state sizes, conf; and changes nothing."""
    before = content(written)
    shown = show(str(written)).output

    assert shown.startswith(f"checkpoint of 'StreamHarness' in {written}\n")
    for line in (
        "  batch       1970-01-01 00:00:02 UTC (2000 ms)",
        "  pending     none",
        "  master      local[2]",
        "  written     20",
        f"  driver      process {os.getpid()} on {socket.gethostname()}, since 20",
        "pickled by Python 3.",
        f"  files {written.parent}/in  (FileInputDStream, id 0)",
        "    2 batches remembered, 1 of them with files",
        "    1970-01-01 00:00:01 UTC (1000 ms): a, b, c and 2 more",
        "  tap  (PluggableInputDStream, id 1)",
        "    log of received data: 1 file, ",
        "  counts  (updateStateByKey, updateStateByKey at test_checkpoint.py:",
        "5 rows",
        "    2 partitions in state/counts-",
        "    on disk: 1 file, ",
    ):
        assert line in shown
    assert "hunter2" not in shown
    assert content(written) == before


def test_secrets_in_a_checkpoint_of_an_older_version_are_not_shown(
    written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checkpoints had the whole conf once."""
    monkeypatch.setattr(context, "is_secret_key", lambda _key: False)
    older = written.with_name("older")
    with StreamHarness(
        checkpoint=str(older),
        conf={"spark.example.password": "hunter2"},
        setup=lambda h: build(h, written.with_name("in")),
    ) as h:
        h.run()

    for shown in (show(str(older)).output, show("--json", str(older)).output):
        assert "hunter2" not in shown
        assert "spark.example.password" in shown
        assert "(not shown)" in shown


def test_show_as_json_is_the_same_for_programs(written: Path) -> None:
    """The manifest, what is on disk, the files; no secrets."""
    told = json.loads(show("--json", str(written)).output)

    assert told["manifest"]["time_ms"] == 2000
    assert "spark.example.password" not in told["manifest"]["conf"]
    assert told["states"]["counts"]["files"] == 1
    assert told["states"]["counts"]["bytes"] > 0
    assert told["received"]["tap"]["files"] == 1
    assert told["driver"]["pid"] == os.getpid()
    assert told["driver"]["application"] == "StreamHarness"
    assert all(each["problem"] is None for each in told["files"])


def test_show_of_a_directory_that_no_driver_has() -> None:
    """A copy, or one of a version whose drivers didn't say so."""
    older = Path(__file__).parents[1] / "formats" / "v1"

    assert "  driver      none has taken the" in show(str(older)).output
    assert json.loads(show("--json", str(older)).output)["driver"] is None


def test_show_takes_any_uri(written: Path) -> None:
    """As everything that opens files does."""
    assert show(f"file:{written}").exit_code == 0


def test_functions_are_never_unpickled(written: Path) -> None:
    """Whoever wrote the checkpoint can run nothing here."""
    newest = max(written.glob("checkpoint-*000"))
    with newest.open("rb") as source:
        manifest, _functions = frames.read_frames(source, "it")
    payload = frames.dumps_function(Trap())
    with pytest.raises(SystemExit, match="unpickled"):
        frames.loads_function(payload)
    newest.write_bytes(frames.frame(manifest) + frames.frame(payload))

    assert show(str(written)).exit_code == 0
    assert show("--json", str(written)).exit_code == 0


def test_damaged_files_are_named(written: Path) -> None:
    """The newest valid one is shown; state files that are gone are missed."""
    newest = max(written.glob("checkpoint-*000"))
    newest.write_bytes(newest.read_bytes()[:-1])
    (state,) = written.glob("state/*/delta-*.arrow")
    state.unlink()
    result = show(str(written))

    assert result.exit_code == 0
    assert f"  {newest.name}" in result.output
    assert "DAMAGED: file" in result.output
    assert f"on disk: 0 files, 0 B; MISSING: {state.name}" in result.output
    assert "checkpoint-2000.bk" in result.output


def test_show_says_why_it_cannot(written: Path, tmp_path: Path) -> None:
    """No directory, no checkpoint, only damaged ones: an error, and no traceback."""
    (tmp_path / "empty").mkdir()
    for file in written.glob("checkpoint-*"):
        file.write_bytes(b"garbage")
    for directory, text in (
        (tmp_path / "nothing", "there is no directory"),
        (tmp_path / "empty", "there is no checkpoint in"),
        (written, "no checkpoint in"),
    ):
        result = show(str(directory))
        assert result.exit_code == 1
        assert result.output.startswith(f"Error: {text}")
    damaged = show(str(written)).output
    assert "checkpoint-2000: file" in damaged
    assert "is damaged: cut short" in damaged


def test_every_command_has_help_with_examples() -> None:
    """What it does, what it doesn't, what its exit codes mean."""
    for arguments in ([], ["show"], ["plan"]):
        result = CliRunner().invoke(main, ["checkpoint", *arguments, "--help"])
        assert result.exit_code == 0
        assert "Examples:" in result.output
    text = CliRunner().invoke(main, ["checkpoint", "plan", "--help"]).output
    assert "Exits with 0" in text
    assert "--allow-drop" in text


# plan

PROGRAM = """
import sys
import helpers
from pyspark import SparkContext
from pyspark.streaming import StreamingContext

directory, folder = sys.argv[1:3]
NAME = "counts"


def count(new, old):
    return sum(new) + (old or 0)


def setup():
    print("setting up")
    sc = SparkContext(appName="planned")
    sc.setCheckpointDir(directory)
    ssc = StreamingContext(sc, 1)
    ssc.checkpoint(directory)
    lines = ssc.textFileStream(folder).map(helpers.pair)
    lines.updateStateByKey(count).named(NAME).foreachRDD(lambda rdd: rdd.collect())
    return ssc


ssc = StreamingContext.getOrCreate(directory, setup)
ssc.start()
ssc.awaitTerminationOrTimeout(3)
ssc.stop()
print("ran")
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a program that has run, and its checkpoint."""
    home = tmp_path_factory.mktemp("program")
    (home / "in").mkdir()
    (home / "app.py").write_text(PROGRAM)
    (home / "helpers.py").write_text("def pair(line):\n    return line, 1\n")
    command = ["run", str(home / "app.py"), str(home / "c"), str(home / "in")]
    done = millstream(*command)
    assert done.stdout == "setting up\nran\n", done.stderr
    return home


@pytest.fixture
def home(ran: Path, tmp_path: Path) -> Path:
    """Return a copy of that folder for one test."""
    shutil.copytree(ran, tmp_path / "home")
    return tmp_path / "home"


def millstream(
    *arguments: str, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "millstream", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=50,
    )


def plan(home: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    """Plan the upgrade of the program in `home`; the checkpoint must stay as it is."""
    before = content(home / "c")
    command = [*options, str(home / "c"), str(home / "app.py")]
    # It had another folder: a source is called by what it reads.
    source = str(home / "in")
    done = millstream("checkpoint", "plan", *command, str(home / "c"), source)
    assert content(home / "c") == before
    assert "ran" not in done.stdout + done.stderr
    return done


@pytest.mark.slow
def test_a_plan_of_the_same_program(ran: Path) -> None:
    """Nothing differs, exit code 0; what the program prints isn't in the plan."""
    done = plan(ran)

    assert done.stdout == (
        "sources kept, with their positions:\n"
        f"  files {ran}/in\n"
        "states kept:\n"
        "  counts\n"
        "=> nothing differs\n"
    )
    assert "setting up" in done.stderr
    assert done.returncode == 0


@pytest.mark.slow
def test_a_plan_of_a_changed_program(home: Path) -> None:
    """Streams and code that changed; 1 where state would be dropped, until it is allowed."""
    text = PROGRAM.replace('"counts"', '"totals"')
    (home / "app.py").write_text(text.replace("sum(new)", "len(new)"))
    (home / "helpers.py").write_text("def pair(line):\n    return line, 2\n")
    done = plan(home)

    assert done.returncode == 1
    for line in (
        f"sources new:\n  files {home}/in\n",
        "states new, empty:\n  totals\n",
        "states DROPPED:\n  counts\n",
        "  `count` changed\n",
        "  `helpers.pair` changed\n",
        "=> 'apply' needs allow_drop=['counts']\n",
    ):
        assert line in done.stdout

    done = plan(home, "--allow-drop", "counts")
    assert done.returncode == 0
    assert done.stdout.endswith("goes on, and drops what allow_drop names\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("ssc = StreamingContext.getOrCreate(directory, setup)", "ssc = setup()",
         "it starts a stream that getOrCreate didn't return"),
        ("getOrCreate(directory,", "getOrCreate(directory + '2',",
         "it calls getOrCreate with"),
        ("directory, folder =", "1 // 0; directory, folder =",
         "it ended with exit code 1 before"),
        ("directory, folder =", "sys.exit(0); directory, folder =",
         "never called getOrCreate with"),
    ],
)  # fmt: skip
def test_no_plan_without_getOrCreate(home: Path, old: str, new: str, told: str) -> None:
    """Exit code 2, and what the program did instead; nothing starts."""
    assert old in PROGRAM
    (home / "app.py").write_text(PROGRAM.replace(old, new))
    done = plan(home)

    assert done.returncode == 2
    assert done.stdout == ""
    assert f"{home}/app.py never called getOrCreate with '{home}/c'" in done.stderr
    assert told in done.stderr
    assert not (home / "c2").exists()


@pytest.mark.slow
def test_the_plan_is_told_whatever_the_program_does_about_its_end(home: Path) -> None:
    """It may catch the end of its main function, and fail in its clean-up."""
    call = "ssc = StreamingContext.getOrCreate(directory, setup)\n"
    assert call in PROGRAM
    text = PROGRAM.replace(call, f"try:\n    {call}finally:\n    1 // 0\n")
    (home / "app.py").write_text(text)
    done = plan(home)

    assert "ZeroDivisionError" in done.stderr
    assert "states kept:\n  counts\n" in done.stdout


@pytest.mark.slow
def test_settings_of_the_command_line_reach_the_program(home: Path) -> None:
    """As with `millstream run`."""
    done = plan(home, "--conf", "spark.x.y=1", "--master", "local[4]")

    assert "conf:\n  spark.x.y was not set, and is '1' now\n" in done.stdout


@pytest.mark.slow
def test_no_plan_without_a_checkpoint(home: Path) -> None:
    """The program isn't run for nothing."""
    shutil.rmtree(home / "c")
    command = ["checkpoint", "plan", str(home / "c"), str(home / "app.py")]
    done = millstream(*command)

    assert done.returncode == 2
    assert done.stderr == f"Error: there is no directory '{home}/c'\n"
