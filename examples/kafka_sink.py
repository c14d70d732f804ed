"""Sends the word counts of a directory's files to a Kafka topic, exactly once.

millstream run examples/kafka_sink.py DIRECTORY BOOTSTRAP_SERVERS TOPIC CHECKPOINT_DIRECTORY

Move text files into DIRECTORY. BOOTSTRAP_SERVERS are brokers, such as localhost:9092; read
TOPIC with isolation.level=read_committed.
"""

import sys

from pyspark import SparkContext
from pyspark.streaming import StreamingContext

from millstream.streaming.sinks import KafkaSink


def setup():
    """Build the stream; used when there is no checkpoint to go on from."""
    ssc = StreamingContext(SparkContext(appName="KafkaSink"), 1)
    counts = (
        ssc.textFileStream(directory)
        .flatMap(lambda line: line.split())
        .map(lambda word: (word, 1))
        .reduceByKey(lambda a, b: a + b)
    )
    counts.writeTo(KafkaSink(servers, topic), name="counts")
    return ssc


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(
            "usage: kafka_sink.py DIRECTORY BOOTSTRAP_SERVERS TOPIC CHECKPOINT_DIRECTORY"
        )
    directory, servers, topic, checkpoint = sys.argv[1:]
    ssc = StreamingContext.getOrCreate(checkpoint, setup)
    ssc.start()
    ssc.awaitTermination()
