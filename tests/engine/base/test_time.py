"""Tests of engine/base/time.py."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.base.time import (
    Duration,
    Interval,
    Milliseconds,
    Minutes,
    Seconds,
    Time,
    pretty_duration,
    to_duration,
)


def test_durations_calculate_as_sparks_do() -> None:
    """Sums, differences, multiples and ratios of durations are exact."""
    two, three = Seconds(2), Seconds(3)

    assert two + three == Milliseconds(5000)
    assert two - three == Milliseconds(-1000)
    assert two * 3 == 3 * two == Seconds(6)
    assert three / two == 1.5
    assert Minutes(1).isMultipleOf(two)
    assert not three.isMultipleOf(two)
    assert Duration(0).isZero()
    assert two.min(three) == two
    assert two.max(three) == three
    assert two.less(three) and two.lessEq(two)
    assert three.greater(two) and three.greaterEq(three)


def test_times_and_durations_mix() -> None:
    """An instant moves by a duration; two instants are a duration apart."""
    assert Time(5) + Duration(3) == Time(8)
    assert Time(5) - Duration(3) == Time(2)
    assert Time(5) - Time(3) == Duration(2)
    assert Time(5).minus(Duration(5)) == Time(0)
    assert Time(5).since(Time(7)) == Duration(-2)
    assert Time(5).min(Time(6)) == Time(5)
    assert Time(5).max(Time(6)) == Time(6)
    assert Time(5).less(Time(6)) and Time(5).lessEq(Time(5))
    assert Time(6).greater(Time(5)) and Time(6).greaterEq(Time(6))
    assert Time(7).milliseconds() == 7
    assert Duration(7).milliseconds() == 7


def test_both_print_as_milliseconds() -> None:
    """`str` is the number and its unit."""
    assert str(Seconds(2)) == "2000 ms"
    assert str(Time(15)) == "15 ms"
    assert str(Interval(Time(1), Time(2))) == "[1 ms, 2 ms]"


@given(st.integers(0, 10**13), st.integers(1, 10**6))
def test_floor_is_the_greatest_multiple_not_after(ms: int, span: int) -> None:
    """The floor is a multiple, not later, and less than one step earlier."""
    floor = Time(ms).floor(Duration(span))

    assert floor.isMultipleOf(Duration(span))
    assert 0 <= ms - floor.ms < span


def test_floor_from_a_zero_time_truncates_toward_it() -> None:
    """Before the zero time the floor rounds up, as Java's division does."""
    zero = Time(1000)

    assert Time(3500).floor(Seconds(1), zero) == Time(3000)
    assert Time(500).floor(Seconds(1), zero) == Time(1000)
    assert Time(-1500).floor(Seconds(1), zero) == Time(-1000)


def test_until_leaves_the_end_out_and_to_takes_it_in() -> None:
    """Ranges of instants step by a duration; an empty range is empty."""
    assert list(Time(0).until(Time(3), Duration(1))) == [Time(0), Time(1), Time(2)]
    assert list(Time(0).to(Time(2), Duration(1))) == [Time(0), Time(1), Time(2)]
    assert list(Time(3).until(Time(0), Duration(1))) == []
    assert list(Time(3).to(Time(0), Duration(1))) == []


def test_intervals_move_and_compare_by_their_ends() -> None:
    """Intervals of one length are ordered; of different lengths they aren't."""
    early, late = Interval(Time(0), Time(5)), Interval(Time(5), Time(10))

    assert early + Duration(5) == late
    assert late - Duration(5) == early
    assert early < late and late > early
    assert early <= early and late >= late  # noqa: PLR0124  One claim.
    assert early.duration() == Duration(5)
    assert Interval.currentInterval(Duration(5), Time(7)) == late
    with pytest.raises(ValueError, match="different length"):
        _ = early < Interval(Time(0), Time(1))


@pytest.mark.parametrize(
    ("ms", "words"),
    [
        (850, "850 ms"),
        (1000, "1 second"),
        (12_500, "12.5 seconds"),
        (90_000, "1 minute 30 seconds"),
        (-60_000, "-1 minute"),
        (7_500_000, "2 hours 5 minutes"),
        (90_061_000, "1 day 1 hour"),
    ],
)
def test_a_duration_in_words(ms: int, words: str) -> None:
    """Two units at most, the larger first."""
    assert pretty_duration(ms) == words
    assert Duration(ms).prettyPrint() == words


def test_seconds_become_rounded_milliseconds() -> None:
    """0.57 s is 570 ms; a Duration stays itself."""
    assert to_duration(0.57) == Duration(570)
    assert to_duration(Seconds(2)) == Seconds(2)


def test_they_pickle_and_hash_by_value() -> None:
    """Times and durations are plain values."""
    assert pickle.loads(pickle.dumps(Time(3))) == Time(3)
    assert len({Time(3), Time(3), Duration(3)}) == 2
