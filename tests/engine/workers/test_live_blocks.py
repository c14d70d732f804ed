"""Tests of engine/workers/live_blocks.py: objects that a worker has made and may read."""

from millstream.engine.durable import frozen_bytes
from millstream.engine.plan.partitions import freeze
from millstream.engine.workers.live_blocks import LiveBlocks


def test_rows_come_back_as_the_very_objects() -> None:
    """If nobody can change them; what was pickled anyway isn't kept."""
    live = LiveBlocks()
    rows = freeze([("a", 1), ("b", 2)])
    live.add("rows", rows)
    live.add("lists", freeze([[1], [2]]))

    assert live.get("rows") is rows
    assert live.get("lists") is None


def test_those_go_that_were_not_used_for_longest() -> None:
    """When there are more bytes than may be; one that is too large by itself, too."""
    one, two, three = (freeze([(name, 1)]) for name in "abc")
    live = LiveBlocks(2 * frozen_bytes.size_bytes(one))
    live.add("one", one)
    live.add("two", two)
    assert live.get("one") is one
    live.add("three", three)

    assert live.get("two") is None
    assert live.get("one") is one
    assert live.get("three") is three
    live.add("huge", freeze([("x" * 10_000, 1)]))
    assert live.get("huge") is live.get("one") is None
