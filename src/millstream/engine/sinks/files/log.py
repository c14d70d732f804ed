"""File log: the manifest of a directory as files, one an entry, and a whole one at times.

    _millstream/log/00000000000000000007.json             entry 7
    _millstream/log/00000000000000000010.manifest.json    what entries 1 to 10 come to

An entry is written on the condition that there is none of its number. Entries that a whole
manifest covers are deleted some time later.
"""

import json
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from millstream.engine.base.clock import Clock, SystemClock
from millstream.engine.base.errors import DurabilityError, UnsupportedOperationError
from millstream.engine.base.storage import FileInfo, open_storage
from millstream.engine.sinks.files.manifest import DataFile, Entry, Manifest, Mark

HIDDEN = "_millstream"
_FORMAT = 1
_NAME = re.compile(r"(\d{20})(\.manifest)?\.json")
_SCRATCH = ".tmp-"  # Left by a process that was killed.
_TRIES = 50
_WHOLE_AFTER_MIN, _WHOLE_AFTER_MAX = 10, 100
_FILES_AN_ENTRY = 100


class FileLog:
    """The log of one directory. Picklable; not thread-safe."""

    def __init__(
        self, directory: str, grace_ms: int, clock: Clock | None = None
    ) -> None:
        """Use the log below `directory`; what is old is kept for `grace_ms`."""
        self.directory = directory
        self._grace_ms = grace_ms
        self._clock = clock or SystemClock()
        self._whole = 0
        self._fresh_ms: int | None = None
        """When the newest entry was known to be the one that we know, if it was ever."""

    def load(self) -> Manifest:
        """Return the manifest as it is now; an empty one if there is none.

        Raises:
            DurabilityError: It is damaged; names the file.
        """
        for _ in range(_TRIES):
            fresh_ms = self._clock.now_ms()
            try:
                found = self._load()
            except FileNotFoundError:
                continue  # It was covered and deleted meanwhile: there is a newer one.
            self._fresh_ms = fresh_ms
            return found
        msg = f"the manifest of '{self.directory}' changes faster than it can be read"
        raise DurabilityError(msg)

    def append(
        self, manifest: Manifest, make: Callable[[Manifest], Entry | None]
    ) -> Manifest:
        """Write the next entry; return the manifest with it.

        `make(manifest)` returns the entry that is to follow `manifest`, or None if there
        is nothing to do. Where another writer was faster it is asked again.

        Raises:
            DurabilityError: It can't be written, or others are always faster.
        """
        for _ in range(_TRIES):
            entry = make(manifest)
            if entry is None:
                return manifest
            manifest.check(entry)  # Before it is there for good.
            before_ms = self._clock.now_ms()
            try:
                self._put(entry)
            except FileExistsError:
                manifest = self.load()
                continue
            if self._is_covered(entry, before_ms):
                # We slept, and others have gone on: it counts for nobody.
                self._delete(_entry_name(entry.number))
                manifest = self.load()
                continue
            manifest.apply(entry)
            return manifest
        msg = f"others write to '{self.directory}' all the time"
        raise DurabilityError(msg, hint="give each program a directory of its own")

    def check_conditions(self, entry: Entry) -> None:
        """Make sure that an entry can't be written twice: try it with one that is there.

        Raises:
            UnsupportedOperationError: It can: the storage ignores the condition.
        """
        try:
            self._put(entry)
        except FileExistsError:
            return
        msg = (
            f"the storage of '{self.directory}' writes objects that are there already, "
            "though it was told not to: nothing would be committed exactly once"
        )
        raise UnsupportedOperationError(msg, hint="a newer S3 server may know better")

    def tidy(self, manifest: Manifest) -> None:
        """Write a whole manifest when it is time for one, and delete what is old."""
        files = len(manifest.files) // _FILES_AN_ENTRY
        due = min(_WHOLE_AFTER_MAX, max(_WHOLE_AFTER_MIN, files))
        if manifest.number - self._whole < due:
            return
        storage, path = open_storage(self._path(_whole_name(manifest.number)))
        storage.write_atomic(path, _encoded(_manifest_data(manifest)))
        self._whole = manifest.number
        limit_ms = self._clock.now_ms() - self._grace_ms
        for info in self._list():
            found = _NAME.fullmatch(info.name)
            is_covered = found is not None and int(found[1]) < manifest.number
            is_covered |= info.name.startswith(_SCRATCH)
            if is_covered and info.modified_ms <= limit_ms:
                storage.delete(info.path)

    def _load(self) -> Manifest:
        names = [
            found for info in self._list() if (found := _NAME.fullmatch(info.name))
        ]
        whole = max((int(each[1]) for each in names if each[2]), default=0)
        entries = sorted(
            n for each in names if not each[2] and (n := int(each[1])) > whole
        )
        manifest = Manifest()
        if whole:
            manifest = _manifest_of(self._read(_whole_name(whole)))
        for number, there in enumerate(entries, whole + 1):
            if number != there:
                msg = f"the manifest of '{self.directory}' lacks entry {number}"
                raise DurabilityError(msg, hint="restore the file from a copy")
            manifest.apply(_entry_of(self._read(_entry_name(number))))
        self._whole = whole
        return manifest

    def _put(self, entry: Entry) -> None:
        storage, path = open_storage(self._path(_entry_name(entry.number)))
        storage.write_new(path, _encoded(_entry_data(entry)))

    def _is_covered(self, entry: Entry, before_ms: int) -> bool:
        """Say whether an entry was written where an old one had been deleted.

        `before_ms` is a time before it was written.
        """
        fresh_ms, self._fresh_ms = self._fresh_ms, before_ms
        since_ms = None if fresh_ms is None else self._clock.now_ms() - fresh_ms
        if since_ms is not None and 0 <= since_ms < self._grace_ms // 2:
            return False  # One that was written meanwhile is too young to be deleted.
        names = [_NAME.fullmatch(info.name) for info in self._list()]
        newest = max((int(each[1]) for each in names if each and each[2]), default=0)
        return newest >= entry.number

    def _list(self) -> list[FileInfo]:
        storage, path = open_storage(self._path(""))
        try:
            return storage.list(path.rstrip("/"))
        except FileNotFoundError:
            return []

    def _delete(self, name: str) -> None:
        storage, path = open_storage(self._path(name))
        storage.delete(path)

    def _read(self, name: str) -> dict[str, Any]:
        storage, path = open_storage(self._path(name))
        with storage.open_input(path) as source:
            return _decoded(source.read(), storage.uri(path))

    def _path(self, name: str) -> str:
        return f"{self.directory}/{HIDDEN}/log/{name}"


def _entry_name(number: int) -> str:
    return f"{number:020d}.json"


def _whole_name(number: int) -> str:
    return f"{number:020d}.manifest.json"


def _encoded(data: Mapping[str, Any]) -> bytes:
    """Return JSON: the data, and the CRC-32 of the data's text without spaces."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"))
    crc32 = f"{zlib.crc32(text.encode()):08x}"
    return f'{{"crc32":"{crc32}","data":{text}}}\n'.encode()


def _decoded(data: bytes, uri: str) -> dict[str, Any]:
    try:
        whole = json.loads(data)
        found: dict[str, Any] = whole["data"]
        is_damaged = _encoded(found) != data
    except (ValueError, KeyError, TypeError) as error:
        msg = f"'{uri}' is damaged: {error}"
        raise DurabilityError(msg, hint="restore the file from a copy") from error
    if is_damaged:
        msg = f"'{uri}' is damaged: its checksum is another one"
        raise DurabilityError(msg, hint="restore the file from a copy")
    if found["format"] != _FORMAT:
        msg = f"'{uri}' is of format {found['format']}, and this is {_FORMAT}"
        raise DurabilityError(msg, hint="it was written by a newer version")
    return found


def _entry_data(entry: Entry) -> dict[str, Any]:
    return {"format": _FORMAT, **asdict(entry)}


def _entry_of(data: Mapping[str, Any]) -> Entry:
    fields = {key: value for key, value in data.items() if key != "format"}
    fields["added"] = tuple(DataFile(**each) for each in data["added"])
    for name in ("removed", "purged"):
        fields[name] = tuple(data[name])
    return Entry(**fields)


def _manifest_data(manifest: Manifest) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "number": manifest.number,
        "schema": manifest.schema,
        "marks": {name: asdict(mark) for name, mark in manifest.marks.items()},
        "files": [asdict(each) for each in manifest.files.values()],
        "removed": manifest.removed,
    }


def _manifest_of(data: Mapping[str, Any]) -> Manifest:
    files = [DataFile(**each) for each in data["files"]]
    return Manifest(
        data["number"],
        data["schema"],
        {name: _mark_of(each) for name, each in data["marks"].items()},
        {each.path: each for each in files},
        dict(data["removed"]),
    )


def _mark_of(data: Mapping[str, Any]) -> Mark:
    unplaced = tuple(DataFile(**each) for each in data["unplaced"])
    return Mark(data["run"], data["batch_ms"], unplaced)
