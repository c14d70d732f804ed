"""Tests of checkpoint_upkeep.py: copies to go on from, and files that nobody needs."""

import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from millstream.cli import main
from millstream.commands import checkpoint_upkeep as upkeep
from millstream.engine.base.errors import UsageError
from millstream.streaming.receiver import Receiver
from millstream.testing import StreamHarness


class Once(Receiver[str]):
    """A receiver that stores one block, where a file says that it hasn't yet."""

    def __init__(self, marker: Path) -> None:
        super().__init__()
        self.marker = marker

    def onStart(self) -> None:
        """Store it."""
        if not self.marker.exists():
            self.marker.touch()
            self.store(["received"])

    def onStop(self) -> None:
        """Do nothing."""


def harness(home: Path, checkpoint: Path) -> StreamHarness:
    """Return a stream with state, a window, and a receiver's log."""

    def setup(h: StreamHarness) -> None:
        words = h.ssc.textFileStream(str(home / "in")).map(lambda word: (word, 1))
        h.collect(words.updateStateByKey(add).named("counts"), "counts")
        sums = words.reduceByKeyAndWindow(lambda a, b: a + b, lambda a, b: a - b, 20, 1)
        h.collect(sums, "sums")
        h.collect(h.ssc.receiverStream(Once(home / "stored")).named("tap"), "tap")

    conf = {"spark.streaming.receiver.writeAheadLog.enable": "true"}
    return StreamHarness(checkpoint=str(checkpoint), setup=setup, conf=conf)


def add(new: list[int], old: int | None) -> int:
    """Add up."""
    return sum(new) + (old or 0)


def put(home: Path, number: int) -> None:
    """Write a file that belongs to a batch."""
    (home / "in" / f"f{number}").write_text("a\n")
    os.utime(home / "in" / f"f{number}", (number + 0.5,) * 2)


def run_on(h: StreamHarness, home: Path, first: int, count: int) -> None:
    """Run batches with a file each."""
    for number in range(first, first + count):
        put(home, number)
        h.run()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a place with an input directory."""
    (tmp_path / "in").mkdir()
    return tmp_path


def names(directory: Path) -> set[str]:
    """Return the files below a directory."""
    files = (each for each in directory.rglob("*") if each.is_file())
    return {str(each.relative_to(directory)) for each in files}


def test_a_copy_goes_on_where_the_original_was(home: Path) -> None:
    """With state and windows; the original may go on, too."""
    with harness(home, home / "checkpoint") as h:
        run_on(h, home, 0, 12)
        made = upkeep.fork(str(home / "checkpoint"), str(home / "copy"))
        run_on(h, home, 12, 1)
        counts, sums = h.output("counts").records, h.output("sums").records
    assert made.time_ms == 12_000
    assert made.left == ()
    assert counts[-1] == sums[-1] == [("a", 13)]
    counts.clear()
    sums.clear()

    with harness(home, home / "copy") as copied:
        copied.clock.advance_ms(12_500)
        copied.restart()
        copied.run()
    # What a checkpoint restores collects where the first stream did.
    assert counts[-1] == sums[-1] == [("a", 13)]


def test_a_copy_has_only_what_its_checkpoint_needs(home: Path) -> None:
    """One checkpoint, the files that it names, and the logs."""
    with harness(home, home / "checkpoint") as h:
        run_on(h, home, 0, 4)
    made = upkeep.fork(str(home / "checkpoint"), str(home / "copy"))
    copied = names(home / "copy")

    assert len(copied) == made.files
    assert copied < names(home / "checkpoint")
    assert "driver-1" in names(home / "checkpoint") - copied, "a copy is nobody's"
    assert any(each.startswith("receivedBlockMetadata/") for each in copied)
    assert any(each.startswith("receivedData/") for each in copied)
    assert [each for each in copied if each.startswith("checkpoint-")] == [
        "checkpoint-4000"
    ]


def test_nothing_is_copied_over_anything(home: Path) -> None:
    """Nor from where there is no checkpoint."""
    with harness(home, home / "checkpoint") as h:
        run_on(h, home, 0, 1)
    (home / "full").mkdir()
    (home / "full" / "x").touch()

    with pytest.raises(UsageError, match="full' isn't empty"):
        upkeep.fork(str(home / "checkpoint"), str(home / "full"))
    with pytest.raises(UsageError, match="there is no checkpoint"):
        upkeep.fork(str(home / "in"), str(home / "copy"))


def strays(home: Path) -> list[str]:
    """Leave what a crash would, long ago, and return its names."""
    (state,) = (home / "checkpoint" / "state").iterdir()
    made = [
        state / "delta-1-99.arrow",
        home / "checkpoint" / "gone" / "rdd-1" / "part-0",
    ]
    for each in made:
        each.parent.mkdir(parents=True, exist_ok=True)
        each.write_text("left")
        os.utime(each, (1, 1))
    return sorted(str(each.relative_to(home / "checkpoint")) for each in made)


def test_what_no_checkpoint_names_is_found_and_nothing_else(home: Path) -> None:
    """After it is gone the stream goes on from any checkpoint that is there."""
    with harness(home, home / "checkpoint") as h:
        run_on(h, home, 0, 12)
    assert upkeep.leftovers(str(home / "checkpoint"), 0) == []
    left = strays(home)
    before = names(home / "checkpoint")
    found = upkeep.leftovers(str(home / "checkpoint"), 0)

    assert sorted(each.name for each in found) == left
    assert all(each.bytes == 4 for each in found)
    upkeep.delete(str(home / "checkpoint"), found)
    assert names(home / "checkpoint") == before - set(left)


def test_what_is_young_is_passed_over(home: Path) -> None:
    """It may be about to be named."""
    with harness(home, home / "checkpoint") as h:
        run_on(h, home, 0, 1)
    for each in strays(home):
        os.utime(home / "checkpoint" / each)

    assert upkeep.leftovers(str(home / "checkpoint"), 3_600_000) == []
    assert len(upkeep.leftovers(str(home / "checkpoint"), 0)) == 2


def test_nothing_is_called_needless_while_a_checkpoint_is_damaged(home: Path) -> None:
    """Nobody knows what it names."""
    with harness(home, home / "checkpoint") as h:
        run_on(h, home, 0, 3)
    (home / "checkpoint" / "checkpoint-2000").write_bytes(b"damaged")
    strays(home)

    with pytest.raises(UsageError, match=r"nobody knows what .*checkpoint-2000"):
        upkeep.leftovers(str(home / "checkpoint"), 0)


def checkpoint(*arguments: Any) -> Result:
    """Run `millstream checkpoint`."""
    return CliRunner().invoke(main, ["checkpoint", *map(str, arguments)])


def test_the_commands_tell_what_they_did(home: Path) -> None:
    """And `gc` deletes only when it is told to."""
    with harness(home, home / "checkpoint") as h:
        run_on(h, home, 0, 1)
    directory = home / "checkpoint"

    forked = checkpoint("fork", directory, home / "copy")
    assert forked.output.startswith("copied the checkpoint of batch 1000 ms: ")
    assert checkpoint("fork", directory, home / "copy").exit_code == 1
    left = strays(home)
    listed = checkpoint("gc", directory)
    assert listed.output.endswith("2 files, 8 bytes could be deleted\n")
    assert names(directory) >= set(left)
    assert checkpoint("gc", "--delete", directory).output.endswith("8 bytes deleted\n")
    assert not names(directory) & set(left)
