"""Run: some blocks of a partition and the steps that they go through."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from millstream.engine.columnar.blocks import Frozen
from millstream.engine.plan.steps import Step


@dataclass(slots=True)
class Run:
    """Blocks, and steps that work record by record.

    `keys` identify the steps over jobs: the functions of each RDD as they were pickled.
    `nodes` are the ids of the RDDs that the steps belong to, one a step.
    """

    blocks: Iterable[Frozen]
    index: int
    steps: list[Step] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)
    nodes: list[int] = field(default_factory=list)
    is_large: bool = False
    """Whether any block so far was large enough to go by columns."""

    @property
    def key(self) -> tuple[bytes, ...]:
        """What identifies the steps."""
        return tuple(self.keys)

    def origins(self) -> Iterator[tuple[Step, int]]:
        """Yield each step with the id of its RDD."""
        return zip(self.steps, self.nodes, strict=True)

    def followed_by(self, step: Step, key: bytes) -> "Run":
        """Return the same blocks with one more step, which belongs to no RDD."""
        return Run(
            self.blocks,
            self.index,
            [*self.steps, step],
            [*self.keys, key],
            [*self.nodes, -1],
        )
