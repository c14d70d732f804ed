"""Counts the words of a Redis Stream's entries, each exactly once, every second.

millstream run examples/redis_wordcount.py URL STREAM CHECKPOINT_DIRECTORY

With `valkey-server` or `redis-server` on this machine: URL is redis://localhost:6379/0;
`redis-cli XADD STREAM '*' text 'hello stream'` adds an entry.
"""

import sys

from pyspark import SparkContext
from pyspark.streaming import StreamingContext

from millstream.streaming.redis import RedisUtils


def setup():
    """Build the stream; used when there is no checkpoint to go on from."""
    ssc = StreamingContext(SparkContext(appName="RedisWordCount"), 1)
    entries = RedisUtils.createDirectStream(ssc, url, [stream], "earliest")
    counts = (
        entries.flatMap(lambda entry: entry.get("text", "").split())
        .map(lambda word: (word, 1))
        .updateStateByKey(lambda new, total: sum(new) + (total or 0))
    )
    counts.pprint()
    return ssc


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: redis_wordcount.py URL STREAM CHECKPOINT_DIRECTORY")
    url, stream, checkpoint = sys.argv[1:]
    ssc = StreamingContext.getOrCreate(checkpoint, setup)
    ssc.start()
    ssc.awaitTermination()
