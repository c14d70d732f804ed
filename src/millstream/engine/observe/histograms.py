"""Histogram: how many of a stream's batches took how long, over its whole life. A core."""

from bisect import bisect_left
from dataclasses import dataclass, field, replace

BOUNDS_MS = (
    *(5, 10, 25, 50, 100, 250, 500),
    *(1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000),
)
"""The upper ends of the buckets, which belong to them; one more has what is longer."""


@dataclass(slots=True)
class Histogram:
    """Counts by bucket, and the sum; it only grows.

    >>> delays = Histogram()
    >>> for ms in (5, 6, 1_000_000):
    ...     delays.add(ms)
    >>> delays.cumulative()[:2], delays.cumulative()[-1], delays.sum_ms
    ([1, 2], 3, 1000011)
    """

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_MS) + 1))
    sum_ms: int = 0

    def add(self, ms: int) -> None:
        """Count a batch."""
        self.counts[bisect_left(BOUNDS_MS, ms)] += 1
        self.sum_ms += ms

    def cumulative(self) -> list[int]:
        """Return how many took at most each bound, and last, how many there are."""
        total = 0
        return [total := total + each for each in self.counts]

    def copy(self) -> "Histogram":
        """Return one that doesn't change any more."""
        return replace(self, counts=list(self.counts))


@dataclass(slots=True)
class Delays:
    """The histograms of a stream."""

    scheduling: Histogram = field(default_factory=Histogram)
    processing: Histogram = field(default_factory=Histogram)
    total: Histogram = field(default_factory=Histogram)

    def copy(self) -> "Delays":
        """Return some that don't change any more."""
        return Delays(self.scheduling.copy(), self.processing.copy(), self.total.copy())
