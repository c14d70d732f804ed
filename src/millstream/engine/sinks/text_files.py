"""Directory output: one file a partition, visible when the whole job is done.

A task writes below `_temporary` and a job's end moves the files into place and writes
`_SUCCESS`, so a reader never takes half an output for a whole one, and of several
attempts of a task one counts.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from millstream.engine.base.compression import compressing
from millstream.engine.base.errors import DurabilityError, FileAlreadyExistsError
from millstream.engine.base.storage import Storage, open_storage
from millstream.engine.durable import object_files

_SCRATCH = "_temporary"


@dataclass(frozen=True, slots=True)
class DirectoryOutput:
    """A directory being written. Picklable: tasks get a copy."""

    uri: str
    extension: str = ""
    writer: str = ""
    """Begins the names of scratch files, so that no two programs write the same."""

    def open_job(self, *, may_exist: bool) -> None:
        """Make the directory.

        Raises:
            FileAlreadyExistsError: It is there, and `may_exist` is false.
        """
        storage, path = open_storage(self.uri)
        if not may_exist and storage.exists(path):
            msg = f"Output directory {storage.uri(path)} already exists"
            raise FileAlreadyExistsError(
                msg,
                hint="delete it, write elsewhere, or set "
                "spark.hadoop.validateOutputSpecs=false to write into it",
            )
        storage.make_dirs(f"{path}/{_SCRATCH}")

    def write_partition(
        self, index: int, attempt: int, write: Callable[[Storage, str], Any]
    ) -> str:
        """Write one partition below `_temporary`; return its scratch path."""
        storage, path = open_storage(self.uri)
        name = f"{self.writer}{attempt}-{self._name(index)}"
        scratch = f"{path}/{_SCRATCH}/{name}"
        try:
            write(storage, scratch)
        except BaseException:
            storage.delete(scratch)
            raise
        return scratch

    def commit_job(self, scratch_paths: list[str]) -> None:
        """Move the partitions, in order, into place and write `_SUCCESS`.

        Raises:
            DurabilityError: A task has written where it can't be seen from here.
        """
        storage, path = open_storage(self.uri)
        # Of an earlier run: while files are replaced the output isn't whole.
        storage.delete(f"{path}/_SUCCESS")
        for index, scratch in enumerate(scratch_paths):
            try:
                storage.rename(scratch, f"{path}/{self._name(index)}")
            except FileNotFoundError as error:
                msg = f"partition {index} was written to {scratch}, which isn't here"
                raise DurabilityError(
                    msg, hint="write to storage that all nodes of the cluster share"
                ) from error
        storage.delete_tree(f"{path}/{_SCRATCH}")
        storage.create(f"{path}/_SUCCESS").close()

    def abort_job(self) -> None:
        """Drop what tasks have written."""
        storage, path = open_storage(self.uri)
        storage.delete_tree(f"{path}/{_SCRATCH}")

    def _name(self, index: int) -> str:
        return f"part-{index:05d}{self.extension}"


@dataclass(frozen=True, slots=True)
class WriteText:
    """Writes records as lines: text and bytes as they are, others by `str`."""

    rows: Iterable[Any]
    extension: str

    def __call__(self, storage: Storage, path: str) -> None:
        """Write the file."""
        with storage.create(path) as out, compressing(out, self.extension) as lines:
            lines.writelines(map(line_of, self.rows))


@dataclass(frozen=True, slots=True)
class WriteObjects:
    """Writes records pickled, in batches."""

    rows: Iterable[Any]
    batch_rows: int

    def __call__(self, storage: Storage, path: str) -> None:
        """Write the file."""
        # Not synced: like text, it is as safe as the file system makes it.
        object_files.write_rows(storage, path, self.rows, self.batch_rows, sync=False)


def line_of(record: Any) -> bytes:
    """Return a record as a line with its end."""
    if isinstance(record, bytes):
        return record + b"\n"
    text = record if isinstance(record, str) else str(record)
    return text.encode("utf-8", "surrogatepass") + b"\n"
