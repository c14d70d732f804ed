"""What the live page costs the program that it shows, while somebody looks."""

import subprocess
import sys
import threading
import time
import warnings

from measuring import Benchmark

_SECONDS = 10.0
_BATCH_S = 0.1
_READER = """
import sys, urllib.request
with urllib.request.urlopen(sys.argv[1] + "/streaming/news") as news:
    news.readline()  # All there is.
    print("open", flush=True)
    while news.readline():
        pass
"""


def _cpu_s(*names: str) -> float:
    """Return the CPU seconds that the threads of these names have had."""
    clocks = [
        time.pthread_getcpuclockid(thread.ident)
        for thread in threading.enumerate()
        if thread.name in names and thread.ident is not None
    ]
    assert len(clocks) == len(names), "each of the threads runs"
    return sum(map(time.clock_gettime, clocks))


def _share(retained: int) -> float:
    """Return the share of a core, in per cent, with so many batches remembered."""
    from millstream import SparkConf, SparkContext
    from millstream.engine.streams.events import (
        BatchCompleted,
        BatchInfo,
        OutputOperationInfo,
        StreamInputInfo,
    )
    from millstream.streaming import StreamingContext

    warnings.simplefilter("ignore")
    conf = SparkConf().setMaster("local[2]").setAppName("page").set("spark.ui.port", 0)
    conf.set("spark.ui.enabled", "true")
    conf.set("spark.streaming.ui.retainedBatches", retained)
    with SparkContext(conf=conf) as sc:
        ssc = StreamingContext(sc, _BATCH_S)
        words = ssc.queueStream([], default=sc.parallelize(["to be or not"] * 100, 2))
        counts = words.flatMap(str.split).countByValue()
        counts.foreachRDD(lambda rdd: rdd.collect())
        ssc.start()
        progress = sc._observers.application.progress
        assert progress is not None, "the stream has started"
        first = int(time.time() * 1000) - retained * 100 - 60_000
        for time_ms in range(first, first + retained * 100, 100):
            output = OutputOperationInfo(
                time_ms, 0, "print", "print", time_ms + 1, time_ms + 20
            )
            info = BatchInfo(
                time_ms,
                {0: StreamInputInfo(0, 100)},
                time_ms,
                time_ms + 1,
                time_ms + 20,
                {0: output},
            )
            progress.on_event(BatchCompleted(info))
        url = sc.uiWebUrl
        assert url is not None, "the page is on"
        with subprocess.Popen(
            [sys.executable, "-c", _READER, url], stdout=subprocess.PIPE, text=True
        ) as reader:
            assert reader.stdout is not None, "its output is a pipe"
            reader.stdout.readline()
            time.sleep(1.0)  # What was said once is not what is measured.
            begin_s, begin = _cpu_s("millstream-page"), time.perf_counter()
            time.sleep(_SECONDS)
            used_s, took = (
                _cpu_s("millstream-page") - begin_s,
                time.perf_counter() - begin,
            )
            reader.terminate()
        ssc.stop(stopSparkContext=False)
    return 100 * used_s / took


def open_page() -> float:
    return _share(1000)


def open_page_of_many() -> float:
    return _share(10_000)


BENCHMARKS = [
    Benchmark(
        "page.open",
        "the page's thread at 10 batches/s with the page open, 1,000 batches remembered",
        "% of a core",
        1.0,
        open_page,
        runs=3,
    ),
    Benchmark(
        "page.open_10000",
        "the same, 10,000 batches remembered",
        "% of a core",
        None,
        open_page_of_many,
        runs=1,
    ),
]
