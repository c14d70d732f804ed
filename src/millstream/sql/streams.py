"""Streams: every batch of a DStream as a frame, queried in the batch's own job.

Records become Arrow tables in tasks, wherever those run; one more task, which always runs
in this process, puts the tables together and asks the engine. So nothing is queried while
a batch is generated, and a query sees the views of its own batch.
"""

import itertools
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, ClassVar, Final

import pyarrow as pa

from millstream.context import SparkContext
from millstream.engine.base.errors import IllegalStateError
from millstream.engine.columnar.blocks import Columns, in_slices, rows_of
from millstream.engine.plan.nodes import Shuffled, Zipped
from millstream.engine.plan.partitioners import Partitioner
from millstream.engine.sinks.contract import Sink
from millstream.engine.sinks.writing import SinkWriter
from millstream.errors import PySparkTypeError, PySparkValueError
from millstream.sql import client, statements
from millstream.sql.conversion import (
    Inference,
    ToArrow,
    arrow_schema,
    is_record,
    rows_of_table,
    with_names,
)
from millstream.sql.session import SparkSession
from millstream.sql.staging import Staged
from millstream.streaming.util import with_time

if TYPE_CHECKING:
    from millstream.rdd import RDD
    from millstream.sql.connected import ConnectedSession
    from millstream.streaming.dstream import DStream

STREAM: Final = "stream"
"""What a query calls the records of the batch."""
_SAMPLE_ROWS = 100
_opening = threading.Lock()


def _session() -> "ConnectedSession":
    """Return the session of the live SparkContext, made if there is none."""
    with _opening:
        face = SparkSession.getActiveSession()
        if face is None:
            context = SparkContext._active_spark_context
            if context is None:
                msg = "a batch is queried, and there is no SparkContext"
                raise IllegalStateError(msg)
            face = SparkSession(context)
    return face._connected


# Records to tables, in tasks.


@dataclass(frozen=True, slots=True)
class Part:
    """One partition as a table, and what Spark's schema of it is, as JSON."""

    schema: str
    table: pa.Table


@dataclass(frozen=True, slots=True)
class ToParts:
    """Makes one partition a table, under one key. Picklable; takes columns, too."""

    schema: str | None
    """Spark's StructType as JSON; None: the first records tell."""
    names: tuple[str, ...] | None
    is_wrapped: bool
    """Whether a record is the value of the only column; with a schema."""
    inference: Inference

    takes_pieces: ClassVar[bool] = True
    is_bound: ClassVar[bool] = False

    def of_pieces(
        self, _index: int, parents: Sequence[Iterator[Any]], *_: Any
    ) -> list[Any]:
        """Return the partition's table in a pair; nothing of an empty partition."""
        (pieces,) = parents
        held = [e if isinstance(e, Columns) else list(rows_of(e)) for e in pieces]
        return [self._pairs([e for e in held if isinstance(e, Columns) or e])]

    def __call__(
        self, _index: int, parents: Sequence[Iterable[Any]]
    ) -> list[tuple[int, Part]]:
        """Return the partition's table in a pair; nothing of an empty partition."""
        (rows,) = parents
        held = list(rows)
        return self._pairs([held] if held else [])

    def _pairs(self, pieces: list[Any]) -> list[tuple[int, Part]]:
        if not any(e.count if isinstance(e, Columns) else e for e in pieces):
            return []
        types = client.module("sql.types")
        if self.schema is not None:
            struct, is_wrapped = _struct_of(self.schema), self.is_wrapped
        else:
            struct, is_wrapped = self._inferred(pieces)
        table = ToArrow(struct, is_wrapped, is_verified=True).table(pieces)
        assert isinstance(struct, types.StructType), "a schema is of columns"
        return [(0, Part(struct.json(), table))]

    def _inferred(self, pieces: list[Any]) -> tuple[Any, bool]:
        types = client.module("sql.types")
        rows = chain.from_iterable(map(_rows, pieces))
        few = list(islice(rows, 1))
        is_wrapped = not is_record(few[0])
        made = self._of(few[0], is_wrapped=is_wrapped)
        for row in islice(rows, _SAMPLE_ROWS - 1):
            if not types._has_nulltype(made):
                break
            made = types._merge_type(made, self._of(row, is_wrapped=is_wrapped))
        names = self.names or (("value",) if is_wrapped else ())
        return with_names(made, names), is_wrapped

    def _of(self, row: Any, *, is_wrapped: bool) -> Any:
        return self.inference.of((row,) if is_wrapped else row, self.names)


def _rows(piece: Any) -> Iterable[Any]:
    return in_slices(piece) if isinstance(piece, Columns) else piece


def _struct_of(schema: str) -> Any:
    import json  # noqa: PLC0415  Rarely needed.

    return client.module("sql.types").StructType.fromJson(json.loads(schema))


# Tables to a frame, in this process.


class BatchFrames:
    """Makes batches frames, and remembers the schema for those that don't tell theirs.

    It is pickled into checkpoints, with the schema.
    """

    def __init__(self, schema: Any = None) -> None:
        """Make frames of `schema`: a type, DDL text or names; None: records tell.

        Raises:
            PySparkTypeError: It is none of these.
            ParseException: It is text that isn't DDL.
        """
        types = client.module("sql.types")
        session = _session()  # Its engine starts now, not with the first batch.
        self._given: str | None = None
        self._names: tuple[str, ...] | None = None
        self._is_wrapped = False
        self._known: str | None = None
        if isinstance(schema, (list, tuple)):
            self._names = tuple(schema)
        elif schema is not None:
            if isinstance(schema, str):
                schema = session._parse_ddl(schema)
            if not isinstance(schema, types.DataType):
                msg = (
                    "a stream's schema is a type, DDL text or a list of names, not "
                    f"{type(schema).__name__}"
                )
                raise PySparkTypeError(msg)
            self._is_wrapped = not isinstance(schema, types.StructType)
            if self._is_wrapped:
                schema = types.StructType().add("value", schema)
            self._given = schema.json()

    def parts_of(self, rdd: "RDD[Any]", what: str) -> "RDD[Any]":
        """Return the tables of a batch's partitions, each in a pair."""
        convert = ToParts(
            self._given, self._names, self._is_wrapped, _session()._inference()
        )
        op = Zipped((rdd._node,), convert, what, is_engine_function=True)
        return rdd._derive(op, rdd.getNumPartitions())

    def together(self, parts: Sequence[Part]) -> Any:
        """Return a batch's tables as one frame; None if nothing tells its columns.

        Raises:
            PySparkTypeError: Partitions have types that don't go together.
        """
        schema = self._schema_of(parts)
        if schema is None:
            return None
        struct = _struct_of(schema)
        wanted = arrow_schema(struct)
        tables = [_aligned(part.table, wanted) for part in parts]
        table = pa.concat_tables(tables) if tables else wanted.empty_table()
        plan = Staged(table, schema)
        plan.is_of_batch = True
        return _session()._frame(plan)

    def _schema_of(self, parts: Sequence[Part]) -> str | None:
        if self._given is not None:
            return self._given
        types = client.module("sql.types")
        found = list(dict.fromkeys(part.schema for part in parts))
        if not found:
            return self._known
        if len(found) > 1:
            found = [reduce(types._merge_type, map(_struct_of, found)).json()]
        if self._known is not None and types._has_nulltype(_struct_of(found[0])):
            known = _struct_of(self._known)
            found = [types._merge_type(_struct_of(found[0]), known).json()]
        self._known = found[0]
        return self._known


def _aligned(table: pa.Table, wanted: pa.Schema) -> pa.Table:
    """Return a table with other columns: those that it lacks are null."""
    if table.schema == wanted:
        return table
    there = set(table.column_names)
    columns = [
        table.column(field.name).cast(field.type)
        if field.name in there
        else pa.nulls(table.num_rows, field.type)
        for field in wanted
    ]
    return pa.Table.from_arrays(columns, schema=wanted)


# Queries of batches.

_queries: "weakref.WeakValueDictionary[int, BatchQuery]" = weakref.WeakValueDictionary()
_tokens = itertools.count()


class BatchQuery:
    """What is asked of every batch of a stream; called with the batch's time and RDD."""

    def __init__(
        self,
        frames: BatchFrames,
        ask: "Callable[[ConnectedSession, int, Any], Any]",
        what: str,
    ) -> None:
        """Return what `ask(session, time in ms, batch's frame)` does, as rows."""
        self._frames = frames
        self._ask = ask
        self._what = what
        self._known_as()

    def _known_as(self) -> None:
        self._token = next(_tokens)
        _queries[self._token] = self

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "_token"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._known_as()

    def __call__(self, time_ms: int, rdd: "RDD[Any]") -> "RDD[Any]":
        """Return the RDD, of one partition, that has the batch's answer."""
        parts = self._frames.parts_of(rdd, self._what)
        placed = Shuffled(parts._node, Partitioner(1, _at_first), None)
        gathered = parts._derive(placed, 1)
        run = _Run(self, self._token, time_ms)
        op = Zipped((gathered._node,), run, self._what, is_engine_function=True)
        return gathered._derive(op, 1)

    def rows(self, time_ms: int, parts: Sequence[Part]) -> list[Any]:
        """Return the answer for a batch's tables."""
        frame = self._frames.together(parts)
        if frame is None:
            return []
        session = _session()
        with session.for_batch(time_ms):
            try:
                made = self._ask(session, time_ms, frame)
                return rows_of_frame(made)
            except Exception as error:
                error.add_note(f"in {self._what}, of batch {time_ms} ms")
                raise


def rows_of_frame(frame: Any) -> list[Any]:
    """Return a frame's records, once."""
    table, schema = frame._to_table()
    return rows_of_table(table, schema or frame.schema)


class _Run:
    """The task that asks the engine. Bound to this process, by `of_pieces`."""

    takes_pieces: ClassVar[bool] = True

    def __init__(self, query: BatchQuery | None, token: int, time_ms: int) -> None:
        self._query = query  # It is there for as long as the batch's RDD is.
        self._token, self._time_ms = token, time_ms

    def __reduce__(self) -> tuple[Any, ...]:
        return _Run, (None, self._token, self._time_ms)

    def of_pieces(
        self, index: int, parents: Sequence[Iterator[Any]], *_: Any
    ) -> list[Any]:
        """Return the answer's rows."""
        (pieces,) = parents
        return [self(index, [chain.from_iterable(map(rows_of, pieces))])]

    def __call__(self, _index: int, parents: Sequence[Iterable[Any]]) -> list[Any]:
        """Return the answer's rows."""
        (pairs,) = parents
        query = _queries[self._token]
        return query.rows(self._time_ms, [part for _, part in pairs])


def _at_first(_key: Any) -> int:
    return 0


@dataclass(frozen=True, slots=True)
class _Sql:
    """Asks a query, in which the batch is `stream`."""

    text: str

    def __call__(self, session: "ConnectedSession", _time_ms: int, frame: Any) -> Any:
        text, views = session.bound(self.text)
        names = statements.names_of(text)
        if STREAM in names:
            views |= dict.fromkeys(names.spellings(STREAM), frame._plan)
        return session._frame(session.backend.query(text, views))


@dataclass(frozen=True, slots=True)
class _Function:
    """Asks a function of the time and the batch's frame."""

    function: Callable[..., Any]

    def __call__(self, _session: "ConnectedSession", time_ms: int, frame: Any) -> Any:
        made = self.function(time_ms, frame)
        if not isinstance(made, type(frame)):
            msg = (
                "the function of a stream of frames must return a DataFrame, not "
                f"{type(made).__name__}"
            )
            raise PySparkTypeError(msg, hint="toDF().foreachBatch(f) takes any")
        return made


def sql_of(stream: "DStream[Any]", query: str, schema: Any) -> "DStream[Any]":
    """Return a stream of what a query gives for each batch; see `DStream.sql`."""
    return _asked(stream, BatchFrames(schema), query)


def _asked(stream: "DStream[Any]", frames: BatchFrames, query: Any) -> "DStream[Any]":
    if not isinstance(query, str):
        msg = f"a query is text, not {type(query).__name__}"
        raise PySparkTypeError(msg)
    if statements.command_of(query) is not None:
        msg = f"a stream's query must give rows: {query!r} is a command"
        raise PySparkValueError(
            msg, hint="toDF().createOrReplaceTempView(name) makes a view of each batch"
        )
    return stream._transformed(
        BatchQuery(frames, _Sql(query), f"sql({query!r})"), "sql"
    )


class DataFrameStream:
    """A stream each batch of which is a DataFrame; made by `DStream.toDF`.

    Batches before the first record have no columns that anybody knows, unless a schema
    was given: they are left out. Later empty batches have those of the ones before.
    """

    def __init__(self, stream: "DStream[Any]", schema: Any = None) -> None:
        """Make frames of a stream's batches; `schema` is as in `createDataFrame`."""
        self._stream = stream
        self._frames = BatchFrames(schema)

    def foreachBatch(self, func: Callable[..., Any]) -> None:
        """Call `func(df)` or `func(time, df)` in every batch's job, on the driver.

        Raises:
            AssertionError: It takes another number of arguments.
        """
        timed, frames = with_time(func, 1), self._frames

        def call(time_ms: int, rdd: "RDD[Any]") -> None:
            parts = frames.parts_of(rdd, "toDF").values().collect()
            frame = frames.together(parts)
            if frame is not None:
                timed(time_ms, frame)

        self._stream._output(call, "foreachBatch")

    def createOrReplaceTempView(self, name: str) -> None:
        """Have a name stand for each batch's frame: the batch's own in its functions.

        Others see that of the newest batch that has succeeded.
        """
        self.foreachBatch(_Named(name))

    def sql(self, query: str) -> "DStream[Any]":
        """Return a stream of what a query gives; see `DStream.sql`."""
        return _asked(self._stream, self._frames, query)

    def transform(self, func: Callable[..., Any]) -> "DStream[Any]":
        """Return a stream of the rows of `func(df)` or `func(time, df)`.

        It is called in the batch's job, and returns a DataFrame.

        Raises:
            AssertionError: It takes another number of arguments.
        """
        ask = _Function(with_time(func, 1))
        return self._stream._transformed(
            BatchQuery(self._frames, ask, "toDF().transform"), "transform"
        )

    def writeTo(self, sink: Sink[Any], *, name: str) -> None:
        """Commit each batch to a sink, exactly once; see `DStream.writeTo`.

        Columns have the frame's names.
        """
        self.transform(_same).writeTo(sink, name=name)


def _same(frame: Any) -> Any:
    return frame


@dataclass(frozen=True, slots=True)
class _Named:
    name: str

    def __call__(self, frame: Any) -> None:
        frame.createOrReplaceTempView(self.name)


# Frames to sinks.

_writers: "weakref.WeakKeyDictionary[SparkContext, FrameWriters]" = (
    weakref.WeakKeyDictionary()
)


def writers_of(context: SparkContext) -> "FrameWriters":
    """Return what writes frames of batches to sinks in a SparkContext."""
    with _opening:
        found = _writers.get(context)
        if found is None:
            found = _writers[context] = FrameWriters(context)
        return found


class FrameWriters:
    """The outputs that frames of batches are written to; one for a SparkContext."""

    def __init__(self, context: SparkContext) -> None:
        """Start without any; they end with the context."""
        self._lock = threading.Lock()
        self._writers: dict[str, _FrameWriter] = {}
        context._at_stop.append(self._close)

    def write(self, frame: Any, sink: Sink[Any], name: Any) -> None:
        """Commit a frame under the time of the batch that the thread works for.

        Raises:
            PySparkTypeError: The name is no text.
            IllegalStateError: The thread works for no batch, or the output has this
                batch, or a later one.
            PySparkValueError: A stream's output has the name.
        """
        if type(name) is not str or not name:
            msg = f"an output's name must be text, not {name!r}"
            raise PySparkTypeError(msg, hint="df.writeTo(sink, name='orders')")
        batch_ms = frame._session.batch_ms
        if batch_ms is None:
            msg = (
                f"df.writeTo({sink.identity}) commits a batch, and none is running here"
            )
            raise IllegalStateError(
                msg,
                hint="call it in foreachRDD or foreachBatch; elsewhere write files with "
                "df.write, or a table with df.writeTo('name')",
            )
        graph = frame._session.watched_graph
        if f"writeTo {name}" in graph.given_names:
            msg = f"a stream's output is named '{name}', too"
            raise PySparkValueError(msg, hint="give every output a name of its own")
        with self._lock:
            writer = self._writers.get(name)
            if writer is None:
                context = frame._session.sparkContext
                writer = _FrameWriter(context, sink, name)
                self._writers[name] = writer
        writer.write(frame, sink, batch_ms, graph.known_ms)

    def _close(self) -> None:
        with self._lock:
            writers, self._writers = self._writers, {}
        for each in writers.values():
            each.close()


class _FrameWriter:
    """Commits frames of one output, in the order of their batches."""

    def __init__(self, context: SparkContext, sink: Sink[Any], name: str) -> None:
        from millstream.streaming.batch_rdds import BatchRdds  # noqa: PLC0415

        self._identity = sink.identity
        self._name = name
        self._lock = threading.Lock()
        self._newest_ms: int | None = None
        run_parts = BatchRdds(context).run_parts
        self._writer = SinkWriter(sink, f"{context.appName}.{name}", run_parts)

    def write(
        self, frame: Any, sink: Sink[Any], batch_ms: int, known_ms: int | None
    ) -> None:
        with self._lock:
            self._check(sink, batch_ms)
            # One partition: an output's batch must have as many whenever it runs again.
            context = frame._session.sparkContext
            rdd = context.parallelize(rows_of_frame(frame), 1)
            self._writer.write(batch_ms, rdd, known_ms)
            self._newest_ms = batch_ms

    def _check(self, sink: Sink[Any], batch_ms: int) -> None:
        if sink.identity != self._identity:
            msg = (
                f"output '{self._name}' goes to {self._identity}, and now to "
                f"{sink.identity}"
            )
            raise IllegalStateError(msg, hint="give every sink a name of its own")
        newest_ms = self._newest_ms
        if newest_ms is None or batch_ms > newest_ms:
            return
        msg = f"output '{self._name}' has batch {newest_ms} ms already"
        if batch_ms < newest_ms:
            msg += f", so that batch {batch_ms} ms comes too late"
        raise IllegalStateError(
            msg,
            hint="write a frame a batch and name, with spark.streaming.concurrentJobs=1; "
            "toDF().writeTo(sink, name=...) keeps the order by itself",
        )

    def close(self) -> None:
        """End."""
        with self._lock:
            self._writer.close()
