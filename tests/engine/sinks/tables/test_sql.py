"""What the sinks of SQL databases share: names, columns, statements."""

import datetime

import polars as pl
import pytest

from millstream.engine.base.errors import (
    PySparkTypeError,
    PySparkValueError,
    SparkError,
)
from millstream.engine.sinks.tables import sql as sql_tables


def test_a_name_can_not_leave_its_quotes() -> None:
    """Quotes in it are doubled; what no database takes is refused."""
    assert sql_tables.quoted('x"; DROP TABLE y; --') == '"x""; DROP TABLE y; --"'
    for name in ("", "a\0b"):
        with pytest.raises(PySparkValueError):
            sql_tables.quoted(name)


def test_a_table_may_be_in_a_schema() -> None:
    """By a dot, or as a pair, whose names may have dots."""
    assert sql_tables.parts_of("t") == ("t",)
    assert sql_tables.parts_of("s.t") == ("s", "t")
    assert sql_tables.parts_of(("s", "t.u")) == ("s", "t.u")
    assert sql_tables.qualified(("s", "t.u")) == '"s"."t.u"'
    for wrong in ("a.b.c", "a.", "", ()):
        with pytest.raises(PySparkTypeError):
            sql_tables.parts_of(wrong)


@pytest.mark.parametrize(
    ("mode", "key"),
    [("insert", ()), ("upsert", ()), ("upsert", "id"), ("append", ["id"])],
)
def test_mode_and_key_go_together(mode: str, key: list[str]) -> None:
    """An upsert has a key, a list, and nothing else has."""
    with pytest.raises(PySparkValueError):
        sql_tables.check_mode(mode, key)


def test_columns_that_a_table_lacks_are_named() -> None:
    """Those of nothing but None aren't missed."""
    frame = pl.DataFrame({"a": [1], "b": ["x"], "c": [None]})

    assert sql_tables.new_columns(frame, ["a"], "table t", evolve=True) == ["b"]
    assert sql_tables.without_unknown(frame, ["a", "b"]).columns == ["a", "b"]
    with pytest.raises(SparkError, match="table t has no column 'b'"):
        sql_tables.new_columns(frame, ["a"], "table t", evolve=False)


def test_types_are_those_given_or_those_of_the_values() -> None:
    """A column of nothing but None has a type only if one is given."""
    frame = pl.DataFrame({"a": [1], "n": [None], "m": [None]})

    def type_of(dtype: pl.DataType) -> str | None:
        return "integer" if dtype == pl.Int64 else None

    found = sql_tables.types_for(frame, {"n": "text", "z": "date"}, type_of)

    assert list(found.items()) == [("a", "integer"), ("n", "text"), ("z", "date")]
    with pytest.raises(SparkError, match="column 'f' has values of type Float64"):
        sql_tables.types_for(pl.DataFrame({"f": [1.5]}), {}, type_of)


def test_a_table_is_made_with_its_key() -> None:
    """Records must have its columns."""
    with pytest.raises(SparkError, match="no column 'id'"):
        sql_tables.create_table('"t"', {"a": "text"}, ["id"])


def test_rows_of_a_key_alone_stay_as_they_are() -> None:
    """There is nothing to change in them."""
    assert sql_tables.on_conflict(["k"], ["k"]) == 'ON CONFLICT ("k") DO NOTHING'


def test_lists_and_dicts_become_json() -> None:
    """None stays None, and what JSON lacks is text."""
    values = [{"a": [1], "d": datetime.date(2024, 1, 2)}, None]

    assert sql_tables.as_json(pl.Series("s", values)).to_list() == [
        '{"a": [1], "d": "2024-01-02"}',
        None,
    ]
