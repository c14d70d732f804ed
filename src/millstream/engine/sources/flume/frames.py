"""Frames of Avro RPC over TCP: what Avro's Netty transport puts around a message.

A frame is a serial number, a count of buffers, and the buffers, each a length and its
bytes; all numbers are 4 bytes, big-endian. A reply has its request's serial. The buffers of
a frame are one message: where they split means nothing.
"""

import struct
from dataclasses import dataclass

from millstream.engine.base.errors import SparkError

_HEAD = struct.Struct(">ii")
_LENGTH = struct.Struct(">i")


class FlumeProtocolError(SparkError):
    """A peer sent what no client or server of Flume's sends, or more than is let in."""


@dataclass(frozen=True, slots=True)
class FlumeLimits:
    """What one peer may ask for; a connection that goes beyond is closed, and a log says so."""

    message_bytes_max: int = 16 << 20
    """Bytes of one message: of a batch of events."""
    buffers_max: int = 1 << 14
    """Buffers of one frame; Java's have 8 KiB each."""
    events_max: int = 100_000
    """Events of one batch."""
    connections_max: int = 100
    """Clients of a push receiver at a time."""
    stall_s: float = 30.0
    """Seconds that a peer may stay silent inside a frame, or owe an answer."""

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if not getattr(self, name) > 0:
                msg = f"FlumeLimits.{name} must be over 0, not {getattr(self, name)!r}"
                raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class Frame:
    """One message, and the number that its reply has to have."""

    serial: int
    payload: bytes


def frame_of(serial: int, payload: bytes) -> bytes:
    """Return a message as a frame of one buffer.

    >>> frame_of(7, b"ab").hex(" ", -4)
    '00000007 00000001 00000002 6162'
    """
    return _HEAD.pack(serial, 1) + _LENGTH.pack(len(payload)) + payload


class FrameParser:
    """Makes frames of the bytes of a connection, wherever they split. Does no I/O.

    It holds one message at a time, within the limits: never more than was sent.
    """

    def __init__(self, limits: FlumeLimits) -> None:
        """Begin between two frames."""
        self._limits = limits
        self._rest = b""
        self._serial = 0
        self._buffers = 0
        self._wanted = 0
        self._payload: bytearray | None = None

    @property
    def is_inside(self) -> bool:
        """Whether a frame has begun that isn't complete."""
        return self._payload is not None or bool(self._rest)

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that are complete with `data`.

        Raises:
            FlumeProtocolError: It is no frame, or is over a limit. Nothing that comes
                after it can be read.
        """
        data, at = self._rest + data, 0
        frames: list[Frame] = []
        while True:
            if self._payload is None:
                if len(data) - at < _HEAD.size:
                    break
                self._begin(*_HEAD.unpack_from(data, at))
                at += _HEAD.size
            elif self._wanted:
                part = data[at : at + self._wanted]
                self._payload += part
                at += len(part)
                self._wanted -= len(part)
                if self._wanted:
                    break
            elif self._buffers:
                if len(data) - at < _LENGTH.size:
                    break
                self._expect(*_LENGTH.unpack_from(data, at))
                at += _LENGTH.size
            else:
                frames.append(Frame(self._serial, bytes(self._payload)))
                self._payload = None
        self._rest = data[at:]
        return frames

    def _begin(self, serial: int, buffers: int) -> None:
        if not 0 <= buffers <= self._limits.buffers_max:
            msg = (
                f"a frame of {buffers} buffers came; FlumeLimits.buffers_max is "
                f"{self._limits.buffers_max}"
            )
            raise FlumeProtocolError(msg, hint="is this a Flume agent's Avro sink?")
        self._serial, self._buffers, self._payload = serial, buffers, bytearray()

    def _expect(self, length: int) -> None:
        assert self._payload is not None, "a buffer is inside a frame"
        most = self._limits.message_bytes_max
        if length < 0 or len(self._payload) + length > most:
            msg = (
                f"a message came whose next buffer has {length} bytes after "
                f"{len(self._payload)}; FlumeLimits.message_bytes_max is {most}"
            )
            hint = "send smaller batches, or let larger messages in"
            raise FlumeProtocolError(msg, hint=hint)
        self._buffers -= 1
        self._wanted = length
