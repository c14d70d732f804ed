"""State and windows on Millstream with the clock in hand; each measured batch is marked.

stateful.py CASE COLUMNAR [FILE...]
"""

import sys
import tempfile
import warnings
from operator import itemgetter
from random import Random

from marks import mark

from millstream.streaming.state import State, StateSpec
from millstream.testing import StreamHarness

KEYS = 1_000_000
TOUCHED = 10_000
BATCHES = 12
SMALL = 1_000


def _conf(columnar: str) -> dict[str, str]:
    return {"spark.millstream.columnar": columnar}


def touched(number: int) -> list[int]:
    return Random(number).sample(range(KEYS), TOUCHED)


def update(columnar: str) -> None:
    """Sum into 1M keys, 10,000 of them touched a batch."""
    with (
        tempfile.TemporaryDirectory() as directory,
        StreamHarness(
            master="local[2]", checkpoint=directory, conf=_conf(columnar)
        ) as h,
    ):
        initial = h.sc.parallelize([(key, 1) for key in range(KEYS)], 2)
        batches = [[(key, 1) for key in touched(n)] for n in range(BATCHES + 2)]
        state = h.stream(batches, partitions=2).updateStateByKey(
            lambda new, old: sum(new) + (old or 0), initialRDD=initial
        )
        counts = []
        state.foreachRDD(lambda rdd: counts.append(rdd.count()))
        h.run(2)
        mark("started")
        for _ in range(BATCHES):
            h.run(1)
            mark("batch", counts[-1])


def window(columnar: str, *files: str, is_incremental: bool) -> None:
    """Count the words of a window of 10 batches, a file a batch."""
    with (
        tempfile.TemporaryDirectory() as directory,
        StreamHarness(
            master="local[2]", checkpoint=directory, conf=_conf(columnar)
        ) as h,
    ):
        rdds = [h.sc.textFile(files[n % len(files)]) for n in range(10 + BATCHES)]
        inverse = (lambda a, b: a - b) if is_incremental else None
        counts = []
        (
            h.ssc.queueStream(rdds)
            .flatMap(lambda line: line.split(" "))
            .map(lambda word: (word, 1))
            .reduceByKeyAndWindow(lambda a, b: a + b, inverse, 10, 1)
            .foreachRDD(lambda rdd: counts.append(rdd.map(itemgetter(1)).sum()))
        )
        h.run(10)
        mark("started")
        for _ in range(BATCHES):
            h.run(1)
            mark("batch", counts[-1])


def _running_count(key: str, value: int, state: State) -> tuple[str, int]:
    total = (state.getOption() or 0) + value
    state.update(total)
    return key, total


def mapped(columnar: str, *files: str, is_reduced: bool) -> None:
    """Count words over all batches by mapWithState, a file a batch."""
    with (
        tempfile.TemporaryDirectory() as directory,
        StreamHarness(
            master="local[2]", checkpoint=directory, conf=_conf(columnar)
        ) as h,
    ):
        rdds = [h.sc.textFile(files[n % len(files)]) for n in range(2 + BATCHES)]
        pairs = (
            h.ssc.queueStream(rdds)
            .flatMap(lambda line: line.split(" "))
            .map(lambda word: (word, 1))
        )
        if is_reduced:
            pairs = pairs.reduceByKey(lambda a, b: a + b)
        counts = []
        pairs.mapWithState(StateSpec.function(_running_count)).foreachRDD(
            lambda rdd: counts.append(rdd.map(itemgetter(1)).sum())
        )
        h.run(2)
        mark("started")
        for _ in range(BATCHES):
            h.run(1)
            mark("batch", counts[-1])


def small(columnar: str) -> None:
    """Count the words of 1,000 lines a batch."""
    conf = _conf(columnar)
    with StreamHarness(master="local[2]", conf=conf) as h:
        lines = [f"the quick brown fox number {n % 100}" for n in range(SMALL)]
        counts = []
        (
            h.ssc.queueStream([], default=h.sc.parallelize(lines, 1))
            .flatMap(lambda line: line.split(" "))
            .map(lambda word: (word, 1))
            .reduceByKey(lambda a, b: a + b)
            .foreachRDD(lambda rdd: counts.append(rdd.count()))
        )
        h.run(50)
        mark("started")
        for _ in range(BATCHES):
            h.run(50)
            mark("batch", counts[-1])


def main(case: str, *args: str) -> None:
    match case:
        case "update":
            update(*args)
        case "window":
            window(*args, is_incremental=True)
        case "window_anew":
            window(*args, is_incremental=False)
        case "mapped":
            mapped(*args, is_reduced=False)
        case "mapped_reduced":
            mapped(*args, is_reduced=True)
        case "small":
            small(*args)


if __name__ == "__main__":
    warnings.simplefilter("ignore", FutureWarning)
    main(*sys.argv[1:])
