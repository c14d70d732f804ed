"""The demo program: an ordinary PySpark streaming job, and some printing."""

import sys
import warnings
from operator import add
from typing import TYPE_CHECKING

from millstream import SparkContext
from millstream.demo.line_source import LineSource, demo_lines
from millstream.streaming import StreamingContext, StreamingListener

if TYPE_CHECKING:
    from millstream import RDD
    from millstream.streaming.listener import BatchEvent

_TOP = 8


class Report(StreamingListener):
    """Adds up what the batches have done."""

    def __init__(self) -> None:
        """Start at nothing."""
        self.records = 0
        self.batches = 0
        self.busy_ms = 0

    def onBatchCompleted(self, batchCompleted: "BatchEvent") -> None:
        """Print one line a batch."""
        info = batchCompleted.batchInfo()
        took_ms = info.processingDelay()
        self.records += info.numRecords()
        self.batches += 1
        self.busy_ms += took_ms
        rate = info.numRecords() * 1000 / max(1, took_ms)
        print(
            f"  {info.numRecords():,} lines in {took_ms} ms: {rate:,.0f} lines/s\n",
            flush=True,
        )


def run_demo(seconds: float, rate: int) -> int:
    """Count words for so many seconds, or until Ctrl-C; return the exit code."""
    warnings.simplefilter("ignore", FutureWarning)
    source = LineSource(demo_lines(), rate)
    print(
        f"Counting the words of the Declaration of Independence, sent over and over by "
        f"127.0.0.1:{source.port}\nat {rate:,} lines a second, for {seconds:g} s "
        "(Ctrl-C ends it).\n",
        flush=True,
    )
    sc = SparkContext("local[*]", "Word count demo")
    ssc = StreamingContext(sc, 1)
    report = Report()
    ssc.addStreamingListener(report)

    lines = ssc.socketTextStream("127.0.0.1", source.port)
    counts = (
        lines.flatMap(lambda line: line.lower().split())
        .map(lambda word: (word.strip(".,;:-'"), 1))
        .reduceByKey(add)
    )

    def show(rdd: "RDD[tuple[str, int]]") -> None:
        top = rdd.top(_TOP, key=lambda pair: pair[1])
        print(", ".join(f"{word} {count:,}" for word, count in top))

    counts.foreachRDD(show)
    ssc.start()
    try:
        ssc.awaitTerminationOrTimeout(seconds)
    except KeyboardInterrupt:
        print("\nstopping", file=sys.stderr)
    finally:
        ssc.stop()
        source.close()
    rate_busy = report.records * 1000 / max(1, report.busy_ms)
    print(
        f"{report.records:,} lines in {report.batches} batches; "
        f"{rate_busy:,.0f} lines/s while processing."
    )
    return 0
