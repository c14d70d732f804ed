"""Programs that must give the same wherever their tasks run."""

from collections.abc import Callable

from millstream import SparkContext

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
]
