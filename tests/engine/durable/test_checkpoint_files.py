"""Tests of durable/checkpoint_files.py."""

from pathlib import Path
from random import Random

import pytest

from millstream.engine.base.errors import DurabilityError, SparkError
from millstream.engine.durable.checkpoint_files import CheckpointFiles, Needs
from millstream.testing.sim_storage import (
    SimStorage,
    SimulatedCrashError,
    at_every_crash,
    at_every_failure,
)


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


def test_so_is_the_first_one_after_a_restart(tmp_path: Path) -> None:
    """Batches that run again are older than the last checkpoint: its name goes on."""
    CheckpointFiles(str(tmp_path)).write(8000, [b"before"])
    again = CheckpointFiles(str(tmp_path))
    again.write(1000, [b"a failed batch ran again"])

    assert again.newest(text) == "a failed batch ran again"
    assert [file.time_ms for file in again.files()] == [8000, 8000]


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


def test_a_crash_between_moving_and_writing_leaves_the_backup() -> None:
    """Then it is the newest; a write after the restart makes both again."""
    storage = SimStorage(crash_at=3)  # After the first write and the second's move.
    files = CheckpointFiles("/c", storage=storage)
    files.write(5, [b"first"])
    with pytest.raises(SimulatedCrashError):
        files.write(5, [b"second"])
    left = storage.after_crash()
    files = CheckpointFiles("/c", storage=left)
    assert [info.name for info in left.list("/c")] == ["checkpoint-5.bk"]
    assert files.newest(text) == "first"
    files.write(5, [b"third"])

    assert files.newest(text) == "third"
    left.delete("/c/checkpoint-5")
    assert files.newest(text) == "first"


def test_any_call_may_fail() -> None:
    """A write that raised is tried again, as its caller does; the newest is always there."""
    for seed in range(5):
        retries = 0

        def scenario(storage: SimStorage) -> None:
            nonlocal retries
            files = CheckpointFiles("/c", storage=storage)
            for number in range(26):
                try:
                    files.write(number // 2, [b"%d" % number])
                except (DurabilityError, OSError):
                    retries += 1
                    # What was the newest isn't lost by a failure.
                    newest = CheckpointFiles("/c", storage=storage).newest(text)
                    assert newest in (str(number - 1) if number else None, str(number))
                    files.write(number // 2, [b"%d" % number])

        for storage in at_every_failure(scenario, seed=seed):
            files = CheckpointFiles("/c", storage=storage)
            assert files.newest(text) == "25"
            assert 10 <= len(files.files()) <= 11  # The very last delete may fail.
        assert retries > 30


def test_deleting_that_fails_only_warns(caplog: pytest.LogCaptureFixture) -> None:
    """The checkpoint is safe; the next write deletes what was left."""
    lengths = set()
    for seed in range(10):  # The call that fails may still have had its effect.
        storage = SimStorage(fail_at={12}, random=Random(seed))
        files = CheckpointFiles("/c", storage=storage)
        for time in range(11):
            files.write(time, [b"%d" % time])
        lengths.add(len(files.files()))
        files.write(11, [b"11"])
        assert [file.time_ms for file in files.files()] == list(range(2, 12))

    assert lengths == {10, 11}
    assert "an old checkpoint can't be deleted file=/c/checkpoint-0" in caplog.text


def needs(oldest_ms: int) -> Needs:
    """Return what a checkpoint might need."""
    return Needs(oldest_ms, {"state": frozenset({f"delta-{oldest_ms}"})})


def test_what_checkpoints_need_is_known_while_they_are_there() -> None:
    """Backups need what they did under their old name; also those of an earlier process."""
    storage = SimStorage()
    before = CheckpointFiles("/c", storage=storage)
    for time in (1, 2):
        before.write(time, [b"%d" % time])
    storage.put_file("/c/checkpoint-0", b"damaged")
    files = CheckpointFiles(
        "/c", storage=storage, needs_of=lambda parts: needs(int(parts[0]))
    )
    files.look()
    assert files.needs() == [needs(1), needs(2)]
    assert files.has_others
    for time in range(3, 9):
        files.write(time, [b"-"], needs(10 * time))
        files.write(time, [b"-"], needs(10 * time + 1))
        kept = {need.oldest_ms for need in files.needs()}
        assert {10 * time, 10 * time + 1} <= kept
        assert len(kept) == len([f for f in files.files() if f.time_ms != 0])
        assert files.has_others == (min(files.files()).time_ms < 3)

    assert not files.has_others
    assert {need.oldest_ms for need in files.needs()} == {
        10 * time + more for time in range(4, 9) for more in (0, 1)
    }


def test_a_directory_is_listed_once(tmp_path: Path) -> None:
    """Not at each write: where listing takes time, it would be most of what one costs."""
    files = CheckpointFiles(str(tmp_path))
    files.write(1, [b"one"])
    (tmp_path / "checkpoint-0").write_bytes(b"somebody else's")
    for time in range(2, 14):
        files.write(time, [b"x"])

    assert [file.time_ms for file in files.files()] == [0, *range(4, 14)]


def test_one_that_cannot_be_made_safe_is_no_reason_to_take_an_older_one() -> None:
    """Batches have run since that only the newest knows."""
    disk = SimStorage()
    files = CheckpointFiles("/c", storage=disk)
    files.write(1, [b"old"])
    files.write(2, [b"new"])
    failing = disk.after_crash(fail_at={1}, loses_power=False)

    with pytest.raises(DurabilityError, match="checkpoint-2"):
        CheckpointFiles("/c", storage=failing).newest(text)
    assert CheckpointFiles("/c", storage=failing).newest(text) == "new"
