"""The word count of one socket: how many words each batch had and how long it took.

socket_words.py PORT INTERVAL

Marks each batch with data: words in all, and milliseconds from its time to its end.
"""

import sys
import time
import warnings

from marks import mark
from pyspark import SparkContext
from pyspark.streaming import StreamingContext


def main(port: str, interval: str) -> None:
    context = SparkContext("local[2]", "bench")
    streaming = StreamingContext(context, float(interval))

    def tell(batch, rdd) -> None:
        words = sum(count for _, count in rdd.collect())
        if words:
            mark("batch", [words, (time.time() - batch.timestamp()) * 1000])

    (
        streaming.socketTextStream("127.0.0.1", int(port))
        .flatMap(lambda line: line.split(" "))
        .map(lambda word: (word, 1))
        .reduceByKey(lambda a, b: a + b)
        .foreachRDD(tell)
    )
    streaming.start()
    mark("started")
    streaming.awaitTermination()


if __name__ == "__main__":
    warnings.simplefilter("ignore", FutureWarning)
    main(*sys.argv[1:])
