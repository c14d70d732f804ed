"""The two Avro protocols of Flume: their types, their messages, and how peers agree on them.

`PUSH` is what a Flume agent's Avro sink speaks, as Flume's `AvroSourceProtocol`; `POLLING`
is what Spark's sink in an agent speaks, as `SparkFlumeProtocol`. Messages, handshakes and
calls are those of the Avro specification, 1.8 and later.
"""

import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from millstream.engine.base.extras import needed
from millstream.engine.sources.flume.frames import FlumeProtocolError

Schema = Any
"""An Avro schema, as JSON has it."""

_PRIMITIVES = frozenset(
    {"null", "boolean", "int", "long", "float", "double", "bytes", "string"}
)
_MAP_OF_BYTES: Schema = {"type": "map", "values": "bytes"}
_MD5: Schema = {"type": "fixed", "name": "org.apache.avro.ipc.MD5", "size": 16}
HANDSHAKE_REQUEST: Schema = {
    "type": "record",
    "name": "org.apache.avro.ipc.HandshakeRequest",
    "fields": [
        {"name": "clientHash", "type": _MD5},
        {"name": "clientProtocol", "type": ["null", "string"]},
        {"name": "serverHash", "type": "org.apache.avro.ipc.MD5"},
        {"name": "meta", "type": ["null", _MAP_OF_BYTES]},
    ],
}
HANDSHAKE_RESPONSE: Schema = {
    "type": "record",
    "name": "org.apache.avro.ipc.HandshakeResponse",
    "fields": [
        {
            "name": "match",
            "type": {
                "type": "enum",
                "name": "org.apache.avro.ipc.HandshakeMatch",
                "symbols": ["BOTH", "CLIENT", "NONE"],
            },
        },
        {"name": "serverProtocol", "type": ["null", "string"]},
        {"name": "serverHash", "type": ["null", _MD5]},
        {"name": "meta", "type": ["null", _MAP_OF_BYTES]},
    ],
}
META: Schema = _MAP_OF_BYTES
ERROR: Schema = ["string"]
"""What a call answers that failed, where its protocol has no errors of its own."""


def _event_type(name: str) -> Schema:
    return {
        "type": "record",
        "name": name,
        "fields": [
            {"name": "headers", "type": {"type": "map", "values": "string"}},
            {"name": "body", "type": "bytes"},
        ],
    }


PUSH_TEXT = json.dumps(
    {
        "protocol": "AvroSourceProtocol",
        "namespace": "org.apache.flume.source.avro",
        "types": [
            {"type": "enum", "name": "Status", "symbols": ["OK", "FAILED", "UNKNOWN"]},
            _event_type("AvroFlumeEvent"),
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
POLLING_TEXT = json.dumps(
    {
        "protocol": "SparkFlumeProtocol",
        "namespace": "org.apache.spark.flume",
        "types": [
            _event_type("SparkSinkEvent"),
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


@dataclass(frozen=True, slots=True)
class Message:
    """The types of a call, spelled out: two that are equal have the same bytes."""

    request: tuple[Schema, ...]
    """The parameters' types, in order."""
    response: Schema


@dataclass(frozen=True, slots=True)
class AvroProtocol:
    """A protocol, of ours or of a peer."""

    text: str
    """Its JSON, as whoever speaks it wrote it: the hash is over that."""
    messages: dict[str, Message] = field(compare=False)

    @property
    def hash(self) -> bytes:
        """What a handshake calls it: the MD5 of its text."""
        return md5(self.text)


def md5(text: str) -> bytes:
    """Return the hash of a protocol's text, as handshakes have it."""
    return hashlib.md5(text.encode(), usedforsecurity=False).digest()


def protocol_of(text: str) -> AvroProtocol:
    """Return the protocol in a JSON text.

    Raises:
        FlumeProtocolError: It is none.
    """
    try:
        document = json.loads(text)
        types = _Types(document)
        messages = {
            str(name): Message(
                tuple(
                    types.spelled_out(parameter["type"], set())
                    for parameter in message["request"]
                ),
                types.spelled_out(message["response"], set()),
            )
            for name, message in document.get("messages", {}).items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        msg = f"a peer's protocol can't be read: {type(error).__name__}: {error}"
        raise FlumeProtocolError(msg) from error
    return AvroProtocol(text, messages)


class _Types:
    """The named types of a protocol."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._namespace = str(document.get("namespace", ""))
        self._known: dict[str, Any] = {
            self._full(each["name"], each.get("namespace")): each
            for each in document.get("types", [])
        }

    def _full(self, name: str, namespace: str | None) -> str:
        space = self._namespace if namespace is None else namespace
        return name if "." in name or not space else f"{space}.{name}"

    def spelled_out(self, node: Schema, done: set[str]) -> Schema:
        """Return a type with all it refers to in it, and nothing that changes no bytes.

        That is Avro's parsing canonical form, with a named type where it is first used.
        """
        if isinstance(node, list):
            return [self.spelled_out(each, done) for each in node]
        if isinstance(node, str):
            if node in _PRIMITIVES:
                return node
            full = self._full(node, None)
            return full if full in done else self.spelled_out(self._known[full], done)
        kind = node["type"]
        match kind:
            case "record" | "error":
                full = self._named(node, done)
                fields = [
                    {
                        "name": each["name"],
                        "type": self.spelled_out(each["type"], done),
                    }
                    for each in node["fields"]
                ]
                return {"type": "record", "name": full, "fields": fields}
            case "enum":
                full = self._named(node, done)
                return {"type": "enum", "name": full, "symbols": list(node["symbols"])}
            case "fixed":
                return {
                    "type": "fixed",
                    "name": self._named(node, done),
                    "size": node["size"],
                }
            case "array":
                items = self.spelled_out(node["items"], done)
                return {"type": "array", "items": items}
            case "map":
                values = self.spelled_out(node["values"], done)
                return {"type": "map", "values": values}
            case _:
                return self.spelled_out(kind, done)

    def _named(self, node: dict[str, Any], done: set[str]) -> str:
        full = self._full(node["name"], node.get("namespace"))
        done.add(full)
        return full


PUSH = protocol_of(PUSH_TEXT)
POLLING = protocol_of(POLLING_TEXT)
EVENT: Schema = PUSH.messages["append"].request[0]
"""An event of a push: the same bytes as one that is polled."""
STATUS: Schema = PUSH.messages["append"].response

Event = tuple[dict[str, str], bytes]
"""What Flume carries: headers, and a body."""


class Datums:
    """Reads the values of one message; each read goes on where the last one ended."""

    def __init__(self, payload: bytes) -> None:
        """Begin at the beginning."""
        self._length = len(payload)
        self._bytes = io.BytesIO(payload)
        self._reader = _avro().schemaless_reader

    def read(self, schema: Schema) -> Any:
        """Return the next value. Text that isn't UTF-8 has U+FFFD in it.

        Raises:
            FlumeProtocolError: There is none of this type.
        """
        return self._read(_parsed(schema))

    def _read(self, parsed: Schema) -> Any:
        try:
            return self._reader(
                self._bytes, parsed, None, handle_unicode_errors="replace"
            )
        except (EOFError, IndexError, ValueError, OverflowError, TypeError) as error:
            msg = f"a message is damaged after byte {self._bytes.tell()}: {error!r}"
            raise FlumeProtocolError(msg) from error

    def event(self) -> Event:
        """Return the next event."""
        return self._event(_parsed(EVENT))

    def _event(self, parsed: Schema) -> Event:
        event = self._read(parsed)
        return event["headers"], event["body"]

    def events(self, most: int) -> list[Event]:
        """Return the events of an array.

        Raises:
            FlumeProtocolError: They are more than `most`: then nearly none has been read.
        """
        return list(self._events(most))

    def _events(self, most: int) -> Iterator[Event]:
        # Block by block: whoever reads an array as a whole learns its length too late.
        total, parsed = 0, _parsed(EVENT)
        while count := self.read("long"):
            if count < 0:
                count = -count
                self.read("long")  # The block's bytes, for those who skip it.
            total += count
            if total > most:
                msg = f"a batch of {total} events or more came; {most} are let in"
                hint = "send smaller batches, or raise FlumeLimits.events_max"
                raise FlumeProtocolError(msg, hint=hint)
            for _ in range(count):
                yield self._event(parsed)

    def end(self) -> None:
        """Check that all has been read.

        Raises:
            FlumeProtocolError: There is more.
        """
        left = self._length - self._bytes.tell()
        if left:
            msg = f"a message has {left} bytes too many"
            raise FlumeProtocolError(msg)


def written(*values: tuple[Schema, Any]) -> bytes:
    """Return values, each with its type, as the bytes of a message."""
    out = io.BytesIO()
    write = _avro().schemaless_writer
    for schema, value in values:
        write(out, _parsed(schema), value)
    return out.getvalue()


def _avro() -> Any:
    return needed("fastavro", "flume", "FlumeUtils")


def _parsed(schema: Schema) -> Any:
    # Parsing takes longer than reading most messages.
    return _parsed_text(json.dumps(schema)) if isinstance(schema, dict) else schema


@cache
def _parsed_text(text: str) -> Any:
    return _avro().parse_schema(json.loads(text))
