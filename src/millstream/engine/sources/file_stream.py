"""File stream: which files of a directory belong to which batch.

`FileSelection` decides, `FileMonitor` lists. A file belongs to the first batch that sees
it, if it was modified after the stream began (or inside the remember window) and not
after the batch's time, and isn't remembered from an earlier batch.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from millstream.engine.base.globs import glob
from millstream.engine.base.seldom import Seldom
from millstream.engine.base.storage import (
    FileInfo,
    LocalStorage,
    Storage,
    open_storage,
    path_text,
)

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
    listed_ms: int | None = None
    """The newest batch for which the directory could be listed."""

    def __setstate__(self, state: tuple[None, dict[str, Any]]) -> None:
        # Pickled by slots; older checkpoints don't have the newest of them.
        for name, value in {"listed_ms": None, **state[1]}.items():
            setattr(self, name, value)

    def select(self, batch_ms: int, files: Iterable[FileInfo]) -> tuple[str, ...]:
        """Return the paths that are new in this batch, in the order given.

        What is newer than the last listing wasn't in it: it is new, however long the store
        couldn't be reached since.
        """
        threshold_ms = self.threshold_ms(batch_ms)
        return tuple(
            info.path
            for info in files
            if threshold_ms < info.modified_ms <= batch_ms
            and info.path not in self.taken
        )

    def threshold_ms(self, batch_ms: int) -> int:
        """Return the time up to which files are old in a batch; it never goes back."""
        oldest_ms = batch_ms - self.remember_ms
        if self.listed_ms is not None:
            oldest_ms = min(oldest_ms, self.listed_ms)
        return max(self.began_ms, oldest_ms)

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
        directory: Any,
        selection: FileSelection,
        accepts: Callable[[str], bool] | None = None,
    ) -> None:
        """Watch `directory`; `accepts(path)` replaces the rule that hides `.` names.

        Raises:
            MissingDependencyError: The library for its scheme isn't installed.
            UsageError: It is no path.
        """
        self.directory = path_text(directory)
        storage, _ = open_storage(self.directory)
        # A store that tells seconds only has a file of this second begin before we did.
        resolution_ms = getattr(storage, "resolution_ms", 1)
        if selection.began_ms % resolution_ms:
            selection.began_ms -= selection.began_ms % resolution_ms + 1
        self._selection = selection
        self._accepts = accepts
        self._old = _OldNames()
        self._seldom = Seldom(_log)

    def __getstate__(self) -> dict[str, Any]:
        state = {**self.__dict__, "_old": _OldNames()}
        del state["_seldom"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Older checkpoints don't have what is only there to save time.
        made = {"_old": _OldNames(), "_seldom": Seldom(_log)}
        self.__dict__.update({**made, **state})

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
        listed = self._list(batch_ms)
        if listed is None:
            self._selection.apply(batch_ms, ())
            return ()
        files = [each.info for each in listed]
        paths = self._selection.select(batch_ms, files)
        threshold_ms = self._selection.threshold_ms(batch_ms)
        self._selection.apply(batch_ms, paths)
        self._selection.listed_ms = max(batch_ms, self._selection.listed_ms or 0)
        taken = set(paths)
        self._old.add(
            each
            for each in listed
            if each.info.modified_ms <= threshold_ms or each.info.path in taken
        )
        self._warn_of_empty(files, taken)
        return paths

    def forget(self, before_ms: int) -> None:
        """Forget batches before `before_ms`."""
        self._selection.forget(before_ms)

    def _list(self, batch_ms: int) -> "list[_Listed] | None":
        self._old.begin(batch_ms, self.remember_ms)
        storage, path = open_storage(self.directory)
        try:
            directories = glob(storage, path.rstrip("/") or "/")
            return [
                _Listed(directory.path, replace(info, path=storage.uri(info.path)))
                for directory in directories
                if directory.is_dir
                for info in _entries(
                    storage, directory.path, self._old.names(directory.path)
                )
                if not info.is_dir and self._takes(info)
            ]
        except OSError as error:
            # All or nothing: half a listing would be a batch nobody can explain.
            self._seldom.warning(
                "can't list a directory; the batch gets no files, a later one gets what "
                "is new directory=%s error=%s",
                self.directory,
                error,
            )
            return None

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


def _entries(storage: Storage, directory: str, old: set[str]) -> list[FileInfo]:
    try:
        if isinstance(storage, LocalStorage):
            return storage.list_except(directory, old)
        return storage.list(directory)  # It tells all of each entry anyway.
    except FileNotFoundError:
        return []  # It vanished while we looked; perhaps it comes back.


@dataclass(frozen=True, slots=True)
class _Listed:
    directory: str
    info: FileInfo


class _OldNames:
    """Names that no batch takes for now: the system needn't be asked about their files.

    Of 10,000 old files that saves nine tenths of a listing. One that is written again is
    new again; so all names are forgotten twice within the remember window, in which it
    counts as new. (Events of the file system would tell at once, and save the rest of the
    listing, a few ms; but when files are read is for the batches to say.)
    """

    def __init__(self) -> None:
        self._names: dict[str, set[str]] = {}
        self._began_ms: int | None = None

    def begin(self, batch_ms: int, remember_ms: int) -> None:
        """Forget all when it is time to."""
        began_ms = self._began_ms
        if began_ms is None or not 0 <= batch_ms - began_ms < remember_ms // 2:
            self._names = {}
            self._began_ms = batch_ms

    def names(self, directory: str) -> set[str]:
        """Return the names in a directory."""
        return self._names.get(directory, set())

    def add(self, listed: Iterable[_Listed]) -> None:
        """Remember files that are old now."""
        for each in listed:
            self._names.setdefault(each.directory, set()).add(each.info.name)
