"""ShuffleRegistry: the map outputs of every shuffle, kept for later jobs."""

import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

from millstream.engine.base.levels import StorageLevel
from millstream.engine.columnar.blocks import Frozen
from millstream.engine.durable.block_store import BlockStore
from millstream.engine.durable.frozen_bytes import Kept, unpack
from millstream.engine.plan.nodes import RddNode, Shuffled
from millstream.engine.plan.partitions import FrozenRows

_EMPTY = FrozenRows(0, (), None)
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Outputs:
    """Which buckets of which map tasks exist; the rows are in the block store."""

    counts_of_map: dict[int, tuple[int, ...]] = field(default_factory=dict)
    made_ms: int = 0


class ShuffleRegistry:
    """Map outputs by shuffle. Thread-safe; one job at a time makes a given shuffle."""

    def __init__(self, blocks: BlockStore) -> None:
        """Keep the buckets in `blocks`, spilling to disk over its budget."""
        self._blocks = blocks
        self._lock = threading.RLock()  # Re-entered by finalizers on any thread.
        self._outputs: dict[int, _Outputs] = {}
        self._making: dict[int, threading.Lock] = {}

    def making(self, node: RddNode) -> threading.Lock:
        """Return the lock a job holds while it makes this shuffle's outputs."""
        with self._lock:
            return self._making.setdefault(node.id, threading.Lock())

    def add(
        self, node: RddNode, map_index: int, buckets: Iterable[Kept], now_ms: int
    ) -> None:
        """Keep the output of one map task."""
        counts = []
        for reduce_index, bucket in enumerate(buckets):
            counts.append(bucket.count)
            if bucket.count:
                self._blocks.put_frozen(
                    _block_id(node.id, map_index, reduce_index),
                    bucket,
                    StorageLevel.MEMORY_AND_DISK,
                    group=f"shuffle-{node.id}",
                    now_ms=now_ms,
                )
        with self._lock:
            outputs = self._outputs.setdefault(node.id, _Outputs(made_ms=now_ms))
            outputs.counts_of_map[map_index] = tuple(counts)

    def has(self, node: RddNode) -> bool:
        """Say whether every map task's output is there; of no tasks it always is."""
        return not self.missing(node)

    def has_every_block(self, node: RddNode) -> bool:
        """Say the same, and forget the outputs of which a block has gone.

        For when one has: others may have gone with it, and each would cost a round.
        """
        with self._lock:
            outputs = self._outputs.get(node.id, _Outputs())
            for map_index, counts in list(outputs.counts_of_map.items()):
                blocks = [
                    _block_id(node.id, map_index, reduce_index)
                    for reduce_index, count in enumerate(counts)
                    if count
                ]
                self._blocks.remove_lost(blocks)
                if not all(map(self._blocks.contains, blocks)):
                    del outputs.counts_of_map[map_index]
        return self.has(node)

    def missing(self, node: RddNode) -> tuple[int, ...]:
        """Return the map tasks whose output isn't there."""
        assert isinstance(node.op, Shuffled), "only a shuffle has map outputs"
        with self._lock:
            outputs = self._outputs.get(node.id)
            known = outputs.counts_of_map if outputs else {}
            return tuple(
                index
                for index in range(node.op.parent.partition_count)
                if index not in known
            )

    def read(self, node: RddNode, partition: int) -> list[Frozen] | None:
        """Return one bucket a map task, in order; None when some output is missing."""
        kept = self.read_kept(node, partition)
        try:
            return None if kept is None else list(map(unpack, kept))
        except OSError as error:
            _log.warning(
                "map outputs that workers held are lost shuffle=%d error=%s",
                node.id,
                error,
            )
            return None

    def read_kept(self, node: RddNode, partition: int) -> list[Kept] | None:
        """Return the same as they are kept: what workers hold isn't read."""
        with self._lock:
            if not self.has(node):
                return None
            outputs = self._outputs.get(node.id, _Outputs())
            counts_of_map = sorted(outputs.counts_of_map.items())
        buckets: list[Kept] = []
        for map_index, counts in counts_of_map:
            if not counts[partition]:
                continue
            bucket = self._blocks.get_kept(_block_id(node.id, map_index, partition))
            if bucket is None:
                self._forget_map(node.id, map_index)
                return None
            buckets.append(bucket)
        return buckets or [_EMPTY]

    def records_of(self, node: RddNode) -> int:
        """Return how many pairs the outputs of a shuffle hold, as far as they are there."""
        with self._lock:
            outputs = self._outputs.get(node.id, _Outputs())
            return sum(map(sum, outputs.counts_of_map.values()))

    def forget(self, node_id: int) -> None:
        """Drop a shuffle's outputs: its RDD is gone, or the user said so."""
        with self._lock:
            outputs = self._outputs.pop(node_id, None)
            self._making.pop(node_id, None)
        if outputs is not None:
            for map_index, counts in outputs.counts_of_map.items():
                self._blocks.remove_all(
                    _block_id(node_id, map_index, reduce_index)
                    for reduce_index, count in enumerate(counts)
                    if count
                )

    def forget_older(self, before_ms: int) -> None:
        """Drop outputs made before `before_ms`; jobs that need them make them again."""
        with self._lock:
            old = [
                key for key, each in self._outputs.items() if each.made_ms < before_ms
            ]
        for node_id in old:
            self.forget(node_id)

    def count(self) -> int:
        """Return how many shuffles have outputs."""
        with self._lock:
            return len(self._outputs)

    def _forget_map(self, node_id: int, map_index: int) -> None:
        with self._lock:
            outputs = self._outputs.get(node_id)
            if outputs is not None:
                outputs.counts_of_map.pop(map_index, None)


def _block_id(node_id: int, map_index: int, reduce_index: int) -> str:
    return f"shuffle-{node_id}-{map_index}-{reduce_index}"
