"""CheckpointFiles: the metadata checkpoints in a directory, newest first.

A file is `checkpoint-<ms>`; what stood under that name before becomes
`checkpoint-<ms>.bk`. Each holds checksummed frames. A file that can't be read is passed
over with a warning, and the next older one is taken.
"""

import io
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from millstream.engine.base import frames
from millstream.engine.base.errors import DurabilityError, MillstreamError, SparkError
from millstream.engine.base.storage import Storage, open_storage

_log = logging.getLogger(__name__)
_NAME = re.compile(r"checkpoint-([0-9]+)(\.bk)?")
_KEPT_MAX = 10
T = TypeVar("T")


@dataclass(frozen=True, slots=True, order=True)
class CheckpointFile:
    """One file of the directory; ordered oldest first, a backup before its successor."""

    time_ms: int
    is_newest_of_time: bool
    path: str


class CheckpointFiles:
    """Writes checkpoints and reads the newest valid one. One thread at a time writes."""

    def __init__(self, uri: str, *, storage: Storage | None = None) -> None:
        """Use directory `uri`, which may be missing."""
        self.uri = uri
        if storage is None:
            self._storage, self._directory = open_storage(uri)
        else:
            self._storage, self._directory = storage, uri
        self._newest_ms = -1

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

    def write(self, time_ms: int, parts: Sequence[bytes]) -> None:
        """Write one checkpoint; it is there, whole and safe, when the call returns.

        The name carries the largest time written so far: a late checkpoint of an older
        batch must not look older than the facts that it holds.

        Raises:
            DurabilityError, OSError: The disk refuses it.
        """
        self._newest_ms = max(self._newest_ms, time_ms)
        out = io.BytesIO()
        for part in parts:
            frames.write_frame(out, part)
        target = f"{self._directory}/checkpoint-{self._newest_ms}"
        if self._storage.exists(target):
            self._storage.rename(target, f"{target}.bk")
        self._storage.write_atomic(target, out.getvalue())
        for old in self.files()[:-_KEPT_MAX]:
            self._storage.delete(old.path)

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
        """
        failed: list[str] = []
        cause: BaseException | None = None
        for file in reversed(self.files()):
            try:
                decoded = decode(self.read(file))
            except (MillstreamError, OSError, ValueError, KeyError, TypeError) as error:
                _log.warning(
                    "a checkpoint can't be read; trying an older one file=%s error=%s",
                    file.path,
                    error,
                )
                failed.append(f"{file.path}: {error}")
                cause = cause or error
                continue
            self._newest_ms = file.time_ms
            return decoded
        if not failed:
            return None
        msg = f"Failed to read checkpoint from directory {self.uri}"
        hint = (
            "none of its files can be read:\n  "
            + "\n  ".join(failed)
            + "\nrestore the files, or start from nothing with createOnError=True"
        )
        raise SparkError(msg, hint=hint) from cause
