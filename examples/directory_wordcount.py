"""Counts the words of text files as they appear in a directory.

millstream run examples/directory_wordcount.py /tmp/incoming

The directory is watched: move text files into it.
"""

import sys

from pyspark import SparkContext
from pyspark.streaming import StreamingContext

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: directory_wordcount.py DIRECTORY")
    sc = SparkContext(appName="DirectoryWordCount")
    ssc = StreamingContext(sc, 1)

    lines = ssc.textFileStream(sys.argv[1])
    counts = (
        lines.flatMap(lambda line: line.split(" "))
        .map(lambda word: (word, 1))
        .reduceByKey(lambda a, b: a + b)
    )
    counts.pprint()

    ssc.start()
    ssc.awaitTermination()
