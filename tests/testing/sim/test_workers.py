"""Tests of testing/sim/workers.py: whatever workers do, results are those of threads."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any
from uuid import uuid4

import pytest
from tests.thoroughness import tries

from millstream import AccumulatorParam, SparkConf, SparkContext, TaskContext
from millstream.engine.base.errors import JobFailedError
from millstream.engine.workers.protocol import Broken, Done, Lost
from millstream.testing.sim import simulate
from millstream.testing.sim.primitives import SimClock
from millstream.testing.sim.runtime import SimRuntime
from millstream.testing.sim.simulation import installed
from millstream.testing.sim.workers import (
    SimWorkers,
    WorkerTemper,
    installed_workers,
)

pytestmark = pytest.mark.slow

SEEDS = tries(40, 80)
STREAMS = tries(16, 50)
BLOCK = STREAMS // 2
FAILURES_MAX = 3
RARE = {
    "task broken",
    "worker lost before a task",
    "worker lost after a task",
    "worker lost that speaks later",
    "slow",
    "worker ended",
    "held block lost",
}
"""What the seeds must meet."""
LOSSES_MAX = 4
"""After so many a task's lost workers are taken to be its own doing."""


@dataclass(slots=True)
class Machine:
    """A simulated machine, and the workers that its context has."""

    runtime: SimRuntime
    sc: SparkContext
    made: list[SimWorkers] = field(default_factory=list)

    @property
    def workers(self) -> SimWorkers:
        """Return them; there are some when a stage has run there."""
        return self.made[0]


@contextmanager
def machine(
    seed: int, temper: WorkerTemper, count: int = 3, **settings: str
) -> Iterator[Machine]:
    """Open a context whose workers are simulated; nothing is left when it is over."""
    runtime, made = SimRuntime(Random(f"turns {seed}"), 1000), list[SimWorkers]()

    def make(_count: int) -> SimWorkers:
        made.append(SimWorkers(runtime, Random(f"workers {seed}"), temper, count))
        return made[-1]

    conf = SparkConf(loadDefaults=False)
    conf.setMaster(f"local[{count},{FAILURES_MAX}]").setAppName("simulated")
    conf.set("spark.millstream.processes", "always")
    conf.setAll((key.replace("_", "."), value) for key, value in settings.items())
    with installed(runtime), installed_workers(make):
        sc = SparkContext(conf=conf, clock=SimClock(runtime))
        try:
            yield Machine(runtime, sc, made)
        finally:
            sc.stop()
            runtime.sleep_until(runtime.now_ms + 60_000)
        assert runtime.alive() == [], "an attempt is left running"
        assert runtime.failures == []
        assert all(each.running.total() == 0 for each in made)


class Adding(AccumulatorParam[Any]):
    """Adds counters."""

    def zero(self, value: Any) -> Any:
        """Return an empty one."""
        del value
        return Counter()

    def addInPlace(self, value1: Any, value2: Any) -> Any:
        """Return both together."""
        return value1 + value2


Step = Callable[[Any], Any]


def steps(random: Random) -> list[Step]:
    """Return what is done to an RDD of pairs, one after the other."""
    width = random.randint(1, 4)
    known: list[Step] = [
        lambda rdd: rdd.map(lambda pair: (pair[1] % 5, pair[0] + pair[1])),
        lambda rdd: rdd.filter(lambda pair: pair[1] % 3 != 1),
        lambda rdd: rdd.reduceByKey(lambda a, b: a + b, width),
        lambda rdd: rdd.groupByKey(width).mapValues(sum),
        lambda rdd: rdd.sortByKey(numPartitions=width).map(lambda pair: pair),
        lambda rdd: rdd.distinct(width),
        lambda rdd: rdd.join(rdd.reduceByKey(max)).mapValues(sum),
        lambda rdd: rdd.union(rdd.mapValues(lambda value: -value)),
        lambda rdd: rdd.coalesce(2),
        lambda rdd: rdd.repartition(width),
        lambda rdd: rdd.cache(),
    ]
    return [random.choice(known) for _ in range(random.randint(1, 5))]


def run(sc: SparkContext, seed: int) -> list[Any]:
    """Return what a program, drawn from its seed, gives, and what its tasks have added.

    That names the attempt, and the call.
    """
    random = Random(f"program {seed}")
    seen = sc.accumulator(Counter(), Adding())

    def look(pair: tuple[int, int]) -> tuple[int, int]:
        task = TaskContext.get()
        assert task is not None
        where = task.stageId(), task.partitionId(), task.attemptNumber()
        seen.add(Counter({(*where, uuid4().hex): 1}))
        return pair

    rows = [(n % 7, n) for n in range(random.randint(0, 60))]
    rdd = sc.parallelize(rows, random.randint(1, 5)).map(look)
    for step in steps(random):
        rdd = step(rdd)
    results = [sorted(rdd.collect()), rdd.count(), sorted(rdd.take(3)) != []]
    return [*results, seen.value]


def on_threads(seed: int) -> list[Any]:
    """Return what the same program gives here."""
    with SparkContext("local[3]", "threads") as sc:
        return run(sc, seed)


def test_results_are_those_of_threads_whatever_workers_do() -> None:
    """Or the error is the documented one, after the documented number of tries."""
    happened: Counter[str] = Counter()
    for seed in range(SEEDS):
        temper = WorkerTemper.draw(Random(f"temper {seed}"))
        *expected, _ = on_threads(seed)
        speculation = str(seed % 2 == 0).lower()
        with machine(seed, temper, spark_speculation=speculation) as simulated:
            try:
                *found, added = run(simulated.sc, seed)
            except JobFailedError as error:
                happened["job failed"] += 1
                assert f"failed {FAILURES_MAX} times" in str(error), seed
                assert FAILURES_MAX in failures_of(simulated).values(), seed
            else:
                happened["job succeeded"] += 1
                assert found == expected, seed
                assert set(added.values()) <= {1}, "an update was counted twice"
                counted = {call[:3] for call in added}
                tasks = {attempt[:2] for attempt in counted}
                assert len(counted) == len(tasks), "two attempts of a task counted"
                assert counted <= succeeded(simulated), seed
                assert max(failures_of(simulated).values(), default=0) < FAILURES_MAX, (
                    seed
                )
        happened.update(simulated.workers.happened)

    assert set(happened) >= RARE, happened
    assert happened["job succeeded"] > SEEDS / 2
    assert happened["job failed"] > 0


def succeeded(simulated: Machine) -> set[tuple[int, int, int]]:
    """Return the attempts that were told to have been first to be done."""
    first: dict[tuple[int, int], int] = {}
    for told in simulated.workers.told:
        if isinstance(told.ending, Done):
            first.setdefault((told.stage_id, told.partition), told.attempt)
    return {(*task, attempt) for task, attempt in first.items()}


def failures_of(simulated: Machine) -> Counter[tuple[int, int]]:
    """Return how often each task counts as failed, by what was told of it."""
    failures: Counter[tuple[int, int]] = Counter()
    losses: Counter[tuple[int, int]] = Counter()
    done: set[tuple[int, int]] = set()
    for told in simulated.workers.told:
        task = told.stage_id, told.partition
        if task in done:
            continue
        match told.ending:
            case Done():
                done.add(task)
            case Broken():
                failures[task] += 1
            case Lost():
                losses[task] += 1
                failures[task] += losses[task] >= LOSSES_MAX
            case _:
                pass
    return failures


def lazily(pair: int) -> int:
    """Take a while, in a worker that is slow."""
    return pair + 1


def test_a_slow_task_is_done_by_its_copy() -> None:
    """On another worker; the first is ended, and neither counts twice."""
    temper = WorkerTemper(is_slow=0.15)
    won = 0
    for seed in range(20):
        with machine(seed, temper, 4, spark_speculation="true") as simulated:
            sc = simulated.sc
            seen = sc.accumulator(0)

            def count(number: int, seen: Any = seen) -> int:
                seen.add(1)
                return number

            assert sc.parallelize(range(16), 8).map(count).sum() == sum(range(16))
            assert seen.value == 16
            won += simulated.workers.happened["worker ended"]
            (stage,) = sc._driver.book._stages.values()
            assert (stage.active_count, stage.completed_count) == (0, 8)

    assert won > 0


def test_nobody_is_tried_twice_unless_that_is_asked_for() -> None:
    """However slow they are."""
    for seed in range(10):
        with machine(seed, WorkerTemper(is_slow=0.3)) as simulated:
            assert simulated.sc.parallelize(range(16), 8).map(lazily).count() == 16
            assert simulated.workers.happened["worker ended"] == 0
            assert {each.attempt for each in simulated.workers.told} == {0}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("first", range(0, STREAMS, BLOCK))
def test_streams_keep_their_promises_on_workers(first: int) -> None:
    """Whatever becomes of processes, receivers, disks and workers."""
    broken = []
    for seed in range(first, first + BLOCK):
        outcome = simulate(seed, has_workers=True)
        if outcome.error is not None:
            broken.append(f"millstream-sim --workers --seed {seed}: {outcome.error}")

    assert not broken, "\n".join(broken)


def test_a_seed_is_one_run_with_workers_too() -> None:
    """Turn for turn."""
    for seed in (1, 2):
        first = simulate(seed, has_workers=True)
        assert first.marks["fine"] > 0
        assert simulate(seed, has_workers=True).digest == first.digest
