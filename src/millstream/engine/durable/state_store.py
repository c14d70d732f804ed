"""StateStore: one stateful operator's state: staged by tasks, committed batch by batch.

A task stages what its partition changed in a batch; staging again replaces it, so a task
may run twice. When the batch is done, `commit` writes the changes of all partitions as
one delta. Versions are batch times.
"""

import itertools
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from millstream.engine.base.errors import InternalError
from millstream.engine.columnar.blocks import Columns
from millstream.engine.durable import state_frames
from millstream.engine.durable.state_files import Changes, Reading, StateFiles
from millstream.engine.durable.state_map import (
    Turn,
    VersionedMap,
    VersionForgottenError,
)
from millstream.engine.durable.state_memory import StateMemory
from millstream.engine.durable.state_table import ABSENT, memory_of
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

    is_bound: ClassVar[bool] = True
    """It can be read in the process that has the store only."""
    token: int
    version: int
    partition: int

    def read(self) -> Iterable[Any]:
        """Return its pairs."""
        return find_store(self.token).rows(self.version, self.partition)

    def columns(self) -> Columns | None:
        """Return its pairs as columns, if they are so in the files."""
        return find_store(self.token).columns(self.version, self.partition)


_NO_LIMIT = 1 << 62


class StateStore:
    """The state of one operator in `partition_count` partitions. Thread-safe."""

    def __init__(
        self,
        name: str,
        partition_count: int,
        files: StateFiles,
        begin: int,
        *,
        memory: StateMemory | None = None,
        keeps_stamps: bool = True,
    ) -> None:
        """Keep versions in `files`; a batch before or at `begin` had no state.

        What is resident counts against `memory`. Without `keeps_stamps` no key of it is
        ever found to be idle.
        """
        self.name = name
        self.partition_count = partition_count
        self.files = files
        self.begin = begin
        self.token = next(_tokens)
        self._memory = memory or StateMemory(_NO_LIMIT, Path())
        self._keeps_stamps = keeps_stamps
        self._lock = threading.Lock()
        # Held while a partition's changes go into both its map and what is staged.
        self._applying = [threading.Lock() for _ in range(partition_count)]
        self._staged: dict[int, dict[int, Changes]] = {}
        self._key_counts: dict[int, int] = {}
        """Of partitions that live in RDDs, as their tasks have told them."""
        self._sealed = begin - 1 if files.latest is None else files.latest
        """Versions up to this one are committed, or about to be: they don't change."""
        self._maps: dict[int, VersionedMap] | None = None
        self._followers: dict[int, VersionedMap] = {}
        """Partitions as of a committed version, made for look-ups from outside."""
        self._following = threading.Lock()
        self._loading = threading.Lock()
        self._loaded: tuple[int, dict[int, Any]] | None = None
        _stores[self.token] = self

    # What tasks do.

    def stage(
        self,
        version: int,
        partition: int,
        puts: Mapping[Any, Any],
        gone: Iterable[Any],
        *,
        stamp: int | None = None,
        key_count: int | None = None,
    ) -> None:
        """Note what one partition changed: kept states, keys dropped, keys there are now."""
        changes = Changes(
            partition,
            list(puts),
            list(puts.values()),
            [version if stamp is None else stamp] * len(puts),
            list(gone),
        )
        with self._lock:
            if version > self._sealed:
                self._staged.setdefault(version, {})[partition] = changes
                if key_count is not None:
                    self._key_counts[partition] = key_count

    def map_as_of(self, version: int, partition: int) -> VersionedMap:
        """Return a map that can be read as of `version`.

        That is the resident one, except for batches so old that it has forgotten them:
        then it is read from files, for the caller alone.

        Raises:
            VersionForgottenError: Not even the files have that version any more.
            DurabilityError: The files are damaged, or there is no disk to spill to.
        """
        resident = self._resident(partition)
        if version >= resident.oldest:
            return resident
        return self._read_map(version, partition)

    def _resident(self, partition: int) -> VersionedMap:
        with self._lock:
            if self._maps is None:
                self._maps = self._load_maps()
                self._drop_followers()
            return self._maps[partition]

    def changing(
        self, version: int, partition: int, known: VersionedMap
    ) -> "PartitionChanges":
        """Return what takes the changes that a task makes to a partition in a version.

        `known` is what `map_as_of` has returned for the version before.
        """
        with self._applying[partition]:
            turn = None
            if not self.is_staged(version, partition) and self._is_resident(known):
                turn = known.begin(version)
        return PartitionChanges(self, version, partition, known, turn)

    def is_staged(self, version: int, partition: int) -> bool:
        """Say whether a partition's changes in a version are known, or committed."""
        with self._lock:
            is_staged = partition in self._staged.get(version, {})
            return is_staged or version <= self._sealed

    def _is_resident(self, known: VersionedMap) -> bool:
        return self._maps is not None and known in self._maps.values()

    def finish(self, changes: "PartitionChanges") -> None:
        """Stage what an attempt has changed, if none has done so before.

        The first one to end counts: what it leaves in the map is what is staged, and
        stays as it is, for the next batch may have gone on from there.

        Raises:
            DurabilityError: There is no disk to spill to.
        """
        version, partition, known = changes.version, changes.partition, changes.known
        with self._applying[partition]:
            if self.is_staged(version, partition):
                return
            is_resident = self._is_resident(known)
            if is_resident and not changes.is_in_map:
                # Another attempt is in the middle of it: it has lost.
                is_applied = known.apply(version, changes.puts, changes.gone)
                assert is_applied, "a newer version goes on from a staged one"
            self.stage(version, partition, changes.puts, changes.gone)
        if is_resident:
            self._memory.settle(self.name, known)

    def _load_maps(self) -> dict[int, VersionedMap]:
        """Return a map a partition, of the newest version; what has no room spills."""
        maps: dict[int, VersionedMap] = {}
        try:
            with self.files.reading() as reading:
                for partition, frame in self.files.partitions(reading):
                    maps[partition] = self._make_map(reading.version, frame)
                for partition in range(self.partition_count):
                    if partition not in maps:
                        maps[partition] = self._make_map(reading.version, None)
        except BaseException:
            self._memory.forget(maps.values())
            raise
        return maps

    def _make_map(self, version: int | None, frame: Any) -> VersionedMap:
        expected_bytes = 0
        parts: Iterable[tuple[list[Any], list[Any], list[int]]] = ()
        if frame is not None:
            expected_bytes = memory_of(
                frame.height,
                state_frames.sample_of(frame),
                keeps_stamps=self._keeps_stamps,
            )
            parts = state_frames.in_slices(frame)
        return self._memory.new_map(
            self.name,
            keeps_stamps=self._keeps_stamps,
            expected_bytes=expected_bytes,
            version=version,
            parts=parts,
        )

    def _read_map(self, version: int, partition: int) -> VersionedMap:
        made = VersionedMap(keeps_stamps=self._keeps_stamps)
        try:
            with self.files.reading(version) as reading:
                for _, frame in self.files.partitions(reading, partition):
                    made.load(version, state_frames.in_slices(frame))
        except KeyError as error:
            if version <= self.begin:
                return made
            msg = f"state '{self.name}' as of {version} isn't kept any more"
            raise VersionForgottenError(msg) from error
        return made

    # What the control plane does.

    def missing(self, version: int) -> list[int]:
        """Return the partitions whose changes in this version aren't known yet."""
        with self._lock:
            if version <= self._sealed:
                return []
            known = self._staged.get(version, {})
            return [each for each in range(self.partition_count) if each not in known]

    def commit(self, version: int) -> None:
        """Make a version durable, from what is staged; what is staged later is too late.

        Raises:
            DurabilityError, OSError: The disk refuses it. Calling again tries again.
        """
        if self.files.has(version):
            return
        with ExitStack() as held:
            for each in (*self._applying, self._lock):
                held.enter_context(each)
            self._sealed = max(self._sealed, version)
            changes = self._staged.get(version, {})
        # Not under the lock: tasks of the next batch don't wait for the disk.
        self.files.commit(version, [changes[each] for each in sorted(changes)])
        with self._lock:
            for done in [each for each in self._staged if each <= version]:
                del self._staged[done]

    def forget_before(self, version: int) -> None:
        """Let go of what only batches before `version` would read."""
        with self._lock:
            maps = [] if self._maps is None else list(self._maps.values())
        with self._loading:
            if self._loaded is not None and self._loaded[0] < version:
                self._loaded = None
        for each in maps:
            each.forget_before(version)

    # Reading.

    @property
    def key_count(self) -> int | None:
        """How many keys there are, as of the newest batch; None: no batch has told yet."""
        with self._lock:
            if self._maps is not None:
                return sum(map(len, self._maps.values()))
            return sum(self._key_counts.values()) if self._key_counts else None

    def rows(self, version: int, partition: int) -> Iterator[tuple[Any, Any]]:
        """Return the pairs of a committed version; states are the caller's own copies."""
        frame = self._load(version).get(partition)
        return iter(()) if frame is None else _pairs(frame)

    def columns(self, version: int, partition: int) -> Columns | None:
        """Return the pairs of a committed version as columns, if keys and states are."""
        frame = self._load(version).get(partition)
        return None if frame is None else state_frames.as_columns(frame)

    def _load(self, version: int) -> Mapping[int, Any]:
        # Partitions of one version are asked for one after the other: files are read
        # once, and held as columns, which are a fraction of the rows.
        with self._loading:
            if self._loaded is None or self._loaded[0] != version:
                self._loaded = None
                with self.files.reading(version) as reading:
                    self._loaded = version, dict(self.files.partitions(reading))
            return self._loaded[1]

    def resident_rows(self, version: int, partition: int) -> Iterator[tuple[Any, Any]]:
        """Return the pairs of a version of a state that lives in maps."""
        known = self.map_as_of(version, partition)
        return ((key, thaw_state(state)) for key, state in known.items(version))

    def items(self) -> Iterator[tuple[Any, Any]]:
        """Return every key with its state, as of the newest committed version.

        Whatever batch comes meanwhile, all are as of that version.
        """
        while True:
            maps = self._maps
            version = self.files.latest
            if version is None:
                return iter(())
            if maps is None:
                return self._filed_items()
            try:
                parts = [maps[each].items(version) for each in sorted(maps)]
            except VersionForgottenError:
                continue  # Batches went by between the two looks: there is a newer one.
            pairs = itertools.chain.from_iterable(parts)
            return ((key, thaw_state(state)) for key, state in pairs)

    def _filed_items(self) -> Iterator[tuple[Any, Any]]:
        with self.files.reading() as reading:
            for _, frame in self.files.partitions(reading):
                yield from _pairs(frame)

    def frame(self) -> Any:
        """Return the newest committed version as a Polars frame; None: there is none."""
        with self.files.reading() as reading:
            if reading.version is None:
                return None
            parts = [frame for _, frame in self.files.partitions(reading)]
        return state_frames.concat(parts)

    def get(self, partition: int, key: Any) -> Any:
        """Return one key's state as of the newest committed version, or ABSENT."""
        while True:
            maps = self._maps
            version = self.files.latest
            if version is None:
                return ABSENT
            if maps is None:
                kept = self._follow(partition, key)
            else:
                try:
                    kept = maps[partition].get(key, version)
                except VersionForgottenError:
                    continue  # As above.
            return thaw_state(kept)

    def _follow(self, partition: int, key: Any) -> Any:
        """Look a key up in a map of our own, brought up to date by what was committed since."""
        with self._following, self.files.reading() as reading:
            version = reading.version
            assert version is not None, "something is committed"
            known = self._followers.get(partition)
            if known is not None and not self._bring_up(known, partition, reading):
                self._memory.forget([self._followers.pop(partition)])
                known = None
            if known is None:
                found = dict(self.files.partitions(reading, partition))
                known = self._make_map(version, found.get(partition))
                self._followers[partition] = known
            return known.get(key, version)

    def _bring_up(self, known: VersionedMap, partition: int, reading: Reading) -> bool:
        """Apply what was committed since; False: it can't be told any more."""
        version = reading.version
        assert version is not None, "there is something to follow"
        if known.newest == version:
            return True
        deltas = self.files.changes_since(known.newest, reading)
        if deltas is None:
            return False
        puts: dict[Any, Any] = {}
        gone: dict[Any, None] = {}
        for frame in deltas:
            part = state_frames.by_partition(frame, partition).get(partition)
            if part is None:
                continue
            rows = state_frames.from_frame(part)
            for key, state, is_gone in zip(
                rows.keys, rows.states, rows.gone, strict=True
            ):
                if is_gone:
                    puts.pop(key, None)
                    gone[key] = None
                else:
                    puts[key] = state
        known.apply(version, puts, [key for key in gone if key not in puts])
        known.forget_before(version)
        self._memory.settle(self.name, known)
        return True

    def _drop_followers(self) -> None:
        with self._following:
            self._memory.forget(self._followers.values())
            self._followers.clear()


class PartitionChanges:
    """What one attempt of a task changes in its partition; leaving the block ends it.

    Changes go into the map bit by bit, while what they touch is close at hand. Versions
    before read as they did, and when the block raises nothing has happened.
    """

    __slots__ = ("_store", "_turn", "changed", "known", "partition", "version")

    def __init__(
        self,
        store: StateStore,
        version: int,
        partition: int,
        known: VersionedMap,
        turn: Turn | None,
    ) -> None:
        """Without a turn changes stay out of the map; `StateStore.changing` calls this."""
        self._store = store
        self._turn = turn
        self.version = version
        self.partition = partition
        self.known = known
        self.changed: dict[Any, Any] = {}
        """The states that keys have now; ABSENT: none any more."""

    @property
    def is_in_map(self) -> bool:
        """Whether the map has all of it."""
        return self._turn is not None and self.known.write(self._turn, {})

    @property
    def puts(self) -> dict[Any, Any]:
        """The keys that have a new state."""
        return {k: state for k, state in self.changed.items() if state is not ABSENT}

    @property
    def gone(self) -> list[Any]:
        """The keys that have none any more."""
        return [key for key, state in self.changed.items() if state is ABSENT]

    def apart(self) -> "PartitionChanges":
        """Return what takes changes to the same as it is now, and puts them nowhere."""
        made = PartitionChanges(
            self._store, self.version, self.partition, self.known, None
        )
        made.changed.update(self.changed)
        return made

    def add(self, changes: Mapping[Any, Any]) -> None:
        """Note what changed.

        Raises:
            DurabilityError: There is no disk to spill to.
        """
        self.changed.update(changes)
        if self._turn is not None and not self.known.write(self._turn, changes):
            self._turn = None  # Another attempt has begun since.

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self._store.finish(self)
        elif self._turn is not None:
            self.known.abandon(self._turn)


def _pairs(frame: Any) -> Iterator[tuple[Any, Any]]:
    for part in frame.iter_slices(state_frames.SLICE_ROWS):
        yield from zip(
            state_frames.keys_of(part), state_frames.values_of(part), strict=True
        )
