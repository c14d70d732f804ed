"""Programs with bad records beside the same programs over the good ones only."""

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.marking import Marker

from millstream import RDD, SparkConf, SparkContext

pytestmark = pytest.mark.slow


def refuse_five(number: int) -> int:
    """Return a number that isn't 5."""
    if number == 5:
        raise KeyError(number)
    return number


STEPS: list[tuple[str, Callable[[Any], Any]]] = [
    ("map", lambda x: 10 // x),
    ("map", lambda x: x + 1),
    ("map", lambda x: 100 // (x - 3)),
    ("filter", lambda x: 12 % x > 1),
    ("filter", lambda x: x != 2),
    ("flatMap", lambda x: [x, 10 // (x - 1)]),
    ("flatMap", range),
    ("map", refuse_five),
]
ENDINGS: list[tuple[Callable[[RDD[int]], Any], Callable[[list[int]], Any]]] = [
    (lambda r: r.collect(), lambda d: d),
    (lambda r: r.count(), len),
    (lambda r: r.sum(), sum),
    (
        lambda r: sorted(r.map(lambda x: (x % 3, x)).reduceByKey(max).collect()),
        lambda d: sorted({k: max(x for x in d if x % 3 == k) for k in {x % 3 for x in d}}.items()),
    ),
    (
        lambda r: sorted((k, list(v)) for k, v in r.keyBy(abs).groupByKey().collect()),
        lambda d: sorted((k, [x for x in d if abs(x) == k]) for k in {abs(x) for x in d}),
    ),
    (lambda r: r.glom().flatMap(list).collect(), lambda d: d),
]  # fmt: skip
MODES = {
    "off": {"spark.millstream.columnar": "off"},
    "columns": {"spark.millstream.columnar.rows.min": "1"},
    "verify": {
        "spark.millstream.columnar": "verify",
        "spark.millstream.columnar.rows.min": "1",
    },
    "processes": {"spark.millstream.processes": "always"},
}


@pytest.fixture(scope="module", params=MODES)
def module_sc(request: pytest.FixtureRequest) -> Iterator[SparkContext]:
    """Return one context for all examples of a mode."""
    conf = SparkConf(loadDefaults=False).setMaster("local[2]").setAppName("bad records")
    with SparkContext(conf=conf.setAll(MODES[request.param].items())) as context:
        yield context


@pytest.fixture(autouse=True)
def _no_strays() -> None:
    """The module's context outlives each test here."""


def made_of(record: int, steps: list[tuple[str, Callable[[Any], Any]]]) -> list[Any]:
    """Return what steps make of one record, or raise what comes first.

    Each row goes through all steps before the next one is made, as in a task.
    """
    rows: Iterable[Any] = [record]
    for kind, function in steps:
        match kind:
            case "map":
                rows = map(function, rows)
            case "filter":
                rows = filter(function, rows)
            case _:
                rows = chain.from_iterable(map(function, rows))
    return list(rows)


@given(
    st.lists(st.integers(-2, 9), max_size=40),
    st.integers(1, 3),
    st.lists(st.sampled_from(STEPS), min_size=1, max_size=4),
    st.sampled_from(ENDINGS),
)
def test_the_rest_is_as_if_bad_records_were_never_there(
    module_sc: SparkContext,
    data: list[int],
    count: int,
    steps: list[Any],
    ending: tuple[Callable[[RDD[Any]], Any], Callable[[list[Any]], Any]],
) -> None:
    """And what was taken out is what raises, alone, each where it was."""
    source = module_sc.parallelize(data, count)
    good: list[Any] = []
    bad: list[tuple[int, int, str]] = []
    for part, records in enumerate(source.glom().collect()):
        before = len(bad)
        for at, record in enumerate(records):
            try:
                good += made_of(record, steps)
            except Exception as error:
                bad.append((part, at, type(error).__name__))
        assume(len(records) < 10 or len(bad) - before < len(records))
    marker = Marker()
    stream = marker.mark(source)
    for kind, function in steps:
        stream = getattr(stream, kind)(function)

    act, model = ending

    assert act(stream) == model(good)
    assert marker.places == [(part, at) for part, at, _ in bad]
    assert [each.error for each in marker.records] == [kind for _, _, kind in bad]
    kept = [json.loads(each.record or "null") for each in marker.records]
    assert kept == [source.glom().collect()[part][at] for part, at, _ in bad]


@given(st.lists(st.integers(0, 9), max_size=60), st.integers(1, 3))
def test_functions_of_whole_partitions_are_split_until_the_bad_are_alone(
    module_sc: SparkContext, data: list[int], count: int
) -> None:
    """A partition function sees the good records of its partition, and no others."""
    source = module_sc.parallelize(data, count)
    parts = source.glom().collect()
    assume(all(len(part) < 10 or set(part) - {0, 7} for part in parts))
    marker = Marker()
    known = {row: row for row in range(10) if row != 7}

    def totals(rows: Iterator[int]) -> list[float]:
        return [sum(1 / known[row] for row in rows)]

    made = marker.mark(source).mapPartitions(totals).collect()

    good = [[row for row in part if row not in {0, 7}] for part in parts]
    assert made == [sum(1 / row for row in part) for part in good]
    assert marker.places == [
        (part, at)
        for part, rows in enumerate(parts)
        for at, row in enumerate(rows)
        if row in {0, 7}
    ]
