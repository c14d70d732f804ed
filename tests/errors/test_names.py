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
