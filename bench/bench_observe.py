"""What being looked at costs: the event log, and a scrape by Prometheus every second."""

import tempfile
import threading
import time
import warnings
from pathlib import Path
from typing import Any

from measuring import Benchmark

from millstream import SparkConf, SparkContext
from millstream.engine.observe.prometheus import exposition
from millstream.streaming import StreamingContext

warnings.simplefilter("ignore", FutureWarning)

INTERVAL_S = 0.1
SECONDS = 20
THREADS = ("millstream-event-log", "millstream-listeners")
REMEMBERED = 1000


def _thread_s(*names: str) -> float:
    """Return the CPU seconds that threads of these names have used."""
    ids = [each.native_id for each in threading.enumerate() if each.name in names]
    spent = [Path(f"/proc/self/task/{each}/schedstat").read_text() for each in ids]
    return sum(int(each.split()[0]) for each in spent) / 1e9


def cost_percent() -> float:
    """Return the share of a core that both take, of a stream with 10 batches a second.

    Their threads' own time, and the scrapes': what the whole stream takes differs by more
    from run to run.
    """
    with tempfile.TemporaryDirectory() as directory:
        conf = SparkConf(loadDefaults=False).set("spark.ui.enabled", "false")
        conf.set("spark.eventLog.enabled", "true").set("spark.eventLog.dir", directory)
        sc = SparkContext("local", "bench", conf=conf)
        ssc = StreamingContext(sc, INTERVAL_S)
        try:
            lines: Any = ssc.queueStream([sc.parallelize(["a b c"] * 10, 2)] * 10_000)
            pairs = lines.flatMap(str.split).map(lambda word: (word, 1))
            pairs.reduceByKey(lambda a, b: a + b).foreachRDD(lambda rdd: rdd.take(11))
            ssc.start()
            ssc.awaitTerminationOrTimeout(1)
            exposition(sc._observers.application)  # Imports.
            all_s, ours_s, scrapes_s = time.process_time(), _thread_s(*THREADS), 0.0
            for _ in range(SECONDS):
                ssc.awaitTerminationOrTimeout(1)
                begin = time.thread_time()
                exposition(sc._observers.application)
                scrapes_s += time.thread_time() - begin
            ours_s = _thread_s(*THREADS) - ours_s
            all_s = time.process_time() - all_s
        finally:
            ssc.stop()
    COST.notes["scrapes"] = f"{scrapes_s / SECONDS:.3%} of a core"
    COST.notes["event log and listeners' bus"] = f"{ours_s / SECONDS:.3%} of a core"
    COST.notes["the whole stream"] = f"{all_s / SECONDS:.2%} of a core"
    return (ours_s + scrapes_s) / SECONDS * 100


def scrape_ms() -> float:
    """Return what a scrape takes when 1,000 batches are remembered."""
    from millstream.engine.observe.progress import StreamProgress
    from millstream.engine.streams import events

    given = SparkConf(loadDefaults=False).set("spark.ui.enabled", "false")
    with SparkContext("local", "bench", conf=given) as sc:
        progress = StreamProgress(100)
        for number in range(REMEMBERED):
            at = number * 100
            output = events.OutputOperationInfo(at, 0, "print", "", at, at + 10)
            given_to = {0: events.StreamInputInfo(0, 10)}
            info = events.BatchInfo(at, given_to, at, at, at + 10, {0: output})
            progress.on_event(events.BatchCompleted(info))
        application = sc._observers.application
        application.picture = progress.picture
        exposition(application)
        begin = time.process_time()
        for _ in range(50):
            exposition(application)
        return (time.process_time() - begin) * 1000 / 50


COST = Benchmark(
    "observe_cost",
    "event log and a scrape a second, 10 batches/s",
    "% of a core",
    1.0,
    cost_percent,
    runs=3,
)
BENCHMARKS = [
    COST,
    Benchmark(
        "observe_scrape",
        "a scrape, with 1,000 batches remembered",
        "ms",
        10.0,
        scrape_ms,
        runs=3,
    ),
]
