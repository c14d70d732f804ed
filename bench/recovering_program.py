"""The program whose recovery is measured: mapWithState of many keys, a few touched a batch.

python recovering_program.py DIRECTORY KEYS

Says the time of each batch that is done.
"""

import sys
import warnings

from millstream import SparkConf, SparkContext
from millstream.streaming import StreamingContext, StreamingListener
from millstream.streaming.state import StateSpec

BATCH_S = 0.2
UPDATES = 1000


class Telling(StreamingListener):
    def onBatchCompleted(self, batchCompleted):
        print(batchCompleted.batchInfo().batchTime().milliseconds(), flush=True)


def count(key, one, state):
    state.update((state.getOption() or 0) + one)
    return key, state.get()


def setup(directory: str, keys: int) -> StreamingContext:
    conf = SparkConf().setMaster("local[2]").setAppName("recovery")
    ssc = StreamingContext(SparkContext(conf=conf), BATCH_S)
    step = max(1, keys // UPDATES)

    def touched(rdd):
        return rdd.context.range(0, keys, step, 2).map(lambda key: (key, 1))

    initial = ssc.sparkContext.range(0, keys, 1, 2).map(lambda key: (key, 1))
    spec = StateSpec.function(count).numPartitions(2).initialState(initial)
    lines = ssc.textFileStream(f"{directory}/in")
    lines.transform(touched).mapWithState(spec).foreachRDD(lambda rdd: rdd.count())
    return ssc


def main(directory: str, keys: str) -> None:
    ssc = StreamingContext.getOrCreate(
        f"{directory}/checkpoint", lambda: setup(directory, int(keys))
    )
    ssc.addStreamingListener(Telling())
    ssc.start()
    ssc.awaitTermination()


if __name__ == "__main__":
    warnings.simplefilter("ignore", FutureWarning)
    main(*sys.argv[1:])
