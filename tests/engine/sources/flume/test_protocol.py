"""Tests of engine/sources/flume/protocol.py: golden messages, and what strangers send."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.sources.flume.frames import FlumeProtocolError
from millstream.engine.sources.flume.protocol import (
    EVENT,
    META,
    POLLING,
    PUSH,
    STATUS,
    Datums,
    md5,
    protocol_of,
    written,
)

# By hand, from Avro's specification: a map is a count, pairs and 0; numbers are zigzag.
GOLDEN_EVENT = bytes.fromhex("02 0261 0262 00 046869")
GOLDEN_BATCH = bytes.fromhex("04 02 0261 0262 00 046869 00 00 00")
PEER_EVENT = {
    "type": "record",
    "name": "E",
    "fields": [
        {"name": "headers", "type": {"type": "map", "values": "string"}},
        {"name": "body", "type": "bytes"},
    ],
}

events = st.lists(
    st.tuples(st.dictionaries(st.text(), st.text(), max_size=3), st.binary()),
    max_size=5,
)


def test_golden_events() -> None:
    """One with a header, and an empty one."""
    assert written((EVENT, {"headers": {"a": "b"}, "body": b"hi"})) == GOLDEN_EVENT
    assert Datums(GOLDEN_EVENT).event() == ({"a": "b"}, b"hi")
    datums = Datums(GOLDEN_BATCH)
    assert datums.events(2) == [({"a": "b"}, b"hi"), ({}, b"")]
    datums.end()


def test_golden_status_and_metadata() -> None:
    """OK, FAILED and UNKNOWN are 0, 1 and 2."""
    answers = [
        written((META, {}), (STATUS, each)) for each in ["OK", "FAILED", "UNKNOWN"]
    ]

    assert answers == [b"\x00\x00", b"\x00\x02", b"\x00\x04"]


@given(events)
def test_what_another_library_wrote_is_read(
    sent: list[tuple[dict[str, str], bytes]],
) -> None:
    """A batch that an Avro library has encoded as a whole."""
    import fastavro

    out = io.BytesIO()
    batch = [{"headers": headers, "body": body} for headers, body in sent]
    fastavro.schemaless_writer(out, {"type": "array", "items": PEER_EVENT}, batch)

    datums = Datums(out.getvalue())
    assert datums.events(5) == sent
    datums.end()


def test_a_block_may_tell_its_bytes() -> None:
    """A negative count says that the size follows."""
    datums = Datums(bytes.fromhex("01 0e") + GOLDEN_EVENT + b"\x00")

    assert datums.events(1) == [({"a": "b"}, b"hi")]


@pytest.mark.parametrize(
    ("data", "most"),
    [
        ("06 000000000000 00", 2),
        ("02 0000 02 0000 02 0000 00", 2),
        ("feffffffffffffffff01 0000", 1000),
        ("01 04 0000 05 02", 2),
    ],
)
def test_too_many_events_are_refused_before_they_are_read(data: str, most: int) -> None:
    """Over one block or many, whatever a block claims."""
    with pytest.raises(FlumeProtocolError, match=f"{most} are let in"):
        Datums(bytes.fromhex(data)).events(most)


@given(st.binary(max_size=300))
def test_garbage_ends_in_one_kind_of_error(garbage: bytes) -> None:
    """Nothing hangs, and no error of a library's gets out."""
    for read in (
        lambda: Datums(garbage).events(1000),
        lambda: Datums(garbage).read(META),
        lambda: Datums(garbage).read("string"),
        lambda: Datums(garbage).read(STATUS),
    ):
        try:
            read()
        except FlumeProtocolError:
            continue


def test_text_that_is_no_utf_8_is_kept_readable() -> None:
    """As Java does: an agent would send a refused event for ever."""
    assert Datums(bytes.fromhex("02 0261 02ff 00 00")).event() == ({"a": "\ufffd"}, b"")


def test_bytes_that_are_left_are_an_error() -> None:
    """They would be lost."""
    datums = Datums(GOLDEN_EVENT + b"xx")
    datums.event()

    with pytest.raises(FlumeProtocolError, match="2 bytes too many"):
        datums.end()


def test_the_hash_is_over_the_text() -> None:
    """MD5, known from elsewhere."""
    assert md5("").hex() == "d41d8cd98f00b204e9800998ecf8427e"
    assert protocol_of(json.dumps(json.loads(PUSH.text), indent=1)).hash != PUSH.hash


def test_types_are_the_same_however_they_are_written() -> None:
    """Java's properties, docs, full names and types written in place change no bytes."""
    space = "org.apache.flume.source.avro"
    text = {"type": "string", "avro.java.string": "String"}
    status = {
        "type": "enum",
        "name": "Status",
        "doc": "how it went",
        "symbols": ["OK", "FAILED", "UNKNOWN"],
    }
    event = {
        "type": "record",
        "name": f"{space}.AvroFlumeEvent",
        "fields": [
            {
                "name": "headers",
                "type": {"type": "map", "values": text, "avro.java.string": "String"},
            },
            {"name": "body", "type": {"type": "bytes"}, "default": ""},
        ],
    }
    batch = {"type": "array", "items": event}
    document = {
        "protocol": "Other",
        "namespace": space,
        "types": [status],
        "messages": {
            "append": {
                "request": [{"name": "e", "type": event}],
                "response": "Status",
            },
            "appendBatch": {
                "request": [{"name": "e", "type": batch}],
                "response": f"{space}.Status",
            },
        },
    }

    assert protocol_of(json.dumps(document)).messages == PUSH.messages


@pytest.mark.parametrize(
    "change",
    [
        ('"bytes"', '"string"'),
        ('"FAILED", "UNKNOWN"', '"UNKNOWN", "FAILED"'),
        ('"headers"', '"header"'),
        ("source.avro", "source.other"),
    ],
)
def test_types_that_differ_are_told_apart(change: tuple[str, str]) -> None:
    """Each of these changes bytes, or Avro's idea of them."""
    other = protocol_of(PUSH.text.replace(*change))

    assert other.messages["append"] != PUSH.messages["append"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "7",
        "{",
        '{"messages": []}',
        '{"messages": {"append": {"request": [{"type": "No"}], "response": "null"}}}',
        '{"types": [{"name": 3}]}',
        "[" * 100_000,
        '{"messages": {"a": {"request": [{"type": ' + '{"type":' * 2000 + '"int"' + "}" * 2000
        + '}], "response": "null"}}}',
    ],
    ids=lambda text: text[:20],
)  # fmt: skip
def test_a_text_that_is_no_protocol_is_refused(text: str) -> None:
    """Also one that goes too deep."""
    with pytest.raises(FlumeProtocolError, match="protocol can't be read"):
        protocol_of(text)


def test_a_type_may_contain_itself() -> None:
    """It is spelled out once."""
    node = {
        "type": "record",
        "name": "Node",
        "fields": [{"name": "next", "type": ["null", "Node"]}],
    }
    text = {
        "types": [node],
        "messages": {
            "m": {"request": [{"name": "n", "type": "Node"}], "response": "null"}
        },
    }

    (spelled,) = protocol_of(json.dumps(text)).messages["m"].request
    assert spelled["fields"][0]["type"] == ["null", "Node"]
    assert "getEventBatch" in POLLING.messages
