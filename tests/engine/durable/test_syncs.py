"""Tests of what docs/durability.md says the disk is waited for: real files, real syncs."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from millstream.engine.base.storage import LocalStorage
from millstream.engine.durable.checkpoint_files import CheckpointFiles
from millstream.engine.durable.object_files import write_rows
from millstream.engine.durable.state_files import Changes, StateFiles
from millstream.engine.durable.write_ahead_log import FileLog

Synced = Callable[..., list[str]]


@pytest.fixture
def synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Synced:
    """Give what does some work and returns the paths that it synced, in order.

    A file that was synced before it got its name has that which it has in the end.
    """
    if os.name != "posix":
        pytest.skip("directories can't be synced elsewhere, and needn't be")
    numbers: list[int] = []
    fsync = os.fsync

    def noting(handle: int) -> None:
        numbers.append(os.fstat(handle).st_ino)
        fsync(handle)

    monkeypatch.setattr(os, "fsync", noting)

    def of(work: Callable[[], object]) -> list[str]:
        numbers.clear()
        work()
        paths = [tmp_path, *tmp_path.rglob("*")]
        names = {each.stat().st_ino: str(each.relative_to(tmp_path)) for each in paths}
        return [names[number] for number in numbers]

    return of


def test_a_whole_file_and_its_directories_are_synced(
    tmp_path: Path, synced: Synced
) -> None:
    """New directories into their parents, then the file, then its name."""
    storage, path = LocalStorage(), str(tmp_path / "a" / "b" / "file")
    found = synced(lambda: storage.write_atomic(path, b"1"))
    assert sorted(found[:2]) == [".", "a"]
    assert found[2:] == ["a/b/file", "a/b"]
    folders = str(tmp_path / "x" / "y")

    assert sorted(synced(lambda: storage.make_dirs(folders))) == [".", "x"]
    assert synced(lambda: storage.write_atomic(path, b"2")) == ["a/b/file", "a/b"]
    assert synced(lambda: storage.write_atomic(path, b"3", sync=False)) == []


def test_a_record_of_a_log_waits_for_its_file(tmp_path: Path, synced: Synced) -> None:
    """And a new segment for its name; without sync records wait for nothing."""
    log = FileLog(str(tmp_path / "log"), rolling_ms=10)
    assert synced(lambda: log.write(b"a", 0)) == [".", "log", "log/log-0-10"]
    assert synced(lambda: log.write(b"b", 5)) == ["log/log-0-10"]
    assert synced(lambda: log.write(b"c", 20)) == ["log", "log/log-20-30"]
    log.close()
    whole = FileLog(str(tmp_path / "log"), rolling_ms=10, closes_after_write=True)
    assert synced(lambda: whole.write(b"d", 40)) == ["log/log-40-50", "log"]
    quick = FileLog(str(tmp_path / "log"), sync=False)
    quick.write(b"e", 60)

    assert synced(lambda: quick.write(b"f", 61)) == []
    quick.close()


def test_checkpoints_states_and_rdds_wait_for_file_and_name(
    tmp_path: Path, synced: Synced
) -> None:
    """Two waits each, whatever is moved or deleted besides."""
    files = CheckpointFiles(str(tmp_path))
    files.write(0, [b"first"])
    for time in range(1, 12):
        name = f"checkpoint-{time}"
        for _ in range(2):
            assert synced(lambda t=time: files.write(t, [b"x"])) == [name, "."]
    states = StateFiles(str(tmp_path / "state"))
    states.commit(1, [Changes(0, ["k"], [1], [0], [])])
    found = synced(lambda: states.commit(2, [Changes(0, ["k"], [2], [0], [])]))
    assert found == ["state/delta-2-2.arrow", "state"]
    path = str(tmp_path / "rdd" / "part-00000")

    assert synced(lambda: write_rows(LocalStorage(), path, [1]))[-2:] == [
        "rdd/part-00000",
        "rdd",
    ]
