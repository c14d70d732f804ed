"""How many batches took how long."""

from bisect import bisect_right

from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.observe.histograms import BOUNDS_MS, Delays, Histogram


@given(st.lists(st.integers(0, 1_000_000)))
def test_each_bucket_counts_what_is_at_most_its_bound(took_ms: list[int]) -> None:
    """As sorting all of them would."""
    histogram = Histogram()
    for each in took_ms:
        histogram.add(each)
    ordered = sorted(took_ms)
    expected = [bisect_right(ordered, bound) for bound in BOUNDS_MS]

    assert histogram.cumulative() == [*expected, len(took_ms)]
    assert histogram.sum_ms == sum(took_ms)


def test_a_copy_doesnt_change() -> None:
    """What was looked at stays as it was."""
    delays = Delays()
    delays.total.add(5)
    copy = delays.copy()
    delays.total.add(7)

    assert copy.total.cumulative()[-1] == 1
    assert delays.total.cumulative()[-1] == 2
