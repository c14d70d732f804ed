"""Frames: what the client's DataFrame lacks, or leaves to a server that we don't have."""

import threading
import warnings
from typing import Any

from millstream.engine.base.levels import StorageLevel
from millstream.sql import client
from millstream.sql.conversion import partitions_for, rows_of_table
from millstream.sql.staging import Staged

_frames = client.module("sql.connect.dataframe")
_plans = client.module("sql.connect.plan")


class Kept(_plans.LogicalPlan):  # type: ignore[misc,name-defined]
    """The plan of a frame whose outcome is kept, from the first time that it is needed."""

    def __init__(self, session: Any, of: Any, level: StorageLevel) -> None:
        """Keep the outcome of the plan `of`."""
        super().__init__(of)
        self.of = of
        self.level = level
        self._session = session
        self._making = threading.Lock()
        self._made: Any = None

    def plan(self, session: Any) -> Any:
        """Return what the engine is told: where the outcome is."""
        with self._making:
            if self._made is None:
                frame = _frames.DataFrame(self.of, self._session)
                self._made = Staged(frame.toArrow(), frame.schema.json())
        return self._made.plan(session)


def install() -> None:
    """Put our methods on the client's DataFrame, which is loaded for us alone."""
    for name, value in vars(_Ours).items():
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
        if not isinstance(self._plan, Kept):
            self._plan = Kept(self._session, self._plan, storageLevel)
        return self

    def unpersist(self, blocking: bool = False) -> Any:
        """Keep the outcome no longer."""
        del blocking
        if isinstance(self._plan, Kept):
            self._plan = self._plan.of
        return self

    @property
    def is_cached(self) -> bool:
        """Whether the outcome is kept."""
        return isinstance(self._plan, Kept)

    @property
    def storageLevel(self) -> StorageLevel:
        """How the outcome is kept."""
        return self._plan.level if isinstance(self._plan, Kept) else StorageLevel.NONE

    def checkpoint(self, eager: bool = True) -> Any:
        """Return the outcome, computed once, without its lineage."""
        return self.localCheckpoint(eager)

    def localCheckpoint(
        self,
        eager: bool = True,
        storageLevel: Any = None,
    ) -> Any:
        """Return the outcome, computed once, without its lineage."""
        made = _frames.DataFrame(
            Kept(
                self._session, self._plan, storageLevel or StorageLevel.MEMORY_AND_DISK
            ),
            self._session,
        )
        if eager:
            made._plan.plan(self._session.client)
        return made

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
