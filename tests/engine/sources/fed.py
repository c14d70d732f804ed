"""An actor stream's feeding port under test, and a client that may break its rules."""

import asyncio
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from tests.integration.servers.flume import read_exactly
from tests.integration.servers.ports import free_port

from millstream.engine.sources.actor.feed import (
    HELLO,
    TO_FEEDER,
    TO_RECEIVER,
    FeedServer,
    RemotePort,
)
from millstream.engine.sources.actor.frames import (
    GREETING,
    LENGTH_BYTES,
    NONCE_BYTES,
    Signer,
)
from millstream.engine.sources.actor.strategy import OneForOneStrategy
from millstream.engine.sources.actor.supervisor import Supervisor
from millstream.engine.sources.actor.workers import ActorHelper

KEY = "a key of a test, long enough"


class Keeper(ActorHelper):
    """Stores what it gets; raises what it is told to."""

    def on_receive(self, message: Any) -> None:
        if message == "fail":
            raise RuntimeError("a secret of the actor's")
        self.store(message)


class Fed:
    """What a receiver would be, around a `FeedServer`."""

    def __init__(self, port: RemotePort) -> None:
        self.port = port
        self.stored: list[Any] = []
        self.supervisor = Supervisor(
            self.stored.append,
            lambda message, error: None,
            lambda: False,
            OneForOneStrategy(),
        )
        self.supervisor.start(Keeper, (), "first")
        self.supervisor.start(Keeper, (), "second")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()
        assert self._is_up.wait(10)

    async def _run(self) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        self._is_up.set()
        with suppress(asyncio.CancelledError):
            await FeedServer(self.port, self.supervisor, "first").run()

    def stop(self) -> None:
        """End the server, then the workers."""
        assert self._loop is not None
        assert self._task is not None
        with suppress(RuntimeError):  # It has ended.
            self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(10)
        self.supervisor.stop(10)


@contextmanager
def fed(**settings: Any) -> Iterator[Fed]:
    """Serve at a free port of loopback."""
    made = Fed(RemotePort(**{"port": free_port(), "key": KEY, **settings}))
    try:
        yield made
    finally:
        made.stop()


def connected(port: int) -> socket.socket:
    """Connect as soon as somebody listens."""
    for _ in range(1000):
        with suppress(ConnectionRefusedError):
            return socket.create_connection(("127.0.0.1", port), 10)
        threading.Event().wait(0.005)
    msg = "nobody listens"
    raise AssertionError(msg)


class RawFeeder:
    """Sends any bytes, after a handshake in order."""

    def __init__(self, port: int, key: str = KEY, *, shakes: bool = True) -> None:
        self.socket = connected(port)
        greeting = self.read(len(GREETING) + NONCE_BYTES)
        assert greeting.startswith(GREETING)
        own = secrets.token_bytes(NONCE_BYTES)
        nonces = greeting[len(GREETING) :] + own
        self.ours = Signer(key, TO_RECEIVER, nonces)
        self.theirs = Signer(key, TO_FEEDER, nonces)
        self.hello = self.ours.seal(HELLO, own)
        if shakes:
            self.socket.sendall(self.hello)
            assert self.receive() == (b"W", b"")

    def read(self, count: int) -> bytes:
        """Read so many bytes."""
        return read_exactly(self.socket.recv, count)

    def receive(self) -> tuple[bytes, bytes]:
        """Return the next answer."""
        length = int.from_bytes(self.read(LENGTH_BYTES), "big")
        return self.theirs.open(self.read(length))

    def exchange(self, raw: bytes) -> tuple[bytes, bytes]:
        """Send bytes, and return the answer."""
        self.socket.sendall(raw)
        return self.receive()

    def is_closed_after(self, raw: bytes) -> bool:
        """Send bytes, and say whether the connection then ends without an answer."""
        try:
            self.socket.sendall(raw)
            return self.socket.recv(1) == b""
        except (ConnectionResetError, BrokenPipeError):
            return True

    def close(self) -> None:
        """Disconnect."""
        self.socket.close()
