"""Pair operations: what an RDD of (key, value) can do."""

from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from millstream.engine.base import frames
from millstream.engine.jobs.actions import Apply, Collect
from millstream.engine.plan.kernels import CoGroup, Join, JoinKind
from millstream.engine.plan.nodes import Pipeline, RddNode, Shuffled, Zipped
from millstream.engine.plan.partitioners import Partitioner, portable_hash
from millstream.engine.plan.ranges import RangeFunction, SortPartition, choose_bounds
from millstream.engine.plan.sampling import StratifiedSample
from millstream.engine.plan.steps import (
    Aggregator,
    Combine,
    Filter,
    FlatMapValues,
    Group,
    Keys,
    Map,
    MapPartitions,
    MapValues,
    Merge,
    Reduce,
    Step,
    Values,
)
from millstream.resultiterable import ResultIterable

if TYPE_CHECKING:
    from millstream.context import SparkContext
    from millstream.rdd import RDD

T_co = TypeVar("T_co", covariant=True)
PartitionFunction = Callable[[Any], int]

# Of the rule for the number of partitions: an existing partitioner is taken over only if
# it isn't far smaller than the largest parent.
_ORDER_OF_MAGNITUDE = 10
_SAMPLES_A_PARTITION = 20


def identity(value: Any) -> Any:
    """Return `value`."""
    return value


class PairOperations(Generic[T_co]):
    """The part of RDD that works on pairs."""

    if TYPE_CHECKING:
        ctx: SparkContext
        _node: RddNode

        def _step(self, step: Step, *, keeps_partitioner: bool) -> RDD[Any]: ...
        def _derive(self, op: Any, n: int, p: Any = None) -> RDD[Any]: ...
        def getNumPartitions(self) -> int: ...  # noqa: D102
        def union(self, other: Any) -> RDD[Any]: ...  # noqa: D102
        def map(self, f: Any, preservesPartitioning: bool = False) -> RDD[Any]: ...  # noqa: D102
        def filter(self, f: Any) -> RDD[Any]: ...  # noqa: D102
        def keyBy(self, f: Any) -> RDD[Any]: ...  # noqa: D102

    # Placing.

    def _default_count(self, *others: "RDD[Any]") -> int:
        """Return how many partitions a shuffle makes when the program doesn't say."""
        conf = self.ctx._driver.settings
        if conf.is_set("spark.default.parallelism"):
            return self.ctx.defaultParallelism
        if others:
            nodes = [self._node, *(other._node for other in others)]
            return _joint_count(nodes)
        return self.getNumPartitions()

    def _place(
        self,
        numPartitions: int | None,
        function: PartitionFunction = portable_hash,
    ) -> Partitioner:
        count = self._default_count() if numPartitions is None else numPartitions
        return Partitioner(int(count), function)

    def _placed(self, partitioner: Partitioner) -> "RDD[Any]":
        """Return these pairs placed by `partitioner`; itself if they are already."""
        if self._node.partitioner == partitioner:
            return self  # type: ignore[return-value]
        op = Shuffled(self._node, partitioner, None)
        return self._derive(op, partitioner.count, partitioner)

    def _combined(
        self, aggregator: Aggregator, partitioner: Partitioner, name: str
    ) -> "RDD[Any]":
        """Return pairs combined by key; without a shuffle where keys are placed already."""
        if self._node.partitioner == partitioner:
            pipeline = Pipeline(self._node, (Combine(aggregator, name),))
            return self._derive(pipeline, partitioner.count, partitioner)
        shuffled = Shuffled(self._node, partitioner, aggregator)
        return self._derive(shuffled, partitioner.count, partitioner)

    def partitionBy(
        self,
        numPartitions: int | None,
        partitionFunc: PartitionFunction = portable_hash,
    ) -> "RDD[Any]":
        """Return the pairs placed by key; itself if they are placed so already."""
        return self._placed(self._place(numPartitions, partitionFunc))

    # Keys and values.

    def keys(self) -> "RDD[Any]":
        """Return the keys."""
        return self._step(Keys(), keeps_partitioner=False)

    def values(self) -> "RDD[Any]":
        """Return the values."""
        return self._step(Values(), keeps_partitioner=False)

    def mapValues(self, f: Callable[[Any], Any]) -> "RDD[Any]":
        """Return `(key, f(value))`; keys stay where they are."""
        return self._step(MapValues(f), keeps_partitioner=True)

    def flatMapValues(self, f: Callable[[Any], Iterable[Any]]) -> "RDD[Any]":
        """Return `(key, item)` for each item of `f(value)`."""
        return self._step(FlatMapValues(f), keeps_partitioner=True)

    # By key.

    def combineByKey(
        self,
        createCombiner: Callable[[Any], Any],
        mergeValue: Callable[[Any, Any], Any],
        mergeCombiners: Callable[[Any, Any], Any],
        numPartitions: int | None = None,
        partitionFunc: PartitionFunction = portable_hash,
    ) -> "RDD[Any]":
        """Return `(key, combiner)`, values folded inside partitions, then across."""
        merge = Merge(createCombiner, mergeValue, mergeCombiners)
        place = self._place(numPartitions, partitionFunc)
        return self._combined(merge, place, "combineByKey")

    def aggregateByKey(
        self,
        zeroValue: Any,
        seqFunc: Callable[[Any, Any], Any],
        combFunc: Callable[[Any, Any], Any],
        numPartitions: int | None = None,
        partitionFunc: PartitionFunction = portable_hash,
    ) -> "RDD[Any]":
        """Return `(key, aggregate)`; each key starts from a copy of `zeroValue`."""
        create = _FromZero(frames.dumps(zeroValue), seqFunc)
        merge = Merge(create, seqFunc, combFunc)
        place = self._place(numPartitions, partitionFunc)
        return self._combined(merge, place, "aggregateByKey")

    def foldByKey(
        self,
        zeroValue: Any,
        func: Callable[[Any, Any], Any],
        numPartitions: int | None = None,
        partitionFunc: PartitionFunction = portable_hash,
    ) -> "RDD[Any]":
        """Return `(key, fold)` of the values from a copy of `zeroValue`."""
        create = _FromZero(frames.dumps(zeroValue), func)
        place = self._place(numPartitions, partitionFunc)
        return self._combined(Merge(create, func, func), place, "foldByKey")

    def reduceByKey(
        self,
        func: Callable[[Any, Any], Any],
        numPartitions: int | None = None,
        partitionFunc: PartitionFunction = portable_hash,
    ) -> "RDD[Any]":
        """Return `(key, reduced value)`; `func` is associative and commutative."""
        place = self._place(numPartitions, partitionFunc)
        return self._combined(Reduce(func), place, "reduceByKey")

    def groupByKey(
        self,
        numPartitions: int | None = None,
        partitionFunc: PartitionFunction = portable_hash,
    ) -> "RDD[Any]":
        """Return `(key, ResultIterable of values)`."""
        place = self._place(numPartitions, partitionFunc)
        return self._combined(Group(), place, "groupByKey").mapValues(ResultIterable)

    def groupBy(
        self,
        f: Callable[[Any], Any],
        numPartitions: int | None = None,
        partitionFunc: PartitionFunction = portable_hash,
    ) -> "RDD[Any]":
        """Return `(f(record), ResultIterable of records)`."""
        return self.keyBy(f).groupByKey(numPartitions, partitionFunc)

    def reduceByKeyLocally(self, func: Callable[[Any, Any], Any]) -> dict[Any, Any]:
        """Return a dict of reduced values."""
        merged: dict[Any, Any] = {}
        action = Apply(_ReduceLocally(func), "reduceByKeyLocally")
        for part in self.ctx._driver.run_job(self._node, action):
            for key, value in part.items():
                merged[key] = func(merged[key], value) if key in merged else value
        return merged

    def sampleByKey(
        self,
        withReplacement: bool,
        fractions: Mapping[Any, float],
        seed: int | None = None,
    ) -> "RDD[Any]":
        """Return a sample with a fraction of its own for each key."""
        for fraction in fractions.values():
            if not fraction >= 0:
                msg = f"Negative fraction value: {fraction}"
                raise ValueError(msg)
        chosen = Random().randint(0, 2**31) if seed is None else seed
        sampler = StratifiedSample(dict(fractions), withReplacement, chosen)
        return self._step(MapPartitions(sampler, "sampleByKey"), keeps_partitioner=True)

    def distinct(self, numPartitions: int | None = None) -> "RDD[T_co]":
        """Return each record once."""
        pairs = self._step(Map(_with_none, "distinct"), keeps_partitioner=False)
        return pairs.reduceByKey(_first, numPartitions).keys()

    # Two RDDs of pairs.

    def cogroup(
        self, other: "RDD[Any]", numPartitions: int | None = None
    ) -> "RDD[Any]":
        """Return `(key, (values here, values there))` for the keys of either."""
        return self._cogroup((other,), numPartitions)

    def groupWith(self, other: "RDD[Any]", *others: "RDD[Any]") -> "RDD[Any]":
        """Return `(key, tuple of values of each RDD)`."""
        return self._cogroup((other, *others), None)

    def _cogroup(
        self, others: tuple["RDD[Any]", ...], numPartitions: int | None
    ) -> "RDD[Any]":
        grouped = self._cogroup_lists(others, numPartitions)
        return grouped.mapValues(_as_result_iterables)

    def _cogroup_lists(
        self, others: tuple["RDD[Any]", ...], numPartitions: int | None
    ) -> "RDD[Any]":
        return self._zipped(others, CoGroup(1 + len(others)), "cogroup", numPartitions)

    def _joined(
        self, other: "RDD[Any]", kind: JoinKind, numPartitions: int | None
    ) -> "RDD[Any]":
        return self._zipped((other,), Join(kind), kind.value, numPartitions)

    def _zipped(
        self,
        others: tuple["RDD[Any]", ...],
        kernel: CoGroup | Join,
        name: str,
        numPartitions: int | None,
    ) -> "RDD[Any]":
        """Return what a kernel makes of this RDD and others, all placed alike."""
        for other in others:
            _check_rdd(other)
        place = self._joint_place(others, numPartitions)
        parents = tuple(each._placed(place)._node for each in (self, *others))
        op = Zipped(parents, kernel, name, is_engine_function=True)
        return self._derive(op, place.count, place)

    def _joint_place(
        self, others: tuple["RDD[Any]", ...], numPartitions: int | None
    ) -> Partitioner:
        if numPartitions is not None:
            return Partitioner(int(numPartitions))
        nodes = [self._node, *(other._node for other in others)]
        count = self._default_count(*others)
        largest = max(node.partition_count for node in nodes)
        placed = [n.partitioner for n in nodes if n.partitioner is not None]
        best = max(placed, key=lambda p: p.count, default=None)
        if best is not None and (
            best.count * _ORDER_OF_MAGNITUDE > largest or best.count > count
        ):
            return best
        return Partitioner(count)

    def join(self, other: "RDD[Any]", numPartitions: int | None = None) -> "RDD[Any]":
        """Return `(key, (value here, value there))` for keys of both."""
        return self._joined(other, JoinKind.INNER, numPartitions)

    def leftOuterJoin(
        self, other: "RDD[Any]", numPartitions: int | None = None
    ) -> "RDD[Any]":
        """Return the join, with None for keys that `other` lacks."""
        return self._joined(other, JoinKind.LEFT, numPartitions)

    def rightOuterJoin(
        self, other: "RDD[Any]", numPartitions: int | None = None
    ) -> "RDD[Any]":
        """Return the join, with None for keys that this RDD lacks."""
        return self._joined(other, JoinKind.RIGHT, numPartitions)

    def fullOuterJoin(
        self, other: "RDD[Any]", numPartitions: int | None = None
    ) -> "RDD[Any]":
        """Return the join, with None for the side that lacks the key."""
        return self._joined(other, JoinKind.FULL, numPartitions)

    def subtractByKey(
        self, other: "RDD[Any]", numPartitions: int | None = None
    ) -> "RDD[Any]":
        """Return the pairs whose key isn't in `other`."""
        return self._joined(other, JoinKind.ONLY_LEFT, numPartitions)

    def subtract(
        self, other: "RDD[Any]", numPartitions: int | None = None
    ) -> "RDD[T_co]":
        """Return the records that aren't in `other`; duplicates stay."""
        _check_rdd(other)
        theirs = other._step(Map(_with_true, "subtract"), keeps_partitioner=False)
        mine = self._step(Map(_with_true, "subtract"), keeps_partitioner=False)
        return mine.subtractByKey(theirs, numPartitions).keys()

    def intersection(self, other: "RDD[Any]") -> "RDD[T_co]":
        """Return the records of both, each once."""
        _check_rdd(other)
        theirs = other._step(Map(_with_none, "intersection"), keeps_partitioner=False)
        mine = self._step(Map(_with_none, "intersection"), keeps_partitioner=False)
        return mine._joined(theirs, JoinKind.KEYS, None).keys()

    # Sorting.

    def sortBy(
        self,
        keyfunc: Callable[[Any], Any],
        ascending: bool = True,
        numPartitions: int | None = None,
    ) -> "RDD[T_co]":
        """Return the records in order of `keyfunc`, across partitions too."""
        return self.keyBy(keyfunc).sortByKey(ascending, numPartitions).values()

    def sortByKey(
        self,
        ascending: bool | None = True,
        numPartitions: int | None = None,
        keyfunc: Callable[[Any], Any] = identity,
    ) -> "RDD[Any]":
        """Return the pairs in order of key; samples with a job to cut the ranges."""
        is_ascending = bool(ascending)
        count = self._default_count() if numPartitions is None else int(numPartitions)
        sort = MapPartitions(SortPartition(keyfunc, is_ascending), "sortByKey")
        if count == 1:
            one = self
            if self.getNumPartitions() > 1:
                one = self._placed(Partitioner(1))
            return one._step(sort, keeps_partitioner=True)
        bounds = self._bounds(keyfunc, count)
        place = Partitioner(count, RangeFunction(bounds, keyfunc, is_ascending))
        return self._placed(place)._step(sort, keeps_partitioner=True)

    def _bounds(self, keyfunc: Callable[[Any], Any], count: int) -> tuple[Any, ...]:
        total = self.count()  # type: ignore[attr-defined]
        if not total:
            return ()
        fraction = min(count * _SAMPLES_A_PARTITION / total, 1.0)
        sampled = self.sample(False, fraction, 1).keys()  # type: ignore[attr-defined]
        return choose_bounds(sorted(map(keyfunc, sampled.collect())), count)

    def repartitionAndSortWithinPartitions(
        self,
        numPartitions: int | None = None,
        partitionFunc: PartitionFunction = portable_hash,
        ascending: bool = True,
        keyfunc: Callable[[Any], Any] = identity,
    ) -> "RDD[Any]":
        """Return the pairs placed by key and sorted inside each partition."""
        placed = self._placed(self._place(numPartitions, partitionFunc))
        sort = SortPartition(keyfunc, bool(ascending))
        step = MapPartitions(sort, "repartitionAndSortWithinPartitions")
        return placed._step(step, keeps_partitioner=True)

    # Actions on pairs.

    def countByKey(self) -> dict[Any, int]:
        """Return how many pairs each key has."""
        return self._step(Keys(), keeps_partitioner=False).countByValue()

    def collectAsMap(self) -> dict[Any, Any]:
        """Return a dict; of several values of a key the last one stays."""
        return dict(self.collect())  # type: ignore[attr-defined]

    def lookup(self, key: Any) -> list[Any]:
        """Return the values of `key`; one partition is read if keys are placed."""
        found = self._step(Filter(_KeyIs(key)), keeps_partitioner=True).values()
        partitioner = self._node.partitioner
        if partitioner is None:
            return found.collect()
        (rows,) = self.ctx._driver.run_job(
            found._node,
            Collect("lookup"),
            [partitioner.partition_of(key)],
        )
        return list(rows)


def _joint_count(nodes: list[RddNode]) -> int:
    first = nodes[0]
    if first.partitioner is not None and all(
        node.partitioner == first.partitioner for node in nodes
    ):
        return first.partition_count
    return sum(node.partition_count for node in nodes)


def _check_rdd(other: Any) -> None:
    from millstream.rdd import check_is_rdd  # noqa: PLC0415  RDD is made of this.

    check_is_rdd(other, "a join or cogroup")


class _FromZero:
    """The first value of a key merged into a copy of the zero."""

    columnar_fields = ("zero", "merge")

    def __init__(self, zero: bytes, merge: Callable[[Any, Any], Any]) -> None:
        self.pickled_zero = zero
        self.merge = merge

    @property
    def zero(self) -> Any:
        """A copy of the zero for the caller alone."""
        return frames.loads(self.pickled_zero)

    def __call__(self, value: Any) -> Any:
        return self.merge(self.zero, value)


class _ReduceLocally:
    def __init__(self, function: Callable[[Any, Any], Any]) -> None:
        self.function = function

    def __call__(self, _index: int, rows: Iterable[Any]) -> dict[Any, Any]:
        merged: dict[Any, Any] = {}
        for key, value in rows:
            merged[key] = self.function(merged[key], value) if key in merged else value
        return merged


class _KeyIs:
    def __init__(self, key: Any) -> None:
        self.key = key

    def __call__(self, pair: Any) -> bool:
        return bool(pair[0] == self.key)


def _with_none(record: Any) -> tuple[Any, None]:
    return record, None


def _with_true(record: Any) -> tuple[Any, bool]:
    return record, True


def _first(a: Any, _b: Any) -> Any:
    return a


def _as_result_iterables(lists: tuple[list[Any], ...]) -> tuple[Any, ...]:
    if len(lists) == 2:
        return ResultIterable(lists[0]), ResultIterable(lists[1])
    return tuple(map(ResultIterable, lists))
