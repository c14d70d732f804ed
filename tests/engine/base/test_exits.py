"""A SystemExit where it can end nothing is an error that says so."""

import sys

import pytest

from millstream.engine.base.exits import ExitCalledError, error_of
from millstream.planning import PlanMade
from millstream.streaming.signals import EndRequested, StopRequested


def leave(code: object) -> None:
    """Be the program's function."""
    sys.exit(code)  # type: ignore[arg-type]


@pytest.mark.parametrize("code", [3, 0, None, "no more"])
def test_an_exit_is_told_with_its_code_and_where_it_was_called(code: object) -> None:
    """The line is the program's."""
    with pytest.raises(SystemExit) as raised:
        leave(code)
    error = error_of(raised.value)

    assert isinstance(error, ExitCalledError)
    assert str(error).startswith(f"sys.exit({code!r}) was called")
    assert "stop()" in error.__notes__[0]
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    assert trace is not None
    assert trace.tb_frame.f_code is leave.__code__


@pytest.mark.parametrize(
    "exit_", [StopRequested(0), EndRequested(143), PlanMade(0)], ids=repr
)
def test_what_the_engine_means_to_end_the_program_does(exit_: SystemExit) -> None:
    """A signal's, and a command's that has seen enough."""
    assert error_of(exit_) is exit_
