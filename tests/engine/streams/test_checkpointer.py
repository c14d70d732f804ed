"""Tests of streams/checkpointer.py: in its real order, on a disk that crashes and fails."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from millstream.engine.base import storage as storages
from millstream.engine.base.errors import (
    DurabilityError,
    MillstreamError,
    TakenOverError,
)
from millstream.engine.base.threads import SerialLoop
from millstream.engine.durable import checkpoint_files
from millstream.engine.durable.checkpoint_files import CheckpointFiles
from millstream.engine.durable.driver_claim import DriverClaim
from millstream.engine.durable.state_files import StateFiles
from millstream.engine.durable.state_memory import StateMemory
from millstream.engine.durable.state_values import thaw_state
from millstream.engine.streams import manifest as manifests
from millstream.engine.streams.checkpointer import (
    Checkpointer,
    Program,
)
from millstream.engine.streams.manifest import Manifest
from millstream.engine.streams.opening import needs_of_parts, open_states
from millstream.testing import StreamHarness
from millstream.testing.sim_storage import SimStorage, SimulatedCrashError

DIRECTORY = "sim:/c"
BATCH_MS = 1000
CHAIN_MAX = 2


def words_of(batch: int) -> list[str]:
    """Return what batch 1, 2, ... has; every fourth has nothing."""
    return [] if batch % 4 == 0 else ["all", f"word-{batch % 3}"]


def counts_after(batches: int) -> dict[str, int]:
    """Return what the state is after so many batches."""
    return dict(Counter(w for n in range(1, batches + 1) for w in words_of(n)))


def count(new: list[int], old: int | None) -> int:
    """Add up."""
    return sum(new) + (old or 0)


class Inline(SerialLoop):
    """Does what is posted at once, on the caller's thread; `holds` keeps it waiting."""

    def __init__(self) -> None:
        """Do it at once."""
        super().__init__("inline", lambda _: None)
        self.holds = False
        self._held: list[Callable[[], None]] = []

    def start(self) -> None:
        """Do nothing."""

    def post(self, work: Callable[[], None]) -> None:
        """Do it, or keep it."""
        self._held.append(work)
        if not self.holds:
            self.release()

    def release(self) -> None:
        """Do what was kept."""
        held, self._held = self._held, []
        for work in held:
            work()


class Life:
    """One process: a stream that counts words, from a start or restart to its end.

    Batches run as the scheduler runs them, one after the other, on one thread.
    """

    def __init__(
        self,
        h: StreamHarness,
        disk: SimStorage,
        batches: int = 20,
        claim: DriverClaim | None = None,
    ) -> None:
        """Build the stream; go on from the disk's newest checkpoint when it has one."""
        storages.mount("sim", disk)
        script = [[(w, 1) for w in words_of(n)] for n in range(1, batches + 1)]
        counts = h.stream(script, 1).updateStateByKey(count, 1)
        counts.checkpoint(1.0)  # Less is remembered, so that it is merged sooner.
        counts.foreachRDD(lambda _: None)  # The checkpoint is who asks for it.
        self.graph = h.ssc._graph
        self.graph.has_checkpoint_dir = lambda: True  # Nothing else asks for one.
        self.files = CheckpointFiles(DIRECTORY, needs_of=needs_of_parts)
        self.loop = Inline()
        self.errors: list[BaseException] = []
        self.done: list[int] = []
        """Batches whose end is safe."""
        self.checkpointer = Checkpointer(
            self.graph,
            Program("app", "local", DIRECTORY, {}),
            self.files,
            lambda: b"functions",
            self.errors.append,
            self.loop,
            claim=claim,
        )
        self.restored = self.files.newest(lambda parts: manifests.decode(parts[0]))
        self._start()

    def _start(self) -> None:
        self.checkpointer.start()
        if self.restored is None:
            self.graph.start(0)
        else:
            self.graph.restart(self.restored.zero_ms, 0)
        memory = StateMemory(1 << 30, Path())
        open_states(self.graph, DIRECTORY, self.restored, CHAIN_MAX, memory)
        (self.state,) = self.graph.keyed_states()
        if self.restored is None:
            self.checkpointer.at_start()

    @property
    def first_batch(self) -> int:
        """The batch that comes first in this life."""
        if self.restored is None:
            return 1
        return max(1, self.restored.first_rerun_ms // BATCH_MS)

    def run(self, batch: int) -> None:
        """Run one batch to its end."""
        self.generate(batch)
        self.finish(batch)

    def generate(self, batch: int) -> None:
        """Make a batch's jobs, note that it is pending, and run them."""
        time_ms = batch * BATCH_MS
        jobs = self.graph.generate_jobs(time_ms)
        self.checkpointer.after_generating(time_ms, [time_ms], lambda _: None)
        for job in jobs:
            job.run()

    def finish(self, batch: int) -> None:
        """Make safe that a batch is done."""
        time_ms = batch * BATCH_MS

        def on_done(is_safe: bool) -> None:
            if is_safe:
                self.done.append(batch)
                self.checkpointer.after_commit(time_ms)

        self.checkpointer.after_batch(time_ms, [], on_done)
        self.graph.clear_metadata(time_ms)


@pytest.fixture(autouse=True)
def _few_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let two batches' checkpoints be kept, so that there is much to clean."""
    monkeypatch.setattr(checkpoint_files, "KEPT_MAX", 4)


@pytest.fixture
def contexts() -> Iterator[Callable[[], StreamHarness]]:
    """Give what makes harnesses; none of them starts its own threads."""
    made: list[StreamHarness] = []

    def make() -> StreamHarness:
        for each in made:
            each.sc.stop()
        made[:] = [StreamHarness(master="local")]
        return made[0]

    yield make
    for each in made:
        each.sc.stop()


Read = dict[tuple[bytes, ...], dict[str, int]]
"""What was read already, by the contents of all its files in their order."""


def state_of(
    facts: Manifest, version: int | None = None, read: Read | None = None
) -> dict[str, int]:
    """Read a checkpoint's state, as a restart from it would: its newest version's.

    `read` is looked at first: what files mean depends on nothing but their contents.
    """
    (record,) = facts.states.values()
    uri = manifests.absolute(DIRECTORY, record["directory"])
    files = StateFiles.restore(uri, record, chain_max=CHAIN_MAX)
    if version is None:
        files.rewind(facts.time_ms)
        version = files.latest
    if version is None:
        return {}
    with files.reading(version) as reading:
        contents = tuple(contents_of(f"{uri}/{name}") for name in reading.names)
    known = {} if read is None else read
    if contents not in known:
        known[contents] = {
            key: thaw_state(state)
            for part in files.load(version)
            for key, state in zip(part.keys, part.states, strict=True)
        }
    return known[contents]


def contents_of(uri: str) -> bytes:
    """Return what a file has in it."""
    storage, path = storages.open_storage(uri)
    with storage.open_input(path) as source:
        return source.read()


def check_every_checkpoint(
    disk: SimStorage, read: Read | None = None
) -> list[Manifest]:
    """Check that a restart from any checkpoint that is there finds its state whole."""
    read = {} if read is None else read
    storages.mount("sim", disk)
    files = CheckpointFiles(DIRECTORY)
    found = [manifests.decode(files.read(file)[0]) for file in files.files()]
    for facts in found:
        done = facts.time_ms // BATCH_MS - 1
        assert state_of(facts, read=read) == counts_after(done)
        (record,) = facts.states.values()
        for version, _, _ in record["versions"]:
            expected = counts_after(version // BATCH_MS)
            assert state_of(facts, version, read) == expected
    return found


def lives(
    contexts: Callable[[], StreamHarness], disk: SimStorage, batches: int
) -> Iterator[Life]:
    """Give one life on the disk, then run it up to `batches`."""
    life = Life(contexts(), disk)
    yield life
    for batch in range(life.first_batch, batches + 1):
        life.run(batch)


@pytest.mark.slow
@pytest.mark.parametrize("had_a_life", [False, True])
def test_a_crash_at_any_call_leaves_a_checkpoint_and_all_it_names(
    had_a_life: bool, contexts: Callable[[], StreamHarness]
) -> None:
    """Commit, checkpoint, rotate, compact, clean: each may be the last thing that happens.

    So it is in a first life, and in one that restarted. Every checkpoint that is left can
    be restored, not the newest alone; the newest has what was said to be safe, and the
    stream goes on from it to the end that it would have had.
    """
    batches = 9
    number = crashes = 0
    read: Read = {}
    while True:
        number += 1
        disk = SimStorage(random=Random(number))
        if had_a_life:
            for _ in lives(contexts, disk, 4):
                pass
        disk = disk.after_crash(crash_at=number, loses_power=False)
        life: Life | None = None
        try:
            for each in lives(contexts, disk, batches):
                life = each
        except SimulatedCrashError:
            crashes += 1
        left = disk.after_crash()
        found = check_every_checkpoint(left, read)
        done = max(life.done, default=0) if life is not None else 0
        newest = CheckpointFiles(DIRECTORY).newest(
            lambda parts: manifests.decode(parts[0])
        )
        if newest is not None:
            assert newest.time_ms >= done * BATCH_MS
        else:
            assert not found
            assert not done
        for each in lives(contexts, left, batches + 2):
            life = each
        (*_, last) = check_every_checkpoint(left, read)
        assert state_of(last, (batches + 2) * BATCH_MS) == counts_after(batches + 2)
        assert life is not None
        assert not life.errors
        if not disk.is_crashed:
            break
    assert crashes > 30, "a batch makes several calls"


@pytest.mark.slow
def test_any_failing_call_is_made_good(contexts: Callable[[], StreamHarness]) -> None:
    """One call fails: the checkpoint is written by the next try, and nothing is lost."""
    read: Read = {}
    for number in range(1, 60):
        disk = SimStorage(fail_at={number}, random=Random(number))
        life: Life | None = None
        try:
            for each in lives(contexts, disk, 8):
                life = each
        except (MillstreamError, OSError):
            assert life is None, "only a start may fail for it"
            continue
        assert life is not None
        assert life.done == list(range(1, 9))
        assert life.checkpointer.statistics.failed <= 1
        assert not life.errors
        *_, last = check_every_checkpoint(disk.after_crash(), read)
        assert state_of(last, 8000) == counts_after(8)


def test_a_disk_that_refuses_checkpoints_loses_no_older_one(
    contexts: Callable[[], StreamHarness],
) -> None:
    """It is told, nothing that an older checkpoint needs goes; later all is made good."""
    disk = SimStorage()
    life = Life(contexts(), disk)
    for batch in range(1, 5):
        life.run(batch)
    before = life.checkpointer.floor(4 * BATCH_MS)
    broken = disk.after_crash(fail_at=range(1, 10_000), loses_power=False)
    life.files._storage = broken
    for batch in range(5, 8):
        life.run(batch)

    assert life.done == [1, 2, 3, 4]
    assert len(life.errors) == 6
    assert life.checkpointer.floor(7 * BATCH_MS) == before
    life.files._storage = disk
    life.run(8)
    assert life.done == [1, 2, 3, 4, 8]
    *_, last = check_every_checkpoint(disk)
    assert state_of(last, 8000) == counts_after(8)


def test_the_first_checkpoint_must_be_written(
    contexts: Callable[[], StreamHarness],
) -> None:
    """Without it a restart wouldn't know of the stream: the start fails."""
    with pytest.raises(DurabilityError, match="first checkpoint can't be written"):
        Life(contexts(), SimStorage(fail_at=range(1, 1000), random=Random(1)))


def test_a_restart_spares_what_older_checkpoints_name(
    contexts: Callable[[], StreamHarness],
) -> None:
    """Though the new process hasn't written them: each can still be gone back to."""
    disk = SimStorage()
    for _ in lives(contexts, disk, 7):
        pass
    life = Life(contexts(), disk)
    assert life.first_batch == 7
    life.run(7)
    oldest, *_ = check_every_checkpoint(disk)

    assert oldest.time_ms == 6000, "it is of the life before"
    assert life.checkpointer.floor(7000) == 6000 - BATCH_MS
    life.run(8)
    check_every_checkpoint(disk)


def test_checkpoints_that_wait_are_written_as_one(
    contexts: Callable[[], StreamHarness],
) -> None:
    """The newest has everything; whoever waits for one of them is told."""
    disk = SimStorage()
    life = Life(contexts(), disk)
    life.run(1)
    told = life.checkpointer.statistics
    written = told.written
    life.loop.holds = True
    for batch in (2, 3, 4):
        life.run(batch)
    assert life.done == [1]
    life.loop.release()

    assert life.done == [1, 2, 3, 4]
    assert told.written == written + 1
    assert told.joined == 5
    *_, last = check_every_checkpoint(disk)
    assert last.time_ms == 4000
    assert state_of(last, 4000) == counts_after(4)


def test_a_late_end_of_an_older_batch_is_not_older(
    contexts: Callable[[], StreamHarness],
) -> None:
    """Joined with a newer batch's beginning, it still takes the newer one's name."""
    disk = SimStorage()
    life = Life(contexts(), disk)
    life.generate(1)
    life.loop.holds = True
    life.generate(2)
    life.finish(1)
    life.loop.release()

    names = [file.path for file in life.files.files()]
    assert names == ["/c/checkpoint-0", "/c/checkpoint-1000", "/c/checkpoint-2000"]
    assert life.done == [1]


def test_an_error_that_nobody_expects_still_ends_the_wait(
    contexts: Callable[[], StreamHarness],
) -> None:
    """A graceful stop waits for the batch's end: it is told, and so is the error."""
    life = Life(contexts(), SimStorage())
    life.generate(1)
    ended: list[bool] = []

    def broken() -> Any:
        raise ZeroDivisionError

    life.checkpointer._manifest = lambda *_: broken  # type: ignore[method-assign]
    life.checkpointer.after_batch(1000, [], ended.append)

    assert ended == [False]
    assert isinstance(life.errors[0], ZeroDivisionError)


def test_neither_checkpoints_nor_the_directory_grow(
    contexts: Callable[[], StreamHarness],
) -> None:
    """However long the stream runs; whether there is anything new or not."""
    disk = SimStorage()
    life = Life(contexts(), disk)
    sizes, files = [], []
    for batch in range(1, 81):
        life.run(batch)
        sizes.append(life.checkpointer.statistics.last_bytes)
        listed = disk.list("/c"), disk.list("/c/state"), disk.list(life_directory(life))
        files.append(sum(map(len, listed)))

    # Batch numbers and file names have a digit more at the end.
    assert max(sizes[60:]) <= max(sizes[20:40]) + 60
    assert max(files[60:]) <= max(files[20:40])


def life_directory(life: Life) -> str:
    """Return where the state's files are."""
    return life.state.states.files.uri.removeprefix("sim:")


def files_on(disk: SimStorage) -> dict[str, bytes]:
    """Return all files of a disk, without the drivers' own."""
    return {
        path: bytes(file.data)
        for path, file in disk._files.items()
        if not path.startswith("/c/driver-")
    }


@pytest.mark.slow
@pytest.mark.parametrize("had_a_life", [False, True])
def test_a_takeover_at_any_call_finds_all_that_is_told_to_be_safe(
    had_a_life: bool, contexts: Callable[[], StreamHarness]
) -> None:
    """Whatever call the older driver is about to make when a newer one takes over.

    The newer one finds a checkpoint with every batch that the older one ever says is safe,
    and can go back to each it finds. The older one ends at most the checkpoint that it is
    writing, and says of that one that it isn't safe.
    """
    takeovers = 0
    read: Read = {}
    while True:
        found: list[SimStorage] = []
        after: list[str] = []
        calls = 0
        is_on = False

        def on_call(path: str) -> None:
            nonlocal calls, is_on
            if not is_on:
                return
            calls += 1
            if found:
                after.append(path)
            elif calls > takeovers:
                is_on = False
                DriverClaim.take_over(DIRECTORY, "newer")
                found.append(disk.after_crash(loses_power=False))
                is_on = True

        disk = SimStorage(on_call=on_call)
        storages.mount("sim", disk)
        if had_a_life:
            for _ in lives(contexts, disk, 4):
                pass
        claim = DriverClaim.take_over(DIRECTORY, "older")
        told: list[TakenOverError] = []
        claim.when_lost(told.append)
        is_on = True
        life: Life | None = None
        try:
            life = Life(contexts(), disk, claim=claim)
            for batch in range(life.first_batch, 8):
                life.run(batch)
        except TakenOverError:
            assert life is None, "only a start raises it"
        is_on = False
        if not found:
            break
        takeovers += 1
        done = max(life.done, default=0) if life is not None else 0
        times = [facts.time_ms for facts in check_every_checkpoint(found[0], read)]
        assert max(times, default=0) >= done * BATCH_MS
        assert len(after) <= 3, "one is moved, one put in its place, an old one deleted"
        assert all(path.startswith("/c/checkpoint-") for path in after)
        check_every_checkpoint(disk, read)
        assert len(told) == 1
        assert life is None or not life.errors
        here = files_on(disk)
        for path, data in files_on(found[0]).items():
            if not path.startswith("/c/checkpoint-"):
                assert here.get(path, data) == data, "no file is changed"
    assert takeovers > 20, "a batch makes several calls"


def test_a_driver_that_was_taken_over_from_deletes_nothing(
    contexts: Callable[[], StreamHarness],
) -> None:
    """Neither files of state that it doesn't know, nor old checkpoints."""
    disk = SimStorage()
    storages.mount("sim", disk)
    claim = DriverClaim.take_over(DIRECTORY, "older")
    life = Life(contexts(), disk, claim=claim)
    for batch in range(1, 7):
        life.run(batch)
    directory = life_directory(life)
    list_files = disk.list

    def taken_over_first(path: str) -> list[Any]:
        if path == directory:
            listed = list_files(path)
            DriverClaim.take_over(DIRECTORY, "newer")
            disk.put_file(f"{directory}/delta-9000-1.arrow", b"of the newer driver")
            return [*listed, disk.stat(f"{directory}/delta-9000-1.arrow")]
        return list_files(path)

    disk.list = taken_over_first  # type: ignore[method-assign]
    life.run(7)
    disk.list = list_files  # type: ignore[method-assign]
    before = files_on(disk)
    life.run(8)

    assert life.done == list(range(1, 8))
    assert f"{directory}/delta-9000-1.arrow" in before
    assert files_on(disk) == before
