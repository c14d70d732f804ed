"""Tests of engine/columnar/compacting.py."""

import gc
from pathlib import Path

import polars as pl
import pytest

from millstream.engine.columnar.compacting import compacted, compacted_at_times

LINES = 200_000


def resident_bytes() -> int:
    """Return how much memory this process holds."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["text", "bytes", "list"])
def test_a_few_texts_dont_keep_the_whole_block(kind: str) -> None:
    """Of blocks of 8 MB each, one line in a thousand is kept."""
    kept: list[pl.DataFrame] = []

    def keep() -> None:
        number = pl.int_range(LINES, eager=True).alias("n").to_frame()
        text = number.select(pl.format("a line with the number {} in it", "n"))
        frame = text.filter(pl.int_range(pl.len()) % 1000 == 0)
        if kind == "bytes":
            frame = frame.select(pl.all().cast(pl.Binary))
        if kind == "list":
            frame = frame.select(pl.concat_list(pl.all()))
        kept.append(compacted(frame))

    keep()
    before = resident_bytes()
    for _ in range(15):
        keep()

    assert resident_bytes() - before < 60e6


def test_records_are_the_same_after() -> None:
    """None, empty and odd texts too, in all columns."""
    frame = pl.DataFrame(
        {
            "a": ["", None, "ß\0", "x" * 100],
            "b": [b"", None, b"\xff", b"x"],
            "c": [[], None, ["y" * 50], [None, ""]],
            "d": [1, 2, 3, 4],
        }
    )
    for names in (["a", "d"], ["a", "b"], ["c"], ["d"]):
        part = frame.select(names)
        assert compacted(part).equals(part)
        assert compacted(part).schema == part.schema
        for _ in range(50):
            assert compacted_at_times(part).equals(part)
