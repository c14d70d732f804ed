"""Shipping: a stage and its tasks as bytes, and how a worker process runs them.

What travels of a stage is the lineage that is computed in it, without what lies beyond its
borders, and the functions as they were pickled by the first job that needed them. What a
task reads from outside travels with the task: partitions of sources, kept partitions, and
buckets of shuffles; but what workers hold already is only named. What a task makes stays
with the workers, too, unless it is small.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, assert_never

from millstream.engine.base import (
    accumulating,
    driver_link,
    exits,
    frames,
    task_scope,
)
from millstream.engine.base.clock import monotonic_s
from millstream.engine.base.levels import StorageLevel
from millstream.engine.columnar.blocks import Frozen
from millstream.engine.columnar.execution import Columnar, Mode
from millstream.engine.columnar.reports import StageReport
from millstream.engine.durable import frozen_bytes
from millstream.engine.durable.block_store import BlockStore
from millstream.engine.durable.frozen_bytes import (
    Description,
    Held,
    Kept,
    Shared,
    encode,
)
from millstream.engine.jobs import failures, found_records
from millstream.engine.jobs.actions import Action
from millstream.engine.jobs.shuffles import ShuffleRegistry
from millstream.engine.jobs.stages import Stage
from millstream.engine.jobs.task_log import Traffic
from millstream.engine.jobs.tasks import (
    MissingShuffleError,
    Task,
    cached_id,
    note_made,
    stored_block,
)
from millstream.engine.plan.nodes import (
    AlignedUnion,
    Cartesian,
    Coalesced,
    Operation,
    Pipeline,
    RddNode,
    Shuffled,
    Source,
    StoredBlocks,
    Union,
    Zipped,
)
from millstream.engine.plan.partitions import FrozenRows, freeze
from millstream.engine.workers.protocol import Inside

_TOGETHER_MAX_BYTES = 64 << 10
"""What a task makes of no more than this travels through the driver."""
_INLINE_MAX_BYTES = 4 << 10
"""So does, of a task that makes more, a block of no more than this."""


@dataclass(frozen=True, slots=True)
class Placed:
    """Stands for a block that workers hold: its place among a task's, and what it is."""

    place: int
    about: Description


@dataclass(frozen=True, slots=True)
class KeptBlock:
    """A partition that a task has computed, to be kept."""

    block_id: str
    frozen: Frozen | Placed
    level: StorageLevel
    group: str


@dataclass(frozen=True, slots=True)
class Given:
    """What a task is given."""

    partition: int
    scope: task_scope.TaskScope
    now_ms: int
    sources: dict[tuple[int, int], Any] = field(default_factory=dict)
    """Partitions of sources, by RDD and number."""
    blocks: dict[str, Frozen | Placed] = field(default_factory=dict)
    buckets: dict[tuple[int, int], list[Frozen | Placed]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Succeeded:
    """What a task has made."""

    value: Any
    """Of an action; or the buckets of a map output, each as it is or Placed."""
    updates: dict[int, Any]
    told: tuple[tuple[str, Any], ...]
    """What the driver is to hear if this attempt counts: see `base.driver_link`."""
    report: StageReport
    kept: tuple[KeptBlock, ...]
    took_s: float
    traffic: Traffic


@dataclass(frozen=True, slots=True)
class Failed:
    """Why a task failed: the exception, pickled if it can be, and what to tell."""

    error: bytes
    text: str


# In the driver.


@dataclass(frozen=True, slots=True)
class _Parent:
    """Stands for a parent in what travels: its place in the list."""

    place: int


@dataclass(frozen=True, slots=True)
class ShippedStage:
    """A stage as it travels."""

    nodes: tuple[RddNode, ...]
    """Parents first; each refers to its parents by their places."""
    is_result: bool
    action: Action | None
    key: bytes
    mode: Mode
    rows_min: int
    title: str


def snapshot(stage: Stage) -> Stage:
    """Return a stage whose lineage stays as it is now, for `ship` and `gather` alike.

    While a stream runs, that of its state is cut whenever a version is committed.
    """
    copies = {
        # The functions are read first, for they go last where a lineage is cut.
        each.id: replace(each, functions=each.functions)
        for each in stage.members
    }
    for node in copies.values():
        known = {each.id: copies.get(each.id, each) for each in node.parents()}
        node.op = _with_parents(node.op, known)
    node = copies[stage.node.id]
    return Stage(node, stage.partitions, stage.is_result, tuple(copies.values()))


def ship(
    stage: Stage, action: Action, key: bytes, columnar: Columnar, title: str
) -> bytes:
    """Return what all tasks of a stage run, for `workers.protocol.StageBody`.

    `stage` is a snapshot, as for `gather`.

    Raises:
        PySparkPicklingError: Something of it can't be pickled; the text names it.
    """
    shipped = ShippedStage(
        _travelling(stage),
        stage.is_result,
        action if stage.is_result else None,
        key,
        columnar.mode,
        columnar.rows_min,
        title,
    )
    return frames.dumps_function(_Body(frames.dumps_function(shipped)))


def _travelling(stage: Stage) -> tuple[RddNode, ...]:
    places: dict[int, int] = {}
    nodes: list[RddNode] = []
    inside = {each.id for each in stage.members}
    waiting = [stage.node]
    while waiting:
        node = waiting[-1]
        parents = _inner_parents(node, stage, inside)
        missing = [each for each in parents if each.id not in places]
        if missing:
            waiting.extend(missing)
            continue
        waiting.pop()
        if node.id not in places:
            places[node.id] = len(nodes)
            nodes.append(_detached(node, stage, places))
    return tuple(nodes)


def _inner_parents(
    node: RddNode, stage: Stage, inside: set[int]
) -> tuple[RddNode, ...]:
    """Return the parents that are computed in the stage too."""
    if isinstance(node.op, Shuffled) and (stage.is_result or node is not stage.node):
        return ()
    return tuple(each for each in node.parents() if each.id in inside)


def _detached(node: RddNode, stage: Stage, places: Mapping[int, int]) -> RddNode:
    """Return a node that holds nothing but what its tasks need."""
    known = {
        each.id: _Parent(places[each.id])
        for each in node.parents()
        if each.id in places
    }
    is_border = isinstance(node.op, Shuffled) and (
        stage.is_result or node is not stage.node
    )
    op = _with_parents(node.op, {} if is_border else known)
    match op:
        case Source():
            op = Source(())
        case Pipeline():
            op = replace(op, steps=())
        case Zipped():
            op = replace(op, function=_unshipped)
        case Shuffled(partitioner=partitioner):
            placed = replace(partitioner, function=_unshipped)
            op = replace(op, partitioner=placed, aggregator=None)
        case StoredBlocks():
            op = replace(op, logged=())
        case _:
            pass
    return replace(node, op=op, partitioner=None, scope=None)


def _unshipped(*_args: Any) -> Any:
    """Stand where a function is that travels by itself."""
    msg = "a function that travels by itself was called in its place"
    raise AssertionError(msg)


def _with_parents(op: Operation, known: Mapping[int, Any]) -> Operation:
    """Return an operation with what stands for its parents; None for others."""

    def of(node: Any) -> Any:
        return known.get(getattr(node, "id", node))

    match op:
        case Source() | StoredBlocks():
            return op
        case Pipeline() | Coalesced() | Shuffled():
            return replace(op, parent=of(op.parent))
        case Cartesian():
            return replace(op, left=of(op.left), right=of(op.right))
        case Union() | AlignedUnion() | Zipped():
            return replace(op, parents=tuple(map(of, op.parents)))


@dataclass(slots=True)
class _Gathering:
    """Collects what a task is given; what workers hold is named, by its place."""

    given: Given
    reads: list[Held] = field(default_factory=list)

    def named(self, kept: Kept) -> Frozen | Placed:
        if isinstance(kept, Shared):
            self.reads.append(kept.held)
            return Placed(len(self.reads) - 1, kept.about)
        return frozen_bytes.unpack(kept)


def gather(
    stage: Stage,
    partition: int,
    scope: task_scope.TaskScope,
    now_ms: int,
    blocks: BlockStore,
    shuffles: ShuffleRegistry,
) -> tuple[Given, Sequence[Held]]:
    """Return what a task of a stage is given, and what it is to read.

    Raises:
        MissingShuffleError: Outputs that it reads aren't there.
        SparkError: A block that can't be computed isn't there.
    """
    gathering = _Gathering(Given(partition, scope, now_ms))
    given = gathering.given
    start = stage.node
    if not stage.is_result:
        assert isinstance(start.op, Shuffled), "only a shuffle has map outputs"
        start = start.op.parent
    inside = {each.id for each in stage.members}
    waiting = [(start, partition)]
    while waiting:
        node, part = waiting.pop()
        if node.level is not None:
            kept = blocks.get_kept(cached_id(node, part))
            if kept is not None:
                given.blocks[cached_id(node, part)] = gathering.named(kept)
                continue
        match node.op:
            case Source(partitions):
                given.sources[node.id, part] = _travelling_partition(partitions[part])
            case StoredBlocks() as op:
                block_id = op.block_ids[part]
                kept = blocks.get_kept(block_id) or stored_block(blocks, op, part, node)
                given.blocks[block_id] = gathering.named(kept)
            case Shuffled():
                buckets = shuffles.read_kept(node, part)
                if buckets is None:
                    raise MissingShuffleError(node)
                given.buckets[node.id, part] = list(map(gathering.named, buckets))
            case _:
                inputs = node.inputs_of(part)
                if not inside.issuperset(each.id for each, _ in inputs):
                    # It was kept when the stage was planned, and is no more.
                    raise MissingShuffleError(node)
                waiting.extend(inputs)
    return given, gathering.reads


def _travelling_partition(partition: Any) -> Any:
    """Return a partition of a source as it can be read elsewhere."""
    if not getattr(partition, "is_bound", False):
        return partition
    columns = partition.columns() if hasattr(partition, "columns") else None
    return freeze(list(partition.read())) if columns is None else columns


def nearest(reads: Sequence[Held]) -> int | None:
    """Return the executor that has made most of what a task reads, if any has."""
    sizes: dict[int, int] = {}
    for each in reads:
        holder = getattr(each, "holder", None)
        if holder is not None:
            sizes[holder] = sizes.get(holder, 0) + each.size
    return max(sizes, key=lambda each: sizes[each], default=None)


def shelves(stage: Stage, executors: int) -> int:
    """Return in how many parts a task's blocks are kept at most."""
    kept = sum(node.level is not None for node in stage.members)
    if stage.is_result:
        return kept
    return kept + min(stage.node.partition_count, executors)


def shared(placed: Frozen | Placed, held: Sequence[Held]) -> Kept:
    """Return a block as the driver keeps it, which a task has made."""
    if isinstance(placed, Placed):
        return Shared(placed.about, held[placed.place])
    return placed


# In the worker.


@dataclass(frozen=True, slots=True)
class _Body:
    """What runs in a worker; unpickled once for a stage, it loads the rest then."""

    pickled: bytes

    def __call__(self, given: bytes | memoryview, inside: Inside) -> bytes:
        return run(_loaded(self.pickled), given, inside)


_stages: dict[bytes, tuple[ShippedStage, tuple[RddNode, ...]]] = {}
_columnars: dict[tuple[Mode, int], Columnar] = {}


def _loaded(pickled: bytes) -> tuple[ShippedStage, tuple[RddNode, ...]]:
    found = _stages.get(pickled)
    if found is None:
        shipped: ShippedStage = frames.loads_function(pickled)
        _stages.clear()  # One at a time: stages follow each other.
        found = _stages[pickled] = shipped, _attached(shipped.nodes)
    return found


def _attached(nodes: Sequence[RddNode]) -> tuple[RddNode, ...]:
    """Give nodes their parents back, and what says which functions there are."""
    for node in nodes:
        known = {place: nodes[place.place] for place in _places(node.op)}
        node.op = _with_parents(node.op, known)
        if isinstance(node.op, Zipped):
            node.op = replace(node.op, function=frames.loads_function(node.functions))
    return tuple(nodes)


def _places(op: Operation) -> list[Any]:
    match op:
        case Source() | StoredBlocks():
            return []
        case Pipeline() | Coalesced() | Shuffled():
            found: list[Any] = [op.parent]
        case Cartesian():
            found = [op.left, op.right]
        case Union() | AlignedUnion() | Zipped():
            found = list(op.parents)
        case _:
            assert_never(op)
    return [each for each in found if isinstance(each, _Parent)]


@dataclass(slots=True)
class _GivenBlocks:
    """The blocks that a task was given, and those that it makes."""

    blocks: dict[str, Frozen]
    inside: Inside
    made: list[KeptBlock] = field(default_factory=list)

    def get_frozen(self, block_id: str) -> Frozen | None:
        return self.blocks.get(block_id)

    def put_frozen(
        self,
        block_id: str,
        frozen: Frozen,
        level: StorageLevel,
        *,
        group: str = "",
        now_ms: int = 0,
    ) -> None:
        del now_ms
        self.blocks[block_id] = frozen
        (placed,) = _held([frozen], self.inside)
        self.made.append(KeptBlock(block_id, placed, level, group))


@dataclass(frozen=True, slots=True)
class _GivenBuckets:
    buckets: dict[tuple[int, int], list[Frozen]]

    def read(self, node: RddNode, partition: int) -> list[Frozen] | None:
        return self.buckets.get((node.id, partition))


@dataclass(frozen=True, slots=True)
class _GivenPartitions:
    """The partitions of a source, as far as they were given."""

    given: Given
    node_id: int

    def __getitem__(self, part: int) -> Any:
        return self.given.sources[self.node_id, part]


def run(
    loaded: tuple[ShippedStage, tuple[RddNode, ...]],
    data: bytes | memoryview,
    inside: Inside,
) -> bytes:
    """Run a task, and return what came of it: Succeeded or Failed, pickled.

    Raises:
        BlockLostError: A block that it was to read is lost.
    """
    shipped, nodes = loaded
    given: Given = frames.loads(data)

    def read(block: Frozen | Placed) -> Frozen:
        # Before user code runs, which might catch what says that one is lost.
        if isinstance(block, Placed):
            return inside.read(block.place, block.about)
        return block

    blocks = _GivenBlocks({key: read(e) for key, e in given.blocks.items()}, inside)
    buckets = {key: list(map(read, each)) for key, each in given.buckets.items()}
    for node in nodes:
        if isinstance(node.op, Source):
            node.op = Source(_GivenPartitions(given, node.id))  # type: ignore[arg-type]
    setting = shipped.mode, shipped.rows_min
    columnar = _columnars.setdefault(setting, Columnar(*setting))
    task = Task(blocks, _GivenBuckets(buckets), given.now_ms, columnar)
    start_s = monotonic_s()
    with task_scope.entered(given.scope):
        accumulating.start_task_accumulators()
        driver_link.start_telling()
        try:
            value = _evaluate(shipped, nodes[-1], task, given.partition)
            note_made(task.traffic, value, is_result=shipped.is_result)
            if not shipped.is_result:
                value = _held(value, inside)
        except Exception as error:
            told = failures.describe(error, task.trail, shipped.title, given.partition)
            return frames.dumps(Failed(_pickled_error(told.error), told.text))
        finally:
            updates = accumulating.take_task_updates()
            tellings = driver_link.take_told()
    for fate in (*task.report.steps.values(), *task.report.shuffles.values()):
        fate.processes = 1
    took_s = monotonic_s() - start_s
    tellings += found_records.told(task.finds)
    made = Succeeded(
        value,
        updates,
        tellings,
        task.report,
        tuple(blocks.made),
        took_s,
        task.traffic,
    )
    return frames.dumps(made)


def _evaluate(shipped: ShippedStage, node: RddNode, task: Task, partition: int) -> Any:
    try:
        if shipped.action is not None:
            return task.run_action(node, partition, shipped.action, shipped.key)
        return task.write_shuffle(node, partition)
    except SystemExit as asked:
        raise exits.error_of(asked) from None


def _held(blocks: Sequence[Frozen], inside: Inside) -> list[Frozen | Placed]:
    """Return blocks as they travel: small ones as they are, others held by workers."""
    sizes = list(map(frozen_bytes.size_bytes, blocks))
    if sum(sizes) <= _TOGETHER_MAX_BYTES:
        return list(map(as_bytes, blocks))
    return [
        as_bytes(block)
        if size <= _INLINE_MAX_BYTES
        else Placed(inside.hold(block), frozen_bytes.describe(block))
        for block, size in zip(blocks, sizes, strict=True)
    ]


def as_bytes(frozen: Frozen) -> Frozen:
    """Return rows pickled: who hands them on need not make objects of them."""
    if isinstance(frozen, FrozenRows) and frozen.shared is not None:
        return FrozenRows(frozen.count, None, encode(frozen))
    return frozen


def _pickled_error(error: BaseException) -> bytes:
    try:
        data = frames.dumps(error)
        frames.loads(data)
    except Exception:
        kind = type(error)
        return frames.dumps(
            RuntimeError(f"{kind.__module__}.{kind.__qualname__}: {error}")
        )
    return data
