"""What every shuffle of columns computes, with pyarrow: make, split, merge.

The map tasks make 625,000 pairs of 8-byte integers, 10 MB, whose keys all differ; the
reduce tasks sum by key, and add up a checksum that any lost or doubled pair would change.
"""

from itertools import pairwise

import numpy as np
import pyarrow as pa

PAIRS = 625_000
SIDES = 8
_SPREAD, _KEYS = 2_654_435_761, 2**32


def made(part: int) -> pa.Table:
    """Return the pairs of one map task."""
    numbers = np.arange(part * PAIRS // SIDES, (part + 1) * PAIRS // SIDES)
    return pa.table({"key": numbers * _SPREAD % _KEYS, "value": numbers})


def split(part: int) -> list[pa.Table]:
    """Return what each reduce task gets from one map task."""
    table = made(part)
    buckets = table["key"].to_numpy() % SIDES
    order = np.argsort(buckets, kind="stable")
    ordered = table.take(order).combine_chunks()
    begins = np.searchsorted(buckets[order], np.arange(SIDES + 1))
    return [ordered.slice(a, b - a) for a, b in pairwise(begins)]


def merged(*pieces: pa.Table) -> int:
    """Return the checksum of one reduce task."""
    sums = pa.concat_tables(pieces).group_by("key").aggregate([("value", "sum")])
    keys, values = sums["key"].to_numpy(), sums["value_sum"].to_numpy()
    return int((keys % 1013 * (values % 7)).sum())
