"""A DStream program for PySpark, on the files that appear in a directory.

dstreams.py CASE DIRECTORY INTERVAL BATCHES

PySpark and Millstream run the very same file. Each batch with data is marked.
"""

import json
import sys
import threading
import warnings

from marks import mark
from pyspark import SparkContext
from pyspark.streaming import StreamingContext


def words(lines):
    return (
        lines.flatMap(lambda line: line.split(" "))
        .map(lambda word: (word, 1))
        .reduceByKey(lambda a, b: a + b)
    )


def grep(lines):
    return lines.filter(lambda line: "needle" in line).count()


def csv(lines):
    return (
        lines.map(lambda line: line.split(","))
        .map(lambda f: (int(f[1]), float(f[2]), int(f[3]), f[4]))
        .filter(lambda sale: sale[1] > 100.0 and sale[0] % 3 != 0)
        .map(lambda sale: (sale[3], sale[1] * sale[2]))
        .reduceByKey(lambda a, b: a + b)
    )


def sums(lines):
    return lines.map(lambda line: json.loads(line)["price"]).reduce(lambda a, b: a + b)


def count(rdd):
    return rdd.count()


def only(rdd):
    return sum(rdd.collect())


def total(rdd):
    return sum(value for _, value in rdd.collect())


CASES = {
    "words": (words, count),
    "grep": (grep, only),
    "csv": (csv, total),
    "json": (sums, only),
}


def main(case: str, directory: str, interval: str, batches: str) -> None:
    transform, result_of = CASES[case]
    context = SparkContext("local[2]", "bench")
    context.setLogLevel("ERROR")
    streaming = StreamingContext(context, float(interval))
    done = threading.Event()
    seen = []

    def tell(rdd) -> None:
        result = result_of(rdd)
        if not result or done.is_set():
            return
        seen.append(result)
        mark("batch", result)
        if len(seen) == int(batches):
            done.set()

    transform(streaming.textFileStream(directory)).foreachRDD(tell)
    streaming.start()
    mark("started")
    while not done.is_set():
        streaming.awaitTerminationOrTimeout(0.1)  # Raises what a batch has raised.
    streaming.stop(stopSparkContext=True, stopGraceFully=False)


if __name__ == "__main__":
    warnings.simplefilter("ignore", FutureWarning)
    main(*sys.argv[1:])
