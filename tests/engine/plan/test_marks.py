"""Tests of how many records may be bad."""

import pytest

from millstream.engine.plan.marks import RecordMark


@pytest.mark.parametrize(
    ("count", "allowed"),
    [(0, 0), (1, 1), (9, 9), (10, 9), (99, 98), (100, 50), (101, 50), (10_000, 5000)],
)
def test_of_few_records_all_may_be_bad_of_many_a_share(
    count: int, allowed: int
) -> None:
    """A batch of one record says nothing about the program; one of 100 does."""
    assert RecordMark("", 0).allowed(count) == allowed


def test_what_is_kept_has_a_bound() -> None:
    """What is only counted hasn't."""
    assert RecordMark("", 0, keeps_records=True).allowed(1_000_000) == 10_000
    assert RecordMark("", 0).allowed(1_000_000) == 500_000
    assert RecordMark("", 0, max_share=1.0).allowed(1000) == 999
