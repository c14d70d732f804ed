"""Payloads: bytes handed from one process to another, and blocks, in files if large.

A file is in shared memory where there is some, and read by mapping it: it outlives who made
it. A payload is gone from its directory as soon as it was mapped, a block as soon as the
driver no longer refers to it. Directories of processes that died are swept by the next one
that starts.
"""

import itertools
import mmap
import os  # noqa: TID251  Process ids, and what is in shared memory.
import secrets
import shutil
import weakref
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from millstream.engine.base import scratch
from millstream.engine.columnar.blocks import Frozen
from millstream.engine.durable import frozen_bytes

_INLINE_MAX = 64 << 10
_FREE_TIMES = 4
"""Shared memory is everybody's: a payload takes no more than a quarter of what is free."""
_KIND = "blocks"
_CAN_REMOVE_MAPPED = os.name != "nt"
"""Where it can't be done, files would stay until their directory goes."""
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


@dataclass(frozen=True, slots=True)
class BlockFile:
    """A block that is in a file, as a worker tells of it, and is told."""

    path: Path
    size: int
    is_in_memory: bool

    @property
    def memory_bytes(self) -> int:
        """How much memory it takes."""
        return self.size if self.is_in_memory else 0

    def read(self) -> memoryview:
        """Return its bytes, mapped.

        Raises:
            OSError: It is gone.
        """
        return _mapped(self.path, self.size)

    def is_there(self) -> bool:
        """Say whether the file is there."""
        return self.path.is_file()


class HeldFile:
    """A block in a file that is there for as long as this is; in the driver."""

    def __init__(self, file: BlockFile, holder: int | None = None) -> None:
        """Be what holds `file`, which the worker `holder` made, or the driver."""
        self.file = file
        self.holder = holder
        # Files of a whole directory go at the end of the process.
        weakref.finalize(self, _remove, file.path).atexit = False

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return self.file.size

    @property
    def memory_bytes(self) -> int:
        """How much of this machine's memory they take; 0 if they are on disk."""
        return self.file.memory_bytes

    @property
    def path(self) -> Path:
        """The file."""
        return self.file.path

    def read(self) -> memoryview:
        """Return the bytes, mapped.

        Raises:
            OSError: The file is gone.
        """
        return self.file.read()

    def is_there(self) -> bool:
        """Say whether the file is there."""
        return self.file.is_there()


class PayloadFiles:
    """Makes payloads and blocks; for one process."""

    def __init__(self, directories: Directories) -> None:
        """Keep files in `directories`."""
        self._directories = directories
        self._numbers = itertools.count()
        # Process ids come again, and what was held outlives them.
        self._name = f"{os.getpid()}-{secrets.token_hex(4)}"

    def put(self, data: bytes) -> Payload:
        """Return bytes as they travel best.

        Raises:
            OSError: There is no room.
        """
        if len(data) <= _INLINE_MAX:
            return data
        path, _ = self.new_path(len(data))
        path.write_bytes(data)
        return Filed(str(path), len(data))

    def hold(self, block: Frozen) -> BlockFile:
        """Write a block, which is there until somebody removes its file.

        Raises:
            OSError: There is no room.
        """
        path, is_in_memory = self.new_path(frozen_bytes.size_bytes(block))
        frozen_bytes.share(block, path)
        return BlockFile(path, path.stat().st_size, is_in_memory)

    def new_path(self, size: int) -> tuple[Path, bool]:
        """Return a path for a file of `size` bytes, and whether it is in memory."""
        first = self._directories.first
        is_roomy = shutil.disk_usage(first).free >= size * _FREE_TIMES
        directory = first if is_roomy else self._directories.spare
        return directory / f"{self._name}-{next(self._numbers)}", is_roomy

    def remove_of(self, pid: int, *, but: Collection[Path]) -> None:
        """Remove what a process that has ended left behind, but what is held."""
        for directory in (self._directories.first, self._directories.spare):
            for path in directory.glob(f"{pid}-*"):
                if path not in but:
                    _remove(path)


def take(payload: Payload) -> bytes | memoryview:
    """Return the bytes of a payload, which can be taken once.

    Raises:
        FileNotFoundError: It was taken, or its directory is gone.
    """
    if isinstance(payload, bytes):
        return payload
    mapped = _mapped(Path(payload.path), payload.size)
    drop(payload)
    return mapped


def _mapped(path: Path, size: int) -> memoryview:
    if not _CAN_REMOVE_MAPPED:
        return memoryview(path.read_bytes())
    with path.open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ))


def drop(payload: Payload) -> None:
    """Give up a payload that nobody will take."""
    if isinstance(payload, Filed):
        _remove(Path(payload.path))


def _remove(path: Path) -> None:
    # On Windows it can't go while somebody reads it; then it goes with the directory.
    with suppress(PermissionError):
        path.unlink(missing_ok=True)


def new_directories(disk: Path) -> Directories:
    """Return new directories for payloads; first sweeps those of processes that died."""
    memory = disk
    if _SHARED_MEMORY.is_dir() and os.access(_SHARED_MEMORY, os.W_OK):
        memory = _SHARED_MEMORY
    return Directories(
        scratch.make_directory(memory, _KIND), scratch.make_directory(disk, _KIND)
    )


def remove_directories(directories: Directories) -> None:
    """Remove what `new_directories` has made."""
    scratch.remove_directory(directories.first)
    scratch.remove_directory(directories.spare)
