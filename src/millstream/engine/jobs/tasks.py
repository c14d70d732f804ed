"""Tasks: one partition of one stage, evaluated from its lineage."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, Protocol

from millstream.engine.base import frames
from millstream.engine.base.errors import SparkError
from millstream.engine.base.levels import StorageLevel
from millstream.engine.columnar.blocks import (
    Columns,
    Frozen,
    in_slices,
    is_pair,
    joined,
    rows_of,
)
from millstream.engine.columnar.execution import Columnar, Mode
from millstream.engine.columnar.reports import StageReport
from millstream.engine.durable.state_store import StoredState
from millstream.engine.jobs import bad_records, found_records
from millstream.engine.jobs.actions import (
    Action,
    Apply,
    Collect,
    Count,
    CountByValue,
    Fold,
    Sum,
    Take,
)
from millstream.engine.jobs.pending import Finisher, Pending
from millstream.engine.jobs.task_log import Traffic
from millstream.engine.plan import fusion
from millstream.engine.plan.counting import CountRecords
from millstream.engine.plan.fusion import is_fusible
from millstream.engine.plan.kernels import CoGroup, Join, UpdateState
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
from millstream.engine.plan.partitions import (
    FrozenRows,
    FrozenText,
    freeze,
    is_immutable,
)
from millstream.engine.plan.ranges import SortPartition
from millstream.engine.plan.sampling import BernoulliSample
from millstream.engine.plan.steps import (
    Aggregator,
    Combine,
    Group,
    MapPartitions,
    Merge,
    Reduce,
    Step,
)

# A generator inside a generator inside ...: past this many, make a list in between, or
# a long chain of unions would hit Python's recursion limit.
_NESTED_MAX = 50


class MissingShuffleError(Exception):
    """A task needs map outputs that aren't there; the runner makes them and retries."""

    def __init__(self, node: RddNode) -> None:
        """Name the shuffle."""
        super().__init__(f"the outputs of shuffle {node.id} are missing")
        self.node = node


class Blocks(Protocol):
    """Where kept partitions are found, and kept."""

    def get_frozen(self, block_id: str) -> Frozen | None:
        """Return a block, or None if it isn't there."""
        ...

    def put_frozen(
        self,
        block_id: str,
        frozen: Frozen,
        level: StorageLevel,
        *,
        group: str = "",
        now_ms: int = 0,
    ) -> None:
        """Keep a block."""
        ...


class ShuffleOutputs(Protocol):
    """Where map outputs are found."""

    def read(self, node: RddNode, partition: int) -> list[Frozen] | None:
        """Return one bucket a map task, in the order of map tasks; None if missing."""
        ...


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

    blocks: Blocks
    shuffles: ShuffleOutputs
    now_ms: int = 0
    columnar: Columnar = field(default_factory=Columnar)
    report: StageReport = field(default_factory=StageReport)
    """Which way each step went."""
    trail: list[tuple[Step, RddNode]] = field(default_factory=list)
    """Every step in the order the task came to it; errors are told by it."""
    finds: list[found_records.Find] = field(default_factory=list)
    """The bad records that were taken out; see `bad_records`."""
    traffic: Traffic = field(default_factory=Traffic)
    """How much it has read, as far as that is known without counting."""
    given: Mapping[tuple[int, int], Iterable[Any]] | None = None
    """What takes the place of some partitions, by node."""
    unkept: RddNode | None = None
    """A persisted RDD that this task computes and doesn't keep."""
    _loaded: dict[int, Any] = field(default_factory=dict)
    _is_taking: bool = False
    _finisher: Finisher = field(init=False)

    def __post_init__(self) -> None:
        self._finisher = Finisher(self.columnar, self.report)

    def run_action(
        self, node: RddNode, partition: int, action: Action, key: bytes = b""
    ) -> Any:
        """Return what `action` makes of one partition.

        `key` identifies the action's function over jobs. What a mark lets pass is taken
        out and is in `finds`.
        """
        try:
            return self._run_action(node, partition, action, key)
        except MissingShuffleError:
            raise
        except Exception as raised:
            error = raised
        found = bad_records.search(
            self, node, partition, error, bad_records.action_check(action), action.name
        )
        if found is None:
            raise error
        self.finds += found.finds
        return found.again()._run_action(node, partition, action, key)

    def _run_action(
        self, node: RddNode, partition: int, action: Action, key: bytes
    ) -> Any:
        self._is_taking = isinstance(action, Take)
        pending = self.evaluate(node, partition)
        match action:
            case Collect():
                return self._finisher.to_list(pending)
            case Count():
                return self._finisher.count(pending)
            case Take(count):
                return list(islice(self._finisher.iterate(pending), count))
            case Apply(function) if _takes_pieces(function):
                return function(partition, self._finisher.pieces(pending))
            case Apply(function):
                return function(partition, self._finisher.iterate(pending))
            case Fold(function):
                return self._finisher.fold(pending, function, key)
            case Sum():
                return self._finisher.total(pending)
            case CountByValue():
                return self._finisher.count_by_value(pending)

    def write_shuffle(self, node: RddNode, partition: int) -> tuple[Frozen, ...]:
        """Return one map output: the pairs of `partition`, one bucket a reducer.

        What a mark lets pass is taken out and is in `finds`.
        """
        try:
            return self._write_shuffle(node, partition)
        except MissingShuffleError:
            raise
        except Exception as raised:
            error = raised
        op = node.op
        assert isinstance(op, Shuffled), "only a shuffle has map outputs"
        check = bad_records.each(bad_records.pair_check(node, self._functions(node)))
        found = bad_records.search(
            self, op.parent, partition, error, check, node.call_site
        )
        if found is None:
            raise error
        self.finds += found.finds
        return found.again()._write_shuffle(node, partition)

    def _write_shuffle(self, node: RddNode, partition: int) -> tuple[Frozen, ...]:
        op = node.op
        assert isinstance(op, Shuffled), "only a shuffle has map outputs"
        functions: ShuffleFunctions = self._functions(node)
        pending = self.evaluate(op.parent, partition)
        self.report.reducing = node.id
        pairs: Iterable[Any]
        if isinstance(functions.aggregator, Reduce | Merge) and op.map_side:
            combined = self._finisher.combined(
                pending, functions.aggregator, node.functions or b""
            )
            if isinstance(combined, Columns):
                return self._split(combined, node)
            pairs = combined.items()
        else:
            listed = self._finisher.as_columns(pending)
            if isinstance(listed, Columns) and is_pair(listed.shape):
                return self._split(listed, node)
            pairs = listed.thaw() if isinstance(listed, Columns) else listed
        buckets = split_pairs(pairs, op.partitioner.count, functions.place)
        return tuple(map(freeze, buckets))

    def over(
        self,
        given: Mapping[tuple[int, int], Iterable[Any]],
        *,
        unkept: RddNode | None,
        loaded: dict[int, Any] | None = None,
    ) -> "Task":
        """Return a like task in which `given` takes the place of some partitions.

        With `loaded` it shares its copies of functions with others that have it, too.
        """
        made = Task(self.blocks, self.shuffles, self.now_ms, self.columnar)
        made.given, made.unkept = given or None, unkept
        if loaded is not None:
            made._loaded = loaded
        return made

    def iterate(self, node: RddNode, partition: int) -> Iterator[Any]:
        """Return the records of one partition, computed as they are asked for."""
        return self._finisher.iterate(self.evaluate(node, partition))

    def listed(self, node: RddNode, partition: int) -> list[Any]:
        """Return the records of one partition."""
        return self._finisher.to_list(self.evaluate(node, partition))

    def functions_of(self, node: RddNode) -> Any:
        """Return this task's copies of a node's functions."""
        return self._functions(node)

    def _split(self, pairs: Columns, node: RddNode) -> tuple[Frozen, ...]:
        op = node.op
        assert isinstance(op, Shuffled), "only a shuffle has map outputs"
        from millstream.engine.columnar import placing  # noqa: PLC0415

        place = self._functions(node).place
        return tuple(placing.split(pairs, op.partitioner.count, place))

    def evaluate(self, root: RddNode, partition: int) -> Pending:
        """Return one partition of `root`; as much as possible is left to one last pass.

        Walks the lineage without recursion: it may be thousands of steps deep.
        """
        is_taking = self._is_taking
        waiting: list[tuple[RddNode, int, int, bool]] = [
            (root, partition, -1, is_taking)
        ]
        done: list[Pending] = []
        while waiting:
            node, part, input_count, is_taking = waiting.pop()
            if input_count < 0:
                if self.given is not None and (node.id, part) in self.given:
                    done.append(Pending(part, self.given[node.id, part]))
                    continue
                if node.level is not None and node is not self.unkept:
                    kept = self.blocks.get_frozen(cached_id(node, part))
                    if kept is not None:
                        self._is_taking = is_taking
                        self._note_read(kept)
                        done.append(self._of_blocks([kept], part))
                        continue
                inputs = node.inputs_of(part)
                waiting.append((node, part, len(inputs), is_taking))
                is_taking = is_taking and not _is_made_whole(node)
                waiting.extend((*each, -1, is_taking) for each in reversed(inputs))
                continue
            split = len(done) - input_count
            self._is_taking = is_taking and node.level is None
            pending = self._apply(node, part, done[split:])
            self._is_taking = is_taking
            del done[split:]
            if node.level is not None and node is not self.unkept:
                pending = self._keep(node, part, pending)
            elif pending.nested > _NESTED_MAX:
                pending = Pending(part, self._finisher.to_list(pending))
            done.append(pending)
        (result,) = done
        return result

    def _keep(self, node: RddNode, part: int, pending: Pending) -> Pending:
        assert node.level is not None, "only a persisted RDD is kept"
        frozen = self._frozen(node, part, pending)
        block_id = cached_id(node, part)
        group = f"rdd-{node.id}"
        self.blocks.put_frozen(
            block_id, frozen, node.level, group=group, now_ms=self.now_ms
        )
        # Frozen, not the list just made: what is kept must not be shared with code that
        # could change it.
        return self._of_blocks([frozen], part)

    def _frozen(self, node: RddNode, part: int, pending: Pending) -> Frozen:
        """Return what is to be kept, without what a mark lets pass."""
        try:
            return self._finisher.frozen(pending)
        except MissingShuffleError:
            raise
        except Exception as raised:
            error = raised
        found = bad_records.search(self, node, part, error, None)
        if found is None:
            raise error
        made = freeze(found.again_unkept().listed(node, part))
        self.finds += found_records.untold(found.finds)
        return made

    def _of_blocks(self, blocks: Iterable[Frozen], part: int) -> Pending:
        if self.columnar.mode is Mode.OFF or self._is_taking:
            rows = chain.from_iterable(map(self._thawed, blocks))
            return Pending(part, rows)
        return Pending(part, blocks=blocks)

    def _thawed(self, block: Frozen) -> Iterable[Any]:
        # Of what only the first few are taken, not all is made into objects.
        if self._is_taking and isinstance(block, Columns):
            return in_slices(block)
        return block.thaw()

    def _apply(self, node: RddNode, part: int, inputs: list[Pending]) -> Pending:
        op = node.op
        match op:
            case Source(partitions):
                return self._read(partitions[part], part)
            case StoredBlocks():
                stored = stored_block(self.blocks, op, part, node)
                self._note_read(stored)
                return self._of_blocks([stored], part)
            case Pipeline():
                (pending,) = inputs
                return self._through_steps(node, part, pending)
            case Union():
                (pending,) = inputs
                if node.mark is not None and part in node.mark.taken_out:
                    taken_out = node.mark.taken_out[part]
                    whole = enumerate(self._finisher.iterate(pending))
                    others = (row for at, row in whole if at not in taken_out)
                    return Pending(part, others, nested=pending.nested + 1)
                return self._reindexed(pending, part)
            case AlignedUnion() | Coalesced():
                return self._chained(inputs, part)
            case Zipped():
                return self._zipped(node, op, part, inputs)
            case Cartesian():
                left, right = inputs
                product = _product(
                    self._finisher.iterate(left), self._finisher.to_list(right)
                )
                return Pending(part, product, nested=1)
            case Shuffled():
                return self._read_shuffle(node, part)

    def _whole_partition(
        self, node: RddNode, part: int, pending: Pending, steps: Sequence[Step]
    ) -> Pending | None:
        """Return what a function of the engine makes of a partition; None: it's unknown."""
        first = steps[0] if len(steps) == 1 else None
        if not isinstance(first, MapPartitions) or self.columnar.mode is Mode.OFF:
            return None
        function: Any = first.function
        if not isinstance(function, SortPartition | BernoulliSample | CountRecords):
            return None
        self.trail.append((first, node))
        if isinstance(function, CountRecords):
            counts = map(self._finisher.count, (pending,))
            return Pending(part, counts, nested=1)
        blocks = self._finisher.listed(pending)
        columns = joined(blocks)
        if columns is not None and self.columnar.is_worth_it(columns.count):
            from millstream.engine.columnar import partitionwise  # noqa: PLC0415

            made = partitionwise.apply(
                self.columnar,
                function,
                part,
                columns,
                self.report,
                node.id,
                first.name,
            )
            if made is not None:
                return self._of_blocks([made], part)
        rows = chain.from_iterable(map(rows_of, blocks))
        return Pending(part, rows, steps=list(steps), nested=1)

    def _through_steps(self, node: RddNode, part: int, pending: Pending) -> Pending:
        steps: tuple[Step, ...] = self._functions(node)
        if pending.blocks is not None and not all(map(is_fusible, steps)):
            aggregator = _reducing(steps)
            if aggregator is not None:
                self.trail.append((steps[0], node))
                return self._combine_inside(node, part, pending, aggregator)
            known = self._whole_partition(node, part, pending, steps)
            if known is not None:
                return known
            rows = self._finisher.iterate(pending)
            pending = Pending(part, rows, nested=pending.nested)
        pending.steps.extend(steps)
        pending.keys.append(node.functions or b"")
        pending.nodes.extend(node.id for _ in steps)
        pending.nested += 1
        self.trail.extend((step, node) for step in steps)
        return pending

    def _combine_inside(
        self, node: RddNode, part: int, pending: Pending, aggregator: Reduce | Merge
    ) -> Pending:
        """Reduce by key what is placed by key already."""
        self.report.reducing = node.id
        blocks = list(pending.blocks or ())
        pending.blocks = blocks
        if len(blocks) > 1 and any(isinstance(each, Columns) for each in blocks):
            from millstream.engine.columnar import gathering, zipping  # noqa: PLC0415

            if isinstance(aggregator, Reduce) and not pending.steps:
                folded = zipping.folded(
                    self.columnar,
                    blocks,
                    aggregator.merge,
                    node.functions or b"",
                    self.report,
                )
                if folded is not None:
                    return self._of_blocks([folded], part)
            # Small ones, which alone would go by rows, go with the others.
            pending.blocks = gathering.together(blocks)
        combined = self._finisher.combined(pending, aggregator, node.functions or b"")
        if isinstance(combined, Columns):
            return self._of_blocks([combined], part)
        return Pending(part, combined.items(), nested=1)

    def _zipped(
        self, node: RddNode, op: Zipped, part: int, inputs: Sequence[Pending]
    ) -> Pending:
        nested = max((each.nested for each in inputs), default=0) + 1
        kernel = self._functions(node)
        is_on = self.columnar.mode is not Mode.OFF
        if is_on and op.is_engine_function and _takes_pieces(kernel):
            return self._of_pieces(node, kernel, part, inputs)
        is_known = op.is_engine_function and _is_known_by_columns(kernel)
        if not is_known or not is_on:
            return Pending(
                part,
                kernel(part, list(map(self._finisher.iterate, inputs))),
                nested=nested,
            )
        blocks = list(map(self._finisher.listed, inputs))
        made = self._zipped_by_columns(node, op, part, blocks)
        if made is not None:
            return self._of_blocks([made], part)
        rows = [chain.from_iterable(map(rows_of, each)) for each in blocks]
        return Pending(part, kernel(part, rows), nested=1)

    def _of_pieces(
        self, node: RddNode, kernel: Any, part: int, inputs: Sequence[Pending]
    ) -> Pending:
        """Return what a kernel makes that goes by columns or rows as it sees fit."""
        pieces = list(map(self._finisher.pieces, inputs))
        made = kernel.of_pieces(part, pieces, self.columnar, self.report, node.id)
        filled = [each for each in made if not isinstance(each, list) or each]
        if any(isinstance(each, Columns) for each in filled) and all(
            isinstance(e, Columns) or (isinstance(e, list) and is_immutable(e))
            for e in filled
        ):
            blocks = [freeze(e) if isinstance(e, list) else e for e in filled]
            return self._of_blocks(blocks, part)
        nested = max((each.nested for each in inputs), default=0) + 1
        if len(filled) == 1:
            return Pending(part, filled[0], nested=nested)
        return Pending(part, chain.from_iterable(map(rows_of, filled)), nested=nested)

    def _zipped_by_columns(
        self,
        node: RddNode,
        op: Zipped,
        part: int,
        inputs: list[list[Frozen | list[Any]]],
    ) -> Frozen | None:
        """Return what a kernel makes of its inputs, or None: the row path must do it."""
        kernel: CoGroup | Join | UpdateState = self._functions(node)
        reason = self._why_by_rows(kernel, list(chain.from_iterable(inputs)))
        if reason:
            self.report.note(node.id, op.name, "rows", reason)
            return None
        from millstream.engine.columnar import zipping  # noqa: PLC0415

        return zipping.zipped(self.columnar, kernel, part, inputs, self.report, node.id)

    def _why_by_rows(
        self, kernel: CoGroup | Join | UpdateState, blocks: list[Frozen | list[Any]]
    ) -> str:
        """Return why columns aren't even tried, or an empty text."""
        count = sum(len(e) if isinstance(e, list) else e.count for e in blocks)
        if not self.columnar.is_worth_it(count):
            return f"fewer than {self.columnar.rows_min} records"
        if isinstance(kernel, UpdateState) or not self.columnar.rows_min:
            return ""
        if any(isinstance(each, Columns) for each in blocks):
            return ""
        # Making columns of objects would take longer than to join them.
        return "the records are Python objects"

    def _note_read(self, data: Any) -> None:
        """Add what is known without counting of a block, or a partition of a source."""
        traffic = self.traffic
        rows, size = _known_rows(data), _known_bytes(data)
        if rows is not None:
            traffic.rows_in = rows + (traffic.rows_in or 0)
        if size is not None:
            traffic.bytes_in = size + (traffic.bytes_in or 0)

    def _read(self, partition: Any, part: int) -> Pending:
        self._note_read(partition)
        if isinstance(partition, FrozenRows | FrozenText | Columns):
            return self._of_blocks([partition], part)
        if isinstance(partition, StoredState) and self.columnar.mode is not Mode.OFF:
            columns = partition.columns()
            if columns is not None:
                return self._of_blocks([columns], part)
        if (
            getattr(partition, "has_blocks", False)
            and self.columnar.mode is not Mode.OFF
            and not self._is_taking
        ):
            return Pending(part, blocks=iter(partition.blocks()))
        text_blocks = getattr(partition, "text_blocks", None)
        if (
            text_blocks is None
            or not getattr(partition, "is_text", True)
            or self.columnar.mode is Mode.OFF
            or self._is_taking
        ):
            return Pending(part, partition.read())
        return Pending(part, blocks=map(FrozenText, text_blocks()))

    def _chained(self, inputs: Sequence[Pending], part: int) -> Pending:
        """Return the records of all inputs, one after the other."""
        nested = max((each.nested for each in inputs), default=0) + 1
        if inputs and all(each.blocks is not None for each in inputs):
            blocks = chain.from_iterable(map(self._finisher.blocks_of, inputs))
            return Pending(part, blocks=blocks, nested=nested)
        rows = chain.from_iterable(map(self._finisher.iterate, inputs))
        return Pending(part, rows, nested=nested)

    def _reindexed(self, pending: Pending, part: int) -> Pending:
        if pending.index == part:
            return pending
        if not all(map(is_fusible, pending.steps)):
            # Their index is the one in the union's parent.
            rows = self._finisher.iterate(pending)
            return Pending(part, rows, nested=pending.nested + 1)
        pending.index = part
        return pending

    def _read_shuffle(self, node: RddNode, part: int) -> Pending:
        op = node.op
        assert isinstance(op, Shuffled), "only a shuffle has map outputs"
        buckets = self.shuffles.read(node, part)
        if buckets is None:
            raise MissingShuffleError(node)
        for each in buckets:
            self._note_read(each)
        functions: ShuffleFunctions = self._functions(node)
        aggregator = functions.aggregator
        self.report.reducing = node.id
        if aggregator is None:
            return self._of_blocks(buckets, part)
        if isinstance(aggregator, Group):
            grouped = self.columnar.group(buckets, self.report)
            if grouped is not None:
                return self._of_blocks([grouped], part)
        if isinstance(aggregator, Group) or not op.map_side:
            pairs = chain.from_iterable(each.thaw() for each in buckets)
            return Pending(part, fusion.combine(pairs, (), aggregator, part).items())
        if len(buckets) == 1:
            return self._of_blocks(
                buckets, part
            )  # One map task has combined every key.
        merge = (
            aggregator.merge
            if isinstance(aggregator, Reduce)
            else aggregator.merge_combiners
        )
        merged = self.columnar.merge(buckets, merge, node.functions or b"", self.report)
        if isinstance(merged, Columns):
            return self._of_blocks([merged], part)
        return Pending(part, merged.items())

    def _functions(self, node: RddNode) -> Any:
        # Loaded once a task and RDD: a task has its own copies, as in PySpark, where each
        # task unpickles what it runs.
        loaded = self._loaded.get(node.id)
        if loaded is None:
            loaded = self._loaded[node.id] = frames.loads_function(node.functions)
        return loaded


fusion.mark_record(split_pairs, "record")


def note_made(traffic: Traffic, made: Any, *, is_result: bool) -> None:
    """Add what is known of what a task has made: buckets, or a result."""
    if not is_result:
        traffic.rows_out = sum(each.count for each in made)
        sizes = [size for each in made if (size := _known_bytes(each)) is not None]
        traffic.bytes_out = sum(sizes) if sizes else None
    elif made.__class__ is list:
        traffic.rows_out = len(made)


def _known_rows(data: Any) -> int | None:
    """Return how many records a block or a source's partition has, if nobody has to count."""
    if data.__class__ is FrozenRows:
        return data.count
    is_text = data.__class__ is FrozenText
    rows = getattr(data, "known_count" if is_text else "count", None)
    return rows if isinstance(rows, int) else None


def _known_bytes(data: Any) -> int | None:
    """Return how large a block or a source's partition is, if that costs nothing."""
    if data.__class__ is FrozenRows:
        return None if data.pickled is None else len(data.pickled)
    if data.__class__ is FrozenText:
        return len(data.data)
    if data.__class__ is Columns:
        return int(data.frame.estimated_size())
    length = getattr(data, "length", None)  # Of a file.
    return length if isinstance(length, int) else None


def _reducing(steps: Sequence[Step]) -> Reduce | Merge | None:
    """Return the aggregator of steps that are one reduction by key and no more."""
    match steps:
        case (Combine(Reduce() | Merge() as aggregator),):
            return aggregator
        case _:
            return None


def _is_made_whole(node: RddNode) -> bool:
    """Say whether all of a partition is computed, however little of it is taken."""
    op = node.op
    return node.level is not None or (
        isinstance(op, Zipped)
        and (_is_known_by_columns(op.function) or _takes_pieces(op.function))
    )


def _is_known_by_columns(kernel: Any) -> bool:
    return (
        isinstance(kernel, CoGroup | Join | UpdateState) and kernel.is_known_by_columns
    )


def _takes_pieces(kernel: Any) -> bool:
    """Say whether a kernel takes its inputs as they are, by its method `of_pieces`.

    It is given the partition, for each parent what `Finisher.pieces` yields, and where to
    report which way it went. It returns pieces, too.
    """
    return getattr(type(kernel), "takes_pieces", False) is True


def stored_block(blocks: Blocks, op: StoredBlocks, part: int, node: RddNode) -> Frozen:
    """Return a partition that only the block store, or a log, has.

    Raises:
        SparkError: It is gone.
    """
    block_id, what = op.block_ids[part], op.what
    block: Frozen | None = blocks.get_frozen(block_id)
    logged = op.logged[part] if op.logged else None
    if block is None and logged is not None:
        read_frozen = getattr(logged, "read_frozen", None)
        block = read_frozen() if read_frozen else freeze(list(logged.read()))
    if block is None:
        msg = f"Could not compute split, block {block_id} of RDD {node.id} not found"
        raise SparkError(msg, hint=f"{what}; nothing can compute it again")
    return block


def cached_id(node: RddNode, partition: int) -> str:
    """Return the block id of a persisted partition."""
    return f"rdd-{node.id}-{partition}"


def _product(left: Iterable[Any], right: list[Any]) -> Iterator[Any]:
    return ((a, b) for a in left for b in right)
