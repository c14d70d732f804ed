"""Tests of sql/staging.py: how tables get to the engine."""

import datetime
import gc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.sql.test_conversion import TYPED, structs_of

from millstream.sql import SparkSession, client, staging
from millstream.sql.conversion import ToArrow
from millstream.sql.deferred import paths_in
from millstream.sql.staging import Staged, with_null_masks

types: Any = client.module("sql.types")
INNER = pa.struct([("a", pa.int64()), ("b", pa.struct([("c", pa.string())]))])
KINDS = [
    INNER,
    pa.list_(INNER),
    pa.large_list(INNER),
    pa.map_(pa.string(), INNER),
    pa.struct([("x", pa.list_(INNER))]),
]
STRUCT = st.none() | st.fixed_dictionaries(
    {
        "a": st.none() | st.integers(0, 9),
        "b": st.none() | st.fixed_dictionaries({"c": st.none() | st.text(max_size=2)}),
    }
)
LIST = st.none() | st.lists(STRUCT, max_size=3)


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """Return values of a type of KINDS."""
    if kind == INNER:
        return STRUCT
    if pa.types.is_struct(kind):
        return st.none() | st.fixed_dictionaries({"x": LIST})
    if pa.types.is_map(kind):
        pairs = st.tuples(st.text("ab", max_size=2), STRUCT)
        return st.none() | st.lists(pairs, max_size=3, unique_by=lambda pair: pair[0])
    return LIST


def under_nulls(array: Any) -> list[Any]:
    """Return what lies in fields of null structs, however deep."""
    kind = array.type
    if pa.types.is_struct(kind):
        # Fields as they are stored: without their parent's nulls.
        fields = [array.field(place) for place in range(kind.num_fields)]
        hidden = [
            each[row].as_py()
            for each in fields
            for row in range(len(array))
            if not array[row].is_valid
        ]
        return hidden + [found for each in fields for found in under_nulls(each)]
    if pa.types.is_map(kind):
        return under_nulls(array.items)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return under_nulls(array.values)
    return []


@given(st.data())
def test_fields_of_null_structs_are_null(data: st.DataObject) -> None:
    """At every depth, of slices and chunks too; and no value changes."""
    kind = data.draw(st.sampled_from(KINDS))
    values = data.draw(st.lists(values_of(kind), min_size=1, max_size=6))
    start = data.draw(st.integers(0, len(values) - 1))
    array = pa.array(values, kind)
    chunked = pa.chunked_array([array[start:], array])
    table = pa.table({"n": range(len(chunked)), "v": chunked})

    masked = with_null_masks(table)

    assert masked.schema == table.schema
    assert masked.to_pylist() == table.to_pylist()
    for chunk in masked.column("v").chunks:
        assert not [each for each in under_nulls(chunk) if each is not None]


@given(st.data())
def test_what_lies_under_a_null_is_hidden(data: st.DataObject) -> None:
    """Arrow leaves it open: here there are values, which other libraries leave there."""
    size = data.draw(st.integers(1, 5))
    mask = data.draw(st.lists(st.booleans(), min_size=size, max_size=size))
    fields = [pa.array(range(size)), pa.array([str(each) for each in range(size)])]
    array = pa.StructArray.from_arrays(fields, ["a", "b"], mask=pa.array(mask))
    table = pa.table({"v": array})

    chunk = with_null_masks(table).column("v").chunk(0)

    assert not [each for each in under_nulls(chunk) if each is not None]
    assert chunk.to_pylist() == array.to_pylist()


def test_a_plan_is_made_when_it_is_first_needed() -> None:
    """Once, however often it is used."""
    made = []

    def table() -> pa.Table:
        made.append(1)
        return pa.table({"a": [1]})

    staged = Staged(table, types.StructType().add("a", types.LongType()).json())

    assert made == []
    assert staged.names == ["a"]
    assert staged.plan(None).local_relation.data
    assert made == [1]


def test_a_table_of_no_columns_or_rows_is_a_plan() -> None:
    """Inline, with its schema."""
    schema = types.StructType().add("a", types.LongType())
    empty = ToArrow(schema, is_wrapped=False, is_verified=True).table([])

    assert (
        Staged(empty, schema.json()).plan(None).local_relation.schema == schema.json()
    )
    assert Staged(None, schema.json()).names == []


@pytest.mark.slow
@pytest.mark.parametrize("is_file", [False, True], ids=["inline", "file"])
@given(st.data())
def test_the_engine_gives_back_what_it_was_given(
    spark: SparkSession, is_file: bool, data: st.DataObject
) -> None:
    """Values of all types, with None at every depth, in any zone, and by their names."""
    kind, row = structs_of(data.draw(st.lists(TYPED, min_size=1, max_size=3)))
    rows = data.draw(st.lists(row, min_size=1, max_size=4))

    zone = data.draw(st.sampled_from(["UTC", "Asia/Kolkata", "America/New_York"]))
    spark.conf.set("spark.sql.session.timeZone", zone)
    with pytest.MonkeyPatch.context() as patch:
        if is_file:
            patch.setattr(staging, "_INLINE_MAX", -1)
        frame = spark.createDataFrame(rows, kind)
        assert frame.schema == kind
        assert frame.collect() == rows


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 20_000], ids=["inline", "file"])
def test_moments_of_tables_are_in_the_sessions_zone(
    spark: SparkSession, count: int
) -> None:
    """That of the query, whichever it was when the table was staged; nested ones, too."""
    at = datetime.datetime(2020, 1, 1, 12, tzinfo=datetime.UTC)
    kind = "at timestamp, many array<timestamp>, inner struct<t: timestamp>"
    frame = spark.createDataFrame([(at, [at, None], (at,))] * count, kind)
    columns = ("at", "many[0]", "inner.t")
    texts = [f"cast({each} as string)" for each in columns]
    for zone, shown in (
        ("America/New_York", "07"),
        ("Asia/Tokyo", "21"),
        ("UTC", "12"),
    ):
        spark.conf.set("spark.sql.session.timeZone", zone)
        assert frame.selectExpr(*texts).first() == (f"2020-01-01 {shown}:00:00",) * 3
        equal = f"at = timestamp'2020-01-01 {shown}:00:00'"
        assert frame.filter(equal).count() == count


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 20_000], ids=["inline", "file"])
def test_columns_of_one_name_are_two(spark: SparkSession, count: int) -> None:
    """As joins leave them."""
    table = pa.table([range(count), ["x"] * count], names=["a", "a"])
    frame = spark.createDataFrame(table)

    assert frame.columns == ["a", "a"]
    assert frame.first() == (0, "x")
    assert frame.toDF("n", "s").filter("n = 0").collect() == [(0, "x")]


@pytest.mark.slow
def test_fields_of_null_structs_are_null_in_queries(spark: SparkSession) -> None:
    """In small tables, which are in the query, and in large ones, which are files."""
    for count in (1, 50_000):
        rows = [(None,), ({"a": "x", "b": {"c": None}},)] * count
        kind = "s struct<a:string, b:struct<c:int>>"
        frame = spark.createDataFrame(rows, kind)
        frame.createOrReplaceTempView("structs")
        query = "select count(*) from structs where s.a is null and s.b.c is null"
        assert spark.sql(query).first() == (count,)


@pytest.mark.slow
def test_large_tables_are_files_for_as_long_as_they_are_needed(
    spark: SparkSession,
) -> None:
    """Any number of queries read one file, which goes with the last frame."""
    frame = spark.createDataFrame(pa.table({"n": range(200_000)}))
    total = frame.groupBy().sum("n")

    def path(frame: Any) -> Path:
        (known,) = paths_in(frame._plan.plan(spark._connected.client), also_ours=True)
        return Path(known)

    known = path(frame)
    assert total.first() == frame.groupBy().sum("n").first() == (199_999 * 100_000,)
    assert path(total) == known
    del frame
    gc.collect()
    assert total.first() == (199_999 * 100_000,)
    del total
    gc.collect()
    assert not known.exists()
