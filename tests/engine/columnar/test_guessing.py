"""Tests of engine/columnar/guessing.py."""

from typing import Any

import polars as pl
import pytest

from millstream.engine.columnar.guessing import (
    EXISTS,
    GROUP,
    START,
    Habits,
    Way,
    differing,
    guessed,
    learned,
    note_failure,
)
from millstream.engine.columnar.shapes import Kind, Plain


def made_of(groups: list[int], values: list[Any]) -> pl.DataFrame:
    """Return what records leave alone, key by key; None: nothing."""
    return pl.DataFrame(
        {
            GROUP: groups,
            START: [n == 0 or groups[n - 1] != group for n, group in enumerate(groups)],
            EXISTS: [value is not None for value in values],
            "s0": pl.Series(values),
        }
    )


def initial_of(values: list[Any]) -> pl.DataFrame:
    """Return what the first record of each key finds, in as many records."""
    there = [value is not None for value in values]
    return pl.DataFrame({EXISTS: there, "s0": pl.Series(values, dtype=pl.Int64)})


@pytest.mark.parametrize(
    ("way", "found"),
    [
        (Way.SUM, [10, 12, 11, None, 5, 5]),
        (Way.LAST, [10, 2, -1, None, 5, 5]),
        (Way.GREATEST, [10, 10, 10, None, 5, 5]),
        (Way.LEAST, [10, 2, -1, None, 5, 5]),
        (Way.FIRST, [10, 10, 10, None, 5, 5]),
    ],
)
def test_each_record_finds_what_those_before_it_left(
    way: Way, found: list[Any]
) -> None:
    """Of its key; the first finds what the key had, and those that leave nothing are as none."""
    made = made_of([0, 0, 0, 1, 1, 1], [2, -1, 4, 5, None, 6])
    initial = initial_of([10, 10, 10, None, None, None])

    guess = guessed(made, initial, [way])

    assert guess["s0"].to_list() == found
    assert guess[EXISTS].to_list() == [each is not None for each in found]


@pytest.mark.parametrize("way", [Way.SUM, Way.GREATEST, Way.LEAST, Way.FIRST])
def test_the_way_that_is_right_is_learned(way: Way) -> None:
    """By what a few records really found."""
    made = made_of([0, 0, 0, 0, 1, 1, 1], [2, -1, 4, 1, 5, 3, 6])
    initial = initial_of([3, 3, 3, 3, None, None, None])

    assert learned(made, initial, guessed(made, initial, [way])) == (way,)


def test_texts_arent_added_up() -> None:
    """There is no sum of them to try."""
    made = made_of([0, 0, 0], ["b", "a", "c"])
    initial = pl.DataFrame(
        {EXISTS: [False] * 3, "s0": pl.Series([None] * 3, dtype=pl.String)}
    )

    (way,) = learned(made, initial, guessed(made, initial, [Way.LAST]))

    assert way is Way.LAST


def test_floats_differ_by_any_bit() -> None:
    """-0.0 isn't 0.0, and NaN is itself."""
    a = pl.Series([0.0, float("nan"), 1.0, None, None])
    b = pl.Series([-0.0, float("nan"), 1.0, 0.0, None])

    assert differing(a, b).to_list() == [True, False, False, True, False]


def test_failures_make_the_next_tries_rarer() -> None:
    """Up to a bound; and what was learned is in doubt."""
    habits = Habits({Plain(Kind.INT): (Way.SUM,)})
    skips = []
    for _ in range(9):
        note_failure(habits, "why")
        skips.append(habits.skips)

    assert skips == [2, 4, 8, 16, 32, 64, 64, 64, 64]
    assert not habits.ways
    assert habits.reason == "why"
