"""What a batch costs: empty ones, many small ones, and memory over many."""

import gc
import os
import subprocess
import sys
import tempfile
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import mean, median
from typing import Any

from measuring import Benchmark, cpu_s, rss_mib

from millstream import SparkConf, SparkContext
from millstream.streaming import StreamingContext, StreamingListener
from millstream.testing import StreamHarness

warnings.simplefilter("ignore", FutureWarning)

EMPTY_BATCHES = 500
INTERVAL_S = 0.01
SECONDS = 5
RECORDS = 1000
MANY_BATCHES = 20_000
# By then the bounded histories (1,000 batches, 1,000 jobs, ...) are full.
WARM_UP_BATCHES = 4_000


def _counts(lines: Any) -> Any:
    """Five operators, as a word count has them."""
    return (
        lines.flatMap(lambda line: line.split())
        .map(lambda word: (word, 1))
        .reduceByKey(lambda a, b: a + b)
        .filter(lambda pair: pair[1] > 0)
        .mapValues(lambda count: count)
    )


def empty_batch_ms() -> float:
    with StreamHarness(batch=1.0, master="local[2]") as h:
        _counts(h.stream()).foreachRDD(lambda rdd: rdd.take(11))
        h.run(20)
        return cpu_s(lambda: h.run(EMPTY_BATCHES)) * 1000 / EMPTY_BATCHES


class Delays(StreamingListener):
    """Keeps every batch's times."""

    def __init__(self) -> None:
        self.total_ms: list[int] = []
        self.busy_ms: list[int] = []

    def onBatchCompleted(self, batchCompleted: Any) -> None:
        info = batchCompleted.batchInfo()
        self.total_ms.append(info.totalDelay())
        self.busy_ms.append(info.processingDelay())


def _last_quarter_delay_ms(
    benchmark: Benchmark, make_lines: Callable[[StreamingContext], Any]
) -> float:
    """Return the mean delay of the last quarter of the batches, on one core."""
    all_cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(all_cores)})
    sc = SparkContext("local", "bench", conf=_conf())
    try:
        ssc = StreamingContext(sc, INTERVAL_S)
        delays = Delays()
        ssc.addStreamingListener(delays)
        _counts(make_lines(ssc)).foreachRDD(lambda rdd: rdd.take(11))

        def run() -> None:
            ssc.start()
            ssc.awaitTerminationOrTimeout(SECONDS)
            ssc.stop(stopSparkContext=False)

        busy = cpu_s(run)
    finally:
        sc.stop()
        os.sched_setaffinity(0, all_cores)
    quarter = len(delays.total_ms) // 4
    first, last = delays.total_ms[:quarter], delays.total_ms[-quarter:]
    benchmark.notes.update(
        {
            "batches/s": f"{len(delays.total_ms) / SECONDS:.0f}",
            "delay ms, first quarter": f"{mean(first):.1f}",
            "longest": f"{max(delays.total_ms)}",
            "processing ms": f"{median(delays.busy_ms):.0f}",
            "core busy": f"{busy / SECONDS:.0%}",
        }
    )
    return mean(last)


def _conf() -> SparkConf:
    return SparkConf().set("spark.streaming.blockInterval", "10ms")


def _line(number: int) -> str:
    return f"the quick brown fox number {number % 100}"


def sustained_queue_ms() -> float:
    def lines(ssc: StreamingContext) -> Any:
        rdd = ssc.sparkContext.parallelize([_line(n) for n in range(RECORDS)], 1)
        return ssc.queueStream([], default=rdd)

    return _last_quarter_delay_ms(sustained_queue, lines)


def sustained_socket_ms() -> float:
    """Read from a sender in a process of its own, which may use the other core."""
    program = Path(__file__).with_name("line_sender.py")
    with subprocess.Popen(
        [sys.executable, str(program)], stdout=subprocess.PIPE, text=True
    ) as sender:
        assert sender.stdout is not None, "its output is a pipe"
        port = int(sender.stdout.readline())
        try:
            return _last_quarter_delay_ms(
                sustained_socket, lambda ssc: ssc.socketTextStream("127.0.0.1", port)
            )
        finally:
            sender.kill()


def _grow(
    benchmark: Benchmark,
    build: Callable[[StreamHarness, Any], None],
    traced_batches: int,
) -> float:
    """Return by how many MiB memory grows from the warm-up to the last batch."""
    with (
        tempfile.TemporaryDirectory() as directory,
        _small_batches(build, directory) as h,
    ):
        h.run(WARM_UP_BATCHES)
        gc.collect()
        before = rss_mib()
        h.run(MANY_BATCHES - WARM_UP_BATCHES)
        gc.collect()
        after = rss_mib()
    benchmark.notes["RSS MiB"] = f"{before:.1f} -> {after:.1f}"
    with (
        tempfile.TemporaryDirectory() as directory,
        _small_batches(build, directory) as h,
    ):
        tracemalloc.start()
        h.run(WARM_UP_BATCHES)
        gc.collect()
        traced_before = tracemalloc.get_traced_memory()[0] / 1024
        h.run(traced_batches - WARM_UP_BATCHES)
        gc.collect()
        traced_after = tracemalloc.get_traced_memory()[0] / 1024
        tracemalloc.stop()
    benchmark.notes[f"tracemalloc KiB, {traced_batches:,} batches"] = (
        f"{traced_before:.0f} -> {traced_after:.0f}"
    )
    return after - before


def _small_batches(
    build: Callable[[StreamHarness, Any], None], directory: str
) -> StreamHarness:
    h = StreamHarness(batch=1.0, master="local[2]", checkpoint=directory)
    rdd = h.sc.parallelize([f"a b c word{n}" for n in range(20)], 2)
    build(h, h.ssc.queueStream([], default=rdd))
    return h


def _stateless(_: StreamHarness, lines: Any) -> None:
    _counts(lines).foreachRDD(lambda rdd: rdd.take(11))


def _stateful(_: StreamHarness, lines: Any) -> None:
    pairs = lines.flatMap(lambda line: line.split()).map(lambda word: (word, 1))
    pairs.reduceByKeyAndWindow(
        lambda a, b: a + b, lambda a, b: a - b, 10, 1
    ).foreachRDD(lambda rdd: rdd.take(11))
    pairs.updateStateByKey(lambda new, old: sum(new) + (old or 0)).foreachRDD(
        lambda rdd: rdd.take(11)
    )


def memory_mib() -> float:
    return _grow(memory, _stateless, MANY_BATCHES)


def memory_state_mib() -> float:
    return _grow(memory_state, _stateful, 8_000)


sustained_queue = Benchmark(
    "batches.sustained",
    "1,000 records every 10 ms on one core: mean delay, last quarter",
    "ms",
    10.0,
    sustained_queue_ms,
)
sustained_socket = Benchmark(
    "batches.sustained_socket",
    "the same over a socket, receiver included",
    "ms",
    10.0,
    sustained_socket_ms,
)
memory = Benchmark(
    "batches.memory",
    "RSS growth over 16,000 of 20,000 batches of a word count",
    "MiB",
    4.0,
    memory_mib,
    runs=1,
)
memory_state = Benchmark(
    "batches.memory_state",
    "the same with a window and state",
    "MiB",
    4.0,
    memory_state_mib,
    runs=1,
)

BENCHMARKS = [
    Benchmark(
        "batches.empty",
        "an empty batch with 5 operators, CPU",
        "ms",
        1.5,
        empty_batch_ms,
    ),
    sustained_queue,
    sustained_socket,
    memory,
    memory_state,
]
