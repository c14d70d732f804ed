"""Properties of the rate estimate, beside the formula of Spark's documentation."""

import math

from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.ingest.pid import PidEstimator

GAIN = st.floats(0, 10)
BATCHES = st.lists(
    st.tuples(
        st.integers(-5, 10_000),  # How much later than the one before.
        st.integers(-1, 10**7),
        st.integers(-1, 10**5),
        st.integers(0, 10**5),
    ),
    max_size=20,
)


@given(GAIN, GAIN, GAIN, st.floats(0.1, 10**4), BATCHES)
def test_estimates_follow_the_formula(
    p: float,
    i: float,
    d: float,
    least: float,
    batches: list[tuple[int, int, int, int]],
) -> None:
    """None for what tells nothing and for the first; else the bounded sum of the terms."""
    pid = PidEstimator(500, p, i, d, least)
    time, rate, error, is_first = -1, -1.0, -1.0, True
    for later, count, took, waited in batches:
        now = time + later
        got = pid.compute(now, count, took, waited)
        if later <= 0 or count <= 0 or took <= 0:
            assert got is None
            continue
        done = count / took * 1000
        off = rate - done
        change = (off - error) / (later / 1000)
        time = now
        if is_first:
            is_first, rate, error = False, done, 0.0
            assert got is None
            continue
        rate = max(rate - p * off - i * waited * done / 500 - d * change, least)
        error = off
        assert got is not None
        assert got >= least
        assert math.isclose(got, rate, rel_tol=1e-6, abs_tol=1e-3)


@given(st.floats(0.1, 10**4), BATCHES)
def test_with_the_proportional_term_alone_it_is_the_processing_rate(
    least: float, batches: list[tuple[int, int, int, int]]
) -> None:
    """However much lies between the batches, and whatever was before."""
    pid = PidEstimator(500, 1.0, 0.0, 0.0, least)
    now = 0
    for later, count, took, waited in batches:
        now += max(later, 1)
        got = pid.compute(now, count, took, waited)
        if got is not None:
            expected = max(count / took * 1000, least)
            assert math.isclose(got, expected, rel_tol=1e-6, abs_tol=1e-3)
