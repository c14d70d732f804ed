"""Checksums: the CRC-32 of each text of a column, short ones without an object a text.

A CRC is linear: that of some bytes is that of as many zeros, and for each byte, or each two
of them, a number that depends on them and on how many bytes follow. Zeros in front change
nothing but what their number does. So texts are filled up in front to one length, and the
numbers are looked up, two bytes at a time.
"""

import zlib
from functools import cache

import polars as pl

_LENGTH_MAX = 16
# Below, to make queries takes longer than to ask for each text.
_TEXTS_MIN = 2000
_FILL = "\0"


def crc32(texts: pl.Series) -> pl.Series:
    """Return `zlib.crc32` of each text's UTF-8; none of them is null."""
    if len(texts) < _TEXTS_MIN:
        return _asked_for(texts)
    lengths = texts.str.len_bytes()
    # Only where each character is a byte is it known how many fill them up.
    is_short = (lengths <= _LENGTH_MAX) & (lengths == texts.str.len_chars())
    if is_short.all():
        return _looked_up(texts, lengths)
    found = pl.repeat(0, len(texts), dtype=pl.UInt32, eager=True)
    if is_short.any():
        some = _looked_up(texts.filter(is_short), lengths.filter(is_short))
        found = found.scatter(is_short.arg_true(), some)
    return found.scatter((~is_short).arg_true(), _asked_for(texts.filter(~is_short)))


def _asked_for(texts: pl.Series) -> pl.Series:
    data = texts.cast(pl.Binary).to_list()
    return pl.Series(list(map(zlib.crc32, data)), dtype=pl.UInt32)


def _looked_up(texts: pl.Series, lengths: pl.Series) -> pl.Series:
    longest = lengths.max()
    assert isinstance(longest, int), "there are texts"
    pairs = max(1, (longest + 1) // 2)
    filled = pl.col("texts").str.pad_start(2 * pairs, _FILL).cast(pl.Binary)
    halves = filled.bin.reinterpret(
        dtype=pl.Array(pl.UInt16, pairs), endianness="little"
    )
    made = pl.lit(_of_zeros()).gather(pl.col("lengths"))
    for position in range(pairs):
        table = pl.lit(_of_two_bytes(pairs - 1 - position))
        made = made ^ table.gather(pl.col("halves").arr.get(position))
    frame = pl.DataFrame({"texts": texts, "lengths": lengths}).lazy()
    query = frame.select("lengths", halves=halves).select(crc=made)
    return query.collect(engine="in-memory")["crc"]


@cache
def _of_zeros() -> pl.Series:
    """Return the CRC-32 of each number of zeros."""
    crcs = [zlib.crc32(bytes(length)) for length in range(_LENGTH_MAX + 1)]
    return pl.Series(crcs, dtype=pl.UInt32)


@cache
def _of_two_bytes(pairs_behind: int) -> pl.Series:
    """Return what each two bytes make of a CRC-32 when so many pairs follow them.

    They are two bytes of a number, the lower one first.
    """
    behind = bytes(2 * pairs_behind)
    low = pl.DataFrame({"low": [_share(bytes((n, 0)) + behind) for n in range(256)]})
    high = pl.DataFrame({"high": [_share(bytes((0, n)) + behind) for n in range(256)]})
    both = high.join(low, how="cross", maintain_order="left_right")
    return both.select((pl.col("high") ^ pl.col("low")).cast(pl.UInt32)).to_series()


def _share(data: bytes) -> int:
    return zlib.crc32(data) ^ zlib.crc32(bytes(len(data)))
