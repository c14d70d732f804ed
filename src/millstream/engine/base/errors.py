"""Errors: every exception that Millstream raises on purpose, in one tree.

    MillstreamError                      (also `pyspark.errors.PySparkException`)
    |-- UsageError                       you can fix it: a bad argument, a wrong call
    |   |-- PySparkValueError, ...TypeError, ...RuntimeError, ...AttributeError,
    |   |   ...NotImplementedError, ...PicklingError, ...IndexError, ...AssertionError
    |   `-- MissingDependencyError       an extra that isn't installed
    |-- EngineError                      what PySpark raises as `Py4JJavaError`
    |   |-- IllegalArgumentError         (also ValueError)
    |   |-- IllegalStateError            (also RuntimeError)
    |   |-- UnsupportedOperationError    (also RuntimeError)
    |   |-- NotSerializableError         (also pickle.PicklingError)
    |   |-- SparkError                   Spark's own `SparkException`
    |   |-- PythonException              user code failed
    |   |   |-- JobFailedError           a job gave up; carries the user's traceback
    |   |   `-- OutputOperationError     an output operation of a batch raised
    |   |-- JobCancelledError            somebody cancelled the job
    |   |-- FileAlreadyExistsError       an output directory is there already
    |   `-- DurabilityError              the disk, the log or a checkpoint failed
    |       `-- TakenOverError           another driver has the checkpoint directory
    `-- InternalError                    our bug; carries the story

Messages are short, lower case where they are ours, and Spark's own words where programs
match on them. What to do about it travels as an exception note (`hint`).
Every class pickles with its hint, so an error crosses a process unchanged.
"""

import pickle
from typing import Any, Self


class MillstreamError(Exception):
    """Root of all errors; `hint` says what to do and is shown as a note."""

    def __init__(self, message: str = "", *, hint: str | None = None) -> None:
        """Keep the message; add `hint` as a note."""
        super().__init__(message)
        self.message = message
        self.hint = hint
        if hint:
            self.add_note(f"hint: {hint}")

    def __reduce__(self) -> tuple[Any, ...]:
        """Rebuild from the arguments and the attributes: keyword-only ones too."""
        return _rebuild, (type(self), self.args, dict(self.__dict__))

    # PySpark's error interface; its programs ask these of any error they catch.

    def getCondition(self) -> str | None:
        """Return the error condition's name, or None where there is none."""
        return None

    def getErrorClass(self) -> str | None:
        """Return the older name for the condition."""
        return self.getCondition()

    def getMessageParameters(self) -> dict[str, str]:
        """Return the values inside the message, by name."""
        return {}

    def getMessage(self) -> str:
        """Return the message."""
        return str(self)

    def getSqlState(self) -> str | None:
        """Return the code of SQL's standard, or None where there is none."""
        return None

    def getQueryContext(self) -> list[Any]:
        """Return the places in the query's text; only errors of queries have any."""
        return []

    def getBreakingChangeInfo(self) -> Any:
        """Return None: no change of Spark's is behind it."""
        return None


def _rebuild(
    kind: type[MillstreamError], args: tuple[Any, ...], state: dict[str, Any]
) -> MillstreamError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class UsageError(MillstreamError):
    """A call the program can mend."""


class _ConditionError(UsageError):
    """A usage error that carries Spark's error condition, shown as `[CONDITION] text`."""

    def __init__(
        self,
        message: str = "",
        *,
        condition: str | None = None,
        hint: str | None = None,
        **parameters: str,
    ) -> None:
        text = f"[{condition}] {message}" if condition else message
        super().__init__(text, hint=hint)
        self.condition = condition
        self.parameters = parameters

    def getCondition(self) -> str | None:
        return self.condition

    def getMessageParameters(self) -> dict[str, str]:
        return dict(self.parameters)


class PySparkValueError(_ConditionError, ValueError):
    """A value that can't be used."""


class PySparkTypeError(_ConditionError, TypeError):
    """A value of the wrong type."""


class PySparkRuntimeError(_ConditionError, RuntimeError):
    """A call that isn't possible here or now."""


class PySparkAttributeError(_ConditionError, AttributeError):
    """An attribute that isn't there."""


class PySparkIndexError(_ConditionError, IndexError):
    """An index out of range."""


class PySparkAssertionError(_ConditionError, AssertionError):
    """A broken condition."""


class PySparkNotImplementedError(_ConditionError, NotImplementedError):
    """An API that only the JVM has; the hint names the alternative."""


class PySparkPicklingError(_ConditionError, pickle.PicklingError):
    """A function or value that can't be pickled."""


class MissingDependencyError(UsageError, ImportError):
    """An optional library isn't installed; the hint says which command installs it."""


class EngineError(MillstreamError):
    """A refusal or failure of the engine; PySpark programs catch it as `Py4JJavaError`."""

    @property
    def java_exception(self) -> "JavaException":
        """What `Py4JJavaError.java_exception` offers: getMessage, getCause, toString."""
        return JavaException(self)


class JavaException:
    """The view of an error that programs written against Py4J expect."""

    def __init__(self, error: BaseException) -> None:
        """Wrap `error`."""
        self._error = error

    def getMessage(self) -> str:
        """Return the message."""
        return str(self._error)

    def getCause(self) -> "JavaException | None":
        """Return the cause, or None."""
        cause = self._error.__cause__
        return None if cause is None else JavaException(cause)

    def toString(self) -> str:
        """Return class name and message."""
        return f"{type(self._error).__name__}: {self._error}"

    __str__ = toString


class IllegalArgumentError(EngineError, ValueError):
    """Spark's IllegalArgumentException ("requirement failed: ...")."""


class IllegalStateError(EngineError, RuntimeError):
    """Spark's IllegalStateException."""


class UnsupportedOperationError(EngineError, RuntimeError):
    """Spark's UnsupportedOperationException."""


class NotSerializableError(EngineError, pickle.PicklingError):
    """Spark's NotSerializableException: something can't travel or be checkpointed."""


class SparkError(EngineError):
    """Spark's SparkException."""


class PythonException(EngineError):  # noqa: N818  PySpark's name.
    """User code failed; `pyspark.errors.PythonException` is this class."""


class WorkerLostError(SparkError):
    """A task ended with the worker process that ran it."""


class JobFailedError(PythonException):
    """A job gave up on a task.

    `user_error` is the exception that user code raised, when it pickles; `__cause__` is the
    same object where the error was raised in this process.
    """

    def __init__(
        self,
        message: str = "",
        *,
        user_error: BaseException | None = None,
        hint: str | None = None,
    ) -> None:
        """Keep the exception the user's function raised beside the message."""
        super().__init__(message, hint=hint)
        self.user_error = user_error

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without an error object that can't be pickled: the text has it all."""
        state = dict(self.__dict__)
        try:
            pickle.dumps(state["user_error"])
        except Exception:
            state["user_error"] = None
        return _rebuild, (type(self), self.args, state)


class OutputOperationError(PythonException):
    """An output operation of a batch raised; the text holds the Python traceback."""


class JobCancelledError(EngineError):
    """The job was cancelled before it could finish."""


class FileAlreadyExistsError(EngineError, FileExistsError):
    """An output directory exists already."""


class DurabilityError(EngineError):
    """Something that must be on disk isn't, or can't be read back."""


class TakenOverError(DurabilityError):
    """A newer driver has taken over the checkpoint directory: this one must end."""


class InternalError(MillstreamError):
    """A broken rule inside Millstream; please report it with the story it carries."""

    def __init__(self, message: str = "", *, story: tuple[str, ...] = ()) -> None:
        """Keep what happened before, oldest first."""
        super().__init__(message, hint="this is a bug in Millstream; please report it")
        self.story = story

    def with_story(self, *steps: str) -> Self:
        """Add earlier steps to the story and return this error."""
        self.story = (*steps, *self.story)
        return self
