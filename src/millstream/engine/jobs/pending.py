"""Pending: records that wait for their last steps, and the ways to work them out."""

import operator
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import reduce
from itertools import chain, islice
from typing import Any

from millstream.engine.columnar.blocks import Columns, Frozen, joined, rows_of
from millstream.engine.columnar.execution import Columnar
from millstream.engine.columnar.reports import StageReport
from millstream.engine.columnar.runs import Run
from millstream.engine.plan import fusion
from millstream.engine.plan.partitions import freeze
from millstream.engine.plan.steps import Map, Merge, Reduce, Step


@dataclass(slots=True)
class Pending:
    """Records and the steps still to be applied to them, in one pass if possible.

    The records are either `blocks`, whose steps work record by record, or `rows`.
    """

    index: int
    rows: Iterable[Any] = ()
    blocks: Iterable[Frozen] | None = None
    steps: list[Step] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)
    nodes: list[int] = field(default_factory=list)
    nested: int = 0

    @property
    def run(self) -> Run:
        """The blocks and their steps."""
        assert self.blocks is not None, "only blocks have a run"
        return Run(self.blocks, self.index, self.steps, self.keys, self.nodes)


@dataclass(frozen=True, slots=True)
class Finisher:
    """Works out what is pending, each block by columns or by rows, and reports which."""

    columnar: Columnar
    report: StageReport

    def count(self, pending: Pending) -> int:
        """Return how many records come out."""
        if pending.blocks is not None:
            return self.columnar.count(pending.run, self.report)
        return fusion.count(pending.rows, pending.steps, pending.index)

    def total(self, pending: Pending) -> Any:
        """Return the sum of the records; 0 of nothing."""
        if pending.blocks is not None:
            return self.columnar.total(pending.run, self.report)
        return sum(self.iterate(pending))

    def fold(
        self, pending: Pending, function: Callable[[Any, Any], Any], key: bytes
    ) -> list[Any]:
        """Return the records folded with one function in a list, or an empty one.

        `key` identifies the function over jobs.
        """
        if pending.blocks is None:
            rows = self.iterate(pending)
            return [reduce(function, rows, first) for first in islice(rows, 1)]
        run = pending.run.followed_by(Map(_under_none), b"under none")
        folded = self.columnar.combine(run, Reduce(function), key, self.report)
        pairs = folded.thaw() if isinstance(folded, Columns) else folded.items()
        return [value for _, value in pairs]

    def count_by_value(self, pending: Pending) -> dict[Any, int]:
        """Return how often each record occurs."""
        if pending.blocks is None:
            counts: dict[Any, int] = defaultdict(int)
            for value in self.iterate(pending):
                counts[value] += 1
            return dict(counts)
        run = pending.run.followed_by(Map(_with_one), b"with one")
        counted = self.columnar.combine(run, Reduce(operator.add), b"", self.report)
        return dict(counted.thaw()) if isinstance(counted, Columns) else counted

    def combined(
        self, pending: Pending, aggregator: Reduce | Merge, key: bytes
    ) -> Columns | dict[Any, Any]:
        """Return the pairs reduced by key; `key` identifies the aggregator over jobs."""
        if pending.blocks is None:
            return fusion.combine(
                pending.rows, pending.steps, aggregator, pending.index
            )
        return self.columnar.combine(pending.run, aggregator, key, self.report)

    def as_columns(self, pending: Pending) -> Columns | Iterable[Any]:
        """Return what is pending as one frame if all of it is columns, else as rows."""
        if pending.blocks is None:
            return fusion.iterate(pending.rows, pending.steps, pending.index)
        made = list(self.columnar.pieces(pending.run, self.report))
        return joined(made) or chain.from_iterable(
            each.thaw() if isinstance(each, Columns) else each for each in made
        )

    def iterate(self, pending: Pending) -> Iterator[Any]:
        """Return the records after the steps, computed as they are asked for."""
        if pending.blocks is None:
            return fusion.iterate(pending.rows, pending.steps, pending.index)
        return self.columnar.iterate(pending.run, self.report)

    def to_list(self, pending: Pending) -> list[Any]:
        """Return the records after the steps."""
        if pending.blocks is None:
            return fusion.to_list(pending.rows, pending.steps, pending.index)
        made = [rows_of(e) for e in self.columnar.blocks(pending.run, self.report)]
        if len(made) == 1 and isinstance(made[0], list):
            return made[0]
        return list(chain.from_iterable(made))

    def frozen(self, pending: Pending) -> Frozen:
        """Return the records as one block, to be kept."""
        if pending.blocks is None:
            return freeze(self.to_list(pending))
        made = list(self.columnar.blocks(pending.run, self.report))
        whole = joined(made)
        if whole is not None:
            return _compacted(whole) if pending.steps else whole
        if len(made) == 1 and not isinstance(made[0], list):
            return made[0]
        return freeze(list(chain.from_iterable(map(rows_of, made))))

    def pieces(self, pending: Pending) -> Iterator[Columns | Iterable[Any]]:
        """Yield what is pending as columns, as sequences of rows, or row by row.

        Row by row is what is still to be worked out, when it is asked for.
        """
        if pending.blocks is not None:
            yield from self.columnar.pieces(pending.run, self.report)
        elif not pending.steps and isinstance(pending.rows, Collection):
            rows = pending.rows
            yield rows if isinstance(rows, list) else list(rows)
        else:
            yield self.iterate(pending)

    def listed(self, pending: Pending) -> list[Frozen | list[Any]]:
        """Return what is pending, worked out, as blocks."""
        if pending.blocks is None:
            return [self.to_list(pending)]
        return list(self.columnar.blocks(pending.run, self.report))

    def blocks_of(self, pending: Pending) -> Iterator[Frozen]:
        """Yield the records as blocks."""
        for made in self.columnar.pieces(pending.run, self.report):
            if isinstance(made, Columns):
                yield made
                continue
            # Steps of what is chained may fail at a record before the one that raises.
            rows: list[Any] = []
            try:
                rows.extend(made)
            except Exception:
                yield freeze(rows)
                raise
            yield freeze(rows)


def _under_none(record: Any) -> tuple[None, Any]:
    return None, record


def _with_one(record: Any) -> tuple[Any, int]:
    return record, 1


def _compacted(columns: Columns) -> Columns:
    """Return the same records, holding no more than themselves in memory."""
    from millstream.engine.columnar.compacting import compacted  # noqa: PLC0415

    return replace(columns, frame=compacted(columns.frame))
