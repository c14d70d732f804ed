"""A million keys of state in a real stream; PySpark and Millstream run the same file.

running_state.py CASE MASTER KEYS WARM REPEATS

Marks `warm` and `done` like repeated jobs. The seconds are those of each batch's job, which
updates and counts the keys; in the case `mapped` only those that are touched. The result
is the sum of their values after the last batch, without what the batches have added, and
how many they are.
"""

import sys
import tempfile
import threading
import time
import warnings
from operator import itemgetter
from random import Random

from marks import mark
from pyspark import SparkContext
from pyspark.streaming import StreamingContext

_INTERVAL_S = 0.2
"""Shorter than a batch takes, so that one follows the other."""
_TOUCHED_PERCENT = 1


def add_up(new, total):
    return sum(new) + (total or 0)


def running_total(key, value, state):
    total = (state.getOption() or 0) + value
    state.update(total)
    return key, total


def updated(pairs, initial):
    return pairs.updateStateByKey(add_up, initialRDD=initial)


def mapped(pairs, initial):
    from millstream.streaming.state import StateSpec  # PySpark has none.

    spec = StateSpec.function(running_total).initialState(initial)
    return pairs.mapWithState(spec)


CASES = {"updated": updated, "mapped": mapped}


class Watch:
    """Runs in each batch: takes its time, and marks the warm and the last one."""

    def __init__(self, touched: int, warm: int, repeats: int) -> None:
        self._touched = touched
        self._warm = warm
        self._repeats = repeats
        self._seconds: list[float] = []
        self.done = threading.Event()

    def __reduce__(self):
        """Leave the lock out: what a stream calls is in its checkpoints."""
        return Watch, (self._touched, self._warm, self._repeats)

    def see(self, _time, rdd) -> None:
        if self.done.is_set():
            return
        begin_s = time.perf_counter()
        count = rdd.count()
        self._seconds.append(time.perf_counter() - begin_s)
        if len(self._seconds) == self._warm:
            mark("warm")
        if len(self._seconds) == self._warm + self._repeats:
            added = self._touched * len(self._seconds)
            result = [rdd.map(itemgetter(1)).sum() - added, count]
            mark("done", {"result": result, "seconds": self._seconds[self._warm :]})
            self.done.set()


def main(case: str, master: str, keys: str, *counts: str) -> None:
    warm, repeats = map(int, counts)
    context = SparkContext(master, "bench")
    context.setLogLevel("ERROR")
    with tempfile.TemporaryDirectory() as directory:
        streaming = StreamingContext(context, _INTERVAL_S)
        streaming.checkpoint(directory)
        every, touched = range(int(keys)), int(keys) * _TOUCHED_PERCENT // 100
        initial = context.parallelize([(key, 1) for key in every], 2)
        batches = [
            context.parallelize([(k, 1) for k in Random(n).sample(every, touched)], 2)
            for n in range(warm + repeats)
        ]
        watch = Watch(touched, warm, repeats)
        CASES[case](streaming.queueStream(batches), initial).foreachRDD(watch.see)
        mark("started")
        streaming.start()
        while not watch.done.is_set():
            streaming.awaitTerminationOrTimeout(0.1)  # Raises what a batch has raised.
        streaming.stop(stopSparkContext=True, stopGraceFully=False)


if __name__ == "__main__":
    warnings.simplefilter("ignore", FutureWarning)
    main(*sys.argv[1:])
