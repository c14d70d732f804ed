"""Appends the word counts of each second to a table of Apache Iceberg, each count once.

millstream run examples/iceberg_sink.py DIRECTORY CHECKPOINT_DIRECTORY WAREHOUSE

DIRECTORY is watched: move text files into it. WAREHOUSE is a directory: the
table goes there, with a catalog in a SQLite file.
"""

import os
import sys

from millstream import SparkConf, SparkContext
from millstream.streaming import StreamingContext
from millstream.streaming.sinks import IcebergSink


def row_of(pair):
    """Return a row of the table: its columns have the names of the dict's keys."""
    word, count = pair
    return {"word": word, "count": count}


def setup():
    """Build the stream; used when there is no checkpoint to go on from."""
    ssc = StreamingContext(
        SparkContext(conf=SparkConf().setAppName("IcebergWordCount")), 1
    )
    words = ssc.textFileStream(directory).flatMap(lambda line: line.split())
    counts = words.map(lambda word: (word, 1)).reduceByKey(lambda a, b: a + b)
    catalog = {
        "type": "sql",
        "uri": f"sqlite:///{warehouse}/catalog.db",
        "warehouse": f"file://{warehouse}",
    }
    counts.map(row_of).writeTo(IcebergSink(catalog, "demo.words"), name="words")
    return ssc


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: iceberg_sink.py DIRECTORY CHECKPOINT_DIRECTORY WAREHOUSE")
    directory, checkpoint, warehouse = sys.argv[1:]
    warehouse = os.path.abspath(warehouse)
    os.makedirs(warehouse, exist_ok=True)
    ssc = StreamingContext.getOrCreate(checkpoint, setup)
    ssc.start()
    ssc.awaitTermination()
