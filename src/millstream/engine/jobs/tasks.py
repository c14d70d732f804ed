"""Tasks: one partition of one stage, evaluated from its lineage."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, Protocol

from millstream.engine.base import frames
from millstream.engine.base.errors import SparkError
from millstream.engine.durable.block_store import BlockStore
from millstream.engine.jobs.actions import Action, Apply, Collect, Count, Take
from millstream.engine.plan import fusion
from millstream.engine.plan.nodes import (
    AlignedUnion,
    Cartesian,
    Coalesced,
    Pipeline,
    RddNode,
    Shuffled,
    Source,
    StoredBlocks,
    Union,
    Zipped,
)
from millstream.engine.plan.partitioners import split_pairs
from millstream.engine.plan.partitions import FrozenRows, freeze
from millstream.engine.plan.steps import Aggregator, Group, Merge, Reduce, Step

# A generator inside a generator inside ...: past this many, make a list in between, or
# a long chain of unions would hit Python's recursion limit.
_NESTED_MAX = 50


class MissingShuffleError(Exception):
    """A task needs map outputs that aren't there; the runner makes them and retries."""

    def __init__(self, node: RddNode) -> None:
        """Name the shuffle."""
        super().__init__(f"the outputs of shuffle {node.id} are missing")
        self.node = node


class ShuffleOutputs(Protocol):
    """Where map outputs are found."""

    def read(self, node: RddNode, partition: int) -> list[FrozenRows] | None:
        """Return one bucket a map task, in the order of map tasks; None if missing."""
        ...


@dataclass(slots=True)
class Pending:
    """Rows and the steps still to be applied to them, in one pass if possible."""

    rows: Iterable[Any]
    index: int
    steps: list[Step] = field(default_factory=list)
    nested: int = 0

    def iterate(self) -> Iterator[Any]:
        """Return the records after the steps, computed as they are asked for."""
        return fusion.iterate(self.rows, self.steps, self.index)

    def to_list(self) -> list[Any]:
        """Return the records after the steps."""
        return fusion.to_list(self.rows, self.steps, self.index)


@dataclass(frozen=True, slots=True)
class ShuffleFunctions:
    """The functions of a shuffle, as they travel."""

    place: Callable[[Any], int]
    aggregator: Aggregator | None


def functions_of(node: RddNode) -> Any:
    """Return what of a node's operation is a user's function, to be pickled by value."""
    match node.op:
        case Pipeline(steps=steps):
            return steps
        case Zipped(function=function):
            return function
        case Shuffled(partitioner=partitioner, aggregator=aggregator):
            return ShuffleFunctions(partitioner.function, aggregator)
        case _:
            return None


@dataclass(slots=True)
class Task:
    """One evaluation: its own copy of every function, shared with no other task."""

    blocks: BlockStore
    shuffles: ShuffleOutputs
    now_ms: int = 0
    trail: list[tuple[Step, RddNode]] = field(default_factory=list)
    """Every step in the order the task came to it; errors are told by it."""
    _loaded: dict[int, Any] = field(default_factory=dict)

    def run_action(self, node: RddNode, partition: int, action: Action) -> Any:
        """Return what `action` makes of one partition."""
        pending = self.evaluate(node, partition)
        match action:
            case Collect():
                return pending.to_list()
            case Count():
                return fusion.count(pending.rows, pending.steps, pending.index)
            case Take(count):
                return list(islice(pending.iterate(), count))
            case Apply(function):
                return function(partition, pending.iterate())

    def write_shuffle(self, node: RddNode, partition: int) -> tuple[FrozenRows, ...]:
        """Return one map output: the pairs of `partition`, one bucket a reducer."""
        op = node.op
        assert isinstance(op, Shuffled), "only a shuffle has map outputs"
        functions: ShuffleFunctions = self._functions(node)
        pending = self.evaluate(op.parent, partition)
        pairs: Iterable[Any]
        if isinstance(functions.aggregator, Reduce | Merge) and op.map_side:
            pairs = fusion.combine(
                pending.rows, pending.steps, functions.aggregator, pending.index
            ).items()
        else:
            pairs = pending.iterate()
        buckets = split_pairs(pairs, op.partitioner.count, functions.place)
        return tuple(map(freeze, buckets))

    def evaluate(self, root: RddNode, partition: int) -> Pending:
        """Return one partition of `root`; as much as possible is left to one last pass.

        Walks the lineage without recursion: it may be thousands of steps deep.
        """
        waiting: list[tuple[RddNode, int, int]] = [(root, partition, -1)]
        done: list[Pending] = []
        while waiting:
            node, part, input_count = waiting.pop()
            if input_count < 0:
                if node.level is not None:
                    kept = self.blocks.get(cached_id(node, part))
                    if kept is not None:
                        done.append(Pending(kept, part))
                        continue
                inputs = node.inputs_of(part)
                waiting.append((node, part, len(inputs)))
                waiting.extend((*each, -1) for each in reversed(inputs))
                continue
            split = len(done) - input_count
            pending = self._apply(node, part, done[split:])
            del done[split:]
            if node.level is not None:
                pending = self._keep(node, part, pending)
            elif pending.nested > _NESTED_MAX:
                pending = Pending(pending.to_list(), part)
            done.append(pending)
        (result,) = done
        return result

    def _keep(self, node: RddNode, part: int, pending: Pending) -> Pending:
        assert node.level is not None, "only a persisted RDD is kept"
        rows = pending.to_list()
        block_id = cached_id(node, part)
        group = f"rdd-{node.id}"
        self.blocks.put(block_id, rows, node.level, group=group, now_ms=self.now_ms)
        # From the store, not the list just made: what is kept must not be shared with
        # code that could change it.
        stored = self.blocks.get(block_id)
        return Pending(rows if stored is None else stored, part)

    def _apply(self, node: RddNode, part: int, inputs: list[Pending]) -> Pending:
        op = node.op
        match op:
            case Source(partitions):
                return Pending(partitions[part].read(), part)
            case StoredBlocks():
                return Pending(self._stored(op, part, node), part)
            case Pipeline():
                (pending,) = inputs
                steps: tuple[Step, ...] = self._functions(node)
                pending.steps.extend(steps)
                pending.nested += 1
                self.trail.extend((step, node) for step in steps)
                return pending
            case Union():
                (pending,) = inputs
                return _reindexed(pending, part)
            case AlignedUnion() | Coalesced():
                nested = max((each.nested for each in inputs), default=0) + 1
                rows = chain.from_iterable(each.iterate() for each in inputs)
                return Pending(rows, part, nested=nested)
            case Zipped():
                nested = max((each.nested for each in inputs), default=0) + 1
                rows = self._functions(node)(part, [each.iterate() for each in inputs])
                return Pending(rows, part, nested=nested)
            case Cartesian():
                left, right = inputs
                return Pending(_product(left, right.to_list()), part, nested=1)
            case Shuffled():
                return Pending(self._read_shuffle(node, part), part)

    def _stored(self, op: StoredBlocks, part: int, node: RddNode) -> Iterable[Any]:
        block_id, what = op.block_ids[part], op.what
        rows: Iterable[Any] | None = self.blocks.get(block_id)
        logged = op.logged[part] if op.logged else None
        if rows is None and logged is not None:
            rows = logged.read()
        if rows is None:
            msg = (
                f"Could not compute split, block {block_id} of RDD {node.id} not found"
            )
            raise SparkError(msg, hint=f"{what}; nothing can compute it again")
        return rows

    def _read_shuffle(self, node: RddNode, part: int) -> Iterable[Any]:
        op = node.op
        assert isinstance(op, Shuffled), "only a shuffle has map outputs"
        buckets = self.shuffles.read(node, part)
        if buckets is None:
            raise MissingShuffleError(node)
        functions: ShuffleFunctions = self._functions(node)
        aggregator = functions.aggregator
        pairs: Iterable[Any] = chain.from_iterable(each.thaw() for each in buckets)
        if aggregator is None:
            return pairs
        if isinstance(aggregator, Group) or not op.map_side:
            return fusion.combine(pairs, (), aggregator, part).items()
        if len(buckets) == 1:
            return pairs  # One map task has combined every key already.
        merge = (
            aggregator.merge
            if isinstance(aggregator, Reduce)
            else aggregator.merge_combiners
        )
        return fusion.combine(pairs, (), Reduce(merge), part).items()

    def _functions(self, node: RddNode) -> Any:
        # Loaded once a task and RDD: a task has its own copies, as in PySpark, where each
        # task unpickles what it runs.
        loaded = self._loaded.get(node.id)
        if loaded is None:
            loaded = self._loaded[node.id] = frames.loads_function(node.functions)
        return loaded


fusion.mark_record(split_pairs, "record")


def cached_id(node: RddNode, partition: int) -> str:
    """Return the block id of a persisted partition."""
    return f"rdd-{node.id}-{partition}"


def _reindexed(pending: Pending, part: int) -> Pending:
    if pending.index == part:
        return pending
    if not all(map(fusion.is_fusible, pending.steps)):
        # Their index is the one in the union's parent.
        return Pending(pending.iterate(), part, nested=pending.nested + 1)
    pending.index = part
    return pending


def _product(left: Pending, right: list[Any]) -> Iterator[Any]:
    return ((a, b) for a in left.iterate() for b in right)
