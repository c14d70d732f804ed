"""Programs of which columns once made something else than rows, as they were drawn."""

import datetime
import json
from collections.abc import Callable
from typing import Any

import pytest

from millstream import SparkConf, SparkContext
from millstream.engine.base.errors import JobFailedError

GOOD = '{"a": 0, "b": "a"}'


def first_if_a_number(a: Any, b: Any) -> Any:
    """Return the first, if the first of both is a number."""
    del b
    number = int(a[0])
    number + number
    return a


PROGRAMS: list[Callable[[SparkContext], object]] = [
    # The careful plan, made when a hope failed, knew fewer steps than the hopeful one.
    lambda sc: (
        sc.parallelize([GOOD] * 4 + ["{}"] + [GOOD] * 2, 2)
        .map(lambda x: (json.loads(x)["b"], json.loads(x)["a"], len(x) / 4))
        .count()
    ),
    # A reduction that computes what may raise, and throws it away.
    lambda sc: (
        sc.parallelize(["a"] * 5, 1).map(lambda x: (x, 0)).reduce(first_if_a_number)
    ),
    lambda sc: (
        sc.parallelize([("a", "b")] * 5, 1).reduceByKey(first_if_a_number).collect()
    ),
    lambda sc: sc.parallelize([datetime.date(2024, 1, 15)] * 4, 1).reduce(
        lambda a, b: (a, datetime.date.fromisoformat("a".lower()), b)[0]
    ),
]


@pytest.mark.parametrize("program", PROGRAMS, ids=range(len(PROGRAMS)))
def test_it_fails_as_it_does_by_rows(program: Callable[[SparkContext], object]) -> None:
    """With the user's own error."""
    told = []
    for mode in ("off", "on"):
        conf = SparkConf().setMaster("local").setAppName("found")
        conf.set("spark.millstream.columnar", mode)
        conf.set("spark.millstream.columnar.rows.min", "0")
        with SparkContext(conf=conf) as sc, pytest.raises(JobFailedError) as caught:
            program(sc)
        told.append(repr(caught.value.user_error))
    assert told[0] == told[1]
