"""CheckpointFiles: the metadata checkpoints in a directory, newest first.

A file is `checkpoint-<ms>`; what stood under that name before becomes
`checkpoint-<ms>.bk`. Each holds checksummed frames. A file that can't be read is passed
over with a warning, and the next older one is taken. So whatever a file needs of the state
and the logs is kept while the file is there.
"""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from millstream.engine.base import frames
from millstream.engine.base.errors import DurabilityError, MillstreamError, SparkError
from millstream.engine.base.storage import Storage, open_storage

_log = logging.getLogger(__name__)
_NAME = re.compile(r"checkpoint-([0-9]+)(\.bk)?")
KEPT_MAX = 10
T = TypeVar("T")


@dataclass(frozen=True, slots=True, order=True)
class CheckpointFile:
    """One file of the directory; ordered oldest first, a backup before its successor."""

    time_ms: int
    is_newest_of_time: bool
    path: str


@dataclass(frozen=True, slots=True)
class Needs:
    """What a restart from a checkpoint needs besides the checkpoint."""

    oldest_ms: int
    """The first batch that it runs again."""
    state_files: Mapping[str, frozenset[str]]
    """The names of files of states, by their directories."""


class CheckpointFiles:
    """Writes checkpoints and reads the newest valid one.

    One thread at a time writes, and nobody else writes to the directory meanwhile (see
    `driver_claim`): what is there is listed once, and again when a write has failed.
    """

    def __init__(
        self,
        uri: str,
        *,
        storage: Storage | None = None,
        needs_of: Callable[[list[bytes]], Needs] | None = None,
    ) -> None:
        """Use directory `uri`, which may be missing.

        `needs_of` says what a file needs that this object hasn't written itself.
        """
        self.uri = uri
        if storage is None:
            self._storage, self._directory = open_storage(uri)
        else:
            self._storage, self._directory = storage, uri
        self._needs_of = needs_of
        self._newest_ms = -1
        # Which files are there, with what they need; None: it must be looked at.
        self._present: dict[CheckpointFile, Needs | None] | None = None
        self._others: set[CheckpointFile] = set()

    def files(self) -> list[CheckpointFile]:
        """Return the checkpoints that are there, oldest first; none if there is no directory."""
        if not self._storage.exists(self._directory):
            return []
        found = []
        for info in self._storage.list(self._directory):
            name = _NAME.fullmatch(info.name)
            if name is not None and not info.is_dir:
                path = f"{self._directory}/{info.name}"
                found.append(CheckpointFile(int(name[1]), name[2] is None, path))
        return sorted(found)

    # Writing.

    def look(self) -> None:
        """Find out what is there, and what that needs; the writing thread only.

        Raises:
            OSError: The directory can't be listed.
        """
        found = self.files()
        self._newest_ms = max([self._newest_ms, *(each.time_ms for each in found)])
        self._present = {each: self._needs_of_file(each) for each in found}
        self._others = set(found)

    def _needs_of_file(self, file: CheckpointFile) -> Needs | None:
        if self._needs_of is None:
            return None
        try:
            return self._needs_of(self.read(file))
        except (MillstreamError, OSError) as error:
            _log.info(
                "an old checkpoint can't be read; what it names isn't spared file=%s "
                "error=%s",
                file.path,
                error,
            )
            return None

    def needs(self) -> list[Needs]:
        """Return what the checkpoints need that are there."""
        return [each for each in (self._present or {}).values() if each is not None]

    @property
    def has_others(self) -> bool:
        """Whether a checkpoint is there that this object didn't write."""
        return bool(self._others)

    def write(
        self, time_ms: int, parts: Sequence[bytes], needs: Needs | None = None
    ) -> None:
        """Write one checkpoint; it is there, whole and safe, when the call returns.

        The name carries the largest time of all that are there: a late checkpoint of an
        older batch, and the first ones after a restart, must not look older than the facts
        that they hold.

        Raises:
            DurabilityError, OSError: The disk refuses it.
        """
        if self._present is None:
            self.look()
        present, self._present = self._present, None  # Not known while it is changed.
        assert present is not None, "it has been looked at"
        self._newest_ms = max(self._newest_ms, time_ms)
        target = self._file(is_newest_of_time=True)
        backup = self._file(is_newest_of_time=False)
        if target in present:
            # Until the new one is there the backup is the newest.
            self._storage.rename(target.path, backup.path)
            present[backup] = present.pop(target)
            self._others.discard(backup)
            if target in self._others:
                self._others.remove(target)
                self._others.add(backup)
        data = b"".join(
            each for part in parts for each in (frames.header_of(part), part)
        )
        self._storage.write_atomic(target.path, data)
        present[target] = needs
        self._present = present
        self._delete_old(present)

    def _file(self, *, is_newest_of_time: bool) -> CheckpointFile:
        suffix = "" if is_newest_of_time else ".bk"
        path = f"{self._directory}/checkpoint-{self._newest_ms}{suffix}"
        return CheckpointFile(self._newest_ms, is_newest_of_time, path)

    def _delete_old(self, present: dict[CheckpointFile, Needs | None]) -> None:
        for old in sorted(present)[:-KEPT_MAX]:
            try:
                self._storage.delete(old.path)
            except (DurabilityError, OSError) as error:
                # The next write tries again.
                _log.warning(
                    "an old checkpoint can't be deleted file=%s error=%s",
                    old.path,
                    error,
                )
                continue
            del present[old]
            self._others.discard(old)

    # Reading.

    def read(self, file: CheckpointFile) -> list[bytes]:
        """Return the parts of one checkpoint.

        Raises:
            DurabilityError: It is damaged; names file and place.
        """
        with self._storage.open_input(file.path) as source:
            parts = list(frames.read_frames(source, file.path))
        if not parts:
            msg = f"file '{file.path}' is damaged: it is empty"
            raise DurabilityError(msg)
        return parts

    def newest(self, decode: Callable[[list[bytes]], T]) -> T | None:
        """Return what `decode` makes of the newest checkpoint that it can read.

        None when there is no checkpoint at all.

        Raises:
            SparkError: There are some, and none can be read.
            DurabilityError, OSError: The newest is whole, and can't be made safe.
        """
        failed: list[str] = []
        cause: BaseException | None = None
        for file in reversed(self.files()):
            try:
                parts = self.read(file)
            except (MillstreamError, OSError) as error:
                _warn_of(file, error)
                failed.append(f"{file.path}: {error}")
                cause = cause or error
                continue
            # Its writer may have been killed before its name was safe. No older one will
            # do when this fails: batches have run since that only this one knows.
            self._storage.sync(file.path)
            try:
                return decode(parts)
            except (MillstreamError, OSError, ValueError, KeyError, TypeError) as error:
                _warn_of(file, error)
                failed.append(f"{file.path}: {error}")
                cause = cause or error
        if not failed:
            return None
        msg = f"Failed to read checkpoint from directory {self.uri}"
        hint = (
            "none of its files can be read:\n  "
            + "\n  ".join(failed)
            + "\nrestore the files, or start from nothing with createOnError=True"
        )
        raise SparkError(msg, hint=hint) from cause


def _warn_of(file: CheckpointFile, error: Exception) -> None:
    _log.warning(
        "a checkpoint can't be read; trying an older one file=%s error=%s",
        file.path,
        error,
    )
