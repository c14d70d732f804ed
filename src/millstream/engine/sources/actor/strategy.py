"""Strategies: what becomes of a worker of an actor stream that raised."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum


class Directive(Enum):
    """What is done about a worker that raised."""

    RESUME = "resume"
    """It goes on with the next message, as it is."""
    RESTART = "restart"
    """It is made anew, and goes on with the next message."""
    STOP = "stop"
    """It ends; the others go on."""
    ESCALATE = "escalate"
    """The receiver restarts, with its first worker only."""


def decide(error: Exception) -> Directive:
    """Restart a worker after a RuntimeError of any kind, escalate everything else."""
    is_runtime = isinstance(error, RuntimeError)
    return Directive.RESTART if is_runtime else Directive.ESCALATE


@dataclass(frozen=True, slots=True)
class OneForOneStrategy:
    """Decides for each worker alone.

    One that would be restarted more than `restarts_max` times within `within_ms` escalates
    instead.
    """

    restarts_max: int = 10
    within_ms: float = 15.0
    decider: Callable[[Exception], Directive] = decide


@dataclass(frozen=True, slots=True)
class Statistics:
    """What a supervisor has seen since the receiver started."""

    numberOfMsgs: int
    """How often workers stored something."""
    numberOfWorkers: int
    """How many workers there are."""
    numberOfHiccups: int
    """How often a worker failed."""
    otherInfo: str
    """The workers' names, a line each."""
