"""The word count in Bytewax, a flow a file, on two workers.

bytewax_words.py FILE...
"""

import sys

import bytewax.operators as op
from bytewax.connectors.files import FileSource
from bytewax.dataflow import Dataflow
from bytewax.testing import TestingSink, cluster_main
from marks import mark


def flow_of(file: str, counts: list[tuple[str, int]]) -> Dataflow:
    flow = Dataflow("words")
    lines = op.input("lines", flow, FileSource(file, batch_size=10_000))
    words = op.flat_map("words", lines, lambda line: line.split(" "))
    counted = op.count_final("count", words, lambda word: word)
    op.output("counts", counted, TestingSink(counts))
    return flow


def main(*files: str) -> None:
    mark("started")
    for file in files:
        counts: list[tuple[str, int]] = []
        cluster_main(flow_of(file, counts), [], 0, worker_count_per_proc=2)
        mark("batch", len(counts))


if __name__ == "__main__":
    main(*sys.argv[1:])
