"""RddNode: one RDD in the lineage; what it is made from, as data.

The operation (`op`) is frozen. A node itself has an identity and the few facts about an
RDD that change: its name, whether it is kept, whether it has been checkpointed. After a
checkpoint its operation is replaced by one that reads the files, which cuts the lineage.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from millstream.engine.base.levels import StorageLevel
from millstream.engine.plan.marks import RecordMark
from millstream.engine.plan.partitioners import Partitioner
from millstream.engine.plan.steps import Aggregator, Step


class SourcePartition(Protocol):
    """One partition that comes from outside the lineage. Picklable."""

    def read(self) -> Iterable[Any]:
        """Return the records; called in a task, perhaps more than once."""
        ...


@dataclass(frozen=True, slots=True)
class Source:
    """Records from outside: a collection, files, received blocks, ranges of a log."""

    partitions: tuple[SourcePartition, ...]


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Steps applied to each partition of one parent."""

    parent: "RddNode"
    steps: tuple[Step, ...]
    is_barrier: bool = False


@dataclass(frozen=True, slots=True)
class Union:
    """The partitions of all parents, one after the other."""

    parents: tuple["RddNode", ...]


@dataclass(frozen=True, slots=True)
class AlignedUnion:
    """Partition i of all parents, concatenated: they share one partitioner."""

    parents: tuple["RddNode", ...]


@dataclass(frozen=True, slots=True)
class Coalesced:
    """Whole partitions of the parent put together, without a shuffle."""

    parent: "RddNode"
    groups: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Zipped:
    """Partition i of all parents handed to one function: `f(index, iterators)`.

    Carries zip, cogroup and the state update: whatever reads parents side by side.
    """

    parents: tuple["RddNode", ...]
    function: Callable[[int, Sequence[Iterable[Any]]], Iterable[Any]]
    name: str
    is_engine_function: bool = False


@dataclass(frozen=True, slots=True)
class Cartesian:
    """Every record of the left with every record of the right."""

    left: "RddNode"
    right: "RddNode"


@dataclass(frozen=True, slots=True)
class Shuffled:
    """Pairs placed by key, and combined when there is an aggregator.

    With `map_side` the aggregator runs before the shuffle too.
    """

    parent: "RddNode"
    partitioner: Partitioner
    aggregator: Aggregator | None
    map_side: bool = True


@dataclass(frozen=True, slots=True)
class StoredBlocks:
    """Partitions that exist only in the block store, by block id: nothing recomputes them.

    Those that are `logged` can be read again from a log.
    """

    block_ids: tuple[str, ...]
    what: str
    logged: tuple[SourcePartition | None, ...] = ()


Operation: TypeAlias = (
    Source
    | Pipeline
    | Union
    | AlignedUnion
    | Coalesced
    | Zipped
    | Cartesian
    | Shuffled
    | StoredBlocks
)

_ids = itertools.count()


@dataclass(eq=False, slots=True, weakref_slot=True)
class RddNode:
    """One RDD. Compared by identity."""

    op: Operation
    partition_count: int
    partitioner: Partitioner | None = None
    call_site: str = ""
    id: int = field(default_factory=lambda: next(_ids))
    name: str | None = None
    level: StorageLevel | None = None
    is_checkpoint_wanted: bool = False
    is_local_checkpoint: bool = False
    checkpoint_path: str | None = None
    functions: Any = None
    """The operation's functions, pickled by the first job that needs them."""
    scope: Any = None
    """What the runner ties to the life of this node; see jobs/lifetimes."""
    mark: RecordMark | None = None
    """What becomes of records that make later steps raise; of a union of one parent."""

    def parents(self) -> tuple["RddNode", ...]:
        """Return the nodes this one is made from."""
        op = self.op
        match op:
            case Source() | StoredBlocks():
                return ()
            case Pipeline() | Coalesced() | Shuffled():
                return (op.parent,)
            case Cartesian():
                return (op.left, op.right)
            case Union() | AlignedUnion() | Zipped():
                return op.parents

    def inputs_of(self, partition: int) -> list[tuple["RddNode", int]]:
        """Return the parent partitions that `partition` is made from, in order.

        Empty for what reads no parent in its own stage: sources and shuffles.
        """
        op = self.op
        match op:
            case Source() | StoredBlocks() | Shuffled():
                return []
            case Pipeline():
                return [(op.parent, partition)]
            case AlignedUnion() | Zipped():
                return [(parent, partition) for parent in op.parents]
            case Coalesced():
                return [(op.parent, part) for part in op.groups[partition]]
            case Cartesian():
                left, right = divmod(partition, op.right.partition_count)
                return [(op.left, left), (op.right, right)]
            case Union():
                left = partition
                for parent in op.parents:
                    if left < parent.partition_count:
                        return [(parent, left)]
                    left -= parent.partition_count
                msg = f"a union has no partition {partition}"
                raise IndexError(msg)

    def title(self) -> str:
        """Return what pages and errors call this RDD."""
        if self.name:
            return self.name
        if self.mark is not None:
            return "onError"
        match self.op:
            case Pipeline(steps=steps):
                return steps[-1].name
            case Zipped(name=name):
                return name
            case op:
                return type(op).__name__


def ancestors(node: RddNode) -> Iterator[RddNode]:
    """Yield `node` and all it is made from, each once, children before parents.

    Iterative: lineages get thousands of steps long.
    """
    seen = {node.id}
    waiting = [node]
    while waiting:
        current = waiting.pop()
        yield current
        for parent in current.parents():
            if parent.id not in seen:
                seen.add(parent.id)
                waiting.append(parent)
