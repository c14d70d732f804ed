"""RawSocketReceiver: ready-made blocks from a TCP connection, framed by their length.

A frame is a 4-byte big-endian length and a pickled list of records. **Unpickling runs
code that the sender chose**: connect to servers you trust only. Spark's raw sockets carry
serialised blocks in the same way.
"""

import contextlib
import socket
from typing import Any

from millstream.engine.base import frames
from millstream.engine.base.errors import SparkError
from millstream.engine.base.levels import StorageLevel
from millstream.engine.ingest.receiver import Receiver

_FRAME_BYTES_MAX = 1 << 28
_CONNECT_S = 60.0


class RawSocketReceiver(Receiver[Any]):
    """Stores each frame as one block, without work for each record."""

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

    def onStart(self) -> None:
        """Connect and begin to read, in a thread."""
        self._run_in_thread(self._receive, f"millstream-raw-socket-{self.streamId}")

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
        try:
            with socket.create_connection((self.host, self.port), _CONNECT_S) as server:
                server.settimeout(None)
                self._socket = server
                with server.makefile("rb") as stream:
                    while not self.isStopped() and (header := stream.read(4)):
                        length = int.from_bytes(header, "big")
                        self._check_length(len(header), length)
                        payload = stream.read(length)
                        if len(payload) < length:
                            break
                        self.store(list(frames.loads(payload)))
        except Exception as error:
            if not self.isStopped():
                self.restart(f"Error receiving from {self.host}:{self.port}", error)
            return
        if not self.isStopped():
            self.restart("Socket data stream had no more data")

    def _check_length(self, header_bytes: int, length: int) -> None:
        if header_bytes < 4:
            msg = "the connection ended inside a frame's length"
            raise SparkError(msg)
        if length > _FRAME_BYTES_MAX:
            msg = f"frame of {length} bytes is longer than {_FRAME_BYTES_MAX}"
            raise SparkError(msg, hint="is this really a raw block server?")
