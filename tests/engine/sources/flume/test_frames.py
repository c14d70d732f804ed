"""Tests of engine/sources/flume/frames.py."""

import struct
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.sources.flume.frames import (
    FlumeLimits,
    FlumeProtocolError,
    Frame,
    FrameParser,
    frame_of,
)

LIMITS = FlumeLimits(message_bytes_max=1000, buffers_max=8)

frames = st.lists(
    st.tuples(
        st.integers(-(2**31), 2**31 - 1), st.lists(st.binary(max_size=100), max_size=8)
    ),
    max_size=5,
)


def encoded(serial: int, buffers: list[bytes]) -> bytes:
    """Return a frame, from the description alone."""
    parts = b"".join(struct.pack(">i", len(each)) + each for each in buffers)
    return struct.pack(">ii", serial, len(buffers)) + parts


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    """Cut data at some places."""
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(places)]


def test_a_golden_frame() -> None:
    """Serial 7, one buffer, its length 2, its bytes."""
    golden = bytes.fromhex("00000007 00000001 00000002 6162")

    assert frame_of(7, b"ab") == golden
    assert FrameParser(LIMITS).feed(golden) == [Frame(7, b"ab")]


def test_buffers_are_one_message() -> None:
    """Where the buffers of a frame split means nothing; some are empty."""
    golden = bytes.fromhex("ffffffff 00000003 00000001 61 00000000 00000002 6263")

    assert FrameParser(LIMITS).feed(golden) == [Frame(-1, b"abc")]


@given(frames, st.lists(st.integers(0, 10_000), max_size=20))
def test_frames_arrive_whatever_the_pieces(
    sent: list[tuple[int, list[bytes]]], cuts: list[int]
) -> None:
    """The bytes of a connection may be split anywhere."""
    parser = FrameParser(LIMITS)
    data = b"".join(encoded(*each) for each in sent)

    got = [frame for piece in pieces_of(data, cuts) for frame in parser.feed(piece)]

    assert got == [Frame(serial, b"".join(buffers)) for serial, buffers in sent]
    assert not parser.is_inside


@given(st.binary(max_size=2000), st.lists(st.integers(0, 10_000), max_size=5))
def test_garbage_is_refused_or_waits_for_more_within_the_limits(
    garbage: bytes, cuts: list[int]
) -> None:
    """It never hangs, and never holds more than a message's limit and what was fed."""
    parser = FrameParser(LIMITS)
    try:
        for piece in pieces_of(garbage, cuts):
            for frame in parser.feed(piece):
                assert len(frame.payload) <= LIMITS.message_bytes_max
    except FlumeProtocolError as error:
        assert error.hint
    assert len(parser._payload or b"") <= LIMITS.message_bytes_max
    assert len(parser._rest) < 8 or len(parser._rest) <= len(garbage)


@pytest.mark.parametrize(
    ("head", "limit"),
    [
        ("00000001 00000009", "buffers_max is 8"),
        ("00000001 7fffffff", "buffers_max"),
        ("00000001 ffffffff", "buffers_max"),
        ("00000001 00000001 000003e9", "message_bytes_max is 1000"),
        ("00000001 00000001 7fffffff", "message_bytes_max"),
        ("00000001 00000001 ffffffff", "message_bytes_max"),
        ("00000001 00000002 00000002 6161 000003e7", "999 bytes after 2"),
    ],
)
def test_what_is_over_a_limit_is_refused_before_it_comes(head: str, limit: str) -> None:
    """The error names the limit; nothing is allocated for what is only announced."""
    tracemalloc.start()
    try:
        with pytest.raises(FlumeProtocolError, match=limit):
            FrameParser(LIMITS).feed(bytes.fromhex(head))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert most < 100_000


def test_a_frame_that_has_begun_is_known() -> None:
    """From its first byte to its last."""
    parser = FrameParser(LIMITS)
    data = encoded(1, [b"ab", b""])
    inside = []
    for at in range(len(data)):
        inside.append(parser.is_inside)
        parser.feed(data[at : at + 1])

    assert inside == [False] + [True] * (len(data) - 1)
    assert not parser.is_inside


@pytest.mark.parametrize("name", FlumeLimits.__slots__)
def test_limits_are_over_0(name: str) -> None:
    """A limit that lets nothing in is refused."""
    with pytest.raises(ValueError, match=name):
        FlumeLimits(**{name: 0})
