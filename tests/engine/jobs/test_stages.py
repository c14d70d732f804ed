"""Tests of engine/jobs/stages.py."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.base.levels import StorageLevel
from millstream.engine.jobs.stages import Stage, plan_stages
from millstream.engine.plan.nodes import (
    AlignedUnion,
    Pipeline,
    RddNode,
    Shuffled,
    Source,
    ancestors,
)
from millstream.engine.plan.partitioners import Partitioner
from millstream.engine.plan.partitions import freeze


def _never(_node: RddNode) -> bool:
    return False


@st.composite
def lineages(draw: st.DrawFn) -> list[RddNode]:
    """Draw a random lineage, sources first; the last node is its end."""
    nodes = [RddNode(Source((freeze([]),)), 1)]
    for _ in range(draw(st.integers(1, 12))):
        pick = st.sampled_from(nodes)
        op = draw(
            st.one_of(
                st.builds(Pipeline, pick, st.just(())),
                st.builds(Shuffled, pick, st.just(Partitioner(1)), st.none()),
                st.builds(AlignedUnion, st.tuples(pick, pick)),
            )
        )
        nodes.append(RddNode(op, 1))
    return nodes


@pytest.mark.slow
@given(lineages(), st.data())
def test_every_missing_shuffle_runs_once_before_it_is_read(
    nodes: list[RddNode], data: st.DataObject
) -> None:
    """Whatever is done or cached, a stage reads only what exists by then."""
    done = {n.id for n in nodes if data.draw(st.booleans())}
    cached = {n.id for n in nodes if data.draw(st.booleans())}
    for node in nodes:
        if node.id in cached:
            node.level = StorageLevel.MEMORY_ONLY
    target = nodes[-1]
    stages = plan_stages(
        target,
        [0],
        is_shuffled=lambda node: node.id in done,
        is_cached=lambda node: node.id in cached,
    )
    made = set(done)
    for stage in stages:
        for member in _reads(stage, cached):
            assert member.id in made, "a shuffle is read before it was made"
        if not stage.is_result:
            assert stage.node.id not in made, "a shuffle is made twice"
            made.add(stage.node.id)

    assert stages[-1].is_result
    assert stages[-1].node is target
    assert {member.id for stage in stages for member in stage.members} <= {
        node.id for node in ancestors(target)
    }


def _reads(stage: Stage, cached: set[int]) -> list[RddNode]:
    return [
        member
        for member in stage.members
        if isinstance(member.op, Shuffled)
        and member.id not in cached
        and not (member is stage.node and not stage.is_result)
    ]


def test_a_job_without_shuffles_is_one_stage() -> None:
    """Narrow steps run together."""
    source = RddNode(Source((freeze([]), freeze([]))), 2)
    node = RddNode(Pipeline(source, ()), 2)
    (stage,) = plan_stages(node, [1], is_shuffled=_never, is_cached=_never)

    assert stage.partitions == (1,)
    assert [member.id for member in stage.members] == [node.id, source.id]
    assert not stage.is_barrier


def test_a_barrier_step_makes_a_barrier_stage() -> None:
    """One barrier member is enough."""
    source = RddNode(Source((freeze([]),)), 1)
    node = RddNode(Pipeline(source, (), is_barrier=True), 1)
    (stage,) = plan_stages(node, [0], is_shuffled=_never, is_cached=_never)

    assert stage.is_barrier


def test_thousands_of_shuffles_are_planned_without_recursion() -> None:
    """Depth is no limit."""
    node = RddNode(Source((freeze([]),)), 1)
    for _ in range(3000):
        node = RddNode(Shuffled(node, Partitioner(1), None), 1, Partitioner(1))
    stages = plan_stages(node, [0], is_shuffled=_never, is_cached=_never)

    assert len(stages) == 3001


def test_a_shuffle_that_two_stages_read_is_planned_once() -> None:
    """The second reader finds it planned, at whatever depth the first one was."""
    source = RddNode(Source((freeze([]),)), 1)
    shared = RddNode(Shuffled(source, Partitioner(1), None), 1, Partitioner(1))
    deeper = RddNode(Shuffled(shared, Partitioner(1), None), 1, Partitioner(1))
    for parts in ((shared, deeper), (deeper, shared)):
        target = RddNode(AlignedUnion(parts), 1)
        stages = plan_stages(target, [0], is_shuffled=_never, is_cached=_never)

        assert [stage.node for stage in stages] == [shared, deeper, target]
