"""FlumeReceiver: the Avro RPC server that a Flume agent's Avro sink pushes events to.

A batch (`appendBatch`) is stored as one block before it is answered with OK: with the
write-ahead log on, none that was answered is lost. A single event (`append`) is answered
when it is taken, and stored with others a little later. What can't be stored is answered
with FAILED: the agent keeps it and sends it again.
"""

import logging
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from millstream.engine.base.errors import MillstreamError, UsageError
from millstream.engine.base.levels import StorageLevel
from millstream.engine.ingest.async_receiver import AsyncReceiver, Store
from millstream.engine.sources.flume.frames import (
    FlumeLimits,
    FlumeProtocolError,
    FrameParser,
    frame_of,
)
from millstream.engine.sources.flume.protocol import PUSH, STATUS, Event
from millstream.engine.sources.flume.session import Call, KnownProtocols, ServerSession
from millstream.engine.sources.tcp_server import peer_of, serve_clients

if TYPE_CHECKING:
    import asyncio

_log = logging.getLogger(__name__)

_READ_BYTES = 1 << 16
_INFLATED_BYTES = 1 << 18


class FlumeReceiver(AsyncReceiver[Event]):
    """Stores the events, as (headers, body), that agents push to a port."""

    def __init__(
        self,
        host: str,
        port: int,
        storageLevel: StorageLevel = StorageLevel.MEMORY_AND_DISK_2,
        *,
        is_compressed: bool = False,
        limits: FlumeLimits | None = None,
    ) -> None:
        """Listen on `host`:`port` and nowhere else; "0.0.0.0" is every address.

        Raises:
            UsageError: There is no host.
        """
        super().__init__(storageLevel)
        if not host:
            msg = "a Flume receiver needs the address to listen on"
            raise UsageError(msg, hint="'127.0.0.1', or '0.0.0.0' for every address")
        self.host = host
        self.port = port
        self.is_compressed = is_compressed
        self.limits = limits or FlumeLimits()

    @property
    def identity(self) -> str:
        """What it reads: where it listens."""
        return f"flume {self.host}:{self.port}"

    @property
    def preferredLocation(self) -> str | None:
        """Where it listens: agents have been told."""
        return self.host

    async def run(self, store: Store) -> None:
        """Serve clients until cancelled."""
        known = KnownProtocols(PUSH)

        async def serve(
            reader: "asyncio.StreamReader", writer: "asyncio.StreamWriter"
        ) -> None:
            await _Client(self, reader, writer, ServerSession(known), store).serve()

        await serve_clients(
            (self.host, self.port),
            serve,
            clients_max=self.limits.connections_max,
            limit="FlumeLimits.connections_max",
        )


class _Client:
    """One connection of an agent."""

    def __init__(
        self,
        receiver: FlumeReceiver,
        reader: "asyncio.StreamReader",
        writer: "asyncio.StreamWriter",
        session: ServerSession,
        store: Store,
    ) -> None:
        self._receiver = receiver
        self._limits = receiver.limits
        self._reader = reader
        self._writer = writer
        self._session = session
        self._store = store
        self._parser = FrameParser(self._limits)
        self._inflate = zlib.decompressobj() if receiver.is_compressed else None
        self._deflate = zlib.compressobj() if receiver.is_compressed else None

    async def serve(self) -> None:
        """Answer until the client ends, breaks a rule, or this is cancelled."""
        try:
            while data := await self._read():
                for piece in self._inflated(data):
                    for frame in self._parser.feed(piece):
                        call = self._session.receive(frame.payload)
                        await self._write(frame_of(frame.serial, await self._do(call)))
            if self._parser.is_inside:
                self._close_because("it ended inside a frame")
        except (FlumeProtocolError, zlib.error) as error:
            self._close_because(str(error))
        except TimeoutError:
            stall_s = self._limits.stall_s
            self._close_because(f"it was silent for {stall_s:g} s inside a frame")
        except OSError as error:
            self._close_because(f"the connection broke: {error}")
        except Exception as error:  # The task's outermost frame: others go on.
            self._receiver.reportError("a Flume connection failed", error)
            self._close_because(f"{type(error).__name__}: {error}")

    def _close_because(self, why: str) -> None:
        _log.warning(
            "a Flume connection is closed: %s port=%d client=%s",
            why,
            self._receiver.port,
            peer_of(self._writer),
        )

    async def _read(self) -> bytes:
        import asyncio  # noqa: PLC0415  Programs without Flume don't need it.

        # Between frames an agent may have nothing to say for hours.
        stall_s = self._limits.stall_s if self._parser.is_inside else None
        async with asyncio.timeout(stall_s):
            return await self._reader.read(_READ_BYTES)

    async def _write(self, data: bytes) -> None:
        import asyncio  # noqa: PLC0415  Programs without Flume don't need it.

        if self._deflate is not None:
            data = self._deflate.compress(data)
            data += self._deflate.flush(zlib.Z_SYNC_FLUSH)
        self._writer.write(data)
        async with asyncio.timeout(self._limits.stall_s):
            await self._writer.drain()

    def _inflated(self, data: bytes) -> Iterator[bytes]:
        if self._inflate is None:
            yield data
            return
        # Piece by piece: a few bytes can be made that inflate to gigabytes.
        is_more = True
        while is_more:
            piece = self._inflate.decompress(data, _INFLATED_BYTES)
            data = self._inflate.unconsumed_tail
            if self._inflate.unused_data:
                msg = "bytes came after the end of the compressed stream"
                raise FlumeProtocolError(msg)
            if piece:
                yield piece
            # A full piece: there may be more inside, though all input is taken.
            is_more = bool(data) or len(piece) == _INFLATED_BYTES

    async def _do(self, call: Call) -> bytes:
        match call.name:
            case None:
                return call.handshake()
            case "":
                return call.answer("null", None)
            case _ if call.is_foreign:
                text = f"the message {call.name!r} isn't Flume's, or has other types"
                _log.warning("%s client=%s", text, peer_of(self._writer))
                return call.fail(text)
            case "append":
                event = call.parameters.event()
                call.parameters.end()
                return call.answer(STATUS, await self._stored(event))
            case _:
                events = call.parameters.events(self._limits.events_max)
                call.parameters.end()
                return call.answer(STATUS, await self._stored(events))

    async def _stored(self, data: Event | list[Event]) -> str:
        """Store an event, or a batch as one block; return the status to answer."""
        if not data:
            return "OK"
        try:
            await self._store(data)
        except MillstreamError as error:
            _log.warning(
                "pushed events couldn't be stored; the agent is told and sends them "
                "again port=%d error=%s",
                self._receiver.port,
                error,
            )
            return "FAILED"
        return "OK"
