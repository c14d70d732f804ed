"""Tests of ingest/pid.py: the formula, its edges, its bounds."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.base.config import CATALOGUE, Settings
from millstream.engine.base.errors import IllegalArgumentError
from millstream.engine.ingest.pid import PidEstimator, make_estimator


def test_the_first_batch_only_sets_the_rate() -> None:
    """The second one of the same speed, which waited half a batch, lowers it by a tenth."""
    pid = PidEstimator(1000)

    assert pid.compute(1000, 600, 1000, 0) is None
    assert pid.compute(2000, 600, 1000, 500) == 540


def test_batches_that_tell_nothing_are_skipped() -> None:
    """Old times, no records, no time taken: the state stays as it was."""
    pid = PidEstimator(1000)
    pid.compute(1000, 600, 1000, 0)
    for facts in ((1000, 600, 1000, 0), (2000, 0, 1000, 0), (2000, 600, 0, 0)):
        assert pid.compute(*facts) is None
    assert pid.compute(2000, 1200, 1000, 0) == 1200


def test_the_derived_term_counts_the_change_of_the_error() -> None:
    """With D = 1 an error that grows in a second counts twice."""
    pid = PidEstimator(1000, proportional=1, integral=0, derived=1, rate_min=1)
    pid.compute(1000, 1000, 1000, 0)

    assert pid.compute(2000, 900, 1000, 0) == 1000 - 100 - 100


@given(
    st.lists(
        st.tuples(st.integers(1, 10**6), st.integers(1, 10**5), st.integers(0, 10**5)),
        min_size=2,
        max_size=8,
    )
)
def test_bounds(batches: list[tuple[int, int, int]]) -> None:
    """Never below the least rate; with P alone it is the processing rate."""
    bounded = PidEstimator(100, rate_min=50)
    plain = PidEstimator(100, integral=0, rate_min=50)
    for number, (count, took, waited) in enumerate(batches):
        low = bounded.compute(number * 100, count, took, waited)
        rate = plain.compute(number * 100, count, took, waited)
        if number:
            assert low is not None
            assert low >= 50
            assert rate == pytest.approx(max(count / took * 1000, 50))


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"batch_ms": 0}, "batch interval is 0"),
        ({"proportional": -1}, "proportional term is -1"),
        ({"integral": -1}, "integral term is -1"),
        ({"derived": -1}, "derived term is -1"),
        ({"rate_min": 0}, "minimum rate is 0"),
    ],
)
def test_wrong_parameters_are_named(parameters: dict[str, int], named: str) -> None:
    """With the value, and the settings to look at."""
    with pytest.raises(IllegalArgumentError, match=named):
        PidEstimator(**{"batch_ms": 1000, **parameters})


def test_the_conf_sets_the_parameters() -> None:
    """By Spark's keys; another estimator's name is refused."""
    made = make_estimator(
        Settings({"spark.streaming.backpressure.pid.minRate": "7"}), 1000
    )

    assert (made.rate_min, made.integral) == (7, 0.2)
    with pytest.raises(IllegalArgumentError, match="rateEstimator"):
        make_estimator(
            Settings({"spark.streaming.backpressure.rateEstimator": "x"}), 1000
        )


def test_an_unknown_estimator_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """In Spark's words, should the catalogue let a name through."""
    key = "spark.streaming.backpressure.rateEstimator"
    monkeypatch.setitem(CATALOGUE, key, replace(CATALOGUE[key], choices=()))

    with pytest.raises(IllegalArgumentError, match="Unknown rate estimator: x"):
        make_estimator(Settings({key: "x"}), 1000)
