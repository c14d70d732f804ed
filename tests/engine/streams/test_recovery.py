"""Tests of engine/streams/recovery.py."""

from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.streams.recovery import plan_restart


def test_the_worked_example() -> None:
    """Checkpoint at 8 s with 7 and 8 pending, restarted at 11.3 s (SCH-12)."""
    plan = plan_restart(8000, [7000, 8000], 11_300, 0, 1000)

    assert plan.rerun_ms == (7000, 8000, 9000, 10_000, 11_000)
    assert plan.first_ms == 12_000


@given(
    st.integers(0, 50),
    st.integers(1, 20),
    st.sets(st.integers(0, 20)),
    st.integers(0, 30_000),
    st.integers(1, 500),
)
def test_every_batch_runs_once_on_the_old_grid(
    zero: int, checkpoint: int, pending: set[int], passed: int, batch: int
) -> None:
    """No batch from the checkpoint on is missing or doubled; new ones follow at once."""
    checkpoint_ms = zero + checkpoint * batch
    pending_ms = [zero + p * batch for p in pending if p <= checkpoint]
    now_ms = checkpoint_ms + passed
    plan = plan_restart(checkpoint_ms, pending_ms, now_ms, zero, batch)

    assert list(plan.rerun_ms) == sorted(set(plan.rerun_ms))
    assert all((time - zero) % batch == 0 for time in (*plan.rerun_ms, plan.first_ms))
    assert plan.first_ms - batch <= now_ms < plan.first_ms
    missed = set(range(checkpoint_ms, plan.first_ms, batch))
    assert set(plan.rerun_ms) == missed | set(pending_ms)
