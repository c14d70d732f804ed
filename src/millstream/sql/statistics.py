"""Statistics: what DataFrames say of themselves where the engine says otherwise than Spark.

Its tables of statistics have no order, and its percentiles aren't values that occur.
"""

from collections.abc import Sequence
from typing import Any

from millstream.sql import client, repairs

_DESCRIBED = ("count", "mean", "stddev", "min", "max")
_SUMMARY = ("count", "mean", "stddev", "min", "25%", "50%", "75%", "max")


def described(made: Any) -> Any:
    """Return the outcome of `describe` in Spark's order."""
    return _ordered(made, _DESCRIBED)


def summary(frame: Any, compute: Any, statistics: Sequence[str]) -> Any:
    """Return statistics of all columns of numbers and texts, in the order asked for.

    `compute(frame, *names)` is the client's own `summary`.
    """
    wanted = tuple(statistics) or _SUMMARY
    shares = {name: float(name[:-1]) / 100 for name in wanted if name.endswith("%")}
    others = [name for name in wanted if name not in shares]
    # The count tells which columns there are, when nothing else is asked for.
    made = compute(frame, *(others or ["count"]))
    if not shares:
        return _ordered(made, wanted)
    names = made.columns[1:]
    known = {row[0]: row for row in made.collect()}
    for name, found in zip(shares, _percentiles(frame, names, shares), strict=True):
        known[name] = (name, *found)
    rows = [tuple(known[name]) for name in wanted]
    return frame.sparkSession.createDataFrame(rows, made.schema)


def _percentiles(
    frame: Any, names: Sequence[str], shares: dict[str, float]
) -> list[list[str | None]]:
    functions = client.module("sql.functions")
    numbers = {name for name, kind in frame.dtypes if kind != "string"}
    columns = [
        repairs.percentile(functions.col(f"`{name}`"), share, functions).cast("string")
        if name in numbers
        else functions.lit(None).cast("string")
        for share in shares.values()
        for name in names
    ]
    aliased = [each.alias(f"_{place}") for place, each in enumerate(columns)]
    values = list(frame.agg(*aliased).first())
    width = len(names)
    return [values[start : start + width] for start in range(0, len(values), width)]


def _ordered(made: Any, wanted: Sequence[str]) -> Any:
    places = {name: place for place, name in reversed(list(enumerate(wanted)))}
    rows = sorted(made.collect(), key=lambda row: places.get(row[0], len(places)))
    return made.sparkSession.createDataFrame([tuple(row) for row in rows], made.schema)


def quantiles(
    frame: Any, names: str | Sequence[str], shares: Sequence[float]
) -> list[float] | list[list[float]]:
    """Return the quantiles of one column, or of each of several: values that occur.

    They are exact, whatever error is allowed.
    """
    functions = client.module("sql.functions")
    every = [names] if isinstance(names, str) else list(names)
    columns = [
        repairs.percentile(functions.col(f"`{name}`"), float(share), functions)
        .cast("double")
        .alias(f"_{at}_{place}")
        for at, name in enumerate(every)
        for place, share in enumerate(shares)
    ]
    values = list(frame.agg(*columns).first())
    width = len(shares)
    found = [
        [each for each in values[start : start + width] if each is not None]
        for start in range(0, len(values), width)
    ]
    return found[0] if isinstance(names, str) else found


def crossed(made: Any) -> Any:
    """Return the outcome of `crosstab` with its columns and rows in order."""
    first, *rest = made.columns
    functions = client.module("sql.functions")
    columns = [functions.col(f"`{name}`") for name in (first, *sorted(rest))]
    return made.select(*columns).orderBy(columns[0])


def in_both_as_often(left: Any, right: Any) -> Any:
    """Return rows of two frames as often as both have them, for `intersectAll`."""
    functions = client.module("sql.functions")
    window = client.module("sql.window").Window
    names = left.columns
    same = window.partitionBy(*[functions.col(f"`{name}`") for name in names])

    def numbered(frame: Any) -> Any:
        number = functions.row_number().over(same.orderBy(functions.lit(1)))
        return frame.toDF(*names).withColumn(_NUMBER, number)

    return numbered(left).intersect(numbered(right)).drop(_NUMBER)


_NUMBER = "millstream__number"
