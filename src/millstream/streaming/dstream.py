"""DStream: a stream as a sequence of RDDs; every method adds to the graph."""

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from millstream.engine.base.errors import (
    NotSerializableError,
    PySparkTypeError,
    PySparkValueError,
)
from millstream.engine.base.levels import StorageLevel
from millstream.engine.plan.counting import CountRecords
from millstream.engine.plan.kernels import StateFunction, UpdateState
from millstream.engine.plan.partitioners import Partitioner, portable_hash
from millstream.engine.plan.steps import MapPartitions
from millstream.engine.sinks.contract import Sink
from millstream.engine.sinks.writing import SinkWriter
from millstream.engine.streams.bad_records import (
    LetteredOutput,
    LetteredWriter,
    marks_above,
)
from millstream.engine.streams.map_state import MapStateOperator, SnapshotsOperator
from millstream.engine.streams.operators import (
    Operator,
    OutputOperator,
    TransformedOperator,
    UnionOperator,
)
from millstream.engine.streams.sink_output import SinkOutput
from millstream.engine.streams.state_spec import StateSpec
from millstream.engine.streams.stateful import StateOperator
from millstream.engine.streams.windows import (
    ReducedWindowOperator,
    WindowedOperator,
    check_window,
)
from millstream.resultiterable import ResultIterable
from millstream.streaming.util import (
    batch_datetime,
    duration_ms,
    rddToFileName,
    to_time_ms,
    with_time,
)

if TYPE_CHECKING:
    from millstream.rdd import RDD
    from millstream.sql.streams import DataFrameStream
    from millstream.streaming.bad_records import DeadLetters
    from millstream.streaming.context import StreamingContext

__all__ = ["DStream", "MapWithStateDStream", "TransformedDStream"]

T_co = TypeVar("T_co", covariant=True)


class DStream(Generic[T_co]):
    """A discretised stream; made by a StreamingContext or from other streams."""

    def __init__(self, operator: Operator, ssc: "StreamingContext") -> None:
        """Wrap an operator; programs don't."""
        self._operator = operator
        self._ssc = ssc
        self._sc = ssc.sparkContext
        self.is_cached = False
        self.is_checkpointed = False

    def context(self) -> "StreamingContext":
        """Return the StreamingContext."""
        return self._ssc

    def explain(self) -> None:
        """Print which steps of the stream go by columns, which by rows, and why.

        Of the newest batch it tells what happened; before the first one, what is to be
        expected. See `RDD.explain`.
        """
        from millstream.streaming.explaining import explain_stream  # noqa: PLC0415

        print(explain_stream(self._operator, self._sc))  # noqa: T201

    def _repr_html_(self) -> str:
        from millstream.notebook import stream_html  # noqa: PLC0415  Only notebooks ask.

        return stream_html(self._operator)

    def __reduce_ex__(self, _protocol: Any) -> NoReturn:
        msg = (
            "DStream can't be pickled: a function refers to it. Functions of a stream run "
            "in tasks, where there are no streams"
        )
        raise NotSerializableError(
            msg, hint="use only the RDD or record that the function is given"
        )

    # Building.

    def _transformed(
        self, function: Callable[[int, Any], Any], what: str
    ) -> "DStream[Any]":
        op = TransformedOperator(
            self._operator.graph,
            (self._operator,),
            lambda time_ms, rdds: function(time_ms, rdds[0]),
            what=what,
        )
        return TransformedDStream(op, self._ssc)

    def _each(self, method: Callable[[Any], Any], what: str) -> "DStream[Any]":
        return self._transformed(lambda _time_ms, rdd: method(rdd), what)

    def _count_or_default(self, numPartitions: int | None) -> int:
        return self._sc.defaultParallelism if numPartitions is None else numPartitions

    # Element-wise.

    def map(
        self, f: Callable[[Any], Any], preservesPartitioning: bool = False
    ) -> "DStream[Any]":
        """Return a stream of `f(record)`."""
        _check_callable(f, "map")
        return self._each(lambda rdd: rdd.map(f, preservesPartitioning), "map")

    def flatMap(
        self, f: Callable[[Any], Iterable[Any]], preservesPartitioning: bool = False
    ) -> "DStream[Any]":
        """Return a stream of every item of `f(record)`."""
        _check_callable(f, "flatMap")
        return self._each(lambda rdd: rdd.flatMap(f, preservesPartitioning), "flatMap")

    def filter(self, f: Callable[[Any], bool]) -> "DStream[T_co]":
        """Return a stream of the records for which `f` is true."""
        _check_callable(f, "filter")
        return self._each(lambda rdd: rdd.filter(f), "filter")

    def mapPartitions(
        self,
        f: Callable[[Iterator[Any]], Iterable[Any]],
        preservesPartitioning: bool = False,
    ) -> "DStream[Any]":
        """Return a stream of what `f(iterator)` yields for each partition."""
        _check_callable(f, "mapPartitions")
        return self._each(
            lambda rdd: rdd.mapPartitions(f, preservesPartitioning), "mapPartitions"
        )

    def mapPartitionsWithIndex(
        self,
        f: Callable[[int, Iterator[Any]], Iterable[Any]],
        preservesPartitioning: bool = False,
    ) -> "DStream[Any]":
        """Return a stream of what `f(partition index, iterator)` yields."""
        _check_callable(f, "mapPartitionsWithIndex")
        return self._each(
            lambda rdd: rdd.mapPartitionsWithIndex(f, preservesPartitioning),
            "mapPartitionsWithIndex",
        )

    def mapValues(self, f: Callable[[Any], Any]) -> "DStream[Any]":
        """Return a stream of `(key, f(value))`."""
        _check_callable(f, "mapValues")
        return self._each(lambda rdd: rdd.mapValues(f), "mapValues")

    def flatMapValues(self, f: Callable[[Any], Iterable[Any]]) -> "DStream[Any]":
        """Return a stream of `(key, item)` for each item of `f(value)`."""
        _check_callable(f, "flatMapValues")
        return self._each(lambda rdd: rdd.flatMapValues(f), "flatMapValues")

    def glom(self) -> "DStream[list[T_co]]":
        """Return a stream of one list a partition."""
        return self._each(lambda rdd: rdd.glom(), "glom")

    def repartition(self, numPartitions: int) -> "DStream[T_co]":
        """Return a stream whose RDDs have `numPartitions`."""
        return self._each(lambda rdd: rdd.repartition(numPartitions), "repartition")

    def partitionBy(
        self, numPartitions: int, partitionFunc: Callable[[Any], int] = portable_hash
    ) -> "DStream[Any]":
        """Return a stream whose pairs are placed by key."""
        return self._each(
            lambda rdd: rdd.partitionBy(numPartitions, partitionFunc), "partitionBy"
        )

    # Whole batches.

    def count(self) -> "DStream[int]":
        """Return a stream of the number of records of each batch."""
        step = MapPartitions(CountRecords(), "count")
        counted = self._each(
            lambda rdd: rdd._step(step, keeps_partitioner=False), "mapPartitions"
        )
        return counted.reduce(operator.add)

    def reduce(self, func: Callable[[Any, Any], Any]) -> "DStream[Any]":
        """Return a stream of each batch reduced; nothing for an empty batch."""
        _check_callable(func, "reduce")
        return self.map(_under_none).reduceByKey(func, 1).map(_value)

    def countByValue(self, numPartitions: int | None = None) -> "DStream[Any]":
        """Return a stream of (record, how often)."""
        return self.map(_with_one).reduceByKey(operator.add, numPartitions)

    # By key.

    def reduceByKey(
        self, func: Callable[[Any, Any], Any], numPartitions: int | None = None
    ) -> "DStream[Any]":
        """Return a stream of (key, reduced value)."""
        _check_callable(func, "reduceByKey")
        count = self._count_or_default(numPartitions)
        return self._each(lambda rdd: rdd.reduceByKey(func, count), "reduceByKey")

    def combineByKey(
        self,
        createCombiner: Callable[[Any], Any],
        mergeValue: Callable[[Any, Any], Any],
        mergeCombiners: Callable[[Any, Any], Any],
        numPartitions: int | None = None,
    ) -> "DStream[Any]":
        """Return a stream of (key, combiner)."""
        count = self._count_or_default(numPartitions)
        return self._each(
            lambda rdd: rdd.combineByKey(
                createCombiner, mergeValue, mergeCombiners, count
            ),
            "combineByKey",
        )

    def groupByKey(self, numPartitions: int | None = None) -> "DStream[Any]":
        """Return a stream of (key, ResultIterable of values)."""
        count = self._count_or_default(numPartitions)
        return self._each(lambda rdd: rdd.groupByKey(count), "groupByKey")

    # With another stream.

    def union(self, other: "DStream[Any]") -> "DStream[Any]":
        """Return a stream of the records of both.

        Raises:
            ValueError: They have different slide durations.
        """
        _check_stream(other, "union")
        if self._operator.slide_ms != other._operator.slide_ms:
            msg = "the two DStream should have same slide duration"
            raise PySparkValueError(msg)
        graph, parents = self._operator.graph, (self._operator, other._operator)
        return DStream(
            UnionOperator(graph, parents, self._operator.slide_ms), self._ssc
        )

    def _with_other(
        self, other: "DStream[Any]", numPartitions: int | None, name: str
    ) -> "DStream[Any]":
        _check_stream(other, name)
        count = self._count_or_default(numPartitions)
        return self.transformWith(lambda a, b: getattr(a, name)(b, count), other)

    def cogroup(
        self, other: "DStream[Any]", numPartitions: int | None = None
    ) -> "DStream[Any]":
        """Return a stream of (key, (values here, values there))."""
        return self._with_other(other, numPartitions, "cogroup")

    def join(
        self, other: "DStream[Any]", numPartitions: int | None = None
    ) -> "DStream[Any]":
        """Return a stream of (key, (value here, value there))."""
        return self._with_other(other, numPartitions, "join")

    def leftOuterJoin(
        self, other: "DStream[Any]", numPartitions: int | None = None
    ) -> "DStream[Any]":
        """Return the join, with None for keys that `other` lacks."""
        return self._with_other(other, numPartitions, "leftOuterJoin")

    def rightOuterJoin(
        self, other: "DStream[Any]", numPartitions: int | None = None
    ) -> "DStream[Any]":
        """Return the join, with None for keys that this stream lacks."""
        return self._with_other(other, numPartitions, "rightOuterJoin")

    def fullOuterJoin(
        self, other: "DStream[Any]", numPartitions: int | None = None
    ) -> "DStream[Any]":
        """Return the join, with None for the side that lacks the key."""
        return self._with_other(other, numPartitions, "fullOuterJoin")

    # On the driver, every batch.

    def transform(self, func: Callable[..., Any]) -> "DStream[Any]":
        """Return a stream of `func(rdd)` or `func(time, rdd)`, called every batch.

        Raises:
            AssertionError: It takes another number of arguments.
        """
        _check_callable(func, "transform")
        return self._transformed(with_time(func, 1), "transform")

    def transformWith(
        self,
        func: Callable[..., Any],
        other: "DStream[Any]",
        keepSerializer: bool = False,
    ) -> "DStream[Any]":
        """Return a stream of `func(a, b)` or `func(time, a, b)`, called every batch.

        A stream without an RDD in a batch counts as empty.
        """
        del keepSerializer
        _check_callable(func, "transformWith")
        _check_stream(other, "transformWith")
        timed, rdds = with_time(func, 2), self._operator.graph.rdds
        op = _PairOperator(
            self._operator.graph,
            (self._operator, other._operator),
            lambda time_ms, pair: timed(
                time_ms, *(rdds.empty() if rdd is None else rdd for rdd in pair)
            ),
        )
        return DStream(op, self._ssc)

    # SQL.

    def sql(self, query: str, schema: Any = None) -> "DStream[Any]":
        """Return a stream of the rows that a query gives for each batch.

        The batch's records are the view `stream`; other views are bound when the batch
        runs, and are those that it sees. `schema` is as in `createDataFrame`: names will
        do for tuples; without one the first records of each partition tell. An empty
        batch has the columns of the one before it; before the first record, of which
        nobody knows the columns, batches give nothing.

        It runs in the batch's job, and gives one partition: `repartition` what is large.

        Raises:
            MissingDependencyError: The extra `sql` isn't installed.
            PySparkTypeError: The query is no text, or the schema none.
            PySparkValueError: It is a command, not a query.
        """
        from millstream.sql.streams import sql_of  # noqa: PLC0415  An extra.

        return sql_of(self, query, schema)

    def toDF(self, schema: Any = None) -> "DataFrameStream":
        """Return the stream as one of DataFrames; `schema` is as in `createDataFrame`.

        Raises:
            MissingDependencyError: The extra `sql` isn't installed.
            PySparkTypeError: It is no schema.
        """
        from millstream.sql.streams import DataFrameStream  # noqa: PLC0415  An extra.

        return DataFrameStream(self, schema)

    # Output.

    def _output(self, function: Callable[[int, Any], None], name: str) -> None:
        graph = self._operator.graph
        marks = marks_above(self._operator)
        if marks:
            key = f"{name}-{len(graph.outputs)}"
            function = LetteredOutput(function, marks, key)
        graph.outputs.append(OutputOperator(graph, self._operator, function, name))

    def foreachRDD(self, func: Callable[..., Any]) -> None:
        """Call `func(rdd)` or `func(time, rdd)` on the driver, every batch.

        Raises:
            AssertionError: It takes another number of arguments.
        """
        _check_callable(func, "foreachRDD")
        self._output(with_time(func, 1), "foreachRDD")

    def pprint(self, num: int = 10) -> None:
        """Print the first `num` records of each batch."""

        def show(time_ms: int, rdd: "RDD[Any]") -> None:
            taken = rdd.take(num + 1)
            print("-------------------------------------------")  # noqa: T201
            print(f"Time: {batch_datetime(time_ms)}")  # noqa: T201
            print("-------------------------------------------")  # noqa: T201
            for record in taken[:num]:
                print(record)  # noqa: T201
            if len(taken) > num:
                print("...")  # noqa: T201
            print(flush=True)  # noqa: T201

        self._output(show, "pprint")

    def saveAsTextFiles(self, prefix: str, suffix: str | None = None) -> None:
        """Write each batch to a directory `prefix-<ms>` or `prefix-<ms>.suffix`."""

        def save(time_ms: int, rdd: "RDD[Any]") -> None:
            rdd.saveAsTextFile(rddToFileName(prefix, suffix, time_ms))

        self._output(save, "saveAsTextFiles")

    def saveAsPickleFiles(self, prefix: str, suffix: str | None = None) -> None:
        """Write each batch, pickled, to a directory named as by `saveAsTextFiles`."""

        def save(time_ms: int, rdd: "RDD[Any]") -> None:
            rdd.saveAsPickleFile(rddToFileName(prefix, suffix, time_ms))

        self._output(save, "saveAsPickleFiles")

    def writeTo(
        self, sink: Sink[Any], *, name: str, columns: Sequence[str] | None = None
    ) -> None:
        """Commit each batch to a sink, exactly once, in order; see the guide's "Sinks".

        `name` is what the sink knows the output by, together with the application's name:
        keep it when the program changes, and give every output its own. `columns` names
        the columns of sinks that write tables; dicts, rows and dataclasses name theirs.

        A batch that can't be committed is tried again with the next one, before it.

        Raises:
            PySparkTypeError: It is no Sink, or the name no text.
            PySparkValueError: Another output has the name.
        """
        if not isinstance(sink, Sink):
            msg = f"writeTo needs a Sink, not {type(sink).__name__}"
            raise PySparkTypeError(msg, hint="millstream.streaming.sinks has some")
        if type(name) is not str or not name:
            msg = f"an output's name must be text, not {name!r}"
            raise PySparkTypeError(msg)
        graph = self._operator.graph
        marks = marks_above(self._operator)
        lettered = LetteredWriter(marks, name, graph.rdds) if marks else None
        run_parts = graph.rdds.run_parts if lettered is None else lettered.run_parts
        writer = SinkWriter(sink, f"{self._sc.appName}.{name}", run_parts, columns)
        if lettered is not None:
            lettered.writer = writer
        output = SinkOutput(graph, self._operator, lettered or writer)
        graph.name(output, f"writeTo {name}")
        graph.outputs.append(output)

    # Errors.

    def onError(
        self,
        policy: "str | DeadLetters",
        *,
        name: str | None = None,
        max_share: float = 0.5,
    ) -> "DStream[T_co]":
        """Return the stream, from which on a record that makes a step raise is taken out.

        Of every step up to the next shuffle, join, persisted stream, or the output: the
        record is found and taken out as it is here, and the batch gives what it would have
        given without it. "skip" counts and logs such records; `DeadLetters(directory)`
        keeps each with its error and position, under `name`; "fail", the default without
        this, fails the batch. See the guide's "Bad records".

        A partition of 100 records or more of which more than `max_share` are bad fails all
        the same, and so does one of ten or more that are all bad.

        Raises:
            PySparkValueError: It is no such policy, or another stream has the name.
            UsageError: The name can't name a directory.
        """
        from millstream.streaming.bad_records import operator_of  # noqa: PLC0415

        made = operator_of(self._operator, self._ssc, policy, name, max_share)
        return TransformedDStream(made, self._ssc)

    # Keeping.

    def cache(self) -> "DStream[T_co]":
        """Keep the RDDs in memory: `persist(MEMORY_ONLY)`."""
        return self.persist(StorageLevel.MEMORY_ONLY)

    def persist(self, storageLevel: StorageLevel) -> "DStream[T_co]":
        """Keep the RDDs at `storageLevel`; before the start only."""
        self._operator.persist(storageLevel)
        self.is_cached = True
        return self

    def checkpoint(self, interval: Any) -> "DStream[T_co]":
        """Checkpoint the RDDs every `interval` (seconds or Duration)."""
        self._operator.checkpoint(duration_ms(interval, "checkpoint interval"))
        self.is_checkpointed = True
        return self

    def slice(self, begin: Any, end: Any) -> "list[RDD[T_co]]":
        """Return the RDDs from `begin` to `end`: datetimes, Times or unix seconds."""
        return self._operator.slice(to_time_ms(begin), to_time_ms(end))

    # Windows.

    def window(self, windowDuration: Any, slideDuration: Any = None) -> "DStream[T_co]":
        """Return a stream of the last `windowDuration`, every `slideDuration`.

        Raises:
            ValueError: A duration isn't a multiple of this stream's slide.
        """
        window, slide = self._window(windowDuration, slideDuration)
        op = WindowedOperator(self._operator.graph, self._operator, window, slide)
        return DStream(op, self._ssc)

    def _window(self, window: Any, slide: Any) -> tuple[int, int]:
        window_ms = duration_ms(window, "windowDuration")
        slide_ms = None if slide is None else duration_ms(slide, "slideDuration")
        return window_ms, check_window(self._operator, window_ms, slide_ms)

    def reduceByWindow(
        self,
        reduceFunc: Callable[[Any, Any], Any],
        invReduceFunc: Callable[[Any, Any], Any] | None,
        windowDuration: Any,
        slideDuration: Any,
    ) -> "DStream[Any]":
        """Return a stream of each window reduced; incrementally with an inverse."""
        keyed = self.map(_under_one)
        reduced = keyed.reduceByKeyAndWindow(
            reduceFunc, invReduceFunc, windowDuration, slideDuration, 1
        )
        return reduced.map(_value)

    def countByWindow(self, windowDuration: Any, slideDuration: Any) -> "DStream[int]":
        """Return a stream of the number of records in each window."""
        return self.map(_one).reduceByWindow(
            operator.add, operator.sub, windowDuration, slideDuration
        )

    def countByValueAndWindow(
        self, windowDuration: Any, slideDuration: Any, numPartitions: int | None = None
    ) -> "DStream[Any]":
        """Return a stream of (record, how often) in each window."""
        keyed = self.map(_with_one)
        counted = keyed.reduceByKeyAndWindow(
            operator.add, operator.sub, windowDuration, slideDuration, numPartitions
        )
        return counted.filter(_is_positive)

    def groupByKeyAndWindow(
        self, windowDuration: Any, slideDuration: Any, numPartitions: int | None = None
    ) -> "DStream[Any]":
        """Return a stream of (key, ResultIterable of values), oldest first."""
        lists = self.mapValues(_in_list)
        grouped = lists.reduceByKeyAndWindow(
            operator.add,
            _without_prefix,
            windowDuration,
            slideDuration,
            numPartitions,
        )
        return grouped.mapValues(ResultIterable)

    def reduceByKeyAndWindow(
        self,
        func: Callable[[Any, Any], Any],
        invFunc: Callable[[Any, Any], Any] | None,
        windowDuration: Any,
        slideDuration: Any = None,
        numPartitions: int | None = None,
        filterFunc: Callable[[Any], bool] | None = None,
    ) -> "DStream[Any]":
        """Return a stream of (key, value reduced over the window).

        With an inverse, windows of five slides or more are made from the one before, by
        adding what came and taking away what went; keys then stay until `filterFunc`
        drops them. A checkpoint directory is needed then.

        Raises:
            ValueError: A duration isn't a multiple of this stream's slide.
        """
        _check_callable(func, "reduceByKeyAndWindow")
        window, slide = self._window(windowDuration, slideDuration)
        count = self._count_or_default(numPartitions)
        reduced = self.reduceByKey(func, count)
        if not invFunc:
            return reduced.window(windowDuration, slideDuration).reduceByKey(
                func, count
            )
        op = ReducedWindowOperator(
            self._operator.graph,
            reduced._operator,
            window,
            slide,
            reduce=_ReduceUnion(self._sc.union, func, count),
            subtract=_Subtract(invFunc, count),
            keep=_Keep(filterFunc),
        )
        return DStream(op, self._ssc)

    # State.

    def updateStateByKey(
        self,
        updateFunc: Callable[..., Any],
        numPartitions: int | None = None,
        initialRDD: Any = None,
        *,
        partitionFunc: Callable[[Any], int] = portable_hash,
        rememberPartitioner: bool = True,
        form: StateFunction = StateFunction.VALUES,
    ) -> "DStream[Any]":
        """Return a stream of (key, state): the whole state, every batch.

        `updateFunc(new values, old state or None)` returns the new state, or None to drop
        the key; it is called for every key, every batch. A checkpoint directory is
        needed. The other forms of Spark's Scala API are chosen with `form`: TIMED for
        `f(time, key, values, state)`, ITERATOR for a whole partition at once.

        Raises:
            PySparkTypeError: `updateFunc` can't be called, or `initialRDD` is no RDD or
                list.
        """
        _check_callable(updateFunc, "updateStateByKey")
        place = Partitioner(self._count_or_default(numPartitions), partitionFunc)
        # What a function of iterators did to keys, nobody knows.
        is_placed = rememberPartitioner and form is not StateFunction.ITERATOR

        def update(time_ms: int, state: Any, new: Any, stage: Any) -> Any:
            time = batch_datetime(time_ms) if form is StateFunction.TIMED else None
            made = new._update_state(
                state, UpdateState(updateFunc, form, time, stage), place
            )
            return made if is_placed else made.map(_same)

        op = StateOperator(
            self._operator.graph,
            self._operator,
            place,
            update,
            self._initial_state(initialRDD),
            is_placed=is_placed,
        )
        return DStream(op, self._ssc)

    def mapWithState(self, spec: StateSpec) -> "MapWithStateDStream":
        """Return a stream of what the spec's function emits, once a record.

        Only keys that have records, or time out, are touched. A checkpoint directory is
        needed.

        Raises:
            PySparkTypeError: It is no StateSpec.
        """
        if not isinstance(spec, StateSpec):
            msg = f"mapWithState needs a StateSpec, not {type(spec).__name__}"
            raise PySparkTypeError(msg, hint="make one with StateSpec.function(f)")
        place = spec.place
        if not isinstance(place, Partitioner):
            place = Partitioner(self._count_or_default(place))
        op = MapStateOperator(
            self._operator.graph,
            self._operator,
            place,
            spec,
            self._initial_state(spec.initial),
        )
        return MapWithStateDStream(op, self._ssc)

    def named(self, name: str) -> "DStream[T_co]":
        """Call this stream `name` in checkpoints, plans, pages and `ssc.state(name)`.

        State is found again by its stream's name after the program has changed; without a
        name of your own it is derived from what feeds the stream.

        Raises:
            PySparkValueError: Another stream has the name.
            PySparkTypeError: It is no text.
        """
        if type(name) is not str or not name:
            msg = f"a stream's name must be text, not {name!r}"
            raise PySparkTypeError(msg)
        self._operator.graph.name(self._operator, name)
        return self

    def _initial_state(self, initial: Any) -> Any:
        from millstream.rdd import RDD  # noqa: PLC0415  Only for the check.

        if initial is None or isinstance(initial, RDD):
            return initial
        if isinstance(initial, Iterable):
            return self._sc.parallelize(initial)
        msg = f"initialRDD must be an RDD or a list, not {type(initial).__name__}"
        raise PySparkTypeError(msg)


class MapWithStateDStream(DStream[Any]):
    """The stream that mapWithState returns."""

    def stateSnapshots(self) -> "DStream[Any]":
        """Return a stream of (key, state): the whole state, every batch."""
        operator = self._operator
        assert isinstance(operator, MapStateOperator), "made by mapWithState only"
        return DStream(SnapshotsOperator(operator.graph, operator), self._ssc)


class TransformedDStream(DStream[T_co]):
    """A stream made by a function of another stream's RDDs."""


class _PairOperator(TransformedOperator):
    """A function of two parents' RDDs, either of which may be missing."""

    def compute(self, time_ms: int) -> Any:
        """Return what the function makes of both."""
        return self.function(
            time_ms, [parent.get_or_compute(time_ms) for parent in self.parents]
        )


class _ReduceUnion:
    """Several reduced RDDs reduced to one."""

    def __init__(self, union: Any, function: Any, count: int) -> None:
        self._union, self._function, self._count = union, function, count

    def __call__(self, rdds: list[Any]) -> Any:
        whole = rdds[0] if len(rdds) == 1 else self._union(rdds)
        return whole.reduceByKey(self._function, self._count)


class _Subtract:
    """One reduced RDD taken away from another."""

    def __init__(self, inverse: Any, count: int) -> None:
        self._inverse, self._count = inverse, count

    def __call__(self, whole: Any, part: Any) -> Any:
        return whole.leftOuterJoin(part, self._count).mapValues(
            _TakeAway(self._inverse)
        )


class _TakeAway:
    columnar_fields = ("_inverse",)

    def __init__(self, inverse: Any) -> None:
        self._inverse = inverse

    def __call__(self, pair: tuple[Any, Any]) -> Any:
        whole, part = pair
        inverse = self._inverse
        return whole if part is None else inverse(whole, part)


class _Keep:
    def __init__(self, function: Any) -> None:
        self._function = function

    def __call__(self, rdd: Any) -> Any:
        return rdd if self._function is None else rdd.filter(self._function)


def _check_callable(function: Any, what: str) -> None:
    if not callable(function):
        msg = f"{what} needs a function, not {type(function).__name__}"
        raise PySparkTypeError(msg)


def _check_stream(other: Any, what: str) -> None:
    if not isinstance(other, DStream):
        msg = f"{what} needs a DStream, not {type(other).__name__}"
        raise PySparkTypeError(msg)


def _under_none(record: Any) -> tuple[None, Any]:
    return None, record


def _under_one(record: Any) -> tuple[int, Any]:
    return 1, record


def _value(pair: Any) -> Any:
    return pair[1]


def _with_one(record: Any) -> tuple[Any, int]:
    return record, 1


def _one(_record: Any) -> int:
    return 1


def _same(record: Any) -> Any:
    return record


def _in_list(value: Any) -> list[Any]:
    return [value]


def _without_prefix(whole: list[Any], part: list[Any]) -> list[Any]:
    return whole[len(part) :]


def _is_positive(pair: tuple[Any, int]) -> bool:
    return pair[1] > 0
