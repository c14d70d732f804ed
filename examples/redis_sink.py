"""Adds up the words of a directory's files in a Redis hash, each word exactly once.

millstream run examples/redis_sink.py DIRECTORY URL KEY CHECKPOINT_DIRECTORY

Move text files into DIRECTORY. URL is a server's, such as redis://localhost:6379/0;
`redis-cli HGETALL KEY` shows the counts.
"""

import sys

from pyspark import SparkContext
from pyspark.streaming import StreamingContext

from millstream.streaming.sinks import RedisSink


def setup():
    """Build the stream; used when there is no checkpoint to go on from."""
    ssc = StreamingContext(SparkContext(appName="RedisSink"), 1)
    counts = (
        ssc.textFileStream(directory)
        .flatMap(lambda line: line.split())
        .map(lambda word: (word, 1))
        .reduceByKey(lambda a, b: a + b)
    )
    counts.writeTo(RedisSink(url, key, write="count"), name="counts")
    return ssc


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit("usage: redis_sink.py DIRECTORY URL KEY CHECKPOINT_DIRECTORY")
    directory, url, key, checkpoint = sys.argv[1:]
    ssc = StreamingContext.getOrCreate(checkpoint, setup)
    ssc.start()
    ssc.awaitTermination()
