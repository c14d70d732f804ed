"""Tests of the names under which errors are caught."""

import pickle

import pytest

from millstream import errors
from millstream.engine.base.errors import EngineError, MillstreamError


@pytest.mark.parametrize("name", errors.__all__)
def test_every_name_is_an_error_of_the_tree(name: str) -> None:
    """So that `except PySparkException` catches it, and it crosses processes."""
    kind = getattr(errors, name)
    error = pickle.loads(pickle.dumps(kind("text")))

    assert issubclass(kind, MillstreamError)
    assert type(error) is kind
    assert str(error) == "text"


def test_names_of_one_error_are_one_class() -> None:
    """Whichever name a program catches, it catches ours."""
    assert errors.PySparkException is MillstreamError
    assert issubclass(errors.IllegalArgumentException, ValueError)
    assert issubclass(errors.PySparkTypeError, TypeError)
    assert issubclass(errors.ParseException, errors.AnalysisException)
    assert issubclass(errors.AnalysisException, EngineError)
    assert issubclass(errors.JobFailedError, errors.PythonException)


def test_every_error_answers_what_pysparks_do() -> None:
    """With nothing, where there is nothing to say: programs ask before they know."""
    error = errors.PySparkValueError("text", condition="CODE")

    assert error.getCondition() == "CODE"
    assert error.getSqlState() is None
    assert error.getQueryContext() == []
    assert error.getBreakingChangeInfo() is None


def test_a_key_that_is_not_known_is_a_key_error_too() -> None:
    """And so with what isn't installed."""
    with pytest.raises(KeyError):
        raise errors.PySparkKeyError("no such key")
    assert issubclass(errors.PySparkImportError, ImportError)
