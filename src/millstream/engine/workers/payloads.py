"""Payloads: bytes handed from one process to another, large ones in files.

A file is in shared memory where there is some, read by mapping it, and gone from its
directory as soon as it was mapped: it outlives who made it, and nothing is left behind by
who reads it. Directories of processes that died are swept by the next one that starts.
"""

import itertools
import mmap
import os  # noqa: TID251  Process ids, and what is in shared memory.
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

_INLINE_MAX = 64 << 10
_FREE_TIMES = 4
"""Shared memory is everybody's: a payload takes no more than a quarter of what is free."""
_PREFIX = "millstream-blocks-"
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  Where Linux has it.


@dataclass(frozen=True, slots=True)
class Filed:
    """A payload that is in a file."""

    path: str
    size: int


Payload: TypeAlias = bytes | Filed


@dataclass(frozen=True, slots=True)
class Directories:
    """Where the payloads of a driver and its workers are; the owner removes both."""

    first: Path
    """In shared memory, where there is some."""
    spare: Path
    """On disk: for what would take too much of the first."""


class PayloadFiles:
    """Makes payloads; for one process."""

    def __init__(self, directories: Directories) -> None:
        """Keep files in `directories`."""
        self._directories = directories
        self._numbers = itertools.count()
        self._name = f"{os.getpid()}"

    def put(self, data: bytes) -> Payload:
        """Return bytes as they travel best.

        Raises:
            OSError: There is no room.
        """
        if len(data) <= _INLINE_MAX:
            return data
        first = self._directories.first
        is_roomy = shutil.disk_usage(first).free >= len(data) * _FREE_TIMES
        directory = first if is_roomy else self._directories.spare
        path = directory / f"{self._name}-{next(self._numbers)}"
        path.write_bytes(data)
        return Filed(str(path), len(data))


def take(payload: Payload) -> bytes | memoryview:
    """Return the bytes of a payload, which can be taken once.

    Raises:
        FileNotFoundError: It was taken, or its directory is gone.
    """
    if isinstance(payload, bytes):
        return payload
    path = Path(payload.path)
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), payload.size, access=mmap.ACCESS_READ)
    drop(payload)
    return memoryview(mapped)


def drop(payload: Payload) -> None:
    """Give up a payload that nobody will take."""
    if isinstance(payload, Filed):
        # On Windows it can't go while it is mapped; then it goes with the directory.
        with suppress(PermissionError):
            Path(payload.path).unlink(missing_ok=True)


def new_directories(disk: Path) -> Directories:
    """Return new directories for payloads; first sweeps those of processes that died."""
    memory = disk
    if _SHARED_MEMORY.is_dir() and os.access(_SHARED_MEMORY, os.W_OK):
        memory = _SHARED_MEMORY
    return Directories(_new_directory(memory), _new_directory(disk))


def _new_directory(root: Path) -> Path:
    _sweep(root)
    root.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=root))


def _sweep(root: Path) -> None:
    if not root.is_dir():
        return
    for path in root.glob(f"{_PREFIX}*"):
        number = path.name.removeprefix(_PREFIX).partition("-")[0]
        if number.isdigit() and not _is_alive(int(number)):
            shutil.rmtree(path, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    if os.name == "nt":
        return True  # To look there would end it; the system's own clean-up must do.
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
