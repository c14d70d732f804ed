"""Sinks: where `DStream.writeTo` commits batches, and the base class for your own."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from millstream.engine.sinks.contract import (
    Opening,
    PartitionsChangedError,
    Sink,
    SinkBatch,
    StaleRunError,
    check_partitions,
    check_run,
    stale_run,
)
from millstream.engine.sinks.records import Records

if TYPE_CHECKING:
    from millstream.engine.sinks.console import ConsoleSink
    from millstream.engine.sinks.delta import DeltaSink
    from millstream.engine.sinks.duckdb import DuckDbSink
    from millstream.engine.sinks.files.reading import CommittedFiles, read_manifest
    from millstream.engine.sinks.files.schema import SchemaError
    from millstream.engine.sinks.files.sinks import (
        CsvSink,
        JsonSink,
        ParquetSink,
        TextSink,
    )
    from millstream.engine.sinks.iceberg import IcebergSink
    from millstream.engine.sinks.jetstream.sink import JetStreamSink
    from millstream.engine.sinks.kafka.sink import KafkaSink
    from millstream.engine.sinks.postgres.sink import PostgresSink
    from millstream.engine.sinks.redis import RedisSink
    from millstream.engine.sinks.sqlite import SqliteSink
    from millstream.engine.sinks.tables.errors import TableError
    from millstream.engine.sinks.webhook import WebhookSink

__all__ = [
    "CommittedFiles",
    "ConsoleSink",
    "CsvSink",
    "DeltaSink",
    "DuckDbSink",
    "IcebergSink",
    "JetStreamSink",
    "JsonSink",
    "KafkaSink",
    "Opening",
    "ParquetSink",
    "PartitionsChangedError",
    "PostgresSink",
    "Records",
    "RedisSink",
    "SchemaError",
    "Sink",
    "SinkBatch",
    "SqliteSink",
    "StaleRunError",
    "TableError",
    "TextSink",
    "WebhookSink",
    "check_partitions",
    "check_run",
    "read_manifest",
    "stale_run",
]

_MODULES = {
    "CommittedFiles": "files.reading",
    "ConsoleSink": "console",
    "CsvSink": "files.sinks",
    "DeltaSink": "delta",
    "DuckDbSink": "duckdb",
    "IcebergSink": "iceberg",
    "JetStreamSink": "jetstream.sink",
    "JsonSink": "files.sinks",
    "KafkaSink": "kafka.sink",
    "ParquetSink": "files.sinks",
    "PostgresSink": "postgres.sink",
    "RedisSink": "redis",
    "SchemaError": "files.schema",
    "SqliteSink": "sqlite",
    "TableError": "tables.errors",
    "TextSink": "files.sinks",
    "WebhookSink": "webhook",
    "read_manifest": "files.reading",
}


def __getattr__(name: str) -> Any:
    # What a program doesn't write to it needn't wait for.
    module = _MODULES.get(name)
    if module is None:
        msg = f"module '{__name__}' has no attribute '{name}'"
        raise AttributeError(msg)
    return getattr(import_module(f"millstream.engine.sinks.{module}"), name)
