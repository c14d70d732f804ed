"""Tests of sql/conversion.py: records and other data become tables, by Spark's rules."""

import dataclasses
import datetime
import decimal
from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.columnar.blocks import Columns
from millstream.engine.columnar.shapes import DictOf, Kind, Plain, TupleOf, to_frame
from millstream.errors import PySparkTypeError, PySparkValueError
from millstream.sql import Row, SparkSession, client
from millstream.sql.conversion import (
    Inference,
    ToArrow,
    arrow_schema,
    as_table,
    rows_of_table,
    schema_of_rows,
)
from millstream.sql.staging import with_null_masks

types: Any = client.module("sql.types")
Typed = tuple[Any, st.SearchStrategy[Any]]


def local(moment: datetime.datetime) -> bool:
    """Say whether this machine's clock shows a moment just once."""
    return datetime.datetime.fromtimestamp(moment.timestamp()) == moment


MOMENTS = st.datetimes(datetime.datetime(1900, 1, 1), datetime.datetime(2200, 1, 1))
PLAIN: list[Typed] = [
    (types.BooleanType(), st.booleans()),
    (types.ByteType(), st.integers(-(2**7), 2**7 - 1)),
    (types.ShortType(), st.integers(-(2**15), 2**15 - 1)),
    (types.IntegerType(), st.integers(-(2**31), 2**31 - 1)),
    (types.LongType(), st.integers(-(2**63), 2**63 - 1)),
    (types.FloatType(), st.floats(width=32, allow_nan=False)),
    (types.DoubleType(), st.floats(allow_nan=False)),
    (types.StringType(), st.text(st.characters(exclude_categories=["Cs"]))),
    (types.BinaryType(), st.binary()),
    (types.DateType(), st.dates()),
    (types.TimestampType(), MOMENTS.filter(local)),
    (types.TimestampNTZType(), MOMENTS),
    (types.DecimalType(12, 3), st.decimals(-999_999_999, 999_999_999, places=3)),
    (types.DayTimeIntervalType(), st.timedeltas(datetime.timedelta(-(10**6)))),
]


def nullable(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return values, and None."""
    return st.none() | values


def lists_of(of: Typed) -> Typed:
    """Return arrays."""
    return types.ArrayType(of[0]), st.lists(nullable(of[1]), max_size=3)


def maps_to(of: Typed) -> Typed:
    """Return maps from texts."""
    values = st.dictionaries(st.text("ab", max_size=2), nullable(of[1]), max_size=3)
    return types.MapType(types.StringType(), of[0]), values


def structs_of(of: Sequence[Typed]) -> Typed:
    """Return structs."""
    names = [f"f{place}" for place in range(len(of))]
    kind = types.StructType()
    for name, (each, _) in zip(names, of, strict=True):
        kind = kind.add(name, each)
    values = st.tuples(*(nullable(each) for _, each in of))
    return kind, values.map(lambda row: Row(**dict(zip(names, row, strict=True))))


PLAIN_TYPED: st.SearchStrategy[Typed] = st.sampled_from(PLAIN)
TYPED: st.SearchStrategy[Typed] = st.recursive(
    PLAIN_TYPED,
    lambda inner: st.one_of(
        inner.map(lists_of),
        inner.map(maps_to),
        st.lists(inner, min_size=1, max_size=3).map(structs_of),
    ),
    max_leaves=4,
)


@given(st.data())
def test_rows_come_back_as_they_were(data: st.DataObject) -> None:
    """Of all types, nested ones too, with None at every depth."""
    kind, row = structs_of(data.draw(st.lists(TYPED, min_size=1, max_size=3)))
    rows = data.draw(st.lists(row, min_size=1, max_size=4))

    table = ToArrow(kind, is_wrapped=False, is_verified=True).table([rows])

    assert table.schema == arrow_schema(kind)
    assert rows_of_table(table, kind) == rows
    assert rows_of_table(with_null_masks(table), kind) == rows


VALUES: list[tuple[Kind, Any, st.SearchStrategy[Any]]] = [
    (Kind.INT, types.LongType(), st.integers(-(2**63), 2**63 - 1)),
    (Kind.FLOAT, types.DoubleType(), st.floats(allow_nan=False)),
    (Kind.STR, types.StringType(), st.text(st.characters(exclude_categories=["Cs"]))),
    (Kind.BOOL, types.BooleanType(), st.booleans()),
    (Kind.DATE, types.DateType(), st.dates()),
]


@pytest.mark.slow
@given(st.data())
def test_columns_give_what_their_rows_give(data: st.DataObject) -> None:
    """Tuples by place, dicts by name, in whatever order the schema has them."""
    chosen = data.draw(st.lists(st.sampled_from(VALUES), min_size=1, max_size=3))
    names = tuple(f"c{place}" for place in range(len(chosen)))
    rows = data.draw(
        st.lists(st.tuples(*(nullable(each) for _, _, each in chosen)), min_size=1)
    )
    plain = tuple(Plain(kind, is_optional=True) for kind, _, _ in chosen)
    fields = [
        types.StructField(name, kind)
        for name, (_, kind, _) in zip(names, chosen, strict=True)
    ]
    dicts = [dict(zip(names, row, strict=True)) for row in rows]
    convert = ToArrow(types.StructType(fields), is_wrapped=False, is_verified=True)
    shuffled = types.StructType(data.draw(st.permutations(fields)))
    by_name = ToArrow(shuffled, is_wrapped=False, is_verified=True)

    frame = to_frame(rows, TupleOf(plain))
    assert frame is not None
    tuples = Columns(frame, TupleOf(plain))
    keyed = Columns(to_frame(dicts, DictOf(names, plain)), DictOf(names, plain))

    assert convert.table([tuples]).equals(convert.table([rows]))
    assert by_name.table([keyed]).equals(by_name.table([dicts]))


def test_columns_of_other_types_go_by_rows() -> None:
    """They are verified as rows are: 1.5 is no long, and text no number."""
    column = Columns(to_frame([1.5], Plain(Kind.FLOAT)), Plain(Kind.FLOAT))
    wrapped = types.StructType().add("value", types.LongType())

    with pytest.raises(
        PySparkTypeError, match=r"LongType\(\) can not accept object 1.5"
    ):
        ToArrow(wrapped, is_wrapped=True, is_verified=True).table([column])
    empty = types.StructType().add("value", types.DoubleType(), nullable=False)
    optional = Plain(Kind.FLOAT, is_optional=True)
    column = Columns(to_frame([None, 1.0], optional), optional)
    with pytest.raises(PySparkValueError, match="not nullable"):
        ToArrow(empty, is_wrapped=True, is_verified=True).table([column])


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.floats(-1, 1),
    st.text("ab", max_size=2),
    st.binary(max_size=2),
    st.dates(),
    st.decimals(0, 9, places=1),
)
ANY = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from("xy"), inner, max_size=2)
        | st.tuples(inner, inner)
    ),
    max_leaves=4,
)


@given(st.integers(1, 3).flatmap(lambda n: st.lists(st.tuples(*[ANY] * n), min_size=1)))
def test_types_are_found_as_spark_finds_them(rows: list[tuple[Any, ...]]) -> None:
    """The same schema as from looking at every row, or the same error."""
    inner = client.module("sql.types")

    def outcome(infer: Any) -> Any:
        try:
            return infer()
        except (PySparkTypeError, PySparkValueError) as error:
            return str(error)

    def one_by_one() -> Any:
        made = reduce(inner._merge_type, map(inner._infer_schema, rows))
        if inner._has_nulltype(made):
            raise client.module("errors").PySparkValueError(
                errorClass="CANNOT_DETERMINE_TYPE", messageParameters={}
            )
        return made

    assert outcome(lambda: schema_of_rows(rows, None, Inference())) == outcome(
        one_by_one
    )


def test_types_that_spark_lacks_become_larger_ones() -> None:
    """Nested ones too; nothing is lost but nanoseconds."""
    frame = pl.DataFrame(
        {
            "small": pl.Series([2**32 - 1], dtype=pl.UInt32),
            "large": pl.Series([2**64 - 1], dtype=pl.UInt64),
            "huge": pl.Series([2**100], dtype=pl.Int128),
            "kind": pl.Series(["a"], dtype=pl.Categorical),
            "pair": pl.Series([[1, 2]], dtype=pl.Array(pl.UInt8, 2)),
            "inner": pl.Series([{"n": 7}], dtype=pl.Struct({"n": pl.UInt16})),
        }
    )
    known = as_table(frame)

    kinds = ["int64", "decimal128(20, 0)", "decimal128(38, 0)", "large_string"]
    assert [str(each) for each in known.schema.types[:4]] == kinds
    assert known.to_pylist()[0] == {**frame.to_dicts()[0], "pair": [1, 2]}
    exact = pa.table({"at": pa.array([1_000_000_001], pa.timestamp("ns", "UTC"))})
    assert as_table(exact).column("at").type == pa.timestamp("us", "UTC")
    wide = pa.table({"a": pa.array([1], pa.decimal256(60, 0))})
    with pytest.raises(
        PySparkTypeError, match="column 'a' has values of type decimal256"
    ):
        as_table(wide)


def converted(value: Any, kind: str, spark: SparkSession) -> Any:
    """Return what a value comes back as from a column that isn't verified."""
    frame = spark.createDataFrame([(value,)], f"a {kind}", verifySchema=False)
    return frame.collect()[0].a


@pytest.mark.slow
def test_unverified_values_are_converted(spark: SparkSession) -> None:
    """As far as there is a way; what doesn't fit is told with its column."""
    assert converted(1, "string", spark) == "1"
    assert converted(True, "string", spark) == "true"
    for value, kind in (("x", "int"), (2**40, "int"), (2**63, "long")):
        with pytest.raises(PySparkValueError, match="column 'a' can't hold"):
            converted(value, kind, spark)


@pytest.mark.parametrize(
    ("rows", "schema", "message"),
    [
        ([(2**63,)], None, "must be between -9223372036854775808"),
        ([(40_000,)], "a short", "must be between -32768"),
        ([("x",)], "a int", r"field a: IntegerType\(\) can not accept object 'x'"),
        ([(1, 2), (3,)], "a int, b int", r"Length of object \(1\)"),
        ([(1, 2)], ["a", "b", "c"], "Expected axis has 3 elements"),
        (
            [(decimal.Decimal(10**6),)],
            "a decimal(5,2)",
            "'a' can't hold a number of so",
        ),
        ([(None,)], None, "CANNOT_DETERMINE_TYPE"),
        ([], None, "CANNOT_INFER_EMPTY_SCHEMA"),
        ([object()], None, "CANNOT_INFER"),
    ],
)
@pytest.mark.slow
def test_what_does_not_fit_is_told(
    spark: SparkSession, rows: list[Any], schema: Any, message: str
) -> None:
    """In Spark's words, with the field."""
    with pytest.raises((PySparkTypeError, PySparkValueError), match=message):
        spark.createDataFrame(rows, schema)


@dataclasses.dataclass
class Visit:
    """A record with a dict."""

    name: str
    times: int


@dataclasses.dataclass(slots=True)
class Slotted:
    """A record without one."""

    name: str
    times: int


@pytest.mark.slow
@pytest.mark.parametrize(
    "data",
    [
        [Row(name="ada", times=2)],
        [{"name": "ada", "times": 2}],
        [Visit("ada", 2)],
        [Slotted("ada", 2)],
        (Row(name=name, times=2) for name in ["ada"]),
        pd.DataFrame({"name": ["ada"], "times": [2]}),
        pl.DataFrame({"name": ["ada"], "times": [2]}),
        pl.LazyFrame({"name": ["ada"], "times": [2]}),
        pa.table({"name": ["ada"], "times": [2]}),
        pa.RecordBatch.from_pydict({"name": ["ada"], "times": [2]}),
    ],
    ids=[
        "rows",
        "dicts",
        "objects",
        "slots",
        "generator",
        "pandas",
        "polars",
        "lazy",
        "arrow",
        "batch",
    ],
)
def test_data_of_all_kinds_is_taken(spark: SparkSession, data: Any) -> None:
    """With its names and types."""
    frame = spark.createDataFrame(data)

    assert frame.schema.simpleString() == "struct<name:string,times:bigint>"
    assert frame.collect() == [Row(name="ada", times=2)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "data",
    [
        [(1, 2)],
        pd.DataFrame({"x": [1], "y": [2]}),
        pl.DataFrame({"x": [1], "y": [2]}),
        pa.table({"x": [1], "y": [2]}),
        np.array([[1, 2]]),
    ],
    ids=["tuples", "pandas", "polars", "arrow", "numpy"],
)
def test_a_schema_renames_and_casts(spark: SparkSession, data: Any) -> None:
    """As names, as DDL and as StructType; too many names are told."""
    assert spark.createDataFrame(data, ["a", "b"]).first().asDict() == {"a": 1, "b": 2}
    for schema in ("a int, b int", types.StructType.fromDDL("a int, b int")):
        frame = spark.createDataFrame(data, schema)
        assert frame.schema.simpleString() == "struct<a:int,b:int>"
        assert frame.first() == (1, 2)
    with pytest.raises(PySparkValueError, match="Length mismatch"):
        spark.createDataFrame(data, ["a", "b", "c"])


@pytest.mark.slow
def test_records_of_several_kinds_go_together(spark: SparkSession) -> None:
    """Tuples by place; dicts and objects by name, whatever their order; None is NULL."""
    rows = [(("x", 1),), ({"b": 1, "a": "x"},), (Row(a="x", b=1),), (None,)]
    frame = spark.createDataFrame(rows, "s struct<a:string, b:int>")
    assert frame.select("s.a", "s.b").collect() == [("x", 1)] * 3 + [(None, None)]
    flat = [("x", 1), {"b": 1, "a": "x"}, Visit("x", 1)]
    mixed = spark.createDataFrame(flat[:2], "a string, b int")
    assert mixed.collect() == [("x", 1)] * 2
    named = spark.createDataFrame([flat[0], flat[2]], "name string, times int")
    assert named.collect() == [("x", 1)] * 2


@pytest.mark.slow
def test_an_rdd_has_records_of_all_kinds(spark: SparkSession) -> None:
    """Rows, dicts and dataclasses, whether or not these have a dict."""
    kinds = Row(name="ada", times=2), Visit("ada", 2), Slotted("ada", 2)
    for row in (*kinds, {"times": 2, "name": "ada"}):
        rdd = spark.sparkContext.parallelize([row] * 3, 2)
        for schema in (None, "name string, times int", ["n", "t"]):
            assert spark.createDataFrame(rdd, schema).collect() == [("ada", 2)] * 3
            assert spark.createDataFrame([row], schema).collect() == [("ada", 2)]


@pytest.mark.slow
def test_series_and_arrays_are_one_column(spark: SparkSession) -> None:
    """A series by its name."""
    frames = [
        spark.createDataFrame(pl.Series("n", [1, None])),
        spark.createDataFrame(pl.Series([1, None])),
        spark.createDataFrame(np.array([1, 2])),
    ]

    assert [each.columns for each in frames] == [["n"], ["value"], ["value"]]
    assert frames[0].collect() == [(1,), (None,)]


@pytest.mark.slow
def test_moments_keep_their_place_in_time(spark: SparkSession) -> None:
    """Naive ones are this machine's, those of pandas the session's; shown in its zone."""
    zone = "spark.sql.session.timeZone"
    spark.conf.set(zone, "America/New_York")
    try:
        at = datetime.datetime(1960, 7, 1, 12)
        aware = at.replace(tzinfo=datetime.UTC)
        frame = spark.createDataFrame([(aware,)], "at timestamp")
        shown = frame.selectExpr("cast(at as string) as text").cache()
        assert shown.first() == ("1960-07-01 08:00:00",)
        assert frame.toArrow().column("at").to_pylist() == [aware]
        assert frame.toPolars()["at"].to_list() == [aware]
        assert frame.toPandas()["at"].tolist() == [pd.Timestamp("1960-07-01 08:00:00")]

        pandas = pd.DataFrame(
            {"naive": [pd.Timestamp(at)], "aware": [pd.Timestamp(aware)]}
        )
        texts = "cast(naive as string) as n", "cast(aware as string) as a"
        row = spark.createDataFrame(pandas).selectExpr(*texts).first()
        assert row == ("1960-07-01 12:00:00", "1960-07-01 08:00:00")
    finally:
        spark.conf.set(zone, "UTC")


@pytest.mark.slow
def test_pandas_comes_and_goes(spark: SparkSession) -> None:
    """Categories as texts, nulls of all kinds as NULL, whole numbers as they are."""
    given = pd.DataFrame(
        {
            "kind": pd.Categorical(["a", None]),
            "whole": pd.array([1, None], dtype="Int64"),
            "real": [1.5, float("nan")],
            "day": [datetime.date(1960, 1, 1), None],
            "items": [[1, 2], None],
        }
    )
    frame = spark.createDataFrame(given)

    kinds = "struct<kind:string,whole:bigint,real:double,day:date,items:array<bigint>>"
    assert frame.schema.simpleString() == kinds
    rows = [("a", 1, 1.5, datetime.date(1960, 1, 1), [1, 2]), (None,) * 5]
    assert frame.collect() == rows
    back = frame.toPandas()
    assert back["kind"].tolist() == ["a", None]
    assert back["whole"].isna().tolist() == [False, True]
    assert spark.range(2).toPandas()["id"].dtype == np.int64
