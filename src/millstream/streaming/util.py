"""Helpers of the streaming faces: times and functions of one, two or three arguments."""

import inspect
from collections.abc import Callable
from datetime import datetime
from typing import Any

from millstream.engine.base.time import Duration, Time

__all__ = ["rddToFileName"]

_POSITIONAL = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
)


def rddToFileName(prefix: str, suffix: str | None, timestamp: Any) -> str:
    """Return `prefix-<ms>` or `prefix-<ms>.suffix`.

    >>> rddToFileName("spark", None, 12345678910)
    'spark-12345678910'
    >>> rddToFileName("spark", "tmp", 12345678910)
    'spark-12345678910.tmp'
    """
    if isinstance(timestamp, datetime):
        timestamp = round(timestamp.timestamp() * 1000)
    name = f"{prefix}-{timestamp}"
    return name if suffix is None else f"{name}.{suffix}"


def batch_datetime(time_ms: int) -> datetime:
    """Return a batch's time as PySpark hands it out: naive, local, whole ms."""
    seconds, ms = divmod(time_ms, 1000)
    return datetime.fromtimestamp(seconds).replace(microsecond=ms * 1000)  # noqa: DTZ006


def to_time_ms(value: Any) -> int:
    """Return ms since the epoch of a datetime (local if naive), a Time, or seconds."""
    if isinstance(value, datetime):
        return int(value.timestamp()) * 1000
    if isinstance(value, Time):
        return value.ms
    return int(value * 1000)


def argument_count(function: Callable[..., Any]) -> int:
    """Return how many positional arguments `function` takes.

    A plain function's defaulted arguments count, as PySpark counts them; a bound method's
    `self` does not. What has no signature (some builtins) counts as one.
    """
    code = getattr(function, "__code__", None)
    if code is not None and not inspect.ismethod(function):
        count: int = code.co_argcount
        return count
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 1
    kinds = [parameter.kind for parameter in parameters]
    if inspect.Parameter.VAR_POSITIONAL in kinds and not any(
        kind in _POSITIONAL for kind in kinds
    ):
        return 1  # print(*values): one RDD is what is meant.
    required = [
        parameter
        for parameter in parameters
        if parameter.kind in _POSITIONAL
        and parameter.default is inspect.Parameter.empty
    ]
    return max(1, len(required))


def with_time(function: Callable[..., Any], rdd_count: int) -> Callable[..., Any]:
    """Return `f(time in ms, *RDDs)` for a function with or without a time argument.

    Raises:
        AssertionError: It takes another number of arguments.
    """
    count = argument_count(function)
    if count == rdd_count:
        return lambda _time_ms, *rdds: function(*rdds)
    words = {1: "one or two", 2: "two or three"}[rdd_count]
    assert count == rdd_count + 1, f"func should take {words} arguments"
    return lambda time_ms, *rdds: function(batch_datetime(time_ms), *rdds)


def duration_ms(value: Any, what: str) -> int:
    """Return a duration in ms: seconds, or a Duration.

    Raises:
        PySparkTypeError: It is neither.
        PySparkValueError: It isn't a number.
    """
    from millstream.engine.base.errors import (  # noqa: PLC0415
        PySparkTypeError,
        PySparkValueError,
    )

    if isinstance(value, Duration):
        return value.ms
    if isinstance(value, bool) or not isinstance(value, int | float):
        msg = f"{what} must be seconds or a Duration, not {type(value).__name__}"
        raise PySparkTypeError(msg)
    try:
        return round(value * 1000)
    except (ValueError, OverflowError) as error:
        msg = f"{what} must be a finite number of seconds, not {value}"
        raise PySparkValueError(msg) from error
