"""RemoteFeeder: sends messages to the workers of an actor stream, from another program."""

import json
import secrets
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from millstream.engine.base import frames
from millstream.engine.base.errors import SparkError, UsageError
from millstream.engine.base.secrets import Secret
from millstream.engine.sources.actor.feed import (
    DONE,
    HELLO,
    JSON,
    PICKLE,
    TO_FEEDER,
    TO_RECEIVER,
    WELCOME,
    key_of,
)
from millstream.engine.sources.actor.frames import (
    GREETING,
    LENGTH_BYTES,
    NONCE_BYTES,
    OVERHEAD_BYTES,
    FeedError,
    Signer,
    length_of,
    message_of,
)

_REPLY_BYTES_MAX = 1 << 16


class FeedRefusedError(SparkError):
    """The receiver has got a message, and its worker hasn't handled it."""


class RemoteFeeder:
    """Sends to a receiver that has a `RemotePort`; may be used from many threads.

    A send returns when the worker has handled its messages. When it raises, they may have
    been handled or not: send them again, and each comes at least once. A connection that
    broke is made anew with the next send.
    """

    def __init__(
        self,
        host: str,
        port: int,
        key: str | Secret,
        *,
        pickled: bool = False,
        timeout_s: float = 30.0,
    ) -> None:
        """Send to `host`:`port`, signed with `key`; nothing is connected yet.

        With `pickled`, messages may be anything that pickles, and the receiver must allow
        it; else they are what JSON has.

        Raises:
            UsageError: The key is too short.
        """
        self._address = (host, port)
        self._key = key_of(key)
        self._kind = PICKLE if pickled else JSON
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._line: _Line | None = None

    def send(self, message: Any, to: str = "") -> None:
        """Send a message to the worker named `to`; "" is the stream's first.

        Raises:
            FeedRefusedError: It wasn't handled.
            SparkError: The receiver can't be reached, didn't answer in time, or has
                another key.
            UsageError: The message is none that JSON has.
        """
        self.sendAll([message], to)

    def sendAll(self, messages: Sequence[Any], to: str = "") -> None:
        """Send messages at once, to be handled in order, up to the first that fails.

        Raises: as `send`.
        """
        content = message_of(to, self._encoded(list(messages)))
        with self._lock:
            try:
                if self._line is None:
                    key = self._key.reveal()
                    self._line = _Line(self._address, key, self._timeout_s)
                kind, text = self._line.exchange(self._kind, content)
            except (OSError, FeedError) as error:
                self._hang_up()
                raise self._failed(error) from error
            except BaseException:
                self._hang_up()  # An answer that comes later would be taken for another.
                raise
        if kind != DONE:
            why = text.decode(errors="replace")
            msg = f"the receiver at {self._where} refused messages: {why}"
            raise FeedRefusedError(msg, hint="the receiver's log says more")

    def _encoded(self, messages: list[Any]) -> bytes:
        if self._kind == PICKLE:
            return frames.dumps(messages)
        try:
            return json.dumps(messages).encode()
        except (TypeError, ValueError, RecursionError) as error:
            msg = f"a message is none that JSON has: {error}"
            raise UsageError(
                msg, hint="or use RemoteFeeder(..., pickled=True)"
            ) from error

    def _failed(self, error: Exception) -> SparkError:
        hint = (
            "does it run, with the same key, and take what was sent? Its log says more"
        )
        return SparkError(f"feeding {self._where} failed: {error}", hint=hint)

    @property
    def _where(self) -> str:
        return f"{self._address[0]}:{self._address[1]}"

    def close(self) -> None:
        """Disconnect."""
        with self._lock:
            self._hang_up()

    def _hang_up(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Line:
    """One connection, after its handshake."""

    def __init__(self, address: tuple[str, int], key: str, timeout_s: float) -> None:
        self._socket = socket.create_connection(address, timeout_s)
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._shake(key)
        except BaseException:
            self._socket.close()
            raise

    def _shake(self, key: str) -> None:
        greeting = self._read(len(GREETING) + NONCE_BYTES)
        if not greeting.startswith(GREETING):
            msg = "what answers there is no actor stream's receiver"
            raise FeedError(msg)
        own = secrets.token_bytes(NONCE_BYTES)
        nonces = greeting[len(GREETING) :] + own
        self._ours = Signer(key, TO_RECEIVER, nonces)
        self._theirs = Signer(key, TO_FEEDER, nonces)
        self._socket.sendall(self._ours.seal(HELLO, own))
        kind, _ = self._receive()
        if kind != WELCOME:
            msg = "the receiver answered a hello with something else than a welcome"
            raise FeedError(msg)

    def exchange(self, kind: bytes, content: bytes) -> tuple[bytes, bytes]:
        """Send a frame; return the kind and the content of its answer."""
        self._socket.sendall(self._ours.seal(kind, content))
        return self._receive()

    def _receive(self) -> tuple[bytes, bytes]:
        length = length_of(self._read(LENGTH_BYTES), OVERHEAD_BYTES + _REPLY_BYTES_MAX)
        return self._theirs.open(self._read(length))

    def _read(self, count: int) -> bytes:
        got = bytearray()
        while len(got) < count:
            part = self._socket.recv(count - len(got))
            if not part:
                msg = "the receiver has closed the connection"
                raise ConnectionError(msg)
            got += part
        return bytes(got)

    def close(self) -> None:
        with suppress(OSError):
            self._socket.close()
