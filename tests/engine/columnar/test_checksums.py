"""Tests of engine/columnar/checksums.py."""

import zlib

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.columnar.checksums import crc32

MANY = [f"{n:x}" for n in range(3000)]


def expected(texts: list[str]) -> list[int]:
    """Return what zlib says."""
    return [zlib.crc32(text.encode()) for text in texts]


@given(st.lists(st.text(max_size=20) | st.text("a\0 z", max_size=17), max_size=40))
def test_a_checksum_is_that_of_zlib(texts: list[str]) -> None:
    """Of long texts, others than ASCII, and zeros in front, among many short ones."""
    both = [*texts, *MANY]

    assert crc32(pl.Series(both, dtype=pl.String)).to_list() == expected(both)
    assert crc32(pl.Series(texts, dtype=pl.String)).to_list() == expected(texts)


@pytest.mark.parametrize("length", range(18))
def test_texts_of_one_length(length: int) -> None:
    """Of each that is looked up, and of those that are longer; of the empty one."""
    texts = [f"{n:018}"[18 - length :] for n in range(3000)]

    assert crc32(pl.Series(texts, dtype=pl.String)).to_list() == expected(texts)


def test_each_byte_counts_at_each_place() -> None:
    """ASCII's 128 characters, at 16 places."""
    texts = [
        "x" * place + chr(code) + "y" * (15 - place)
        for place in range(16)
        for code in range(128)
    ]

    assert crc32(pl.Series(texts, dtype=pl.String)).to_list() == expected(texts)


def test_no_short_text_at_all() -> None:
    """All are asked for."""
    texts = [f"é{n}" for n in range(3000)]

    assert crc32(pl.Series(texts, dtype=pl.String)).to_list() == expected(texts)
