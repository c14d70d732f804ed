"""Errors of SQL: what queries raise, by PySpark's names."""

from millstream.engine.base.errors import (
    EngineError,
    PySparkRuntimeError,
    UsageError,
)

__all__ = [
    "AnalysisException",
    "ArithmeticException",
    "ArrayIndexOutOfBoundsException",
    "DateTimeException",
    "NumberFormatException",
    "ParseException",
    "PickleException",
    "PySparkImportError",
    "PySparkKeyError",
    "QueryExecutionException",
    "SessionNotSameException",
    "SparkNoSuchElementException",
    "SparkUpgradeException",
    "StreamingQueryException",
    "TempTableAlreadyExistsException",
    "UnknownException",
]


class AnalysisException(EngineError):  # noqa: N818  PySpark's names, all of them.
    """A query that refers to what isn't there."""


class ParseException(AnalysisException):
    """A query that isn't SQL."""


class TempTableAlreadyExistsException(AnalysisException):
    """A temporary view of that name exists."""


class SessionNotSameException(PySparkRuntimeError):  # noqa: N818
    """Data of two sessions in one query."""


class QueryExecutionException(EngineError):  # noqa: N818
    """A query that failed while it ran."""


class StreamingQueryException(EngineError):  # noqa: N818
    """A streaming query that ended with an error."""


class ArithmeticException(EngineError):  # noqa: N818
    """A division by zero, or a number out of range."""


class ArrayIndexOutOfBoundsException(EngineError):  # noqa: N818
    """An index outside an array."""


class DateTimeException(EngineError):  # noqa: N818
    """A text that is no date or time."""


class NumberFormatException(EngineError):  # noqa: N818
    """A text that is no number."""


class SparkNoSuchElementException(EngineError):  # noqa: N818
    """A key that isn't there."""


class PickleException(EngineError):  # noqa: N818
    """A value or a function that couldn't be pickled for the engine."""


class PySparkImportError(UsageError, ImportError):
    """A package that a query needs, and that isn't installed."""


class PySparkKeyError(UsageError, KeyError):
    """A key that isn't known."""

    # KeyError's puts quotes around the message.
    __str__ = UsageError.__str__


class SparkUpgradeException(EngineError):  # noqa: N818
    """Data that another version understands in another way."""


class UnknownException(EngineError):  # noqa: N818
    """An error without a name of its own."""
