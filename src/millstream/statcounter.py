"""StatCounter: count, mean, variance, minimum and maximum in one pass."""

import math
from collections.abc import Iterable
from copy import copy
from typing import Self


class StatCounter:
    """Running statistics, mergeable (Chan, Golub and LeVeque's update).

    >>> StatCounter([1.0, 2.0, 3.0]).mean()
    2.0
    """

    def __init__(self, values: Iterable[float] | None = None) -> None:
        """Count `values`."""
        self.n = 0
        self.mu = 0.0
        self.m2 = 0.0
        self.maxValue = -math.inf
        self.minValue = math.inf
        for value in values or ():
            self.merge(value)

    def merge(self, value: float) -> Self:
        """Add one value."""
        delta = value - self.mu
        self.n += 1
        self.mu += delta / self.n
        self.m2 += delta * (value - self.mu)
        self.maxValue = max(self.maxValue, value)
        self.minValue = min(self.minValue, value)
        return self

    def mergeStats(self, other: "StatCounter") -> Self:
        """Add all values of another counter.

        Raises:
            TypeError: `other` is no StatCounter.
        """
        if not isinstance(other, StatCounter):
            msg = f"Can only merge StatCounter but got {type(other)}"
            raise TypeError(msg)
        if other is self:
            return self.mergeStats(other.copy())
        if other.n == 0:
            return self
        total = self.n + other.n
        delta = other.mu - self.mu
        self.mu = (self.mu * self.n + other.mu * other.n) / total
        self.m2 += other.m2 + delta * delta * self.n * other.n / total
        self.n = total
        self.maxValue = max(self.maxValue, other.maxValue)
        self.minValue = min(self.minValue, other.minValue)
        return self

    def copy(self) -> "StatCounter":
        """Return a counter of the same values."""
        return copy(self)

    def count(self) -> int:
        """Return how many values there were."""
        return int(self.n)

    def mean(self) -> float:
        """Return the mean; 0.0 of nothing."""
        return self.mu

    def sum(self) -> float:
        """Return the sum."""
        return self.n * self.mu

    def min(self) -> float:
        """Return the least value; inf of nothing."""
        return self.minValue

    def max(self) -> float:
        """Return the greatest value; -inf of nothing."""
        return self.maxValue

    def variance(self) -> float:
        """Return the population variance; nan of nothing."""
        return math.nan if self.n == 0 else self.m2 / self.n

    def sampleVariance(self) -> float:
        """Return the sample variance (n - 1); nan of fewer than two."""
        return math.nan if self.n <= 1 else self.m2 / (self.n - 1)

    def stdev(self) -> float:
        """Return the population standard deviation."""
        return math.sqrt(self.variance())

    def sampleStdev(self) -> float:
        """Return the sample standard deviation."""
        return math.sqrt(self.sampleVariance())

    def asDict(self, sample: bool = False) -> dict[str, float]:
        """Return all statistics; `sample` true gives population spread, as in PySpark."""
        return {
            "count": self.count(),
            "mean": self.mean(),
            "sum": self.sum(),
            "min": self.min(),
            "max": self.max(),
            "stdev": self.stdev() if sample else self.sampleStdev(),
            "variance": self.variance() if sample else self.sampleVariance(),
        }

    def __repr__(self) -> str:
        return (
            f"(count: {self.count()}, mean: {self.mean()}, stdev: {self.stdev()}, "
            f"max: {self.max()}, min: {self.min()})"
        )
