"""Counts words of files and posts each batch's counts to a web server, exactly once.

millstream run examples/webhook_sink.py DIRECTORY URL CHECKPOINT_DIRECTORY

DIRECTORY is watched: move text files into it. The server at URL must take each
Idempotency-Key once: see docs/sinks/webhook.md. A token for it is taken from the environment
variable WEBHOOK_TOKEN.
"""

import os
import sys

from millstream import SparkContext
from millstream.streaming import StreamingContext
from millstream.streaming.sinks import WebhookSink


def setup():
    """Build the stream; used when there is no checkpoint to go on from."""
    ssc = StreamingContext(SparkContext(appName="WebhookSink"), 1)
    words = ssc.textFileStream(directory).flatMap(lambda line: line.split())
    counts = words.map(lambda word: (word, 1)).reduceByKey(lambda a, b: a + b)
    sink = WebhookSink(url, token=os.environ.get("WEBHOOK_TOKEN"))
    counts.map(lambda pair: {"word": pair[0], "count": pair[1]}).writeTo(
        sink, name="counts"
    )
    return ssc


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: webhook_sink.py DIRECTORY URL CHECKPOINT_DIRECTORY")
    directory, url, checkpoint = sys.argv[1:]
    ssc = StreamingContext.getOrCreate(checkpoint, setup)
    ssc.start()
    ssc.awaitTermination()
