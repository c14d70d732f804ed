"""Running examples that read a directory's files, until what they write is there."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


@contextmanager
def file_example(name: str, directory: Path, *where: str) -> Iterator[None]:
    """Run `name DIRECTORY *where CHECKPOINT` meanwhile, on two hellos and a stream.

    Raises:
        AssertionError: It has ended by itself; has what it said.
    """
    files = directory / "files"
    files.mkdir()
    log = directory / "example.log"
    args = [str(files), *where, str(directory / "checkpoint")]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "millstream", "run", str(EXAMPLES / name), *args],
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
            stdout=out,
            stderr=out,
        )
    try:
        # Files count from the stream's start on: one that is there before is too old.
        while not (directory / "checkpoint").exists():
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
        scratch = directory / "words"
        scratch.write_text("hello stream\nhello\n")
        scratch.rename(files / "words")
        yield
    except AssertionError as error:
        error.add_note(log.read_text()[-3000:])
        raise
    finally:
        process.terminate()
        process.wait(30)
