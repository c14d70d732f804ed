"""Tests of engine/workers/payloads.py: bytes come over, and no file stays."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from millstream.engine.workers import payloads
from millstream.engine.workers.payloads import (
    Directories,
    Filed,
    PayloadFiles,
    drop,
    take,
)


@pytest.fixture
def files(tmp_path: Path) -> PayloadFiles:
    """Return what makes payloads in one directory."""
    return PayloadFiles(Directories(tmp_path, tmp_path))


def test_small_payloads_travel_inline(files: PayloadFiles, tmp_path: Path) -> None:
    """No file is made for them."""
    made = files.put(b"small")

    assert made == b"small"
    assert take(made) == b"small"
    assert list(tmp_path.iterdir()) == []


def test_a_large_payload_is_in_a_file_until_it_is_taken(
    files: PayloadFiles, tmp_path: Path
) -> None:
    """Who has taken it can read it on; the next one finds nothing."""
    data = os.urandom(200_000)
    made = files.put(data)

    assert isinstance(made, Filed)
    assert [path.stat().st_size for path in tmp_path.iterdir()] == [200_000]
    taken = take(made)
    assert list(tmp_path.iterdir()) == []
    assert taken == data
    with pytest.raises(FileNotFoundError):
        take(made)


def test_a_payload_that_nobody_takes_can_be_dropped(
    files: PayloadFiles, tmp_path: Path
) -> None:
    """Twice, too."""
    made = files.put(bytes(100_000))

    drop(made)
    drop(made)

    assert list(tmp_path.iterdir()) == []


def test_what_a_process_left_behind_is_swept_when_the_next_one_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was killed; a directory of one that lives stays."""
    monkeypatch.setattr(payloads, "_SHARED_MEMORY", tmp_path / "there is none")
    code = (
        "import os, signal; from pathlib import Path\n"
        "from millstream.engine.workers.payloads import PayloadFiles, new_directories\n"
        "import millstream.engine.workers.payloads as payloads\n"
        "payloads._SHARED_MEMORY = Path('there is none')\n"
        f"PayloadFiles(new_directories(Path({str(tmp_path)!r}))).put(bytes(100_000))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    mine = payloads.new_directories(tmp_path)
    subprocess.run([sys.executable, "-c", code], check=False)
    kept = [mine.first, mine.spare]
    left = [path for path in tmp_path.iterdir() if path not in kept]

    other = payloads.new_directories(tmp_path)

    assert len(left) == 2
    assert sorted(tmp_path.iterdir()) == sorted([*kept, other.first, other.spare])
    for each in (mine, other):
        payloads.remove_directories(each)
    assert list(tmp_path.iterdir()) == []


def test_a_payload_goes_to_disk_where_shared_memory_is_scarce(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quarter of what is free is the most that one takes."""
    made = Directories(tmp_path / "memory", tmp_path / "disk")
    made.first.mkdir()
    made.spare.mkdir()
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=500_000))
    files = PayloadFiles(made)

    small, large = files.put(bytes(100_000)), files.put(bytes(200_000))

    assert isinstance(small, Filed)
    assert isinstance(large, Filed)
    assert [Path(each.path).parent for each in (small, large)] == [
        made.first,
        made.spare,
    ]


def test_a_payload_goes_though_somebody_reads_it_where_mapped_files_stay(
    files: PayloadFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows: there it is read, not mapped."""
    monkeypatch.setattr(payloads, "_CAN_REMOVE_MAPPED", False)
    data = os.urandom(100_000)

    taken = take(files.put(data))

    assert isinstance(taken, memoryview)
    assert isinstance(taken.obj, bytes)
    assert taken == data
    assert list(tmp_path.iterdir()) == []


def test_without_shared_memory_all_is_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on macOS and Windows."""
    monkeypatch.setattr(payloads, "_SHARED_MEMORY", tmp_path / "there is none")

    made = payloads.new_directories(tmp_path / "disk")

    assert {made.first.parent, made.spare.parent} == {tmp_path / "disk"}
    assert take(PayloadFiles(made).put(bytes(100_000))) == bytes(100_000)
    payloads.remove_directories(made)
