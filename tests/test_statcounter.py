"""Tests of statcounter.py."""

import math
import pickle
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.statcounter import StatCounter

_NUMBERS = st.lists(st.floats(-1e6, 1e6), max_size=50)


def _close(got: float, expected: float) -> bool:
    return math.isclose(got, expected, rel_tol=1e-7, abs_tol=1e-3)


@given(_NUMBERS.filter(lambda numbers: len(numbers) >= 2))
def test_it_agrees_with_the_statistics_module(numbers: list[float]) -> None:
    """One pass gives what two passes over all values give."""
    counter = StatCounter(numbers)

    assert counter.count() == len(numbers)
    assert _close(counter.sum(), math.fsum(numbers))
    assert _close(counter.mean(), statistics.fmean(numbers))
    assert (counter.min(), counter.max()) == (min(numbers), max(numbers))
    assert _close(counter.variance(), statistics.pvariance(numbers))
    assert _close(counter.sampleVariance(), statistics.variance(numbers))
    assert _close(counter.stdev(), statistics.pstdev(numbers))
    assert _close(counter.sampleStdev(), statistics.stdev(numbers))


@given(st.lists(_NUMBERS, max_size=5))
def test_merged_parts_are_the_whole(parts: list[list[float]]) -> None:
    """However the values were cut, empty parts included."""
    merged = StatCounter()
    for part in parts:
        merged.mergeStats(StatCounter(part))
    whole = StatCounter(number for part in parts for number in part)

    assert merged.count() == whole.count()
    assert (merged.min(), merged.max()) == (whole.min(), whole.max())
    assert _close(merged.mean(), whole.mean())
    if whole.count():
        assert _close(merged.variance(), whole.variance())


def test_nothing_has_no_spread() -> None:
    """No values: a mean of zero, extremes without bound, spreads that are no numbers."""
    empty = StatCounter()

    assert (empty.count(), empty.mean(), empty.sum()) == (0, 0.0, 0.0)
    assert (empty.min(), empty.max()) == (math.inf, -math.inf)
    assert math.isnan(empty.variance())
    assert math.isnan(empty.stdev())
    assert math.isnan(StatCounter([1.0]).sampleVariance())
    assert StatCounter([1.0]).variance() == 0.0


def test_merging_with_itself_doubles() -> None:
    """It isn't read while it changes."""
    counter = StatCounter([1.0, 3.0])
    counter.mergeStats(counter)

    assert (counter.count(), counter.sum(), counter.variance()) == (4, 8.0, 1.0)


def test_a_copy_goes_its_own_way() -> None:
    """Also one that has travelled."""
    counter = StatCounter([1.0])
    copies = [counter.copy(), pickle.loads(pickle.dumps(counter))]
    counter.merge(5.0)

    assert [copy.count() for copy in copies] == [1, 1]
    assert counter.count() == 2


def test_the_dict_has_the_sample_spread_unless_sample_is_true() -> None:
    """The wrong way round, as in PySpark; programs rely on it."""
    counter = StatCounter([1.0, 2.0, 3.0, 4.0])

    assert counter.asDict()["variance"] == counter.sampleVariance()
    assert counter.asDict()["stdev"] == counter.sampleStdev()
    assert counter.asDict(sample=True)["variance"] == counter.variance()
    assert set(counter.asDict()) == {
        "count",
        "mean",
        "sum",
        "min",
        "max",
        "stdev",
        "variance",
    }


def test_only_counters_merge() -> None:
    """Something else is a TypeError that names its type."""
    with pytest.raises(TypeError, match="int"):
        StatCounter().mergeStats(1)  # type: ignore[arg-type]


def test_it_shows_what_it_knows() -> None:
    """Population spread, as PySpark prints it."""
    assert repr(StatCounter([1.0, 3.0])) == (
        "(count: 2, mean: 2.0, stdev: 1.0, max: 3.0, min: 1.0)"
    )
