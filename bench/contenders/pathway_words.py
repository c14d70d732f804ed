"""The word count in Pathway, all files as one static input.

pathway_words.py DIRECTORY
"""

import sys

import pathway as pw
from marks import mark


def main(directory: str) -> None:
    mark("started")
    lines = pw.io.plaintext.read(directory, mode="static")
    words = lines.select(word=pw.apply_with_type(_words, list[str], pw.this.data))
    counts = (
        words.flatten(pw.this.word)
        .groupby(pw.this.word)
        .reduce(pw.this.word, count=pw.reducers.count())
    )
    # What reaches the output is counted; 100,000 calls are little beside the rest.
    seen: set[str] = set()

    def keep(row, is_addition, **_) -> None:
        if is_addition:
            seen.add(row["word"])

    pw.io.subscribe(counts, keep)
    pw.run(monitoring_level=pw.MonitoringLevel.NONE)
    mark("batch", len(seen))


def _words(line: str) -> list[str]:
    return line.split(" ")


if __name__ == "__main__":
    main(*sys.argv[1:])
