"""Feeds a stream from a queue of RDDs: no outside world needed.

millstream run examples/queue_stream.py
"""

from pyspark import SparkContext
from pyspark.streaming import StreamingContext

if __name__ == "__main__":
    sc = SparkContext(appName="QueueStream")
    ssc = StreamingContext(sc, 0.2)

    queue = [sc.parallelize(range(1, 1001), 10) for _ in range(5)]
    counts = (
        ssc.queueStream(queue)
        .map(lambda number: (number % 10, 1))
        .reduceByKey(lambda a, b: a + b)
    )
    counts.pprint()

    ssc.start()
    ssc.awaitTerminationOrTimeout(1.5)
    ssc.stop(stopSparkContext=True, stopGraceFully=True)
