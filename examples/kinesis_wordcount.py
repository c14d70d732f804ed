"""Counts the words of records that are put into a Kinesis stream, every second.

millstream run examples/kinesis_wordcount.py STREAM REGION CHECKPOINT_DIRECTORY [ENDPOINT]

STREAM is there already, in REGION; its records are lines of text. The credentials are
the environment's: AWS_PROFILE, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the machine's
role. With a server for tests, such as moto's or kinesalite, ENDPOINT is its URL.
"""

import sys

from pyspark import SparkContext
from pyspark.streaming import StreamingContext
from pyspark.streaming.kinesis import InitialPositionInStream, KinesisUtils


def setup():
    """Build the stream; used when there is no checkpoint to go on from."""
    ssc = StreamingContext(SparkContext(appName="KinesisWordCount"), 1)
    lines = KinesisUtils.createStream(
        ssc,
        "KinesisWordCount",
        stream,
        endpoint,
        region,
        InitialPositionInStream.TRIM_HORIZON,
        1,
    )
    counts = (
        lines.flatMap(lambda line: line.split())
        .map(lambda word: (word, 1))
        .reduceByKey(lambda a, b: a + b)
    )
    counts.pprint()
    return ssc


if __name__ == "__main__":
    if len(sys.argv) not in {4, 5}:
        sys.exit(
            "usage: kinesis_wordcount.py STREAM REGION CHECKPOINT_DIRECTORY [ENDPOINT]"
        )
    stream, region, checkpoint = sys.argv[1:4]
    endpoint = sys.argv[4] if len(sys.argv) == 5 else None
    ssc = StreamingContext.getOrCreate(checkpoint, setup)
    ssc.start()
    ssc.awaitTermination()
