"""Tests of engine/base/errors.py."""

import inspect
import pickle

import pytest

from millstream.engine.base import errors

ALL_ERRORS = [
    member
    for _, member in inspect.getmembers(errors, inspect.isclass)
    if issubclass(member, errors.MillstreamError)
]


@pytest.mark.parametrize("kind", ALL_ERRORS)
def test_every_error_pickles(kind: type[errors.MillstreamError]) -> None:
    """Message, hint and notes cross a process unchanged."""
    error = kind("went wrong")
    copy = pickle.loads(pickle.dumps(error))

    assert type(copy) is kind
    assert str(copy) == str(error)
    assert getattr(copy, "__notes__", []) == getattr(error, "__notes__", [])


def test_a_hint_is_shown_as_a_note() -> None:
    """The hint says what to do, once, and survives pickling."""
    error = errors.IllegalArgumentError("no", hint="yes")
    copy = pickle.loads(pickle.dumps(error))

    assert copy.__notes__ == ["hint: yes"]
    assert copy.hint == "yes"


def test_a_condition_is_part_of_the_text() -> None:
    """PySpark's error classes are told by condition and parameters."""
    error = errors.PySparkRuntimeError("text", condition="A_CONDITION", name="n")

    assert str(error) == "[A_CONDITION] text"
    assert error.getCondition() == error.getErrorClass() == "A_CONDITION"
    assert error.getMessageParameters() == {"name": "n"}
    assert error.getMessage() == "[A_CONDITION] text"


def test_engine_errors_offer_the_java_view() -> None:
    """Programs that catch Py4JJavaError ask for `java_exception`."""
    error = errors.SparkError("text")
    error.__cause__ = ValueError("cause")
    java = error.java_exception

    assert java.getMessage() == "text"
    assert java.toString() == str(java) == "SparkError: text"
    cause = java.getCause()
    assert cause is not None
    assert cause.getMessage() == "cause"
    assert cause.getCause() is None


def test_a_user_error_that_cannot_be_pickled_is_left_out() -> None:
    """The text stays; only the exception object is dropped."""

    class LocalError(Exception):
        pass

    error = errors.JobFailedError("text", user_error=LocalError())
    copy = pickle.loads(pickle.dumps(error))

    assert str(copy) == "text"
    assert copy.user_error is None


def test_an_internal_error_tells_its_story_in_order() -> None:
    """Earlier steps come first."""
    error = errors.InternalError("broken", story=("b",)).with_story("a")

    assert error.story == ("a", "b")
    assert error.getCondition() is None
    assert error.getMessageParameters() == {}
