"""Tests of sql/row.py."""

import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.sql import Row

_NAMES = st.lists(
    st.text("abcdefgh", min_size=1).map(lambda name: f"f_{name}"),
    unique=True,
    min_size=1,
)


@given(_NAMES, st.data())
def test_a_field_is_found_by_name_and_by_index(
    names: list[str], data: st.DataObject
) -> None:
    """Fields keep the order of the keywords; a row is the tuple of its values."""
    values = [data.draw(st.integers() | st.text()) for _ in names]
    row = Row(**dict(zip(names, values, strict=True)))

    assert row == tuple(values)
    assert row.__fields__ == names
    assert (
        [row[name] for name in names] == [row[i] for i in range(len(names))] == values
    )
    assert [getattr(row, name) for name in names] == values
    assert row.asDict() == dict(zip(names, values, strict=True))
    assert row == Row(*names)(*values)
    copy = pickle.loads(pickle.dumps(row))
    assert (copy, copy.__fields__) == (row, names)


def test_a_row_without_names_is_a_tuple_and_a_factory() -> None:
    """Positional values have no names; called, they are the names of a new row."""
    person = Row("name", "age")

    assert repr(person) == "<Row('name', 'age')>"
    assert "name" in person
    assert repr(person("Al", 7)) == "Row(name='Al', age=7)"
    assert pickle.loads(pickle.dumps(person))("Al", 7).age == 7
    assert Row() == ()


def test_membership_is_by_name_where_there_are_names() -> None:
    """Not by value, as a tuple's would be."""
    row = Row(name="Al", age=7)

    assert "name" in row
    assert "Al" not in row
    assert row[0:1] == ("Al",)


@pytest.mark.parametrize(
    ("nested", "plain"),
    [
        (Row(x=1), {"x": 1}),
        ([Row(x=1), 2], [{"x": 1}, 2]),
        ({"k": Row(x=Row(y=2))}, {"k": {"x": {"y": 2}}}),
        ((Row(x=1),), (Row(x=1),)),
    ],
)
def test_rows_inside_rows_become_dicts_when_asked(nested: Any, plain: Any) -> None:
    """In lists and dicts too; not in tuples, as in PySpark."""
    assert Row(field=nested).asDict() == {"field": nested}
    assert Row(field=nested).asDict(recursive=True) == {"field": plain}


def test_a_field_without_a_value_is_told() -> None:
    """A row with fewer values than names."""
    row = Row("a", "b")(1)

    assert repr(row) == "Row(a=1)"
    with pytest.raises(KeyError, match="b"):
        row["b"]
    with pytest.raises(AttributeError, match="b"):
        _ = row.b
    with pytest.raises(AttributeError):
        _ = Row(1, 2).anything
