"""Tests of testing/sim: that a seed is a run, and that broken promises are found."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner

from millstream.engine.durable.write_ahead_log import FileLog
from millstream.engine.streams import recovery, scheduler
from millstream.engine.streams.ledger import BatchClosed, BlockLedger
from millstream.engine.streams.stateful import KeyedStateOperator
from millstream.testing.sim import simulate
from millstream.testing.sim.checks import expected_of
from millstream.testing.sim.cli import main
from millstream.testing.sim.program import OPERATIONS, Program
from millstream.testing.sim.world import Record
from millstream.testing.sim_storage import SimStorage

# What the simulation has found, by what was wrong:
FOUND = {
    0: "a graceful stop that ran out of time waited an hour for jobs nobody would run",
    9: "files of a stream that crashed before its first checkpoint",
    15: "blocks acknowledged before the first checkpoint",
    140: "an output that a restart forgot",
    286: "a block that was refused, and came back with a restart",
    713: "a batch's blocks, read from a log that wasn't synced, and lost later",
    216: "a job gave up when several outputs of one shuffle had gone",
}


@pytest.mark.slow
@pytest.mark.parametrize("seed", FOUND)
def test_what_was_found_stays_mended(seed: int) -> None:
    """The seeds that failed once."""
    assert simulate(seed).error is None


@pytest.mark.slow
def test_a_seed_is_one_run() -> None:
    """Turn for turn: again in this process, and in one that hashes text differently."""
    seeds = [0, 3, 10]
    first = [simulate(seed).digest for seed in seeds]
    script = (
        "from millstream.testing.sim import simulate\n"
        f"for seed in {seeds}: print(simulate(seed).digest)"
    )
    told = subprocess.run(
        [sys.executable, "-c", script],
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONHASHSEED": "77", "PYTHONPATH": ":".join(sys.path)},
    ).stdout.split()

    assert [simulate(seed).digest for seed in seeds] == first
    assert told == first
    assert len(set(first)) == 3


def without_sync(patch: pytest.MonkeyPatch) -> None:
    """Let logs promise what isn't on disk."""
    create = FileLog.__init__

    def careless(self: Any, *args: Any, **options: Any) -> None:
        create(self, *args, **{**options, "sync": False})

    patch.setattr(FileLog, "__init__", careless)


def forgets_a_block(patch: pytest.MonkeyPatch) -> None:
    """Let a batch leave a waiting block out of what it logs, and still take it."""
    close = BlockLedger.close

    def leaky(self: BlockLedger, batch_ms: int) -> BatchClosed | None:
        closed = close(self, batch_ms)
        if closed is None:
            return None
        return BatchClosed(batch_ms, {s: b[:2] for s, b in closed.blocks.items()})

    def drop(self: BlockLedger, event: Any) -> None:
        apply(self, event)
        if isinstance(event, BatchClosed):
            self.waiting = {s: b[1:] for s, b in self.waiting.items()}

    apply = BlockLedger.apply
    patch.setattr(BlockLedger, "close", leaky)
    patch.setattr(BlockLedger, "apply", drop)


def runs_less_again(patch: pytest.MonkeyPatch) -> None:
    """Let a restart forget what was pending."""
    plan = recovery.plan_restart

    def forgetful(checkpoint_ms: int, pending: Any, *rest: int) -> Any:
        del pending
        made = plan(checkpoint_ms, (), *rest)
        return recovery.RestartPlan(made.rerun_ms[1:], made.first_ms)

    patch.setattr(scheduler, "plan_restart", forgetful)


def loses_a_version(patch: pytest.MonkeyPatch) -> None:
    """Let a batch go on from the state of the batch before the one before."""
    before = KeyedStateOperator.before

    def older(self: KeyedStateOperator, time_ms: int) -> Any:
        return before(self, time_ms - self.slide_ms)

    patch.setattr(KeyedStateOperator, "before", older)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("plant", "found"),
    [
        (without_sync, "can't be started any more"),
        (forgets_a_block, "lost"),
        (runs_less_again, "never"),
        (loses_a_version, "a plain fold gives"),
    ],
)
def test_a_planted_bug_is_found(
    plant: Callable[[pytest.MonkeyPatch], None], found: str
) -> None:
    """Within a few seeds, by the check that is about it."""
    with pytest.MonkeyPatch.context() as patch:
        plant(patch)
        for seed in range(150):
            error = simulate(seed).error
            if error is not None and found in error:
                return
    pytest.fail("no seed found it")


def test_a_disk_that_is_another_machines_keeps_files() -> None:
    """What others put there is safe and whole."""
    disk = SimStorage()
    disk.put_file("/in/a", b"x")

    with disk.after_crash().open_input("/in/a") as source:
        assert source.read() == b"x"


def test_the_folds_are_the_plain_ones() -> None:
    """What the checks expect, worked out by hand."""
    program = Program("blocks", False, OPERATIONS, 1000, 1, 1)
    a, b = Record(0, 0, 0), Record(1, 1, 0)
    batches = {
        t * 1000: rows
        for t, rows in enumerate([(a, a), (b,), (a, a), (), (), (), (), ()], start=1)
    }

    def results(operation: str) -> dict[int, list[tuple[int, int]]]:
        found = expected_of(operation, program, batches)
        return {time // 1000: sorted(rows) for time, rows in found.items()}

    assert results("update")[3] == [(0, 4), (1, 1)]
    assert results("initial")[3] == [(0, 9), (1, 1), (7, 1)]
    assert results("forgetting")[3] == [(1, 1)]
    assert results("mapped")[3] == [(0, 3), (0, 4)]
    assert results("snapshots")[4] == [(0, 4), (1, 1)]
    assert results("idle")[6] == [(1, -1)]
    assert results("idle")[7] == [(0, -4)]
    assert results("window")[4] == [(0, 2), (1, 1)]
    assert results("sliding") == {
        2: [(0, 2), (1, 1)],
        4: [(0, 4), (1, 1)],
        6: [(0, 2)],
        8: [],
    }
    assert results("inverse")[8] == [(0, 2)]
    assert results("counts")[1] == [(0, 2)]


@pytest.mark.slow
def test_the_command_replays_a_seed() -> None:
    """It prints what happened, and says how it ended."""
    told = CliRunner().invoke(main, ["--seed", "3"])

    assert told.exit_code == 0
    assert "life 0 begins" in told.output
    assert "all promises kept" in told.output


@pytest.mark.slow
def test_the_command_tells_of_broken_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a status, and the command that runs each again."""
    loses_a_version(monkeypatch)
    for seed in range(40):
        if simulate(seed).error is not None:
            break
    told = CliRunner().invoke(main, ["--seed", str(seed)])

    assert told.exit_code == 1
    assert "BROKEN" in told.output
