"""Whole streams with crashes: the even seeds."""

import pytest
from tests.testing.sim.seeds import BLOCK, MARKS, RARE_FROM, SEEDS, run_block, unmet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.mark.parametrize("first", range(0, SEEDS, 2 * BLOCK))
def test_every_promise_is_kept(first: int) -> None:
    """Whatever fails, as the fault model says; the simulation's checks say what holds."""
    run_block(first)


def test_the_rare_paths_were_taken() -> None:
    """The seeds have met each failure that they are for."""
    if SEEDS < RARE_FROM or not MARKS:
        pytest.skip("too few seeds were run")
    assert unmet() == []
