"""Sinks: where `DStream.writeTo` commits batches, and the base class for your own."""

from millstream.engine.sinks.contract import (
    Opening,
    PartitionsChangedError,
    Sink,
    SinkBatch,
    StaleRunError,
    check_partitions,
    check_run,
)
from millstream.engine.sinks.records import Records

__all__ = [
    "Opening",
    "PartitionsChangedError",
    "Records",
    "Sink",
    "SinkBatch",
    "StaleRunError",
    "check_partitions",
    "check_run",
]
