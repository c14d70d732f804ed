"""BatchRdd: what the control plane asks of a batch's RDD, whoever made it.

The faces' RDD has these methods. So the same RDD object is handed out for a batch,
whoever asks, and nothing here knows how an RDD is computed.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from millstream.engine.base.levels import StorageLevel


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

    def union(self, rdds: Sequence[Any]) -> Any:
        """Return the records of all."""
        ...

    def from_blocks(self, block_ids: Sequence[str]) -> Any:
        """Return an RDD of received blocks."""
        ...
