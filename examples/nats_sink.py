"""Publishes the word counts of a directory's files to a JetStream stream, exactly once.

millstream run examples/nats_sink.py DIRECTORY URL STREAM CHECKPOINT_DIRECTORY

With `nats-server -js` on this machine, URL is nats://localhost:4222. STREAM is to store the
subjects counts.*: `nats stream add counts --subjects 'counts.*'`.
Move text files into DIRECTORY; `nats sub 'counts.*'` shows what is published.
"""

import sys

from pyspark import SparkContext
from pyspark.streaming import StreamingContext

from millstream.streaming.sinks import JetStreamSink


def setup():
    """Build the stream; used when there is no checkpoint to go on from."""
    ssc = StreamingContext(SparkContext(appName="NatsSink"), 1)
    counts = (
        ssc.textFileStream(directory)
        .flatMap(lambda line: line.split())
        .map(lambda word: (word, 1))
        .reduceByKey(lambda a, b: a + b)
        .map(lambda pair: {"word": pair[0], "count": pair[1]})
    )
    sink = JetStreamSink(url, stream, lambda each: f"counts.{each['word'][:1]}")
    counts.writeTo(sink, name="counts")
    return ssc


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit("usage: nats_sink.py DIRECTORY URL STREAM CHECKPOINT_DIRECTORY")
    directory, url, stream, checkpoint = sys.argv[1:]
    ssc = StreamingContext.getOrCreate(checkpoint, setup)
    ssc.start()
    ssc.awaitTermination()
