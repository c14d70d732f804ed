"""BatchRdd: what the control plane asks of a batch's RDD, whoever made it.

The faces' RDD has these methods. So the same RDD object is handed out for a batch,
whoever asks, and nothing here knows how an RDD is computed.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from millstream.engine.base.levels import StorageLevel
from millstream.engine.durable.state_store import StateStore
from millstream.engine.plan.nodes import SourcePartition
from millstream.engine.plan.partitioners import Partitioner


class BatchRdd(Protocol):
    """The RDD of one batch; names are PySpark's."""

    @property
    def is_cached(self) -> bool:
        """Whether partitions are kept."""
        ...

    @property
    def partitioner(self) -> Any:
        """How keys are placed."""
        ...

    def id(self) -> int:
        """Return the RDD's number."""
        ...

    def persist(self, storageLevel: StorageLevel) -> Any:
        """Keep partitions."""
        ...

    def unpersist(self, blocking: bool = False) -> Any:
        """Drop what was kept."""
        ...

    def checkpoint(self) -> None:
        """Mark for a checkpoint."""
        ...

    def getCheckpointFile(self) -> str | None:
        """Return where the checkpoint is."""
        ...

    def mapValues(self, f: Callable[[Any], Any]) -> Any:
        """Return pairs with new values."""
        ...

    def filter(self, f: Callable[[Any], Any]) -> Any:
        """Return some of the records."""
        ...

    def union(self, other: Any) -> Any:
        """Return the records of both."""
        ...

    def reduceByKey(self, func: Any, numPartitions: int | None = None) -> Any:
        """Return reduced pairs."""
        ...

    def leftOuterJoin(self, other: Any, numPartitions: int | None = None) -> Any:
        """Return the outer join."""
        ...


class RddFactory(Protocol):
    """Makes the RDDs that streams need of themselves."""

    def empty(self) -> Any:
        """Return an RDD without partitions."""
        ...

    def empty_parts(self, place: Partitioner) -> Any:
        """Return an RDD of empty partitions, placed by `place`."""
        ...

    def union(self, rdds: Sequence[Any]) -> Any:
        """Return the records of all."""
        ...

    def from_blocks(
        self, block_ids: Sequence[str], logged: Sequence[SourcePartition | None]
    ) -> Any:
        """Return an RDD of received blocks, read from the log where memory lost them."""
        ...

    def from_ranges(
        self, parts: Sequence[SourcePartition], ranges: Sequence[Any]
    ) -> Any:
        """Return an RDD of ranges of a source, a partition each; it knows them."""
        ...

    def from_checkpoint(self, uri: str) -> Any:
        """Return the RDD that was checkpointed in a directory."""
        ...

    def from_state(self, store: StateStore, version: int, place: Partitioner) -> Any:
        """Return an RDD of the pairs of a committed version."""
        ...

    def unplaced(self, rdd: Any) -> Any:
        """Return the same records, placed by nothing that is known."""
        ...

    def read_from_state(self, rdd: Any, store: StateStore, version: int) -> None:
        """Let an RDD read a committed version, and forget what it was made from."""
        ...

    def with_state(self, before: Any, new: Any, kernel: Any, place: Partitioner) -> Any:
        """Return what `kernel` makes of a batch's pairs; None stands for an empty batch."""
        ...

    def cut_state(self, rdd: Any, place: Partitioner) -> None:
        """Let what `with_state` made forget the batch before."""
        ...

    def snapshots(self, mapped: Any, store: StateStore, version: int) -> Any:
        """Return an RDD of the state as of the batch that made `mapped`."""
        ...

    def run_parts(
        self, rdd: Any, function: Callable[..., Any], partitions: Sequence[int]
    ) -> list[Any]:
        """Return what `function(partition, pieces)` returns, in tasks, for each partition."""
        ...

    def touch(self, rdd: Any, partitions: Sequence[int]) -> None:
        """Compute some partitions, for what their tasks do besides."""
        ...

    def batch_time(self, time_ms: int) -> Any:
        """Return a batch's time as functions get it."""
        ...
