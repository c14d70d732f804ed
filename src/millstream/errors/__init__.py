"""Errors by PySpark's names; the tree is in `millstream.engine.base.errors`."""

from millstream.engine.base.errors import (
    IllegalArgumentError as IllegalArgumentException,
)
from millstream.engine.base.errors import (
    IllegalStateError,
    JobCancelledError,
    JobFailedError,
    MissingDependencyError,
    NotSerializableError,
    OutputOperationError,
    PySparkAssertionError,
    PySparkAttributeError,
    PySparkIndexError,
    PySparkNotImplementedError,
    PySparkPicklingError,
    PySparkRuntimeError,
    PySparkTypeError,
    PySparkValueError,
    PythonException,
    UsageError,
)
from millstream.engine.base.errors import MillstreamError as PySparkException
from millstream.engine.base.errors import SparkError as SparkException
from millstream.engine.base.errors import SparkError as SparkRuntimeException
from millstream.engine.base.errors import (
    UnsupportedOperationError as UnsupportedOperationException,
)
from millstream.errors.sql import (
    AnalysisException,
    ArithmeticException,
    ArrayIndexOutOfBoundsException,
    DateTimeException,
    NumberFormatException,
    ParseException,
    QueryExecutionException,
    SessionNotSameException,
    SparkNoSuchElementException,
    SparkUpgradeException,
    StreamingQueryException,
    TempTableAlreadyExistsException,
    UnknownException,
)

__all__ = [
    "AnalysisException",
    "ArithmeticException",
    "ArrayIndexOutOfBoundsException",
    "DateTimeException",
    "IllegalArgumentException",
    "IllegalStateError",
    "JobCancelledError",
    "JobFailedError",
    "MissingDependencyError",
    "NotSerializableError",
    "NumberFormatException",
    "OutputOperationError",
    "ParseException",
    "PySparkAssertionError",
    "PySparkAttributeError",
    "PySparkException",
    "PySparkIndexError",
    "PySparkNotImplementedError",
    "PySparkPicklingError",
    "PySparkRuntimeError",
    "PySparkTypeError",
    "PySparkValueError",
    "PythonException",
    "QueryExecutionException",
    "SessionNotSameException",
    "SparkException",
    "SparkNoSuchElementException",
    "SparkRuntimeException",
    "SparkUpgradeException",
    "StreamingQueryException",
    "TempTableAlreadyExistsException",
    "UnknownException",
    "UnsupportedOperationException",
    "UsageError",
]
