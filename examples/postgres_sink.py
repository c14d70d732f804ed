"""Keeps the total of each word in a PostgreSQL table: one row a word, exactly right.

PGPASSWORD=... millstream run examples/postgres_sink.py DIRECTORY CHECKPOINT_DIRECTORY DSN

DIRECTORY is watched: move text files into it. DSN says how to connect, such as
postgresql://me@localhost/shop; the password comes from the environment. The table `totals`
is made.
"""

import sys

from millstream import SparkConf, SparkContext
from millstream.streaming import StreamingContext
from millstream.streaming.sinks import PostgresSink


def add_up(new_counts, total):
    """Return the total with this batch's counts added."""
    return sum(new_counts) + (total or 0)


def setup():
    """Build the stream; used when there is no checkpoint to go on from."""
    conf = SparkConf().setAppName("PostgresWordCount")
    ssc = StreamingContext(SparkContext(conf=conf), 1)
    words = ssc.textFileStream(directory).flatMap(lambda line: line.split())
    totals = words.map(lambda word: (word, 1)).updateStateByKey(add_up)
    sink = PostgresSink(dsn, "totals", mode="upsert", key=["word"])
    totals.writeTo(sink, name="totals", columns=["word", "total"])
    return ssc


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: postgres_sink.py DIRECTORY CHECKPOINT_DIRECTORY DSN")
    directory, checkpoint, dsn = sys.argv[1:]
    ssc = StreamingContext.getOrCreate(checkpoint, setup)
    ssc.start()
    ssc.awaitTermination()
