"""Tests of `millstream ui`: the page of a program that has run, from its event log."""

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from millstream.cli import main
from millstream.commands.watching import Watcher
from millstream.testing import StreamHarness


def logged(home: Path) -> Path:
    """Run two batches with an event log, and return its directory."""
    conf = {"spark.eventLog.enabled": "true", "spark.eventLog.dir": str(home)}
    with StreamHarness(conf=conf) as h:
        h.collect(h.stream([[1], [2, 3]]))
        h.run(2)
    (directory,) = home.iterdir()
    return directory


@pytest.mark.slow
def test_a_finished_programs_page_is_served_until_ctrl_c(tmp_path: Path) -> None:
    """With its name, its batches, and the REST answers that `top` asks for."""
    pytest.importorskip("starlette")
    pytest.importorskip("uvicorn")
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "millstream",
            "ui",
            "--port",
            "0",
            str(logged(tmp_path)),
        ],
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    killer = threading.Timer(40, process.kill)
    killer.start()
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.fullmatch(r"the page of 'StreamHarness' is at (http://\S+)\n", line)
        assert found is not None, (line, process.communicate())
        sight = Watcher(found[1]).look()
        process.send_signal(signal.SIGINT)
        _out, error = process.communicate()
    finally:
        killer.cancel()
        process.kill()

    assert [each["batchId"] for each in sight.batches] == [2000, 1000]
    assert (process.returncode, error) == (0, "")


def test_what_is_no_event_log_is_told(tmp_path: Path) -> None:
    """Without a traceback."""
    (tmp_path / "x.jsonl").write_text("nonsense\n")
    for path in (tmp_path / "none", tmp_path / "x.jsonl"):
        result = CliRunner().invoke(main, ["ui", "--port", "0", str(path)])
        assert result.exit_code == 1
        assert result.output.startswith("Error: ")
