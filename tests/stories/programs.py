"""Programs that must give the same wherever their tasks run."""

from collections.abc import Callable
from typing import Any

from millstream import RDD, SparkContext

PROGRAMS: list[Callable[[SparkContext], object]] = [
    lambda sc: sc.parallelize(["a b", "b"], 2).flatMap(str.split).countByValue(),
    lambda sc: (
        sc.parallelize([(n % 5, n) for n in range(100)], 4)
        .groupByKey(3)
        .mapValues(sum)
        .sortByKey()
        .collect()
    ),
    lambda sc: (
        sc.parallelize([(n % 5, n) for n in range(20)], 2)
        .join(sc.parallelize([(n, str(n)) for n in range(3)], 2))
        .collect()
    ),
    lambda sc: sc.parallelize(range(10), 3).union(sc.parallelize("ab", 1)).collect(),
    lambda sc: (
        sc.parallelize(range(10), 2).zip(sc.parallelize("abcdefghij", 2)).collect()
    ),
    lambda sc: sc.parallelize("ab", 2).cartesian(sc.parallelize("cd", 2)).collect(),
    lambda sc: sc.parallelize(range(100), 8).coalesce(3).glom().collect(),
    lambda sc: sc.parallelize(range(100), 4).map(lambda n: n / 7).sum(),
    lambda sc: sc.parallelize(range(100), 4).reduce(lambda a, b: a * 31 + b),
    lambda sc: sc.parallelize(range(100), 4).filter(lambda n: n > 50).take(3),
    lambda sc: (
        sc.parallelize([1, None, "x", 2.5, (1,), [2]], 2).map(lambda v: [v]).collect()
    ),
    lambda sc: (
        sc.parallelize(range(1000), 2).repartition(5).map(str).distinct().count()
    ),
    # Large enough that what is made stays with the workers.
    lambda sc: (
        sc.parallelize([(f"key {n % 1000}", n) for n in range(30_000)], 3)
        .map(lambda pair: (pair[0], [pair[1]]))
        .reduceByKey(lambda a, b: a + b, 3)
        .mapValues(lambda numbers: (len(numbers), sum(numbers)))
        .collect()
    ),
    lambda sc: (
        sc.parallelize([f"a{n % 997} b{n % 13}" for n in range(20_000)], 2)
        .flatMap(lambda line: line.split(" "))
        .map(lambda word: (word, 1))
        .groupByKey(2)
        .mapValues(len)
        .collect()
    ),
    lambda sc: _twice(sc.parallelize(range(50_000), 3).map(lambda n: (n, str(n)))),
    lambda sc: _twice(sc.parallelize(range(20_000), 3).map(lambda n: {"number": n})),
]


def _twice(rdd: RDD[Any]) -> object:
    """Return what two jobs make of an RDD that is kept, the second of other stages."""
    kept = rdd.persist()
    return kept.count(), kept.repartition(2).map(repr).top(5)
