"""Stages: a job cut at its shuffles, parents first. A core: pure.

A stage is what runs without moving data: the narrow steps up to the next shuffle. A
shuffle whose outputs exist already, or that only feeds cached partitions, is left out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from millstream.engine.plan.nodes import Pipeline, RddNode, Shuffled


@dataclass(frozen=True, slots=True)
class Stage:
    """Tasks that can run side by side.

    `node` is the job's RDD for the last stage; for the others it is the shuffle whose
    map outputs the stage makes, and `partitions` are those of the shuffle's parent.
    """

    node: RddNode
    partitions: tuple[int, ...]
    is_result: bool
    members: tuple[RddNode, ...]
    """Every RDD computed inside the stage; what they need is shipped with it."""

    @property
    def is_barrier(self) -> bool:
        """Say whether all tasks must run at the same time."""
        return any(
            isinstance(member.op, Pipeline) and member.op.is_barrier
            for member in self.members
        )


def plan_stages(
    target: RddNode,
    partitions: Sequence[int],
    *,
    is_shuffled: Callable[[RddNode], bool],
    is_cached: Callable[[RddNode], bool],
) -> tuple[Stage, ...]:
    """Return the stages that compute `partitions` of `target`, in an order that works.

    `is_shuffled` says whether a shuffle's outputs exist; `is_cached` whether every
    partition of an RDD is kept. Neither is called twice for one RDD.
    """
    ordered: list[Stage] = []
    planned: set[int] = set()
    waiting: list[tuple[Stage, list[RddNode]]] = [
        _open(target, tuple(partitions), is_shuffled, is_cached, is_result=True)
    ]
    while waiting:
        stage, needed = waiting[-1]
        while needed and needed[-1].id in planned:
            needed.pop()
        if not needed:
            waiting.pop()
            ordered.append(stage)
            continue
        shuffle = needed.pop()
        planned.add(shuffle.id)
        assert isinstance(shuffle.op, Shuffled), "a stage ends where no shuffle is"
        parts = tuple(range(shuffle.op.parent.partition_count))
        waiting.append(_open(shuffle, parts, is_shuffled, is_cached, is_result=False))
    return tuple(ordered)


def _open(
    node: RddNode,
    partitions: tuple[int, ...],
    is_shuffled: Callable[[RddNode], bool],
    is_cached: Callable[[RddNode], bool],
    *,
    is_result: bool,
) -> tuple[Stage, list[RddNode]]:
    """Return the stage that ends at `node` and the missing shuffles it reads."""
    members: list[RddNode] = []
    needed: list[RddNode] = []
    start = node
    if not is_result:
        assert isinstance(node.op, Shuffled), "only a shuffle has map outputs"
        start = node.op.parent
        members.append(node)
    seen = {start.id}
    waiting = [start]
    while waiting:
        current = waiting.pop()
        members.append(current)
        if current.level is not None and is_cached(current):
            continue
        if isinstance(current.op, Shuffled):
            if not is_shuffled(current):
                needed.append(current)
            continue
        for parent in current.parents():
            if parent.id not in seen:
                seen.add(parent.id)
                waiting.append(parent)
    return Stage(node, partitions, is_result, tuple(members)), needed
