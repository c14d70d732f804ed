"""Appends the word counts of each second to a Delta Lake table, each count once.

millstream run examples/delta_sink.py DIRECTORY CHECKPOINT_DIRECTORY TABLE

DIRECTORY is watched: move text files into it. TABLE is a directory or a URI
like s3://bucket/words; read it with anything that reads Delta Lake.
"""

import sys

from millstream import SparkConf, SparkContext
from millstream.streaming import StreamingContext
from millstream.streaming.sinks import DeltaSink


def row_of(pair):
    """Return a row of the table: its columns have the names of the dict's keys."""
    word, count = pair
    return {"word": word, "count": count}


def setup():
    """Build the stream; used when there is no checkpoint to go on from."""
    ssc = StreamingContext(
        SparkContext(conf=SparkConf().setAppName("DeltaWordCount")), 1
    )
    words = ssc.textFileStream(directory).flatMap(lambda line: line.split())
    counts = words.map(lambda word: (word, 1)).reduceByKey(lambda a, b: a + b)
    counts.map(row_of).writeTo(DeltaSink(table), name="words")
    return ssc


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: delta_sink.py DIRECTORY CHECKPOINT_DIRECTORY TABLE")
    directory, checkpoint, table = sys.argv[1:]
    ssc = StreamingContext.getOrCreate(checkpoint, setup)
    ssc.start()
    ssc.awaitTermination()
