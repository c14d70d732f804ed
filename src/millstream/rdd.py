"""RDD: a collection in partitions, computed when an action asks for it.

The face of the plan: every transformation adds a node, every action runs a job. Pair
operations are in `pair_rdd`, statistics and the like in `rdd_actions`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from millstream.engine.base.call_site import user_call_site
from millstream.engine.base.errors import (
    PySparkNotImplementedError,
    PySparkRuntimeError,
    PySparkTypeError,
    SparkError,
    UnsupportedOperationError,
)
from millstream.engine.base.extras import needed
from millstream.engine.base.levels import StorageLevel
from millstream.engine.jobs.checkpoints import wanted_level
from millstream.engine.plan.kernels import ZipRows
from millstream.engine.plan.nodes import (
    AlignedUnion,
    Cartesian,
    Coalesced,
    Operation,
    Pipeline,
    RddNode,
    Shuffled,
    StoredBlocks,
    Union,
    Zipped,
)
from millstream.engine.plan.partitioners import Partitioner, portable_hash
from millstream.engine.plan.sampling import BernoulliSample, PoissonSample
from millstream.engine.plan.steps import (
    Filter,
    FlatMap,
    Glom,
    KeyBy,
    Map,
    MapPartitions,
    Step,
)
from millstream.pair_rdd import PairOperations
from millstream.rdd_actions import Actions
from millstream.rdd_output import OutputActions

if TYPE_CHECKING:
    from millstream.context import SparkContext

__all__ = ["RDD", "PipelinedRDD", "RDDBarrier", "portable_hash"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
U = TypeVar("U")


class RDD(PairOperations[T_co], Actions[T_co], OutputActions[T_co], Generic[T_co]):
    """A resilient distributed dataset; see the RDD chapter of the guide.

    >>> from millstream import SparkContext
    >>> with SparkContext("local") as sc:
    ...     sc.parallelize([1, 2, 3]).map(lambda x: x * 2).collect()
    [2, 4, 6]
    """

    def __init__(self, node: RddNode, ctx: "SparkContext") -> None:
        """Wrap a plan node; programs get RDDs from a SparkContext."""
        self._node = node
        self.ctx = ctx
        self.has_resource_profile = False

    # What an RDD is.

    def id(self) -> int:
        """Return a number no other RDD of this process has."""
        return self._node.id

    @property
    def context(self) -> "SparkContext":
        """The SparkContext this RDD was made with."""
        return self.ctx

    def name(self) -> str | None:
        """Return the name given by `setName`, or None."""
        return self._node.name

    def setName(self, name: str) -> "RDD[T_co]":
        """Name this RDD, for errors and the web page."""
        self._node.name = name
        return self

    def getNumPartitions(self) -> int:
        """Return the number of partitions."""
        return self._node.partition_count

    @property
    def partitioner(self) -> Partitioner | None:
        """How keys are placed, or None if nothing is known of it."""
        return self._node.partitioner

    @property
    def is_cached(self) -> bool:
        """Whether partitions are kept once computed."""
        return self._node.level is not None

    @property
    def is_checkpointed(self) -> bool:
        """Whether a checkpoint was asked for."""
        return self._node.is_checkpoint_wanted

    def __repr__(self) -> str:
        return f"{self._node.title()} RDD[{self.id()}] at {self._node.call_site}"

    def _repr_html_(self) -> str:
        from millstream.notebook import rdd_html  # noqa: PLC0415  Only notebooks ask.

        return rdd_html(self._node, self.ctx._driver)

    def __add__(self, other: "RDD[U]") -> "RDD[T_co | U]":
        if not isinstance(other, RDD):
            raise TypeError
        return self.union(other)

    def __getnewargs__(self) -> NoReturn:
        raise referenced_in_a_task()

    def __reduce_ex__(self, _protocol: Any) -> NoReturn:
        raise referenced_in_a_task()

    def toDebugString(self) -> bytes:
        """Return the lineage as text, indented at each shuffle."""
        from millstream.engine.plan.lineage_text import lineage_text  # noqa: PLC0415

        return lineage_text(self._node).encode()

    def explain(self) -> None:
        """Print which steps of the lineage go by columns, which by rows, and why.

        A line an RDD, the newest first; `*` is where data moves. What has run tells what
        happened, and in how many blocks; the rest tells what is to be expected.
        """
        from millstream.engine.jobs.explaining import explain  # noqa: PLC0415

        print(explain(self._node, self.ctx._driver))  # noqa: T201

    # Adding nodes.

    def _derive(
        self,
        op: Operation,
        partition_count: int,
        partitioner: Partitioner | None = None,
    ) -> "RDD[Any]":
        node = RddNode(op, partition_count, partitioner, user_call_site())
        return RDD(node, self.ctx)

    def _step(self, step: Step, *, keeps_partitioner: bool) -> "RDD[Any]":
        partitioner = self._node.partitioner if keeps_partitioner else None
        op = Pipeline(self._node, (step,))
        return self._derive(op, self._node.partition_count, partitioner)

    # Element-wise transformations.

    def map(
        self, f: Callable[[T_co], U], preservesPartitioning: bool = False
    ) -> "RDD[U]":
        """Return an RDD of `f(record)`."""
        return self._step(Map(f), keeps_partitioner=preservesPartitioning)

    def flatMap(
        self, f: Callable[[T_co], Iterable[U]], preservesPartitioning: bool = False
    ) -> "RDD[U]":
        """Return an RDD of every item of `f(record)`."""
        return self._step(FlatMap(f), keeps_partitioner=preservesPartitioning)

    def filter(self, f: Callable[[T_co], bool]) -> "RDD[T_co]":
        """Return an RDD of the records for which `f` is true."""
        return self._step(Filter(f), keeps_partitioner=True)

    def mapPartitions(
        self,
        f: Callable[[Iterator[T_co]], Iterable[U]],
        preservesPartitioning: bool = False,
    ) -> "RDD[U]":
        """Return an RDD of what `f(iterator)` yields for each partition."""
        step = MapPartitions(_WithoutIndex(f))
        return self._step(step, keeps_partitioner=preservesPartitioning)

    def mapPartitionsWithIndex(
        self,
        f: Callable[[int, Iterator[T_co]], Iterable[U]],
        preservesPartitioning: bool = False,
    ) -> "RDD[U]":
        """Return an RDD of what `f(partition index, iterator)` yields."""
        step = MapPartitions(f, "mapPartitionsWithIndex")  # type: ignore[arg-type]
        return self._step(step, keeps_partitioner=preservesPartitioning)

    def mapPartitionsWithSplit(
        self,
        f: Callable[[int, Iterator[T_co]], Iterable[U]],
        preservesPartitioning: bool = False,
    ) -> "RDD[U]":
        """Do what `mapPartitionsWithIndex` does, with a DeprecationWarning."""
        import warnings  # noqa: PLC0415  Deprecated path.

        warnings.warn(
            "mapPartitionsWithSplit is deprecated; use mapPartitionsWithIndex instead",
            FutureWarning,
            stacklevel=2,
        )
        return self.mapPartitionsWithIndex(f, preservesPartitioning)

    def glom(self) -> "RDD[list[T_co]]":
        """Return an RDD of one list a partition."""
        return self._step(Glom(), keeps_partitioner=False)

    def keyBy(self, f: Callable[[T_co], U]) -> "RDD[tuple[U, T_co]]":
        """Return an RDD of `(f(record), record)`."""
        return self._step(KeyBy(f), keeps_partitioner=False)

    def pipe(
        self, command: str, env: dict[str, str] | None = None, checkCode: bool = False
    ) -> "RDD[str]":
        """Return the lines a command prints when fed each partition's records as lines.

        With `checkCode` an exit code other than 0 fails the job.
        """
        from millstream.engine.plan.piping import PipeThrough  # noqa: PLC0415

        step = MapPartitions(PipeThrough(command, env or {}, checkCode), "pipe")
        return self._step(step, keeps_partitioner=False)

    # Sampling.

    def sample(
        self, withReplacement: bool, fraction: float, seed: int | None = None
    ) -> "RDD[T_co]":
        """Return a random sample; the same for the same seed."""
        if not fraction >= 0:
            msg = f"Negative fraction value: {fraction}"
            raise ValueError(msg)
        chosen = Random().randint(0, 2**31) if seed is None else seed
        sampler: Callable[[int, Iterable[Any]], Iterator[Any]]
        if withReplacement:
            sampler = PoissonSample(fraction, chosen)
        else:
            sampler = BernoulliSample(0.0, fraction, chosen)
        return self._step(MapPartitions(sampler, "sample"), keeps_partitioner=True)

    def randomSplit(
        self, weights: Sequence[float], seed: int | None = None
    ) -> "list[RDD[T_co]]":
        """Return RDDs that split this one at random, in proportion to `weights`."""
        if not all(weight >= 0 for weight in weights):
            msg = f"Weights must be nonnegative, but got {list(weights)}"
            raise ValueError(msg)
        total = sum(weights)
        if total <= 0:
            msg = f"Sum of weights must be positive, but got {list(weights)}"
            raise ValueError(msg)
        chosen = Random().randint(0, 2**31) if seed is None else seed
        bounds = [0.0]
        for weight in weights:
            bounds.append(bounds[-1] + weight / total)
        bounds[-1] = 1.0
        return [
            self._step(
                MapPartitions(BernoulliSample(low, high, chosen), "randomSplit"),
                keeps_partitioner=True,
            )
            for low, high in pairwise(bounds)
        ]

    # Several RDDs.

    def union(self, other: "RDD[U]") -> "RDD[T_co | U]":
        """Return all records of both; duplicates stay."""
        return self.ctx.union([self, other])

    def cartesian(self, other: "RDD[U]") -> "RDD[tuple[T_co, U]]":
        """Return every pair of a record of this and one of `other`."""
        count = self._node.partition_count * other._node.partition_count
        return self._derive(Cartesian(self._node, other._node), count)

    def zip(self, other: "RDD[U]") -> "RDD[tuple[T_co, U]]":
        """Return pairs of the records at the same place.

        Raises:
            ValueError: The RDDs have different numbers of partitions.
        """
        if self.getNumPartitions() != other.getNumPartitions():
            msg = "Can only zip with RDD which has the same number of partitions"
            raise ValueError(msg)
        parents = (self._node, other._node)
        op = Zipped(parents, ZipRows(), "zip", is_engine_function=True)
        return self._derive(op, self.getNumPartitions())

    def zipWithIndex(self) -> "RDD[tuple[T_co, int]]":
        """Return `(record, position)`; runs a job when there are several partitions."""
        starts = [0]
        if self.getNumPartitions() > 1:
            from millstream.engine.jobs.actions import Count  # noqa: PLC0415

            parts = range(self.getNumPartitions() - 1)
            for counted in self.ctx._driver.run_job(self._node, Count(), parts):
                starts.append(starts[-1] + counted)
        step = MapPartitions(_NumberFrom(tuple(starts)), "zipWithIndex")
        return self._step(step, keeps_partitioner=False)

    def zipWithUniqueId(self) -> "RDD[tuple[T_co, int]]":
        """Return `(record, id)`: ids k, n+k, 2n+k, ... in partition k of n. No job."""
        step = MapPartitions(
            _NumberByStride(self.getNumPartitions()), "zipWithUniqueId"
        )
        return self._step(step, keeps_partitioner=False)

    # Partitions.

    def repartition(self, numPartitions: int) -> "RDD[T_co]":
        """Return the records spread over `numPartitions`, by a shuffle."""
        return self.coalesce(numPartitions, shuffle=True)

    def coalesce(self, numPartitions: int, shuffle: bool = False) -> "RDD[T_co]":
        """Return fewer partitions; with `shuffle` fewer or more."""
        if numPartitions <= 0:
            msg = f"Number of partitions ({numPartitions}) must be positive."
            raise ValueError(msg)
        if shuffle:
            spread = self._step(
                MapPartitions(_DealOut(numPartitions), "repartition"),
                keeps_partitioner=False,
            )
            place = Partitioner(numPartitions, _as_is)
            op = Shuffled(spread._node, place, None)
            return self._derive(op, numPartitions).values()
        have = self._node.partition_count
        count = min(numPartitions, have)
        groups = tuple(
            tuple(range(have * i // count, have * (i + 1) // count))
            for i in range(count)
        )
        return self._derive(Coalesced(self._node, groups), count)

    # Keeping.

    def cache(self) -> "RDD[T_co]":
        """Keep partitions in memory once computed: `persist(MEMORY_ONLY)`."""
        return self.persist(StorageLevel.MEMORY_ONLY)

    def persist(
        self, storageLevel: StorageLevel = StorageLevel.MEMORY_ONLY
    ) -> "RDD[T_co]":
        """Keep partitions, once computed, at `storageLevel`.

        Raises:
            UnsupportedOperationError: It is kept at another level already.
        """
        level = self._node.level
        if level is not None and level != storageLevel:
            msg = (
                "Cannot change storage level of an RDD after it was already assigned "
                "a level"
            )
            raise UnsupportedOperationError(msg, hint="call unpersist() first")
        if storageLevel != StorageLevel.NONE:
            self.ctx._driver.persist(self._node, storageLevel)
        return self

    def unpersist(self, blocking: bool = False) -> "RDD[T_co]":
        """Drop what was kept, and keep nothing from now on."""
        del blocking  # Dropping takes no time here.
        if not self._node.is_local_checkpoint:
            self.ctx._driver.unpersist(self._node)
        return self

    def getStorageLevel(self) -> StorageLevel:
        """Return the level partitions are kept at; NONE if they aren't."""
        return self._node.level or StorageLevel.NONE

    def checkpoint(self) -> None:
        """Write this RDD to the checkpoint directory with the first job that uses it.

        Raises:
            SparkError: There is no checkpoint directory.
        """
        if self.ctx._driver.checkpoint_dir is None:
            msg = "Checkpoint directory has not been set in the SparkContext"
            raise SparkError(msg, hint="call SparkContext.setCheckpointDir first")
        self._node.is_checkpoint_wanted = True

    def isCheckpointed(self) -> bool:
        """Say whether the checkpoint has been written (or the local one made)."""
        return self._node.checkpoint_path is not None or self.isLocallyCheckpointed()

    def getCheckpointFile(self) -> str | None:
        """Return where the checkpoint is, or None."""
        return self._node.checkpoint_path

    def localCheckpoint(self) -> None:
        """Cut the lineage with the first job, keeping partitions in local storage only."""
        level = wanted_level(self._node.level)
        self.ctx._driver.persist(self._node, level)
        self._node.is_local_checkpoint = True

    def isLocallyCheckpointed(self) -> bool:
        """Say whether `localCheckpoint` has taken effect."""
        return (
            isinstance(self._node.op, StoredBlocks) and self._node.is_local_checkpoint
        )

    def cleanShuffleDependencies(self, blocking: bool = False) -> None:
        """Drop the shuffle outputs in this RDD's lineage."""
        del blocking
        self.ctx._driver.forget_shuffles(self._node)

    def barrier(self) -> "RDDBarrier[T_co]":
        """Return a view whose tasks all run at the same time."""
        return RDDBarrier(self)

    def withResources(self, profile: Any) -> NoReturn:
        """Refuse: resource profiles need a cluster manager of Spark's."""
        del profile
        msg = "resource profiles are not supported"
        raise PySparkNotImplementedError(
            msg, hint="set the master's slots, or spark.executor.instances with Ray"
        )

    def getResourceProfile(self) -> None:
        """Return None: no profile can be set here."""

    def toDF(self, schema: Any = None, sampleRatio: float | None = None) -> Any:
        """Return a DataFrame of the records; see `SparkSession.createDataFrame`.

        Raises:
            MissingDependencyError: The extra `sql` isn't installed.
        """
        # It is above us.
        sql = needed("millstream.sql.session", "sql", "RDD.toDF")
        session = sql.SparkSession.builder.getOrCreate()
        return session.createDataFrame(self, schema, sampleRatio)

    # For the streaming layer.

    def _update_state(
        self, state: "RDD[Any] | None", kernel: Any, partitioner: Partitioner
    ) -> "RDD[Any]":
        """Return the next state: `kernel` over the old state and this batch's pairs."""
        new = self._placed(partitioner)
        old = self.ctx._empty_parts(partitioner.count) if state is None else state
        if state is not None and old._node.partitioner != partitioner:
            old = old._placed(partitioner)
        op = Zipped(
            (old._node, new._node),
            kernel,
            "updateStateByKey",
            is_engine_function=True,
        )
        return self._derive(op, partitioner.count, partitioner)


PipelinedRDD = RDD


class RDDBarrier(Generic[T]):
    """An RDD whose stage runs all its tasks at the same time."""

    def __init__(self, rdd: RDD[T]) -> None:
        """Wrap `rdd`."""
        self.rdd = rdd

    def mapPartitions(
        self,
        f: Callable[[Iterator[T]], Iterable[U]],
        preservesPartitioning: bool = False,
    ) -> RDD[U]:
        """Return what `f(iterator)` yields; tasks may meet with BarrierTaskContext."""
        return self._barrier(_WithoutIndex(f), preservesPartitioning)

    def mapPartitionsWithIndex(
        self,
        f: Callable[[int, Iterator[T]], Iterable[U]],
        preservesPartitioning: bool = False,
    ) -> RDD[U]:
        """Return what `f(partition index, iterator)` yields."""
        return self._barrier(f, preservesPartitioning)

    def _barrier(self, f: Any, preservesPartitioning: bool) -> RDD[Any]:
        node = self.rdd._node
        partitioner = node.partitioner if preservesPartitioning else None
        op = Pipeline(node, (MapPartitions(f, "barrier"),), is_barrier=True)
        return self.rdd._derive(op, node.partition_count, partitioner)


class _WithoutIndex:
    """A partition function that doesn't ask for the index."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[[Iterator[Any]], Iterable[Any]]) -> None:
        self.function = function

    def __call__(self, _index: int, rows: Iterable[Any]) -> Iterable[Any]:
        return self.function(iter(rows))

    def __reduce__(self) -> tuple[Any, ...]:
        return _WithoutIndex, (self.function,)


class _NumberFrom:
    """Records with their position, by each partition's first."""

    def __init__(self, starts: tuple[int, ...]) -> None:
        self.starts = starts

    def __call__(self, index: int, rows: Iterable[Any]) -> Iterator[Any]:
        return ((row, i) for i, row in enumerate(rows, self.starts[index]))


class _NumberByStride:
    """Records with ids that partitions share out by turns."""

    def __init__(self, stride: int) -> None:
        self.stride = stride

    def __call__(self, index: int, rows: Iterable[Any]) -> Iterator[Any]:
        stride = self.stride
        return ((row, i * stride + index) for i, row in enumerate(rows))


class _DealOut:
    """`(partition, record)`, partitions by turns from a start that is the index's own."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __call__(self, index: int, rows: Iterable[Any]) -> Iterator[Any]:
        start, count = Random(index).randrange(self.count), self.count
        return (((start + i) % count, row) for i, row in enumerate(rows))


def _as_is(place: int) -> int:
    return place


def union_nodes(nodes: Sequence[RddNode], call_site: str) -> RddNode:
    """Return the union of nodes: aligned when all are placed by one partitioner."""
    first = nodes[0].partitioner
    count = nodes[0].partition_count
    if first is not None and all(
        node.partitioner == first and node.partition_count == count for node in nodes
    ):
        return RddNode(AlignedUnion(tuple(nodes)), count, first, call_site)
    total = sum(node.partition_count for node in nodes)
    return RddNode(Union(tuple(nodes)), total, None, call_site)


def referenced_in_a_task() -> PySparkRuntimeError:
    """Return the error for an RDD that a function refers to."""
    msg = (
        "It appears that you are attempting to broadcast an RDD or reference an RDD from "
        "an action or transformation. RDD transformations and actions can only be invoked "
        "by the driver, not inside of other transformations; for example, "
        "rdd1.map(lambda x: rdd2.values.count() * x) is invalid because the values "
        "transformation and count action cannot be performed inside of the rdd1.map "
        "transformation. For more information, see SPARK-5063."
    )
    return PySparkRuntimeError(
        msg, hint="collect or broadcast the small side first, or use join"
    )


def check_is_rdd(value: Any, where: str) -> None:
    """Refuse what is no RDD, by the name of the operation."""
    if not isinstance(value, RDD):
        msg = f"{where} needs an RDD, not {type(value).__name__}"
        raise PySparkTypeError(msg)
