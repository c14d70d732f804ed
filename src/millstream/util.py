"""Helpers that PySpark programs import from `pyspark.util`."""

import re
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any, TypeVar

from millstream.engine.base.config import parse_size_bytes
from millstream.engine.base.errors import PySparkRuntimeError, PySparkValueError

__all__ = [
    "InheritableThread",
    "VersionUtils",
    "fail_on_stopiteration",
    "inheritable_thread_target",
    "keyword_only",
    "since",
]

T = TypeVar("T")


class InheritableThread(threading.Thread):
    """A thread that has the local properties of the thread that starts it."""

    def __init__(
        self,
        target: Callable[..., Any],
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        session: Any = None,
        **options: Any,
    ) -> None:
        """Take what `threading.Thread` takes; `session` has no effect yet."""
        del session
        self._inherit: Callable[[], None] = _nothing
        wrapped = self._with_properties(target)
        super().__init__(None, wrapped, args=args, kwargs=kwargs, **options)

    def start(self) -> None:
        """Start with the properties that the calling thread has now."""
        self._inherit = _properties_of_this_thread()
        super().start()

    def _with_properties(self, target: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(target)
        def inheriting(*args: Any, **kwargs: Any) -> Any:
            self._inherit()
            return target(*args, **kwargs)

        return inheriting


def inheritable_thread_target(f: Any = None) -> Any:
    """Return `f` wrapped so that it runs with the properties that this thread has now.

    Without a function, or with a session, a decorator that does so.
    """
    if not callable(f):
        return inheritable_thread_target
    inherit = _properties_of_this_thread()

    @wraps(f)
    def inheriting(*args: Any, **kwargs: Any) -> Any:
        inherit()
        return f(*args, **kwargs)

    return inheriting


def _properties_of_this_thread() -> Callable[[], None]:
    from millstream.context import SparkContext  # noqa: PLC0415  It imports util.

    context = SparkContext._active_spark_context
    if context is None:
        return _nothing
    properties = context._driver.properties
    inherited = properties.snapshot()
    return lambda: properties.install(inherited)


def _nothing() -> None:
    """There is no context whose properties could be inherited."""


def fail_on_stopiteration(f: Callable[..., T]) -> Callable[..., T]:
    """Return `f` with StopIteration turned into an error that can't end a loop."""

    @wraps(f)
    def guarded(*args: Any, **kwargs: Any) -> T:
        try:
            return f(*args, **kwargs)
        except StopIteration as error:
            msg = "Caught StopIteration thrown from user's code; failing the task"
            condition = "STOP_ITERATION_OCCURRED"
            raise PySparkRuntimeError(msg, condition=condition) from error

    return guarded


def keyword_only(func: Callable[..., T]) -> Callable[..., T]:
    """Return a method that takes keyword arguments only and keeps them.

    They are in `self._input_kwargs`, as programs written for PySpark expect.
    """

    @wraps(func)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> T:
        if args:
            msg = f"Method {func.__name__} only takes keyword arguments."
            raise TypeError(msg)
        self._input_kwargs = kwargs
        return func(self, **kwargs)

    return wrapper


def since(version: str | float) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Return a decorator that notes the version in which something appeared."""

    def mark(function: Callable[..., T]) -> Callable[..., T]:
        function.__doc__ = (
            f"{(function.__doc__ or '').rstrip()}\n\n.. versionadded:: {version}"
        )
        return function

    return mark


class VersionUtils:
    """Takes version numbers apart."""

    @staticmethod
    def majorMinorVersion(sparkVersion: str) -> tuple[int, int]:
        """Return the first two numbers of a version.

        >>> VersionUtils.majorMinorVersion("3.5.0-SNAPSHOT")
        (3, 5)

        Raises:
            PySparkValueError: It doesn't begin with two numbers.
        """
        found = re.match(r"(\d+)\.(\d+)(\..*)?$", sparkVersion)
        if found is None:
            msg = f"Spark tried to parse '{sparkVersion}' as a version, but could not"
            raise PySparkValueError(msg, hint="it needs to look like 3.5.0")
        return int(found[1]), int(found[2])


def _parse_memory(s: str) -> int:
    """Return a size such as 256m or 2g in MiB.

    >>> _parse_memory("2g")
    2048
    """
    if not s or s[-1].lower() not in "kmgt":
        msg = f"invalid format: {s}"
        raise PySparkValueError(msg, hint="give a number and one of k, m, g, t")
    try:
        return parse_size_bytes(s) >> 20
    except ValueError:
        return int(float(s[:-1]) * parse_size_bytes(f"1{s[-1]}")) >> 20
