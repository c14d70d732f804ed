"""Tests of `millstream dead-letters` and `millstream replay-dead-letters`."""

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from millstream.cli import main
from millstream.engine.base import frames
from millstream.engine.durable.letter_files import Letter, LetterBox

LETTER = Letter(
    id="1000-0-3",
    stream="parse",
    batch_ms=1000,
    partition=0,
    index=3,
    range="offsets 0 to 9 of orders-0",
    error="ValueError",
    message="bad price",
    file="/app/orders.py",
    line=12,
    operator="map (map at orders.py:40)",
    attempt=1,
    first="1000-0-3",
    text="{'price': 'x'}",
    record='{"price": "x"}',
    pickled=None,
)


class Trap:
    """Says so when it is unpickled."""

    def __reduce__(self) -> Any:
        return exec, ("raise SystemExit('a record was unpickled')",)


def letter(number: int, **facts: Any) -> Letter:
    """Return another letter of the batch."""
    name = f"1000-0-{number}"
    return replace(LETTER, id=name, first=name, index=number, **facts)


@pytest.fixture
def box(tmp_path: Path) -> LetterBox:
    """Return letters of two kinds, one of them pickled."""
    made = LetterBox(str(tmp_path), "parse")
    pickled = base64.b64encode(frames.dumps(Trap())).decode()
    made.add(
        [
            LETTER,
            letter(4),
            letter(
                5,
                error="KeyError",
                message="'id'\nmore",
                text="<Trap>",
                record=None,
                pickled=pickled,
                file=None,
                line=None,
                range=None,
            ),
        ]
    )
    return made


def run(*words: str) -> Result:
    """Run the command line."""
    return CliRunner().invoke(main, list(words))


def test_letters_are_counted_by_error_and_the_newest_listed(box: LetterBox) -> None:
    """The newest first, each in a line."""
    told = run("dead-letters", "--newest", "2", box.directory).output

    assert told.splitlines() == [
        "parse: 3 dead letters, 0 replayed",
        "         2  ValueError in map (map at orders.py:40)",
        "         1  KeyError in map (map at orders.py:40)",
        "  the newest 2:",
        "    1000-0-5  <Trap>  KeyError: 'id'",
        "    1000-0-4  {'price': 'x'}  ValueError: bad price",
    ]


def test_one_letter_is_shown_whole(box: LetterBox) -> None:
    """What isn't known is left out; nothing is unpickled."""
    assert run("dead-letters", "--show", "1000-0-3", box.directory).output == (
        "dead letter 1000-0-3 of parse, dead\n"
        "  error      ValueError: bad price\n"
        "  raised at  /app/orders.py:12\n"
        "  operator   map (map at orders.py:40)\n"
        "  batch      1970-01-01 00:00:01 UTC (1000 ms)\n"
        "  partition  0, record 3 of it\n"
        "  range      offsets 0 to 9 of orders-0\n"
        '  record     {"price": "x"}\n'
    )
    other = run("dead-letters", "--show", "1000-0-5", box.directory).output
    assert "not in the program's files" in other
    assert "  record     <Trap>  (pickled)" in other
    assert "range" not in other


def test_all_letters_are_there_as_json(box: LetterBox) -> None:
    """With what became of each."""
    told = json.loads(run("dead-letters", "--json", box.directory).output)

    assert [(each["id"], each["fate"]) for each in told] == [
        ("1000-0-3", "dead"),
        ("1000-0-4", "dead"),
        ("1000-0-5", "dead"),
    ]
    assert told[0]["record"] == {"price": "x"}


def test_letters_are_marked_for_replay_once(box: LetterBox) -> None:
    """They are in a file that the program takes in, and dead no more."""
    first = run("replay-dead-letters", "--only", "KeyError", box.directory)

    assert first.output == (
        "parse: 1 dead letter marked for replay in 000001.jsonl; the program takes them "
        "in with its next batch\n"
    )
    assert [each.id for each in box.replay("000001.jsonl")] == ["1000-0-5"]
    assert "2 dead letters, 1 replayed" in run("dead-letters", box.directory).output
    second = run("replay-dead-letters", box.directory)
    assert "2 dead letters marked for replay in 000002.jsonl" in second.output
    third = run("replay-dead-letters", box.directory)
    assert third.exit_code == 1
    assert "there is no dead letter in" in third.output


def test_what_became_of_a_letter_is_told(box: LetterBox) -> None:
    """Marked, then taken in by a batch; a later attempt says which was the first."""
    run("replay-dead-letters", "--only", "1000-0-3", box.directory)
    assert "marked for replay" in run("dead-letters", "--show", LETTER.id, box.directory).output  # fmt: skip
    box.take("000001.jsonl", 2000)
    again = replace(LETTER, id="2000-1-0", batch_ms=2000, partition=1, index=0, attempt=2)  # fmt: skip
    box.add([again])

    assert "taken in again by batch 2000" in run("dead-letters", "--show", LETTER.id, box.directory).output  # fmt: skip
    told = run("dead-letters", "--show", "2000-1-0", box.directory).output
    assert "  attempt    2; the first was 1000-0-3\n" in told
    assert "2000-1-0, attempt 2" in run("dead-letters", box.directory).output


def test_a_dry_run_marks_nothing(box: LetterBox) -> None:
    """It says how many there would be."""
    told = run("replay-dead-letters", "--dry-run", "--only", "1000", box.directory)

    assert told.output == "parse: 3 dead letters would be marked for replay\n"
    assert box.replays() == []


def test_names_are_kept_apart(box: LetterBox) -> None:
    """An id is asked for by its name where two have it."""
    other = LetterBox(box.directory, "other")
    other.add([replace(LETTER, stream="other")])

    told = run("dead-letters", "--name", "other", "--newest", "0", box.directory)
    assert told.output.startswith("other: 1 dead letter, 0 replayed\n")
    both = run("dead-letters", "--show", LETTER.id, box.directory)
    assert "of each of: other, parse" in both.output
    one = run("dead-letters", "--show", LETTER.id, "--name", "other", box.directory)
    assert "of other, dead" in one.output
    run("replay-dead-letters", "--name", "other", box.directory)
    assert (box.replays(), other.replays()) == ([], ["000001.jsonl"])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["dead-letters", "{}/none"], "there is no directory"),
        (["dead-letters", "--name", "x", "{}"], "there are those of: parse"),
        (["dead-letters", "--show", "1", "{}"], "there is no dead letter '1'"),
        (["replay-dead-letters", "--only", "x", "{}"], "that fits x in"),
        (["replay-dead-letters", "--name", "..", "{}"], "can't name dead letters"),
    ],
)
def test_what_isnt_there_is_told(box: LetterBox, words: list[str], told: str) -> None:
    """In words, and the exit code says so."""
    result = run(*[word.format(box.directory) for word in words])

    assert result.exit_code == 1
    assert told in result.output


def test_an_empty_directory_has_no_letters(tmp_path: Path) -> None:
    """And that is no error."""
    assert run("dead-letters", str(tmp_path)).output == "no dead letters\n"


def test_a_damaged_file_is_named(box: LetterBox, tmp_path: Path) -> None:
    """Nothing is made up for it."""
    (tmp_path / "parse/letters/1000.jsonl").write_text('{"id": 1}\n')

    told = run("dead-letters", box.directory)
    assert told.exit_code == 1
    assert "parse/letters/1000.jsonl' of dead letters is damaged" in told.output
