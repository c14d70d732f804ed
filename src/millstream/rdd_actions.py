"""Actions: what runs a job and brings a result to the driver."""

import copy
import heapq
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import reduce
from random import Random
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from millstream.engine.base import frames
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
from millstream.engine.plan.nodes import RddNode
from millstream.engine.plan.sampling import fraction_for
from millstream.engine.plan.steps import MapPartitions, Step
from millstream.statcounter import StatCounter

if TYPE_CHECKING:
    from millstream.context import SparkContext
    from millstream.rdd import RDD

T_co = TypeVar("T_co", covariant=True)


class BoundedFloat(float):
    """An estimate with its confidence interval; here always exact."""

    confidence: float
    low: float
    high: float

    def __new__(cls, mean: float, confidence: float, low: float, high: float) -> Self:
        """Return `mean` with its bounds."""
        made = super().__new__(cls, mean)
        made.confidence, made.low, made.high = confidence, low, high
        return made


class Actions(Generic[T_co]):
    """The part of RDD that runs jobs."""

    if TYPE_CHECKING:
        ctx: SparkContext
        _node: RddNode

        def _step(self, step: Step, *, keeps_partitioner: bool) -> RDD[Any]: ...
        def getNumPartitions(self) -> int: ...  # noqa: D102
        def map(self, f: Any) -> RDD[Any]: ...  # noqa: D102
        def mapPartitions(self, f: Any) -> RDD[Any]: ...  # noqa: D102
        def keyBy(self, f: Any) -> RDD[Any]: ...  # noqa: D102
        def sample(self, w: bool, f: float, s: int | None = None) -> RDD[Any]: ...  # noqa: D102

    def _run(self, action: Action, partitions: Any = None) -> list[Any]:
        return self.ctx._driver.run_job(self._node, action, partitions)

    def _run_each(
        self, function: Callable[[Iterator[Any]], Any], name: str
    ) -> list[Any]:
        return self._run(Apply(_IgnoreIndex(function), name))

    # Bringing records to the driver.

    def collect(self) -> list[T_co]:
        """Return all records, in order of partitions."""
        return [row for part in self._run(Collect()) for row in part]

    def collectWithJobGroup(
        self, groupId: str, description: str, interruptOnCancel: bool = False
    ) -> list[T_co]:
        """Do `setJobGroup` and `collect`; deprecated."""
        import warnings  # noqa: PLC0415  Deprecated path.

        warnings.warn(
            "Deprecated in 3.1, Use pyspark.InheritableThread with the pinned thread "
            "mode enabled.",
            FutureWarning,
            stacklevel=2,
        )
        with self.ctx._driver.properties.installed({}):
            self.ctx.setJobGroup(groupId, description, interruptOnCancel)
            return self.collect()

    def toLocalIterator(self, prefetchPartitions: bool = False) -> Iterator[T_co]:
        """Yield all records, one partition in memory at a time (or two)."""
        parts = self.ctx._driver.iterate_job(self._node, prefetch=prefetchPartitions)
        return (row for part in parts for row in part)

    def take(self, num: int) -> list[T_co]:
        """Return the first `num` records; tries one partition, then ever more."""
        taken: list[Any] = []
        total = self.getNumPartitions()
        scanned = 0
        while len(taken) < num and scanned < total:
            count = 1
            if scanned:
                # Nothing yet: four times as many. Else go by what came, and half more.
                count = scanned * 4
                if taken:
                    needed = int(1.5 * num * scanned / len(taken)) - scanned
                    count = min(max(needed, 1), count)
            left = num - len(taken)
            parts = range(scanned, min(scanned + count, total))
            for rows in self._run(Take(left), parts):
                taken.extend(rows[: num - len(taken)])
            scanned += count
        return taken[:num]

    def first(self) -> T_co:
        """Return the first record.

        Raises:
            ValueError: There is none.
        """
        rows = self.take(1)
        if not rows:
            msg = "RDD is empty"
            raise ValueError(msg)
        return rows[0]

    def isEmpty(self) -> bool:
        """Say whether there is no record at all."""
        return self.getNumPartitions() == 0 or not self.take(1)

    def count(self) -> int:
        """Return the number of records."""
        return sum(self._run(Count()))

    def foreach(self, f: Callable[[T_co], None]) -> None:
        """Call `f` for each record, in the tasks."""
        self._run_each(_ForEach(f), "foreach")

    def foreachPartition(self, f: Callable[[Iterator[T_co]], Any]) -> None:
        """Call `f(iterator)` for each partition, in the tasks."""
        self._run_each(_ForEachPartition(f), "foreachPartition")

    # Folding.

    def reduce(self, f: Callable[[Any, Any], Any]) -> Any:
        """Return all records folded with `f`, inside partitions and then across.

        Raises:
            ValueError: The RDD is empty.
        """
        parts = [part for part in self._run(Fold(f)) if part]
        if not parts:
            msg = "Can not reduce() empty RDD"
            raise ValueError(msg)
        return reduce(f, (part[0] for part in parts))

    def treeReduce(self, f: Callable[[Any, Any], Any], depth: int = 2) -> Any:
        """Return what `reduce` returns, merging in `depth` levels."""
        _check_depth(depth)
        zero = (None, True)

        def merge(a: Any, b: Any) -> Any:
            if a[1]:
                return b
            return a if b[1] else (f(a[0], b[0]), False)

        folded = self.map(_not_empty).treeAggregate(zero, merge, merge, depth)
        if folded[1]:
            msg = "Cannot reduce empty RDD."
            raise ValueError(msg)
        return folded[0]

    def fold(self, zeroValue: Any, op: Callable[[Any, Any], Any]) -> Any:
        """Return all records folded from a copy of `zeroValue` in each partition."""
        return self.aggregate(zeroValue, op, op)

    def aggregate(
        self,
        zeroValue: Any,
        seqOp: Callable[[Any, Any], Any],
        combOp: Callable[[Any, Any], Any],
    ) -> Any:
        """Return records folded with `seqOp`, partitions merged with `combOp`."""
        folded = _FoldFrom(frames.dumps(zeroValue), seqOp)
        parts = self._run_each(folded, "aggregate")
        return reduce(combOp, parts, copy.deepcopy(zeroValue))

    def treeAggregate(
        self,
        zeroValue: Any,
        seqOp: Callable[[Any, Any], Any],
        combOp: Callable[[Any, Any], Any],
        depth: int = 2,
    ) -> Any:
        """Return what `aggregate` returns, merging in `depth` levels of shuffles."""
        _check_depth(depth)
        if self.getNumPartitions() == 0:
            return zeroValue
        fold = MapPartitions(
            _FoldToOne(frames.dumps(zeroValue), seqOp), "treeAggregate"
        )
        partial = self._step(fold, keeps_partitioner=False)
        count = self.getNumPartitions()
        scale = max(math.ceil(count ** (1.0 / depth)), 2)
        while count > scale + count / scale:
            count = max(1, count // scale)
            keyed = partial.mapPartitionsWithIndex(_KeyedByPart(count))
            partial = keyed.reduceByKey(combOp, count).values()
        merged: Any = partial.reduce(combOp)
        return merged

    # Numbers.

    def max(self, key: Callable[[Any], Any] | None = None) -> Any:
        """Return the greatest record, by `key` if given."""
        return self.reduce(_Greater(key))

    def min(self, key: Callable[[Any], Any] | None = None) -> Any:
        """Return the least record, by `key` if given."""
        return self.reduce(_Lesser(key))

    def sum(self) -> Any:
        """Return the sum of the records; 0 of nothing."""
        return sum(self._run(Sum()))

    def stats(self) -> StatCounter:
        """Return count, mean, variance, minimum and maximum in one pass."""
        return reduce(
            StatCounter.mergeStats, self._run_each(StatCounter, "stats"), StatCounter()
        )

    def mean(self) -> float:
        """Return the mean."""
        return self.stats().mean()

    def variance(self) -> float:
        """Return the population variance."""
        return self.stats().variance()

    def stdev(self) -> float:
        """Return the population standard deviation."""
        return self.stats().stdev()

    def sampleVariance(self) -> float:
        """Return the sample variance."""
        return self.stats().sampleVariance()

    def sampleStdev(self) -> float:
        """Return the sample standard deviation."""
        return self.stats().sampleStdev()

    def histogram(self, buckets: Any) -> tuple[Any, list[int]]:
        """Return `(edges, counts)`.

        `buckets` is a number of even buckets, or a sorted list of edges; the last bucket
        is closed on both sides. None and NaN are left out.

        Raises:
            ValueError: Too few, unsorted or repeated edges; an empty or unbounded RDD.
            TypeError: `buckets` or the records can't make buckets.
        """
        from millstream.engine.plan.histogram import (  # noqa: PLC0415  Rarely used.
            CountBuckets,
            Range,
            check_edges,
            even_edges,
        )

        if isinstance(buckets, int) and not isinstance(buckets, bool):
            if buckets < 1:
                msg = "number of buckets must be >= 1"
                raise ValueError(msg)
            low, high = _joined_range(self._run_each(Range(), "histogram"))
            edges, is_single = even_edges(low, high, buckets)
            if is_single:
                counted = self._step_filter_numbers().count()
                return edges, [counted]
        else:
            edges = check_edges(buckets)
        counter = CountBuckets(tuple(edges))
        counts = self._run_each(counter, "histogram")
        totals = [sum(each) for each in zip(*counts, strict=True)] if counts else None
        return edges, totals or [0] * (len(edges) - 1)

    def _step_filter_numbers(self) -> "RDD[Any]":
        from millstream.engine.plan.histogram import is_number  # noqa: PLC0415
        from millstream.engine.plan.steps import Filter  # noqa: PLC0415

        return self._step(Filter(is_number), keeps_partitioner=False)

    # Counting and ranking.

    def countByValue(self) -> dict[Any, int]:
        """Return how often each record occurs."""
        counts: dict[Any, int] = defaultdict(int)
        for part in self._run(CountByValue()):
            for value, number in part.items():
                counts[value] += number
        return counts

    def top(self, num: int, key: Callable[[Any], Any] | None = None) -> list[Any]:
        """Return the `num` greatest records, greatest first."""
        parts = self._run_each(_Ranked(num, key, heapq.nlargest), "top")
        return heapq.nlargest(num, (row for part in parts for row in part), key)

    def takeOrdered(
        self, num: int, key: Callable[[Any], Any] | None = None
    ) -> list[Any]:
        """Return the `num` least records, least first."""
        parts = self._run_each(_Ranked(num, key, heapq.nsmallest), "takeOrdered")
        return heapq.nsmallest(num, (row for part in parts for row in part), key)

    def takeSample(
        self, withReplacement: bool, num: int, seed: int | None = None
    ) -> list[T_co]:
        """Return a random sample of exactly `num` records (all, if there are fewer).

        Raises:
            ValueError: `num` is negative.
        """
        if num < 0:
            msg = "Sample size cannot be negative."
            raise ValueError(msg)
        total = self.count() if num else 0
        if not total:
            return []
        random = Random(seed)
        if not withReplacement and num >= total:
            everything = self.collect()
            random.shuffle(everything)
            return everything
        fraction = fraction_for(num, total, with_replacement=withReplacement)
        drawn: list[Any] = []
        for _ in range(
            50
        ):  # The fraction makes one round enough all but 0.01 % of times.
            draw = self.sample(withReplacement, fraction, random.randint(0, 2**31))
            drawn = draw.collect()
            if len(drawn) >= num:
                break
        random.shuffle(drawn)
        return drawn[:num]

    # Approximate answers: exact here, there is nothing to wait for.

    def countApprox(self, timeout: int, confidence: float = 0.95) -> int:
        """Return the count; exact, whatever the time-out."""
        del timeout, confidence
        return self.count()

    def sumApprox(self, timeout: int, confidence: float = 0.95) -> BoundedFloat:
        """Return the sum; exact, whatever the time-out."""
        del timeout
        total = float(self.sum())
        return BoundedFloat(total, confidence, total, total)

    def meanApprox(self, timeout: int, confidence: float = 0.95) -> BoundedFloat:
        """Return the mean; exact, whatever the time-out."""
        del timeout
        mean = self.mean()
        return BoundedFloat(mean, confidence, mean, mean)

    def countApproxDistinct(self, relativeSD: float = 0.05) -> int:
        """Return about how many distinct records there are.

        Raises:
            ValueError: `relativeSD` is below 0.000017.
        """
        from millstream.engine.plan.approximate import HyperLogLog  # noqa: PLC0415

        if relativeSD < 0.000017:
            msg = "relativeSD should be greater than 0.000017"
            raise ValueError(msg)
        empty = HyperLogLog.for_error(relativeSD)
        parts = self._run_each(_CountDistinct(empty.precision), "countApproxDistinct")
        return reduce(HyperLogLog.merged, parts, empty).estimate()


def _check_depth(depth: int) -> None:
    if depth < 1:
        msg = f"Depth cannot be smaller than 1 but got {depth}."
        raise ValueError(msg)


def _joined_range(ranges: list[Any]) -> tuple[Any, Any]:
    known = [each for each in ranges if each is not None]
    if not known:
        msg = "can not generate buckets on empty RDD"
        raise ValueError(msg)
    return min(low for low, _ in known), max(high for _, high in known)


class _IgnoreIndex:
    def __init__(self, function: Callable[[Iterator[Any]], Any]) -> None:
        self.function = function

    def __call__(self, _index: int, rows: Iterator[Any]) -> Any:
        return self.function(rows)


class _ForEach:
    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def __call__(self, rows: Iterator[Any]) -> None:
        function = self.function
        for record in rows:
            function(record)


class _ForEachPartition:
    def __init__(self, function: Callable[[Iterator[Any]], Any]) -> None:
        self.function = function

    def __call__(self, rows: Iterator[Any]) -> None:
        made = self.function(rows)
        if isinstance(made, Iterable):
            for _ in made:  # A generator does its work only when drained.
                pass


class _FoldFrom:
    def __init__(self, zero: bytes, function: Callable[[Any, Any], Any]) -> None:
        self.zero, self.function = zero, function

    def __call__(self, rows: Iterator[Any]) -> Any:
        return reduce(self.function, rows, frames.loads(self.zero))


class _FoldToOne(_FoldFrom):
    def __call__(self, _index: int, rows: Iterable[Any]) -> list[Any]:  # type: ignore[override]
        return [reduce(self.function, rows, frames.loads(self.zero))]


class _KeyedByPart:
    def __init__(self, count: int) -> None:
        self.count = count

    def __call__(self, index: int, rows: Iterable[Any]) -> Iterator[Any]:
        return ((index % self.count, row) for row in rows)


class _Greater:
    columnar_fields = ("key",)

    def __init__(self, key: Callable[[Any], Any] | None) -> None:
        self.key = key

    def __call__(self, a: Any, b: Any) -> Any:
        return max(a, b) if self.key is None else max(a, b, key=self.key)


class _Lesser(_Greater):
    def __call__(self, a: Any, b: Any) -> Any:
        return min(a, b) if self.key is None else min(a, b, key=self.key)


class _Ranked:
    def __init__(
        self, num: int, key: Callable[[Any], Any] | None, rank: Callable[..., list[Any]]
    ) -> None:
        self.num, self.key, self.rank = num, key, rank

    def __call__(self, rows: Iterator[Any]) -> list[Any]:
        return self.rank(self.num, rows, self.key)


class _CountDistinct:
    def __init__(self, precision: int) -> None:
        self.precision = precision

    def __call__(self, rows: Iterator[Any]) -> Any:
        from millstream.engine.plan.approximate import HyperLogLog  # noqa: PLC0415

        return HyperLogLog(self.precision).add_all(rows)


def _not_empty(record: Any) -> tuple[Any, bool]:
    return record, False


__all__ = ["Actions", "BoundedFloat"]
