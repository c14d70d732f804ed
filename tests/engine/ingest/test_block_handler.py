"""Tests of engine/ingest/block_handler.py: stored and logged, or neither."""

import itertools
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from millstream.engine.base import frames
from millstream.engine.base.clock import ManualClock
from millstream.engine.base.errors import SparkError
from millstream.engine.base.levels import StorageLevel
from millstream.engine.durable import frozen_bytes
from millstream.engine.durable.block_store import BlockStore
from millstream.engine.durable.write_ahead_log import FileLog, LogHandle
from millstream.engine.ingest.block_handler import BlockHandler
from millstream.engine.plan.partitions import freeze_text
from millstream.testing.sim_storage import SimStorage


class GatedLog:
    """A log that writes when its gate is open; a disk that hangs, until then."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.written: list[bytes] = []

    def write(self, record: bytes, time_ms: int) -> LogHandle:
        assert self.gate.wait(10)
        self.written.append(record)
        return LogHandle("gated", len(self.written), len(record))

    def read(self, handle: LogHandle) -> bytes:
        raise NotImplementedError

    def read_all(self) -> Iterator[bytes]:
        raise NotImplementedError

    def clean(self, threshold_ms: int) -> None:
        """Keep everything."""

    def close(self) -> None:
        """Do nothing."""


def store_of(tmp_path: Path, budget: int = 1 << 20) -> BlockStore:
    """Return a store that spills below a directory."""
    return BlockStore(budget, tmp_path / "blocks")


def handler_of(
    blocks: BlockStore,
    log: GatedLog | FileLog | None = None,
    timeout_ms: int = 10_000,
) -> BlockHandler:
    """Return a handler on a manual clock."""
    return BlockHandler(
        blocks, ManualClock(7), itertools.count(), log=log, timeout_ms=timeout_ms
    )


@pytest.mark.parametrize(
    ("level", "in_memory", "on_disk"),
    [
        (StorageLevel.MEMORY_ONLY, 1, 0),
        (StorageLevel.MEMORY_AND_DISK_2, 1, 0),
        (StorageLevel.DISK_ONLY, 0, 1),
    ],
)
def test_a_block_is_where_its_level_says(
    tmp_path: Path, level: StorageLevel, in_memory: int, on_disk: int
) -> None:
    """And nowhere else; two copies are one, in one process."""
    blocks = store_of(tmp_path)
    stored = handler_of(blocks).store("b", [1, [2]], level)
    held = blocks.statistics()

    assert (stored.block_id, stored.record_count, stored.stored_ms) == ("b", 2, 7)
    assert stored.logged is None
    assert blocks.get("b") == [1, [2]]
    assert (held.memory_blocks, held.disk_blocks) == (in_memory, on_disk)


def test_a_block_without_room_is_an_error(tmp_path: Path) -> None:
    """In Spark's words, with what to do; at a level with disk there is room."""
    blocks = store_of(tmp_path, budget=200)
    handler = handler_of(blocks)
    rows = ["x" * 1000]
    with pytest.raises(SparkError, match=r"Could not store b to block manager .* room"):
        handler.store("b", rows, StorageLevel.MEMORY_ONLY)
    handler.store("c", rows, StorageLevel.MEMORY_AND_DISK)

    assert blocks.ids() == ["c"]


def test_with_a_log_memory_need_not_have_room(tmp_path: Path) -> None:
    """The log has the block, and that is where it is read from."""
    storage = SimStorage()
    log = FileLog("/log", storage=storage)
    handler = handler_of(store_of(tmp_path, budget=200), log)
    stored = handler.store("b", ["x" * 1000], StorageLevel.MEMORY_ONLY)
    handler.close()

    assert stored.logged is not None
    assert frames.loads(log.read(stored.logged)) == ["x" * 1000]


def test_text_is_stored_and_logged_as_bytes(tmp_path: Path) -> None:
    """No line of it becomes an object."""
    log, blocks = GatedLog(), store_of(tmp_path)
    log.gate.set()
    handler = handler_of(blocks, log)
    text = freeze_text(b"a\nb\xff\n")
    stored = handler.store("b", text, StorageLevel.MEMORY_ONLY)
    handler.close()

    assert stored.record_count == 2
    assert blocks.get_frozen("b") is text
    assert len(log.written[0]) == len(text.data) + 12
    assert frozen_bytes.decode(log.written[0]) == text


def test_what_the_log_refuses_is_not_stored(tmp_path: Path) -> None:
    """The error says why; memory doesn't have it either, and the next block is taken."""
    storage = SimStorage(fail_at=range(1, 7))
    log = FileLog("/log", storage=storage, failures_max=1)
    blocks = store_of(tmp_path)
    handler = handler_of(blocks, log)
    with pytest.raises(SparkError, match="Could not write b to the write ahead log"):
        handler.store("b", [1], StorageLevel.MEMORY_ONLY)
    assert not blocks.contains("b")
    for _ in range(6):  # The disk recovers, some calls later.
        with suppress(SparkError):
            handler.store("c", [2], StorageLevel.MEMORY_ONLY)
    handler.close()

    assert blocks.get("c") == [2]
    assert [frames.loads(record) for record in log.read_all()][-1] == [2]


def test_what_the_disk_refuses_is_not_stored(tmp_path: Path) -> None:
    """Though the log has it: nobody will ask for it there."""
    (tmp_path / "blocks").write_text("a file where the directory should be")
    log = GatedLog()
    log.gate.set()
    for handler in (
        handler_of(store_of(tmp_path)),
        handler_of(store_of(tmp_path), log),
    ):
        with pytest.raises(SparkError, match="Could not store b to block manager"):
            handler.store("b", [1], StorageLevel.DISK_ONLY)
        handler.close()


def test_a_disk_that_hangs_holds_nobody_up_for_long(tmp_path: Path) -> None:
    """The limit is the conf's; what is late then is taken back, or never begun."""
    log, blocks = GatedLog(), store_of(tmp_path)
    handler = handler_of(blocks, log, timeout_ms=20)
    for name in ("first", "second"):
        with pytest.raises(SparkError, match=f"Could not store {name} within 0.02 s"):
            handler.store(name, [name], StorageLevel.MEMORY_ONLY)
    log.gate.set()
    handler._timeout_s = 10
    handler.store("third", ["third"], StorageLevel.MEMORY_ONLY)
    handler.close()

    assert blocks.ids() == ["third"]
    assert [frames.loads(each) for each in log.written] == [["first"], ["third"]]


def test_the_end_waits_for_who_stores_and_refuses_the_others(tmp_path: Path) -> None:
    """So that a block is either refused, or has been told of when the end is there."""
    handler = handler_of(store_of(tmp_path))
    with handler.storing():
        assert not handler.end(timeout_s=0)
        with pytest.raises(SparkError, match="already shut down"), handler.storing():
            pass

    assert handler.end(timeout_s=0)


def test_many_threads_store_at_once(tmp_path: Path) -> None:
    """Each block is logged once."""
    log, blocks = GatedLog(), store_of(tmp_path)
    handler = handler_of(blocks, log)
    log.gate.set()

    def store(name: str) -> None:
        for number in range(20):
            handler.store(f"{name}-{number}", [name], StorageLevel.MEMORY_ONLY)

    threads = [threading.Thread(target=store, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    handler.close()

    assert len(blocks.ids()) == len(log.written) == 80
