"""Scratch directories: files of one process that nobody needs when it has ended.

Each holds a file that its process keeps locked. The lock ends with the process, however
that ends, and what holds an unlocked one is swept by the next process that makes a
directory beside it. A lock, not the process's id: ids are used again, and mean nothing to
a container or a machine that shares the file system.
"""

import atexit
import os  # noqa: TID251  Locks, and whose a directory is.
import shutil
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_PREFIX = "millstream-"
_LOCK = "in-use.lock"
_TRIES_MAX = 100

_guard = threading.Lock()
_held: dict[Path, tuple[int, int]] = {}
"""The lock's descriptor and the process's id, by directory."""


def make_directory(root: Path, kind: str = "") -> Path:
    """Return a new directory below `root`, for this process; first sweeps there.

    It is removed by `remove_directory`, when the interpreter exits, or by a sweep.

    Raises:
        OSError: It can't be made.
    """
    root = root.absolute()
    root.mkdir(parents=True, exist_ok=True)
    sweep(root)
    prefix = f"{_PREFIX}{kind and kind + '-'}{os.getpid()}-"
    for _ in range(_TRIES_MAX):
        made = Path(tempfile.mkdtemp(prefix=prefix, dir=root))
        descriptor = _own(made)
        if descriptor is not None:
            with _guard:
                _held[made] = descriptor, os.getpid()
            return made
    msg = f"directories made below {root} are swept by others at once"
    raise OSError(msg)


def remove_directory(path: Path) -> None:
    """Remove a directory that was made here, with all that is in it. Idempotent."""
    with _guard:
        descriptor, pid = _held.pop(path, (-1, 0))
    if pid == os.getpid():  # A fork owns none of it.
        _remove(path, descriptor)


def sweep(root: Path) -> None:
    """Remove the directories below `root` whose processes have ended."""
    try:
        paths = [Path(each.path) for each in os.scandir(root) if _is_like_ours(each)]
    except FileNotFoundError:
        return
    for path in paths:
        descriptor = _taken(path / _LOCK)
        if descriptor is not None:
            _remove(path, descriptor)


@atexit.register
def _remove_all() -> None:
    """Remove what nobody has removed."""
    for path in tuple(_held):
        remove_directory(path)


def _is_like_ours(entry: "os.DirEntry[str]") -> bool:
    if not entry.name.startswith(_PREFIX):
        return False
    with suppress(FileNotFoundError):  # Somebody else has swept it.
        is_mine = _user() in (None, entry.stat(follow_symlinks=False).st_uid)
        return is_mine and entry.is_dir(follow_symlinks=False)
    return False


def _user() -> int | None:
    """Return who owns what this process makes; None where files don't tell."""
    if sys.platform == "win32":
        return None
    return os.getuid()


def _own(path: Path) -> int | None:
    """Lock a new directory; None where a sweep has come before the lock."""
    try:
        descriptor = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except FileNotFoundError:
        return None
    try:
        _lock(descriptor)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        pass  # A file system without locks: there nobody can sweep it, either.
    if not (path / _LOCK).exists():
        os.close(descriptor)
        return None
    return descriptor


def _taken(lock: Path) -> int | None:
    """Lock a file that is there; None if there is none, or it is locked."""
    try:
        descriptor = os.open(lock, os.O_RDWR)
    except OSError:
        return None
    try:
        _lock(descriptor)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _lock(descriptor: int) -> None:
    """Lock a file for as long as it is open.

    Raises:
        BlockingIOError: Another process has locked it.
        OSError: The file system has no locks.
    """
    if sys.platform == "win32":
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError as error:
            raise BlockingIOError from error
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _remove(path: Path, descriptor: int) -> None:
    """Remove a directory; the lock goes last, so that what can't go is swept again."""
    for each in path.iterdir():
        if each.is_dir() and not each.is_symlink():
            shutil.rmtree(each, ignore_errors=True)
        elif each.name != _LOCK:
            with suppress(OSError):  # On Windows: it is open.
                each.unlink()
    if sys.platform == "win32":  # Nor can the lock go there while it is open.
        os.close(descriptor)
    with suppress(OSError):
        if [each.name for each in path.iterdir()] == [_LOCK]:
            (path / _LOCK).unlink()
            path.rmdir()
    if sys.platform != "win32":
        os.close(descriptor)
