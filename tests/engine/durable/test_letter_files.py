"""Tests of the files that dead letters are in."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.commands.test_letter_report import LETTER, letter

from millstream.engine.base.errors import UsageError
from millstream.engine.durable.letter_files import LetterBox, check_name, letter_of


def test_a_letter_is_the_same_again_as_a_line() -> None:
    """Its record too: JSON in JSON, or pickled."""
    for each in (LETTER, replace(LETTER, record="null"), letter(1, record=None, pickled="gAVLAS4=")):  # fmt: skip
        assert letter_of(each.as_line()) == each
    assert letter_of(replace(LETTER, record=None, pickled="gAVLAS4=").as_line()).value() == 1  # fmt: skip
    assert LETTER.value() == {"price": "x"}


def test_letters_are_added_once_and_in_order(tmp_path: Path) -> None:
    """Whoever adds them how often."""
    box = LetterBox(str(tmp_path), "parse")

    assert box.add([letter(4), LETTER]) == 2
    assert box.add([letter(4), letter(1)]) == 1
    assert box.add([letter(4), letter(1)]) == 0
    assert [each.index for each in box.letters()] == [1, 3, 4]
    assert box.of_batch(1000) == list(box.letters())
    assert box.of_batch(2000) == []


def test_batches_are_in_the_order_of_their_times(tmp_path: Path) -> None:
    """Not of their names; and other files are none of them."""
    box = LetterBox(str(tmp_path), "parse")
    assert (box.newest_ms(), list(box.letters())) == (None, [])
    for batch_ms in (10_000, 9_000):
        box.add([replace(LETTER, id=f"{batch_ms}-0-3", batch_ms=batch_ms)])
    (tmp_path / "parse/letters/notes.txt").write_text("mine")

    assert [each.batch_ms for each in box.letters()] == [9_000, 10_000]
    assert box.newest_ms() == 10_000


def test_a_file_to_be_replayed_is_taken_by_one_batch(tmp_path: Path) -> None:
    """As noted beside it."""
    box = LetterBox(str(tmp_path), "parse")
    assert box.mark([LETTER]) == "000001.jsonl"
    assert box.mark([letter(4)]) == "000002.jsonl"
    box.take("000001.jsonl", 5000)

    assert box.replays() == ["000001.jsonl", "000002.jsonl"]
    assert [box.taken_by(each) for each in box.replays()] == [5000, None]


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "a b", "ü"])
def test_a_name_is_that_of_a_directory(name: str) -> None:
    """Of a plain one."""
    with pytest.raises(UsageError, match="can't name dead letters"):
        check_name(name)
