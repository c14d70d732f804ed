"""Tasks on a Ray cluster of this machine: what the driver's part of them costs."""

import importlib.util
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from measuring import Benchmark, wall_s

from millstream import SparkConf, SparkContext

_NO_OP_TASKS = 64
_PACED = 50
_PACE_S = 0.1


@contextmanager
def cluster() -> Iterator[SparkContext]:
    """Give a context on a cluster of two CPUs, started for it."""
    conf = SparkConf().setMaster("ray").setAppName("bench")
    with SparkContext(conf=conf.set("spark.executor.instances", "2")) as sc:
        sc.parallelize(range(4), 4).map(abs).count()
        yield sc


def no_op_ms() -> float:
    with cluster() as sc:
        rdd = sc.parallelize(range(_NO_OP_TASKS), _NO_OP_TASKS).map(abs)
        for _ in range(5):
            rdd.count()
        return min(wall_s(rdd.count) for _ in range(10)) * 1000


def paced_percent() -> float:
    """Return the share of a core that the whole tree takes for a 4 x 4 job each 100 ms."""
    with cluster() as sc:
        pairs = sc.parallelize([(n, 1) for n in range(40)], 4)

        def job() -> None:
            pairs.map(lambda pair: pair).reduceByKey(lambda a, b: a + b, 4).count()

        for _ in range(10):
            job()
        begin_s, cpu_s = time.perf_counter(), _tree_cpu_s()
        for number in range(_PACED):
            job()
            until_s = begin_s + (number + 1) * _PACE_S
            time.sleep(max(0.0, until_s - time.perf_counter()))
        took_s = time.perf_counter() - begin_s
        return (_tree_cpu_s() - cpu_s) / took_s * 100


def _tree_cpu_s() -> float:
    """Return the CPU seconds of this process and all below it."""
    parents: dict[int, int] = {}
    taken: dict[int, float] = {}
    for each in Path("/proc").glob("[0-9]*"):
        try:
            fields = (each / "stat").read_text("ascii", "replace").rpartition(")")[2]
        except OSError:
            continue  # It has just ended.
        words = fields.split()
        parents[int(each.name)] = int(words[1])
        taken[int(each.name)] = (int(words[11]) + int(words[12])) / os.sysconf(
            "SC_CLK_TCK"
        )

    def is_ours(pid: int) -> bool:
        while pid in parents:
            if pid == os.getpid():
                return True
            pid = parents[pid]
        return False

    return sum(s for pid, s in taken.items() if is_ours(pid))


BENCHMARKS = (
    [
        Benchmark(
            "ray.no_op",
            "a stage of 64 tasks that do nothing, on two actors, best of 10",
            "ms",
            40.0,
            no_op_ms,
            runs=3,
        ),
        Benchmark(
            "ray.paced",
            "a job of 4 and 4 tasks each 100 ms: share of a core, Ray's processes too",
            "%",
            25.0,
            paced_percent,
            runs=3,
        ),
    ]
    if importlib.util.find_spec("ray")
    else []
)
