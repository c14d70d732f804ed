"""Guessing: the state that each record of a key may find, from what each would leave alone.

Most functions add up, count, or keep the greatest, the least, the first or the last. Which
of them is right for a column of the state is found by trying; that the guess was right is
for the caller to see, and nothing depends on it but time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum

import polars as pl

from millstream.engine.columnar.shapes import Shape

EXISTS = "exists"
START = "start"
GROUP = "group"
_MADE = "made_"


class Way(Enum):
    """How the records of a key build up one column of its state."""

    SUM = "sum"
    LAST = "last"
    GREATEST = "greatest"
    LEAST = "least"
    FIRST = "first"


@dataclass(slots=True)
class Habits:
    """What was learned of one function, kept from batch to batch."""

    ways: dict[Shape, tuple[Way, ...]] = field(default_factory=dict)
    failures: int = 0
    skips: int = 0
    """So many batches aren't tried by columns: the ones before failed."""
    reason: str = ""
    """Why the last one failed."""


_SKIPS_MAX = 64


def note_failure(habits: Habits, reason: str) -> None:
    """Leave columns alone for a while, ever longer."""
    habits.reason = reason
    habits.ways.clear()
    habits.failures += 1
    habits.skips = min(2**habits.failures, _SKIPS_MAX)


def guessed(
    made: pl.DataFrame, initial: pl.DataFrame, ways: Sequence[Way]
) -> pl.DataFrame:
    """Return the states that records find: `exists`, and a column for each of `ways`.

    Records stand key by key: `made` has their `group`, whether they `start` it, and what
    each would leave alone: `exists` and columns of the state, null where there is none.
    `initial` has, in as many records, what the first of each key does find.
    """
    names = [name for name in initial.columns if name != EXISTS]
    frame = made.hstack(
        [initial[name].alias(f"{_MADE}{name}") for name in initial.columns]
    )

    def put(name: str) -> pl.Expr:
        # What the record before adds; the first one of a key begins with what it finds.
        start = pl.col(f"{_MADE}{name}")
        return pl.when(START).then(start).otherwise(pl.col(name).shift(1))

    exprs = [put(EXISTS).cum_max().over(GROUP).alias(EXISTS)]
    exprs += [
        _UP[way](put(name)).over(GROUP).alias(name)
        for name, way in zip(names, ways, strict=True)
    ]
    found = frame.with_columns(exprs)

    def sure(name: str) -> pl.Expr:
        # What the first one finds is no guess, and nobody checks it: a sum would have
        # lost the sign of a zero.
        guess = pl.when(EXISTS).then(pl.col(name))
        start = pl.col(f"{_MADE}{name}")
        return pl.when(START).then(start).otherwise(guess).alias(name)

    return found.select(pl.col(EXISTS), *map(sure, names))


_UP: dict[Way, Callable[[pl.Expr], pl.Expr]] = {
    Way.SUM: lambda each: each.cum_sum().forward_fill(),
    Way.LAST: lambda each: each.forward_fill(),
    Way.GREATEST: lambda each: each.cum_max().forward_fill(),
    Way.LEAST: lambda each: each.cum_min().forward_fill(),
    Way.FIRST: lambda each: each.drop_nulls().first(),
}


def learned(
    made: pl.DataFrame, initial: pl.DataFrame, found: pl.DataFrame
) -> tuple[Way, ...]:
    """Return the way that is right most often, for each column of the state.

    `found` is what the records really find; the rest is as above.
    """
    names = [name for name in initial.columns if name != EXISTS]
    best = dict.fromkeys(names, (-1, Way.LAST))
    for way in Way:
        for name in names:
            if way is Way.SUM and not made.schema[name].is_numeric():
                continue
            guess = guessed(made, initial.select(EXISTS, name), [way])
            right = int((~differing(guess[name], found[name])).sum())
            if right > best[name][0]:
                best[name] = (right, way)
    return tuple(way for _, way in best.values())


def differing(a: pl.Series, b: pl.Series) -> pl.Series:
    """Return where two columns differ in any bit."""
    if a.dtype == pl.Float64:
        a, b = (each.reinterpret(dtype=pl.Int64) for each in (a, b))
    return a.ne_missing(b)
