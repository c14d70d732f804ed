"""Tests of engine/durable/block_store.py."""

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.base.levels import StorageLevel
from millstream.engine.durable.block_store import BlockStore
from millstream.engine.plan.partitions import freeze_text

BIG = 1 << 20


def test_rows_come_back_and_cannot_be_changed(tmp_path: Path) -> None:
    """Mutable rows are copied for each reader."""
    store = BlockStore(BIG, tmp_path)
    rows: list[Any] = [[1], [2]]
    store.put("a", rows, StorageLevel.MEMORY_ONLY)
    first = store.get("a")
    assert first is not None
    first[0].append("x")

    assert store.get("a") == [[1], [2]]
    assert store.get("b") is None
    assert store.contains("a")
    assert not store.contains("b")


def test_to_peek_is_not_to_use(tmp_path: Path) -> None:
    """A block that was only peeked at goes first; one on disk isn't read."""
    store = BlockStore(3000, tmp_path)
    rows = ["x" * 10 for _ in range(10)]
    for block_id in ("a", "b"):
        store.put(block_id, rows, StorageLevel.MEMORY_ONLY)
    store.put("filed", rows, StorageLevel.DISK_ONLY)
    peeked = store.peek("a")
    while store.contains("a") and store.contains("b"):
        store.put(f"more-{len(store.ids())}", rows, StorageLevel.MEMORY_ONLY)

    assert peeked is not None
    assert peeked.count == 10
    assert store.contains("b")
    assert store.peek("a") is None
    assert store.peek("filed") is None


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(1, 30), st.booleans()), max_size=30
    )
)
def test_memory_stays_within_the_budget(
    tmp_path_factory: pytest.TempPathFactory, puts: list[tuple[int, int, bool]]
) -> None:
    """Whatever is stored, memory is bounded, and what may spill is never lost."""
    store = BlockStore(2000, tmp_path_factory.mktemp("blocks"))
    expected: dict[str, list[str]] = {}
    for number, size, may_spill in puts:
        block_id = f"{number}-{may_spill}"
        rows = ["x" * 10 for _ in range(size)]
        level = StorageLevel.MEMORY_AND_DISK if may_spill else StorageLevel.MEMORY_ONLY
        assert store.put(block_id, rows, level) == size
        expected[block_id] = rows
        assert store.statistics().memory_bytes <= 2000
    for block_id, rows in expected.items():
        found = store.get(block_id)
        if block_id.endswith("True"):
            assert found == rows
        else:
            assert found in (None, rows)
    store.clear()

    assert store.statistics().memory_blocks == store.statistics().disk_blocks == 0
    assert store.statistics().memory_bytes == 0


def test_the_least_recently_used_block_goes_first(tmp_path: Path) -> None:
    """Reading a block keeps it longer."""
    store = BlockStore(3000, tmp_path)
    rows = ["x" * 50 for _ in range(10)]
    for block_id in ("a", "b"):
        store.put(block_id, rows, StorageLevel.MEMORY_ONLY)
    store.get("a")
    store.put("c", rows, StorageLevel.MEMORY_ONLY)

    assert store.contains("a")
    assert not store.contains("b")
    assert store.statistics().evicted_blocks == 1


def test_a_group_never_pushes_itself_out(tmp_path: Path) -> None:
    """An RDD larger than memory keeps what fitted first."""
    store = BlockStore(3000, tmp_path)
    rows = ["x" * 50 for _ in range(10)]
    for part in range(4):
        store.put(f"rdd-1-{part}", rows, StorageLevel.MEMORY_ONLY, group="rdd-1")

    assert [store.contains(f"rdd-1-{part}") for part in range(4)] == [
        True,
        True,
        False,
        False,
    ]


def test_an_evicted_received_block_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Records that nobody can send again don't vanish silently."""
    store = BlockStore(1500, tmp_path)
    rows = ["x" * 50 for _ in range(10)]
    store.put("input-0-1", rows, StorageLevel.MEMORY_ONLY)
    store.put("other", rows, StorageLevel.MEMORY_ONLY)

    assert "a received block was evicted" in caplog.text
    assert "input-0-1" in caplog.text


def test_a_damaged_spill_file_counts_as_missing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A flipped bit is noticed; the partition is computed again, not read wrong."""
    store = BlockStore(BIG, tmp_path)
    store.put("a", ["x", "y"], StorageLevel.DISK_ONLY)
    assert store.get("a") == ["x", "y"]
    (file,) = tmp_path.iterdir()
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))

    assert store.get("a") is None
    assert not store.contains("a")
    assert "can't be read" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_compressed_blocks_read_the_same(tmp_path: Path) -> None:
    """`spark.rdd.compress` changes size, not content."""
    plain, small = (
        BlockStore(BIG, tmp_path),
        BlockStore(BIG, tmp_path, is_compressed=True),
    )
    rows = [("word", 1)] * 1000
    for store in (plain, small):
        store.put("a", rows, StorageLevel.MEMORY_ONLY)

    assert small.get("a") == rows
    assert small.statistics().memory_bytes < plain.statistics().memory_bytes / 5


def test_old_blocks_can_be_forgotten(tmp_path: Path) -> None:
    """Age and name decide."""
    store = BlockStore(BIG, tmp_path)
    store.put("rdd-1-0", [1], StorageLevel.MEMORY_ONLY, now_ms=5)
    store.put("rdd-2-0", [1], StorageLevel.DISK_ONLY, now_ms=5)
    store.put("rdd-3-0", [1], StorageLevel.MEMORY_ONLY, now_ms=15)
    store.put("input-1", [1], StorageLevel.MEMORY_ONLY, now_ms=5)

    assert store.remove_older(10, "rdd-") == 2
    assert store.contains("rdd-3-0")
    assert store.contains("input-1")


@pytest.mark.parametrize("is_compressed", [False, True])
@pytest.mark.parametrize(
    "level",
    [
        StorageLevel.MEMORY_ONLY,
        StorageLevel.DISK_ONLY,
        StorageLevel(False, True, False, deserialized=True),
    ],
)
def test_text_stays_text(
    tmp_path: Path, level: StorageLevel, *, is_compressed: bool
) -> None:
    """In memory, compressed, and on disk; it weighs what its bytes do."""
    store = BlockStore(BIG, tmp_path, is_compressed=is_compressed)
    text = freeze_text(b"some words\r\n\xff\n" * 1000)
    store.put_frozen("a", text, level)
    held = store.statistics()

    assert store.get_frozen("a") == text
    assert store.get("a") == ["some words", "\ufffd"] * 1000
    assert held.memory_bytes + held.disk_bytes <= len(text.data) + 100
    assert (held.memory_blocks, held.disk_blocks) == (
        (1, 0) if level.useMemory else (0, 1)
    )


@pytest.mark.parametrize("is_compressed", [False, True])
def test_what_is_spilled_comes_back_as_it_was(
    tmp_path: Path, *, is_compressed: bool
) -> None:
    """Text as bytes, rows as rows; also what was compressed in memory already."""
    store = BlockStore(25_000, tmp_path, is_compressed=is_compressed)
    level = StorageLevel(True, True, False, False)
    draw = random.Random(1)
    text = freeze_text(draw.randbytes(20_000).hex().encode()[:20_000] + b"\n")
    rows: list[Any] = [[draw.random()] for _ in range(2000)]
    store.put_frozen("text", text, level)
    store.put("rows", rows, level)
    assert store.statistics().spilled_blocks == 1
    store.put_frozen("more text", text, level)

    assert store.statistics().spilled_blocks == 2
    assert store.get_frozen("text") == text
    assert store.get("rows") == rows
    assert store.get_frozen("more text") == text
