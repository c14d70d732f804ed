"""Tests of engine/base/scratch.py: directories end with their process, and no others."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from millstream.engine.base import scratch

_MAKE = (
    "import os, signal, sys\n"
    "from pathlib import Path\n"
    "from millstream.engine.base import scratch\n"
    "made = scratch.make_directory(Path(sys.argv[1]), 'test')\n"
    "(made / 'inner').mkdir()\n"
    "(made / 'inner' / 'file').write_bytes(b'x')\n"
    "print(made, flush=True)\n"
)
_KILL = "os.kill(os.getpid(), signal.SIGKILL)\n"
_WAIT = "sys.stdin.read()\n"


@pytest.fixture
def other(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Return a process that has made a directory, and lives until the test ends."""
    with subprocess.Popen(
        [sys.executable, "-c", _MAKE + _WAIT, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process


def run(code: str, root: Path) -> Path:
    """Return the directory that a process, which has ended, had made."""
    done = subprocess.run(
        [sys.executable, "-c", code, str(root)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return Path(done.stdout.splitlines()[0])


def test_a_directory_is_removed_with_all_that_is_in_it(tmp_path: Path) -> None:
    """Twice, too; one of a name nobody made is left alone."""
    made = scratch.make_directory(tmp_path / "new" / "root", "blocks")
    (made / "inner").mkdir()
    (made / "inner" / "file").write_bytes(b"x")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    assert made.name.startswith(f"millstream-blocks-{os.getpid()}-")
    for _ in range(2):
        scratch.remove_directory(made)
        scratch.remove_directory(elsewhere)
    assert list((tmp_path / "new" / "root").iterdir()) == []
    assert elsewhere.exists()


def test_a_process_that_just_ends_leaves_no_directory(tmp_path: Path) -> None:
    """Nobody has removed it."""
    assert not run(_MAKE, tmp_path).exists()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="there are no forks")
def test_a_fork_that_exits_leaves_its_parents_directory(tmp_path: Path) -> None:
    """It is not the owner, and runs the same exit hooks."""
    code = (
        f"{_MAKE}child = os.fork()\n"
        "if child:\n"
        "    os.waitpid(child, 0)\n"
        "    assert (made / 'inner' / 'file').exists()\n"
    )

    assert not run(code, tmp_path).exists()


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_what_a_killed_process_left_is_swept_by_the_next(tmp_path: Path) -> None:
    """By whoever makes a directory beside it."""
    left = run(_MAKE + _KILL, tmp_path)
    assert (left / "inner" / "file").exists()

    made = scratch.make_directory(tmp_path)

    assert list(tmp_path.iterdir()) == [made]
    scratch.remove_directory(made)


def test_a_directory_of_a_living_process_stays(
    tmp_path: Path, other: "subprocess.Popen[str]"
) -> None:
    """Whatever the number in its name, as in another container; also one's own."""
    assert other.stdout is not None
    theirs = Path(other.stdout.readline().rstrip("\n"))
    renamed = theirs.rename(tmp_path / "millstream-999999999-theirs")
    mine = scratch.make_directory(tmp_path)

    scratch.sweep(tmp_path)

    assert (renamed / "inner" / "file").exists()
    assert mine.exists()
    scratch.remove_directory(mine)


def test_what_has_a_like_name_but_no_lock_stays(tmp_path: Path) -> None:
    """A user's project may be called so."""
    project = tmp_path / "millstream-project"
    project.mkdir()
    (tmp_path / "millstream-link").symlink_to(project)
    (tmp_path / "millstream-notes").write_text("notes", "utf-8")

    scratch.sweep(tmp_path)

    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.skipif(sys.platform == "win32", reason="files there have no such owner")
def test_what_belongs_to_another_user_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The directory of temporary files is everybody's."""
    left = run(_MAKE + _KILL, tmp_path)
    monkeypatch.setattr(scratch, "_user", lambda: os.getuid() + 1)
    scratch.sweep(tmp_path)
    assert left.exists()

    monkeypatch.undo()
    scratch.sweep(tmp_path)
    assert not left.exists()


def test_a_directory_is_made_again_if_it_is_swept_before_it_is_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that is returned is there, and locked."""
    make, made = tempfile.mkdtemp, []

    def sweeping(prefix: str, dir: Path) -> str:  # noqa: A002
        made.append(make(prefix=prefix, dir=dir))
        if len(made) == 1:
            Path(made[0]).rmdir()
        return made[-1]

    monkeypatch.setattr(tempfile, "mkdtemp", sweeping)
    path = scratch.make_directory(tmp_path)

    assert [Path(each) for each in made[1:]] == [path]
    scratch.sweep(tmp_path)
    assert path.exists()
    scratch.remove_directory(path)


def test_where_there_are_no_locks_nothing_is_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on some network file systems: a directory is removed when its process ends."""

    def refuse(_descriptor: int) -> None:
        raise OSError(95, "Operation not supported")

    left = run(_MAKE + _KILL, tmp_path) if sys.platform != "win32" else tmp_path
    monkeypatch.setattr(scratch, "_lock", refuse)
    made = scratch.make_directory(tmp_path)

    assert left.exists()
    assert made.exists()
    scratch.remove_directory(made)
    assert not made.exists()


def test_there_may_be_nothing_to_sweep(tmp_path: Path) -> None:
    """Not even a place."""
    scratch.sweep(tmp_path / "missing")

    assert not (tmp_path / "missing").exists()
