"""SparkSession: finds or makes the SparkContext; queries come with a later part."""

from typing import Any, ClassVar, Final, NoReturn, Self

from millstream.conf import SparkConf
from millstream.context import SparkContext
from millstream.engine.base.errors import PySparkNotImplementedError
from millstream.errors.sql import SparkNoSuchElementException

_UNSET: Final[Any] = object()
_HINT = "see 'what works today' in README.md"


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

    What is set here reaches no running part of the context, as in Spark.
    """

    def __init__(self, conf: SparkConf) -> None:
        """Begin with a copy of the context's settings."""
        self._conf = dict(conf.getAll())

    def set(self, key: str, value: str | int | bool) -> None:
        """Set a key."""
        is_flag = isinstance(value, bool)
        self._conf[key] = str(value).lower() if is_flag else str(value)

    def get(self, key: str, default: str | None = _UNSET) -> str | None:
        """Return the text of a key, else `default`.

        Raises:
            SparkNoSuchElementException: It isn't set, and there is no default.
        """
        if key in self._conf:
            return self._conf[key]
        if default is _UNSET:
            msg = f'[SQL_CONF_NOT_FOUND] The SQL config "{key}" cannot be found.'
            raise SparkNoSuchElementException(msg, hint="pass a default")
        return default

    @property
    def getAll(self) -> dict[str, str]:
        """All settings."""
        return dict(self._conf)

    def unset(self, key: str) -> None:
        """Forget a key."""
        self._conf.pop(key, None)

    def isModifiable(self, key: str) -> bool:
        """Say whether setting a key can have an effect: none can, without SQL."""
        del key
        return False


class SparkSession:
    """A door to SQL; in this version it leads to the SparkContext only."""

    builder: ClassVar[_BuilderOfClass] = _BuilderOfClass()
    _active: ClassVar["SparkSession | None"] = None

    def __init__(self, sparkContext: SparkContext) -> None:
        """Wrap a SparkContext."""
        self._sc = sparkContext
        self._runtime_conf = RuntimeConfig(sparkContext.getConf())
        SparkSession._active = self

    @classmethod
    def getActiveSession(cls) -> "SparkSession | None":
        """Return the session of the live SparkContext, or None."""
        session, live = cls._active, SparkContext._active_spark_context
        return session if session and live and session._sc is live else None

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

    def stop(self) -> None:
        """Stop the SparkContext."""
        self._sc.stop()
        SparkSession._active = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(name)
        msg = f"SparkSession.{name} is SQL, which is not part of this version yet"
        raise PySparkNotImplementedError(msg, hint=_HINT)


class SQLContext:
    """The older door to SQL; not part of this version."""

    def __init__(self, sparkContext: SparkContext, *_more: Any) -> None:
        """Refuse."""
        del sparkContext
        msg = f"{type(self).__name__} is SQL, which is not part of this version yet"
        raise PySparkNotImplementedError(msg, hint=_HINT)


class HiveContext(SQLContext):
    """The door to Hive; not part of this version."""
