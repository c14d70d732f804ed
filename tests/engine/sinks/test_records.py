"""Records: tables of whatever records a stream has, with the names that they bring."""

import datetime
from dataclasses import dataclass
from typing import Any, NamedTuple

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from millstream.engine.base.errors import SparkError
from millstream.engine.columnar.blocks import Columns
from millstream.engine.columnar.shapes import DictOf, Kind, Plain, TupleOf, to_frame
from millstream.engine.plan.partitions import freeze
from millstream.engine.sinks.records import Records, table_of
from millstream.sql import Row


class Point(NamedTuple):
    """A record."""

    x: int
    y: int


@dataclass
class Person:
    """A record."""

    name: str
    age: int


@pytest.mark.parametrize(
    ("rows", "table"),
    [
        ([{"a": 1, "b": "x"}, {"b": "y", "c": 2.5}], {"a": [1, None], "b": ["x", "y"], "c": [None, 2.5]}),
        ([(1, "x"), (2, None)], {"_1": [1, 2], "_2": ["x", None]}),
        ([Point(1, 2)], {"x": [1], "y": [2]}),
        ([Row(name="Ann", age=3)], {"name": ["Ann"], "age": [3]}),
        ([Person("Ann", 3)], {"name": ["Ann"], "age": [3]}),
        ([1, None, 3], {"value": [1, None, 3]}),
        ([1, 2.5], {"value": [1.0, 2.5]}),
        ([{"t": [1, 2], "u": {"v": "w"}}], {"t": [[1, 2]], "u": [{"v": "w"}]}),
        ([datetime.date(2020, 1, 2)], {"value": [datetime.date(2020, 1, 2)]}),
    ],
)  # fmt: skip
def test_records_name_their_columns(rows: list[Any], table: dict[str, Any]) -> None:
    """By keys, fields or places; what one lacks is None."""
    assert table_of(rows).to_dict(as_series=False) == table


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"a": 1}, (1,)], "aren't of one kind"),
        ([(1, 2), (1,)], "different lengths"),
        ([{1: 2}], "must be text"),
        ([{"a": 1}, {"a": "x"}], "column 'a' can't hold its values, of type int, str"),
        ([{"a": 1 << 70}], "column 'a' can't hold its values, of type int"),
        ([{"a": object()}], "column 'a' can't hold its values, of type object"),
    ],
)
def test_what_is_no_table_is_told(rows: list[Any], message: str) -> None:
    """With the column and the types in it."""
    with pytest.raises(SparkError, match=message):
        table_of(rows)


def test_columns_become_tables_without_objects() -> None:
    """Pairs and dicts of plain values keep their frames; others go by objects."""
    text, number = Plain(Kind.STR), Plain(Kind.INT)
    pairs = TupleOf((text, number))
    dicts = DictOf(("word", "count"), (text, number))
    nested = TupleOf((text, TupleOf((number, number))))
    for shape, rows, expected in (
        (pairs, [("a", 1), ("b", 2)], {"_1": ["a", "b"], "_2": [1, 2]}),
        (dicts, [{"word": "a", "count": 1}], {"word": ["a"], "count": [1]}),
        (nested, [("a", (1, 2))], {"_1": ["a"], "_2": [(1, 2)]}),
    ):
        block = Columns(to_frame(rows, shape), shape)
        made = Records([block]).table()
        if shape is nested:
            assert [tuple(each) for each in made["_2"]] == expected["_2"]
        else:
            assert made.to_dict(as_series=False) == expected
        assert list(Records([block])) == rows


def test_pieces_of_any_kind_are_one_table() -> None:
    """Types that differ between them are widened."""
    columns = Columns(to_frame([1, 2], Plain(Kind.INT)), Plain(Kind.INT))
    made = Records([columns, freeze([3]), iter([4.5])], ["n"]).table()

    assert_frame_equal(made, pl.DataFrame({"n": [1.0, 2.0, 3.0, 4.5]}))


def test_given_names_must_fit() -> None:
    """One for each column."""
    with pytest.raises(SparkError, match=r"have 2 columns \(_1, _2\), and 1 names"):
        Records([[(1, 2)]], ["a"]).table()
    assert Records([[(1, 2)]], ["a", "b"]).table().columns == ["a", "b"]


def test_no_records_are_a_table_without_columns() -> None:
    """Whoever writes it has to know what to do."""
    assert Records([[], iter(())]).table().width == 0


def test_many_records_come_in_several_tables() -> None:
    """So that no more of them are in memory than must be."""
    sizes = [each.height for each in Records([range(120_000)]).tables()]

    assert sizes == [50_000, 50_000, 20_000]
