"""Counts words in new files, over restarts and over new versions of this program.

millstream run examples/recoverable_wordcount.py /data/in /data/checkpoint

The first directory is watched: move text files into it. Stop the program,
change it, see what a restart would keep, and start it again:

millstream checkpoint plan /data/checkpoint recoverable_wordcount.py /data/in /data/checkpoint
"""

import sys

from millstream import SparkContext
from millstream.streaming import StreamingContext

SECONDS = 1


def words_of(line):
    """Return the words of a line."""
    return line.split()


def add_up(new_counts, total):
    """Return the total with this batch's counts added."""
    return sum(new_counts) + (total or 0)


def setup():
    """Build the whole stream: only what is made in here can be restored."""
    sc = SparkContext(appName="RecoverableWordCount")
    ssc = StreamingContext(sc, SECONDS)
    words = ssc.textFileStream(folder).named("lines").flatMap(words_of)
    # The names are what a later version finds positions and totals by.
    totals = words.map(lambda word: (word, 1)).updateStateByKey(add_up).named("totals")
    totals.pprint()
    return ssc


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: recoverable_wordcount.py DIRECTORY CHECKPOINT_DIRECTORY")
    folder, checkpoint = sys.argv[1:]
    ssc = StreamingContext.getOrCreate(checkpoint, setup, upgrade="apply")
    ssc.start()
    ssc.awaitTermination()
