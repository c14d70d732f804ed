"""Small batches from a socket: milliseconds from the sending of a line to its output.

stamped.py PORT SECONDS
"""

import sys
import time
import warnings

from marks import mark
from pyspark import SparkContext
from pyspark.streaming import StreamingContext

_INTERVAL_S = 0.01


def main(port: str, seconds: str) -> None:
    context = SparkContext("local[2]", "bench")
    streaming = StreamingContext(context, _INTERVAL_S)
    taken_ms = []

    def tell(rdd) -> None:
        counts = rdd.collect()
        now = time.monotonic_ns()
        stamps = [word for word, _ in counts if word.startswith("@")]
        taken_ms.extend((now - int(stamp[1:])) / 1e6 for stamp in stamps)

    (
        streaming.socketTextStream("127.0.0.1", int(port))
        .flatMap(lambda line: line.split(" "))
        .map(lambda word: (word, 1))
        .reduceByKey(lambda a, b: a + b)
        .foreachRDD(tell)
    )
    streaming.start()
    streaming.awaitTerminationOrTimeout(float(seconds))
    mark("latencies", taken_ms)
    streaming.stop()


if __name__ == "__main__":
    warnings.simplefilter("ignore", FutureWarning)
    main(*sys.argv[1:])
