"""Evaluating: what a translated value is for each record, or which guard fired."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from millstream.engine.columnar import shapes
from millstream.engine.columnar.shapes import to_frame, to_rows
from millstream.engine.columnar.values import (
    Translation,
    Value,
    leaves,
    shape_of,
    value_of,
)


@dataclass(frozen=True, slots=True)
class Raised:
    """An error instead of a value."""

    error: str


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The records that came out, and for each the reasons of guards that fired."""

    records: list[Any]
    guarded: list[list[str]]


def evaluate(
    translate: Callable[[Translation, Value], Value], rows: Sequence[Any]
) -> Evaluation:
    """Return what `translate` makes of these rows, over a frame of them."""
    shape = shapes.infer_shape(rows)
    assert shape is not None, f"the rows have no shape: {rows[:5]}"
    frame = to_frame(rows, shape)
    assert frame is not None, "the rows have no frame"
    columns = map(pl.col, frame.columns)

    def sample(lets: Sequence[tuple[str, pl.Expr]], expr: pl.Expr) -> list[Any]:
        made = _with_lets(frame.head(100).lazy(), lets).select(expr.alias("x"))
        return list(made.collect()["x"].to_list())

    t = Translation(sampler=sample)
    result = translate(t, value_of(shape, columns))
    exprs = [expr.alias(f"c{n}") for n, expr in enumerate(leaves(result))]
    guards = [guard.bad.alias(f"g{n}") for n, guard in enumerate(t.guards)]
    lazy = _with_lets(frame.lazy(), t.lets).with_columns(pl.lit(True).alias("blank"))
    made = lazy.select("blank", *exprs, *guards).collect(engine="streaming")
    own = made.select([f"c{n}" for n in range(len(exprs))] or ["blank"])
    fired: list[list[str]] = [[] for _ in rows]
    for n, guard in enumerate(t.guards):
        for place in made[f"g{n}"].fill_null(value=True).arg_true():
            fired[place].append(guard.reason)
    return Evaluation(to_rows(own, shape_of(result)), fired)


def _with_lets(lazy: pl.LazyFrame, lets: Sequence[tuple[str, pl.Expr]]) -> pl.LazyFrame:
    for name, expr in lets:
        lazy = lazy.with_columns(expr.alias(name))
    return lazy


def outcome(function: Callable[[Any], Any], row: Any) -> Any:
    """Return what Python says of a row: a value, or that it raises."""
    try:
        return function(row)
    except Exception as error:
        return Raised(type(error).__name__)


def exact(value: Any) -> Any:
    """Return what two values share only if they are equal in type, too."""
    match value:
        case tuple() | list():
            return type(value), [exact(item) for item in value]
        case dict():
            return [(exact(key), exact(item)) for key, item in value.items()]
        case _:
            return type(value), repr(value)


def check(
    translate: Callable[[Translation, Value], Value],
    function: Callable[[Any], Any],
    rows: Sequence[Any],
    *,
    ordinary: bool = False,
) -> None:
    """Assert that columns say of every row what Python says, or that a guard fired.

    Of `ordinary` rows no guard may fire, unless Python raises.
    """
    made = evaluate(translate, rows)
    outcomes = [outcome(function, row) for row in rows]
    if not any(made.guarded) and repr(made.records) == repr(outcomes):
        return  # As most are: equal as a whole, and in type, as repr shows it.
    for row, record, fired, expected in zip(
        rows, made.records, made.guarded, outcomes, strict=True
    ):
        if isinstance(expected, Raised):
            assert fired, f"{row!r}: {record!r} instead of {expected.error}"
        elif not fired:
            assert exact(record) == exact(expected), f"{row!r}: {record!r}"
        else:
            assert not ordinary, f"{row!r}: guarded by {fired}"
