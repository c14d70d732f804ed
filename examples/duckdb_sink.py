"""Appends the word counts of each second to a table in a DuckDB file, each count once.

millstream run examples/duckdb_sink.py DIRECTORY CHECKPOINT_DIRECTORY FILE

DIRECTORY is watched: move text files into it. The file is open only for the
moment of each commit; look with `duckdb -readonly FILE 'SELECT * FROM words'`.
"""

import sys

from millstream import SparkConf, SparkContext
from millstream.streaming import StreamingContext
from millstream.streaming.sinks import DuckDbSink


def row_of(pair):
    """Return a row of the table: its columns have the names of the dict's keys."""
    word, count = pair
    return {"word": word, "count": count}


def setup():
    """Build the stream; used when there is no checkpoint to go on from."""
    ssc = StreamingContext(
        SparkContext(conf=SparkConf().setAppName("DuckDbWordCount")), 1
    )
    words = ssc.textFileStream(directory).flatMap(lambda line: line.split())
    counts = words.map(lambda word: (word, 1)).reduceByKey(lambda a, b: a + b)
    counts.map(row_of).writeTo(DuckDbSink(file, "words"), name="words")
    return ssc


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: duckdb_sink.py DIRECTORY CHECKPOINT_DIRECTORY FILE")
    directory, checkpoint, file = sys.argv[1:]
    ssc = StreamingContext.getOrCreate(checkpoint, setup)
    ssc.start()
    ssc.awaitTermination()
