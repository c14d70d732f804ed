"""Tests of engine/sources/socket.py and raw_socket.py, on real connections."""

import contextlib
import pickle
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from millstream.engine.ingest.supervisor import ReceiverSupervisor
from millstream.testing import StreamHarness

Serve = Callable[[socket.socket], None]


@contextlib.contextmanager
def server(*serves: Serve) -> Iterator[tuple[int, list[threading.Event]]]:
    """Listen on loopback; the i-th connection is served by the i-th function."""
    ended = [threading.Event() for _ in serves]
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def run() -> None:
            for serve, event in zip(serves, ended, strict=True):
                with contextlib.suppress(OSError):
                    connection, _ = listening.accept()
                    with connection:
                        serve(connection)
                event.set()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield listening.getsockname()[1], ended
        with contextlib.suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)  # Wakes an accept that waits.
    thread.join(5)


def _collected(h: StreamHarness, out: Any, count: int) -> list[Any]:
    """Run batches until `count` records have come."""
    for _ in range(2000):
        records = [record for batch in out.records for record in batch]
        if len(records) >= count:
            return records
        h.run(1)
        threading.Event().wait(0.002)  # Real bytes need real time.
    return [record for batch in out.records for record in batch]


CASES: list[tuple[str, list[bytes], list[str]]] = [
    ("ends", [b"a\nb\r\nc\rd\n"], ["a", "b", "c", "d"]),
    ("pieces", [b"hel", b"lo\nwor", b"ld\n"], ["hello", "world"]),
    ("split end", [b"a\r", b"\nb\n"], ["a", "b"]),
    ("no end", [b"a\nlast"], ["a", "last"]),
    ("bad UTF-8", [b"\xff\xfe ok\n"], ["\ufffd\ufffd ok"]),
    ("split character", ["é".encode()[:1], "é\n".encode()[1:]], ["é"]),
    ("empty lines", [b"\n\nx\n"], ["", "", "x"]),
]


@pytest.mark.parametrize(
    ("parts", "lines"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_lines_arrive_whatever_the_pieces(parts: list[bytes], lines: list[str]) -> None:
    """Line ends, broken characters, the last line without an end."""

    def serve(connection: socket.socket) -> None:
        for part in parts:
            connection.sendall(part)
            threading.Event().wait(0.01)  # So that it arrives as a piece of its own.

    with server(serve) as (port, _), StreamHarness(master="local") as h:
        out = h.collect(h.ssc.socketTextStream("127.0.0.1", port))
        h.ssc.start()
        assert _collected(h, out, len(lines)) == lines


def test_lines_are_stored_as_the_bytes_that_came() -> None:
    """Nothing is made of a line before a task reads it."""
    data = b"one\r\ntwo\xff\n" * 10_000
    with (
        server(lambda c: c.sendall(data)) as (port, _),
        StreamHarness(master="local") as h,
    ):
        h.collect(h.ssc.socketTextStream("127.0.0.1", port))
        h.ssc.start()
        blocks = h.sc._driver.blocks
        kept: list[Any] = []
        for _ in range(2000):
            for supervisor in h.ssc._scheduler.tracker._running():  # type: ignore[union-attr]
                assert isinstance(supervisor, ReceiverSupervisor)
                supervisor.cut()
            ids = [i for i in blocks.ids() if i.startswith("input-")]
            kept = [blocks.get_frozen(block_id) for block_id in ids]
            if sum(block.count for block in kept) == 20_000:
                break
            threading.Event().wait(0.002)

    assert b"".join(block.data for block in kept) == data


@pytest.mark.slow
def test_a_line_of_fifty_megabytes() -> None:
    """Joined once, not again for each piece."""
    size = 50 << 20

    def serve(connection: socket.socket) -> None:
        connection.sendall(b"x" * size + b"\nshort\n")

    with server(serve) as (port, _), StreamHarness(master="local") as h:
        out = h.collect(
            h.ssc.socketTextStream("127.0.0.1", port).map(lambda line: len(line))
        )
        h.ssc.start()
        assert _collected(h, out, 2) == [size, 5]


def test_a_dropped_connection_loses_no_complete_line() -> None:
    """The receiver connects again after its delay and goes on."""

    def drop(connection: socket.socket) -> None:
        connection.sendall(b"one\ntwo\nhal")
        linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
        threading.Event().wait(0.05)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    def more(connection: socket.socket) -> None:
        connection.sendall(b"three\n")

    with server(drop, more) as (port, _), StreamHarness(master="local") as h:
        out = h.collect(h.ssc.socketTextStream("127.0.0.1", port))
        h.ssc.start()
        lines = _collected(h, out, 4)

    assert lines == ["one", "two", "hal", "three"]


def test_a_server_that_isnt_there_is_tried_again() -> None:
    """Connection refused restarts the receiver; batches go on, empty."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with StreamHarness(conf={"spark.streaming.receiverRestartDelay": "100"}) as h:
        out = h.collect(h.ssc.socketTextStream("127.0.0.1", port))
        h.run(3)
        tracker = h.ssc._scheduler.tracker  # type: ignore[union-attr]
        infos = tracker.receiver_infos()
        for _ in range(500):
            infos = tracker.receiver_infos()
            if infos and "Error connecting" in infos[0].last_error_message:
                break
            threading.Event().wait(0.01)

    assert out.records == [[], [], []]
    assert f"Error connecting to 127.0.0.1:{port}" in infos[0].last_error_message


def test_a_silent_server_holds_up_nothing() -> None:
    """No data: empty batches, and stop is prompt."""
    ended = threading.Event()
    with (
        server(lambda _c: ended.wait(10)) as (port, _),  # type: ignore[arg-type]
        StreamHarness() as h,
    ):
        out = h.collect(h.ssc.socketTextStream("127.0.0.1", port))
        h.run(2)
        h.ssc.stop(False)
        ended.set()

    assert out.records == [[], []]


def test_a_converter_makes_what_it_likes() -> None:
    """SocketStream hands it the bytes as a file."""

    def numbers(stream: Any) -> Iterator[int]:
        while data := stream.read(2):
            yield int.from_bytes(data, "big")

    with (
        server(lambda c: c.sendall(b"\x00\x01\x01\x00")) as (port, _),
        StreamHarness(master="local") as h,
    ):
        out = h.collect(h.ssc.socketStream("127.0.0.1", port, numbers))
        h.ssc.start()
        assert _collected(h, out, 2) == [1, 256]


def test_raw_blocks_come_as_they_are() -> None:
    """Length-prefixed pickled lists; too long a frame is refused."""

    def serve(connection: socket.socket) -> None:
        for rows in ([1, "a"], [{"b": 2}]):
            payload = pickle.dumps(rows)
            connection.sendall(len(payload).to_bytes(4, "big") + payload)

    def too_long(connection: socket.socket) -> None:
        connection.sendall(b"\xff\xff\xff\xff")
        threading.Event().wait(0.05)

    with server(serve, too_long) as (port, _), StreamHarness(master="local") as h:
        out = h.collect(h.ssc.rawSocketStream("127.0.0.1", port))
        h.ssc.start()
        assert _collected(h, out, 3) == [1, "a", {"b": 2}]
        tracker = h.ssc._scheduler.tracker  # type: ignore[union-attr]
        for _ in range(500):
            if "is longer than" in tracker.receiver_infos()[0].last_error:
                break
            h.clock.advance_ms(100)
            threading.Event().wait(0.01)
        assert "is longer than" in tracker.receiver_infos()[0].last_error
