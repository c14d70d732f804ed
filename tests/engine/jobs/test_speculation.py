"""Tests of engine/jobs/speculation.py."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.base.config import Settings
from millstream.engine.base.errors import IllegalArgumentError
from millstream.engine.jobs.speculation import Speculation, SpeculationRules, rules_of


def test_there_is_none_unless_it_is_asked_for() -> None:
    """Settings that go with it change nothing then."""
    assert rules_of(Settings({})) is None
    assert rules_of(Settings({"spark.speculation.quantile": "0.5"})) is None


def test_settings_are_those_of_spark() -> None:
    """By default, and each by its key."""
    assert rules_of(Settings({"spark.speculation": "true"})) == SpeculationRules(
        interval_s=0.1, quantile=0.75, multiplier=1.5, least_s=0.1
    )
    values = {
        "spark.speculation": "true",
        "spark.speculation.interval": "2s",
        "spark.speculation.quantile": "0.9",
        "spark.speculation.multiplier": "3",
        "spark.speculation.minTaskRuntime": "20",
    }
    assert rules_of(Settings(values)) == SpeculationRules(2.0, 0.9, 3.0, 0.02)


def test_a_share_of_more_than_all_is_refused() -> None:
    """It would never be reached."""
    values = {"spark.speculation": "true", "spark.speculation.quantile": "75"}
    with pytest.raises(IllegalArgumentError, match="from 0 to 1, but was 75"):
        rules_of(Settings(values))


def test_a_task_is_slow_beside_those_that_are_done() -> None:
    """Three quarters must be, and it has taken half as long again as their median."""
    watched = Speculation(SpeculationRules(), 4)
    for took_s in (1.0, 2.0):
        watched.on_success(took_s)
    assert watched.wait_s(9.0) is None
    assert not watched.is_due(9.0)
    watched.on_success(6.0)
    assert watched.wait_s(9.0) == 0
    assert watched.is_due(9.0)

    assert watched.slow(9.0, {3: 6.1}) == []
    assert not watched.is_due(9.05)
    assert watched.wait_s(9.075) == pytest.approx(0.025)
    assert watched.is_due(9.1)
    assert watched.slow(9.11, {3: 6.1}) == [3]


def test_nothing_is_slow_that_has_hardly_begun() -> None:
    """However fast the others were."""
    watched = Speculation(SpeculationRules(), 2)
    watched.on_success(0.001)

    assert watched.slow(1.0, {1: 0.92}) == []
    assert watched.slow(1.1, {1: 0.92}) == [1]


def test_a_single_task_has_nothing_to_be_slow_beside() -> None:
    """Nor is anything looked at."""
    watched = Speculation(SpeculationRules(quantile=0), 1)
    watched.on_success(1)

    assert not watched.is_due(100)
    assert watched.wait_s(100) is None


@given(
    took_s=st.lists(st.floats(0, 10), min_size=1, max_size=9),
    begun_s=st.dictionaries(st.integers(0, 20), st.floats(0, 20)),
)
def test_whatever_is_slow_has_run_longer_than_most_that_are_done(
    took_s: list[float], begun_s: dict[int, float]
) -> None:
    """Half of them at least, and the least time."""
    watched = Speculation(SpeculationRules(quantile=0), 30)
    for each in took_s:
        watched.on_success(each)

    for index in watched.slow(20, begun_s):
        ran_s = 20 - begun_s[index]
        assert ran_s > 0.1
        assert sum(each < ran_s for each in took_s) >= len(took_s) / 2
