"""Flume peers for tests: a client that pushes, and a sink that is polled, with transactions.

They are written from the protocol's description only, byte by byte: nothing of the package,
and no Avro library, is in them.
"""

import hashlib
import json
import socket
import struct
import threading
import time
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

Event = tuple[Mapping[str, str], bytes]

_EVENT_FIELDS = [
    {"name": "headers", "type": {"type": "map", "values": "string"}},
    {"name": "body", "type": "bytes"},
]
# As Flume's own Avro has it: strings are Java's, which changes no bytes.
_JAVA_STRING = {"type": "string", "avro.java.string": "String"}
PUSH = json.dumps(
    {
        "protocol": "AvroSourceProtocol",
        "namespace": "org.apache.flume.source.avro",
        "doc": "Licensed to nobody.",
        "types": [
            {"type": "enum", "name": "Status", "symbols": ["OK", "FAILED", "UNKNOWN"]},
            {
                "type": "record",
                "name": "AvroFlumeEvent",
                "fields": [
                    {
                        "name": "headers",
                        "type": {
                            "type": "map",
                            "values": _JAVA_STRING,
                            "avro.java.string": "String",
                        },
                    },
                    {"name": "body", "type": "bytes"},
                ],
            },
        ],
        "messages": {
            "append": {
                "request": [{"name": "event", "type": "AvroFlumeEvent"}],
                "response": "Status",
            },
            "appendBatch": {
                "request": [
                    {
                        "name": "events",
                        "type": {"type": "array", "items": "AvroFlumeEvent"},
                    }
                ],
                "response": "Status",
            },
        },
    }
)
POLLING = json.dumps(
    {
        "namespace": "org.apache.spark.flume",
        "protocol": "SparkFlumeProtocol",
        "types": [
            {"type": "record", "name": "SparkSinkEvent", "fields": _EVENT_FIELDS},
            {
                "type": "record",
                "name": "EventBatch",
                "fields": [
                    {"name": "errorMsg", "type": "string", "default": ""},
                    {"name": "sequenceNumber", "type": "string"},
                    {
                        "name": "events",
                        "type": {"type": "array", "items": "SparkSinkEvent"},
                    },
                ],
            },
        ],
        "messages": {
            "getEventBatch": {
                "request": [{"name": "n", "type": "int"}],
                "response": "EventBatch",
            },
            "ack": {
                "request": [{"name": "sequenceNumber", "type": "string"}],
                "response": "null",
            },
            "nack": {
                "request": [{"name": "sequenceNumber", "type": "string"}],
                "response": "null",
            },
        },
    }
)


def digest(text: str) -> bytes:
    """Return a protocol's hash."""
    return hashlib.md5(text.encode()).digest()


def long(number: int) -> bytes:
    """Return an Avro int or long."""
    number = (number << 1) ^ (number >> 63)
    out = bytearray()
    while number & ~0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def data(value: bytes | str) -> bytes:
    """Return Avro bytes, or a string."""
    raw = value.encode() if isinstance(value, str) else value
    return long(len(raw)) + raw


def event(headers: Mapping[str, str], body: bytes) -> bytes:
    """Return an event."""
    pairs = b"".join(data(key) + data(value) for key, value in headers.items())
    return (long(len(headers)) + pairs if headers else b"") + b"\x00" + data(body)


def array(items: Iterable[bytes]) -> bytes:
    """Return an array, in one block."""
    listed = list(items)
    return (long(len(listed)) + b"".join(listed) if listed else b"") + b"\x00"


def handshake(text: str, server: bytes, *, tells: bool = True) -> bytes:
    """Return what a client begins with; `server` is the hash that it takes for the server's."""
    told = b"\x02" + data(text) if tells else b"\x00"
    return digest(text) + told + server + b"\x00"


def call(name: str, parameters: bytes) -> bytes:
    """Return a call without metadata."""
    return b"\x00" + data(name) + parameters


def frame(serial: int, payload: bytes, *, pieces: int = 1) -> bytes:
    """Return a frame of so many buffers."""
    size = -(-len(payload) // pieces) or 1
    buffers = [payload[at : at + size] for at in range(0, len(payload), size)]
    parts = [struct.pack(">i", len(each)) + each for each in buffers]
    return struct.pack(">ii", serial, len(buffers)) + b"".join(parts)


class Reader:
    """Reads Avro values."""

    def __init__(self, payload: bytes) -> None:
        self.rest = payload

    def take(self, count: int) -> bytes:
        taken, self.rest = self.rest[:count], self.rest[count:]
        assert len(taken) == count, "cut short"
        return taken

    def long(self) -> int:
        number = shift = 0
        while True:
            byte = self.take(1)[0]
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return (number >> 1) ^ -(number & 1)
            shift += 7

    def data(self) -> bytes:
        return self.take(self.long())

    def optional(self, read: Callable[[], Any]) -> Any:
        return read() if self.long() else None

    def meta(self) -> None:
        while count := self.long():
            for _ in range(count):
                self.data(), self.data()

    def handshake_response(self) -> tuple[str, bytes | None, bytes | None]:
        """Return how the server matches, its protocol and its hash."""
        match = ["BOTH", "CLIENT", "NONE"][self.long()]
        text = self.optional(self.data)
        server = self.optional(lambda: self.take(16))
        self.optional(self.meta)
        return match, text, server


def read_exactly(read: Callable[[int], bytes], count: int) -> bytes:
    """Read so many bytes."""
    got = b""
    while len(got) < count:
        more = read(count - len(got))
        if not more:
            raise EOFError
        got += more
    return got


def read_frame(read: Callable[[int], bytes]) -> tuple[int, bytes]:
    """Return the next frame's serial and payload."""
    serial, count = struct.unpack(">ii", read_exactly(read, 8))
    payload = b""
    for _ in range(count):
        (length,) = struct.unpack(">i", read_exactly(read, 4))
        payload += read_exactly(read, length)
    return serial, payload


class NobodyListensError(Exception):
    """There is no server at a port."""


class PushClient:
    """What a Flume agent's Avro sink does."""

    def __init__(
        self, port: int, *, is_compressed: bool = False, wait_s: float = 20.0
    ) -> None:
        """Connect; waits until somebody listens."""
        until = time.monotonic() + wait_s
        while True:
            try:
                self.socket = socket.create_connection(("127.0.0.1", port), 10)
                break
            except ConnectionRefusedError:
                if time.monotonic() >= until:
                    raise NobodyListensError from None
                time.sleep(0.02)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._inflate = zlib.decompressobj() if is_compressed else None
        self._deflate = zlib.compressobj() if is_compressed else None
        self._waiting = b""
        self._serial = 0
        self._has_shaken = False
        self.match: str | None = None

    def send_raw(self, raw: bytes) -> None:
        """Send bytes as they are, or compressed."""
        if self._deflate is not None:
            raw = self._deflate.compress(raw) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        self.socket.sendall(raw)

    def _recv(self, count: int) -> bytes:
        if self._inflate is None:
            return self.socket.recv(count)
        while not self._waiting:
            got = self.socket.recv(4096)
            if not got:
                return b""
            self._waiting = self._inflate.decompress(got)
        part, self._waiting = self._waiting[:count], self._waiting[count:]
        return part

    def is_closed_by_peer(self) -> bool:
        """Wait for the end of the connection; False if something else comes."""
        try:
            return self._recv(1) == b""
        except ConnectionResetError:
            return True

    def exchange(self, payload: bytes, *, pieces: int = 1) -> Reader:
        """Send a message, and return its reply."""
        self._serial += 1
        self.send_raw(frame(self._serial, payload, pieces=pieces))
        serial, reply = read_frame(self._recv)
        assert serial == self._serial, "a reply has its request's serial"
        return Reader(reply)

    def call(self, name: str, parameters: bytes, *, pieces: int = 1) -> Reader:
        """Call, and return what comes after the reply's metadata; shakes hands first."""
        head = b"" if self._has_shaken else handshake(PUSH, digest(PUSH))
        reply = self.exchange(head + call(name, parameters), pieces=pieces)
        if not self._has_shaken:
            self.match, _, _ = reply.handshake_response()
            self._has_shaken = True
        reply.meta()
        return reply

    def append(self, headers: Mapping[str, str], body: bytes) -> str:
        """Push one event; return the status."""
        return self._status(self.call("append", event(headers, body)))

    def append_batch(self, events: Iterable[Event], *, pieces: int = 1) -> str:
        """Push a batch; return the status."""
        encoded = array(event(*each) for each in events)
        return self._status(self.call("appendBatch", encoded, pieces=pieces))

    @staticmethod
    def _status(reply: Reader) -> str:
        assert reply.take(1) == b"\x00", "the call failed"
        return ["OK", "FAILED", "UNKNOWN"][reply.long()]

    def close(self) -> None:
        """Disconnect."""
        self.socket.close()


class Sink:
    """Stands in for Spark's sink: a channel of events, given out in transactions.

    A batch that is given out is in flight: `ack` removes it; `nack`, the end of its
    connection and the time-out put its events back at the channel's head.
    """

    def __init__(self, transaction_s: float = 60.0, port: int = 0) -> None:
        """Listen on loopback."""
        self.changed = threading.Condition()
        self.channel: deque[Event] = deque()
        self.in_flight: dict[str, list[Event]] = {}
        self._until: dict[str, float] = {}
        self.heard: Counter[str] = Counter()
        self.times_given: Counter[bytes] = Counter()
        self.is_stalled = threading.Event()
        """While it is set, nothing is answered."""
        self._transaction_s = transaction_s
        self._numbers = 0
        self._connections: set[socket.socket] = set()
        self._server = socket.create_server(("127.0.0.1", port))
        self.port: int = self._server.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def put(self, bodies: Iterable[bytes]) -> None:
        """Have new events."""
        with self.changed:
            self.channel += [({"at": str(len(body))}, body) for body in bodies]
            self.changed.notify_all()

    @property
    def is_empty(self) -> bool:
        """Whether all events have been acknowledged."""
        with self.changed:
            return not self.channel and not self.in_flight

    @property
    def connection_count(self) -> int:
        """How many clients there are."""
        with self.changed:
            return len(self._connections)

    def wait_until(self, holds: Callable[[], bool], wait_s: float = 20.0) -> None:
        """Wait for what calls and connections bring about."""
        with self.changed:
            assert self.changed.wait_for(holds, wait_s), "it never happened"

    def disconnect(self) -> None:
        """Break all connections."""
        with self.changed:
            for each in self._connections:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Listen no more, break all connections, and wait for the threads."""
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.is_stalled.clear()
        self.disconnect()
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            with self.changed:
                self._connections.add(connection)
                self.changed.notify_all()
            thread = threading.Thread(
                target=self._serve, args=(connection,), daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        mine: set[str] = set()
        with connection, suppress(OSError, EOFError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            has_shaken = False
            while True:
                serial, payload = read_frame(connection.recv)
                request, head = Reader(payload), b""
                if not has_shaken:
                    head, has_shaken = self._shake(request), True
                request.meta()
                name = request.data().decode()
                while self.is_stalled.is_set():
                    time.sleep(0.01)
                reply = self._do(name, request, mine)
                assert not request.rest, "a message has nothing after its parameters"
                with self.changed:
                    self.heard[name] += 1
                    self.changed.notify_all()
                connection.sendall(frame(serial, head + b"\x00" + reply, pieces=2))
        with self.changed:
            self._connections.discard(connection)
            for sequence in mine:
                self._give_back(sequence)
            self.changed.notify_all()

    def _shake(self, request: Reader) -> bytes:
        client, text = request.take(16), request.optional(request.data)
        server = request.take(16)
        request.optional(request.meta)
        assert text is None or digest(text.decode()) == client, "the hash is the text's"
        assert server != digest(POLLING), "texts differ, so hashes do"
        return b"\x02\x02" + data(POLLING) + b"\x02" + digest(POLLING) + b"\x00"

    def _do(self, name: str, request: Reader, mine: set[str]) -> bytes:
        if name == "getEventBatch":
            return b"\x00" + self._batch(request.long(), mine)
        sequence = request.data().decode()
        with self.changed:
            if name == "nack":
                self._give_back(sequence)
            elif self.in_flight.pop(sequence, None) is None:
                # Its transaction has timed out.
                return b"\x01" + long(0) + data(f"no such transaction: {sequence}")
        mine.discard(sequence)
        return b"\x00"

    def _batch(self, most: int, mine: set[str]) -> bytes:
        with self.changed:
            self._time_out()
            self.changed.wait_for(lambda: bool(self.channel), 0.05)
            if not self.channel:
                return data("no events") + data("") + array([])
            self._numbers += 1
            sequence = f"sequence-{self._numbers}"
            count = min(most, len(self.channel))
            events = [self.channel.popleft() for _ in range(count)]
            self.in_flight[sequence] = events
            self._until[sequence] = time.monotonic() + self._transaction_s
            mine.add(sequence)
            self.times_given.update(body for _, body in events)
        return data("") + data(sequence) + array(event(*each) for each in events)

    def _time_out(self) -> None:
        now = time.monotonic()
        late = [each for each, until in self._until.items() if until <= now]
        for sequence in late:
            self._give_back(sequence)

    def _give_back(self, sequence: str) -> None:
        self._until.pop(sequence, None)
        events = self.in_flight.pop(sequence, [])
        self.channel.extendleft(reversed(events))
