"""RawSocketReceiver: ready-made blocks from a TCP connection, framed by their length.

A frame is a 4-byte big-endian length and a pickled list of records. **Unpickling runs
code that the sender chose**: connect to servers you trust only. Spark's raw sockets carry
serialised blocks in the same way.
"""

import socket

from millstream.engine.base import frames
from millstream.engine.base.errors import SparkError
from millstream.engine.sources.socket import TcpReceiver

_FRAME_BYTES_MAX = 1 << 28
_LENGTH_BYTES = 4


class RawSocketReceiver(TcpReceiver):
    """Stores each frame as one block, without work for each record."""

    def read(self, connection: socket.socket) -> None:
        """Store frame after frame.

        Raises:
            SparkError: A frame is cut short or too long.
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
                self.store(list(frames.loads(payload)))
