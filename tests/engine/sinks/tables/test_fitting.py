"""Frames become what a table takes, without any loss."""

import datetime
import decimal
from typing import Any

import polars as pl
import pytest

from millstream.engine.base.errors import SparkError
from millstream.engine.sinks.tables.fitting import fitted, stored, unified


def one(values: list[Any], dtype: pl.DataType) -> list[Any]:
    """Return values as a column of a type has them."""
    frames = [pl.DataFrame({"c": values})]
    return next(fitted(frames, {"c": dtype}, "table t"))["c"].to_list()


def test_schemas_become_one() -> None:
    """Types that go together are widened; a column of nothing but None is left out."""
    schemas = [
        pl.Schema({"a": pl.Int64(), "n": pl.Null(), "g": pl.Int64()}),
        pl.Schema({"a": pl.Float64(), "b": pl.String()}),
    ]

    found = unified(schemas, {"g": pl.Decimal(38, 2), "z": pl.Date()})

    assert dict(found) == {
        "g": pl.Decimal(38, 2),
        "z": pl.Date(),
        "a": pl.Float64(),
        "b": pl.String(),
    }
    with pytest.raises(SparkError, match="don't go together"):
        unified([pl.Schema({"a": pl.Binary()}), pl.Schema({"a": pl.Int64()})], {})


def test_a_type_without_a_place_is_told_with_its_column() -> None:
    """Nothing is made text unasked."""
    with pytest.raises(SparkError, match="column 'a' has values of type Int64"):
        stored({"a": pl.Int64()}, lambda _dtype: None)


def test_values_that_fit_are_converted() -> None:
    """Whole floats are whole numbers, and so on."""
    assert one([1.0, None], pl.Int32()) == [1, None]
    assert one([2], pl.Float64()) == [2.0]
    assert one([decimal.Decimal("1.50")], pl.Decimal(38, 1)) == [decimal.Decimal("1.5")]
    assert one([datetime.timedelta(seconds=1)], pl.Int64()) == [1_000_000]
    assert one([datetime.time(1, 2, 3, 4)], pl.String()) == ["01:02:03.000004"]
    assert one([None], pl.String()) == [None]
    assert one([float("nan"), 1.5], pl.Float32())[1] == 1.5


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (1.5, pl.Int64()),
        (300, pl.Int8()),
        (2**62 + 1, pl.Float64()),
        (decimal.Decimal("1.55"), pl.Decimal(38, 1)),
        ("1", pl.Int64()),
        (1, pl.String()),
        (datetime.datetime(2024, 1, 1), pl.Datetime("us", "UTC")),
        (datetime.date(2024, 1, 1), pl.Datetime("us")),
    ],
)
def test_values_that_would_change_are_refused(value: Any, dtype: pl.DataType) -> None:
    """The error names column and table."""
    with pytest.raises(SparkError, match="column 'c' of table t is"):
        one([value], dtype)


def test_columns_are_those_of_the_table() -> None:
    """In its order; None where a frame lacks one."""
    frames = [pl.DataFrame({"b": [1], "x": [2]}), pl.DataFrame({"a": ["s"]})]

    found = list(fitted(frames, {"a": pl.String(), "b": pl.Int64()}, "table t"))

    assert [frame.rows() for frame in found] == [[(None, 1)], [("s", None)]]
