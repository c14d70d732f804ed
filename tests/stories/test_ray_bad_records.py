"""Stories of bad records on a Ray cluster: what tasks find travels back with what they make."""

from tests.marking import Marker
from tests.stories.test_ray import cluster, pytestmark, sc

from millstream import SparkContext

__all__ = ["cluster", "pytestmark", "sc"]


def test_the_nodes_tell_what_they_took_out(sc: SparkContext) -> None:
    """Each record once, behind a shuffle and in front of one; accumulators add up."""
    marker, seen = Marker(), sc.accumulator(0)

    def inverse(number: int) -> float:
        seen.add(1)
        return 1 / number

    numbers = marker.mark(sc.parallelize([1, 0, 2, 0, 4] * 8, 8))

    assert numbers.map(inverse).count() == 24
    assert seen.value == 24
    assert len(marker.places) == 16
    words = marker.mark(sc.parallelize(["1", "x", "3"] * 5, 3))
    pairs = words.map(lambda word: (int(word) % 2, int(word)))
    assert pairs.reduceByKey(max).collect() == [(1, 3)]
    assert {each.error for each in marker.records} == {
        "ZeroDivisionError",
        "ValueError",
    }
