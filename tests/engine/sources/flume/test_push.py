"""Tests of engine/sources/flume/push.py: the server, and peers that follow no rules."""

import logging
import socket
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from tests.engine.sources.supervised import Supervised
from tests.integration.servers.flume import (
    PUSH,
    PushClient,
    array,
    call,
    event,
    frame,
    handshake,
)
from tests.integration.servers.ports import free_port

from millstream.engine.base import frames
from millstream.engine.base.errors import UsageError
from millstream.engine.sources.flume.frames import FlumeLimits
from millstream.engine.sources.flume.push import FlumeReceiver

pytestmark = pytest.mark.slow

EVENTS: list[tuple[dict[str, str], bytes]] = [({"a": "b"}, b"one"), ({}, b"\x00\xff")]


@contextmanager
def serving(**settings: Any) -> Iterator[Supervised]:
    """Run a receiver on a free port of loopback."""
    receiver = FlumeReceiver("127.0.0.1", free_port(), **settings)
    with Supervised(receiver) as running:
        yield running


def client_of(running: Supervised, **settings: Any) -> PushClient:
    """Connect to it."""
    assert isinstance(running.receiver, FlumeReceiver)
    return PushClient(running.receiver.port, **settings)


@pytest.mark.parametrize("is_compressed", [False, True])
def test_a_batch_is_stored_as_a_block_before_it_is_answered(
    is_compressed: bool,
) -> None:
    """OK means stored, whatever the frames' buffers; also with zlib both ways."""
    with (
        serving(is_compressed=is_compressed) as running,
        closing(client_of(running, is_compressed=is_compressed)) as client,
    ):
        for pieces in (1, 7):
            assert client.append_batch(EVENTS, pieces=pieces) == "OK"
            assert running.blocks[-1] == EVENTS
        assert client.match == "CLIENT"
        assert client.append_batch([]) == "OK"
        assert len(running.blocks) == 2


def test_single_events_are_stored_together() -> None:
    """`append` is answered when the event is taken."""
    with serving() as running, closing(client_of(running)) as client:
        assert [client.append(*each) for each in EVENTS] == ["OK", "OK"]
        assert not running.blocks
        running.cut()

        assert running.blocks == [EVENTS]


def test_what_cannot_be_stored_is_answered_with_failed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The agent keeps it; the connection goes on."""
    with serving() as running, closing(client_of(running)) as client:
        running.refuses = lambda records: len(records) == 1
        assert client.append_batch(EVENTS[:1]) == "FAILED"
        assert client.append_batch(EVENTS) == "OK"

        assert running.blocks == [EVENTS]
    assert "the agent is told and sends them again" in caplog.text


def test_connections_are_served_side_by_side() -> None:
    """One that has sent half a message holds up no other; its rest is read later."""
    message = handshake(PUSH, bytes(16)) + call("appendBatch", array([event({}, b"x")]))
    whole = frame(1, message)
    with serving() as running, closing(client_of(running)) as slow:
        for byte in whole[:-1]:
            slow.send_raw(bytes([byte]))
        for _ in range(3):
            with closing(client_of(running)) as client:
                assert client.append_batch(EVENTS) == "OK"
        slow.send_raw(whole[-1:])
        running.wait_until(lambda: len(running.blocks) == 4)

        assert running.blocks[-1] == [({}, b"x")]


def test_calls_of_one_connection_may_wait_in_line() -> None:
    """Many frames in one piece are answered one after the other, each by its serial."""
    with serving() as running, closing(client_of(running)) as client:
        client.append_batch([])
        one = call("append", event({}, b"x"))
        client.send_raw(b"".join(frame(serial, one) for serial in range(100, 120)))
        with client.socket.makefile("rb") as replies:
            for serial in range(100, 120):
                assert replies.read(8) == struct.pack(">ii", serial, 1)
                (length,) = struct.unpack(">i", replies.read(4))
                assert replies.read(length) == b"\x00\x00\x00"


def test_a_foreign_call_fails_and_says_so() -> None:
    """The connection goes on."""
    with serving() as running, closing(client_of(running)) as client:
        reply = client.call("remove", b"anything")
        assert reply.take(2) == b"\x01\x00"
        assert b"'remove' isn't Flume's" in reply.data()
        assert client.append_batch(EVENTS) == "OK"


def closes(
    client: PushClient, caplog: pytest.LogCaptureFixture, says: str, raw: bytes
) -> None:
    """Check that sending `raw` ends the connection, and what the log says of it."""
    client.send_raw(raw)
    assert client.is_closed_by_peer()
    told = [each.getMessage() for each in caplog.records]
    assert any(says in each and "Flume connection is closed" in each for each in told)


SHAKEN = handshake(PUSH, bytes(16))
LIMITS = FlumeLimits(
    message_bytes_max=10_000, buffers_max=10, events_max=5, stall_s=0.2
)
TOO_MANY = array([event({}, b"")] * 6)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "buffers_max is 10"),
        (struct.pack(">iii", 1, 1, 10_001), "message_bytes_max is 10000"),
        (struct.pack(">iii", 1, 2, 5), "it was silent for 0.2 s inside a frame"),
        (frame(1, b"\x00" * 30), "a message is damaged"),
        (frame(1, SHAKEN + call("appendBatch", TOO_MANY)), "5 are let in"),
        (frame(1, SHAKEN + call("append", event({}, b"") + b"!")), "1 bytes too many"),
        (frame(1, SHAKEN + call("append", b"\x00\x7f")), "a message is damaged"),
        (frame(1, bytes(16) + b"\x02\x08nope" + bytes(17)), "protocol can't be read"),
        (frame(1, b""), "a message is damaged"),
    ],
    ids=[
        "HTTP",
        "too long",
        "silence",
        "no handshake",
        "too many events",
        "bytes after the parameters",
        "cut parameters",
        "no protocol",
        "nothing",
    ],
)
def test_a_peer_that_breaks_a_rule_is_closed(
    caplog: pytest.LogCaptureFixture, raw: bytes, says: str
) -> None:
    """The log says which; others go on, and nothing of it is stored."""
    with serving(limits=LIMITS) as running, closing(client_of(running)) as client:
        closes(client, caplog, says, raw)
        with closing(client_of(running)) as other:
            assert other.append_batch(EVENTS) == "OK"
        assert running.blocks == [EVENTS]


def test_an_end_inside_a_frame_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """What was cut short isn't stored."""
    with serving() as running, closing(client_of(running)) as client:
        client.send_raw(frame(1, SHAKEN)[:20])
        client.socket.shutdown(socket.SHUT_WR)
        assert client.is_closed_by_peer()
    assert "it ended inside a frame" in caplog.text


def test_garbage_for_zlib_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    """As is what comes after the compressed stream's end."""
    with serving(is_compressed=True) as running:
        for raw in (b"not compressed", zlib.compress(b"") + b"more"):
            with closing(client_of(running)) as client:
                closes(client, caplog, "", raw)
    assert "incorrect header" in caplog.text
    assert "after the end of the compressed stream" in caplog.text


def test_a_zlib_bomb_is_refused_at_the_limit(caplog: pytest.LogCaptureFixture) -> None:
    """Kilobytes that inflate to 100 MB go no further than the first bytes say."""
    head = struct.pack(">iii", 1, 1, 100_000_000)
    with (
        serving(is_compressed=True, limits=LIMITS) as running,
        closing(client_of(running, is_compressed=True)) as client,
    ):
        closes(client, caplog, "message_bytes_max", head + bytes(1_000_000))


def test_a_large_message_comes_whole_out_of_zlib() -> None:
    """Also where it inflates to exactly the size of the pieces it is read in."""
    with (
        serving(is_compressed=True) as running,
        closing(client_of(running, is_compressed=True)) as client,
    ):
        client.append_batch([])
        base = len(frame(1, call("appendBatch", array([event({}, b"")]))))
        for size in (2 * (1 << 18) - base - 6, (1 << 18) - base - 4, (1 << 18) - base):
            sent: list[tuple[dict[str, str], bytes]] = [({}, bytes(size))]
            assert client.append_batch(sent) == "OK"
            assert running.blocks[-1] == sent


def test_there_are_so_many_clients_and_no_more(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One more is closed at once; when one ends, another may come."""
    limits = FlumeLimits(connections_max=2)
    with serving(limits=limits) as running:
        first, second = client_of(running), client_of(running)
        first.append_batch([])
        second.append_batch([])
        with closing(client_of(running)) as third:
            assert third.is_closed_by_peer()
        assert "as many as FlumeLimits.connections_max says" in caplog.text
        first.close()
        answered(lambda: client_of(running))
        second.close()


def answered(connect: Callable[[], PushClient]) -> None:
    """Connect until a call is answered."""
    for _ in range(500):
        with closing(connect()) as client:
            try:
                client.append_batch([])
            except (EOFError, ConnectionError):
                threading.Event().wait(0.01)
                continue
            return
    pytest.fail("nobody is let in any more")


def test_a_port_that_is_taken_restarts_the_receiver() -> None:
    """It begins when the port is free."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        running = Supervised(FlumeReceiver("127.0.0.1", port))
        running.__enter__()
        running.wait_until(lambda: bool(running.stops))
        assert "Restarting receiver" in running.stops[0]
    running.restart_now()
    with closing(PushClient(port)) as client:
        assert client.append_batch(EVENTS) == "OK"
    running.__exit__(None, None, None)


def test_it_listens_where_it_is_told_only() -> None:
    """Not on other addresses of the machine; and an empty host isn't every address."""
    with serving() as running:
        assert isinstance(running.receiver, FlumeReceiver)
        closing(client_of(running)).__exit__(None, None, None)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", running.receiver.port), 5)
    with pytest.raises(UsageError, match="address to listen on"):
        FlumeReceiver("", 1)


def test_a_receiver_travels_and_says_where_it_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is pickled for its launch; its host is where agents look for it."""
    caplog.set_level(logging.INFO)
    made = FlumeReceiver("agents.example", 4141, limits=LIMITS)
    copy = frames.loads(frames.dumps(made))

    assert copy.identity == "flume agents.example:4141"
    assert copy.preferredLocation == "agents.example"
    assert copy.limits == LIMITS
