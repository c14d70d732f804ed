"""Seeds: what the two test files of seeds share; two, so that two processes run them."""

import os
from collections import Counter

from tests.thoroughness import tries

from millstream.testing.sim import simulate

SEEDS = int(os.environ.get("MILLSTREAM_SIM_SEEDS", tries(40, 100)))
"""Few enough to wait for; .ci/run asks for more."""
RARE_FROM = 2000
"""With so many seeds every rare path must have been taken."""
BLOCK = min(50, SEEDS // 2)

MARKS: Counter[str] = Counter()

RARE = (
    "died",
    "start failed",
    "task died",
    "output failed",
    "receiver failed",
    "blocks lost",
    "a write to a log failed; trying again",
    "a log's last record was cut short by a crash",
    "a checkpoint couldn't be written",
    "batches come faster than they are processed",
    "graceful stop: time ran out before the last batch",
    "graceful stop: time ran out while received blocks waited",
    "receiver failed; it is launched again",
    "a received block couldn't be logged",
    "error generating jobs",
    "upgraded",
)
"""What each half of the seeds must meet: paths that only failures take."""


def run_block(first: int) -> None:
    """Run every second seed of a block."""
    broken = []
    for seed in range(first, first + 2 * BLOCK, 2):
        outcome = simulate(seed)
        MARKS.update(outcome.marks)
        if outcome.error is not None:
            broken.append(f"millstream-sim --seed {seed}: {outcome.error}")

    assert not broken, "\n".join(broken)


def unmet() -> list[str]:
    """Return the rare paths that no seed so far has taken."""
    return [rare for rare in RARE if not any(mark.startswith(rare) for mark in MARKS)]
