"""An example that is stopped, changed and started again: its totals go on."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parents[2] / "examples" / "recoverable_wordcount.py"


def millstream(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the command line."""
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "millstream", *arguments],
        capture_output=True,
        text=True,
        timeout=50,
    )


def run_until(line: str, program: Path, folder: Path, text: str) -> None:
    """Run the program, give it a file once it runs, and end it when it prints `line`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "millstream", "run", str(program), str(folder),
         str(program.parent / "checkpoint")],
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    killer = threading.Timer(40, process.kill)
    killer.start()
    assert process.stdout is not None
    is_given, seen = False, False
    for printed in process.stdout:
        if not is_given and printed.startswith("Time: "):
            is_given = True
            (folder.parent / "new").write_text(text)
            (folder.parent / "new").rename(
                folder / f"file-{len(list(folder.iterdir()))}"
            )
        if printed == f"{line}\n":
            seen = True
            break
    process.terminate()
    process.stdout.read()
    process.wait()
    process.stdout.close()
    killer.cancel()

    assert seen, f"never printed: {line}"


def test_totals_go_on_in_a_changed_program(tmp_path: Path) -> None:
    """The plan tells what changed, the new version adds to the old one's totals."""
    folder, program = tmp_path / "in", tmp_path / "wordcount.py"
    folder.mkdir()
    program.write_text(EXAMPLE.read_text("utf-8"))
    run_until("('mill', 2)", program, folder, "mill mill\n")

    changed = EXAMPLE.read_text("utf-8").replace("line.split()", "line.lower().split()")
    program.write_text(changed)
    directory = str(tmp_path / "checkpoint")
    plan = millstream(
        "checkpoint", "plan", directory, str(program), str(folder), directory
    )
    assert plan.returncode == 0
    assert plan.stdout == (
        "sources kept, with their positions:\n"
        "  lines\n"
        "states kept:\n"
        "  totals\n"
        "code:\n"
        "  `words_of` changed\n"
        "=> 'apply' goes on with everything that is kept\n"
    )
    run_until("('mill', 3)", program, folder, "MILL\n")

    shown = millstream("checkpoint", "show", directory)
    assert "checkpoint of 'RecoverableWordCount'" in shown.stdout
    assert "  totals  (updateStateByKey, " in shown.stdout
