"""A real driver with bad records, killed at random moments: each is in one place, once."""

import os
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.integration.killing import run_with_kills
from tests.integration.programs.bad_records_program import NUMBERS, is_bad

from millstream.cli import main
from millstream.commands import letter_report
from millstream.engine.base.errors import UsageError
from millstream.engine.durable.letter_files import Letter, LetterBox

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

PROGRAM = Path(__file__).parent / "programs" / "bad_records_program.py"
ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "bad_records.py"


def numbers_in(directory: Path) -> list[int]:
    """Return what the program has written."""
    connection = sqlite3.connect(directory / "out.db", timeout=10)
    try:
        return [n for (n,) in connection.execute("select number from numbers")]
    except sqlite3.OperationalError:  # There is no table yet.
        return []
    finally:
        connection.close()


def letters_in(directory: Path) -> list[Letter]:
    """Return its dead letters."""
    return list(LetterBox(f"{directory}/dead", "parse").letters())


def correct_and_replay(directory: Path) -> None:
    """Correct the program for what are letters now, and have those taken in again."""
    found = {each.value() for each in letters_in(directory)}
    scratch = directory / "corrected.new"
    scratch.write_text(" ".join(map(str, sorted(found))))
    scratch.rename(directory / "corrected")
    with suppress(UsageError):  # There is nothing new.
        letter_report.mark(f"{directory}/dead")


@pytest.mark.parametrize("seed", [1, 2])
def test_kills_neither_lose_nor_double_a_bad_record(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a letter, then it is taken in again, whichever moment the kills hit."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    good = {number for number in range(NUMBERS) if not is_bad(number)}

    def is_done() -> bool:
        found = set(numbers_in(tmp_path))
        if len(found) < NUMBERS and good <= found:
            letters = {each.value() for each in letters_in(tmp_path)}
            if len(letters) == NUMBERS - len(good):
                correct_and_replay(tmp_path)
        return len(found) == NUMBERS

    run_with_kills(
        PROGRAM,
        [str(tmp_path)],
        is_done,
        kills=4,
        seed=seed,
        life_s=(1.0, 2.2),
        between=lambda _life: correct_and_replay(tmp_path),
    )

    assert Counter(numbers_in(tmp_path)) == Counter(range(NUMBERS))
    letters = letters_in(tmp_path)
    assert {each.attempt for each in letters} == {1}
    assert sorted(each.value() for each in letters) == sorted(
        number for number in range(NUMBERS) if is_bad(number)
    )


def test_the_example_adds_up_what_is_a_number(tmp_path: Path) -> None:
    """And the command tells of the rest."""
    incoming, dead = tmp_path / "incoming", tmp_path / "dead"
    incoming.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", str(EXAMPLE), str(incoming), str(dead)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None, "it is a pipe"
        assert process.stdout.readline().startswith("---")  # The first batch is done.
        scratch = tmp_path / "prices"
        scratch.write_text("12\nn/a\n7\n")
        scratch.rename(incoming / "prices")
        while process.stdout.readline() != "19\n":
            assert process.poll() is None, "it ended by itself"
        while not list(dead.glob("prices/letters/*.jsonl")):
            assert process.poll() is None, "it ended by itself"
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]
    told = CliRunner().invoke(main, ["dead-letters", str(dead)]).output
    assert "prices: 1 dead letter, 0 replayed" in told
    assert "'n/a'  ValueError: invalid literal for int()" in told
