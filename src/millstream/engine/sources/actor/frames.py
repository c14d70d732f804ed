"""Signed frames: what a remote feeder and a receiver send each other, and how they know it.

A frame is a length and a body, and the body a kind, a count, the content, and an
HMAC-SHA256 over these three. Its key is made, by HMAC-SHA256 too, of the key that both
have, of 32 random bytes of each side, and of the direction: so a frame is worth nothing on
another connection, in the other direction, or a second time, as the count goes up by one.
It is signed, not encrypted: who listens on the network reads it.
"""

import hashlib
import hmac
import struct

from millstream.engine.base.errors import SparkError

GREETING = b"millstream feed 1\n"
"""What a receiver says first, before 32 random bytes."""
NONCE_BYTES = 32
KEY_LENGTH_MIN = 16

_LENGTH = struct.Struct(">I")
_HEAD = struct.Struct(">cQ")
_MAC_BYTES = hashlib.sha256().digest_size
LENGTH_BYTES = _LENGTH.size
HEAD_BYTES = _HEAD.size
"""Where a body's content begins."""
OVERHEAD_BYTES = HEAD_BYTES + _MAC_BYTES
"""How much longer a body is than its content."""


class FeedError(SparkError):
    """What came over a feeder's connection isn't what the other side may send."""


class Signer:
    """Makes and checks the frames of one direction of one connection."""

    def __init__(self, key: str, direction: str, nonces: bytes) -> None:
        """Begin at count 0; `nonces` are the receiver's bytes and then the feeder's."""
        about = GREETING + direction.encode() + b"\n" + nonces
        self._key = hmac.digest(key.encode(), about, "sha256")
        self._count = 0

    def seal(self, kind: bytes, content: bytes) -> bytes:
        """Return the next frame; the kind is one byte."""
        signed = _HEAD.pack(kind, self._count) + content
        self._count += 1
        mac = hmac.digest(self._key, signed, "sha256")
        return _LENGTH.pack(len(signed) + _MAC_BYTES) + signed + mac

    def open(self, body: bytes) -> tuple[bytes, bytes]:
        """Return the kind and the content of the next frame, which has this body.

        Raises:
            FeedError: It isn't signed with the key, or isn't the next one.
        """
        signed, mac = body[:-_MAC_BYTES], body[-_MAC_BYTES:]
        own = hmac.digest(self._key, signed, "sha256")
        if len(body) < OVERHEAD_BYTES or not hmac.compare_digest(own, mac):
            msg = "a frame isn't signed with this connection's key"
            raise FeedError(msg, hint="do both sides have the same key?")
        kind, count = _HEAD.unpack_from(signed)
        if count != self._count:
            msg = f"frame {count} came where frame {self._count} was due"
            raise FeedError(msg, hint="somebody repeats or drops frames in between")
        self._count += 1
        return kind, signed[HEAD_BYTES:]


def length_of(head: bytes, most: int) -> int:
    """Return the length of the body after `head`, of `LENGTH_BYTES`.

    Raises:
        FeedError: It is over `most`, or can't be a frame's.
    """
    (length,) = _LENGTH.unpack(head)
    if not OVERHEAD_BYTES <= length <= most:
        msg = f"a frame of {length} bytes came; from {OVERHEAD_BYTES} to {most} may"
        raise FeedError(msg, hint="send less at a time, or raise frame_bytes_max")
    return int(length)


def message_of(worker: str, data: bytes) -> bytes:
    """Return the content that has messages for a worker; "" is the first one."""
    name = worker.encode()
    return len(name).to_bytes(2, "big") + name + data


def addressed(content: bytes) -> tuple[str, bytes]:
    """Return the worker's name and the data of `message_of`.

    Raises:
        FeedError: It is no such content.
    """
    end = 2 + int.from_bytes(content[:2], "big")
    if len(content) < max(end, 2):
        msg = "a message is cut short"
        raise FeedError(msg)
    return content[2:end].decode(errors="replace"), content[end:]
