"""Tests of engine/sources/flume/session.py: handshakes and calls, against golden bytes."""

import json

import pytest
from tests.integration.servers.flume import POLLING as PEER_POLLING
from tests.integration.servers.flume import PUSH as PEER_PUSH
from tests.integration.servers.flume import (
    Reader,
    array,
    call,
    data,
    digest,
    event,
    handshake,
)

from millstream.engine.sources.flume.frames import FlumeProtocolError
from millstream.engine.sources.flume.protocol import POLLING, PUSH, STATUS, protocol_of
from millstream.engine.sources.flume.session import (
    ClientSession,
    FlumeCallError,
    KnownProtocols,
    ServerSession,
)

GOLDEN_CALL = bytes.fromhex("00 16 617070656e644261746368 02 02 0261 0262 00 046869 00")
GOLDEN_OK = bytes.fromhex("00 00 00")
BATCH = call("appendBatch", array([event({"a": "b"}, b"hi")]))


def session() -> ServerSession:
    """Return a new server's."""
    return ServerSession(KnownProtocols(PUSH))


def test_the_peer_encodes_as_the_specification_says() -> None:
    """The golden call: no metadata, the name, one event."""
    assert BATCH == GOLDEN_CALL


def test_a_client_that_knows_the_server_gets_both() -> None:
    """BOTH, without the protocol; the call's answer follows in the same message."""
    shake = handshake(PUSH.text, PUSH.hash)
    asked = session().receive(shake + GOLDEN_CALL)

    assert asked.name == "appendBatch"
    assert not asked.is_foreign
    assert asked.parameters.events(10) == [({"a": "b"}, b"hi")]
    # Match 0 (BOTH), and three nulls.
    assert asked.answer(STATUS, "OK") == bytes(4) + GOLDEN_OK


def test_a_client_that_does_not_is_told_the_protocol() -> None:
    """CLIENT, with text and hash; after it, messages have no handshake."""
    served = session()
    asked = served.receive(handshake(PEER_PUSH, digest(PEER_PUSH)) + GOLDEN_CALL)
    reply = Reader(asked.answer(STATUS, "FAILED"))

    assert reply.handshake_response() == ("CLIENT", PUSH.text.encode(), PUSH.hash)
    assert reply.rest == bytes.fromhex("00 00 02")
    asked = served.receive(GOLDEN_CALL)
    assert not asked.is_foreign
    assert asked.answer(STATUS, "OK") == GOLDEN_OK


def test_a_hash_that_nobody_knows_is_answered_with_none() -> None:
    """No call is answered, and the next message begins with a handshake again."""
    served = session()
    unknown = served.receive(
        handshake(PEER_PUSH, digest(PEER_PUSH), tells=False) + GOLDEN_CALL
    )
    reply = Reader(unknown.handshake())

    assert unknown.name is None
    assert reply.handshake_response() == ("NONE", PUSH.text.encode(), PUSH.hash)
    assert not reply.rest
    asked = served.receive(handshake(PEER_PUSH, PUSH.hash) + GOLDEN_CALL)
    assert asked.name == "appendBatch"
    assert Reader(asked.answer(STATUS, "OK")).handshake_response()[0] == "BOTH"


def test_a_text_is_told_once_for_all_connections() -> None:
    """A later connection may just tell the hash."""
    known = KnownProtocols(PUSH)
    ServerSession(known).receive(handshake(PEER_PUSH, PUSH.hash) + GOLDEN_CALL)
    asked = ServerSession(known).receive(
        handshake(PEER_PUSH, PUSH.hash, tells=False) + GOLDEN_CALL
    )

    assert asked.name == "appendBatch"


def test_nobody_says_what_another_hash_means() -> None:
    """A text is remembered by its own hash only; and the newest 32 are."""
    known = KnownProtocols(PUSH)
    other = PUSH.text.replace("bytes", "string")
    ServerSession(known).receive(
        digest(PEER_PUSH) + b"\x02" + data(other) + PUSH.hash + b"\x00" + GOLDEN_CALL
    )
    assert known.find(digest(PEER_PUSH)) is None
    made = [protocol_of(json.dumps({"protocol": str(n)})) for n in range(33)]
    for each in made:
        known.add(each.hash, each)

    assert known.find(made[0].hash) is None
    assert known.find(made[1].hash) is made[1]
    assert known.find(PUSH.hash) is PUSH


def test_a_ping_is_a_call_without_a_name() -> None:
    """It is answered, and asks for nothing."""
    asked = session().receive(handshake(PUSH.text, PUSH.hash) + call("", b""))

    assert asked.name == ""
    assert asked.answer("null", None) == bytes(4) + b"\x00\x00"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (PUSH.text.replace('"bytes"', '{"type": "array", "items": "null"}'), "append"),
        (PUSH.text, "remove"),
        ('{"protocol": "P"}', "append"),
        (PEER_POLLING, "ack"),
    ],
)
def test_other_types_are_never_read(text: str, name: str) -> None:
    """A stranger's array of nulls would take no bytes and for ever; the call fails."""
    asked = session().receive(handshake(text, PUSH.hash) + call(name, b""))
    reply = Reader(asked.fail("not here"))

    assert asked.is_foreign
    assert reply.handshake_response()[0] == "BOTH"
    assert reply.rest == b"\x00\x01\x00" + data("not here")


def test_a_damaged_message_is_an_error() -> None:
    """Cut anywhere before the parameters."""
    whole = handshake(PEER_PUSH, PUSH.hash) + GOLDEN_CALL[:13]
    for end in range(0, len(whole) - 1, 97):
        with pytest.raises(FlumeProtocolError):
            session().receive(whole[:end])


def test_a_client_shakes_hands_with_its_first_call() -> None:
    """Golden bytes: hash, text, hash, no metadata; then the call."""
    client = ClientSession(POLLING)
    shake = handshake(POLLING.text, POLLING.hash)

    assert client.request("getEventBatch", 1000) == shake + call(
        "getEventBatch", bytes.fromhex("d00f")
    )
    client.response(bytes(4) + b"\x00\x00" + b"rest", "getEventBatch")
    assert client.request("ack", "s-1") == call("ack", data("s-1"))
    client.response(b"\x00\x00", "ack").end()


def client_shaking(match: int, text: str | None) -> ClientSession:
    """Return a client that was answered so."""
    client = ClientSession(POLLING)
    client.request("ack", "s")
    told = (
        b"\x00\x00" if text is None else b"\x02" + data(text) + b"\x02" + digest(text)
    )
    client.response(bytes([2 * match]) + told + b"\x00" + b"\x00\x00", "ack").end()
    return client


def test_a_server_may_write_its_protocol_in_its_own_way() -> None:
    """CLIENT, with types that are the same."""
    client_shaking(1, PEER_POLLING)


@pytest.mark.parametrize(
    ("match", "text", "says"),
    [
        (2, PEER_POLLING, "doesn't take"),
        (1, PEER_PUSH, "another ack than Flume's"),
        (1, "no JSON", "can't be read"),
    ],
)
def test_a_server_of_another_kind_is_refused(match: int, text: str, says: str) -> None:
    """NONE after all was told, or another protocol."""
    with pytest.raises(FlumeProtocolError, match=says):
        client_shaking(match, text)


def test_an_error_of_the_server_is_its_text() -> None:
    """The call failed, and the connection goes on."""
    client = client_shaking(0, None)
    client.request("ack", "s")

    with pytest.raises(FlumeCallError, match="ack with an error: no transaction"):
        client.response(b"\x00\x01\x00" + data("no transaction"), "ack")
