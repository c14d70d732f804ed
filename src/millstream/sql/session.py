"""SparkSession: finds or makes the SparkContext; queries come with a later part."""

from typing import Any, ClassVar, NoReturn, Self

from millstream.conf import SparkConf
from millstream.context import SparkContext
from millstream.engine.base.errors import PySparkNotImplementedError

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
        """Return the session of the live SparkContext, or of a new one."""
        conf = SparkConf().setAll(self._options.items())
        return SparkSession(SparkContext.getOrCreate(conf))


class _BuilderOfClass:
    def __get__(self, _instance: Any, _owner: type) -> _Builder:
        return _Builder()


class SparkSession:
    """A door to SQL; in this version it leads to the SparkContext only."""

    builder: ClassVar[Any] = _BuilderOfClass()

    def __init__(self, sparkContext: SparkContext) -> None:
        """Wrap a SparkContext."""
        self._sc = sparkContext

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
