"""Sampling: which records are drawn, from a seed and a partition number only."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any


@dataclass(frozen=True, slots=True)
class BernoulliSample:
    """Each record with probability `upper - lower`, decided by one draw a record.

    Samples of one seed with adjoining bounds split the records between them.
    """

    lower: float
    upper: float
    seed: int

    def __call__(self, index: int, rows: Iterable[Any]) -> Iterator[Any]:
        """Yield the records drawn from partition `index`."""
        draw = Random(mixed(self.seed, index)).random
        lower, upper = self.lower, self.upper
        return (row for row in rows if lower <= draw() < upper)


@dataclass(frozen=True, slots=True)
class PoissonSample:
    """Each record as often as a Poisson draw with mean `fraction` says."""

    fraction: float
    seed: int

    def __call__(self, index: int, rows: Iterable[Any]) -> Iterator[Any]:
        """Yield the records drawn from partition `index`."""
        random = Random(mixed(self.seed, index))
        for row in rows:
            for _ in range(poisson(self.fraction, random)):
                yield row


@dataclass(frozen=True, slots=True)
class StratifiedSample:
    """Each pair by the fraction of its key; keys without one raise KeyError."""

    fractions: Mapping[Any, float]
    with_replacement: bool
    seed: int

    def __call__(self, index: int, rows: Iterable[Any]) -> Iterator[Any]:
        """Yield the pairs drawn from partition `index`."""
        random = Random(mixed(self.seed, index))
        for key, value in rows:
            fraction = self.fractions[key]
            if self.with_replacement:
                times = poisson(fraction, random)
            else:
                times = int(random.random() < fraction)
            for _ in range(times):
                yield key, value


def poisson(mean: float, random: Random) -> int:
    """Return one Poisson draw (Knuth's product of uniforms, in slices of mean 500)."""
    drawn = 0
    while mean > 0:
        part = min(mean, 500.0)  # exp(-745) is 0: a large mean goes in parts.
        mean -= part
        limit, product = math.exp(-part), random.random()
        while product > limit:
            drawn += 1
            product *= random.random()
    return drawn


def fraction_for(size: int, total: int, *, with_replacement: bool) -> float:
    """Return a fraction that draws at least `size` of `total` with 99.99 % certainty.

    With replacement: mean plus five (nine for tiny samples) standard deviations of a
    Poisson draw; without: the Chernoff bound of a binomial draw.
    """
    fraction = size / total
    if with_replacement:
        deviations = 9 if size < 12 else 5
        return fraction + deviations * math.sqrt(fraction / total)
    gamma = -math.log(0.00005) / total
    return min(1.0, fraction + gamma + math.sqrt(gamma * gamma + 2 * gamma * fraction))


def mixed(seed: int, index: int) -> int:
    """Return the seed of one partition's draws."""
    return (seed * 1_000_003) ^ (index * 0x9E3779B97F4A7C15)
