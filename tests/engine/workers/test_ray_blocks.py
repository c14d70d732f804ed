"""Tests of engine/workers/ray_blocks.py: which blocks there are, and which are lost."""

import gc

import pytest

from millstream.engine.workers.ray_blocks import Holder, Parts, RayHeld, Reads
from millstream.engine.workers.ray_executor import Slice

ONE, TWO = Holder(0, "node one"), Holder(1, "node two")
LARGE = 1_000_000


def test_a_part_is_lost_with_its_node_unless_there_is_a_copy() -> None:
    """The copy's executor then has it; when that goes, too, it is lost."""
    parts = Parts()
    alone = parts.new("ref 1", "one", ONE, LARGE)
    copied = parts.new("ref 2", "two", ONE, LARGE)
    copied.copies.add(TWO)
    one, two = (RayHeld(each, Slice(0, 0, 3, "block")) for each in (alone, copied))
    parts.lose_node("node one")

    assert not one.is_there()
    assert two.is_there()
    assert two.holder == 1
    parts.lose_node("node two")
    assert not two.is_there()
    with pytest.raises(OSError, match="block block was lost with its node"):
        two.read()


def test_what_an_executor_made_outlives_its_process() -> None:
    """It is its node's; the copies that it kept are gone."""
    parts = Parts()
    part = parts.new("ref", "one", ONE, LARGE)
    part.copies.add(TWO)
    parts.lose_executor(0)
    parts.lose_executor(1)
    assert not part.is_lost
    assert not part.copies
    parts.lose_node("node one")
    assert part.is_lost


def test_what_is_elsewhere_is_not_lost() -> None:
    """On other nodes; and the driver has what is its own, and what is small."""
    parts = Parts()
    kept = [
        parts.new("ref", "other", TWO, LARGE),
        parts.new("ref", "own"),
        parts.new("ref", "small", ONE, 1000),
    ]
    parts.lose_node("node one")
    assert not any(each.is_lost for each in kept)


def test_copies_are_let_go_when_nothing_refers_to_the_part() -> None:
    """By executor."""
    parts = Parts()
    part = parts.new("ref", "one", ONE, LARGE)
    part.copies.update((TWO, Holder(2, "node two")))
    assert parts.gone.take() == {}
    del part
    gc.collect()

    assert parts.gone.take() == {1: ["one"], 2: ["one"]}
    assert parts.gone.take() == {}


def test_a_part_travels_once_however_many_blocks_of_it_are_read() -> None:
    """Slices tell which is which."""
    parts = Parts()
    first, second = parts.new("ref 1", "one", ONE), parts.new("ref 2", "two", TWO)
    reads = Reads()
    slices = reads.add(
        [
            RayHeld(second, Slice(5, 0, 3, "a")),
            RayHeld(first, Slice(1, 4, 2, "b")),
            RayHeld(second, Slice(5, 3, 9, "c")),
        ]
    )
    others = reads.add([RayHeld(first, Slice(1, 0, 4, "d"))])

    assert reads.refs == ["ref 2", "ref 1"]
    assert slices == [Slice(0, 0, 3, "a"), Slice(1, 4, 2, "b"), Slice(0, 3, 9, "c")]
    assert others == [Slice(1, 0, 4, "d")]
