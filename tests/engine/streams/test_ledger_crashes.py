"""Tests of the ledger of received blocks on a disk that crashes and fails.

The real tracker and log, without receivers: blocks come from the test.
"""

import itertools
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest

from millstream.engine.base import storage as storages
from millstream.engine.base.clock import ManualClock
from millstream.engine.base.config import Settings
from millstream.engine.base.errors import DurabilityError
from millstream.engine.durable.block_store import BlockStore
from millstream.engine.durable.driver_claim import DriverClaim
from millstream.engine.durable.write_ahead_log import FileLog
from millstream.engine.ingest.block_handler import StoredBlock
from millstream.engine.ingest.receiver import Receiver
from millstream.engine.streams.received_logs import ClaimedLog, TrackerLogs
from millstream.engine.streams.tracker import ReceiverTracker
from millstream.testing.sim_storage import (
    SimStorage,
    SimulatedCrashError,
    at_every_crash,
    at_every_failure,
)

STREAMS = (0, 1)
BATCH_MS = 1000
REMEMBERED = 3


@dataclass
class Told:
    """What the tracker has promised, over all lives."""

    acknowledged: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    """Blocks that it didn't acknowledge; they may be there all the same."""
    closed: dict[int, dict[int, list[str]]] = field(default_factory=dict)
    last_closed_ms: int | None = None
    forgotten_before_ms: int = 0
    """Batches before may be forgotten: that was asked for."""


class Life:
    """One process: a tracker that goes on from what the disk has."""

    def __init__(self, disk: SimStorage, told: Told, *, closes: bool = False) -> None:
        """Recover, as a restart does; segments are short, so that many are cleaned."""
        self.told = told
        self.clock = ManualClock()
        self.log = FileLog(
            "/ledger", rolling_ms=1500, closes_after_write=closes, storage=disk
        )
        self.tracker = ReceiverTracker(
            [(each, Receiver[str]()) for each in STREAMS],
            settings=Settings({}),
            clock=self.clock,
            blocks=BlockStore(1 << 20, Path("unused")),
            post=lambda _: None,
            logs=TrackerLogs(self.log),
        )
        self.tracker.recover(
            first_ms=told.forgotten_before_ms, closed_ms=told.last_closed_ms
        )
        # The one that the crash interrupted may be closed: then it stays as it is.
        for batch_ms in self.tracker._ledger.batches:
            told.closed.setdefault(batch_ms, self.blocks_of(batch_ms))

    def receive(self, stream_id: int, block_id: str) -> None:
        """Take a block."""
        self.told.refused.add(block_id)  # Unless it is told otherwise.
        if self.tracker.add_block(
            stream_id, StoredBlock(block_id, 1, self.clock.now_ms()), None
        ):
            self.told.refused.discard(block_id)
            self.told.acknowledged.add(block_id)

    def close(self, batch_ms: int) -> None:
        """Close a batch over what waits, and note what it got."""
        self.tracker.allocate_blocks_to_batch(batch_ms)
        if (self.tracker.last_closed_ms or 0) >= batch_ms:
            self.told.last_closed_ms = batch_ms
            self.told.closed[batch_ms] = self.blocks_of(batch_ms)

    def blocks_of(self, batch_ms: int) -> dict[int, list[str]]:
        """Return the ids of a batch's blocks, by stream."""
        return {
            each: [b.block_id for b in self.tracker.blocks_of(batch_ms, each)]
            for each in STREAMS
        }

    def forget(self, before_ms: int) -> None:
        """Forget batches."""
        self.told.forgotten_before_ms = max(self.told.forgotten_before_ms, before_ms)
        self.tracker.forget(before_ms)

    def run(self, first: int, last: int) -> None:
        """Receive, close and forget, batch by batch."""
        for batch in range(first, last + 1):
            begin_ms = (batch - 1) * BATCH_MS
            for number, stream_id in enumerate((0, 0, 1)):
                self.clock.set_ms(begin_ms + 300 * number + 1)
                self.receive(stream_id, f"{self.clock.now_ms()}-{id(self)}-{number}")
            self.clock.set_ms(batch * BATCH_MS)
            self.close(batch * BATCH_MS)
            if batch > REMEMBERED and batch % 3 == 0:  # Several segments at a time.
                self.forget((batch - REMEMBERED) * BATCH_MS)
        self.tracker.close_logs()

    def check(self) -> None:
        """Check that nothing is lost, and nothing is twice."""
        told, ledger = self.told, self.tracker._ledger
        for batch_ms, owned in told.closed.items():
            if batch_ms >= told.forgotten_before_ms:
                assert self.blocks_of(batch_ms) == owned, f"batch {batch_ms} changed"
        waiting = [b.block_id for blocks in ledger.waiting.values() for b in blocks]
        in_batches = [
            block_id
            for batch_ms in ledger.batches
            for blocks in self.blocks_of(batch_ms).values()
            for block_id in blocks
        ]
        found = waiting + in_batches
        assert len(found) == len(set(found)), "a block has two owners"
        assert set(found) <= told.acknowledged | told.refused
        had = {
            block_id
            for owned in told.closed.values()
            for block_id in itertools.chain(*owned.values())
        }
        assert not had & set(waiting), "a block that a batch has had waits again"
        lost = told.acknowledged - set(found) - had
        assert not lost, "an acknowledged block is in no batch and doesn't wait"


@pytest.mark.parametrize("closes", [False, True])
def test_a_crash_at_any_call_loses_no_acknowledged_block(closes: bool) -> None:
    """It is in exactly one batch, or waits; a closed batch has the blocks that it had.

    So it is when the tracker recovers, and when it has gone on and recovers again.
    """
    runs: list[Told] = []

    def scenario(storage: SimStorage) -> None:
        runs.append(Told())
        Life(storage, runs[-1], closes=closes).run(1, 7)

    for storage in at_every_crash(scenario):
        told = runs[-1]
        life = Life(storage, told, closes=closes)
        life.check()
        closed = life.tracker.last_closed_ms or 0
        life.run(closed // BATCH_MS + 1, 9)
        life.check()
        Life(storage.after_crash(), told, closes=closes).check()
    assert len(runs) > 7 * 4, "each fact is a call at least"


def test_two_crashes_in_a_row_lose_none_either() -> None:
    """The second one hits while the first one's leftovers are still there."""
    for first, second in itertools.product(range(1, 60, 3), range(1, 12)):
        told = Told()
        disk = SimStorage(crash_at=first, random=Random(f"{first} {second}"))
        for _ in range(2):
            try:
                life = Life(disk, told)
                life.check()
                closed = life.tracker.last_closed_ms or 0
                life.run(closed // BATCH_MS + 1, 7)
            except SimulatedCrashError:
                pass
            disk = disk.after_crash(crash_at=second)
        Life(disk.after_crash(), told).check()


@pytest.mark.slow
@pytest.mark.parametrize("closes", [False, True])
def test_a_crash_after_a_failure_loses_none_either(closes: bool) -> None:
    """Such as when an old segment wasn't deleted: what it says is old, too."""
    for failing, later in itertools.product(range(1, 100), range(1, 6)):
        told = Told()
        disk = SimStorage(
            fail_at={failing},
            crash_at=failing + later,
            random=Random(f"{failing} {later}"),
        )
        with suppress(SimulatedCrashError):
            Life(disk, told, closes=closes).run(1, 7)
        Life(disk.after_crash(), told, closes=closes).check()


@pytest.mark.parametrize("closes", [False, True])
def test_any_failing_call_loses_none(closes: bool) -> None:
    """The log tries again; who is refused is told so."""
    runs: list[Told] = []

    def scenario(storage: SimStorage) -> None:
        runs.append(Told())
        life = Life(storage, runs[-1], closes=closes)
        life.run(1, 6)
        life.check()

    for storage in at_every_failure(scenario):
        assert len(runs[-1].acknowledged) == 18
        assert not runs[-1].refused
        Life(storage, runs[-1], closes=closes).check()


def test_a_batch_that_cannot_be_closed_leaves_its_blocks_to_the_next() -> None:
    """The batch fails: neither memory nor the disk believes in a close that wasn't safe."""
    told = Told()
    disk = SimStorage()
    life = Life(disk, told)
    life.receive(0, "a")
    life.log._storage = disk.after_crash(fail_at=range(1, 99), loses_power=False)
    life.log._close_current()
    with pytest.raises(DurabilityError, match="can't have the 1 blocks that wait"):
        life.close(1000)
    assert life.blocks_of(1000) == {0: [], 1: []}
    life.log._storage = disk
    life.close(2000)

    assert life.blocks_of(2000) == {0: ["a"], 1: []}
    Life(disk.after_crash(), told).check()


def test_a_takeover_at_any_call_finds_all_that_was_acknowledged() -> None:
    """The newer driver reads which blocks there are, and which batch has them.

    Whatever call the older one is about to make: what it writes afterwards it believes no
    more than its receivers do.
    """
    takeovers = 0
    while True:
        found: list[SimStorage] = []
        is_on = False

        def on_call(path: str) -> None:
            nonlocal is_on
            if is_on and disk.calls >= takeovers:
                is_on = False
                DriverClaim.take_over("sim:/c", "newer")
                found.append(disk.after_crash(loses_power=False))

        disk = SimStorage(on_call=on_call)
        storages.mount("sim", disk)
        claim = DriverClaim.take_over("sim:/c", "older")
        told = Told()
        older = Life(disk, told)
        older.tracker._logs = TrackerLogs(ClaimedLog(older.log, claim))
        is_on = True
        with suppress(DurabilityError):
            older.run(1, REMEMBERED)
        is_on = False
        if not found:
            break
        takeovers += 1
        newer = Life(found[0], Told())
        assert told.acknowledged <= newer.tracker._ledger.known
        for batch_ms, blocks in told.closed.items():
            assert newer.blocks_of(batch_ms) == blocks
    assert takeovers > 20, "each fact is some calls"
