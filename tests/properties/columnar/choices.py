"""Choices: where drawn programs take their numbers from, and how fewer of them are found.

Everything drawn is a function of a sequence of small numbers, of which 0 always stands
for the plainest answer. That sequence comes from Hypothesis in tests and from a seeded
generator in the soak, and a failing case is made smaller by making its sequence smaller.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class Choices:
    """A source of choices that remembers what it gave; `below` gives 0 <= n < bound."""

    below_bound: Callable[[int], int]
    made: list[int] = field(default_factory=list)

    def below(self, bound: int) -> int:
        """Return a number below `bound`."""
        if bound <= 1:
            return 0
        number = self.below_bound(bound)
        self.made.append(number)
        return number

    def pick(self, items: Sequence[T]) -> T:
        """Return one of the items; the first is the plainest."""
        return items[self.below(len(items))]

    def weighted(self, items: Sequence[tuple[int, T]]) -> T:
        """Return one of the items, as often as its weight says."""
        number = self.below(sum(weight for weight, _ in items))
        for weight, item in items:
            if number < weight:
                return item
            number -= weight
        raise AssertionError

    def chance(self, percent: int) -> bool:
        """Say yes so often; no is the plainer answer."""
        return self.below(100) >= 100 - percent

    def between(self, low: int, high: int) -> int:
        """Return a number of `low` to `high`, both included."""
        return low + self.below(high - low + 1)


def seeded(seed: int) -> Choices:
    """Return the choices that belong to a seed."""
    return Choices(Random(seed).randrange)


def replayed(numbers: Sequence[int]) -> Choices:
    """Return choices that were made before; what is missing or too large is made to fit."""
    left = iter(numbers)
    return Choices(lambda bound: min(next(left, 0), bound - 1))


def shrink(
    numbers: Sequence[int], fails: Callable[[Sequence[int]], bool], tries: int
) -> list[int]:
    """Return a shorter or smaller sequence that `fails` too; asks `tries` times at most."""
    best = list(numbers)

    def take(candidate: list[int]) -> bool:
        nonlocal best, tries
        if tries <= 0 or candidate == best:
            return False
        tries -= 1
        if fails(candidate):
            best = candidate
            return True
        return False

    before: list[int] = []
    while before != best and tries > 0:
        before = best
        for size in (32, 16, 8, 4, 2, 1):
            at = 0
            while at < len(best) and tries > 0:
                if not take(best[:at] + best[at + size :]):
                    at += size
        at = 0
        while at < len(best) and tries > 0:
            for smaller in (0, best[at] // 2, best[at] - 1):
                if 0 <= smaller < best[at]:
                    take([*best[:at], smaller, *best[at + 1 :]])
                if at >= len(best):
                    break
            at += 1
    return best
