"""Counts the words of the last ten seconds, every two seconds, step by step.

python examples/line_server.py 9999 some_text.txt &
millstream run examples/windowed_wordcount.py localhost 9999 /tmp/checkpoint
"""

import sys

from pyspark import SparkContext
from pyspark.streaming import StreamingContext

if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: windowed_wordcount.py HOST PORT CHECKPOINT_DIRECTORY")
    sc = SparkContext(appName="WindowedWordCount")
    ssc = StreamingContext(sc, 1)
    ssc.checkpoint(sys.argv[3])

    lines = ssc.socketTextStream(sys.argv[1], int(sys.argv[2]))
    counts = (
        lines.flatMap(lambda line: line.split(" "))
        .map(lambda word: (word, 1))
        .reduceByKeyAndWindow(
            lambda a, b: a + b,
            lambda a, b: a - b,
            10,
            2,
            filterFunc=lambda kv: kv[1] > 0,
        )
    )
    counts.pprint()

    ssc.start()
    ssc.awaitTermination()
