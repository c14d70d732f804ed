"""Sinks: what a simulated stream reads by ranges, and where it commits, outside of it.

The source gives numbers, as many as there are by then. The sink keeps records, each
partition's together with its mark, as one step that is done or isn't; before and after it
anything may happen to who asked for it.
"""

import itertools
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from millstream.engine.ingest.direct_source import BatchPlan, DirectSource
from millstream.engine.sinks.contract import (
    Opening,
    Sink,
    SinkBatch,
    check_partitions,
    check_run,
)
from millstream.engine.sinks.records import Records
from millstream.testing.sim.world import Record, World, find_world


@dataclass(frozen=True, slots=True)
class Span:
    """Numbers from one to before another."""

    start: int
    until: int


@dataclass(slots=True)
class Mark:
    """How far a partition of an output is."""

    time_ms: int
    partitions: int


@dataclass(slots=True)
class Shelf:
    """What one output has committed."""

    run: int = 0
    marks: dict[int, Mark] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)


class SimDirect(DirectSource[Span, Record]):
    """Reads numbers of the world, in some ranges a batch."""

    range_type = Span

    def __init__(self, world: int, ranges: int) -> None:
        """Have so many ranges."""
        self._world = world
        self._ranges = ranges

    def plan(self, batch: BatchPlan[Span]) -> Sequence[Span]:
        """Return what is new, if the world lets it."""
        world = find_world(self._world)
        world.pause(world.temper.is_slow, 300)
        if world.random.random() < world.temper.output_fails:
            world.happened["source failed"] += 1
            msg = "the source can't be reached"
            raise ConnectionError(msg)
        start = batch.previous[-1].until if batch.previous else 0
        until = world.numbers
        if batch.limit is not None:
            until = min(until, start + batch.limit)
        cuts = [
            start + (until - start) * cut // self._ranges
            for cut in range(self._ranges + 1)
        ]
        return [Span(*each) for each in itertools.pairwise(cuts)]

    def read(self, of: Span) -> Iterator[Record]:
        """Yield the numbers."""
        find_world(self._world).in_task()
        for number in range(of.start, of.until):
            yield Record(number % 4, number, 0)

    def count(self, of: Span) -> int:
        """Return how many there are."""
        return of.until - of.start


class SimSink(Sink[Record]):
    """Commits to a shelf of the world."""

    def __init__(self, world: int) -> None:
        """Be the sink of one output."""
        self._world = world

    def _shelf(self, output: str) -> tuple[World, Shelf]:
        world = find_world(self._world)
        return world, world.shelves.setdefault(output, Shelf())

    def open(self, output: str, run: int) -> Opening:
        """Take over."""
        world, shelf = self._shelf(output)
        _may_fail(world, "open")
        shelf.run = run = max(run, shelf.run + 1)
        newest_ms = max((each.time_ms for each in shelf.marks.values()), default=None)
        _may_fail(world, "open")
        return Opening(run, newest_ms)

    def begin(self, batch: SinkBatch) -> Collection[int]:
        """Return what is there."""
        world, shelf = self._shelf(batch.output)
        _may_fail(world, "begin")
        check_run(batch, shelf.run, self.identity)
        there = []
        for part, mark in shelf.marks.items():
            if mark.time_ms == batch.time_ms:
                check_partitions(batch, mark.partitions, self.identity)
            if mark.time_ms >= batch.time_ms:
                there.append(part)
        return there

    def write(self, batch: SinkBatch, partition: int, records: Records[Record]) -> int:
        """Commit a partition with its mark."""
        rows = list(records)
        world, shelf = self._shelf(batch.output)
        world.in_task()
        _may_fail(world, "write")
        check_run(batch, shelf.run, self.identity)
        mark = shelf.marks.get(partition)
        if mark is None or mark.time_ms < batch.time_ms:
            shelf.marks[partition] = Mark(batch.time_ms, batch.partitions)
            shelf.records += rows
        world.in_task()
        _may_fail(world, "write")
        return len(rows)

    def commit(self, batch: SinkBatch, written: Mapping[int, Any]) -> None:
        """Do nothing but fail, now and then."""
        world, _ = self._shelf(batch.output)
        del written
        _may_fail(world, "commit")


def _may_fail(world: World, step: str) -> None:
    world.pause(world.temper.is_slow, 300)
    if world.random.random() < world.temper.output_fails:
        world.happened[f"sink failed in {step}"] += 1
        msg = f"the sink failed in {step}"
        raise OSError(msg)


def unkept(name: str, shelf: Shelf | None, records: Collection[Record]) -> str | None:
    """Return what is wrong with what an output has committed, given what it should have."""
    found = Counter(() if shelf is None else shelf.records)
    twice = [each for each, count in found.items() if count > 1]
    if twice:
        return f"{min(twice)} is {found[min(twice)]} times in the sink of {name}"
    lost = set(records) - set(found)
    if lost:
        return f"{len(lost)} records aren't in the sink of {name}, first {min(lost)}"
    strange = set(found) - set(records)
    if strange:
        return f"{min(strange)} is in the sink of {name}, and in no batch"
    return None
