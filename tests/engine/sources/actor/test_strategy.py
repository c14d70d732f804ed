"""Tests of engine/sources/actor/strategy.py."""

import pytest

from millstream.engine.base.errors import SparkError
from millstream.engine.sources.actor.strategy import (
    Directive,
    OneForOneStrategy,
    decide,
)


@pytest.mark.parametrize(
    ("error", "directive"),
    [
        (RuntimeError(), Directive.RESTART),
        (NotImplementedError(), Directive.RESTART),
        (RecursionError(), Directive.RESTART),
        (ValueError(), Directive.ESCALATE),
        (OSError(), Directive.ESCALATE),
        (SparkError("it can't be stored"), Directive.ESCALATE),
    ],
)
def test_runtime_errors_restart_and_others_escalate(
    error: Exception, directive: Directive
) -> None:
    """That is the strategy when none is given: 10 restarts within 15 ms."""
    strategy = OneForOneStrategy()

    assert decide(error) is directive
    assert strategy.decider(error) is directive
    assert (strategy.restarts_max, strategy.within_ms) == (10, 15)
