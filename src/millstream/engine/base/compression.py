"""Compression: which codec a file name asks for."""

import bz2
import gzip
import io
import zlib
from typing import BinaryIO, cast

from millstream.engine.base.errors import IllegalArgumentError

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
    """Return a stream of the plain bytes of `source`."""
    match codec:
        case None:
            return source
        case "gzip":
            return cast(BinaryIO, gzip.GzipFile(fileobj=source))
        case "bz2":
            return cast(BinaryIO, bz2.BZ2File(source))
        case "deflate":
            return io.BytesIO(zlib.decompress(source.read()))
        case "zstd":
            import zstandard  # noqa: PLC0415  Only for such files.

            reader = zstandard.ZstdDecompressor().stream_reader(
                source, read_across_frames=True
            )
            return cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, reader)))
        case "lz4":
            import lz4.frame  # noqa: PLC0415  Only for such files.

            return cast(BinaryIO, lz4.frame.open(source, "rb"))
        case _:
            msg = f"no codec '{codec}'"
            raise AssertionError(msg)


def compressed(data: bytes, extension: str) -> bytes:
    """Return `data` compressed as a file with this extension is."""
    match _EXTENSIONS.get(extension):
        case None:
            return data
        case "gzip":
            return gzip.compress(data, 6, mtime=0)
        case "bz2":
            return bz2.compress(data)
        case "deflate":
            return zlib.compress(data)
        case "zstd":
            import zstandard  # noqa: PLC0415  Only for such files.

            return zstandard.ZstdCompressor().compress(data)
        case _:
            import lz4.frame  # noqa: PLC0415  Only for such files.

            whole: bytes = lz4.frame.compress(data)
            return whole
