"""Tests of durable/log_segments.py."""

import io
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.base import frames
from millstream.engine.base.errors import DurabilityError
from millstream.engine.durable.log_segments import (
    LogSegment,
    find_segments,
    read_frame,
    whole_frames,
)
from millstream.testing.sim_storage import SimStorage


def segment_of(*records: bytes) -> bytes:
    """Return the bytes of a segment."""
    return b"".join(frames.frame(record) for record in records)


def test_only_names_that_a_log_makes_are_segments() -> None:
    """In order of begin and number; a missing directory has none."""
    storage = SimStorage()
    assert find_segments(storage, "/log") == []
    names = ["log-10-20", "log-9-19", "log-9-19.10", "log-9-5.2", "log-0-3"]
    others = ["log-01-2", "log-1-2.0", "log-1", "log-1-2.tmp", ".log-1-2", "log--1-2"]
    for name in names + others:
        storage.write_atomic(f"/log/{name}", b"")
    storage.make_dirs("/log/log-7-8")

    assert [segment.name for segment in find_segments(storage, "/log")] == [
        "log-0-3",
        "log-9-19",
        "log-9-5.2",
        "log-9-19.10",
        "log-10-20",
    ]


@given(st.lists(st.tuples(st.integers(-5, 50), st.integers(1, 9)), max_size=20))
def test_segments_follow_each_other(made: list[tuple[int, int]]) -> None:
    """Every name is new, and sorts behind those before it."""
    last: LogSegment | None = None
    segments = []
    for time_ms, rolling_ms in made:
        last = LogSegment.after(last, time_ms, rolling_ms)
        assert last.begin_ms >= time_ms
        segments.append(last)

    assert segments == sorted(segments)
    assert len({each.name for each in segments}) == len(segments)


def test_damage_before_a_whole_record_is_an_error() -> None:
    """Whatever is wrong: the payload, or a length that leads out of the file."""
    good = segment_of(b"first", b"second", b"third")
    payload, length = bytearray(good), bytearray(good)
    payload[13 + 8] ^= 1
    length[13] = 0x7F
    for damaged in (payload, length):
        read = whole_frames(bytes(damaged), "the file")
        assert next(read) == b"first"
        with pytest.raises(
            DurabilityError, match=r"'the file' is damaged: .* byte 13 "
        ):
            next(read)


@pytest.mark.parametrize("size", [1, 7, 8, 9, 5000, 3_000_000])
def test_zeros_at_the_end_are_a_torn_record(
    size: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A file system may make a file longer before it has the bytes."""
    data = segment_of(b"first") + bytes(size)

    assert list(whole_frames(data, "the file")) == [b"first"]
    assert "cut short by a crash; it is left out file=the file byte=13" in caplog.text


def test_a_whole_record_behind_zeros_is_found() -> None:
    """A hole in the middle isn't a torn end."""
    data = segment_of(b"a") + bytes(2_000_000) + segment_of(b"b")
    with pytest.raises(DurabilityError, match="byte 9 "):
        list(whole_frames(data, "the file"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["random", "zeros and ones"])
def test_a_large_torn_record_takes_no_time(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The search for whole records in it is bounded, and says so."""
    payload = Random(0).randbytes(40_000_000)
    if kind != "random":
        payload = bytes([0, 0, 1]) * 10_000_000
    data = segment_of(b"first", payload)[:-1]

    assert list(whole_frames(data, "the file")) == [b"first"]
    assert "too long to be searched" in caplog.text


def test_a_frame_is_read_where_its_handle_says() -> None:
    """Any other length, place or content is an error that says file and byte."""
    data = segment_of(b"first", b"second")
    assert read_frame(io.BytesIO(data), 13, 6, "f") == b"second"
    for offset, length, reason in [
        (13, 5, "byte 13 should have 5 bytes, but there is 6 bytes"),
        (12, 6, "byte 12 should have 6 bytes, but there is"),
        (99, 6, "byte 99 should have 6 bytes, but there is the file's end"),
    ]:
        with pytest.raises(DurabilityError, match=f"file 'f' is damaged.* {reason}"):
            read_frame(io.BytesIO(data), offset, length, "f")
    with pytest.raises(DurabilityError, match="cut short after byte 13"):
        read_frame(io.BytesIO(data[:-1]), 13, 6, "f")
    with pytest.raises(DurabilityError, match="checksum at byte 13 is wrong"):
        read_frame(io.BytesIO(data[:-1] + b"?"), 13, 6, "f")
