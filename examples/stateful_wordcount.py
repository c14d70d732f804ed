"""Counts words over a socket since the start: state carried from batch to batch.

python examples/line_server.py 9999 some_text.txt &
millstream run examples/stateful_wordcount.py localhost 9999 /tmp/checkpoint
"""

import sys

from pyspark import SparkContext
from pyspark.streaming import StreamingContext


def add_up(new_counts, total):
    """Return the total with this batch's counts added."""
    return sum(new_counts) + (total or 0)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: stateful_wordcount.py HOST PORT CHECKPOINT_DIRECTORY")
    sc = SparkContext(appName="StatefulWordCount")
    ssc = StreamingContext(sc, 1)
    ssc.checkpoint(sys.argv[3])

    initial = sc.parallelize([("hello", 1), ("world", 1)])
    lines = ssc.socketTextStream(sys.argv[1], int(sys.argv[2]))
    totals = (
        lines.flatMap(lambda line: line.split(" "))
        .map(lambda word: (word, 1))
        .updateStateByKey(add_up, initialRDD=initial)
    )
    totals.pprint()

    ssc.start()
    ssc.awaitTermination()
