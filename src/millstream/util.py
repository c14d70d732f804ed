"""Helpers that PySpark programs import from `pyspark.util`."""

import threading
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = [
    "InheritableThread",
    "fail_on_stopiteration",
    "inheritable_thread_target",
    "keyword_only",
    "since",
]

T = TypeVar("T")


class InheritableThread(threading.Thread):
    """A thread that starts with the local properties of the thread that made it."""

    def __init__(self, target: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Take over this thread's properties now."""
        super().__init__(None, inheritable_thread_target(target), *args, **kwargs)


def inheritable_thread_target(f: Any = None) -> Any:
    """Return `f` wrapped so that it runs with the properties of this thread."""
    from millstream.context import SparkContext  # noqa: PLC0415  It imports util.

    if not callable(f):
        return inheritable_thread_target
    context = SparkContext._active_spark_context
    if context is None:
        return f
    properties = context._driver.properties
    inherited = properties.snapshot()

    def with_properties(*args: Any, **kwargs: Any) -> Any:
        properties.install(inherited)
        return f(*args, **kwargs)

    return with_properties


def fail_on_stopiteration(f: Callable[..., T]) -> Callable[..., T]:
    """Return `f` with StopIteration turned into an error that can't end a loop."""

    def guarded(*args: Any, **kwargs: Any) -> T:
        try:
            return f(*args, **kwargs)
        except StopIteration as error:
            msg = "Caught StopIteration thrown from user's code; failing the task"
            raise RuntimeError(msg) from error

    return guarded


def keyword_only(func: Callable[..., T]) -> Callable[..., T]:
    """Return a method that takes keyword arguments only and keeps them.

    They are in `self._input_kwargs`, as programs written for PySpark expect.
    """
    from functools import wraps  # noqa: PLC0415  Rarely used.

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
