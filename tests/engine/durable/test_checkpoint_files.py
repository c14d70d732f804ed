"""Tests of durable/checkpoint_files.py."""

from pathlib import Path

import pytest

from millstream.engine.base.errors import DurabilityError, SparkError
from millstream.engine.durable.checkpoint_files import CheckpointFiles
from millstream.testing.sim_storage import SimStorage, at_every_crash


def text(parts: list[bytes]) -> str:
    """Decode a checkpoint of one part of text."""
    (only,) = parts
    return only.decode()


def test_the_newest_is_read_and_its_predecessor_kept(tmp_path: Path) -> None:
    """A second write of a batch makes the first a backup."""
    files = CheckpointFiles(str(tmp_path))
    assert files.newest(text) is None
    files.write(1000, [b"first"])
    files.write(1000, [b"second"])

    assert files.newest(text) == "second"
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["checkpoint-1000", "checkpoint-1000.bk"]


def test_a_late_checkpoint_of_an_older_batch_is_the_newest(tmp_path: Path) -> None:
    """What was written last holds the newest facts, whatever batch it is about."""
    files = CheckpointFiles(str(tmp_path))
    files.write(2000, [b"of 2000"])
    files.write(1000, [b"of 1000, later"])

    assert CheckpointFiles(str(tmp_path)).newest(text) == "of 1000, later"


def test_ten_files_are_kept(tmp_path: Path) -> None:
    """The oldest go; other files and directories are none of its business."""
    (tmp_path / "checkpoint-1").mkdir()
    (tmp_path / "checkpoint-x").write_bytes(b"")
    files = CheckpointFiles(str(tmp_path))
    for time in range(100, 130):
        files.write(time, [b"%d" % time])

    assert [file.time_ms for file in files.files()] == list(range(120, 130))
    assert (tmp_path / "checkpoint-1").exists()


def test_a_damaged_file_is_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The next older one is taken, and the log says why; with none left it is an error."""
    files = CheckpointFiles(str(tmp_path))
    files.write(1, [b"old"])
    files.write(2, [b"new"])
    newest = tmp_path / "checkpoint-2"
    newest.write_bytes(newest.read_bytes()[:-1])

    assert files.newest(text) == "old"
    assert "a checkpoint can't be read; trying an older one" in caplog.text
    (tmp_path / "checkpoint-1").write_bytes(b"")
    with pytest.raises(SparkError, match="Failed to read checkpoint") as caught:
        files.newest(text)
    assert "checkpoint-2" in str(caught.value.__notes__)
    assert "createOnError" in str(caught.value.__notes__)


def test_every_damage_is_noticed(tmp_path: Path) -> None:
    """Cut at each byte, each bit flipped: a named error, never another content."""
    files = CheckpointFiles(str(tmp_path))
    files.write(1, [b"ab", b"c"])
    (file,) = files.files()
    path = tmp_path / "checkpoint-1"
    whole = path.read_bytes()
    damaged = [whole[:length] for length in range(len(whole))]
    for bit in range(len(whole) * 8):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        damaged.append(bytes(flipped))
    accepted = 0
    for data in damaged:
        path.write_bytes(data)
        try:
            parts = files.read(file)
        except DurabilityError as error:
            assert "checkpoint-1" in str(error)
        else:
            accepted += 1
            assert parts == [b"ab"]  # Cut at a frame's end: the decoder counts parts.
    assert accepted == 1


def test_a_crash_at_any_call_leaves_a_valid_checkpoint() -> None:
    """The last one whose write returned, or the one in flight."""
    done: list[str] = []

    def scenario(storage: SimStorage) -> None:
        done.clear()
        files = CheckpointFiles("/c", storage=storage)
        for number in range(14):
            files.write(number // 2, [b"%d" % number])
            done.append(str(number))

    for storage in at_every_crash(scenario):
        found = CheckpointFiles("/c", storage=storage).newest(text)
        assert found in (done[-1] if done else None, str(len(done)))
