"""Counts the words of events fetched from Flume agents: none is lost, over restarts too.

millstream run examples/flume_polling.py CHECKPOINT_DIRECTORY HOST:PORT [HOST:PORT ...]

Each HOST:PORT is Spark's sink in an agent: `a1.sinks.k1.type =
org.apache.spark.streaming.flume.sink.SparkSink`, `.hostname = HOST`, `.port = PORT`. It
keeps each batch until this program has it in its write-ahead log.
"""

import sys

from pyspark import SparkConf, SparkContext
from pyspark.streaming import StreamingContext
from pyspark.streaming.flume import FlumeUtils


def setup():
    """Build the stream; used when there is no checkpoint to go on from."""
    conf = SparkConf().setAppName("FlumePolling")
    conf.set("spark.streaming.receiver.writeAheadLog.enable", "true")
    ssc = StreamingContext(SparkContext(conf=conf), 1)
    events = FlumeUtils.createPollingStream(ssc, addresses)
    counts = (
        events.flatMap(lambda event: event[1].split())
        .map(lambda word: (word, 1))
        .reduceByKey(lambda a, b: a + b)
    )
    counts.pprint()
    return ssc


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: flume_polling.py CHECKPOINT_DIRECTORY HOST:PORT ...")
    pairs = [each.rpartition(":") for each in sys.argv[2:]]
    addresses = [(host, int(port)) for host, _, port in pairs]
    ssc = StreamingContext.getOrCreate(sys.argv[1], setup)
    ssc.start()
    ssc.awaitTermination()
