"""Jobs for PySpark, each run many times; PySpark and Millstream run the very same file.

jobs.py CASE MASTER WARM REPEATS [FILE]
"""

import sys
import time

from marks import mark, repeat
from pyspark import SparkContext

PAIRS = 625_000
SIDES = 8
_IDLE_S = 10.0
_PACE_S = 0.1


def words(context, file):
    """Count words, from the file to the last word, nothing kept from the time before."""

    def job():
        lines = context.textFile(file, 4).flatMap(lambda line: line.split())
        pairs = lines.map(lambda word: (word, 1))
        return pairs.reduceByKey(lambda a, b: a + b, 2).count()

    return job


def no_op(context):
    """Count in 64 tasks that have nothing to do."""
    rdd = context.parallelize(range(64), 64).map(abs)
    return rdd.count


def shuffle(context):
    """Make, shuffle 8 x 8 and sum by key what `arrow_shuffle.py` says."""

    def job():
        numbers = context.range(0, PAIRS, 1, SIDES)
        pairs = numbers.map(lambda n: (n * 2654435761 % 4294967296, n))
        sums = pairs.reduceByKey(lambda a, b: a + b, SIDES)
        return sums.map(lambda pair: pair[0] % 1013 * (pair[1] % 7)).sum()

    return job


def small(context):
    """Count by key in 4 and 4 tasks."""
    pairs = context.parallelize([(n, 1) for n in range(40)], 4)

    def job():
        return pairs.map(lambda pair: pair).reduceByKey(lambda a, b: a + b, 4).count()

    return job


CASES = {"words": words, "no_op": no_op, "shuffle": shuffle, "paced": small}


def idle(context) -> None:
    """Do nothing for a while after a first job."""
    context.parallelize(range(8), 8).map(abs).count()
    time.sleep(1)  # What the job has left to do.
    mark("warm")
    time.sleep(_IDLE_S)
    mark("done", {"result": None, "seconds": [_IDLE_S]})


def main(case: str, master: str, warm: str, repeats: str, *files: str) -> None:
    context = SparkContext(master, "bench")
    context.setLogLevel("ERROR")
    mark("started")
    if case == "idle":
        idle(context)
    else:
        pace_s = _PACE_S if case == "paced" else 0.0
        repeat(CASES[case](context, *files), int(warm), int(repeats), pace_s)
    context.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
