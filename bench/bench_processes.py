"""Worker processes: what they bring to rows, and what they cost."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench_rows import LINES, add, split, text, to_pair
from data import cache_dir
from measuring import Benchmark, wall_s

from millstream import SparkConf, SparkContext
from millstream.engine.workers import pool

_NO_OP_TASKS = 64
_IDLE_S = 5.0


@contextmanager
def context(master: str, processes: str) -> Iterator[SparkContext]:
    """Give a context in which all goes by rows."""
    conf = SparkConf().setMaster(master).setAppName("bench")
    conf.set("spark.millstream.columnar", "off")
    with SparkContext(conf=conf.set("spark.millstream.processes", processes)) as sc:
        yield sc


def text_file() -> str:
    """Return a file with the lines of `text`; it is made once, beside other input."""
    path = cache_dir() / f"rows-{LINES}.txt"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        half = path.with_suffix(f".{os.getpid()}")
        half.write_text("\n".join(text()), encoding="utf-8")
        half.rename(path)
    return str(path)


def word_count_s(master: str) -> float:
    """Return the seconds that a word count takes, by rows, at its second time."""
    with context(master, "auto") as sc:
        counts = sc.textFile(text_file(), 4).flatMap(split).map(to_pair)
        counted = counts.reduceByKey(add, 2)

        assert counted.count() == len({word for line in text() for word in split(line)})
        sc._driver.forget_shuffles(counted._node)
        return wall_s(counted.count)


def speedup() -> float:
    """Return how many times as fast two slots are as one."""
    alone, together = word_count_s("local"), word_count_s("local[2]")
    rows.notes["seconds"] = f"{alone:.2f} and {together:.2f}"
    return alone / together


def no_op_ms() -> float:
    with context("local[2]", "always") as sc:
        rdd = sc.parallelize(range(_NO_OP_TASKS), _NO_OP_TASKS).map(abs)
        for _ in range(5):
            rdd.count()
        return min(wall_s(rdd.count) for _ in range(10)) * 1000


def ready_s() -> float:
    pool.close_all()  # Those of the run before would be ready.
    with context("local[2]", "always") as sc:
        rdd = sc.parallelize(range(2), 2).map(abs)
        return wall_s(rdd.count)


def recovery_s() -> float:
    """Return the seconds from a worker's death until a stage has run on two again."""
    with context("local[2]", "always") as sc:
        rdd = sc.parallelize(range(8), 8).map(lambda _: os.getpid())
        before = set(rdd.collect())
        while len(before) < 2:
            before |= set(rdd.collect())
        os.kill(min(before), signal.SIGKILL)
        begin = time.perf_counter()
        now: set[int] = set()
        while len(now - {min(before)}) < 2:
            now |= set(rdd.collect())
        return time.perf_counter() - begin


def idle_percent() -> float:
    """Return the share of a core that an idle context with workers takes, in %."""
    with context("local[2]", "always") as sc:
        sc.parallelize(range(8), 8).map(abs).count()
        pids = [os.getpid(), *sc._driver.elsewhere().pids]
        begin = sum(map(_cpu_s, pids))
        time.sleep(_IDLE_S)
        return (sum(map(_cpu_s, pids)) - begin) / _IDLE_S * 100


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


rows = Benchmark(
    "processes.rows",
    "word count by rows over 1M lines: throughput of local[2] / local",
    "x",
    1.7,
    speedup,
    runs=5,
    is_least=True,
)

BENCHMARKS = [
    rows,
    Benchmark(
        "processes.no_op",
        "a stage of 64 tasks that do nothing, in two worker processes, best of 10",
        "ms",
        12.0,
        no_op_ms,
    ),
    Benchmark(
        "processes.ready",
        "the first job of a program in worker processes, which start with it",
        "s",
        1.0,
        ready_s,
    ),
    Benchmark(
        "processes.recovery",
        "from the SIGKILL of a worker until two have run tasks again",
        "s",
        1.0,
        recovery_s,
    ),
    Benchmark(
        "processes.idle",
        "an idle context with two workers: share of a core",
        "%",
        0.5,
        idle_percent,
        runs=3,
    ),
]
