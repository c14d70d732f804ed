"""What drawn programs found: each of these once gave something else in columns."""

from collections.abc import Iterator

import pytest
from tests.properties.columnar.running import Runner, running

# Each with the name of the claim that it broke.
FOUND = {
    "a quotient is rounded once, though all divisors are the same": """\
def program(sc):
    return sc.parallelize([5, 7, 0, 10], 1).map(lambda x: x / 3).collect()
""",
    "a quotient is rounded once by a divisor that happens to be the same": """\
def program(sc):
    rdd = sc.parallelize([5.0, 7.0, 10.0], 1)
    return rdd.map(lambda x: x / (3.0 if x < 100 else 1.0)).collect()
""",
    "zero added to minus zero is zero": """\
def program(sc):
    rdd = sc.parallelize([-0.0, 0.0, 1.5], 1)
    return rdd.map(lambda x: (x + 0, 0.0 + x, 0 + x, x - 0.0)).collect()
""",
    "zero that is chosen in all records is added as a zero": """\
def program(sc):
    rdd = sc.parallelize([-0.0, 0.0, 1.5], 1)
    zero = rdd.map(lambda x: (x, 0 if x < 9 else 1))
    return zero.map(lambda p: (p[0] + p[1], p[1] + p[0], p[0] - p[1])).collect()
""",
    "zero taken from zero isn't minus zero": """\
def program(sc):
    rdd = sc.parallelize([-0.0, 0.0, 1.5], 1)
    return rdd.map(lambda x: (0.0 - x, 0 - x, False - x)).collect()
""",
    "a float too large for an int is rounded by Python": """\
def program(sc):
    return sc.parallelize([0.5, 1.5, 1e22], 1).map(lambda x: round(x)).collect()
""",
    "rounding what is no number raises what Python raises": """\
def program(sc):
    return sc.parallelize([0.5, nan], 1).map(lambda x: round(x) + math.floor(x)).collect()
""",
    "the calls of an imported module are found in the source": """\
def program(sc):
    rdd = sc.parallelize(['{"a": 1}', '{"a": 2}'], 1)
    return rdd.map(lambda x: json.loads(x)["a"]).collect()
""",
    "regular expressions of an imported module are known": """\
def program(sc):
    rdd = sc.parallelize(["ab1", "", "12 3"], 1)
    return rdd.map(lambda x: re.search(r"[0-9]+", x) is not None).collect()
""",
    "a reduction stops before a record that would raise": """\
def program(sc):
    rdd = sc.parallelize([{"a": 1}, {"a": 2}, {"a": 0}], 1)
    return rdd.filter(lambda x: 1 // x["a"] >= 0).reduce(lambda a, b: a + b)
""",
    "what can't be hashed fails before a record that would raise": """\
def program(sc):
    rdd = sc.parallelize([{"a": [1]}, {"a": []}], 1)
    return rdd.filter(lambda x: x["a"][-1] == 1).countByValue()
""",
    "a key that can't be hashed fails before a record that would raise": """\
def program(sc):
    rdd = sc.parallelize([1, 2, 0], 1)
    return rdd.map(lambda x: ([x], 1 // x)).groupByKey().mapValues(list).collect()
""",
    "the steps after those in columns are lazy too": """\
def program(sc):
    rdd = sc.parallelize([0.0, nan, 0.0], 1).map(lambda x: (None, x))
    return rdd.flatMap(lambda x: [x[0], ("a", int(x[1]))]).top(2)
""",
    "records are counted though none of their values is used": """\
def program(sc):
    return sc.parallelize([0.0, 0.0], 1).map(lambda x: x / 3).map(lambda x: 0).collect()
""",
    "records that all meet a condition that is a constant are counted": """\
def program(sc):
    rdd = sc.parallelize([{"a": None}, {"a": None}, {"a": None}], 1)
    rdd = rdd.filter(lambda x: 1 >= (re.search(r"[0-9]", "a").end() if x is None else 0))
    return rdd.count(), rdd.collect()
""",
    "pairs that a filter with a constant leaves are counted by key": """\
def program(sc):
    rdd = sc.parallelize([None, None, None], 1).map(lambda x: (1, 1))
    return rdd.filter(lambda x: len(str(x[0])) > 0).reduceByKey(operator.add).collect()
""",
    "an outer join gives the keys in the order of first sight": """\
def program(sc):
    rdd = sc.parallelize([(0, 1), (2, 5), (0, 2), (7, 1), (2, 9), (0, 3)], 2)
    other = sc.parallelize([(0, 5), (3, 1), (0, 6), (2, 1), (3, 9)], 2)
    empty = sc.parallelize([], 1)
    return [
        joined.collect()
        for right in (other, empty)
        for joined in (
            rdd.join(right), rdd.leftOuterJoin(right), rdd.rightOuterJoin(right),
            rdd.fullOuterJoin(right), rdd.subtractByKey(right), rdd.cogroup(right).keys(),
        )
    ]
""",
    "values that are all the same are as many as they are": """\
def program(sc):
    rdd = sc.parallelize([0.0, 0.0], 1).map(lambda x: (1, "a"))
    return rdd.groupByKey().mapValues(tuple).collect()
""",
    "a list of lists stays one": """\
def program(sc):
    rdd = sc.parallelize([("a", 1), ("b", 2)], 1)
    nested = rdd.flatMapValues(lambda v: [[v, v], [v, v]])
    return nested.collect(), rdd.map(lambda x: [(x[0], [x[1], x[1]])]).collect()
""",
    "a text that isn't Unicode is among the bounds of a sort": """\
def program(sc):
    rdd = sc.parallelize(['{"a": "\\\\ud800"}', '{"a": "a"}', '{"a": "b"}'], 2)
    by_text = rdd.sortBy(lambda x: json.loads(x)["a"])
    by_int = sc.parallelize([2**70, 5, 1], 3).sortBy(lambda x: x)
    return by_text.collect(), by_int.collect()
""",
    "a comprehension that nobody uses may raise": """\
def numbers(x):
    kept = [int(w) for w in x.split()]
    return x
def program(sc):
    rdd = sc.parallelize(["1 2", "3", "a"], 1)
    return rdd.map(numbers).collect()
""",
    "a part of a tuple that nobody uses may raise": """\
def program(sc):
    rdd = sc.parallelize(["1 2", "3", "a"], 1)
    return rdd.map(lambda x: ([int(w) for w in x.split()], x)[1]).collect()
""",
    "an iterator gives its items once": """\
def twice(x):
    lengths = map(len, x.split())
    return sum(lengths) + len(list(lengths))
def program(sc):
    return sc.parallelize(["a bb", "c"], 1).map(twice).collect()
""",
    "an iterator has no length": """\
def program(sc):
    return sc.parallelize(["a bb", "c"], 1).map(lambda x: len(map(len, x.split()))).sum()
""",
    "a key that is always no number is another one each time": """\
def program(sc):
    rdd = sc.parallelize(["a", "b"], 1).keyBy(lambda x: 0.0 + nan + len(x) * 0)
    other = sc.parallelize(["a", "b"], 1).keyBy(lambda x: 0.0 + nan + (1 + 1) / 2)
    return [each.groupByKey().mapValues(len).collect() for each in (rdd, other)]
""",
    "steps after partitions are put together fail at the record they fail at": """\
def program(sc):
    rdd = sc.parallelize([[0], [1], [], [2]], 1).flatMap(lambda x: [x[0], 1])
    return rdd.coalesce(1).map(lambda x: float("a" * (x + 1))).collect()
""",
    "dicts have no order": """\
def program(sc):
    rdd = sc.parallelize([("a", 1), ("b", 2)], 1)
    return rdd.sortBy(lambda x: {"a": x[0], "b": x[1]}).collect()
""",
    "a branch that isn't taken is rounded by nobody": """\
def rounded(x):
    if x <= 1:
        v = "a"
    else:
        v = "b"
    return round(x * 0.5, 2)
def program(sc):
    return sc.parallelize([0, 0, 2], 1).map(rounded).collect()
""",
    "a comprehension is true if it has items": """\
def program(sc):
    rdd = sc.parallelize(["", "a b"], 1)
    return rdd.map(lambda x: not [w for w in x.split()]).collect()
""",
    "a comprehension is taken before the other operand": """\
def program(sc):
    rdd = sc.parallelize(["", "a b"], 1)
    return rdd.map(lambda x: [len(w) for w in x.split()] or [0]).collect()
""",
}


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    """Return one runner for all programs."""
    with running() as made:
        yield made


@pytest.fixture(autouse=True)
def _no_strays() -> None:
    """The module's context outlives each test here."""


@pytest.mark.parametrize("claim", FOUND)
def test_columns_give_what_rows_give(runner: Runner, claim: str) -> None:
    """Value, type, order and error are the same."""
    case = runner.compare(FOUND[claim])

    assert case.columns == case.rows
