"""File reading: what is committed in the directory of a file sink, for any reader."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from millstream.engine.base.errors import DurabilityError
from millstream.engine.base.storage import open_storage, path_text
from millstream.engine.sinks.files.log import FileLog
from millstream.engine.sinks.files.manifest import DataFile, Manifest
from millstream.engine.sinks.files.parts import read_checked
from millstream.engine.sinks.files.schema import decoded


@dataclass(frozen=True, slots=True)
class CommittedFiles:
    """The files of a directory that count, at one moment.

    Files that it lists are there for the sink's time of grace at least, and never change.
    """

    directory: str
    number: int
    """Of the newest entry of the manifest: it rises with each change."""
    files: tuple[DataFile, ...]
    """In order of batches."""
    schema: Mapping[str, pl.DataType]
    """All columns, those in folders' names too; empty for text."""
    batches_ms: Mapping[str, int]
    """The newest batch of each output: all of it is here, and of those before it."""
    _elsewhere: Mapping[str, str]

    def paths(self) -> list[str]:
        """Return where the files are: paths or URIs, as the directory was given.

        Columns of partitioned outputs are in the paths, as Hive has them.
        """
        return [f"{self.directory}/{self._place(each)}" for each in self.files]

    def rows(self) -> int:
        """Return how many records are in all of them."""
        return sum(each.rows for each in self.files)

    def check(self) -> None:
        """Read every file, and compare its size and checksum with the manifest.

        Raises:
            DurabilityError: One is damaged or gone; names it.
        """
        for each in self.files:
            read_checked(self.directory, each, self._place(each))

    def _place(self, file: DataFile) -> str:
        return self._elsewhere.get(file.path, file.path)


def read_manifest(directory: Any) -> CommittedFiles:
    """Return which files are committed in the directory of a file sink.

    It reads the manifest only. Ask again for what is committed later.

    Raises:
        DurabilityError: The manifest is damaged, or there is none.
    """
    where = path_text(directory).rstrip("/")
    manifest = FileLog(where, 0).load()
    if not manifest.number:
        msg = f"'{where}' has no manifest: no file sink has written there yet"
        raise DurabilityError(msg, hint="check the path")
    ordered = sorted(
        manifest.files.values(), key=lambda each: (each.batch_ms, each.path)
    )
    return CommittedFiles(
        where,
        manifest.number,
        tuple(ordered),
        decoded(manifest.schema),
        {
            name: mark.batch_ms
            for name, mark in manifest.marks.items()
            if mark.batch_ms is not None
        },
        dict(_elsewhere(where, manifest)),
    )


def _elsewhere(directory: str, manifest: Manifest) -> Iterator[tuple[str, str]]:
    """Yield final files that aren't in place, and where they are: their writer crashed."""
    storage, base = open_storage(directory)
    for mark in manifest.marks.values():
        for file in mark.unplaced:
            if not storage.exists(f"{base}/{file.path}"):
                yield file.path, file.part
