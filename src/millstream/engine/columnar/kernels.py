"""Kernels: Python's own functions over the values of columns, where Polars differs.

What Polars says is taken for the records it is right for; for the odd ones among them
Python is asked. So an operation is exact by what it calls, and fast where nothing is odd.
"""

from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from millstream.engine.columnar.values import Constant, Scalar, Translation, Value


def corrected(
    t: Translation,
    native: pl.Expr,
    odd: pl.Expr,
    inputs: Sequence[pl.Expr],
    function: Callable[..., Any],
    reason: str,
) -> pl.Expr:
    """Return a column of what `native` says, and where `odd` holds, what `function` does.

    `function` takes the values of `inputs`, none of which is None: where one is, the
    result is null. Where it raises, or its result is too large for the type of `native`,
    the block takes the row path, for this reason.

    A hopeful translation asks nobody, and guards against odd records: most blocks have
    none, and to look at each costs a call of Python for every few thousand.
    """
    if t.is_hopeful:
        column = t.let(native)
        t.guard(odd, reason, is_hope=True)
        if not odd.meta.eq(column.is_null()):
            t.guard(column.is_null(), reason, is_hope=True)
        return column
    return checked(t, corrected_unchecked(native, odd, inputs, function), reason)


def corrected_unchecked(
    native: pl.Expr,
    odd: pl.Expr,
    inputs: Sequence[pl.Expr],
    function: Callable[..., Any],
) -> pl.Expr:
    """Return what `corrected` does, as an expression: it is null where it isn't known."""
    return pl.map_batches(
        [native, odd, *inputs],
        _corrector(function),
        return_dtype=pl.dtype_of(native),
        is_elementwise=True,
    )


def computed(
    t: Translation,
    inputs: Sequence[pl.Expr],
    function: Callable[..., Any],
    dtype: Any,
    reason: str,
) -> pl.Expr:
    """Return a column of what `function` says of the values of `inputs`.

    Otherwise as `corrected`.
    """
    return checked(t, computed_unchecked(inputs, function, dtype), reason)


def computed_unchecked(
    inputs: Sequence[pl.Expr], function: Callable[..., Any], dtype: Any
) -> pl.Expr:
    """Return what `computed` does, as an expression: it is null where it isn't known."""
    return pl.map_batches(
        inputs, _computer(function, dtype), return_dtype=dtype, is_elementwise=True
    )


def checked(t: Translation, made: pl.Expr, reason: str) -> pl.Expr:
    """Return a column of `made`, where null means that only the row path knows better."""
    column = t.let(made)
    t.guard(column.is_null(), reason)
    return column


def with_values(
    function: Callable[..., Any], values: Sequence[Value]
) -> tuple[list[Scalar], Callable[..., Any]] | None:
    """Return the columns among `values`, and `function` as a function of these only.

    None when there is something else among the values than constants and columns.
    """
    columns: list[Scalar] = []
    places: list[int] = []
    arguments: list[Any] = []
    for place, value in enumerate(values):
        match value:
            case Constant(constant):
                arguments.append(constant)
            case Scalar():
                arguments.append(None)
                columns.append(value)
                places.append(place)
            case _:
                return None
    if places == list(range(len(arguments))):
        return columns, function

    def call(*varying: Any) -> Any:
        filled = list(arguments)
        for place, value in zip(places, varying, strict=True):
            filled[place] = value
        return function(*filled)

    return columns, call


def _computer(
    function: Callable[..., Any], dtype: Any
) -> Callable[[Sequence[pl.Series]], pl.Series]:
    def compute(columns: Sequence[pl.Series]) -> pl.Series:
        return _series(_ask_each(function, _of_one_length(columns)), dtype)

    return compute


def _corrector(
    function: Callable[..., Any],
) -> Callable[[Sequence[pl.Series]], pl.Series]:
    def correct(columns: Sequence[pl.Series]) -> pl.Series:
        native, odd, *inputs = columns
        if not odd.any():
            return native
        native, odd, *inputs = _of_one_length(columns)
        # No query is run in here, for it might wait for the one that it is part of: so
        # only such methods of series are called as do their work themselves.
        places = [place for place, is_odd in enumerate(odd.to_list()) if is_odd]
        asked = [column.filter(odd) for column in inputs]
        if native.dtype.is_nested():
            return _patched(native, places, _ask_each(function, asked))
        answers = _series(_ask_each(function, asked), native.dtype)
        return native.clone().scatter(pl.Series(places, dtype=pl.UInt32), answers)

    return correct


def _patched(
    native: pl.Series, places: Sequence[int], answers: Sequence[Any]
) -> pl.Series:
    """Return lists with some of them put in place of others."""
    # Series can't be scattered into lists.
    values = native.to_list()
    for place, answer in zip(places, answers, strict=True):
        values[place] = answer
    return _series(values, native.dtype)


def _of_one_length(columns: Sequence[pl.Series]) -> list[pl.Series]:
    # A literal comes as one value, however many records there are.
    lengths = set(map(len, columns))
    if len(lengths) == 1:
        return list(columns)
    (length,) = lengths - {1}
    return [
        column if len(column) == length else column.new_from_index(0, length)
        for column in columns
    ]


def _ask_each(function: Callable[..., Any], inputs: Sequence[pl.Series]) -> list[Any]:
    values = [column.to_list() for column in inputs]
    return [_ask(function, row) for row in zip(*values, strict=True)]


def _series(values: list[Any], dtype: Any) -> pl.Series:
    """Return values of a type, null for those that don't fit it."""
    try:
        return pl.Series(values, dtype=dtype, strict=True)
    except (OverflowError, UnicodeError, TypeError, pl.exceptions.PolarsError):
        return pl.Series([_if_it_fits(value, dtype) for value in values], dtype=dtype)


def _ask(function: Callable[..., Any], row: tuple[Any, ...]) -> Any:
    if any(value is None for value in row):
        return None
    try:
        return function(*row)
    except Exception:
        return None  # The row path will raise it.


def _if_it_fits(value: Any, dtype: Any) -> Any:
    try:
        pl.Series([value], dtype=dtype, strict=True)
    except (OverflowError, UnicodeError, TypeError, pl.exceptions.PolarsError):
        return None
    return value
