"""Adds up the numbers in files of a directory; lines that are none go to dead letters.

python examples/bad_records.py /tmp/incoming /tmp/dead-letters
millstream dead-letters /tmp/dead-letters
millstream replay-dead-letters /tmp/dead-letters

/tmp/incoming is watched: move text files into it, a number a line, some of them none.
"""

import sys

from millstream import SparkContext
from millstream.streaming import StreamingContext
from millstream.streaming.bad_records import DeadLetters

if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: bad_records.py DIRECTORY DEAD_LETTERS")
    sc = SparkContext(appName="BadRecords")
    ssc = StreamingContext(sc, 1)

    lines = ssc.textFileStream(sys.argv[1])
    prices = lines.onError(DeadLetters(sys.argv[2]), name="prices").map(int)
    prices.reduce(lambda a, b: a + b).pprint()

    ssc.start()
    ssc.awaitTermination()
