"""Tests of offsets: what a batch may read, by the rates."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.sources.kafka.offsets import (
    OffsetRange,
    PerPartitionConfig,
    TopicAndPartition,
    plan_until,
)

FIRST, SECOND = TopicAndPartition("t", 0), TopicAndPartition("t", 1)


def until(
    latest: tuple[int, int],
    rate: float | None = None,
    seconds: float = 2.0,
    most: int = 0,
    least: int = 1,
) -> tuple[int, int]:
    """Return until where two partitions are read that begin at 100 and 200."""
    made = plan_until(
        {FIRST: 100, SECOND: 200},
        {FIRST: latest[0], SECOND: latest[1]},
        rate,
        seconds,
        PerPartitionConfig(most, least),
    )
    return made[FIRST], made[SECOND]


def test_without_rates_everything_is_read() -> None:
    """No back-pressure and no limit: until the end."""
    assert until((1_000_000, 250)) == (1_000_000, 250)


def test_the_rate_of_back_pressure_is_shared_out_by_lag() -> None:
    """600 and 200 lag behind: of 40 a second, 30 and 10, for two seconds."""
    assert until((700, 400), rate=40) == (160, 220)


def test_the_limit_of_a_partition_caps_its_share() -> None:
    """The smaller of the share and the limit counts; what is over goes to nobody."""
    assert until((700, 400), rate=40, most=20) == (140, 220)


def test_a_limit_counts_without_back_pressure() -> None:
    """So many a second for each partition, and no more than there are."""
    assert until((700, 203), most=50) == (200, 203)


def test_a_rate_of_nothing_is_no_rate() -> None:
    """Zero is what there is before the first estimate: the limit alone counts."""
    assert until((700, 400), rate=0) == (700, 400)
    assert until((700, 400), rate=0, most=5) == (110, 210)


def test_a_limited_batch_has_the_least_that_was_asked_for() -> None:
    """Where a share rounds to nothing, some are read all the same."""
    assert until((100_100, 201), rate=1, seconds=0.5, least=7) == (107, 201)


def test_no_lag_reads_nothing() -> None:
    """Nothing new: empty ranges, and nothing is divided by zero."""
    assert until((100, 200), rate=40) == (100, 200)


def test_one_partition_of_several_may_be_limited() -> None:
    """A program's own rates: who has none takes the least, since another has one."""

    class Rates(PerPartitionConfig):
        def maxRatePerPartition(self, topicPartition: TopicAndPartition) -> int:
            return 10 if topicPartition == FIRST else 0

    made = plan_until(
        {FIRST: 0, SECOND: 0}, {FIRST: 99, SECOND: 99}, None, 1.0, Rates(0, 3)
    )

    assert made == {FIRST: 10, SECOND: 3}


@given(
    st.integers(0, 10_000),
    st.integers(0, 10_000),
    st.none() | st.floats(0, 1e6),
    st.integers(0, 500),
    st.floats(0.01, 10),
)
def test_a_batch_never_goes_back_nor_past_the_end(
    first: int, second: int, rate: float | None, most: int, seconds: float
) -> None:
    """Each range lies between where it begins and what is there."""
    ends = until((100 + first, 200 + second), rate, seconds, most)

    assert 100 <= ends[0] <= 100 + first
    assert 200 <= ends[1] <= 200 + second


def test_a_range_says_what_it_is() -> None:
    """Spark's words; equal ranges are equal, and its partition is a key."""
    made = OffsetRange.create("logs", 3, 1, 5)

    assert str(made) == "OffsetRange(topic: 'logs', partition: 3, range: [1 -> 5])"
    assert made == OffsetRange("logs", 3, 1, 5) != OffsetRange("logs", 3, 1, 6)
    assert (made.count(), made.topicPartition()) == (4, TopicAndPartition("logs", 3))
    assert len({made.topicPartition(), TopicAndPartition("logs", 3)}) == 1
    with pytest.raises(AttributeError):
        made.partition = 4  # type: ignore[misc]
