"""StateStore: one stateful operator's state: staged by tasks, committed batch by batch.

A task stages what its partition changed in a batch; staging again replaces it, so a task
may run twice. When the batch is done, `commit` writes the changes of all partitions as
one delta. Versions are batch times.
"""

import itertools
import threading
import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from millstream.engine.base.errors import InternalError
from millstream.engine.durable.state_files import (
    Changes,
    LoadedPartition,
    StateFiles,
)
from millstream.engine.durable.state_map import VersionedMap
from millstream.engine.durable.state_values import thaw_state

_tokens = itertools.count()
_stores: "weakref.WeakValueDictionary[int, StateStore]" = weakref.WeakValueDictionary()


def find_store(token: int) -> "StateStore":
    """Return the store that a task's function refers to.

    Raises:
        InternalError: It isn't in this process.
    """
    try:
        return _stores[token]
    except KeyError:
        msg = f"state store {token} isn't in this process"
        raise InternalError(msg) from None


@dataclass(frozen=True, slots=True)
class StoredState:
    """One partition of a committed version, read from files; a source partition."""

    token: int
    version: int
    partition: int

    def read(self) -> Iterable[Any]:
        """Return its pairs."""
        return find_store(self.token).rows(self.version, self.partition)


class StateStore:
    """The state of one operator in `partition_count` partitions. Thread-safe."""

    def __init__(
        self, name: str, partition_count: int, files: StateFiles, begin: int
    ) -> None:
        """Keep versions in `files`; a batch before or at `begin` had no state."""
        self.name = name
        self.partition_count = partition_count
        self.files = files
        self.begin = begin
        self.token = next(_tokens)
        self._lock = threading.RLock()
        self._staged: dict[int, dict[int, Changes]] = {}
        self._maps: dict[int, VersionedMap] | None = None
        self._floor = begin
        """The oldest version that the maps can be read as of."""
        self._loaded: tuple[int, Sequence[LoadedPartition]] | None = None
        _stores[self.token] = self

    # What tasks do.

    def stage(
        self,
        version: int,
        partition: int,
        puts: dict[Any, tuple[Any, int]],
        gone: Iterable[Any],
    ) -> None:
        """Note what one partition changed: kept states with their stamps, keys dropped."""
        keys = list(puts)
        changes = Changes(
            partition,
            keys,
            [puts[key][0] for key in keys],
            [puts[key][1] for key in keys],
            list(gone),
        )
        with self._lock:
            if not self.files.has(version):
                self._staged.setdefault(version, {})[partition] = changes

    def map_as_of(self, version: int, partition: int) -> VersionedMap:
        """Return a map that can be read as of `version`.

        That is the resident one, except for batches so old that it has forgotten them:
        then it is read from files, for the caller alone.
        """
        with self._lock:
            if self._maps is None:
                latest = self.files.latest
                self._floor = self.begin if latest is None else latest
                self._maps = self._load_maps(latest)
            if version >= self._floor:
                return self._maps[partition]
            older = [each for each in self.files.versions if each <= version]
        return self._load_maps(older[-1] if older else None)[partition]

    def is_resident(self, partition: int, known: VersionedMap) -> bool:
        """Say whether `known` is the map that batches go on from."""
        return self._maps is not None and self._maps[partition] is known

    def _load_maps(self, version: int | None) -> dict[int, VersionedMap]:
        maps = {each: VersionedMap() for each in range(self.partition_count)}
        if version is not None:
            for part in self.files.load(version):
                pairs = zip(part.states, part.stamps, strict=True)
                puts = dict(zip(part.keys, pairs, strict=True))
                maps[part.partition].apply(version, puts, ())
                maps[part.partition].forget_before(version)
        return maps

    # What the control plane does.

    def missing(self, version: int) -> list[int]:
        """Return the partitions whose changes in this version aren't known yet."""
        with self._lock:
            known = self._staged.get(version, {})
            return [each for each in range(self.partition_count) if each not in known]

    def commit(self, version: int) -> None:
        """Make a version durable; every partition must be staged, or nothing changed.

        Raises:
            DurabilityError, OSError: The disk refuses it.
        """
        with self._lock:
            if self.files.has(version):
                return
            changes = self._staged.get(version, {})
            self.files.commit(version, [changes[each] for each in sorted(changes)])
            for done in [each for each in self._staged if each <= version]:
                del self._staged[done]

    def forget_before(self, version: int) -> None:
        """Let go of what only batches before `version` would read."""
        with self._lock:
            if self._maps is not None and version > self._floor:
                self._floor = version
                for each in self._maps.values():
                    each.forget_before(version)
            if self._loaded is not None and self._loaded[0] < version:
                self._loaded = None

    # Reading.

    def rows(self, version: int, partition: int) -> list[tuple[Any, Any]]:
        """Return the pairs of a committed version; states are the caller's own copies."""
        part = self._load(version)[partition]
        return list(zip(part.keys, map(thaw_state, part.states), strict=True))

    def _load(self, version: int) -> Sequence[LoadedPartition]:
        # Partitions of one version are asked for one after the other: read files once.
        with self._lock:
            if self._loaded is None or self._loaded[0] != version:
                found = {part.partition: part for part in self.files.load(version)}
                empty = [
                    LoadedPartition(i, [], [], []) for i in range(self.partition_count)
                ]
                self._loaded = version, [found.get(e.partition, e) for e in empty]
            return self._loaded[1]

    def resident_rows(self, version: int, partition: int) -> list[tuple[Any, Any]]:
        """Return the pairs of a version of a state that lives in maps."""
        known = self.map_as_of(version, partition)
        return [(key, thaw_state(state)) for key, state, _ in known.items(version)]

    def items(self, version: int) -> Iterator[tuple[Any, Any]]:
        """Yield every key with its state, as of a committed version."""
        for partition in range(self.partition_count):
            if self._maps is None:
                yield from self.rows(version, partition)
            else:
                yield from self.resident_rows(version, partition)

    def get(self, version: int, partition: int, key: Any) -> Any:
        """Return one key's state as of a committed version.

        Raises:
            KeyError: The key has none.
        """
        if self._maps is not None:
            found = self.map_as_of(version, partition).get(key, version)
            if found is None:
                raise KeyError(key)
            return thaw_state(found[0])
        for known, state in self.rows(version, partition):
            if known == key:
                return state
        raise KeyError(key)
