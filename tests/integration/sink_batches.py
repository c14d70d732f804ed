"""Batches for a sink: the steps of its protocol, taken as the engine takes them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from millstream.engine.sinks.contract import Sink, SinkBatch
from millstream.engine.sinks.records import Records


class Output:
    """Takes batches of records to a sink; a list of records is a partition."""

    def __init__(self, sink: Sink[Any], name: str = "tests.rows") -> None:
        """Begin a run."""
        self.sink, self.name = sink, name
        self.run = sink.open(name, 1).run

    def batch(self, time_ms: int, *parts: Sequence[Any]) -> SinkBatch:
        """Return what the sink is told of a batch."""
        return SinkBatch(self.name, time_ms, len(parts), self.run)

    def write(self, time_ms: int, *parts: Sequence[Any]) -> None:
        """Commit a batch, unless it is there."""
        batch = self.batch(time_ms, *parts)
        there = set(self.sink.begin(batch))
        try:
            written = {
                place: self.sink.write(batch, place, Records([rows]))
                for place, rows in enumerate(parts)
                if place not in there
            }
            if written:
                self.sink.commit(batch, written)
        except BaseException:
            self.sink.abort(batch)
            raise


@contextmanager
def without_iceberg_threads() -> Iterator[None]:
    """End the threads that pyiceberg keeps for a process."""
    from pyiceberg.utils.concurrent import ExecutorFactory

    try:
        yield
    finally:
        pool = ExecutorFactory._instance
        if pool is not None:
            pool.shutdown()
        ExecutorFactory._instance = None
