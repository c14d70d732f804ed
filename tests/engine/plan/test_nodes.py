"""Tests of engine/plan/nodes.py."""

import pytest

from millstream.engine.plan.nodes import (
    AlignedUnion,
    Cartesian,
    Coalesced,
    Pipeline,
    RddNode,
    Shuffled,
    Source,
    StoredBlocks,
    Union,
    Zipped,
    ancestors,
)
from millstream.engine.plan.partitioners import Partitioner
from millstream.engine.plan.partitions import freeze
from millstream.engine.plan.steps import Map


def source(count: int = 2) -> RddNode:
    """Return a node with empty partitions."""
    return RddNode(Source(tuple(freeze([]) for _ in range(count))), count)


def test_each_operation_knows_what_a_partition_is_made_from() -> None:
    """Narrow operations name parent partitions in order; wide ones and sources none."""
    a, b = source(2), source(3)

    def node(op: object, count: int) -> RddNode:
        return RddNode(op, count)  # type: ignore[arg-type]

    assert a.inputs_of(0) == []
    assert node(Pipeline(a, (Map(id),)), 2).inputs_of(1) == [(a, 1)]
    assert node(Union((a, b)), 5).inputs_of(3) == [(b, 1)]
    assert node(AlignedUnion((a, a)), 2).inputs_of(1) == [(a, 1), (a, 1)]
    assert node(Zipped((a, b), lambda _i, _p: [], "z"), 2).inputs_of(0) == [
        (a, 0),
        (b, 0),
    ]
    assert node(Coalesced(b, ((0, 2), (1,))), 2).inputs_of(0) == [(b, 0), (b, 2)]
    assert node(Cartesian(a, b), 6).inputs_of(4) == [(a, 1), (b, 1)]
    assert node(Shuffled(a, Partitioner(2), None), 2).inputs_of(0) == []
    assert node(StoredBlocks(("x",), "w"), 1).inputs_of(0) == []
    with pytest.raises(IndexError, match="no partition 5"):
        node(Union((a, b)), 5).inputs_of(5)


def test_ancestors_are_each_seen_once_however_deep() -> None:
    """A diamond and a lineage of thousands are walked without recursion."""
    bottom = source()
    left, right = RddNode(Pipeline(bottom, ()), 2), RddNode(Pipeline(bottom, ()), 2)
    top = RddNode(Union((left, right)), 4)
    for _ in range(5000):
        top = RddNode(Pipeline(top, (Map(id),)), 4)

    seen = list(ancestors(top))

    assert len(seen) == len({node.id for node in seen}) == 5004
    assert seen[0] is top


def test_a_title_is_the_name_or_the_operation() -> None:
    """Errors and pages call an RDD what its user calls it."""
    node = RddNode(Pipeline(source(), (Map(id), Map(id, "keyBy"))), 2)

    assert node.title() == "keyBy"
    assert RddNode(Zipped((), lambda _i, _p: [], "join"), 0).title() == "join"
    assert source().title() == "Source"
    node.name = "words"
    assert node.title() == "words"
