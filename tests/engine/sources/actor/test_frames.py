"""Tests of engine/sources/actor/frames.py."""

import hashlib
import hmac
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.sources.actor.frames import (
    GREETING,
    LENGTH_BYTES,
    OVERHEAD_BYTES,
    FeedError,
    Signer,
    addressed,
    length_of,
    message_of,
)

KEY = "0123456789abcdef"
NONCES = bytes(range(64))


def pair() -> tuple[Signer, Signer]:
    """Return who makes and who checks the frames of one direction."""
    return Signer(KEY, "there", NONCES), Signer(KEY, "there", NONCES)


def body(frame: bytes) -> bytes:
    """Return a frame without its length, which is right."""
    assert length_of(frame[:LENGTH_BYTES], 1 << 20) == len(frame) - LENGTH_BYTES
    return frame[LENGTH_BYTES:]


def test_a_golden_frame() -> None:
    """Made from the description alone: anybody can write a feeder."""
    key = hmac.new(KEY.encode(), GREETING + b"there\n" + NONCES, hashlib.sha256)
    signed = b"J" + struct.pack(">Q", 1) + b"[1]"
    mac = hmac.new(key.digest(), signed, hashlib.sha256).digest()
    golden = struct.pack(">I", len(signed + mac)) + signed + mac

    ours, _ = pair()
    ours.seal(b"H", b"")
    assert ours.seal(b"J", b"[1]") == golden


@given(st.lists(st.binary(max_size=50), max_size=5))
def test_frames_are_opened_in_order(contents: list[bytes]) -> None:
    """Each is what was sealed."""
    ours, theirs = pair()

    for content in contents:
        assert theirs.open(body(ours.seal(b"J", content))) == (b"J", content)


@given(st.binary(max_size=50), st.integers(0), st.integers(1, 255))
def test_a_changed_byte_is_noticed(content: bytes, place: int, change: int) -> None:
    """In the kind, the count, the content or the signature."""
    ours, theirs = pair()
    sealed = bytearray(body(ours.seal(b"J", content)))
    sealed[place % len(sealed)] ^= change

    with pytest.raises(FeedError, match="isn't signed"):
        theirs.open(bytes(sealed))


@given(st.binary(max_size=100))
def test_garbage_is_not_signed(garbage: bytes) -> None:
    """However short."""
    with pytest.raises(FeedError, match="isn't signed"):
        pair()[1].open(garbage)


def test_a_frame_is_good_once() -> None:
    """Not repeated, not before its turn, and not after one that was dropped."""
    ours, theirs = pair()
    first, second, third = (body(ours.seal(b"J", b"x")) for _ in range(3))
    theirs.open(first)
    for wrong in (first, third):
        with pytest.raises(FeedError, match="where frame 1 was due"):
            theirs.open(wrong)

    assert theirs.open(second) == (b"J", b"x")


@pytest.mark.parametrize(
    "other",
    [
        Signer(KEY[:-1] + "x", "there", NONCES),
        Signer(KEY, "back", NONCES),
        Signer(KEY, "there", NONCES[::-1]),
    ],
    ids=["another key", "another direction", "another connection"],
)
def test_a_frame_is_good_in_its_place_only(other: Signer) -> None:
    """Each of these has a key of its own."""
    with pytest.raises(FeedError, match="isn't signed"):
        pair()[1].open(body(other.seal(b"J", b"x")))


@pytest.mark.parametrize("length", [0, OVERHEAD_BYTES - 1, 1001, 2**32 - 1])
def test_a_length_is_within_bounds(length: int) -> None:
    """Before anything is read for it."""
    with pytest.raises(FeedError, match=f"a frame of {length} bytes came"):
        length_of(struct.pack(">I", length), 1000)


@given(st.text(max_size=20), st.binary(max_size=20))
def test_messages_are_addressed(name: str, data: bytes) -> None:
    """To a worker by its name."""
    name = name.encode(errors="replace").decode()

    assert addressed(message_of(name, data)) == (name, data)


@pytest.mark.parametrize("content", [b"", b"\x00", b"\x00\x05abcd"])
def test_a_cut_address_is_an_error(content: bytes) -> None:
    """It is no worker's."""
    with pytest.raises(FeedError, match="cut short"):
        addressed(content)
