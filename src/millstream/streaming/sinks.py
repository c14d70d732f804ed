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
    from millstream.engine.sinks.file_reading import CommittedFiles, read_manifest
    from millstream.engine.sinks.file_schema import SchemaError
    from millstream.engine.sinks.files import CsvSink, JsonSink, ParquetSink, TextSink
    from millstream.engine.sinks.iceberg import IcebergSink
    from millstream.engine.sinks.jetstream import JetStreamSink
    from millstream.engine.sinks.kafka import KafkaSink
    from millstream.engine.sinks.postgres import PostgresSink
    from millstream.engine.sinks.redis import RedisSink
    from millstream.engine.sinks.sqlite import SqliteSink
    from millstream.engine.sinks.table_errors import TableError
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
    "CommittedFiles": "file_reading",
    "ConsoleSink": "console",
    "CsvSink": "files",
    "DeltaSink": "delta",
    "DuckDbSink": "duckdb",
    "IcebergSink": "iceberg",
    "JetStreamSink": "jetstream",
    "JsonSink": "files",
    "KafkaSink": "kafka",
    "ParquetSink": "files",
    "PostgresSink": "postgres",
    "RedisSink": "redis",
    "SchemaError": "file_schema",
    "SqliteSink": "sqlite",
    "TableError": "table_errors",
    "TextSink": "files",
    "WebhookSink": "webhook",
    "read_manifest": "file_reading",
}


def __getattr__(name: str) -> Any:
    # What a program doesn't write to it needn't wait for.
    module = _MODULES.get(name)
    if module is None:
        msg = f"module '{__name__}' has no attribute '{name}'"
        raise AttributeError(msg)
    return getattr(import_module(f"millstream.engine.sinks.{module}"), name)
