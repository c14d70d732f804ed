"""Kinesis records: those of the producer library come one by one."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.sources.kinesis.client import Stored
from millstream.engine.sources.kinesis.records import (
    _message_types,
    count_of,
    unpacked,
)


def aggregated(*records: tuple[str, bytes]) -> bytes:
    """Return records in one, as the producer library has it."""
    message = _message_types()[0]()
    for number, (key, data) in enumerate(records):
        message.partition_key_table.append(key)
        message.records.add(partition_key_index=number, data=data)
    body: bytes = message.SerializeToString()
    return b"\xf3\x89\x9a\xc2" + body + hashlib.md5(body).digest()


def stored(data: bytes, sequence: str = "7") -> Stored:
    """Return a stored record."""
    return Stored(sequence, "outer", data, 1_000)


def test_aggregated_records_are_unpacked() -> None:
    """Each has its own key, and its place in what they were stored in."""
    data = aggregated(("a", b"x"), ("b", b"y"))
    found = list(unpacked("shard", [stored(b"plain", "6"), stored(data)]))

    assert [
        (each.data, each.partitionKey, each.sequenceNumber, each.subSequenceNumber)
        for each in found
    ] == [(b"plain", "outer", "6", 0), (b"x", "a", "7", 0), (b"y", "b", "7", 1)]
    assert found[0].approximateArrivalTimestamp.timestamp() == 1
    assert {each.shardId for each in found} == {"shard"}
    assert count_of(stored(data)) == 2


@given(st.binary())
def test_what_only_looks_like_it_is_a_plain_record(noise: bytes) -> None:
    """The magic bytes and even the sum may be right by chance: no record is lost."""
    damaged = bytearray(aggregated(("a", b"x" * 30)))
    damaged[10] ^= 1
    for data in (
        noise,
        bytes(damaged),
        b"\xf3\x89\x9a\xc2" + noise,
        b"\xf3\x89\x9a\xc2",
    ):
        assert [each.data for each in unpacked("shard", [stored(data)])] == [data]
    no_message = b"\xf3\x89\x9a\xc2\xff" + noise + hashlib.md5(b"\xff" + noise).digest()
    assert [each.data for each in unpacked("s", [stored(no_message)])] == [no_message]
