"""What state costs: updateStateByKey calls its function for every key, every batch."""

import tempfile
from statistics import median

from measuring import Benchmark, cpu_s

from millstream.testing import StreamHarness

KEYS = 1_000_000
UPDATES = 1_000


def add_up(new: list[int], total: int | None) -> int:
    return sum(new) + (total or 0)


def _us_a_key(keys: int) -> tuple[float, float]:
    """Return the CPU of a usual batch and of one that checkpoints, in µs a key."""
    with (
        tempfile.TemporaryDirectory() as directory,
        StreamHarness(batch=1.0, master="local[2]", checkpoint=directory) as h,
    ):
        initial = h.sc.parallelize([(n, 1) for n in range(keys)], 2)
        batches = [[(n * 7 % keys, 1) for n in range(UPDATES)]] * 20
        state = h.stream(batches, partitions=2).updateStateByKey(
            add_up, initialRDD=initial
        )
        state.foreachRDD(lambda rdd: rdd.count())
        h.run(2)
        taken = [cpu_s(lambda: h.run(1)) for _ in range(12)]
    return median(taken) / keys * 1e6, max(taken) / keys * 1e6


def million_us() -> float:
    usual, with_checkpoint = _us_a_key(KEYS)
    million.notes["a batch that checkpoints"] = f"{with_checkpoint:.2f} us"
    return usual


def linear_ratio() -> float:
    return _us_a_key(KEYS)[0] / _us_a_key(KEYS // 10)[0]


million = Benchmark(
    "state.update",
    "updateStateByKey, 1M int keys, 1,000 touched: CPU a key and batch",
    "us",
    1.2,
    million_us,
    runs=3,
)
linear = Benchmark(
    "state.linear",
    "cost a key at 1M keys / at 100k keys",
    "x",
    1.5,
    linear_ratio,
    runs=1,
)

BENCHMARKS = [million, linear]
