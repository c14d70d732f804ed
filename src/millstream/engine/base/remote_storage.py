"""Remote storage: object stores and whatever else fsspec reaches."""

import datetime
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, cast
from urllib.parse import urlsplit

from millstream.engine.base.errors import (
    DurabilityError,
    MissingDependencyError,
    UnsupportedOperationError,
)
from millstream.engine.base.object_puts import PutNew, conditional_put, s3_endpoint
from millstream.engine.base.storage import AppendStream, FileInfo, scratch_name


class FsspecStorage:
    """Any file system fsspec knows, below one root."""

    def __init__(
        self,
        root_uri: str,
        root_path: str,
        filesystem: Any,
        *,
        has_directories: bool = True,
        put_new: PutNew | None = None,
        resolution_ms: int = 1,
    ) -> None:
        """Use an fsspec file system, which calls `root_uri` `root_path`.

        Without `has_directories` it is a plain store of objects: a directory is what the
        names of objects begin with, and an object is put whole, over one that is there.
        `put_new` writes a file if there is none of its name. Times of files are rounded
        down to `resolution_ms`.
        """
        self.resolution_ms = resolution_ms
        self._put_new = put_new
        self._root_uri = root_uri
        self._root_path = root_path.rstrip("/")
        self._fs = filesystem
        self._has_directories = has_directories

    def uri(self, path: str) -> str:
        """Return `scheme://host/path`."""
        return self._root_uri + path.removeprefix(self._root_path)

    def path_below(self, rest: str) -> str:
        """Return the path of what follows the root in a URI."""
        return self._root_path + rest

    def open_input(self, path: str) -> BinaryIO:
        """Open a file for reading."""
        return cast(BinaryIO, self._fs.open(path, "rb"))

    def create(self, path: str) -> BinaryIO:
        """Open a new file for writing."""
        self.make_dirs(self._fs._parent(path))
        return cast(BinaryIO, self._fs.open(path, "wb"))

    def append(self, path: str) -> AppendStream:
        """Refuse: object stores can't make the end of a file safe."""
        msg = f"'{self.uri(path)}' can't be appended to safely"
        raise DurabilityError(
            msg,
            hint="set closeFileAfterWrite of the write-ahead logs to true, or keep them "
            "on a local or mounted disk",
        )

    @contextmanager
    def open_atomic(self, path: str, *, sync: bool = True) -> Iterator[BinaryIO]:
        """Write beside the target, then move: half a file would be seen.

        What goes into an object is kept here until it is complete, beyond some MB on disk.
        """
        del sync  # A store has what it has accepted.
        if not self._has_directories:
            with SpooledTemporaryFile(_SPOOLED_BYTES) as spool:
                yield cast(BinaryIO, spool)
                spool.seek(0)
                with self.create(path) as out:
                    shutil.copyfileobj(spool, out, _COPIED_BYTES)
            return
        scratch = f"{self._fs._parent(path)}/{scratch_name()}"
        try:
            with self.create(scratch) as out:
                yield out
            self.rename(scratch, path)
        except BaseException:
            self.delete(scratch)
            raise

    def write_atomic(self, path: str, data: bytes, *, sync: bool = True) -> None:
        """Put the whole object: stores make it visible when it is complete."""
        del sync
        self.make_dirs(self._fs._parent(path))
        self._fs.pipe_file(path, data)

    def write_new(self, path: str, data: bytes) -> None:
        """Put the whole object, on the condition that there is none."""
        if self._put_new is None:
            msg = f"'{self.uri(path)}' can't be made only if it isn't there"
            raise UnsupportedOperationError(
                msg, hint="a file system of this machine, s3:, gs: and abfs: can do it"
            )
        self.make_dirs(self._fs._parent(path))
        self._put_new(path, data)

    def sync(self, path: str) -> None:
        """Do nothing: what can be read of a store is safe.

        Raises:
            FileNotFoundError: It isn't there.
        """
        self._fs.info(path)

    def rename(self, source: str, target: str) -> None:
        """Move; on object stores this is a copy and a delete."""
        is_directory = self._fs.isdir(source)
        if self._has_directories and not is_directory and self._fs.exists(target):
            self._fs.rm(target)
        self._fs.mv(source, target, recursive=is_directory)

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
        if self._has_directories:
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
        # Some stores list the directory's own marker among its entries.
        found = [info for info in found if info.path != path.rstrip("/")]
        return sorted(found, key=lambda info: info.name)

    def _as_info(self, facts: dict[str, Any]) -> FileInfo:
        path = str(facts["name"]).rstrip("/")
        known = [facts[key] for key in _TIME_KEYS if facts.get(key) is not None]
        seconds = _seconds(known[0]) if known else 0.0
        return FileInfo(
            path,
            path.rsplit("/", 1)[-1],
            int(facts.get("size") or 0),
            int(seconds * 1000),
            facts["type"] == "directory",
        )


# Each library's name for when a file was written.
_TIME_KEYS = ("mtime", "LastModified", "last_modified", "updated", "created")


def _seconds(moment: Any) -> float:
    if isinstance(moment, str):
        moment = datetime.datetime.fromisoformat(moment)
    if isinstance(moment, datetime.datetime):
        return moment.timestamp()
    return float(moment)


# Hadoop's names for what has another name elsewhere.
_SCHEMES = {"s3a": "s3", "s3n": "s3", "gcs": "gs", "abfss": "abfs"}
_STORES_OF_OBJECTS = {"s3", "gs"}
_RESOLUTION_MS = dict.fromkeys(("s3", "abfs", "sftp", "ssh", "ftp"), 1000)
_SPOOLED_BYTES = 16 << 20
_COPIED_BYTES = 4 << 20


@lru_cache(maxsize=32)
def remote_storage(scheme: str, host: str) -> FsspecStorage:
    """Return the storage below `scheme://host`.

    Raises:
        MissingDependencyError: The library for the scheme isn't installed.
    """
    try:
        from fsspec.core import url_to_fs  # noqa: PLC0415  Only for remote files.
    except ImportError as error:
        msg = f"'{scheme}:' paths need fsspec"
        raise MissingDependencyError(msg, hint="pip install fsspec") from error
    root_uri = f"{scheme}://{host}"
    plain = _SCHEMES.get(scheme, scheme)
    arrow = _arrow(plain, host)
    has_directories = plain not in _STORES_OF_OBJECTS
    if arrow is not None:
        return FsspecStorage(
            root_uri,
            *arrow,
            has_directories=has_directories,
            put_new=conditional_put(plain),
            resolution_ms=_RESOLUTION_MS.get(plain, 1),
        )
    try:
        filesystem, root_path = url_to_fs(f"{plain}://{host}/")
    except (ImportError, ValueError) as error:
        msg = f"no library for '{scheme}:' paths is installed: {error}"
        raise MissingDependencyError(
            msg, hint="pip install 'millstream[files]', or the fsspec package it names"
        ) from error
    return FsspecStorage(
        root_uri,
        root_path,
        filesystem,
        has_directories=has_directories,
        put_new=conditional_put(plain, filesystem),
        resolution_ms=_RESOLUTION_MS.get(plain, 1),
    )


def _arrow(scheme: str, host: str) -> tuple[str, Any] | None:
    """Return what Arrow calls the root, and its file system; None if it has none."""
    try:
        from fsspec.implementations.arrow import ArrowFSWrapper  # noqa: PLC0415
        from pyarrow import fs  # noqa: PLC0415
    except ImportError:
        return None
    makers: dict[str, Callable[[], tuple[Any, str]]] = {
        "s3": lambda: (fs.S3FileSystem(**_s3_options()), host),
        "gs": lambda: (fs.GcsFileSystem(), host),
        "abfs": lambda: fs.FileSystem.from_uri(f"abfs://{host}/"),
        "hdfs": lambda: fs.FileSystem.from_uri(f"hdfs://{host}/"),
        "viewfs": lambda: fs.FileSystem.from_uri(f"viewfs://{host}/"),
    }
    if scheme not in makers:
        return None
    try:
        filesystem, root_path = makers[scheme]()
    except OSError as error:
        if "libjvm" not in str(error):
            raise
        msg = f"'{scheme}:' paths need Hadoop's own library, and that needs Java"
        hint = "set JAVA_HOME and CLASSPATH, or use webhdfs:, which needs neither"
        raise MissingDependencyError(msg, hint=hint) from error
    return root_path, ArrowFSWrapper(filesystem)


def _s3_options() -> dict[str, Any]:
    """Return what Arrow doesn't take from the environment by itself, as other clients do.

    Credentials and the region it does take: AWS_ACCESS_KEY_ID and so on.
    """
    # A small object is then one request, not the three of an upload in parts.
    options: dict[str, Any] = {"allow_delayed_open": True}
    url = s3_endpoint()
    if url is not None:
        parts = urlsplit(url)
        options |= {"endpoint_override": parts.netloc, "scheme": parts.scheme}
    return options
