"""Whole streams that read by ranges and commit to sinks: each record once in the end."""

from typing import Any

import pytest
from tests.testing.sim.seeds import SEEDS
from tests.thoroughness import tries

from millstream.engine.streams.direct import DirectInput
from millstream.engine.streams.sink_output import SinkOutput
from millstream.testing.sim import simulate

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

_BLOCK = tries(10, 25)
_STREAMS = max(_BLOCK, SEEDS // 8 // _BLOCK * _BLOCK)

_TELLING = 40
"""A seed that has shown both mistakes below: those before it take longer to."""

FOUND = {
    0: "a checkpoint written while batches ran again was taken for an older program's",
}


@pytest.mark.parametrize("first", range(0, _STREAMS, _BLOCK))
def test_sinks_have_what_batches_had(first: int) -> None:
    """Whatever becomes of processes, disks, sources, tasks and the steps of a commit."""
    broken = []
    for seed in range(first, first + _BLOCK):
        outcome = simulate(seed, has_sinks=True)
        if outcome.error is not None:
            broken.append(f"millstream-sim --sinks --seed {seed}: {outcome.error}")

    assert not broken, "\n".join(broken)


@pytest.mark.parametrize("seed", FOUND)
def test_what_was_found_stays_mended(seed: int) -> None:
    """The seeds that failed once."""
    assert simulate(seed, has_sinks=True).error is None


def _broken(symptom: str) -> bool:
    """Say whether one of some seeds shows what is wrong."""
    seeds = range(_TELLING, _TELLING + 60)
    errors = (simulate(seed, has_sinks=True).error for seed in seeds)
    return any(symptom in (error or "") for error in errors)


def test_a_batch_left_behind_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mark that goes past a batch which has failed."""
    commit = SinkOutput._commit

    def forget(self: Any, until_ms: int) -> None:
        self._waiting = {t: rdd for t, rdd in self._waiting.items() if t >= until_ms}
        commit(self, until_ms)

    monkeypatch.setattr(SinkOutput, "_commit", forget)
    assert _broken("aren't in the sink of")


def test_a_batch_that_reads_anew_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranges that a checkpoint doesn't have."""
    position = DirectInput.position

    def without_ranges(self: Any) -> Any:
        return {**position(self), "ranges": {}}

    monkeypatch.setattr(DirectInput, "position", without_ranges)
    assert _broken("had other records when it ran again")
