"""Tests of engine/sources/actor/feeder.py: the client that programs use."""

import socket
import threading
from contextlib import closing, suppress

import pytest
from tests.engine.sources.fed import KEY, Fed, connected, fed
from tests.integration.servers.ports import free_port

from millstream.engine.base.errors import SparkError, UsageError
from millstream.engine.sources.actor.feeder import FeedRefusedError, RemoteFeeder


def feeder_of(server: Fed, **settings: object) -> RemoteFeeder:
    """Return a feeder, once somebody listens."""
    connected(server.port.port).close()
    return RemoteFeeder("127.0.0.1", server.port.port, KEY, **settings)  # type: ignore[arg-type]


def test_a_send_returns_when_the_message_is_handled() -> None:
    """To the first worker, or another; many at once are handled in order."""
    with fed() as server, feeder_of(server) as feeder:
        feeder.send({"a": [1, None, "é"]})
        assert server.stored == [{"a": [1, None, "é"]}]
        feeder.sendAll([1, 2, 3], to="second")
        assert server.stored[1:] == [1, 2, 3]


def test_with_pickles_messages_may_be_anything() -> None:
    """Where the receiver allows it."""
    with fed(allow_pickle=True) as server, feeder_of(server, pickled=True) as feeder:
        feeder.send({1: (2, b"3")})
        assert server.stored == [{1: (2, b"3")}]
    with fed() as server, feeder_of(server, pickled=True) as feeder:
        with pytest.raises(FeedRefusedError, match="takes no pickles"):
            feeder.send(1)
        assert not server.stored


def test_a_message_that_is_not_handled_raises() -> None:
    """The feeder goes on; the actor's text stays where it is."""
    with fed() as server, feeder_of(server) as feeder:
        with pytest.raises(FeedRefusedError, match="handling it raised RuntimeError"):
            feeder.send("fail")
        with pytest.raises(FeedRefusedError, match="no worker 'nobody'"):
            feeder.send(1, to="nobody")
        feeder.send("fine")
        assert server.stored == ["fine"]


def test_another_key_is_an_error_that_shows_none() -> None:
    """Neither side learns anything of the other's."""
    wrong = "another key, long enough too"
    with fed() as server:
        connected(server.port.port).close()
        with RemoteFeeder("127.0.0.1", server.port.port, wrong) as feeder:
            with pytest.raises(SparkError, match="has closed the connection") as raised:
                feeder.send(1)
            assert "same key" in (raised.value.hint or "")
            assert wrong not in repr(raised.value) + repr(vars(feeder))
        assert not server.stored


def test_a_connection_that_broke_is_made_anew() -> None:
    """With the next send: the one that raised may be sent again."""
    with fed() as server:
        feeder = feeder_of(server)
        feeder.send("before")
        assert feeder._line is not None
        feeder._line._socket.shutdown(socket.SHUT_RDWR)
        with pytest.raises(SparkError, match=f"feeding 127.0.0.1:{server.port.port}"):
            feeder.send("lost")
        feeder.send("after")
        feeder.close()
        assert server.stored == ["before", "after"]


def test_nobody_there_is_an_error() -> None:
    """At the send, not before."""
    feeder = RemoteFeeder("127.0.0.1", free_port(), KEY)
    with pytest.raises(SparkError, match="refused"):
        feeder.send(1)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n" + bytes(50), "no actor stream's receiver"),
        (b"millstream feed 1\n" + bytes(32) + b"\xff" * 4, "bytes came"),
        (b"millstream feed 1\n" + bytes(32) + bytes([0, 0, 0, 41]) + bytes(41), "sign"),
        (b"millstream", "has closed the connection"),
    ],
    ids=["HTTP", "a long frame", "no signature", "an end"],
)
def test_a_server_of_another_kind_is_an_error(answer: bytes, says: str) -> None:
    """As one is that doesn't know the key: a feeder is answered by the right one only."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):  # It may have hung up.
                connection.sendall(answer)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(100):
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        feeder = RemoteFeeder("127.0.0.1", server.getsockname()[1], KEY)
        with pytest.raises(SparkError, match=says):
            feeder.send(1)
        thread.join(10)


def test_a_receiver_that_stalls_is_given_up() -> None:
    """The wait is bounded."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        feeder = RemoteFeeder("127.0.0.1", port, KEY, timeout_s=0.1)
        with closing(feeder), pytest.raises(SparkError, match="timed out"):
            feeder.send(1)


def test_what_json_has_not_is_refused() -> None:
    """Before anything is sent; the hint says what takes it."""
    feeder = RemoteFeeder("127.0.0.1", 1, KEY)
    with pytest.raises(UsageError, match="none that JSON has") as raised:
        feeder.send({1, 2})
    assert "pickled=True" in (raised.value.hint or "")


def test_a_short_key_is_refused() -> None:
    """It could be guessed."""
    with pytest.raises(UsageError, match="16 characters"):
        RemoteFeeder("127.0.0.1", 1, "short")


def test_threads_may_share_a_feeder() -> None:
    """Their messages don't mix."""
    with fed() as server, feeder_of(server) as feeder:

        def send_some(number: int) -> None:
            for each in range(10):
                feeder.send([number, each])

        threads = [threading.Thread(target=send_some, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)

        assert sorted(server.stored) == [[n, i] for n in range(4) for i in range(10)]
