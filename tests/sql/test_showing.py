"""Tests of sql/showing.py: tables as Spark draws them; the golden queries have more."""

import math
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from millstream.sql import showing
from millstream.sql.showing import drawn, writers

types = pytest.importorskip("millstream.sql.types")


def table(rows: list[list[str]], *, cut_to: int = 20, has_more: bool = False) -> str:
    """Draw rows of one or two columns."""
    names = ["a", "letters"][: len(rows[0])] if rows else ["a"]
    return drawn(names, rows, cut_to=cut_to, has_more=has_more, is_vertical=False)


def test_cells_are_set_to_the_right_and_cut() -> None:
    """Unless they are not to be cut: then to the left."""
    text = "abcdefghijklmnopqrstuvwxyz"

    assert table([["1", text]]) == (
        "+---+--------------------+\n"
        "|  a|             letters|\n"
        "+---+--------------------+\n"
        "|  1|abcdefghijklmnopq...|\n"
        "+---+--------------------+\n"
    )
    assert f"|1  |{text}|\n" in table([["1", text]], cut_to=0)
    assert "|ab|" not in table([[text]], cut_to=2)
    assert "| ab|\n" in table([[text]], cut_to=2)
    assert "|a...|\n" in table([[text]], cut_to=4)


def test_letters_are_counted_as_java_counts_them() -> None:
    """Beyond the basic plane two, of which a half may be left; full width takes two."""
    assert "|  水|\n" not in table([["水"]])
    assert "| 水|\n" in table([["水"]])
    assert "| 🌊|\n" in table([["🌊"]])
    assert "|🌊?...|\n" in table([["🌊🌊🌊🌊"]], cut_to=6)


def test_what_isnt_shown_is_told() -> None:
    """In words, for one row and for more; nothing when that was all."""
    assert table([["1"]], has_more=True).endswith("only showing top 1 row")
    assert table([["1"], ["2"]], has_more=True).endswith("only showing top 2 rows")
    assert table([["1"]]).endswith("+---+\n")


def test_rows_can_be_below_each_other() -> None:
    """A line a column, and no rows are told."""
    text = drawn(
        ["a", "long"], [["1", "x"]], cut_to=20, has_more=False, is_vertical=True
    )

    assert text == "-RECORD 0---\n a    | 1   \n long | x   \n"
    none = drawn(["a"], [], cut_to=20, has_more=False, is_vertical=True)
    assert none == "(0 rows)"


def test_control_characters_are_written_out() -> None:
    """They would tear the table apart."""
    assert "|\\n\\t\\r|\n" in table([["\n\t\r"]])


NUMBERS = [
    (0.0, "0.0"),
    (-0.0, "-0.0"),
    (1.0, "1.0"),
    (123.456, "123.456"),
    (0.001, "0.001"),
    (0.0001, "1.0E-4"),
    (9999999.0, "9999999.0"),
    (1e7, "1.0E7"),
    (-1.5e300, "-1.5E300"),
    (math.inf, "Infinity"),
    (-math.inf, "-Infinity"),
    (math.nan, "NaN"),
]


@pytest.mark.parametrize(("value", "text"), NUMBERS)
def test_numbers_are_written_as_java_writes_them(value: float, text: str) -> None:
    """With an exponent below a thousandth, and from ten millions on."""
    (write,) = writers(types.StructType().add("x", "double"), UTC) or []

    assert write(value) == text


VALUES: list[tuple[str, Any, str]] = [
    ("string", None, "NULL"),
    ("boolean", True, "true"),
    ("float", 0.10000000149011612, "0.1"),
    ("decimal(10,3)", Decimal("1.500"), "1.500"),
    ("decimal(38,18)", Decimal("1E-18"), "0.000000000000000001"),
    ("date", date(1, 2, 3), "0001-02-03"),
    ("binary", b"\x0a\xff", "[0A FF]"),
    ("timestamp_ntz", datetime(2026, 1, 2, 3, 4, 5), "2026-01-02 03:04:05"),
    (
        "timestamp",
        datetime(2026, 1, 2, 3, 4, 5, 120000, tzinfo=UTC),
        "2026-01-02 05:04:05.12",
    ),
]


@pytest.mark.parametrize(("kind", "value", "text"), VALUES)
def test_values_are_written_as_spark_writes_them(
    kind: str, value: Any, text: str
) -> None:
    """Moments in the session's time zone."""
    plain = types.StructType().add("x", types.StringType())
    plain.fields[0].dataType = kind_of(kind)
    (write,) = writers(plain, timezone(timedelta(hours=2))) or []

    assert write(value) == text


def kind_of(name: str) -> Any:
    """Return a type by its name, without a session that would parse it."""
    if name.startswith("decimal"):
        precision, scale = name[8:-1].split(",")
        return types.DecimalType(int(precision), int(scale))
    return {
        "string": types.StringType(),
        "boolean": types.BooleanType(),
        "float": types.FloatType(),
        "date": types.DateType(),
        "binary": types.BinaryType(),
        "timestamp_ntz": types.TimestampNTZType(),
        "timestamp": types.TimestampType(),
    }[name]


def test_nested_values_are_written_too() -> None:
    """And what has a type that isn't known here is left to the engine."""
    inner = types.StructType().add("k", "string").add("n", "integer")
    schema = (
        types.StructType()
        .add("a", types.ArrayType(types.IntegerType()))
        .add("m", types.MapType(types.StringType(), inner))
    )
    of_array, of_map = writers(schema, UTC) or []

    assert of_array([1, None]) == "[1, NULL]"
    assert of_map([("x", {"k": None, "n": 2})]) == "{x -> {NULL, 2}}"
    days = types.StructType().add("d", types.DayTimeIntervalType())
    assert writers(days, UTC) is None
    assert writers(types.StructType().add("a", types.ArrayType(days)), UTC) is None


def test_a_zone_that_isnt_known_is_left_to_the_engine() -> None:
    """It knows other spellings."""
    assert showing._zone("GMT+1:30") is None
    assert str(showing._zone("Asia/Tokyo")) == "Asia/Tokyo"
