"""StateFiles: the durable versions of one operator's keyed state.

A version is the time of a batch. Each has a delta: what the batch changed, in one file; a
snapshot holds everything, now and then. A version is read as the newest snapshot before
it and the deltas since. What a directory holds besides is left over from a crash: only
files that a checkpoint's record names count.
"""

import logging
import threading
from collections import Counter
from collections.abc import (
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

from millstream.engine.base.progress import counted
from millstream.engine.base.storage import Storage, open_storage
from millstream.engine.durable import state_frames
from millstream.engine.durable.state_frames import StateColumns

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Changes:
    """What a batch changed in one partition; states are kept ones (see state_values)."""

    partition: int
    keys: list[Any]
    states: list[Any]
    stamps: list[int]
    gone: list[Any]


@dataclass(frozen=True, slots=True)
class LoadedPartition:
    """One partition of a version, in the order keys were first seen."""

    partition: int
    keys: list[Any]
    states: list[Any]
    stamps: list[int]


@dataclass(frozen=True, slots=True)
class _File:
    """A delta or a snapshot; `name` is None where a batch changed nothing."""

    version: int
    name: str | None
    rows: int


@dataclass(frozen=True, slots=True)
class Reading:
    """A version and the files it is read from, in order; None: nothing is committed."""

    version: int | None
    names: Sequence[str]


class StateFiles:
    """Versions in the files of a directory. One thread commits, another may compact."""

    def __init__(
        self, uri: str, *, storage: Storage | None = None, chain_max: int = 20
    ) -> None:
        """Begin without versions; merge deltas when more than `chain_max` follow each other."""
        self.uri = uri
        if storage is None:
            self._storage, self._directory = open_storage(uri)
        else:
            self._storage, self._directory = storage, uri
        self._chain_max = chain_max
        self._lock = threading.RLock()
        self._deltas: list[_File] = []
        self._snapshots: list[_File] = []
        self._numbers = 0
        self._unrecorded: set[str] = set()
        """Files being written, which no version names yet: `clean` spares them."""
        self._being_read: Counter[str] = Counter()
        self.bytes_written = 0

    @classmethod
    def restore(
        cls,
        uri: str,
        record: Mapping[str, Any],
        *,
        storage: Storage | None = None,
        chain_max: int = 20,
    ) -> Self:
        """Return the versions that a checkpoint's record names."""
        files = cls(uri, storage=storage, chain_max=chain_max)
        files._deltas = [_File(*each) for each in record["versions"]]
        files._snapshots = [_File(*each) for each in record["snapshots"]]
        files._numbers = record["numbers"]
        return files

    def record(self) -> dict[str, Any]:
        """Return what `restore` needs, JSON-able: files by version, newest last."""
        with self._lock:
            return {
                "versions": [[f.version, f.name, f.rows] for f in self._deltas],
                "snapshots": [[f.version, f.name, f.rows] for f in self._snapshots],
                # Names of files that a crash left behind aren't used again.
                "numbers": self._numbers,
            }

    def rewind(self, before: int) -> None:
        """Forget versions from `before` on: they are made again."""
        with self._lock:
            self._deltas = [each for each in self._deltas if each.version < before]
            self._snapshots = [s for s in self._snapshots if s.version < before]

    @property
    def versions(self) -> list[int]:
        """The versions that can be read, oldest first."""
        with self._lock:
            return [each.version for each in self._deltas]

    @property
    def latest(self) -> int | None:
        """The newest version."""
        with self._lock:
            return self._deltas[-1].version if self._deltas else None

    def has(self, version: int) -> bool:
        """Say whether a version is committed."""
        with self._lock:
            return any(each.version == version for each in reversed(self._deltas))

    def file_names(self) -> set[str]:
        """Return the names of the files that versions are read from."""
        with self._lock:
            files = (*self._deltas, *self._snapshots)
            return {each.name for each in files if each.name is not None}

    def commit(self, version: int, changes: Sequence[Changes]) -> None:
        """Make a version durable; it must be newer than all others.

        Raises:
            DurabilityError, OSError: The disk refuses it; nothing has changed.
        """
        rows = _columns(changes)
        count = len(rows.keys)
        name = None
        if count:
            name = self._put(f"delta-{version}", state_frames.encode(rows))
        with self._lock:
            assert not self._deltas or self._deltas[-1].version < version, (
                "versions are committed in order"
            )
            self._deltas.append(_File(version, name, count))
            self._unrecorded.discard(name or "")

    def _put(self, stem: str, data: bytes) -> str:
        """Write a file; its name stays among the unrecorded ones until a version has it."""
        with self._lock:
            self._numbers += 1
            name = f"{stem}-{self._numbers}.arrow"
            self._unrecorded.add(name)
        try:
            self._storage.write_atomic(f"{self._directory}/{name}", data)
        except BaseException:
            with self._lock:
                self._unrecorded.discard(name)
            raise
        with self._lock:
            self.bytes_written += len(data)
        return name

    def _read(self, name: str) -> Any:
        path = f"{self._directory}/{name}"
        with self._storage.open_input(path) as source:
            return state_frames.read(source.read(), path)

    def load(self, version: int) -> list[LoadedPartition]:
        """Return a version's partitions that have keys.

        Raises:
            KeyError: There is no such version.
            DurabilityError: A file is damaged; names it.
            FileNotFoundError: A file is missing.
        """
        with self.reading(version) as reading:
            return [
                LoadedPartition(partition, rows.keys, rows.states, rows.stamps)
                for partition, frame in self.partitions(reading)
                for rows in (state_frames.from_frame(frame),)
            ]

    def check(self, versions: Iterable[int]) -> None:
        """Read the files of versions, to see if they can be.

        Raises:
            DurabilityError: A file is damaged; names it.
            FileNotFoundError: A file is missing.
        """
        with self._lock:
            names = {name for version in versions for name in self._chain(version)}
        for name in counted(f"checking the files of {self.uri}", sorted(names)):
            path = f"{self._directory}/{name}"
            with self._storage.open_input(path) as source:
                state_frames.unseal(source.read(), path)

    @contextmanager
    def reading(self, version: int | None = None) -> Iterator["Reading"]:
        """Keep the files of a version, the newest by default, while the block reads them.

        Raises:
            KeyError: There is no such version.
        """
        with self._lock:
            if version is None:
                version = self.latest
            names = [] if version is None else self._chain(version)
            self._being_read.update(names)
        try:
            yield Reading(version, names)
        finally:
            with self._lock:
                self._being_read.subtract(names)
                self._being_read += Counter()  # Drops those that nobody reads now.

    def partitions(
        self, reading: "Reading", only: int | None = None
    ) -> Iterator[tuple[int, Any]]:
        """Yield the partitions that have keys, each as a Polars frame of its rows.

        Each file is read once; what has been yielded isn't held any more.

        Raises:
            DurabilityError: A file is damaged; names it.
            FileNotFoundError: A file is missing.
        """
        names = counted(f"reading {self.uri}", reading.names)
        read = map(self._read, names)
        yield from _merged_partitions(read, only, drops_gone=True)

    def changes_since(self, version: int, reading: "Reading") -> list[Any] | None:
        """Return the deltas that lead from a version to the one being read, as frames.

        None: they can't be told apart from what was before any more.
        """
        with self._lock:
            assert reading.version is not None, "there are no changes to nothing"
            since = [
                each
                for each in self._deltas
                if version < each.version <= reading.version
            ]
            is_merged = any(
                version < each.version <= reading.version for each in self._snapshots
            )
            names = [each.name for each in since if each.name is not None]
            # Compaction after `reading` began merges others.
            if is_merged or not set(names) <= set(reading.names):
                return None
        return [self._read(name) for name in names]

    def _chain(self, version: int) -> list[str]:
        """Return the files a version is read from, in order."""
        if not self.has(version):
            msg = f"state '{self.uri}' has no version {version}: {self.versions}"
            raise KeyError(msg)
        base = max(
            (s for s in self._snapshots if s.version <= version),
            key=lambda each: each.version,
            default=None,
        )
        since = -1 if base is None else base.version
        chain = [base] if base is not None else []
        chain += [d for d in self._deltas if since < d.version <= version]
        return [each.name for each in chain if each.name is not None]

    def compact(self, floor: int) -> None:
        """Merge what only versions before `floor` need apart; they can't be read after.

        Writes a snapshot when the deltas since the last one hold half as many rows as it,
        else one delta in place of many: either way, the bytes written stay proportional
        to the rows changed.

        Raises:
            DurabilityError, OSError: The disk refuses it, or a file is damaged; nothing
                has changed.
        """
        with self._lock:
            known = [each for each in self._deltas if each.version <= floor]
            if not known:
                return
            target = known[-1].version
            base = max(
                (s for s in self._snapshots if s.version <= target),
                key=lambda each: each.version,
                default=None,
            )
            since = -1 if base is None else base.version
            tail = [d for d in known if d.version > since and d.name is not None]
            # Or a stream without news would have one more in every checkpoint.
            self._deltas = [d for d in self._deltas if d.name or d.version >= target]
        if len(tail) <= self._chain_max:
            return
        rows = sum(each.rows for each in tail)
        if base is None or 2 * rows >= base.rows:
            names = [
                *([base.name] if base is not None else []),
                *(d.name for d in tail),
            ]
            merged = self._merge([n for n in names if n], drops_gone=True)
            made = self._write_merged(f"snapshot-{target}", target, merged)
            with self._lock:
                self._snapshots = [s for s in self._snapshots if s.version > target] + [
                    made
                ]
                self._deltas = [
                    _File(target, None, 0) if d.version == target else d
                    for d in self._deltas
                    if d.version >= target
                ]
                self._unrecorded.discard(made.name or "")
            return
        # Runs of similar size are merged, so that a row is rewritten seldom.
        run = _run_to_merge(tail)
        if len(run) <= 1:
            return
        merged = self._merge([d.name for d in run if d.name], drops_gone=False)
        last = run[-1].version
        made = self._write_merged(f"merged-{run[0].version}-{last}", last, merged)
        first = run[0].version
        with self._lock:
            self._deltas = [
                made if d.version == last else d
                for d in self._deltas
                if not first <= d.version < last
            ]
            self._unrecorded.discard(made.name or "")

    def _write_merged(self, stem: str, version: int, frame: Any) -> _File:
        name = self._put(stem, state_frames.write(frame))
        return _File(version, name, frame.height)

    def _merge(self, names: Sequence[str], *, drops_gone: bool) -> Any:
        # Partition by partition, and natively where that is right: a batch that runs
        # meanwhile is hardly held up, for Polars works without the interpreter's lock.
        read = map(self._read, counted(f"compacting {self.uri}", names))
        merged = _merged_partitions(read, None, drops_gone=drops_gone)
        return state_frames.concat([frame for _, frame in merged])

    def rewrite(self, change: Callable[[Any], Any]) -> None:
        """Replace files by what `change(Polars frame)` returns; None keeps a file.

        Before the first commit only. The old files stay: older checkpoints name them.

        Raises:
            DurabilityError, OSError: A file is damaged, or the disk refuses one; nothing
                has changed.
        """
        made: dict[str, _File] = {}
        with self._lock:
            known = [each for each in (*self._snapshots, *self._deltas) if each.name]
        for old in known:
            assert old.name is not None, "files without rows have no name"
            frame = change(self._read(old.name))
            if frame is not None:
                stem = old.name.rpartition("-")[0]
                made[old.name] = self._write_merged(stem, old.version, frame)
        with self._lock:
            self._snapshots = [made.get(s.name or "", s) for s in self._snapshots]
            self._deltas = [made.get(d.name or "", d) for d in self._deltas]
            self._unrecorded -= {each.name for each in made.values() if each.name}

    def clean(
        self, keep: Collection[str], confirm: Callable[[], None] = lambda: None
    ) -> None:
        """Delete the files that neither `keep` nor the present versions name.

        `confirm` is called when they are known; if it raises, nothing is deleted.
        """
        if not self._storage.exists(self._directory):
            return
        # Listed first: what a commit writes after that isn't looked at.
        listed = self._storage.list(self._directory)
        with self._lock:
            needed = {
                *keep,
                *self.file_names(),
                *self._unrecorded,
                *self._being_read,
            }
        old = [
            info.name
            for info in listed
            if info.name.endswith(".arrow") and info.name not in needed
        ]
        if old:
            confirm()
        for name in old:
            self._storage.delete(f"{self._directory}/{name}")


def _run_to_merge(tail: Sequence[_File]) -> Sequence[_File]:
    """Return the newest deltas that together outweigh none of those before them."""
    rows = 0
    for index in range(len(tail) - 1, -1, -1):
        if tail[index].rows > 2 * rows and len(tail) - index > 2:
            return tail[index + 1 :]
        rows += tail[index].rows
    return tail


def _merged_partitions(
    read: Iterable[Any], only: int | None, *, drops_gone: bool
) -> Iterator[tuple[int, Any]]:
    """Yield each partition with its rows in frames of which later ones win."""
    split = [state_frames.by_partition(frame, only) for frame in read]
    for partition in sorted({each for parts in split for each in parts}):
        parts = [parts.pop(partition) for parts in split if partition in parts]
        merged = _merge_one(parts, drops_gone=drops_gone)
        if merged.height:
            yield partition, merged


def _merge_one(parts: list[Any], *, drops_gone: bool) -> Any:
    """Return the rows of one partition, in the order its keys were first seen."""
    parts = state_frames.alike(parts)
    key = state_frames.key_column(parts[0])
    if key is not None and len({tuple(each.schema.items()) for each in parts}) == 1:
        return _merge_natively(parts, key, drops_gone=drops_gone)
    # Keys that are equal in Python may be pickled differently: merged by Python.
    rows: dict[tuple[int, Any], tuple[Any, int]] = {}
    gone: dict[tuple[int, Any], None] = {}
    for each in parts:
        _fold(rows, state_frames.from_frame(each), gone)
    return state_frames.to_frame(_columns_of(rows, () if drops_gone else gone))


def _merge_natively(parts: list[Any], key: str, *, drops_gone: bool) -> Any:
    """Return the rows that later parts leave; the first is the largest, as a rule."""
    import polars as pl  # noqa: PLC0415  Heavy; only where there is state.

    base = parts[0]
    if not drops_gone or base["is_gone"].any():
        gone, puts = _net_changes(pl.concat(parts), key)
        # Dropped first, then put: a key that came back is a new one, behind all others.
        return puts if drops_gone else pl.concat([gone, puts])
    if len(parts) == 1:
        return base
    # Most of its rows stay as they are: only the few later ones are sorted out.
    gone, puts = _net_changes(pl.concat(parts[1:]), key)
    if gone.height:
        base = base.join(gone, on=key, how="anti", maintain_order="left")
    values = [
        each for each in ("state", "state_pickled", "stamp") if each in base.columns
    ]
    new = {each: f"new_{each}" for each in values}
    changes = puts.select(key, *values, pl.lit(value=True).alias("is_new")).rename(new)
    patched = base.join(changes, on=key, how="left", maintain_order="left")
    patched = patched.with_columns(
        pl.when(pl.col("is_new"))
        .then(pl.col(new[each]))
        .otherwise(pl.col(each))
        .alias(each)
        for each in values
    ).select(base.columns)
    added = puts.join(base, on=key, how="anti", maintain_order="left")
    return pl.concat([patched, added])


def _net_changes(rows: Any, key: str) -> tuple[Any, Any]:
    """Return the keys that were ever dropped, and the rows put since with what they end as."""
    import polars as pl  # noqa: PLC0415  Heavy; only where there is state.

    columns = rows.columns
    rows = rows.with_row_index("place")
    dropped = rows.filter("is_gone")
    puts = rows.filter(~pl.col("is_gone"))
    if dropped.height:
        last = dropped.group_by(key).agg(pl.col("place").max().alias("gone_place"))
        puts = puts.join(last, on=key, how="left", maintain_order="left")
        puts = puts.filter(
            (pl.col("place") > pl.col("gone_place")).fill_null(value=True)
        )
    # In the order of first insertion, which `unique(keep="last")` would lose.
    values = [pl.col(each).last() for each in columns if each != key]
    puts = puts.group_by(key, maintain_order=True).agg(values).select(columns)
    gone = dropped.unique(key, keep="first", maintain_order=True).select(columns)
    return gone, puts


def _fold(
    rows: dict[tuple[int, Any], tuple[Any, int]],
    more: StateColumns,
    gone: dict[tuple[int, Any], None] | None = None,
) -> None:
    """Let later rows win; those of dropped keys go, and are noted in `gone`."""
    if not any(more.gone):
        pairs = zip(more.states, more.stamps, strict=True)
        rows.update(
            zip(zip(more.partitions, more.keys, strict=True), pairs, strict=True)
        )
        return
    for place, key, state, stamp, is_gone in zip(
        more.partitions, more.keys, more.states, more.stamps, more.gone, strict=True
    ):
        if not is_gone:
            rows[place, key] = state, stamp
            continue
        rows.pop((place, key), None)
        if gone is not None:
            gone[place, key] = None


def _columns(changes: Sequence[Changes]) -> StateColumns:
    rows = StateColumns([], [], [], [], [])
    for each in changes:
        count, gone = len(each.keys), len(each.gone)
        rows.partitions.extend([each.partition] * (count + gone))
        rows.keys.extend([*each.keys, *each.gone])
        rows.states.extend([*each.states, *[None] * gone])
        rows.stamps.extend([*each.stamps, *[0] * gone])
        rows.gone.extend([*[False] * count, *[True] * gone])
    return rows


def _columns_of(
    rows: Mapping[tuple[int, Any], tuple[Any, int]], gone: Collection[tuple[int, Any]]
) -> StateColumns:
    """Return dropped keys and, behind them, those put since."""
    dropped, kept = len(gone), list(rows.values())
    places = [*gone, *rows]
    return StateColumns(
        [partition for partition, _ in places],
        [key for _, key in places],
        [*[None] * dropped, *(state for state, _ in kept)],
        [*[0] * dropped, *(stamp for _, stamp in kept)],
        [*[True] * dropped, *[False] * len(kept)],
    )
