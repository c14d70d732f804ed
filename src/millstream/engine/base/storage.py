"""Storage: files and directories, wherever they are.

The port through which everything that must last is read and written. Plain paths and
`file:` URIs use the operating system; s3, gs, abfs and hdfs use `pyarrow.fs` when it is
installed; anything else goes to fsspec.
"""

import os  # noqa: TID251  This module is the port that owns it.
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import translate
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

from millstream.engine.base.errors import MissingDependencyError


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
    path.
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

    def write_atomic(self, path: str, data: bytes) -> None:
        """Write a whole file: readers see all of it or what was there before."""
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
        return f"file:{Path(path).resolve()}"

    def open_input(self, path: str) -> BinaryIO:
        """Open a file for reading."""
        return Path(path).open("rb")

    def create(self, path: str) -> BinaryIO:
        """Open a new file for writing; its directory is made."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        return Path(path).open("wb")

    def write_atomic(self, path: str, data: bytes) -> None:
        """Write beside the target, sync, rename, sync the directory."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, scratch = tempfile.mkstemp(prefix=".tmp-", dir=target.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(scratch).replace(target)
        except BaseException:
            Path(scratch).unlink(missing_ok=True)
            raise
        _sync_directory(target.parent)

    def rename(self, source: str, target: str) -> None:
        """Move; atomic within one file system."""
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        Path(source).replace(target)

    def delete(self, path: str) -> None:
        """Delete a file, if it is there."""
        Path(path).unlink(missing_ok=True)

    def delete_tree(self, path: str) -> None:
        """Delete a directory, if it is there."""
        if Path(path).exists():
            shutil.rmtree(path)

    def make_dirs(self, path: str) -> None:
        """Make a directory and its parents."""
        Path(path).mkdir(parents=True, exist_ok=True)

    def exists(self, path: str) -> bool:
        """Say whether there is something at `path`."""
        return Path(path).exists()

    def stat(self, path: str) -> FileInfo:
        """Return what is known of a path."""
        facts = Path(path).stat()
        is_dir = Path(path).is_dir()
        return _info(path, facts, is_dir=is_dir)

    def list(self, path: str) -> list[FileInfo]:
        """Return the entries of a directory; ones that vanish meanwhile are left out."""
        found: list[FileInfo] = []
        with os.scandir(path) as entries:
            for entry in entries:
                try:
                    found.append(_info(entry.path, entry.stat(), is_dir=entry.is_dir()))
                except FileNotFoundError:
                    continue
        return sorted(found, key=lambda info: info.name)


def _info(path: str, facts: os.stat_result, *, is_dir: bool) -> FileInfo:
    modified_ms = facts.st_mtime_ns // 1_000_000
    return FileInfo(path, Path(path).name, facts.st_size, modified_ms, is_dir)


def _sync_directory(directory: Path) -> None:
    if os.name != "posix":
        return  # Windows can't open a directory; its rename is durable by itself.
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class FsspecStorage:
    """Any file system fsspec knows, by protocol."""

    def __init__(self, protocol: str, filesystem: Any) -> None:
        """Use an fsspec file system."""
        self._protocol = protocol
        self._fs = filesystem

    def uri(self, path: str) -> str:
        """Return `protocol://path`."""
        return f"{self._protocol}://{path}"

    def open_input(self, path: str) -> BinaryIO:
        """Open a file for reading."""
        return cast(BinaryIO, self._fs.open(path, "rb"))

    def create(self, path: str) -> BinaryIO:
        """Open a new file for writing."""
        self._fs.makedirs(self._fs._parent(path), exist_ok=True)
        return cast(BinaryIO, self._fs.open(path, "wb"))

    def write_atomic(self, path: str, data: bytes) -> None:
        """Put the whole object: stores make it visible when it is complete."""
        self._fs.makedirs(self._fs._parent(path), exist_ok=True)
        self._fs.pipe_file(path, data)

    def rename(self, source: str, target: str) -> None:
        """Move; on object stores this is a copy and a delete."""
        if not self._fs.isdir(source) and self._fs.exists(target):
            self._fs.rm(target)
        self._fs.mv(source, target, recursive=self._fs.isdir(source))

    def delete(self, path: str) -> None:
        """Delete a file, if it is there."""
        if self._fs.exists(path):
            self._fs.rm(path)

    def delete_tree(self, path: str) -> None:
        """Delete everything below `path`."""
        if self._fs.exists(path):
            self._fs.rm(path, recursive=True)

    def make_dirs(self, path: str) -> None:
        """Make a directory, where the store has such."""
        self._fs.makedirs(path, exist_ok=True)

    def exists(self, path: str) -> bool:
        """Say whether there is something at `path`."""
        return bool(self._fs.exists(path))

    def stat(self, path: str) -> FileInfo:
        """Return what is known of a path."""
        return self._as_info(self._fs.info(path))

    def list(self, path: str) -> list[FileInfo]:
        """Return the entries of a directory."""
        self._fs.invalidate_cache()
        found = [self._as_info(each) for each in self._fs.ls(path, detail=True)]
        return sorted(found, key=lambda info: info.name)

    def _as_info(self, facts: dict[str, Any]) -> FileInfo:
        path = str(facts["name"]).rstrip("/")
        moment = next(
            (
                facts[key]
                for key in ("mtime", "LastModified", "last_modified", "created")
                if facts.get(key) is not None
            ),
            0,
        )
        seconds = moment.timestamp() if hasattr(moment, "timestamp") else float(moment)
        return FileInfo(
            path,
            path.rsplit("/", 1)[-1],
            int(facts.get("size") or 0),
            int(seconds * 1000),
            facts["type"] == "directory",
        )


_ARROW_SCHEMES = ("s3", "s3a", "s3n", "gs", "gcs", "abfs", "abfss", "hdfs", "viewfs")
_LOCAL = LocalStorage()


def open_storage(uri: str) -> tuple[Storage, str]:
    """Return the storage a path or URI lives on, and its path there.

    Raises:
        MissingDependencyError: The library for the scheme isn't installed.
    """
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):", uri)
    if scheme is None:
        return _LOCAL, uri
    name = scheme[1].lower()
    if name == "file":
        return _LOCAL, re.sub(r"^file:/*(?=/)", "", uri).removeprefix("file:")
    path = re.sub(r"^[^:]+:/{0,2}", "", uri)
    return _remote(name), f"/{path.lstrip('/')}" if name == "memory" else path


@lru_cache(maxsize=32)
def _remote(scheme: str) -> Storage:
    try:
        import fsspec  # noqa: PLC0415  Only for other file systems than this machine's.
    except ImportError as error:
        msg = f"'{scheme}:' paths need fsspec"
        raise MissingDependencyError(msg, hint="pip install fsspec") from error
    if scheme in _ARROW_SCHEMES:
        arrow = _arrow(scheme)
        if arrow is not None:
            return FsspecStorage(scheme, arrow)
    try:
        return FsspecStorage(scheme, fsspec.filesystem(scheme))
    except (ImportError, ValueError) as error:
        msg = f"no library for '{scheme}:' paths is installed: {error}"
        raise MissingDependencyError(
            msg, hint="pip install 'millstream[files]', or the fsspec package it names"
        ) from error


def _arrow(scheme: str) -> Any:
    try:
        from fsspec.implementations.arrow import ArrowFSWrapper  # noqa: PLC0415
        from pyarrow import fs  # noqa: PLC0415
    except ImportError:
        return None
    makers = {
        "s3": fs.S3FileSystem,
        "s3a": fs.S3FileSystem,
        "s3n": fs.S3FileSystem,
        "gs": fs.GcsFileSystem,
        "gcs": fs.GcsFileSystem,
    }
    if scheme not in makers:
        return None
    return ArrowFSWrapper(makers[scheme]())


def split_path_list(text: str) -> list[str]:
    """Return the paths of a comma-separated list; commas inside {} don't count."""
    return [part for part in re.split(r",(?![^{]*\})", text) if part]


def glob(storage: Storage, pattern: str) -> Iterator[FileInfo]:
    """Yield what matches a Hadoop pattern: `*`, `?`, `[a-c]`, `{a,b}`; in order."""
    for expanded in _expand_braces(pattern):
        yield from _glob(storage, expanded)


def is_pattern(path: str) -> bool:
    """Say whether a path has characters that stand for others."""
    return any(mark in path for mark in "*?[{")


def _glob(storage: Storage, pattern: str) -> Iterator[FileInfo]:
    if not is_pattern(pattern):
        if storage.exists(pattern):
            yield storage.stat(pattern)
        return
    parts = pattern.split("/")
    first = next(i for i, part in enumerate(parts) if is_pattern(part))
    base = "/".join(parts[:first]) or ("/" if pattern.startswith("/") else ".")
    rest = parts[first + 1 :]
    if not storage.exists(base):
        return
    matches = re.compile(translate(parts[first])).match
    for info in storage.list(base):
        if not matches(info.name):
            continue
        if rest:
            if info.is_dir:
                yield from _glob(storage, "/".join([info.path, *rest]))
        else:
            yield info


def _expand_braces(pattern: str) -> Iterator[str]:
    found = re.search(r"\{([^{}]*)\}", pattern)
    if found is None:
        yield pattern
        return
    for choice in found[1].split(","):
        yield from _expand_braces(
            pattern[: found.start()] + choice + pattern[found.end() :]
        )
