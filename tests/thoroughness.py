"""Thoroughness: how often tests try the same with other seeds, moments or values.

`make test` tries enough to see that something is wrong. `.ci/run` sets
MILLSTREAM_THOROUGH, for what is wrong only once in many tries.
"""

import os

IS_THOROUGH = bool(os.environ.get("MILLSTREAM_THOROUGH"))


def tries(some: int, many: int) -> int:
    """Return how many tries to make: `some`, or `many` in a thorough run."""
    return many if IS_THOROUGH else some
