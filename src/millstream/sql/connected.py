"""Connected: the session and the frames of the client, changed for what is ours.

What the client leaves to a server is done here where it is about RDDs, views, settings and
what is kept; all else is the client's own.
"""

import fnmatch
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millstream.engine.base.errors import IllegalStateError
from millstream.engine.streams.operators import generating_ms
from millstream.sql import client, repairs, state_tables, statements
from millstream.sql.conversion import (
    Inference,
    ToArrow,
    arrow_schema,
    as_table,
    cast_to,
    is_record,
    lengths_differ,
    renamed,
    schema_of_rdd,
    schema_of_rows,
    with_names,
)
from millstream.sql.deferred import Filling
from millstream.sql.refused import RefusedOfSessions
from millstream.sql.sail.backend import SailBackend
from millstream.sql.staging import Staged, place_files
from millstream.sql.views import ViewRegistry

if TYPE_CHECKING:
    import pyarrow as pa

    from millstream.sql.session import SparkSession

_session = client.module("sql.connect.session")
_frames = client.module("sql.connect.dataframe")
_plans = client.module("sql.connect.plan")
_catalog = client.module("sql.connect.catalog")
_types = client.module("sql.types")
_errors = client.module("errors")

# The client's own ways to make frames of pandas, Arrow and lists go by our plans, too.
vars(_session)["LocalRelation"] = Staged


_BATCH = "spark.streaming.internal.batchTime"
_MANGLED = "millstream__"


class ConnectedSession(RefusedOfSessions, _session.SparkSession):  # type: ignore[misc,name-defined]
    """The client's session, on an engine of ours."""

    def __init__(
        self, face: "SparkSession", backend: SailBackend, local_dir: Path
    ) -> None:
        """Run the queries of `face` on `backend`; large tables lie below `local_dir`."""
        place_files(local_dir)
        self.face = face
        self.backend = backend
        self.views = ViewRegistry()
        self._client = Filling(backend.connection)
        self._session_id = backend.connection._session_id
        self.release_session_on_close = False
        self._catalog = _Catalog(self)
        self._watched: Any = None
        self._watching = threading.Lock()
        self._local = threading.local()
        state_tables.provide(self)

    # What batches see.

    @property
    def batch_ms(self) -> int | None:
        """The batch that the calling thread works for; None if for none."""
        time = getattr(self._local, "batch_ms", None)
        if time is None:
            time = generating_ms()
        if time is None:
            time = self.face.sparkContext.getLocalProperty(_BATCH)
        if time is None:
            return None
        from millstream.streaming.context import (  # noqa: PLC0415  Beside this face.
            StreamingContext,
        )

        active = StreamingContext.getActive()
        if active is None:
            return None
        with self._watching:
            if self._watched is not active:
                self._watched = active
                active._watch_batches(self._on_batch_end)
        return int(time)

    @property
    def watched_graph(self) -> Any:
        """The streams of the batch that some thread has worked for."""
        return self._watched._graph

    @contextmanager
    def for_batch(self, time_ms: int) -> Iterator[None]:
        """Have the calling thread work for a batch meanwhile."""
        before = getattr(self._local, "batch_ms", None)
        self._local.batch_ms = time_ms
        try:
            yield
        finally:
            self._local.batch_ms = before

    def _on_batch_end(self, time_ms: int, has_succeeded: bool) -> None:
        graph = self._watched._graph
        self.views.end_batch(
            time_ms,
            has_succeeded=has_succeeded,
            remember_ms=graph.remember_ms or graph.batch_ms,
            pending_ms=self._watched._scheduler.pending_ms,
        )

    # Frames.

    def createDataFrame(
        self,
        data: Any,
        schema: Any = None,
        samplingRatio: float | None = None,
        verifySchema: bool | None = None,
    ) -> Any:
        """Return a frame of an RDD, a list, a pandas, Polars or Arrow table, or an array.

        A schema is a StructType, another type (of the only column, `value`), DDL text, or
        names of columns. Without types they are found as Spark finds them: of an RDD from
        its first record (from up to 100 while there are None), from a sample if
        `samplingRatio` says so; of a list from all records.

        Raises:
            ValueError: The RDD is empty, and has no schema.
            PySparkTypeError: A value isn't of its column's type, unless `verifySchema` is
                False; or there is no type for a value.
        """
        kind = type(data)
        if isinstance(data, _frames.DataFrame):
            raise _errors.PySparkTypeError(
                errorClass="INVALID_TYPE",
                messageParameters={"arg_name": "data", "arg_type": "DataFrame"},
            )
        table = as_table(data)
        if table is not None:
            return self._of_table(table, schema)
        if kind.__module__.partition(".")[0] in ("pandas", "numpy"):
            return self._of_pandas(data, schema)
        if isinstance(schema, str):
            schema = self._parse_ddl(schema)
        is_verified = verifySchema is None or verifySchema
        if hasattr(data, "ctx") and hasattr(data, "mapPartitions"):
            return self._of_rdd(data, schema, samplingRatio, is_verified)
        return self._of_rows(list(data), schema, is_verified)

    def _of_table(self, table: "pa.Table", schema: Any) -> Any:
        if isinstance(schema, str):
            schema = self._parse_ddl(schema)
        names = _names(schema)
        if schema is not None and names is None:
            struct, _ = _struct(schema)
            return self._frame(Staged(cast_to(table, struct), struct.json()))
        if names is not None:
            table = renamed(table, names)
        return super().createDataFrame(table)

    def _of_pandas(self, data: Any, schema: Any) -> Any:
        if isinstance(schema, str):
            schema = self._parse_ddl(schema)
        known = _names(schema) or getattr(schema, "names", None)
        width = data.shape[1] if data.ndim > 1 else 1
        if known is not None and len(known) != width:
            raise lengths_differ(len(known), width)
        return super().createDataFrame(data, schema=schema)

    def _of_rdd(
        self, rdd: Any, schema: Any, ratio: float | None, is_verified: bool
    ) -> Any:
        names = _names(schema)
        if schema is None or names is not None:
            is_wrapped = not is_record(rdd.first())
            rows = rdd.map(_in_tuple) if is_wrapped else rdd
            struct = schema_of_rdd(rows, names, ratio, self._inference())
            struct = with_names(struct, names or [])
            is_wrapped = is_wrapped and len(struct.fields) == 1
        else:
            struct, is_wrapped = _struct(schema)
        convert = ToArrow(struct, is_wrapped, is_verified)
        plan = Staged(_table_of_rdd(rdd, convert), struct.json())
        plan.is_of_batch = True
        return self._frame(plan)

    def _of_rows(self, rows: list[Any], schema: Any, is_verified: bool) -> Any:
        names = _names(schema)
        if schema is None or names is not None:
            is_wrapped = bool(rows) and not is_record(rows[0])
            given = [(row,) for row in rows] if is_wrapped else rows
            struct = schema_of_rows(given, names, self._inference())
            struct = with_names(struct, names or [])
        else:
            struct, is_wrapped = _struct(schema)
        if not rows:
            return self._frame(
                Staged(arrow_schema(struct).empty_table(), struct.json())
            )
        table = ToArrow(struct, is_wrapped, is_verified).table([rows])
        return self._frame(Staged(table, struct.json()))

    def _frame(self, plan: Any) -> Any:
        return _frames.DataFrame(plan, self)

    def frame_of_table(self, table: "pa.Table") -> Any:
        """Return a frame of an Arrow table."""
        return super().createDataFrame(table)

    def _inference(self) -> Inference:
        conf = self.face.conf

        def is_on(key: str) -> bool:
            return conf.get(key, "false") == "true"

        return Inference(
            is_on("spark.sql.pyspark.inferNestedDictAsStruct.enabled"),
            is_on("spark.sql.pyspark.legacy.inferArrayTypeFromFirstElement.enabled"),
            is_on("spark.sql.pyspark.legacy.inferMapTypeFromFirstPair.enabled"),
            conf.get("spark.sql.timestampType", "") == "TIMESTAMP_NTZ",
        )

    def _cache_local_relation(self, local_relation: Any, *_limits: Any) -> Any:
        # A large one is a file.
        return local_relation

    # Queries.

    def sql(
        self,
        sqlQuery: str,
        args: Mapping[str, Any] | list[Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Return the outcome of a query, bound now to the views that it names.

        `args` are values of its parameters (`:name`, or `?`), `kwargs` values and frames
        that `{name}` stands for.

        Raises:
            ParseException: It isn't SQL.
            AnalysisException: It names what isn't there.
        """
        command = statements.command_of(sqlQuery)
        if command is not None and not kwargs:
            return self._obey(command)
        query, views = self.bound(sqlQuery, kwargs)
        return self._run(query, _arguments(args), views)

    def bound(
        self, text: str, given: Mapping[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Return a query, and the plans of the views that it names."""
        views: dict[str, Any] = {}
        if given:
            formatter = client.module("sql.connect.sql_formatter").SQLStringFormatter(
                self
            )
            text = formatter.format(text, **given)
            views |= {name: frame._plan for frame, name in formatter._temp_views}
        text = repairs.repaired(text)
        names = statements.names_of(text)
        new: dict[str, str] = {}
        for name in names.places:
            # A column may be called as a namespace is.
            is_column = "." in name and name not in names.tables
            if is_column and name.partition(".")[0] in self.views.namespaces:
                continue
            plan = self._view(name)
            if plan is None:
                continue
            if "." in name:
                new[name] = _MANGLED + name.replace(".", "__")
                views[new[name]] = plan
            else:
                views |= dict.fromkeys(names.spellings(name), plan)
        return names.replaced(new), views

    def _view(self, name: str) -> Any:
        """Return the plan that a name stands for; None if it may be the engine's table.

        Raises:
            AnalysisException: It can't be.
        """
        plan = self.views.find(name, self.batch_ms)
        namespace, _, rest = name.replace("`", "").partition(".")
        is_provided = namespace.lower() in self.views.namespaces
        if plan is not None or not rest or not is_provided:
            return plan
        if _catalog.Catalog.tableExists(self._catalog, name):
            return None
        there = [f"`{namespace}`.`{each}`" for each in self.views.provided(namespace)]
        msg = (
            f"[TABLE_OR_VIEW_NOT_FOUND] The table or view `{namespace}`.`{rest}` "
            f"cannot be found; there are {', '.join(there) or 'none'}"
        )
        raise _errors.AnalysisException(msg, "TABLE_OR_VIEW_NOT_FOUND")

    def _run(self, query: str, args: tuple[Any, Any], views: Mapping[str, Any]) -> Any:
        named = [_plans.SubqueryAlias(plan, name) for name, plan in views.items()]
        plan = _plans.SQL(query, args[0], args[1], named)
        _, properties, info = self.client.execute_command(plan.command(self.client))
        found = properties.get("sql_command_result")
        if found is None:
            return self._frame(plan)
        if found.WhichOneof("rel_type") == "local_relation":
            # It was a command, and is done.
            made = self._frame(_plans.CachedRelation(found))
        else:
            # The engine would have it again from what it was told: views and all.
            made = self._frame(plan)
        made._execution_info = info
        return made

    def _obey(self, command: statements.Command) -> Any:
        match command:
            case statements.CreateView(name, query, is_replacing):
                self.create_view(name, self.sql(query)._plan, is_replacing=is_replacing)
            case statements.DropView(name, is_sure):
                if not self.views.drop(name, self.batch_ms) and is_sure:
                    msg = (
                        "[TABLE_OR_VIEW_NOT_FOUND] The table or view "
                        f"`{name}` cannot be found."
                    )
                    raise _errors.AnalysisException(msg, "TABLE_OR_VIEW_NOT_FOUND")
            case statements.Cache(name, query, is_kept, is_sure):
                if query is not None:
                    self.create_view(name, self.sql(query)._plan, is_replacing=True)
                self.keep_view(name, is_kept=is_kept, is_sure=is_sure)
            case statements.ShowTables(pattern, is_views):
                return self._shown(pattern, is_views=is_views)
            case statements.Describe(name, query):
                frame = self.table(name) if query is None else self.sql(query)
                return self._described(frame)
            case statements.Setting(key, value):
                if value is not None:
                    self.conf.set(key, value)
                known = self.conf.get(key, "<undefined>")
                return self.createDataFrame([(key, known)], "key string, value string")
        empty = _types.StructType()
        return self._frame(Staged(arrow_schema(empty).empty_table(), empty.json()))

    def _shown(self, pattern: str | None, *, is_views: bool) -> Any:
        known = [
            (each.namespace[-1] if each.namespace else "", each.name, each.isTemporary)
            for each in self.catalog.listTables()
            if each.isTemporary or not is_views
        ]
        fits = [
            each
            for each in known
            if pattern is None or fnmatch.fnmatch(each[1], pattern)
        ]
        schema = "namespace string, tableName string, isTemporary boolean"
        if is_views:
            schema = schema.replace("tableName", "viewName")
        return self.createDataFrame(fits, schema)

    def _described(self, frame: Any) -> Any:
        rows = [
            (each.name, each.dataType.simpleString(), each.metadata.get("comment"))
            for each in frame.schema.fields
        ]
        schema = "col_name string, data_type string, comment string"
        return self.createDataFrame(rows, schema)

    def table(self, tableName: str) -> Any:
        """Return a view or table by its name; `state.NAME` is the state of a stream.

        Raises:
            AnalysisException: There is none, which is told by the first action.
        """
        if isinstance(tableName, str):
            plan = self._view(tableName)
            if plan is not None:
                short = tableName.rsplit(".", maxsplit=1)[-1].strip("`")
                return self._frame(_plans.SubqueryAlias(plan, short))
        return self._frame(_plans.Read(tableName))

    def create_view(self, name: str, plan: Any, *, is_replacing: bool) -> None:
        """Have a name stand for a plan.

        Raises:
            AnalysisException: It stands for one, and `is_replacing` is off.
        """
        batch_ms = self.batch_ms
        if not is_replacing and self.views.find(name, batch_ms) is not None:
            msg = (
                f"[TEMP_TABLE_OR_VIEW_ALREADY_EXISTS] Cannot create the temporary view "
                f"`{name}` because it already exists."
            )
            raise _errors.AnalysisException(msg, "TEMP_TABLE_OR_VIEW_ALREADY_EXISTS")
        self.views.register(name, plan, batch_ms, is_lasting=not _has_batch(plan))

    def keep_view(self, name: str, *, is_kept: bool, is_sure: bool = True) -> None:
        """Keep what a view gives, or no longer.

        Raises:
            AnalysisException: There is no such view.
        """
        plan = self.views.find(name, self.batch_ms)
        if plan is None:
            if is_sure:
                msg = (
                    f"[TABLE_OR_VIEW_NOT_FOUND] The table or view `{name}` cannot be "
                    "found."
                )
                raise _errors.AnalysisException(msg, "TABLE_OR_VIEW_NOT_FOUND")
            return
        frame = self._frame(plan)
        kept = frame.persist() if is_kept else frame.unpersist()
        is_lasting = not _has_batch(kept._plan)
        self.views.register(name, kept._plan, self.batch_ms, is_lasting=is_lasting)

    # Life.

    @property
    def catalog(self) -> "_Catalog":
        """The catalog: our views, and the engine's tables."""
        return self._catalog

    @property
    def conf(self) -> Any:
        """The settings."""
        return self.face.conf

    @property
    def sparkContext(self) -> Any:
        """The SparkContext."""
        return self.face.sparkContext

    @property
    def version(self) -> str:
        """The version of Spark whose API this is."""
        return self.face.version

    def newSession(self) -> Any:
        """Return a session with views and settings of its own."""
        return self.face.newSession()

    def stop(self) -> None:
        """Stop the SparkContext, and the engine."""
        self.face.stop()

    def __reduce__(self) -> Any:
        msg = "a SparkSession belongs to the driver: a function of an RDD can't have it"
        raise IllegalStateError(msg, hint="call it from foreachRDD or transform")


class _Catalog(_catalog.Catalog):  # type: ignore[misc,name-defined]
    """The client's catalog, and our views in it."""

    def __init__(self, session: ConnectedSession) -> None:
        super().__init__(session)
        self._session = session

    def listTables(
        self,
        dbName: str | None = None,
        pattern: str | None = None,
    ) -> list[Any]:
        """Return all tables and temporary views, or those that a pattern fits.

        Of `state` they are the states of running streams.
        """
        views = self._session.views
        if dbName is not None and dbName.lower() in views.namespaces:
            return [
                _temporary(name, dbName.lower())
                for name in views.provided(dbName)
                if pattern is None or fnmatch.fnmatch(name, pattern)
            ]
        tables = super().listTables(dbName, pattern)
        made = []
        for name in self._session.views.names(self._session.batch_ms):
            is_global = name.startswith("global_temp.")
            if is_global != (dbName == "global_temp"):
                continue
            short = name.partition(".")[2] if is_global else name
            if pattern is None or fnmatch.fnmatch(short, pattern):
                made.append(_temporary(short, "global_temp" if is_global else None))
        return [*tables, *made]

    def tableExists(self, tableName: str, dbName: str | None = None) -> bool:
        """Say whether there is a view or table of a name."""
        found = self._session.views.find(tableName, self._session.batch_ms)
        return found is not None or super().tableExists(tableName, dbName)

    def getTable(self, tableName: str) -> Any:
        """Return what is known of a view or table."""
        if self._session.views.find(tableName, self._session.batch_ms) is not None:
            namespace, _, short = tableName.rpartition(".")
            return _temporary(short, namespace or None)
        return super().getTable(tableName)

    def listColumns(self, tableName: str, dbName: str | None = None) -> list[Any]:
        """Return the columns of a view or table."""
        if self._session.views.find(tableName, self._session.batch_ms) is None:
            return list(super().listColumns(tableName, dbName))
        column = client.module("sql.catalog").Column
        return [
            column(
                name=each.name,
                description=None,
                dataType=each.dataType.simpleString(),
                nullable=each.nullable,
                isPartition=False,
                isBucket=False,
                isCluster=False,
            )
            for each in self._session.table(tableName).schema.fields
        ]

    def dropTempView(self, viewName: str) -> bool:
        """Forget a view; say whether there was one."""
        return self._session.views.drop(viewName, self._session.batch_ms)

    def dropGlobalTempView(self, viewName: str) -> bool:
        """Forget a global view; say whether there was one."""
        name = f"global_temp.{viewName}"
        return self._session.views.drop(name, self._session.batch_ms)

    def isCached(self, tableName: str) -> bool:
        """Say whether what a view gives is kept."""
        plan = self._session.views.find(tableName, self._session.batch_ms)
        return plan is not None and self._session._frame(plan).is_cached

    def cacheTable(self, tableName: str, storageLevel: Any = None) -> None:
        """Keep what a view gives."""
        del storageLevel
        self._session.keep_view(tableName, is_kept=True)

    def uncacheTable(self, tableName: str) -> None:
        """Keep what a view gives no longer."""
        self._session.keep_view(tableName, is_kept=False)

    def clearCache(self) -> None:
        """Keep nothing of any view any more."""
        for name in self._session.views.names(self._session.batch_ms):
            self._session.keep_view(name, is_kept=False)


def _has_batch(plan: Any) -> bool:
    """Say whether a plan has data of an RDD in it."""
    waiting, seen = [plan], {id(plan)}
    while waiting:
        each = waiting.pop()
        if getattr(each, "is_of_batch", False):
            return True
        for part in vars(each).values():
            for one in part if isinstance(part, (list, tuple)) else (part,):
                if isinstance(one, _plans.LogicalPlan) and id(one) not in seen:
                    seen.add(id(one))
                    waiting.append(one)
    return False


def _temporary(name: str, namespace: str | None) -> Any:
    return client.module("sql.catalog").Table(
        name=name,
        catalog=None,
        namespace=[] if namespace is None else [namespace],
        description=None,
        tableType="TEMPORARY",
        isTemporary=True,
    )


def _table_of_rdd(rdd: Any, convert: ToArrow) -> Any:
    from millstream.engine.jobs.actions import Apply  # noqa: PLC0415

    def table() -> Any:
        import pyarrow as pa  # noqa: PLC0415  An extra.

        made = rdd._run(Apply(convert, "createDataFrame"))
        known = [each for each in made if each.num_rows]
        return pa.concat_tables(known or made[:1] or [_empty(convert)])

    return table


def _empty(convert: ToArrow) -> "pa.Table":
    return arrow_schema(convert.schema).empty_table()


def _names(schema: Any) -> list[str] | None:
    return list(schema) if isinstance(schema, (list, tuple)) else None


def _struct(schema: Any) -> tuple[Any, bool]:
    """Return a schema as StructType, and whether records are values of its only column."""
    if isinstance(schema, _types.StructType):
        return schema, False
    if isinstance(schema, _types.DataType):
        return _types.StructType().add("value", schema), True
    raise _errors.PySparkTypeError(
        errorClass="NOT_LIST_OR_NONE_OR_STRUCT",
        messageParameters={"arg_name": "schema", "arg_type": type(schema).__name__},
    )


def _in_tuple(value: Any) -> tuple[Any]:
    return (value,)


def _arguments(args: Any) -> tuple[list[Any], dict[str, Any]]:
    lit = client.module("sql.connect.functions.builtin").lit
    if args is None:
        return [], {}
    if isinstance(args, Mapping):
        return [], {name: lit(value) for name, value in args.items()}
    if isinstance(args, Iterable):
        return [lit(value) for value in args], {}
    raise _errors.PySparkTypeError(
        errorClass="INVALID_TYPE",
        messageParameters={"arg_name": "args", "arg_type": type(args).__name__},
    )
