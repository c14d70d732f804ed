"""Tests of engine/base/compression.py."""

import bz2
import contextlib
import gzip
import io
import zlib
from collections.abc import Callable
from typing import Any

import lz4.frame
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.base.compression import (
    codec_of,
    compressing,
    damage_named,
    decompressed,
    extension_of_hadoop_codec,
)
from millstream.engine.base.errors import DurabilityError, IllegalArgumentError

OTHERS: dict[str, Callable[[bytes], Any]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".deflate": zlib.compress,
    ".zst": zstandard.ZstdCompressor().compress,
    ".lz4": lz4.frame.compress,
}
extensions = st.sampled_from(["", *OTHERS])


def _compress(writes: list[bytes], extension: str) -> bytes:
    out = io.BytesIO()
    with compressing(out, extension) as plain:
        plain.writelines(writes)
    return out.getvalue()


def _decompress(data: bytes, extension: str) -> bytes:
    with decompressed(io.BytesIO(data), codec_of(f"x{extension}")) as plain:
        return plain.read()


@given(st.lists(st.binary(max_size=300)), extensions)
def test_what_is_compressed_comes_back(writes: list[bytes], extension: str) -> None:
    """However many writes it was; the same bytes every time."""
    data = _compress(writes, extension)

    assert _decompress(data, extension) == b"".join(writes)
    assert _compress(writes, extension) == data


@pytest.mark.parametrize("extension", OTHERS)
def test_other_programs_files_are_read(extension: str) -> None:
    """One after the other in one file too; large ones in pieces."""
    plain = b"some words\n" * 50_000
    data = OTHERS[extension](plain)

    assert _decompress(data, extension) == plain
    assert _decompress(data + OTHERS[extension](b"more"), extension) == plain + b"more"


@pytest.mark.parametrize("extension", OTHERS)
def test_a_cut_is_noticed_at_every_byte(extension: str) -> None:
    """And the file is named."""
    data = OTHERS[extension](bytes(range(200)))
    codec = codec_of(extension)
    for cut in range(1, len(data)):
        with pytest.raises(DurabilityError, match="'f' is damaged"):  # noqa: SIM117
            with damage_named("f", codec):
                _decompress(data[:cut], extension)


def test_other_errors_pass() -> None:
    """Of the disk, and of plain files."""
    with pytest.raises(PermissionError), damage_named("f", "gzip"):
        raise PermissionError(13, "no")
    with pytest.raises(EOFError), damage_named("f", None):
        raise EOFError


@pytest.mark.parametrize("extension", OTHERS)
def test_a_writer_that_fails_passes_its_error_on(extension: str) -> None:
    """What was written so far doesn't look whole."""
    out = io.BytesIO()
    with contextlib.suppress(KeyError), compressing(out, extension) as plain:
        plain.write(b"x")
        raise KeyError

    with pytest.raises((EOFError, OSError)):
        assert not _decompress(out.getvalue() or b"?", extension)


def test_names_say_the_codec() -> None:
    """By extension, and by Hadoop's class."""
    assert codec_of("dir.gz/plain") is None
    assert codec_of("A.GZ") == "gzip"
    assert codec_of("plain") is None
    name = "org.apache.hadoop.io.compress.BZip2Codec"
    assert extension_of_hadoop_codec(name) == ".bz2"
    with pytest.raises(IllegalArgumentError, match=r"'com\.example\.C'"):
        extension_of_hadoop_codec("com.example.C")
