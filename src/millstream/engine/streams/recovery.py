"""Recovery: which batches run again after a restart. A core: pure."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RestartPlan:
    """What a restarted stream does first."""

    rerun_ms: tuple[int, ...]
    """Batches to run again, in order, before any new one."""
    first_ms: int
    """The first new batch, on the grid of before the crash."""


def plan_restart(
    checkpoint_ms: int,
    pending_ms: Iterable[int],
    now_ms: int,
    zero_ms: int,
    batch_ms: int,
) -> RestartPlan:
    """Return the plan for a checkpoint taken at `checkpoint_ms`.

    Runs again what was pending then, the checkpointed batch itself, and every batch
    missed while the stream was down. The grid stays the one `zero_ms` began; at that time
    itself there is a checkpoint, but no batch.

    >>> plan_restart(8000, [7000, 8000], 11300, 0, 1000)
    RestartPlan(rerun_ms=(7000, 8000, 9000, 10000, 11000), first_ms=12000)
    """
    first = ((now_ms - zero_ms) // batch_ms + 1) * batch_ms + zero_ms
    missed = range(max(checkpoint_ms, zero_ms + batch_ms), first, batch_ms)
    again = sorted({time for time in (*pending_ms, *missed) if time < first})
    return RestartPlan(tuple(again), first)
