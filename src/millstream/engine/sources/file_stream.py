"""File stream: which files of a directory belong to which batch.

`FileSelection` decides, `FileMonitor` lists. A file belongs to the first batch that sees
it, if it was modified after the stream began (or inside the remember window) and not
after the batch's time, and isn't remembered from an earlier batch.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from millstream.engine.base.globs import glob
from millstream.engine.base.storage import FileInfo, Storage, open_storage

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class FileSelection:
    """The files of each remembered batch. A core: pure.

    `began_ms` is the time before which files are old: the stream's beginning, or 0 to take
    files that were there before.
    """

    began_ms: int
    remember_ms: int
    files_of_batch: dict[int, tuple[str, ...]] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)

    def select(self, batch_ms: int, files: Iterable[FileInfo]) -> tuple[str, ...]:
        """Return the paths that are new in this batch, in the order given."""
        threshold_ms = max(self.began_ms, batch_ms - self.remember_ms)
        return tuple(
            info.path
            for info in files
            if threshold_ms < info.modified_ms <= batch_ms
            and info.path not in self.taken
        )

    def apply(self, batch_ms: int, paths: tuple[str, ...]) -> None:
        """Remember a batch's files."""
        self.files_of_batch[batch_ms] = paths
        self.taken.update(paths)

    def forget(self, before_ms: int) -> None:
        """Forget batches before `before_ms`, and their files' names."""
        for old in [t for t in self.files_of_batch if t < before_ms]:
            self.taken.difference_update(self.files_of_batch.pop(old))

    def restore(self, files_of_batch: Mapping[int, tuple[str, ...]]) -> None:
        """Take over what a checkpoint remembered."""
        for batch_ms, paths in files_of_batch.items():
            self.apply(batch_ms, tuple(paths))


class FileMonitor:
    """Lists a directory (or those a pattern matches) and selects what is new."""

    def __init__(
        self,
        directory: str,
        selection: FileSelection,
        accepts: Callable[[str], bool] | None = None,
    ) -> None:
        """Watch `directory`; `accepts(path)` replaces the rule that hides `.` names."""
        self.directory = directory
        self._selection = selection
        self._accepts = accepts

    @property
    def remember_ms(self) -> int:
        """How long names are remembered."""
        return self._selection.remember_ms

    @property
    def began_ms(self) -> int:
        """The time before which files are old."""
        return self._selection.began_ms

    def files_of_batches(self) -> Mapping[int, tuple[str, ...]]:
        """Return the files of each remembered batch."""
        return self._selection.files_of_batch

    def restore(
        self, began_ms: int, files_of_batch: Mapping[int, tuple[str, ...]]
    ) -> None:
        """Go on where a checkpoint was taken."""
        self._selection.began_ms = began_ms
        self._selection.restore(files_of_batch)

    def find(self, batch_ms: int) -> tuple[str, ...]:
        """Return the URIs of the batch's files; the same again when asked again."""
        known = self._selection.files_of_batch.get(batch_ms)
        if known is not None:
            return known
        files = self._list()
        paths = self._selection.select(batch_ms, files)
        self._selection.apply(batch_ms, paths)
        self._warn_of_empty(files, set(paths))
        return paths

    def forget(self, before_ms: int) -> None:
        """Forget batches before `before_ms`."""
        self._selection.forget(before_ms)

    def _list(self) -> list[FileInfo]:
        storage, path = open_storage(self.directory)
        try:
            directories = glob(storage, path.rstrip("/") or "/")
            return [
                replace(info, path=storage.uri(info.path))
                for directory in directories
                if directory.is_dir
                for info in _entries(storage, directory.path)
                if not info.is_dir and self._takes(info)
            ]
        except OSError as error:
            # All or nothing: half a listing would be a batch nobody can explain.
            _log.warning(
                "can't list a directory; the batch gets no files directory=%s error=%s",
                self.directory,
                error,
            )
            return []

    def _warn_of_empty(self, files: list[FileInfo], selected: set[str]) -> None:
        empty = [f for f in files if f.path in selected and f.size_bytes == 0]
        for info in empty:
            _log.warning(
                "a new file is empty; was it moved here when complete? file=%s",
                info.path,
            )

    def _takes(self, info: FileInfo) -> bool:
        if self._accepts is not None:
            return self._accepts(info.path)
        return not info.name.startswith(".")


def _entries(storage: Storage, directory: str) -> list[FileInfo]:
    try:
        return storage.list(directory)
    except FileNotFoundError:
        return []  # It vanished while we looked; perhaps it comes back.
