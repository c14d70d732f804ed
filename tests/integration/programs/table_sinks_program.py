"""A program that writes numbers to tables of all kinds, to be killed: DIRECTORY DSN.

`DSN` names a PostgreSQL database. Its password is in no checkpoint: the environment has it.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from millstream import SparkConf, SparkContext
from millstream.engine.sinks.delta import DeltaSink
from millstream.engine.sinks.duckdb import DuckDbSink
from millstream.engine.sinks.iceberg import IcebergSink
from millstream.engine.sinks.postgres.sink import PostgresSink
from millstream.engine.sinks.sqlite import SqliteSink
from millstream.streaming import StreamingContext
from millstream.streaming.direct import BatchPlan, DirectSource

NUMBERS = 900
BATCH = 30
BATCH_S = 0.25


@dataclass(frozen=True)
class Span:
    """Numbers from one to before another."""

    start: int
    until: int


class Numbers(DirectSource[Span, dict[str, int]]):
    """Some numbers a batch, in two ranges."""

    range_type = Span

    def plan(self, batch: BatchPlan[Span]) -> Sequence[Span]:
        """Return the next ones."""
        start = batch.previous[-1].until if batch.previous else 0
        middle = min(NUMBERS, start + BATCH // 2)
        until = min(NUMBERS, start + BATCH)
        return [Span(start, middle), Span(middle, until)]

    def read(self, of: Span) -> Iterator[dict[str, int]]:
        """Yield them."""
        for number in range(of.start, of.until):
            yield {"number": number, "digit": number % 10}


def catalog_of(directory: str) -> dict[str, str]:
    """Return the properties of the catalog that is in a directory."""
    return {
        "type": "sql",
        "uri": f"sqlite:///{directory}/catalog.db",
        "warehouse": f"file://{directory}/warehouse",
    }


def main(directory: str, dsn: str) -> None:
    """Run until it is stopped."""

    def build() -> StreamingContext:
        conf = SparkConf().setMaster("local[2]").setAppName("tables")
        ssc = StreamingContext(SparkContext(conf=conf), BATCH_S)
        numbers = ssc.directStream(Numbers())
        sinks = {
            "postgres": PostgresSink(dsn, "numbers"),
            "newest": PostgresSink(dsn, "newest", mode="upsert", key=["digit"]),
            "sqlite": SqliteSink(f"{directory}/numbers.db", "numbers"),
            "duckdb": DuckDbSink(f"{directory}/numbers.duckdb", "numbers"),
            "delta": DeltaSink(f"{directory}/delta"),
            "iceberg": IcebergSink(catalog_of(directory), "tests.numbers"),
        }
        for name, sink in sinks.items():
            numbers.writeTo(sink, name=name)
        ssc.checkpoint(f"{directory}/checkpoint")
        return ssc

    ssc = StreamingContext.getOrCreate(f"{directory}/checkpoint", build)
    ssc.start()
    ssc.awaitTermination()


if __name__ == "__main__":
    main(*sys.argv[1:])
