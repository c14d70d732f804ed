"""Frames: what the client's DataFrame lacks, or leaves to a server that we don't have."""

import logging
import threading
import warnings
import weakref
from typing import Any

from millstream.engine.base.errors import IllegalStateError
from millstream.engine.base.levels import StorageLevel
from millstream.engine.sinks.contract import Sink
from millstream.sql import client, showing, statistics
from millstream.sql.conversion import partitions_for, rows_of_table
from millstream.sql.deferred import Deferred, plan_ids_in, with_ids
from millstream.sql.refused import RefusedOfFrames
from millstream.sql.staging import Staged

_log = logging.getLogger(__name__)
_frames = client.module("sql.connect.dataframe")
_plans = client.module("sql.connect.plan")
_write_to_table = _frames.DataFrame.writeTo


class Kept(Deferred):
    """The outcome of a plan, which is kept from the first time that a query needs it.

    It is put on the plan itself, so all frames and views that are made of this plan use
    it, those that were made before, too; until it is taken off.
    """

    def __init__(self, session: Any, of: Any, level: StorageLevel) -> None:
        """Keep the outcome of the plan `of`."""
        super().__init__()
        self.level = level
        # The plan has this object: they aren't to keep each other in memory.
        self._of = weakref.ref(of)
        self._plan_id = of._root_plan_id
        self._session = session
        self._making = threading.Lock()
        self._table: Staged | None = None
        self._made_of: frozenset[int] = frozenset()

    def put_on(self, plan: Any) -> None:
        """Have all that is made of a plan use this."""
        plan.plan = self

    def __call__(self, _connection: Any) -> Any:
        """Return what stands for it; called in the place of the plan's own method."""
        return self.mark(self._plan_id)

    def seen(self, connection: Any) -> Any:
        """Return the kept outcome, or else the plan."""
        table = self._table
        return self._relation() if table is None else table.plan(connection)

    def made(self, connection: Any, asked: frozenset[int]) -> tuple[Any, Any]:
        """Return the outcome, which is computed now if it wasn't.

        Columns can be asked of the plan, and of what it is made of, unless some have the
        same name: then there is no telling them apart, and the plan is run again.
        """
        plan = self._of()
        if isinstance(plan, Staged):
            # It is here as it is.
            return type(plan).plan(plan, connection), plan
        table = self._computed()
        inner = asked & self._made_of
        names = table.names
        if inner and len(set(names)) < len(names):
            _log.warning(
                "a kept frame is computed again: columns of the frames that it is made of "
                "were asked for, and some have the same name columns=%s",
                ",".join(names),
            )
            return self._relation(), None
        ids = [*sorted(inner - {self._plan_id}), self._plan_id]
        return with_ids(table.plan(connection), ids), table

    def _computed(self) -> Staged:
        with self._making:
            if self._table is None:
                relation = self._relation()
                self._made_of = plan_ids_in(relation)
                frame = _frames.DataFrame(_Given(relation), self._session)
                schema = frame.schema
                self._table = Staged(frame._to_table()[0], schema.json())
            return self._table

    def _relation(self) -> Any:
        plan = self._of()
        if plan is None:
            msg = "a query has a kept frame that is gone"
            raise IllegalStateError(msg, hint="keep the frame that it is made of")
        return type(plan).plan(plan, self._session.client)


class _Given(_plans.LogicalPlan):  # type: ignore[misc,name-defined]
    """The plan of a relation that was made before."""

    def __init__(self, relation: Any) -> None:
        super().__init__(None)
        self._relation = relation

    def plan(self, session: Any) -> Any:
        """Return it."""
        del session
        return self._relation


def _keepable(plan: Any) -> Any:
    """Return the plan that is kept for a frame: that of a view isn't the alias of it."""
    while type(plan) is _plans.SubqueryAlias:
        plan = plan._child
    return plan


def _kept(plan: Any) -> Kept | None:
    found = vars(_keepable(plan)).get("plan")
    return found if isinstance(found, Kept) else None


_client_show = _frames.DataFrame._show_string
_client_describe = _frames.DataFrame.describe
_client_summary = _frames.DataFrame.summary
_client_crosstab = _frames.DataFrame.crosstab


def install() -> None:
    """Put our methods on the client's DataFrame, which is loaded for us alone."""
    for name, value in {**vars(RefusedOfFrames), **vars(_Ours)}.items():
        if not name.startswith("__"):
            setattr(_frames.DataFrame, name, value)


class _Ours:
    """What is put on the client's DataFrame."""

    _plan: Any
    _session: Any

    @property
    def sparkSession(self) -> Any:
        """The SparkSession."""
        return self._session.face

    @property
    def sql_ctx(self) -> Any:
        """The older door to SQL."""
        from millstream.sql.session import SQLContext  # noqa: PLC0415  It makes frames.

        return SQLContext(self._session.face.sparkContext)

    @property
    def rdd(self) -> Any:
        """The records as an RDD of `Row`; the query is run now."""
        schema = self.schema  # type: ignore[attr-defined]
        table, _ = self._to_table()  # type: ignore[attr-defined]
        context = self._session.sparkContext
        count = partitions_for(table.num_rows, context.defaultParallelism)
        return context.parallelize(rows_of_table(table, schema), count)

    def _show_string(
        self, n: int = 20, truncate: bool | int = True, vertical: bool = False
    ) -> str:
        is_known = type(n) is int and isinstance(vertical, bool)
        if is_known and isinstance(truncate, int):
            cut_to = 20 if truncate is True else int(truncate)
            text = showing.text_of(self, n, cut_to=cut_to, is_vertical=vertical)
            if text is not None:
                return text
        text = str(_client_show(self, n, truncate, vertical))
        # The engine ends a table that isn't whole with an empty line.
        return text.removesuffix("\n") if "only showing top" in text else text

    def describe(self, *cols: Any) -> Any:
        """Return count, mean, stddev, min and max of columns, as texts."""
        return statistics.described(_client_describe(self, *cols))

    def summary(self, *names: str) -> Any:
        """Return statistics of all columns as texts: of numbers percentiles, too."""
        return statistics.summary(self, _client_summary, names)

    def crosstab(self, col1: str, col2: str) -> Any:
        """Return how often each pair of values of two columns occurs."""
        return statistics.crossed(_client_crosstab(self, col1, col2))

    def approxQuantile(self, col: Any, probabilities: Any, relativeError: float) -> Any:
        """Return quantiles of a column, or of each of several; they are exact."""
        del relativeError
        return statistics.quantiles(self, col, probabilities)

    def intersectAll(self, other: Any) -> Any:
        """Return the rows that are in both frames, as often as both have them."""
        return statistics.in_both_as_often(self, other)

    def createTempView(self, name: str) -> None:
        """Have a name stand for this frame in queries.

        Raises:
            TempTableAlreadyExistsException: It stands for another.
        """
        self._session.create_view(name, self._plan, is_replacing=False)

    def createOrReplaceTempView(self, name: str) -> None:
        """Have a name stand for this frame in queries, whatever it stood for before."""
        self._session.create_view(name, self._plan, is_replacing=True)

    def createGlobalTempView(self, name: str) -> None:
        """Have `global_temp.NAME` stand for this frame, in all sessions."""
        name = f"global_temp.{name}"
        self._session.create_view(name, self._plan, is_replacing=False)

    def createOrReplaceGlobalTempView(self, name: str) -> None:
        """Have `global_temp.NAME` stand for this frame, whatever it stood for before."""
        name = f"global_temp.{name}"
        self._session.create_view(name, self._plan, is_replacing=True)

    def registerTempTable(self, name: str) -> None:
        """Do `createOrReplaceTempView`; the older name."""
        warnings.warn(
            "Deprecated in 2.0, use createOrReplaceTempView instead.",
            FutureWarning,
            stacklevel=2,
        )
        self.createOrReplaceTempView(name)

    def cache(self) -> Any:
        """Keep the outcome, from the first time that it is needed."""
        return self.persist()

    def persist(
        self,
        storageLevel: StorageLevel = StorageLevel.MEMORY_AND_DISK_DESER,
    ) -> Any:
        """Keep the outcome, from the first time that it is needed.

        It is kept as an Arrow file, in shared memory where there is room, whatever the
        level.
        """
        if not self.is_cached:
            plan = _keepable(self._plan)
            Kept(self._session, plan, storageLevel).put_on(plan)
        return self

    def unpersist(self, blocking: bool = False) -> Any:
        """Keep the outcome no longer: the next query computes it anew."""
        del blocking
        if self.is_cached:
            del _keepable(self._plan).plan
        return self

    @property
    def is_cached(self) -> bool:
        """Whether the outcome is kept."""
        return _kept(self._plan) is not None

    @property
    def storageLevel(self) -> StorageLevel:
        """How the outcome is kept."""
        kept = _kept(self._plan)
        return StorageLevel.NONE if kept is None else kept.level

    def checkpoint(self, eager: bool = True) -> Any:
        """Return the outcome, computed once, without its lineage."""
        return self.localCheckpoint(eager)

    def localCheckpoint(
        self,
        eager: bool = True,
        storageLevel: Any = None,
    ) -> Any:
        """Return the outcome, computed once, without its lineage."""
        del storageLevel
        plan = self._plan

        def computed() -> Any:
            return _frames.DataFrame(plan, self._session)._to_table()[0]

        table = computed() if eager else computed
        staged = Staged(table, self.schema.json())  # type: ignore[attr-defined]
        return _frames.DataFrame(staged, self._session)

    def toPolars(self) -> Any:
        """Return the records as a Polars frame; needs no pandas."""
        import polars as pl  # noqa: PLC0415  Only here.

        return pl.DataFrame(self.toArrow())  # type: ignore[attr-defined]

    def writeTo(self, table: Any, *, name: str | None = None) -> Any:
        """Commit this frame to a sink as its batch's, or return a writer to a table.

        A sink of `millstream.streaming.sinks` has it once, whatever runs again, under the
        batch's time and `name`, by which it knows the output. That is for the functions
        of a batch, once a batch; a batch that fails is left out when a later one is
        committed. See `toDF().writeTo`, which leaves none out.

        Raises:
            IllegalStateError: It is no batch's function that writes to a sink, or the
                output has this batch, or a later one.
            PySparkTypeError: The name of a sink's output is no text.
        """
        if not isinstance(table, Sink):
            return _write_to_table(self, table)
        from millstream.sql.streams import writers_of  # noqa: PLC0415  Only for sinks.

        writers_of(self._session.sparkContext).write(self, table, name)
        return None

    def toJSON(self, use_unicode: bool = True) -> Any:
        """Return an RDD of the records as JSON text."""
        del use_unicode
        functions = client.module("sql.connect.functions.builtin")
        columns = [functions.col(f"`{name}`") for name in self.columns]  # type: ignore[attr-defined]
        text = functions.to_json(functions.struct(*columns)).alias("value")
        return self.select(text).rdd.map(_first)  # type: ignore[attr-defined]

    def foreach(self, f: Any) -> None:
        """Apply a function to each record, in tasks."""
        self.rdd.foreach(f)

    def foreachPartition(self, f: Any) -> None:
        """Apply a function to each partition's records, in tasks."""
        self.rdd.foreachPartition(f)


def _first(row: Any) -> Any:
    return row[0]
