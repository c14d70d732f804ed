"""FeedServer: takes the messages of remote feeders for an actor stream's workers.

Who connects has to sign with the key that both sides have; what isn't signed is never
looked into, and unpickled only where the receiver allows pickles at all. A message is
acknowledged when the worker has handled it: when what it stored as a block is stored.
"""

import json
import logging
import secrets
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from millstream.engine.base import frames
from millstream.engine.base.errors import UsageError
from millstream.engine.base.secrets import Secret, secret_of
from millstream.engine.sources.actor.frames import (
    GREETING,
    HEAD_BYTES,
    KEY_LENGTH_MIN,
    LENGTH_BYTES,
    NONCE_BYTES,
    OVERHEAD_BYTES,
    FeedError,
    Signer,
    addressed,
    length_of,
)
from millstream.engine.sources.actor.supervisor import Supervisor
from millstream.engine.sources.actor.workers import WorkerGoneError
from millstream.engine.sources.tcp_server import peer_of, serve_clients

if TYPE_CHECKING:
    import asyncio

_log = logging.getLogger(__name__)


HELLO = b"H"
WELCOME = b"W"
JSON = b"J"
PICKLE = b"P"
DONE = b"D"
REFUSED = b"R"
TO_RECEIVER = "to the receiver"
TO_FEEDER = "to the feeder"


@dataclass(frozen=True, slots=True)
class RemotePort:
    """Where a stream's receiver listens for remote feeders, and what it takes from them."""

    port: int
    key: str | Secret = field(repr=False)
    """What both sides have: 16 characters at least. Kept as a `Secret`."""
    host: str = "127.0.0.1"
    """The address to listen on; "0.0.0.0" is every address."""
    allow_pickle: bool = False
    """Whether signed pickles are taken: whoever has the key can then run any code here."""
    frame_bytes_max: int = 8 << 20
    """Bytes of one send."""
    clients_max: int = 16
    """Feeders at a time."""
    stall_s: float = 30.0
    """Seconds for a handshake, and that a feeder may stay silent inside a frame."""

    def __post_init__(self) -> None:
        """Check.

        Raises:
            UsageError: A value is out of its range.
        """
        object.__setattr__(self, "key", key_of(self.key))
        numbers = (self.frame_bytes_max, self.clients_max, self.stall_s)
        if not self.host or not 0 < self.port < 1 << 16 or min(numbers) <= 0:
            msg = f"this is no port to be fed at: {self!r}"
            raise UsageError(msg)

    def reveal_key(self) -> str:
        """Return the key's text, to sign with."""
        assert isinstance(self.key, Secret), "the constructor made it one"
        return self.key.reveal()


def key_of(key: str | Secret) -> Secret:
    """Return a feeder's key as a secret.

    Raises:
        UsageError: It is too short to be safe.
    """
    if isinstance(key, str) and len(key) < KEY_LENGTH_MIN:
        msg = f"a feeder's key has {KEY_LENGTH_MIN} characters at least"
        raise UsageError(msg, hint="make one with secrets.token_urlsafe()")
    made = secret_of(key, "actor.remote.key")
    assert made is not None, "there is a key"
    return made


class FeedServer:
    """Serves feeders at a port, until it is cancelled."""

    def __init__(self, port: RemotePort, supervisor: Supervisor, first: str) -> None:
        """Hand messages to workers of `supervisor`; to `first` where none is named."""
        self.port = port
        self.supervisor = supervisor
        self.first = first

    async def run(self) -> None:
        """Serve until cancelled.

        Raises:
            OSError: The port can't be listened at.
        """

        async def serve(
            reader: "asyncio.StreamReader", writer: "asyncio.StreamWriter"
        ) -> None:
            await _Feeder(self, reader, writer).serve()

        await serve_clients(
            (self.port.host, self.port.port),
            serve,
            clients_max=self.port.clients_max,
            limit="RemotePort.clients_max",
        )


class _Feeder:
    """One connection."""

    def __init__(
        self,
        server: FeedServer,
        reader: "asyncio.StreamReader",
        writer: "asyncio.StreamWriter",
    ) -> None:
        self._server = server
        self._port = server.port
        self._reader = reader
        self._writer = writer

    async def serve(self) -> None:
        """Take messages until the feeder ends or breaks a rule, or this is cancelled."""
        import asyncio  # noqa: PLC0415  Programs without feeders don't need it.

        try:
            async with asyncio.timeout(self._port.stall_s):
                theirs, ours = await self._shake()
            while body := await self._next():
                await self._send(ours.seal(*await self._take(*theirs.open(body))))
        except FeedError as error:
            self._close_because(str(error))
        except TimeoutError:
            self._close_because(f"it was silent for {self._port.stall_s:g} s")
        except (OSError, EOFError) as error:
            self._close_because(f"the connection broke: {error}")
        except Exception as error:  # The task's outermost frame: others go on.
            _log.exception("a feeder's connection failed port=%d", self._port.port)
            self._close_because(type(error).__name__)

    def _close_because(self, why: str) -> None:
        _log.warning(
            "a feeder's connection is closed: %s port=%d client=%s",
            why,
            self._port.port,
            peer_of(self._writer),
        )

    async def _shake(self) -> tuple[Signer, Signer]:
        nonce = secrets.token_bytes(NONCE_BYTES)
        await self._send(GREETING + nonce)
        head = await self._reader.readexactly(LENGTH_BYTES)
        # A stranger may send as much as a hello has, no more.
        length = length_of(head, OVERHEAD_BYTES + NONCE_BYTES)
        body = await self._reader.readexactly(length)
        nonces = nonce + body[HEAD_BYTES : HEAD_BYTES + NONCE_BYTES]
        key = self._port.reveal_key()
        theirs = Signer(key, TO_RECEIVER, nonces)
        ours = Signer(key, TO_FEEDER, nonces)
        kind, _ = theirs.open(body)
        if kind != HELLO:
            msg = "a feeder began with something else than a hello"
            raise FeedError(msg)
        await self._send(ours.seal(WELCOME, b""))
        return theirs, ours

    async def _next(self) -> bytes | None:
        """Return the next frame's body; None at the end of the connection."""
        import asyncio  # noqa: PLC0415  Programs without feeders don't need it.

        first = await self._reader.read(1)  # A feeder may be silent for hours.
        if not first:
            return None
        async with asyncio.timeout(self._port.stall_s):
            head = first + await self._reader.readexactly(LENGTH_BYTES - 1)
            length = length_of(head, self._port.frame_bytes_max + OVERHEAD_BYTES)
            return await self._reader.readexactly(length)

    async def _send(self, data: bytes) -> None:
        import asyncio  # noqa: PLC0415  Programs without feeders don't need it.

        self._writer.write(data)
        async with asyncio.timeout(self._port.stall_s):
            await self._writer.drain()

    async def _take(self, kind: bytes, content: bytes) -> tuple[bytes, bytes]:
        """Have signed messages handled; return the reply's kind and content."""
        import asyncio  # noqa: PLC0415  Programs without feeders don't need it.

        try:
            handled = self._handed_over(kind, content)
            # Shielded: when this ends, the worker handles what it has all the same.
            await asyncio.shield(asyncio.wrap_future(handled))
        except (FeedError, WorkerGoneError) as error:
            return REFUSED, str(error).encode()
        except Exception as error:
            # The worker's own. Its text isn't told: it may say what isn't the feeder's.
            return REFUSED, f"handling it raised {type(error).__name__}".encode()
        return DONE, b""

    def _handed_over(self, kind: bytes, content: bytes) -> "Future[Any]":
        name, data = addressed(content)
        messages = self._decoded(kind, data)
        worker = self._server.supervisor.find(name or self._server.first)
        if worker is None:
            msg = f"there is no worker '{name or self._server.first}'"
            raise WorkerGoneError(msg)
        return worker.ask_all(messages)

    def _decoded(self, kind: bytes, data: bytes) -> list[Any]:
        """Return the messages in signed data."""
        if kind != JSON and not (kind == PICKLE and self._port.allow_pickle):
            msg = "this receiver takes no pickles" if kind == PICKLE else "no such kind"
            raise FeedError(
                msg, hint="RemotePort(..., allow_pickle=True) takes pickles"
            )
        try:
            messages = json.loads(data) if kind == JSON else frames.loads(data)
        except Exception as error:
            msg = f"messages can't be read: {type(error).__name__}"
            raise FeedError(msg) from error
        if not isinstance(messages, list):
            msg = f"messages come as a list, not as {type(messages).__name__}"
            raise FeedError(msg)
        return messages
