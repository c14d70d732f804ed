"""BatchRdds: the RDDs that streams need of themselves, made of lineage nodes."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from millstream.engine.base.call_site import on_behalf_of
from millstream.engine.durable.state_store import StateStore, StoredState
from millstream.engine.jobs import checkpoints
from millstream.engine.jobs.actions import Apply
from millstream.engine.plan.nodes import Source, SourcePartition, Zipped
from millstream.engine.plan.partitioners import Partitioner
from millstream.engine.plan.partitions import freeze
from millstream.engine.streams.map_state import SnapshotPartition
from millstream.streaming.direct import DirectRDD
from millstream.streaming.util import batch_datetime

if TYPE_CHECKING:
    from millstream.context import SparkContext

_SETTLE_S = 30.0


class BatchRdds:
    """Makes RDDs of a SparkContext for the control plane; see streams/rdds."""

    def __init__(self, sc: "SparkContext") -> None:
        """Make RDDs of `sc`."""
        self._sc = sc

    def empty(self) -> Any:
        """Return an RDD without partitions."""
        return self._sc.emptyRDD()

    def empty_parts(self, place: Partitioner) -> Any:
        """Return an RDD of empty partitions, placed by `place`."""
        parts = tuple(freeze([]) for _ in range(place.count))
        return self._sc._rdd(Source(parts), place.count, place)

    def union(self, rdds: Sequence[Any]) -> Any:
        """Return the records of all."""
        return self._sc.union(rdds)

    def from_blocks(
        self, block_ids: Sequence[str], logged: Sequence[SourcePartition | None]
    ) -> Any:
        """Return an RDD of received blocks, read from the log where memory lost them."""
        return self._sc._from_blocks(block_ids, logged)

    def from_ranges(
        self,
        parts: Sequence[SourcePartition],
        ranges: Sequence[Any],
        rdd_type: type[DirectRDD] = DirectRDD,
    ) -> Any:
        """Return an RDD of ranges of a source, a partition each; it knows them."""
        made = self._sc._rdd(Source(tuple(parts)), len(parts))
        return rdd_type(made._node, self._sc, tuple(ranges))

    def from_checkpoint(self, uri: str) -> Any:
        """Return the RDD that was checkpointed in a directory."""
        return self._sc._from_node(checkpoints.restore(uri))

    def from_state(self, store: StateStore, version: int, place: Partitioner) -> Any:
        """Return an RDD of the pairs of a committed version."""
        return self._sc._rdd(_stored(store, version, place.count), place.count, place)

    def unplaced(self, rdd: Any) -> Any:
        """Return the same records, placed by nothing that is known."""
        return self._sc._rdd(rdd._node.op, rdd.getNumPartitions())

    def read_from_state(self, rdd: Any, store: StateStore, version: int) -> None:
        """Let an RDD read a committed version, and forget what it was made from."""
        node = rdd._node
        node.op = _stored(store, version, node.partition_count)
        node.functions = None

    def with_state(self, before: Any, new: Any, kernel: Any, place: Partitioner) -> Any:
        """Return what `kernel` makes of a batch's pairs; None stands for an empty batch."""
        before = self.empty_parts(place) if before is None else before
        placed = self.empty_parts(place) if new is None else new._placed(place)
        op = Zipped(
            (before._node, placed._node),
            kernel,
            "mapWithState",
            is_engine_function=True,
        )
        # What a user's function emits is placed by no key.
        return self._sc._rdd(op, place.count)

    def cut_state(self, rdd: Any, place: Partitioner) -> None:
        """Let what `with_state` made forget the batch before."""
        node = rdd._node
        nothing = self.empty_parts(place)._node
        node.op = replace(node.op, parents=(nothing, *node.op.parents[1:]))

    def snapshots(self, mapped: Any, store: StateStore, version: int) -> Any:
        """Return an RDD of the state as of the batch that made `mapped`."""
        count = mapped.getNumPartitions()
        parts = tuple(SnapshotPartition(store.token, version, i) for i in range(count))
        state = self._sc._rdd(Source(parts), count)
        # The batch's records are mapped first: its state is what they leave.
        op = Zipped(
            (mapped._node, state._node),
            _SecondOnly(),
            "stateSnapshots",
            is_engine_function=True,
        )
        return self._sc._rdd(op, count)

    def run_parts(
        self, rdd: Any, function: Callable[..., Any], partitions: Sequence[int]
    ) -> list[Any]:
        """Return what `function(partition, pieces)` returns, in tasks, for each partition."""
        driver = self._sc._driver
        try:
            made: list[Any] = driver.run_job(
                rdd._node, Apply(function, "writeTo"), list(partitions)
            )
        except BaseException:
            driver.settle(_SETTLE_S)  # Or a task would write after the clean-up.
            raise
        return made

    def touch(self, rdd: Any, partitions: Sequence[int]) -> None:
        """Compute some partitions, for what their tasks do besides."""
        if partitions:
            # Nobody's line calls for it.
            with on_behalf_of(rdd._node.call_site):
                self._sc._driver.run_job(
                    rdd._node, Apply(_exhaust, "commit state"), list(partitions)
                )

    def batch_time(self, time_ms: int) -> Any:
        """Return a batch's time as functions get it."""
        return batch_datetime(time_ms)


class _SecondOnly:
    takes_pieces: ClassVar[bool] = True

    def of_pieces(
        self, _index: int, parents: Sequence[Iterator[Any]], *_: Any
    ) -> list[Any]:
        """Return the second parent's; what of the first is columns stays so."""
        first, second = parents
        for piece in first:
            if isinstance(piece, Iterator):
                deque(piece, 0)
        return list(second)

    def __call__(self, _index: int, parents: Sequence[Any]) -> Iterator[Any]:
        first, second = parents
        for _ in first:
            pass
        return iter(second)


def _stored(store: StateStore, version: int, count: int) -> Source:
    return Source(tuple(StoredState(store.token, version, i) for i in range(count)))


def _exhaust(_index: int, rows: Iterator[Any]) -> None:
    for _ in rows:
        pass
