"""Counts the words of events that Flume agents push, every second.

millstream run examples/flume_wordcount.py HOST PORT

This program listens on HOST:PORT. An agent pushes to it with an Avro sink:
`a1.sinks.k1.type = avro`, `.hostname = HOST`, `.port = PORT`.
"""

import sys

from pyspark import SparkContext
from pyspark.streaming import StreamingContext
from pyspark.streaming.flume import FlumeUtils

if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: flume_wordcount.py HOST PORT")
    sc = SparkContext(appName="FlumeWordCount")
    ssc = StreamingContext(sc, 1)

    events = FlumeUtils.createStream(ssc, sys.argv[1], int(sys.argv[2]))
    counts = (
        events.flatMap(lambda event: event[1].split())
        .map(lambda word: (word, 1))
        .reduceByKey(lambda a, b: a + b)
    )
    counts.pprint()

    ssc.start()
    ssc.awaitTermination()
