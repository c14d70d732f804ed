"""Storage: files and directories, wherever they are.

The port through which everything that must last is read and written. Plain paths and
`file:` URIs use the operating system; s3, gs, abfs and hdfs use `pyarrow.fs` when it is
installed; anything else goes to fsspec.
"""

import os  # noqa: TID251  This module is the port that owns it.
import re
import shutil
from collections.abc import Container, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self

from millstream.engine.base.errors import (
    DurabilityError,
    UnsupportedOperationError,
    UsageError,
)


@dataclass(frozen=True, slots=True)
class FileInfo:
    """One entry of a directory."""

    path: str
    name: str
    size_bytes: int
    modified_ms: int
    is_dir: bool


class Storage(Protocol):
    """Files of one file system. Paths use `/`. Thread-safe.

    Missing files raise FileNotFoundError, forbidden ones PermissionError; both name the
    path. A write that the disk refuses raises DurabilityError, which names it too.
    """

    def uri(self, path: str) -> str:
        """Return the URI of a path, as Spark prints it."""
        ...

    def open_input(self, path: str) -> BinaryIO:
        """Open a file for reading; seekable."""
        ...

    def create(self, path: str) -> BinaryIO:
        """Open a new file for writing, replacing one that is there."""
        ...

    def append(self, path: str) -> "AppendStream":
        """Open a file for writing behind what is there; made when missing."""
        ...

    def open_atomic(
        self, path: str, *, sync: bool = True
    ) -> AbstractContextManager[BinaryIO]:
        """Open a file that appears, whole, when the block ends without an error.

        Its directory is made. With `sync` it also survives a power failure by then.
        Any number of writers may do so at once: the last one to end wins.
        """
        ...

    def write_atomic(self, path: str, data: bytes, *, sync: bool = True) -> None:
        """Write a whole file: readers see all of it or what was there before."""
        ...

    def write_new(self, path: str, data: bytes) -> None:
        """Write a whole file, to last, if there is none: of several writers one does.

        Raises:
            FileExistsError: It is there, perhaps by an earlier try of this very call.
            MissingDependencyError: A library that can do so isn't installed.
            UnsupportedOperationError: The storage has no way to do it.
        """
        ...

    def sync(self, path: str) -> None:
        """Return when a file that is there will be there after a power failure.

        For what a killed process may have written and not synced: it can be read, and is
        made safe before anybody acts on it.
        """
        ...

    def rename(self, source: str, target: str) -> None:
        """Move a file or directory; a file that is at `target` is replaced."""
        ...

    def delete(self, path: str) -> None:
        """Delete a file, if it is there."""
        ...

    def delete_tree(self, path: str) -> None:
        """Delete a directory and all in it, if it is there."""
        ...

    def make_dirs(self, path: str) -> None:
        """Make a directory and its parents; fine if it is there."""
        ...

    def exists(self, path: str) -> bool:
        """Say whether there is a file or directory."""
        ...

    def stat(self, path: str) -> FileInfo:
        """Return what is known of a file or directory."""
        ...

    def list(self, path: str) -> list[FileInfo]:
        """Return the entries of a directory, in order of names."""
        ...


class LocalStorage:
    """The file system of this machine."""

    def uri(self, path: str) -> str:
        """Return `file:/...`."""
        # Not `resolve`: a link's own name is what was asked for, and its extension counts.
        return f"file:{os.path.abspath(path)}"  # noqa: PTH100

    def open_input(self, path: str) -> BinaryIO:
        """Open a file for reading."""
        return Path(path).open("rb")

    def create(self, path: str) -> BinaryIO:
        """Open a new file for writing; its directory is made."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        return Path(path).open("wb")

    def append(self, path: str) -> "AppendStream":
        """Open a file at its end; it and its directory are made."""
        _make_directory(Path(path).parent)
        is_new = not Path(path).exists()
        stream = AppendStream(path, Path(path).open("ab"))  # noqa: SIM115  It owns it.
        if is_new:
            _sync_directory(Path(path).parent)
        return stream

    @contextmanager
    def open_atomic(self, path: str, *, sync: bool = True) -> Iterator[BinaryIO]:
        """Write beside the target, sync, rename, sync the directory."""
        target = Path(path)
        _make_directory(target.parent)
        scratch = _open_scratch(target.parent)
        try:
            with scratch:
                yield scratch
                with disk_errors(path):
                    scratch.flush()
                    if sync:
                        os.fsync(scratch.fileno())
            Path(scratch.name).replace(target)
        except BaseException:
            Path(scratch.name).unlink(missing_ok=True)
            raise
        if sync:
            _sync_directory(target.parent)

    def write_atomic(self, path: str, data: bytes, *, sync: bool = True) -> None:
        """Write a whole file."""
        with self.open_atomic(path, sync=sync) as out, disk_errors(path):
            out.write(data)

    def write_new(self, path: str, data: bytes) -> None:
        """Write beside the target, sync, give it the name, which fails if it is taken."""
        target = Path(path)
        _make_directory(target.parent)
        scratch = _open_scratch(target.parent)
        try:
            with scratch, disk_errors(path):
                scratch.write(data)
                scratch.flush()
                os.fsync(scratch.fileno())
            _name_new(Path(scratch.name), target)
        finally:
            Path(scratch.name).unlink(missing_ok=True)
        _sync_directory(target.parent)

    def sync(self, path: str) -> None:
        """Sync the file and its directory."""
        # Who may only read may still make it safe, where the system lets them.
        mode = "rb" if os.name == "posix" else "r+b"
        with Path(path).open(mode) as file, disk_errors(path):
            os.fsync(file.fileno())
        _sync_directory(Path(path).parent)

    def rename(self, source: str, target: str) -> None:
        """Move; atomic within one file system."""
        _make_directory(Path(target).parent)
        Path(source).replace(target)

    def delete(self, path: str) -> None:
        """Delete a file, if it is there."""
        Path(path).unlink(missing_ok=True)

    def delete_tree(self, path: str) -> None:
        """Delete a directory, if it is there."""
        if Path(path).exists():
            shutil.rmtree(path)

    def make_dirs(self, path: str) -> None:
        """Make a directory and its parents, to last."""
        _make_directory(Path(path))

    def exists(self, path: str) -> bool:
        """Say whether there is something at `path`."""
        return Path(path).exists()

    def stat(self, path: str) -> FileInfo:
        """Return what is known of a path."""
        facts = Path(path).stat()
        is_dir = Path(path).is_dir()
        return _info(path, facts, is_dir=is_dir)

    def list_except(self, path: str, names: Container[str]) -> list[FileInfo]:
        """Return the entries with other names; the system isn't asked about the rest."""
        found: list[FileInfo] = []
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.name in names:
                    continue
                try:
                    found.append(_info(entry.path, entry.stat(), is_dir=entry.is_dir()))
                except FileNotFoundError:
                    continue
        return sorted(found, key=lambda info: info.name)

    def list(self, path: str) -> list[FileInfo]:
        """Return the entries of a directory; ones that vanish meanwhile are left out."""
        return self.list_except(path, ())


_SMALL_BYTES = 1 << 16


def read_small(storage: Storage, path: str) -> bytes:
    """Return what is in a small file, with few calls: for one that is read every batch.

    No more than 64 kB of it.

    Raises:
        FileNotFoundError: It isn't there.
        OSError: It can't be read.
    """
    if not isinstance(storage, LocalStorage):
        with storage.open_input(path) as source:
            return source.read(_SMALL_BYTES)
    # A third of what a buffered file takes. And opened, not only looked at: a file system
    # of the network may remember for a minute that there was one.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        return os.read(handle, _SMALL_BYTES)
    finally:
        os.close(handle)


def _info(path: str, facts: os.stat_result, *, is_dir: bool) -> FileInfo:
    modified_ms = facts.st_mtime_ns // 1_000_000
    return FileInfo(path, Path(path).name, facts.st_size, modified_ms, is_dir)


class AppendStream:
    """A local file that grows: for logs. Not thread-safe."""

    def __init__(self, path: str, file: BinaryIO) -> None:
        """Append to `file`."""
        self._path = path
        self._file = file

    def write(self, data: bytes) -> None:
        """Append; not safe before `sync`."""
        with disk_errors(self._path):
            self._file.write(data)

    def flush(self) -> None:
        """Hand everything written to the operating system: safe from our own crash."""
        with disk_errors(self._path):
            self._file.flush()

    def sync(self) -> None:
        """Return when everything written is on disk."""
        with disk_errors(self._path):
            self._file.flush()
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        with disk_errors(self._path):
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


class disk_errors:  # noqa: N801  Used like a function.
    """Raise DurabilityError, which names `path`, when a write in the block fails.

    A class, because a log enters it three times a record: a generator costs thrice as much.
    """

    __slots__ = ("_path",)

    def __init__(self, path: str) -> None:
        """Name `path`."""
        self._path = path

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Raise another error in place of the operating system's."""
        if isinstance(
            error, OSError
        ):  # From a file that is open: it doesn't name the path.
            msg = f"can't write '{self._path}': {error}"
            raise DurabilityError(msg, hint="is the disk full?") from error


_scratch_numbers = count()


def scratch_name() -> str:
    """Return a hidden file name that nothing else in this process uses."""
    return f".tmp-{os.getpid()}-{next(_scratch_numbers)}"


def _open_scratch(directory: Path) -> BinaryIO:
    while True:
        with suppress(FileExistsError):  # A crashed process of our id left it.
            return (directory / scratch_name()).open("xb")


def _name_new(scratch: Path, target: Path) -> None:
    if os.name != "posix":
        scratch.rename(target)  # Windows replaces nothing.
        return
    try:
        target.hardlink_to(scratch)
    except FileExistsError:
        raise
    except OSError as error:
        msg = f"can't make '{target}' only if it isn't there: {error}"
        raise UnsupportedOperationError(
            msg, hint="a file system with hard links is needed"
        ) from error


def _make_directory(directory: Path) -> None:
    """Make a directory that lasts: each new one is synced into the one it is in."""
    if directory.is_dir():
        return
    missing = [each for each in (directory, *directory.parents) if not each.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    for each in missing:
        _sync_directory(each.parent)


def _sync_directory(directory: Path) -> None:
    if os.name != "posix":
        return  # Windows can't open a directory; its rename is durable by itself.
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


_LOCAL = LocalStorage()
_mounted: dict[str, Storage] = {}
_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(?://([^/]*))?(.*)", re.DOTALL)


def _local_path(host: str, rest: str, *, has_drives: bool) -> str:
    path = f"/{host}{rest}" if host else re.sub("^/+", "/", rest)
    return re.sub("^/(?=[A-Za-z]:)", "", path) if has_drives else path


def path_text(path: "str | os.PathLike[str]") -> str:
    """Return a path or URI as text: `pathlib.Path` and `UPath` have one.

    Raises:
        UsageError: It is neither, or carries settings of its own for a store.
    """
    if isinstance(path, str):
        return path
    if getattr(path, "storage_options", None):
        msg = f"the options of '{path}' can't be used"  # They may be secret.
        raise UsageError(
            msg, hint="give the path alone, and what the store needs in the environment"
        )
    # A UPath is no os.PathLike where the file isn't on this machine.
    if isinstance(path, os.PathLike) or hasattr(path, "protocol"):
        return str(path)
    msg = f"a path must be text or a Path, not {type(path).__name__}"
    raise UsageError(msg)


def mount(scheme: str, storage: Storage) -> None:
    """Let URIs of `scheme` open `storage`, in this process: what simulations run on."""
    _mounted[scheme] = storage


def open_storage(uri: str) -> tuple[Storage, str]:
    """Return the storage a path or URI lives on, and its path there.

    Raises:
        MissingDependencyError: The library for the scheme isn't installed.
    """
    parts = _URI.fullmatch(uri)
    if parts is None:
        return _LOCAL, uri
    scheme, host, rest = parts[1].lower(), parts[2] or "", parts[3]
    if scheme == "file":
        # `file://a/b` is taken as `/a/b`: there is no other machine it could mean.
        return _LOCAL, _local_path(host, rest, has_drives=os.name == "nt")
    if scheme in _mounted:
        return _mounted[scheme], rest
    from millstream.engine.base.remote_storage import (  # noqa: PLC0415  Rarely needed.
        remote_storage,
    )

    storage = remote_storage(scheme, host)
    return storage, storage.path_below(rest)
