"""Compression: which codec a file name asks for."""

import bz2
import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

from millstream.engine.base.errors import DurabilityError, IllegalArgumentError

_READ_BYTES = 1 << 16

_EXTENSIONS = {
    ".gz": "gzip",
    ".bz2": "bz2",
    ".zst": "zstd",
    ".zstd": "zstd",
    ".lz4": "lz4",
    ".deflate": "deflate",
}

# Hadoop's names, which saveAsTextFile takes, and the extension each writes.
_HADOOP_CODECS = {
    "org.apache.hadoop.io.compress.GzipCodec": ".gz",
    "org.apache.hadoop.io.compress.BZip2Codec": ".bz2",
    "org.apache.hadoop.io.compress.ZStandardCodec": ".zst",
    "org.apache.hadoop.io.compress.Lz4Codec": ".lz4",
    "org.apache.hadoop.io.compress.DefaultCodec": ".deflate",
    "org.apache.hadoop.io.compress.DeflateCodec": ".deflate",
}


def codec_of(name: str) -> str | None:
    """Return the codec of a file name, or None for plain files."""
    dot = name.rfind(".")
    return _EXTENSIONS.get(name[dot:].lower()) if dot >= 0 else None


def extension_of_hadoop_codec(class_name: str) -> str:
    """Return the file extension for one of Hadoop's codec classes.

    Raises:
        IllegalArgumentError: The codec isn't known here.
    """
    extension = _HADOOP_CODECS.get(class_name)
    if extension is None:
        msg = f"compression codec '{class_name}' isn't known"
        raise IllegalArgumentError(msg, hint=f"one of {', '.join(_HADOOP_CODECS)}")
    return extension


def decompressed(source: BinaryIO, codec: str | None) -> BinaryIO:
    """Return a stream of the plain bytes of `source`, which isn't read ahead of need.

    A file that was cut short or changed raises while it is read; see `damage_named`.
    """
    match codec:
        case None:
            return source
        case "gzip":
            return cast(BinaryIO, gzip.GzipFile(fileobj=source))
        case "bz2":
            return cast(BinaryIO, bz2.BZ2File(source))
        case "deflate":
            return _plain(source, zlib.decompressobj, zlib.error)
        case "zstd":
            import zstandard  # noqa: PLC0415  Only for such files.

            # Not its `stream_reader`: that takes a file cut short for a whole one.
            new = zstandard.ZstdDecompressor().decompressobj
            return _plain(source, new, zstandard.ZstdError)
        case "lz4":
            import lz4.frame  # noqa: PLC0415  Only for such files.

            return cast(BinaryIO, lz4.frame.open(source, "rb"))
        case _:
            msg = f"no codec '{codec}'"
            raise AssertionError(msg)


def _plain(
    source: BinaryIO, new: Callable[[], Any], failure: type[Exception]
) -> BinaryIO:
    plain = _Decompressed(source, new, failure)
    return cast(BinaryIO, io.BufferedReader(plain, _READ_BYTES))


class _Decompressed(io.RawIOBase):
    """Plain bytes of one compressed stream after another."""

    def __init__(
        self, source: BinaryIO, new: Callable[[], Any], failure: type[Exception]
    ) -> None:
        super().__init__()
        self._source = source
        self._new = new
        self._failure = failure
        self._decoder: Any = None
        self._waiting = memoryview(b"")
        self._unused = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._waiting:
            data = self._unused or self._source.read(_READ_BYTES)
            self._unused = b""
            if not data:
                if self._decoder is not None:
                    msg = "compressed data ends too early"
                    raise EOFError(msg)
                return 0
            if self._decoder is None:
                self._decoder = self._new()
            try:
                self._waiting = memoryview(self._decoder.decompress(data))
            except self._failure as error:
                raise OSError(str(error)) from error
            if self._decoder.eof:
                self._unused, self._decoder = self._decoder.unused_data, None
        count = min(len(buffer), len(self._waiting))
        buffer[:count] = self._waiting[:count]
        self._waiting = self._waiting[count:]
        return count


@contextmanager
def damage_named(name: str, codec: str | None) -> Iterator[None]:
    """Raise DurabilityError, which names the file, when it can't be decompressed."""
    try:
        yield
    except (EOFError, OSError, RuntimeError, zlib.error) as error:
        is_of_disk = isinstance(error, OSError) and error.errno is not None
        if codec is None or is_of_disk:
            raise
        msg = f"file '{name}' is damaged or isn't {codec}: {error}"
        raise DurabilityError(msg) from error


@contextmanager
def compressing(out: BinaryIO, extension: str) -> Iterator[BinaryIO]:
    """Give a stream that writes to `out` as files with this extension are written.

    The same bytes give the same file: there is no name and no time in it.
    """
    codec = _EXTENSIONS.get(extension)
    if codec is None:
        yield out
        return
    encoder, header = _encoder(codec)
    out.write(header)
    writer = io.BufferedWriter(_Compressed(out, encoder), _READ_BYTES)
    try:
        yield cast(BinaryIO, writer)
    finally:
        writer.close()
    out.write(encoder.flush())


def _encoder(codec: str) -> tuple[Any, bytes]:
    match codec:
        case "gzip":
            return zlib.compressobj(6, zlib.DEFLATED, zlib.MAX_WBITS | 16), b""
        case "bz2":
            return bz2.BZ2Compressor(), b""
        case "deflate":
            return zlib.compressobj(), b""
        case "zstd":
            import zstandard  # noqa: PLC0415  Only for such files.

            return zstandard.ZstdCompressor().compressobj(), b""
        case _:
            import lz4.frame  # noqa: PLC0415  Only for such files.

            encoder = lz4.frame.LZ4FrameCompressor()
            return encoder, encoder.begin()


class _Compressed(io.RawIOBase):
    """Compresses what is written to it."""

    def __init__(self, out: BinaryIO, encoder: Any) -> None:
        super().__init__()
        self._out = out
        self._encoder = encoder

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        plain = bytes(data)
        self._out.write(self._encoder.compress(plain))
        return len(plain)
