"""How far one driver scales: its measured cost per task, simulated on many machines.

python bench/run.py scaling [--runs 3]

On worker processes and on Ray, the CPU time of the driver's process is measured for jobs of
more and more tasks, pieces of shuffles and bytes, and costs are fitted: so much for a stage, a
task, a piece (one map task's output for one reduce task) and a megabyte. Then a batch of two
stages is simulated on nodes of 8 slots, with a driver that does one thing at a time. It
needs no other machine, and says nothing of networks.
"""

import importlib.util
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from heapq import heappop, heappush
from operator import mul
from statistics import median

from millstream import SparkConf, SparkContext
from millstream.engine.workers.ray_actors import RayWorkers

_TASKS = (16, 64, 256, 1024)
_SIDES = (4, 8, 16, 32, 64)
_PAIRS = (100_000, 500_000, 1_000_000, 2_000_000)
_PAIR_BYTES = 16
_CALLS = 2_000
_ROUNDS = 10_000
_MB = 1e6

NODES = (1, 10, 30, 100)
SLOTS = 8


# What the driver's work costs.


@dataclass(frozen=True, slots=True)
class Costs:
    """CPU seconds of the driver's process, for one of each.

    Attributes:
        stage_s: A stage, however many tasks it has.
        task_s: A task: handed over, heard of.
        piece_s: One map task's output for one reduce task: noted, looked up, handed over.
        mb_s: A million bytes of a shuffle.
        call_s: A bare call of an actor, on Ray: a part of `task_s` that isn't ours.
        usual_miss: How far a measured job is from these, as a share of it: the median.
        worst_miss: ... at most.
    """

    stage_s: float
    task_s: float
    piece_s: float
    mb_s: float
    call_s: float
    usual_miss: float
    worst_miss: float


@contextmanager
def context(master: str) -> Iterator[SparkContext]:
    conf = SparkConf().setMaster(master).setAppName("scaling")
    conf.set("spark.executor.instances", "2")
    # Tasks that work for a while, as those of the estimate do, have a call each.
    RayWorkers.depth = 1
    with SparkContext(conf=conf.set("spark.millstream.processes", "always")) as sc:
        sc.parallelize(range(4), 4).map(abs).count()
        yield sc


@dataclass(frozen=True, slots=True)
class _Job:
    """A job that was measured: how much of what costs something, and what it took."""

    amounts: tuple[float, ...]
    """Stages, tasks, pieces, megabytes."""
    taken_s: float

    def told_s(self, costs: Sequence[float]) -> float:
        return sum(map(mul, self.amounts, costs))


def measured(master: str, runs: int) -> Costs:
    """Measure on this machine, on two workers."""
    with context(master) as sc:
        jobs = [_Job((1, n, 0, 0), _job_s(_no_op(sc, n), runs)) for n in _TASKS]
        jobs += [
            _Job((2, 2 * n, n * n, 0), _job_s(_shuffle(sc, n), runs)) for n in _SIDES
        ]
        jobs += [
            _Job((2, 16, 64, n * _PAIR_BYTES / _MB), _job_s(_shuffle_of(sc, n), runs))
            for n in _PAIRS
        ]
        call_s = _ray_call_s() if master == "ray" else 0.0
    stage_s, task_s, piece_s, mb_s = costs = fitted(jobs)
    misses = [abs(each.told_s(costs) / each.taken_s - 1) for each in jobs]
    return Costs(stage_s, task_s, piece_s, mb_s, call_s, median(misses), max(misses))


def fitted(jobs: Sequence[_Job]) -> list[float]:
    """Return the costs, none below 0, that miss the jobs by the least shares of them.

    Least squares of the relative misses, one cost after the other until none moves.
    """
    costs = [0.0] * 4
    for _ in range(_ROUNDS):
        for at in range(4):
            shares = [each.amounts[at] / each.taken_s for each in jobs]
            costs[at] = 0.0
            rest = [1 - each.told_s(costs) / each.taken_s for each in jobs]
            square = sum(share * share for share in shares)
            costs[at] = max(0.0, sum(map(mul, shares, rest)) / square)
    return costs


def _job_s(job: Callable[[], object], runs: int) -> float:
    """Return the CPU seconds of this process for a job, the median of some."""
    for _ in range(2):
        job()
    taken = []
    for _ in range(runs):
        begin = time.process_time()
        job()
        taken.append(time.process_time() - begin)
    return median(taken)


def _no_op(sc: SparkContext, tasks: int) -> Callable[[], object]:
    return sc.parallelize(range(tasks), tasks).map(abs).count


def _shuffle(sc: SparkContext, side: int) -> Callable[[], object]:
    """Return a job of `side` x `side` pieces with next to nothing in them."""
    pairs = sc.parallelize([(n, 1) for n in range(side * side)], side)

    def job() -> int:
        return pairs.map(lambda pair: pair).reduceByKey(max, side).count()

    return job


def _shuffle_of(sc: SparkContext, pairs: int) -> Callable[[], object]:
    """Return a job of 8 x 8 pieces of columns that hold so many pairs, all different."""
    numbers = sc.range(0, pairs, 1, 8).map(lambda n: (n * 2654435761 % 4294967296, n))

    def job() -> int:
        sums = numbers.map(lambda pair: pair).reduceByKey(lambda a, b: a + b, 8)
        return sums.count()

    return job


def _ray_call_s() -> float:
    """Return the CPU of a bare call of an actor, asked and answered by turns of 64."""
    import ray

    actors = [ray.remote(_Nothing).options(num_cpus=0).remote() for _ in range(2)]
    ray.get([each.do.remote() for each in actors])

    def calls() -> None:
        for _ in range(_CALLS // 64):
            ray.get([actors[n % 2].do.remote() for n in range(64)])

    taken = _job_s(calls, 3) / (_CALLS // 64 * 64)
    for each in actors:
        ray.kill(each)
    return taken


class _Nothing:
    def do(self) -> None:
        """Do nothing."""


# The simulation.


@dataclass(frozen=True, slots=True)
class Load:
    """What a batch does: as many map tasks as there are slots, then reduce tasks.

    Attributes:
        work_s: What a task takes in its executor.
        map_mb: What the reduce tasks get from one map task, in all.
        reduces_max: At most so many reduce tasks.
    """

    work_s: float = 0.1
    map_mb: float = 1.0
    reduces_max: int | None = None

    def reduces(self, slots: int) -> int:
        return min(slots, self.reduces_max or slots)


@dataclass(frozen=True, slots=True)
class Batch:
    """What a batch takes, in seconds.

    Attributes:
        whole_s: From its first task to the end of its last: no shorter interval will do.
        tasks_s: The driver's work for stages and tasks.
        pieces_s: ... for pieces of the shuffle.
        bytes_s: ... for the bytes of the shuffle.
        work_s: The tasks' own, one stage after the other.
    """

    whole_s: float
    tasks_s: float
    pieces_s: float
    bytes_s: float
    work_s: float

    @property
    def driver_s(self) -> float:
        return self.tasks_s + self.pieces_s + self.bytes_s

    @property
    def limit(self) -> str:
        """Say what most of the batch is spent on."""
        parts = {
            "the tasks' own work": self.work_s,
            "driver: stages and tasks": self.tasks_s,
            "driver: pieces of the shuffle": self.pieces_s,
            "driver: bytes of the shuffle": self.bytes_s,
        }
        return max(parts, key=parts.__getitem__)


class Driver:
    """One thing at a time: each piece of work begins when the one before has ended."""

    def __init__(self) -> None:
        self.free_s = 0.0

    def work(self, from_s: float, work_s: float) -> float:
        """Return when work that can begin at `from_s` has ended."""
        self.free_s = max(self.free_s, from_s) + work_s
        return self.free_s


def simulated(costs: Costs, slots: int, load: Load) -> Batch:
    """Return what a batch takes on so many slots."""
    reduces = load.reduces(slots)
    pieces, mb = slots * reduces, slots * load.map_mb
    # Half of what a piece and a byte cost is for taking them, half for handing them on.
    shuffle_s = (pieces * costs.piece_s + mb * costs.mb_s) / 2
    driver = Driver()
    begin_s = driver.work(0.0, costs.stage_s)
    mapped = (costs.task_s / 2, costs.task_s / 2 + shuffle_s / slots)
    begin_s = _stage_end_s(driver, begin_s, slots, slots, load.work_s, mapped)
    begin_s = driver.work(begin_s, costs.stage_s)
    reduced = (costs.task_s / 2 + shuffle_s / reduces, costs.task_s / 2)
    whole_s = _stage_end_s(driver, begin_s, reduces, slots, load.work_s, reduced)
    return Batch(
        whole_s,
        2 * costs.stage_s + (slots + reduces) * costs.task_s,
        pieces * costs.piece_s,
        mb * costs.mb_s,
        2 * load.work_s,
    )


def _stage_end_s(
    driver: Driver,
    begin_s: float,
    tasks: int,
    slots: int,
    work_s: float,
    driver_s: tuple[float, float],
) -> float:
    """Return when the driver has heard of the last task of a stage.

    `driver_s` is what it does for a task: before it runs, and when it has ended.
    """
    before_s, after_s = driver_s
    running: list[float] = []
    waiting, heard_s = tasks, begin_s
    while waiting or running:
        # It hands over as long as a slot is free, and hears of ends in between.
        is_due = bool(running) and running[0] <= max(driver.free_s, begin_s)
        if waiting and len(running) < slots and not is_due:
            heappush(running, driver.work(begin_s, before_s) + work_s)
            waiting -= 1
        else:
            heard_s = driver.work(heappop(running), after_s)
    return heard_s


# The tables.


def show(runs: int) -> None:
    """Measure and print the tables of docs/cluster.md."""
    found = {"worker processes": measured("local[2]", runs)}
    if importlib.util.find_spec("ray"):
        found["Ray actors"] = measured("ray", runs)
    print("\n".join(costs_table(found)))
    if (ray := found.get("Ray actors")) is not None:
        for load in (Load(), Load(reduces_max=64)):
            print()
            print("\n".join(scaling_table(ray, load)))


def costs_table(found: dict[str, Costs]) -> list[str]:
    return [
        "| driver's CPU | a stage | a task | a bare call | a piece | a MB | a job is off by |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {where} | {each.stage_s * 1e3:.2f} ms | {each.task_s * 1e6:.0f} us "
            f"| {f'{each.call_s * 1e6:.0f} us' if each.call_s else '-'} "
            f"| {each.piece_s * 1e6:.1f} us | {each.mb_s * 1e3:.2f} ms "
            f"| {each.usual_miss:.0%}, at most {each.worst_miss:.0%} |"
            for where, each in found.items()
        ),
    ]


def scaling_table(costs: Costs, load: Load) -> list[str]:
    most = load.reduces_max
    told = "as many reduce tasks as slots" if most is None else f"{most} reduce tasks"
    rows = []
    for nodes in NODES:
        slots = nodes * SLOTS
        batch = simulated(costs, slots, load)
        rows.append(
            f"| {nodes} | {slots} + {load.reduces(slots)} | {batch.tasks_s * 1e3:.0f} ms "
            f"| {batch.pieces_s * 1e3:.0f} ms | {batch.bytes_s * 1e3:.0f} ms "
            f"| {batch.driver_s / batch.whole_s:.0%} | {batch.whole_s:.2f} s "
            f"| {batch.limit} |"
        )
    title = f"| nodes of {SLOTS} ({told}) | tasks | for tasks | for pieces | for bytes "
    return [
        title + "| driver busy | shortest interval | most of it is |",
        "|---|---|---|---|---|---|---|---|",
        *rows,
    ]
