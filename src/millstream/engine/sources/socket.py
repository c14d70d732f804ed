"""SocketReceiver: lines, or whatever a converter makes, from a TCP connection.

It is the client; the server sends. Lines end with a line feed, a carriage return, or both,
and are UTF-8; bytes that aren't become U+FFFD.
"""

import contextlib
import socket
from collections.abc import Callable, Iterable
from typing import Any, BinaryIO

from millstream.engine.base.levels import StorageLevel
from millstream.engine.ingest.receiver import Receiver
from millstream.engine.plan.text import end_of_lines

_READ_BYTES = 1 << 18
_CONNECT_S = 60.0

Converter = Callable[[BinaryIO], Iterable[Any]]


class TcpReceiver(Receiver[Any]):
    """Connects to a host and port and stores what comes, until told to stop.

    A refused connection, an error and the end of the stream restart it after
    `spark.streaming.receiverRestartDelay`. Subclasses read the connection.
    """

    def __init__(
        self,
        host: str,
        port: int,
        storageLevel: StorageLevel = StorageLevel.MEMORY_AND_DISK_2,
    ) -> None:
        """Connect to `host`:`port`."""
        super().__init__(storageLevel)
        self.host = host
        self.port = port
        self._socket: socket.socket | None = None

    @property
    def identity(self) -> str:
        """What it reads: where it connects to."""
        return f"socket {self.host}:{self.port}"

    def read(self, connection: socket.socket) -> None:
        """Store what comes; return when the stream ends or `isStopped()`."""
        raise NotImplementedError

    def onStart(self) -> None:
        """Connect and begin to read, in a thread."""
        self._run_in_thread(self._receive, f"millstream-socket-{self.streamId}")

    def onStop(self) -> None:
        """Close the connection, which wakes the reading thread."""
        connection, self._socket = self._socket, None
        if connection is not None:
            with contextlib.suppress(OSError):  # The server may have closed it first.
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_socket": None}

    def _receive(self) -> None:
        where = f"{self.host}:{self.port}"
        try:
            connection = socket.create_connection((self.host, self.port), _CONNECT_S)
        except (ConnectionError, TimeoutError) as error:
            self.restart(f"Error connecting to {where}", error)
            return
        except OSError as error:
            self.stop(f"Error connecting to {where}", error)
            return
        connection.settimeout(None)
        self._socket = connection
        try:
            with connection:
                if not self.isStopped():
                    self.read(connection)
        except Exception as error:  # The thread's outermost frame.
            if not self.isStopped():
                self.restart("Error receiving data", error)
            return
        if not self.isStopped():
            self.restart("Socket data stream had no more data")


class SocketReceiver(TcpReceiver):
    """Lines, stored as the bytes that came: nothing is done for each line here."""

    def __init__(
        self,
        host: str,
        port: int,
        converter: Converter | None = None,
        storageLevel: StorageLevel = StorageLevel.MEMORY_AND_DISK_2,
    ) -> None:
        """Connect to `host`:`port`; without a converter, read lines."""
        super().__init__(host, port, storageLevel)
        self.converter = converter

    def read(self, connection: socket.socket) -> None:
        """Store lines, or what the converter yields."""
        if self.converter is None:
            self._read_lines(connection)
        else:
            self._read_converted(connection, self.converter)

    def _read_lines(self, connection: socket.socket) -> None:
        waiting: list[
            bytes | memoryview
        ] = []  # Parts of a line that goes on: joined once.
        try:
            while data := connection.recv(_READ_BYTES):
                end = end_of_lines(data)
                if end == 0:
                    waiting.append(data)
                    continue
                waiting.append(memoryview(data)[:end])
                self.storeText(b"".join(waiting))
                waiting = [data[end:]] if end < len(data) else []
        finally:
            # A complete line must not be lost, nor the last one for want of its end.
            if waiting and not self.isStopped():
                self.storeText(b"".join(waiting))

    def _read_converted(self, connection: socket.socket, converter: Converter) -> None:
        with connection.makefile("rb") as stream:
            for record in converter(stream):
                if self.isStopped():
                    return
                self.storeMany([record])
