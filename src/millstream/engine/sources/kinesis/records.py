"""Kinesis records: what of a stored record is handed to a program.

The Kinesis Producer Library puts many records of a program into one stored record: four
bytes that tell of it, a Protocol Buffers message, and the MD5 sum of that. Described in
"KPL Aggregated Record Format" of its documents.
"""

import hashlib
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Any, NamedTuple

from millstream.engine.base.extras import needed
from millstream.engine.sources.kinesis.client import Stored

_MAGIC = b"\xf3\x89\x9a\xc2"
_DIGEST_BYTES = 16


class KinesisRecord(NamedTuple):
    """A record, with what Kinesis knows of it; what a `messageHandler` gets."""

    data: bytes
    partitionKey: str
    sequenceNumber: str
    subSequenceNumber: int
    """Its place among the records that were stored as one by the producer library."""
    approximateArrivalTimestamp: datetime
    shardId: str


def count_of(stored: Stored) -> int:
    """Return how many records one stored record is; at least one, to make it count."""
    message = _aggregate_of(stored.data)
    return 1 if message is None else max(1, len(message.records))


def unpacked(shard: str, records: Iterable[Stored]) -> Iterator[KinesisRecord]:
    """Yield the records of programs that are in stored ones."""
    for each in records:
        arrived = datetime.fromtimestamp(each.arrived_ms / 1000, UTC)
        message = _aggregate_of(each.data)
        if message is None:
            yield KinesisRecord(each.data, each.key, each.sequence, 0, arrived, shard)
            continue
        keys = message.partition_key_table
        for place, one in enumerate(message.records):
            key = keys[one.partition_key_index]
            yield KinesisRecord(one.data, key, each.sequence, place, arrived, shard)


def _aggregate_of(data: bytes) -> Any:
    """Return the message of an aggregated record; None where it is a plain one."""
    if not data.startswith(_MAGIC) or len(data) <= len(_MAGIC) + _DIGEST_BYTES:
        return None
    body, digest = data[len(_MAGIC) : -_DIGEST_BYTES], data[-_DIGEST_BYTES:]
    if hashlib.md5(body, usedforsecurity=False).digest() != digest:
        return None
    message, error = _message_types()
    made = message()
    try:
        made.ParseFromString(body)
    except error:
        return None
    return made


@cache
def _message_types() -> tuple[Any, type[Exception]]:
    """Return the type of aggregated records, and what parsing others raises."""
    before = list(sys.path)
    try:
        library = needed("aws_kinesis_agg.deaggregator", "kinesis", "KinesisUtils")
    finally:
        # It puts its own directory there, and with it names such as `messages_pb2`.
        sys.path[:] = before
    errors = needed("google.protobuf.message", "kinesis", "KinesisUtils")
    return library.messages_pb2.AggregatedRecord, errors.DecodeError
