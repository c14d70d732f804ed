"""SparkSession: the door to SQL; the engine behind it starts when it is first needed."""

import itertools
import os  # noqa: TID251  The time zone.
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, NoReturn, Self

from millstream.conf import SparkConf
from millstream.context import SparkContext
from millstream.engine.base.errors import IllegalStateError, NotSerializableError
from millstream.errors.sql import SparkNoSuchElementException
from millstream.sql.row import Row

if TYPE_CHECKING:
    from millstream.sql.connected import ConnectedSession
    from millstream.sql.sail.backend import SailBackend

_UNSET: Final[Any] = object()
_SQL = "spark.sql."
_ZONE = "spark.sql.session.timeZone"


class _Builder:
    """Collects settings and makes a session of them."""

    def __init__(self) -> None:
        self._options: dict[str, str] = {}

    def master(self, master: str) -> "_Builder":
        """Set where tasks run."""
        return self.config("spark.master", master)

    def appName(self, name: str) -> "_Builder":
        """Set the application's name."""
        return self.config("spark.app.name", name)

    def config(
        self,
        key: str | None = None,
        value: Any = None,
        conf: SparkConf | None = None,
        *,
        map: dict[str, Any] | None = None,
    ) -> "_Builder":
        """Set a key, all of a SparkConf, or all of a dict."""
        if conf is not None:
            self._options.update(conf.getAll())
        if map is not None:
            self._options.update({name: str(each) for name, each in map.items()})
        if key is not None:
            self._options[key] = str(value)
        return self

    def enableHiveSupport(self) -> "_Builder":
        """Do nothing: there is no Hive here."""
        return self

    def getOrCreate(self) -> "SparkSession":
        """Return the session of the live SparkContext, or of a new one.

        Options given now are set on a session that is there already.
        """
        conf = SparkConf().setAll(self._options.items())
        context = SparkContext.getOrCreate(conf)
        session = SparkSession.getActiveSession() or SparkSession(context)
        for key, value in self._options.items():
            session.conf.set(key, value)
        return session


class _BuilderOfClass:
    def __get__(self, _instance: Any, _owner: type) -> _Builder:
        return _Builder()


class RuntimeConfig:
    """The settings of a session: the context's, and what was set since.

    What begins with `spark.sql.` reaches the engine; nothing else reaches any running part
    of the context, as in Spark.
    """

    def __init__(self, session: "SparkSession") -> None:
        """Begin with a copy of the context's settings."""
        self._session = session
        self._conf = dict(session.sparkContext.getConf().getAll())
        self._conf.setdefault(_ZONE, _local_zone())

    def set(self, key: str, value: str | int | bool) -> None:
        """Set a key."""
        is_flag = isinstance(value, bool)
        self._conf[key] = str(value).lower() if is_flag else str(value)
        if key.startswith(_SQL):
            self._session._tell(key, self._conf[key])

    def get(self, key: str, default: str | None = _UNSET) -> str | None:
        """Return the text of a key, else `default`, or what the engine goes by.

        Raises:
            SparkNoSuchElementException: It isn't set, and there is no default.
        """
        if key in self._conf:
            return self._conf[key]
        if default is not _UNSET:
            return default
        if key.startswith(_SQL):
            return self._session._ask_setting(key)
        msg = f'[SQL_CONF_NOT_FOUND] The SQL config "{key}" cannot be found.'
        raise SparkNoSuchElementException(msg, hint="pass a default")

    @property
    def getAll(self) -> dict[str, str]:
        """All settings."""
        return dict(self._conf)

    def unset(self, key: str) -> None:
        """Forget a key."""
        if self._conf.pop(key, None) is not None and key.startswith(_SQL):
            self._session._tell(key, None)

    def isModifiable(self, key: str) -> bool:
        """Say whether setting a key can have an effect."""
        return key.startswith(_SQL)

    def _of_sql(self) -> dict[str, str]:
        return {key: value for key, value in self._conf.items() if key.startswith(_SQL)}


def _local_zone() -> str:
    """Return the name of this machine's time zone; UTC where it has none."""
    named = os.environ.get("TZ", "").lstrip(":")
    if named:
        return named
    where = Path("/etc/localtime").resolve().parts
    if "zoneinfo" in where:
        return "/".join(where[where.index("zoneinfo") + 1 :])
    return "UTC"


class SparkSession:
    """A door to SQL, on the SparkContext; one engine for all sessions of a context.

    What isn't here, such as `read`, `range`, `udf`, `interruptAll`, is the client's own, as
    in PySpark's documentation.
    """

    builder: ClassVar[_BuilderOfClass] = _BuilderOfClass()
    Builder: ClassVar[type[_Builder]] = _Builder
    _active: ClassVar["SparkSession | None"] = None
    _numbers: ClassVar[Any] = itertools.count()

    def __init__(
        self, sparkContext: SparkContext, jsparkSession: Any = None, options: Any = None
    ) -> None:
        """Wrap a SparkContext."""
        del jsparkSession
        self._sc = sparkContext
        self._opening = threading.Lock()
        self._opened: ConnectedSession | None = None
        self._is_stopped = False
        self._runtime_conf = RuntimeConfig(self)
        for key, value in (options or {}).items():
            self._runtime_conf.set(key, value)
        SparkSession._active = self

    @classmethod
    def getActiveSession(cls) -> "SparkSession | None":
        """Return the session of the live SparkContext, or None."""
        session, live = cls._active, SparkContext._active_spark_context
        return session if session and live and session._sc is live else None

    @classmethod
    def active(cls) -> "SparkSession":
        """Return the session of the live SparkContext.

        Raises:
            IllegalStateError: There is none.
        """
        session = cls.getActiveSession()
        if session is None:
            msg = "[NO_ACTIVE_OR_DEFAULT_SESSION] No active or default Spark session found."
            raise IllegalStateError(msg, hint="SparkSession.builder.getOrCreate()")
        return session

    @property
    def conf(self) -> RuntimeConfig:
        """The settings."""
        return self._runtime_conf

    @property
    def sparkContext(self) -> SparkContext:
        """The SparkContext."""
        return self._sc

    @property
    def version(self) -> str:
        """The version of Spark whose API this is."""
        return self._sc.version

    def newSession(self) -> "SparkSession":
        """Return a session with views, settings and functions of its own."""
        active = SparkSession._active
        made = SparkSession(self._sc)
        SparkSession._active = active
        return made

    @property
    def _connected(self) -> "ConnectedSession":
        """What answers, with the engine behind it, which starts now if it hasn't."""
        with self._opening:
            if self._is_stopped:
                msg = "the SparkSession was stopped"
                raise IllegalStateError(msg, hint="SparkSession.builder.getOrCreate()")
            if self._opened is None:
                self._opened = self._open()
            return self._opened

    def _open(self) -> "ConnectedSession":
        from millstream.sql import frames  # noqa: PLC0415  An extra, and slow.
        from millstream.sql.connected import ConnectedSession  # noqa: PLC0415  As above.
        from millstream.sql.sail.backend import SailBackend  # noqa: PLC0415  As above.
        from millstream.sql.tables import readers, writers  # noqa: PLC0415  As above.

        frames.install()
        readers.install()
        writers.install()
        settings = self._sc._driver.settings
        timeout_ms = settings.find_ms("spark.millstream.sql.timeout")
        backend = SailBackend(
            settings.get_bytes("spark.millstream.sql.memoryGrowth"),
            None if timeout_ms is None else timeout_ms / 1000,
            lambda: self._sc.getLocalProperty("spark.jobGroup.id"),
        )
        try:
            for key, value in self._runtime_conf._of_sql().items():
                backend.set(key, value)
        except Exception:
            backend.close()
            raise
        self._sc._at_stop.append(self._close)
        self._sc._at_cancel.append(backend.cancel_group)
        # Frames outlive a context, and its own directory.
        return ConnectedSession(self, backend, self._sc._driver.local_dir.parent)

    @property
    def _backend(self) -> "SailBackend":
        return self._connected.backend

    def _tell(self, key: str, value: str | None) -> None:
        if self._opened is not None:
            self._opened.backend.set(key, value)

    def _ask_setting(self, key: str) -> str | None:
        from millstream.sql import client  # noqa: PLC0415  An extra.

        conf = client.module("sql.connect.conf").RuntimeConf(self._backend.connection)
        value: str | None = conf.get(key)
        return value

    def _close(self) -> None:
        """End the engine; before the SparkContext, whose stop calls this."""
        with self._opening:
            self._is_stopped = True
            opened, self._opened = self._opened, None
        if opened is not None:
            opened.backend.close()
        if SparkSession._active is self:
            SparkSession._active = None

    def stop(self) -> None:
        """Stop the SparkContext, and the engine."""
        self._close()
        self._sc.stop()

    def __reduce__(self) -> NoReturn:
        msg = (
            "SparkSession can't be pickled: a function refers to it that runs in tasks, "
            "where there is none"
        )
        raise NotSerializableError(
            msg, hint="call it from foreachRDD or transform, on the driver"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._connected, name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *dir(self._connected)})


class SQLContext:
    """The older door to SQL: a SparkSession by another name."""

    _one: ClassVar["SQLContext | None"] = None

    def __init__(
        self,
        sparkContext: SparkContext,
        sparkSession: SparkSession | None = None,
        jsqlContext: Any = None,
    ) -> None:
        """Take the session of the context, or `sparkSession`."""
        del jsqlContext
        warnings.warn(
            "Deprecated in 3.0.0. Use SparkSession.builder.getOrCreate() instead.",
            FutureWarning,
            stacklevel=2,
        )
        self._sc = sparkContext
        found = sparkSession or SparkSession.getActiveSession()
        self.sparkSession = found or SparkSession(sparkContext)

    @classmethod
    def getOrCreate(cls, sc: SparkContext | None = None) -> "SQLContext":
        """Return the one of a context; without one, of the live context or a new one."""
        sc = SparkContext.getOrCreate() if sc is None else sc
        if cls._one is None or cls._one._sc is not sc:
            cls._one = cls(sc)
        return cls._one

    def newSession(self) -> "SQLContext":
        """Return one with views and settings of its own."""
        return type(self)(self._sc, self.sparkSession.newSession())

    def setConf(self, key: str, value: str | int | bool) -> None:
        """Set a key."""
        self.sparkSession.conf.set(key, value)

    def getConf(self, key: str, defaultValue: str | None = _UNSET) -> str | None:
        """Return the text of a key."""
        return self.sparkSession.conf.get(key, defaultValue)

    def registerDataFrameAsTable(self, df: Any, tableName: str) -> None:
        """Have a name stand for a frame in queries."""
        df.createOrReplaceTempView(tableName)

    def registerFunction(self, name: str, f: Any, returnType: Any = None) -> Any:
        """Have queries call a function by a name."""
        return self.sparkSession.udf.register(name, f, returnType)

    def dropTempTable(self, tableName: str) -> None:
        """Forget a view."""
        self.sparkSession.catalog.dropTempView(tableName)

    def tables(self, dbName: str | None = None) -> Any:
        """Return the tables and views as a frame."""
        known = [
            ("".join(each.namespace or []), each.name, each.isTemporary)
            for each in self.sparkSession.catalog.listTables(dbName)
        ]
        schema = "namespace string, tableName string, isTemporary boolean"
        return self.sparkSession.createDataFrame(known, schema)

    def tableNames(self, dbName: str | None = None) -> list[str]:
        """Return the names of tables and views."""
        return [each.name for each in self.sparkSession.catalog.listTables(dbName)]

    def cacheTable(self, tableName: str) -> None:
        """Keep what a view gives."""
        self.sparkSession.catalog.cacheTable(tableName)

    def uncacheTable(self, tableName: str) -> None:
        """Keep what a view gives no longer."""
        self.sparkSession.catalog.uncacheTable(tableName)

    def clearCache(self) -> None:
        """Keep nothing of any view any more."""
        self.sparkSession.catalog.clearCache()

    def inferSchema(self, rdd: Any, samplingRatio: float | None = None) -> Any:
        """Do `createDataFrame`; the oldest name."""
        return self.sparkSession.createDataFrame(rdd, samplingRatio=samplingRatio)

    def applySchema(self, rdd: Any, schema: Any) -> Any:
        """Do `createDataFrame` with a schema; the oldest name."""
        return self.sparkSession.createDataFrame(rdd, schema)

    def jsonRDD(self, rdd: Any, schema: Any = None) -> Any:
        """Return a frame of an RDD of JSON texts; see `read.json`."""
        return self.sparkSession.read.json(rdd, schema)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.sparkSession, name)


class HiveContext(SQLContext):
    """The door to Hive, of which there is none: an SQLContext by another name."""


def is_remote() -> bool:
    """Return False: a session has its SparkContext in this process, not on a server."""
    return False


__all__ = [
    "HiveContext",
    "Row",
    "RuntimeConfig",
    "SQLContext",
    "SparkSession",
    "is_remote",
]
