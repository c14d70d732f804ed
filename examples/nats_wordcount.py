"""Counts the words of a JetStream stream's messages, each exactly once, every second.

millstream run examples/nats_wordcount.py URL STREAM CHECKPOINT_DIRECTORY

With `nats-server -js` on this machine: URL is nats://localhost:4222;
`nats stream add words --subjects 'words.>'` makes a STREAM, words, and
`nats pub words.a 'hello stream'` publishes.
"""

import sys

from pyspark import SparkContext
from pyspark.streaming import StreamingContext

from millstream.streaming.nats import NatsUtils


def setup():
    """Build the stream; used when there is no checkpoint to go on from."""
    ssc = StreamingContext(SparkContext(appName="NatsWordCount"), 1)
    messages = NatsUtils.createDirectStream(ssc, url, [stream], "earliest")
    counts = (
        messages.flatMap(lambda message: message.split())
        .map(lambda word: (word, 1))
        .updateStateByKey(lambda new, total: sum(new) + (total or 0))
    )
    counts.pprint()
    return ssc


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: nats_wordcount.py URL STREAM CHECKPOINT_DIRECTORY")
    url, stream, checkpoint = sys.argv[1:]
    ssc = StreamingContext.getOrCreate(checkpoint, setup)
    ssc.start()
    ssc.awaitTermination()
