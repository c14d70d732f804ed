"""RawSocketReceiver: ready-made blocks from a TCP connection, framed by their length.

A frame is a 4-byte big-endian length and a pickled list of records. Spark's raw sockets
carry serialised blocks in the same way. Records are plain data (`base/plain_pickle`): what
would run code when it is unpickled is refused.
"""

import socket

from millstream.engine.base import plain_pickle
from millstream.engine.base.errors import SparkError
from millstream.engine.sources.socket import TcpReceiver

_FRAME_BYTES_MAX = 1 << 28
_LENGTH_BYTES = 4


class RawSocketReceiver(TcpReceiver):
    """Stores each frame as one block, without work for each record."""

    def read(self, connection: socket.socket) -> None:
        """Store frame after frame.

        Raises:
            SparkError: A frame is cut short or too long, or has what isn't plain data.
        """
        with connection.makefile("rb") as stream:
            while not self.isStopped() and (header := stream.read(_LENGTH_BYTES)):
                length = int.from_bytes(header, "big")
                if length > _FRAME_BYTES_MAX:
                    msg = f"frame of {length} bytes is longer than {_FRAME_BYTES_MAX}"
                    raise SparkError(msg, hint="is this really a raw block server?")
                payload = stream.read(length)
                if len(header) < _LENGTH_BYTES or len(payload) < length:
                    msg = "the connection ended inside a frame"
                    raise SparkError(msg)
                records = plain_pickle.loads(payload)
                if not isinstance(records, list | tuple):
                    kind = type(records).__name__
                    msg = f"a frame has a {kind}, and must have a list of records"
                    raise SparkError(msg)
                self.store(list(records))
