"""Sessions: the two sides of one Avro RPC connection, message by message. They do no I/O.

The first message of a connection begins with a handshake: each side tells the hash of its
protocol, and its text to whom doesn't know it. A peer is let in whose calls have the same
types as ours, whatever else its protocol says: Flume's have never changed, and to read a
type of a stranger's choosing can take for ever.
"""

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import Any

from millstream.engine.sources.flume.frames import FlumeProtocolError
from millstream.engine.sources.flume.protocol import (
    ERROR,
    HANDSHAKE_REQUEST,
    HANDSHAKE_RESPONSE,
    META,
    AvroProtocol,
    Datums,
    Schema,
    protocol_of,
    written,
)

_KNOWN_MAX = 32


class KnownProtocols:
    """The protocols that clients have told, by their hashes: a client may just tell that.

    All connections of a server share it. The newest 32 are known.
    """

    def __init__(self, own: AvroProtocol) -> None:
        """Know `own` for ever."""
        self.own = own
        self._lock = Lock()
        self._told: OrderedDict[bytes, AvroProtocol] = OrderedDict()

    def find(self, of: bytes) -> AvroProtocol | None:
        """Return the protocol of a hash, if it is known."""
        if of == self.own.hash:
            return self.own
        with self._lock:
            return self._told.get(of)

    def add(self, of: bytes, protocol: AvroProtocol) -> None:
        """Know a protocol by the hash that a client has for it, if it is the text's."""
        if of != protocol.hash:
            return  # Nobody may say what another's hash means.
        with self._lock:
            self._told[of] = protocol
            self._told.move_to_end(of)
            if len(self._told) > _KNOWN_MAX:
                self._told.popitem(last=False)


@dataclass(frozen=True, slots=True)
class Call:
    """What a client asks of a server."""

    name: str | None
    """The message; "" for a ping; None where the handshake has to be told again first."""
    parameters: Datums
    is_foreign: bool
    """Whether the client's types for this message aren't ours: they can't be read."""
    _head: bytes

    def handshake(self) -> bytes:
        """Return the reply that has no answer in it: what is sent when `name` is None."""
        return self._head

    def answer(self, schema: Schema, value: Any) -> bytes:
        """Return the reply that gives `value`."""
        return self._head + written((META, {}), ("boolean", False), (schema, value))

    def fail(self, text: str) -> bytes:
        """Return the reply that says why the call failed."""
        return self._head + written((META, {}), ("boolean", True), (ERROR, text))


class ServerSession:
    """A server's side of one connection."""

    def __init__(self, known: KnownProtocols) -> None:
        """Begin before the handshake."""
        self._known = known
        self._client: AvroProtocol | None = None

    def receive(self, payload: bytes) -> Call:
        """Return what a message asks for.

        Raises:
            FlumeProtocolError: It can't be read.
        """
        datums = Datums(payload)
        head = b""
        if self._client is None:
            head = self._shake(datums.read(HANDSHAKE_REQUEST))
        if self._client is None:
            return Call(None, datums, is_foreign=False, _head=head)
        datums.read(META)
        name = datums.read("string")
        own = self._known.own.messages.get(name)
        theirs = self._client.messages.get(name)
        is_foreign = own is None or own != theirs
        return Call(name, datums, is_foreign, head)

    def _shake(self, request: dict[str, Any]) -> bytes:
        told, text = request["clientHash"], request["clientProtocol"]
        self._client = self._known.find(told)
        if self._client is None and text is not None:
            self._client = protocol_of(text)
            self._known.add(told, self._client)
        own = self._known.own
        knows_us = request["serverHash"] == own.hash
        match = "BOTH" if knows_us else "CLIENT"
        if self._client is None:
            match = "NONE"
        tells = match != "BOTH"
        reply = {
            "match": match,
            "serverProtocol": own.text if tells else None,
            "serverHash": own.hash if tells else None,
            "meta": None,
        }
        return written((HANDSHAKE_RESPONSE, reply))


class FlumeCallError(FlumeProtocolError):
    """A server answered a call with an error of its own."""


class ClientSession:
    """A client's side of one connection; a call's answer comes before the next call."""

    def __init__(self, own: AvroProtocol) -> None:
        """Begin before the handshake."""
        self._own = own
        self._has_shaken = False

    def request(self, name: str, *values: Any) -> bytes:
        """Return the message that calls `name` with parameters, in order."""
        parts: list[tuple[Schema, Any]] = []
        if not self._has_shaken:
            shake = {
                "clientHash": self._own.hash,
                "clientProtocol": self._own.text,
                "serverHash": self._own.hash,
                "meta": None,
            }
            parts.append((HANDSHAKE_REQUEST, shake))
        types = self._own.messages[name].request
        parts += [(META, {}), ("string", name), *zip(types, values, strict=True)]
        return written(*parts)

    def response(self, payload: bytes, name: str) -> Datums:
        """Return the answer to a call of `name`: what is left to read is its value.

        Raises:
            FlumeCallError: The server answered with an error.
            FlumeProtocolError: It can't be read, or is another protocol's.
        """
        datums = Datums(payload)
        if not self._has_shaken:
            self._check(datums.read(HANDSHAKE_RESPONSE), name)
            self._has_shaken = True
        datums.read(META)
        if datums.read("boolean"):
            msg = f"the server answered {name} with an error: {datums.read(ERROR)}"
            raise FlumeCallError(msg)
        return datums

    def _check(self, reply: dict[str, Any], name: str) -> None:
        if reply["match"] == "NONE":
            msg = "the server doesn't take a protocol whose text it was told"
            raise FlumeProtocolError(msg)
        text = reply["serverProtocol"]
        if text is None:
            return
        theirs = protocol_of(text).messages
        if theirs.get(name) != self._own.messages[name]:
            msg = f"the server's protocol has another {name} than Flume's, or none"
            hint = "is this the port of Spark's sink in a Flume agent?"
            raise FlumeProtocolError(msg, hint=hint)
