"""BlockStore: partitions kept in memory and on local disk, under a byte budget."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from millstream.engine.base import frames
from millstream.engine.base.errors import DurabilityError
from millstream.engine.base.levels import StorageLevel
from millstream.engine.base.seldom import Seldom
from millstream.engine.columnar.blocks import Frozen
from millstream.engine.durable import frozen_bytes
from millstream.engine.durable.frozen_bytes import Held, Kept, Packed, Shared
from millstream.engine.plan.partitions import freeze

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StoreStatistics:
    """What a store holds: block counts and bytes (memory bytes are estimates)."""

    memory_blocks: int
    memory_bytes: int
    disk_blocks: int
    disk_bytes: int
    evicted_blocks: int
    spilled_blocks: int


@dataclass(frozen=True, slots=True)
class HeldBlocks:
    """How many of some blocks are here, and their bytes (memory bytes are estimates)."""

    count: int
    memory_bytes: int
    disk_bytes: int


@dataclass(slots=True)
class _InMemory:
    data: Kept
    size_bytes: int
    may_spill: bool
    group: str
    stored_ms: int


@dataclass(slots=True)
class _OnDisk:
    path: Path
    size_bytes: int
    count: int
    stored_ms: int


class BlockStore:
    """Blocks by id. Thread-safe.

    What is over the budget goes, least recently used first: to disk where the block's
    storage level allows it, else it is dropped (a cached partition is computed again; a
    received block is lost, and the log says so). A block never pushes out its own group,
    or a cached RDD larger than memory would evict itself round and round.
    """

    def __init__(
        self, budget_bytes: int, directory: Path, *, is_compressed: bool = False
    ) -> None:
        """Keep at most `budget_bytes` in memory; spill to files in `directory`."""
        self._budget_bytes = budget_bytes
        self._directory = directory
        self._is_compressed = is_compressed
        self._lock = threading.RLock()  # Re-entered by finalizers on any thread.
        self._memory: OrderedDict[str, _InMemory] = OrderedDict()
        self._disk: dict[str, _OnDisk] = {}
        self._used_bytes = 0
        self._evicted = self._spilled = self._files = 0
        self._seldom = Seldom(_log)

    def put(
        self,
        block_id: str,
        rows: Sequence[Any],
        level: StorageLevel,
        *,
        group: str = "",
        now_ms: int = 0,
    ) -> int:
        """Store `rows`, which the caller must not change afterwards, at `level`.

        Returns:
            The number of rows, whether or not there was room for them.
        """
        frozen = freeze(rows)
        self.put_frozen(block_id, frozen, level, group=group, now_ms=now_ms)
        return frozen.count

    def put_frozen(
        self,
        block_id: str,
        frozen: Kept,
        level: StorageLevel,
        *,
        group: str = "",
        now_ms: int = 0,
    ) -> None:
        """Store data that is frozen already, or that workers hold."""
        if level.useMemory and self._put_in_memory(
            block_id, frozen, level, group or block_id, now_ms
        ):
            return
        if level.useDisk:
            self._put_on_disk(block_id, frozen, now_ms)

    def get(self, block_id: str) -> Sequence[Any] | None:
        """Return a block's rows, safe to hand to user code, or None if it isn't here."""
        frozen = self.get_frozen(block_id)
        return None if frozen is None else frozen.thaw()

    def get_frozen(self, block_id: str) -> Frozen | None:
        """Return a block as it was put, or None if it isn't here."""
        kept = self.get_kept(block_id)
        try:
            return None if kept is None else frozen_bytes.unpack(kept)
        except OSError as error:
            _log.warning(
                "a block that workers held is lost block=%s error=%s", block_id, error
            )
            self.remove(block_id)
            return None

    def get_kept(self, block_id: str) -> Kept | None:
        """Return a block as it is kept: what workers hold isn't read."""
        with self._lock:
            kept = self._memory.get(block_id)
            if kept is not None:
                self._memory.move_to_end(block_id)
            filed = self._disk.get(block_id)
        if kept is not None:
            if isinstance(kept.data, Shared) and not kept.data.held.is_there():
                self.remove(block_id)
                return None
            return kept.data
        if filed is None:
            return None
        return self._read(block_id, filed)

    def peek(self, block_id: str) -> Kept | None:
        """Return a block of memory as it is kept, or None; that isn't a use of it."""
        with self._lock:
            kept = self._memory.get(block_id)
        return None if kept is None else kept.data

    def contains(self, block_id: str) -> bool:
        """Say whether the block is here."""
        with self._lock:
            return block_id in self._memory or block_id in self._disk

    def ids(self) -> list[str]:
        """Return the ids of all blocks."""
        with self._lock:
            return [*self._memory, *self._disk]

    def held_of(self, block_ids: Iterable[str]) -> HeldBlocks:
        """Return how many of these blocks are here, and how large they are."""
        count = memory_bytes = disk_bytes = 0
        with self._lock:
            for block_id in block_ids:
                kept, filed = self._memory.get(block_id), self._disk.get(block_id)
                count += kept is not None or filed is not None
                memory_bytes += 0 if kept is None else kept.size_bytes
                disk_bytes += 0 if filed is None else filed.size_bytes
        return HeldBlocks(count, memory_bytes, disk_bytes)

    def remove(self, block_id: str) -> None:
        """Forget a block, if it is here."""
        with self._lock:
            kept = self._memory.pop(block_id, None)
            if kept is not None:
                self._used_bytes -= kept.size_bytes
            filed = self._disk.pop(block_id, None)
        if filed is not None:
            filed.path.unlink(missing_ok=True)

    def remove_all(self, block_ids: Iterable[str]) -> None:
        """Forget several blocks."""
        for block_id in block_ids:
            self.remove(block_id)

    def remove_lost(
        self, block_ids: Iterable[str] | None = None, known: Collection[Held] = ()
    ) -> None:
        """Forget those blocks, of these or of all, that workers held and have lost.

        What is `known` to be lost is, whatever it says of itself.
        """
        for block_id in self.ids() if block_ids is None else block_ids:
            with self._lock:
                kept = self._memory.get(block_id)
            if kept is None or not isinstance(kept.data, Shared):
                continue
            held = kept.data.held
            if any(held is each for each in known) or not held.is_there():
                self.remove(block_id)

    def remove_older(self, before_ms: int, prefix: str) -> int:
        """Forget blocks named `prefix`... stored before `before_ms`; return how many."""
        with self._lock:
            old = [
                block_id
                for kept in (self._memory, self._disk)
                for block_id, block in kept.items()
                if block.stored_ms < before_ms and block_id.startswith(prefix)
            ]
        self.remove_all(old)
        return len(old)

    def statistics(self) -> StoreStatistics:
        """Return what the store holds now."""
        with self._lock:
            return StoreStatistics(
                len(self._memory),
                self._used_bytes,
                len(self._disk),
                sum(filed.size_bytes for filed in self._disk.values()),
                self._evicted,
                self._spilled,
            )

    def clear(self) -> None:
        """Forget everything and delete the files."""
        with self._lock:
            self.remove_all([*self._memory, *self._disk])

    def _put_in_memory(
        self,
        block_id: str,
        data: Kept,
        level: StorageLevel,
        group: str,
        now_ms: int,
    ) -> bool:
        is_packed = self._is_compressed and not level.deserialized
        if is_packed and not isinstance(data, Packed | Shared):
            data = frozen_bytes.pack(data)
        size_bytes = frozen_bytes.size_bytes(data)
        with self._lock:
            self.remove(block_id)
            if not self._make_room(size_bytes, group):
                return False
            self._memory[block_id] = _InMemory(
                data, size_bytes, level.useDisk, group, now_ms
            )
            self._used_bytes += size_bytes
        return True

    def _make_room(self, size_bytes: int, group: str) -> bool:
        if size_bytes > self._budget_bytes:
            return False
        over = self._used_bytes + size_bytes - self._budget_bytes
        if over <= 0:
            return True
        leaving: list[str] = []
        for block_id, kept in self._memory.items():
            if kept.group != group:
                leaving.append(block_id)
                over -= kept.size_bytes
                if over <= 0:
                    break
        if over > 0:
            return False
        for block_id in leaving:
            kept = self._memory.pop(block_id)
            self._used_bytes -= kept.size_bytes
            if kept.may_spill and self._spill(block_id, kept):
                continue
            self._evicted += 1
            if block_id.startswith("input-"):
                self._seldom.warning(
                    "a received block was evicted: its records are lost block=%s "
                    "records=%d; use a storage level with disk or more memory "
                    "(spark.millstream.memory)",
                    block_id,
                    kept.data.count,
                )
        return True

    def _spill(self, block_id: str, kept: _InMemory) -> bool:
        try:
            self._put_on_disk(block_id, kept.data, kept.stored_ms)
        except OSError as error:
            if not isinstance(kept.data, Shared) or kept.data.held.is_there():
                raise
            _log.warning(
                "a block that workers held is lost block=%s error=%s", block_id, error
            )
            return False
        self._spilled += 1
        return True

    def _put_on_disk(self, block_id: str, data: Kept, now_ms: int) -> None:
        payload = frozen_bytes.encode(data)
        with self._lock:
            self._files += 1
            path = self._directory / f"block-{self._files}"
        self._directory.mkdir(parents=True, exist_ok=True)
        path.write_bytes(frames.frame(payload))
        with self._lock:
            self._disk[block_id] = _OnDisk(path, len(payload), data.count, now_ms)

    def _read(self, block_id: str, filed: _OnDisk) -> Frozen | None:
        try:
            with filed.path.open("rb") as source:
                payload = b"".join(frames.read_frames(source, str(filed.path)))
        except (OSError, DurabilityError) as error:
            _log.warning(
                "a spilled block can't be read; it counts as missing block=%s error=%s",
                block_id,
                error,
            )
            self.remove(block_id)
            return None
        return frozen_bytes.decode(payload, filed.count)
