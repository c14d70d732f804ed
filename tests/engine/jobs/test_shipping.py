"""Tests of engine/jobs/shipping.py: what travels is what was planned."""

from pathlib import Path

import pytest

from millstream.engine.base.levels import StorageLevel
from millstream.engine.base.task_scope import TaskScope
from millstream.engine.durable.block_store import BlockStore
from millstream.engine.jobs import shipping
from millstream.engine.jobs.shuffles import ShuffleRegistry
from millstream.engine.jobs.stages import Stage, plan_stages
from millstream.engine.jobs.tasks import MissingShuffleError, cached_id
from millstream.engine.plan.nodes import Pipeline, RddNode, Source, Union
from millstream.engine.plan.partitions import freeze

SCOPE = TaskScope(0, 0, 0, 0)


def source(*rows: int) -> RddNode:
    """Return an RDD of one partition."""
    return RddNode(Source((freeze(rows),)), 1)


def stage_of(node: RddNode, *, is_kept: bool = False) -> Stage:
    """Return the one stage that computes an RDD; those with a level are kept, or aren't."""
    (stage,) = plan_stages(
        node, range(1), is_shuffled=lambda _: True, is_cached=lambda _: is_kept
    )
    return stage


def test_a_snapshot_stays_as_it_was_when_a_lineage_is_cut() -> None:
    """A stream's state does so, from another thread, while a stage of it runs."""
    first = source(1, 2)
    mapped = RddNode(Pipeline(first, ()), 1, functions=b"functions")
    both = RddNode(Union((mapped, first)), 2)
    taken = shipping.snapshot(stage_of(both))
    mapped.op, mapped.functions = Source((freeze([9]),)), None

    assert isinstance(taken.node.op, Union)
    copied, again = taken.node.op.parents
    assert isinstance(copied.op, Pipeline)
    assert copied.functions == b"functions"
    assert copied.op.parent is again
    assert {each.id for each in taken.members} == {both.id, mapped.id, first.id}


def test_a_partition_that_was_kept_and_is_gone_is_planned_anew(tmp_path: Path) -> None:
    """What it was made from isn't in the stage: a worker couldn't make it."""
    blocks = BlockStore(1 << 20, tmp_path)
    first = source(1, 2)
    kept = RddNode(Pipeline(first, ()), 1, level=StorageLevel.MEMORY_ONLY)
    last = RddNode(Pipeline(kept, ()), 1)
    blocks.put(cached_id(kept, 0), [1, 2], StorageLevel.MEMORY_ONLY)
    shuffles = ShuffleRegistry(blocks)
    planned = shipping.snapshot(stage_of(last, is_kept=True))
    given, reads = shipping.gather(planned, 0, SCOPE, 0, blocks, shuffles)
    assert (list(given.blocks), list(given.sources), reads) == (
        [cached_id(kept, 0)],
        [],
        [],
    )

    blocks.clear()
    with pytest.raises(MissingShuffleError):
        shipping.gather(planned, 0, SCOPE, 0, blocks, shuffles)
    again = shipping.snapshot(stage_of(last))
    given, _ = shipping.gather(again, 0, SCOPE, 0, blocks, shuffles)
    assert list(given.sources) == [(first.id, 0)]
