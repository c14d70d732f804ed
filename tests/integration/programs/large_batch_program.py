"""A million rows in one partition go to a sink: postgres DSN, or delta DIRECTORY.

Prints by how many MiB the process has grown at most, and how many the rows would take.
"""

import resource
import sys
from collections.abc import Iterator
from typing import Any

from millstream.engine.sinks.contract import Sink, SinkBatch
from millstream.engine.sinks.delta import DeltaSink
from millstream.engine.sinks.postgres.sink import PostgresSink
from millstream.engine.sinks.records import Records

ROWS = 1_000_000
_TEXT = "a text of some length, as rows have it, and different in each of them: "


def rows(count: int) -> Iterator[dict[str, Any]]:
    """Yield rows of some 300 bytes."""
    for number in range(count):
        text = f"{_TEXT * 2}{number * 7919 % 1_000_003}"
        yield {"number": number, "text": text, "other": text[::-1]}


def write(sink: Sink[Any], time_ms: int, run: int, count: int) -> None:
    """Commit a batch."""
    batch = SinkBatch("tests.large", time_ms, 1, run)
    sink.commit(batch, {0: sink.write(batch, 0, Records([rows(count)]))})


def peak_mib() -> float:
    """Return how many MiB the process has had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(kind: str, target: str) -> None:
    """Write a few rows, so that all is loaded, and then many."""
    made: dict[str, type[Any]] = {"postgres": PostgresSink, "delta": DeltaSink}
    sink: Sink[Any] = (
        made[kind](target, "large") if kind == "postgres" else made[kind](target)
    )
    run = sink.open("tests.large", 1).run
    write(sink, 1000, run, 100_000)
    before = peak_mib()
    write(sink, 2000, run, ROWS)
    print(round(peak_mib() - before), ROWS * 310 // (1 << 20))


if __name__ == "__main__":
    main(*sys.argv[1:])
