"""Appends the word counts of each second to a table in a SQLite file, each count once.

millstream run examples/sqlite_sink.py DIRECTORY CHECKPOINT_DIRECTORY FILE

DIRECTORY is watched: move text files into it. Look with `sqlite3 FILE 'SELECT * FROM words'`,
which may be done at any time.
"""

import sys

from millstream import SparkConf, SparkContext
from millstream.streaming import StreamingContext
from millstream.streaming.sinks import SqliteSink


def row_of(pair):
    """Return a row of the table: its columns have the names of the dict's keys."""
    word, count = pair
    return {"word": word, "count": count}


def setup():
    """Build the stream; used when there is no checkpoint to go on from."""
    ssc = StreamingContext(
        SparkContext(conf=SparkConf().setAppName("SqliteWordCount")), 1
    )
    words = ssc.textFileStream(directory).flatMap(lambda line: line.split())
    counts = words.map(lambda word: (word, 1)).reduceByKey(lambda a, b: a + b)
    counts.map(row_of).writeTo(SqliteSink(file, "words"), name="words")
    return ssc


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: sqlite_sink.py DIRECTORY CHECKPOINT_DIRECTORY FILE")
    directory, checkpoint, file = sys.argv[1:]
    ssc = StreamingContext.getOrCreate(checkpoint, setup)
    ssc.start()
    ssc.awaitTermination()
