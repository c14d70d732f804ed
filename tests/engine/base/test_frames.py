"""Tests of engine/base/frames.py."""

import io
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.base import frames
from millstream.engine.base.errors import DurabilityError, PySparkPicklingError


@given(
    st.lists(st.one_of(st.integers(), st.text(), st.none(), st.floats(allow_nan=False)))
)
def test_values_come_back_equal(value: list[Any]) -> None:
    """What goes in comes out."""
    assert frames.loads(frames.dumps(value)) == value


def test_a_function_comes_back_as_a_copy_each_time() -> None:
    """Two loads share no state with each other or the original."""
    seen: list[int] = []

    def note(value: int) -> int:
        seen.append(value)
        return len(seen)

    data = frames.dumps_function(note)
    first, second = frames.loads_function(data), frames.loads_function(data)

    assert first(1) == 1
    assert first(1) == 2
    assert second(1) == 1
    assert seen == []


def test_what_cannot_travel_is_named() -> None:
    """A lock in a closure gives an error that names the function."""
    lock = threading.Lock()

    def locked() -> object:
        return lock

    with pytest.raises(PySparkPicklingError, match="Could not serialize") as caught:
        frames.dumps_function(locked)

    assert "locked" in (caught.value.hint or "")


def test_values_of_a_scripts_own_classes_travel_too() -> None:
    """A class that plain pickle can't find goes by value."""

    class Local:
        x = 3

    assert frames.loads(frames.dumps([Local()]))[0].x == 3


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=4), st.data())
def test_a_damaged_frame_is_noticed(payloads: list[bytes], data: st.DataObject) -> None:
    """Cut anywhere or with one bit flipped: what is read is a prefix, then an error."""
    out = io.BytesIO()
    for payload in payloads:
        frames.write_frame(out, payload)
    whole = out.getvalue()
    bit = data.draw(st.integers(0, len(whole) * 8 - 1))
    flipped = bytearray(whole)
    flipped[bit // 8] ^= 1 << bit % 8

    assert list(frames.read_frames(io.BytesIO(whole), "f")) == payloads
    read: list[bytes] = []
    with pytest.raises(DurabilityError, match="'f' is damaged"):
        read.extend(frames.read_frames(io.BytesIO(bytes(flipped)), "f"))
    assert read == payloads[: len(read)]
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    try:
        read = list(frames.read_frames(io.BytesIO(cut), "f"))
    except DurabilityError:
        read = []
    assert read == payloads[: len(read)]


def test_frame_is_what_read_frames_reads() -> None:
    """One frame holds its payload."""
    assert list(frames.read_frames(io.BytesIO(frames.frame(b"abc")), "f")) == [b"abc"]
