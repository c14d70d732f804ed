"""RDD operations beside plain Python, for random data and partitionings."""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import reduce
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream import RDD, SparkContext

pytestmark = pytest.mark.slow

ints = st.lists(st.integers(-5, 5), max_size=20)
pairs = st.lists(st.tuples(st.integers(0, 4), st.integers(-3, 3)), max_size=15)
parts = st.integers(1, 5)


@pytest.fixture(scope="module")
def module_sc() -> Iterator[SparkContext]:
    """Return one context for all examples of a module."""
    with SparkContext("local[2]", "models") as context:
        yield context


@pytest.fixture(autouse=True)
def _no_strays() -> None:
    """The module's context outlives each test here."""


ELEMENTWISE: list[tuple[Callable[[RDD[int]], RDD[Any]], Callable[[list[int]], Any]]] = [
    (lambda r: r.map(lambda x: x * 2), lambda d: [x * 2 for x in d]),
    (lambda r: r.filter(lambda x: x > 0), lambda d: [x for x in d if x > 0]),
    (lambda r: r.flatMap(range), lambda d: [y for x in d for y in range(x)]),
    (lambda r: r.keyBy(abs).values(), lambda d: d),
    (lambda r: r.zipWithIndex(), lambda d: [(x, i) for i, x in enumerate(d)]),
    (lambda r: r.glom().flatMap(lambda part: part), lambda d: d),
    (
        lambda r: r.mapPartitions(lambda rows: [x + 1 for x in rows]),
        lambda d: [x + 1 for x in d],
    ),
    (lambda r: r.sortBy(lambda x: x), sorted),
    (lambda r: r.sortBy(lambda x: x, False), lambda d: sorted(d, reverse=True)),
]


@given(ints, parts, st.lists(st.sampled_from(ELEMENTWISE[:-2]), max_size=4))
def test_ordered_operations(
    module_sc: SparkContext, data: list[int], count: int, chosen: list[Any]
) -> None:
    """Chains of element-wise operations keep values and order."""
    rdd, expected = module_sc.parallelize(data, count), list(data)
    for operation, model in chosen:
        if any(not isinstance(x, int) for x in expected):
            return
        rdd, expected = operation(rdd), model(expected)

    assert rdd.collect() == expected
    assert rdd.count() == len(expected)
    assert rdd.take(3) == expected[:3]
    assert list(rdd.toLocalIterator()) == expected


@given(ints, parts, parts)
def test_sorting(module_sc: SparkContext, data: list[int], count: int, to: int) -> None:
    """Sorted across partitions, both ways, stably by key."""
    rdd = module_sc.parallelize(data, count)

    assert rdd.sortBy(lambda x: x, True, to).collect() == sorted(data)
    assert rdd.sortBy(lambda x: x, False, to).collect() == sorted(data, reverse=True)
    assert rdd.takeOrdered(3) == sorted(data)[:3]
    assert rdd.top(3) == sorted(data, reverse=True)[:3]
    assert (
        rdd.top(3, key=abs) == sorted(data, key=abs, reverse=True)[:3] or len(data) > 3
    )


@given(ints, parts)
def test_folding(module_sc: SparkContext, data: list[int], count: int) -> None:
    """Sums, counts, extremes and aggregates."""
    rdd = module_sc.parallelize(data, count)

    assert rdd.sum() == sum(data)
    assert rdd.fold(0, lambda a, b: a + b) == sum(data)
    pair = rdd.aggregate(
        (0, 0),
        lambda a, x: (a[0] + x, a[1] + 1),
        lambda a, b: (a[0] + b[0], a[1] + b[1]),
    )
    assert pair == (sum(data), len(data))
    assert rdd.treeAggregate(0, lambda a, x: a + x, lambda a, b: a + b) == sum(data)
    assert rdd.countByValue() == Counter(data)
    assert sorted(rdd.distinct().collect()) == sorted(set(data))
    assert rdd.isEmpty() == (not data)
    if data:
        assert rdd.reduce(lambda a, b: a + b) == sum(data)
        assert rdd.treeReduce(lambda a, b: a + b, 3) == sum(data)
        assert (rdd.max(), rdd.min()) == (max(data), min(data))
        assert rdd.first() == data[0]
        assert abs(rdd.stats().mean() - sum(data) / len(data)) < 1e-9
        assert rdd.countApproxDistinct(0.01) == len(set(data))
    else:
        with pytest.raises(ValueError, match="Can not reduce"):
            rdd.reduce(max)
        with pytest.raises(ValueError, match="RDD is empty"):
            rdd.first()


@given(pairs, parts, parts)
def test_by_key(module_sc: SparkContext, data: list[Any], count: int, to: int) -> None:
    """Grouping, reducing and combining by key."""
    rdd = module_sc.parallelize(data, count)
    groups: dict[int, list[int]] = {}
    for key, value in data:
        groups.setdefault(key, []).append(value)
    grouped = rdd.groupByKey(to)

    assert grouped.getNumPartitions() == to
    assert dict(grouped.mapValues(list).collect()) == groups
    sums = {key: sum(values) for key, values in groups.items()}
    assert dict(rdd.reduceByKey(lambda a, b: a + b, to).collect()) == sums
    assert dict(rdd.foldByKey(0, lambda a, b: a + b, to).collect()) == sums
    assert rdd.reduceByKeyLocally(lambda a, b: a + b) == sums
    combined = rdd.combineByKey(
        lambda v: [v], lambda c, v: [*c, v], lambda a, b: a + b, to
    )
    assert dict(combined.collect()) == groups
    counted = rdd.aggregateByKey(
        [0], lambda c, _v: [c[0] + 1], lambda a, b: [a[0] + b[0]], to
    )
    assert dict(counted.mapValues(lambda c: c[0]).collect()) == rdd.countByKey()
    assert sorted(rdd.lookup(1)) == sorted(groups.get(1, []))
    assert rdd.partitionBy(to).lookup(1) == groups.get(1, [])
    for index, part in enumerate(rdd.partitionBy(to).glom().collect()):
        assert all(key % to == index for key, _ in part)


@given(pairs, pairs, parts, parts)
def test_two_rdds(
    module_sc: SparkContext, left: list[Any], right: list[Any], n: int, m: int
) -> None:
    """Joins, set operations, products."""
    a, b = module_sc.parallelize(left, n), module_sc.parallelize(right, m)
    keys = {k for k, _ in left} | {k for k, _ in right}

    def of(rows: list[Any], key: int) -> list[Any]:
        return [v for k, v in rows if k == key]

    def joined(outer_left: bool, outer_right: bool) -> list[Any]:
        return sorted(
            (
                (k, (x, y))
                for k in keys
                for x in of(left, k) or ([None] if outer_left else [])
                for y in of(right, k) or ([None] if outer_right else [])
            ),
            key=repr,
        )

    assert a.join(b).getNumPartitions() == n + m
    assert sorted(a.join(b).collect(), key=repr) == joined(False, False)
    assert sorted(a.leftOuterJoin(b).collect(), key=repr) == joined(False, True)
    assert sorted(a.rightOuterJoin(b).collect(), key=repr) == joined(True, False)
    assert sorted(a.fullOuterJoin(b, 2).collect(), key=repr) == joined(True, True)
    grouped = {k: tuple(map(list, sides)) for k, sides in a.cogroup(b).collect()}
    assert grouped == {k: (of(left, k), of(right, k)) for k in keys}
    assert a.union(b).collect() == left + right
    assert Counter(a.subtract(b).collect()) == Counter(
        r for r in left if r not in right
    )
    assert set(a.intersection(b).collect()) == set(left) & set(right)
    missing = {k for k, _ in left} - {k for k, _ in right}
    assert set(a.subtractByKey(b).keys().collect()) == missing
    assert Counter(a.cartesian(b).collect()) == Counter(
        (x, y) for x in left for y in right
    )


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=20), parts)
def test_histogram_counts_every_number(
    module_sc: SparkContext, data: list[float], count: int
) -> None:
    """Even buckets hold all records, given edges those inside."""
    rdd = module_sc.parallelize(data, count)
    _edges, counts = rdd.histogram(4)

    assert sum(counts) == len(data)
    edges, counts = rdd.histogram([-50, 0, 50])
    assert edges == [-50, 0, 50]
    assert counts == [
        sum(-50 <= x < 0 for x in data),
        sum(0 <= x <= 50 for x in data),
    ]


@given(ints, parts)
def test_tree_and_plain_reduction_agree(
    module_sc: SparkContext, data: list[int], count: int
) -> None:
    """A non-commutative fold inside partitions keeps their order."""
    rdd = module_sc.parallelize(data, count)
    text = rdd.map(str).aggregate("", lambda a, x: a + x, lambda a, b: a + b)

    assert text == reduce(lambda a, x: a + str(x), data, "")
