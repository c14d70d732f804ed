"""Translating one drawn function, and comparing it with Python record by record.

Needs no job, so that many more functions are tried in a second than by whole programs.
"""

import itertools
import linecache
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import polars as pl
from tests.properties.columnar.drawing import PRELUDE
from tests.properties.columnar.running import Answer, Case, exact, told

from millstream.engine.columnar import containers, shapes
from millstream.engine.columnar.lowering import Lowering
from millstream.engine.columnar.values import (
    Comprehension,
    Refusal,
    Translation,
    leaves,
    shape_of,
    value_of,
)

_numbers = itertools.count()


def compare_function(source: str) -> Case:
    """Run a drawn function over its records, and its translation over their columns."""
    name = f"<function {next(_numbers)}>"
    text = PRELUDE + source
    # Without a time the entry isn't checked against a file.
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            names: dict[str, Any] = {"__name__": "drawn"}
            exec(compile(text, name, "exec"), names)
            function, records = names["FUNCTION"], names["RECORDS"]
            rows = _answer(lambda: list(map(function, records)))
            columns, note = _in_columns(function, records)
    except SyntaxError:
        nothing = Answer("", "no program")
        return Case(nothing, nothing, {})
    finally:
        linecache.cache.pop(name, None)
    return Case(rows, rows if columns is None else columns, {note: 1})


def _answer(make: Callable[[], Any]) -> Answer:
    try:
        return Answer(exact(make()))
    except Exception as error:
        return Answer("", told(error))


def _in_columns(function: Any, records: list[Any]) -> tuple[Answer | None, str]:
    shape = shapes.infer_shape(records)
    frame = None if shape is None else shapes.to_frame(records, shape)
    if shape is None or frame is None:
        return None, "no shape"
    try:
        return _translated(function, shape, frame)
    except Refusal as refusal:
        return None, f"refused: {refusal}"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        return Answer("", f"broken: {told(error)}"), "broken"


def _translated(
    function: Any, shape: shapes.Shape, frame: pl.DataFrame
) -> tuple[Answer | None, str]:
    def sample(lets: Sequence[tuple[str, pl.Expr]], expr: pl.Expr) -> list[Any]:
        values: list[Any] = (
            _with(frame.head(5).lazy(), lets)
            .select(expr)
            .collect()
            .to_series()
            .to_list()
        )
        return values

    t = Translation(sample)
    count = shapes.column_count(shape)
    record = value_of(shape, map(pl.col, shapes.column_names(count)))
    value = Lowering(t, lambda _: None).call(function, [record])
    if isinstance(value, Comprehension):
        value = containers.as_list(t, value)
    given, exprs = shape_of(value), leaves(value)
    guards = [each.bad.fill_null(True) for each in t.guards]
    named = [expr.alias(f"c{at}") for at, expr in enumerate(exprs)]
    named += [bad.alias(f"guard{at}") for at, bad in enumerate(guards)]
    query = _with(frame.lazy().with_row_index("position"), t.lets)
    try:
        made = query.select("position", *named).collect(engine="streaming")
    except pl.exceptions.PolarsError as error:
        return None, f"guard: {type(error).__name__}: {str(error)[:60]}"
    for at, guard in enumerate(t.guards):
        if made[f"guard{at}"].any():
            return None, f"guard: {guard.reason}"
    kept = made.select(f"c{at}" for at in range(len(exprs)))
    if not exprs:
        kept = shapes.blank_frame(made.height)
    return _answer(lambda: shapes.to_rows(kept, given)), "columns"


def _with(frame: pl.LazyFrame, lets: Sequence[tuple[str, pl.Expr]]) -> pl.LazyFrame:
    for name, expr in lets:
        frame = frame.with_columns(expr.alias(name))
    return frame
