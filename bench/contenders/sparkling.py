"""The word count in pysparkling, a file a job.

sparkling.py FILE...
"""

import sys

from marks import mark
from pysparkling import Context


def main(*files: str) -> None:
    context = Context()
    mark("started")
    for file in files:
        counts = (
            context.textFile(file)
            .flatMap(lambda line: line.split(" "))
            .map(lambda word: (word, 1))
            .reduceByKey(lambda a, b: a + b)
        )
        mark("batch", counts.count())


if __name__ == "__main__":
    main(*sys.argv[1:])
