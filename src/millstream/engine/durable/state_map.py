"""VersionedMap: one partition's keyed state in memory, readable as of recent batches.

The newest version is one dict. Each version has an undo record: what its batch replaced.
Reading an older version looks there first. So a batch costs what it touches, whatever the
number of keys.
"""

import threading
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Any

# (key, state, stamp): the key is the first object that was seen for it.
_Entry = tuple[Any, Any, int]


class VersionedMap:
    """Keys with a state and a stamp: the time of the batch that touched them last.

    One thread writes; any may read. Versions are batch times, and only grow.
    """

    __slots__ = ("_by_stamp", "_entries", "_lock", "_undo", "newest")

    def __init__(self) -> None:
        """Start empty."""
        self._entries: dict[Any, _Entry] = {}
        self._undo: dict[int, dict[Any, _Entry | None]] = {}
        # Keys by stamp, oldest stamps first to go: finding idle keys looks at no others.
        self._by_stamp: dict[int, dict[Any, None]] | None = None
        self._lock = threading.Lock()
        self.newest = -1

    def __len__(self) -> int:
        return len(self._entries)

    def apply(
        self,
        version: int,
        puts: Mapping[Any, tuple[Any, int]],
        gone: Iterable[Hashable],
    ) -> None:
        """Make `version` the newest: these keys have these states now, those are gone.

        Applying the newest version again replaces it.
        """
        assert version >= self.newest, "versions only grow"
        with self._lock:
            if version in self._undo:
                self._undo_newest(version)
            undo: dict[Any, _Entry | None] = {}
            entries, by_stamp = self._entries, self._by_stamp
            for key, (state, stamp) in puts.items():
                before = entries.get(key)
                undo.setdefault(key, before)
                known = key if before is None else before[0]
                entries[key] = (known, state, stamp)
                if by_stamp is not None:
                    if before is not None:
                        self._forget_stamp(before)
                    by_stamp.setdefault(stamp, {})[known] = None
            for key in gone:
                before = entries.pop(key, None)
                if before is not None:
                    undo.setdefault(key, before)  # Also put in this batch: new then.
                    if by_stamp is not None:
                        self._forget_stamp(before)
            self._undo[version] = undo
            self.newest = version

    def _undo_newest(self, version: int) -> None:
        by_stamp = self._by_stamp
        for key, before in self._undo.pop(version).items():
            present = self._entries.get(key)
            if present is not None and by_stamp is not None:
                self._forget_stamp(present)
            if before is None:
                self._entries.pop(key, None)
                continue
            if present is not None and present[0] is not before[0]:
                del self._entries[
                    key
                ]  # Dropped and put again: the dict has the new key.
            self._entries[before[0]] = before
            if by_stamp is not None:
                by_stamp.setdefault(before[2], {})[before[0]] = None

    def _forget_stamp(self, entry: _Entry) -> None:
        assert self._by_stamp is not None, "asked only when there is an index"
        keys = self._by_stamp.get(entry[2])
        if keys is not None:
            keys.pop(entry[0], None)
            if not keys:
                del self._by_stamp[entry[2]]

    def get(self, key: Any, version: int) -> tuple[Any, int] | None:
        """Return the state and stamp of a key as of `version`, or None."""
        with self._lock:
            if (
                version >= self.newest
            ):  # The common case: no older version is asked for.
                entry = self._entries.get(key)
            else:
                entry = self._entry_as_of(key, version)
        return None if entry is None else (entry[1], entry[2])

    def _entry_as_of(self, key: Any, version: int) -> _Entry | None:
        for later, undo in self._undo.items():  # Oldest first: versions only grow.
            if later > version and key in undo:
                return undo[key]
        return self._entries.get(key)

    def items(self, version: int) -> Iterator[tuple[Any, Any, int]]:
        """Yield (key, state, stamp) of every key as of `version`."""
        with self._lock:
            changed = {k for t, undo in self._undo.items() if t > version for k in undo}
            if not changed:
                found = list(self._entries.values())
            else:
                found = [e for k, e in self._entries.items() if k not in changed]
                older = (self._entry_as_of(key, version) for key in changed)
                found += [entry for entry in older if entry is not None]
        return iter(found)

    def older_than(self, stamp: int, version: int) -> list[Any]:
        """Return the keys last touched before `stamp`, as of `version`.

        The first call makes an index, once; after that the cost is that of what is found.
        """
        with self._lock:
            if self._by_stamp is None:
                self._by_stamp = {}
                for key, _state, touched in self._entries.values():
                    self._by_stamp.setdefault(touched, {})[key] = None
            old = sorted(each for each in self._by_stamp if each < stamp)
            found = [key for each in old for key in self._by_stamp[each]]
            if version >= self.newest:
                return found
            changed = {k for t, undo in self._undo.items() if t > version for k in undo}
            entries = (self._entry_as_of(key, version) for key in changed)
            older = [e for e in entries if e is not None and e[2] < stamp]
            older.sort(key=lambda each: each[2])
            return [k for k in found if k not in changed] + [each[0] for each in older]

    def undo_after(self, version: int) -> None:
        """Go back to `version`, as if nothing had been applied since."""
        with self._lock:
            for later in [each for each in reversed(self._undo) if each > version]:
                self._undo_newest(later)
            self.newest = min(self.newest, version)

    def forget_before(self, version: int) -> None:
        """Give up reading versions before `version`."""
        with self._lock:
            for old in [each for each in self._undo if each <= version]:
                del self._undo[old]
