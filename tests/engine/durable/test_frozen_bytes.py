"""Tests of engine/durable/frozen_bytes.py."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.base import frames
from millstream.engine.base.errors import DurabilityError
from millstream.engine.durable.frozen_bytes import (
    decode,
    encode,
    pack,
    size_bytes,
    unpack,
)
from millstream.engine.plan.partitions import FrozenText, freeze, freeze_text

rows = st.lists(st.one_of(st.integers(), st.text(), st.lists(st.integers())))


@given(rows)
def test_rows_come_back(values: list[Any]) -> None:
    """Packed or not, and whether or not their number is known."""
    frozen = freeze(values)
    for count in (None, len(values)):
        again = decode(encode(frozen), count)
        assert (again.count, again.thaw()) == (len(values), values)
    assert decode(encode(pack(frozen))).thaw() == values
    assert unpack(frozen) is frozen
    assert unpack(pack(frozen)).thaw() == values


@given(st.binary())
def test_text_comes_back_as_the_bytes_it_was(data: bytes) -> None:
    """With its number of lines."""
    text = freeze_text(data)

    assert decode(encode(text)) == decode(encode(pack(text))) == text
    assert unpack(pack(text)) == text
    assert len(encode(text)) == len(data) + 12
    assert size_bytes(text) == len(data) + 100


def test_rows_are_what_they_were_in_logs_before() -> None:
    """A pickled list and nothing else, both ways."""
    assert encode(freeze(["a", [1]])) == frames.dumps(["a", [1]])
    assert decode(frames.dumps(["a", [1]])).thaw() == ["a", [1]]
    assert decode(frames.dumps([lambda: 1])).count == 1


def test_rows_that_can_change_are_read_anew_each_time() -> None:
    """Data of unknown length is no exception."""
    again = decode(frames.dumps([[1]]))
    first: Any = again.thaw()[0]
    first.append(2)

    assert again.thaw() == [[1]]


@pytest.mark.parametrize("data", [b"", b"what1234", b"\x00"])
def test_other_bytes_are_refused(data: bytes) -> None:
    """By name of what they begin with."""
    with pytest.raises(DurabilityError, match="says of no kind of block"):
        decode(data)


def test_packing_makes_text_smaller() -> None:
    """And the store counts it so."""
    text = FrozenText(b"the same words\n" * 1000, 1000)

    assert size_bytes(pack(text)) < size_bytes(text) / 20
