"""Tests of sql/sail/conditions.py: errors of queries are called what Spark calls them."""

from typing import Any

import pytest

from millstream import errors
from millstream.sql import SparkSession, functions
from millstream.sql.sail import conditions

F: Any = functions

CASES = {
    "SELECT * FROM nowhere": ("AnalysisException", "TABLE_OR_VIEW_NOT_FOUND", "42P01"),
    "INSERT INTO nowhere VALUES (1)": (
        "AnalysisException",
        "TABLE_OR_VIEW_NOT_FOUND",
        "42P01",
    ),
    "DROP TABLE nowhere": ("AnalysisException", "TABLE_OR_VIEW_NOT_FOUND", "42P01"),
    "DROP DATABASE nowhere": ("AnalysisException", "SCHEMA_NOT_FOUND", "42704"),
    "CREATE DATABASE default": ("AnalysisException", "SCHEMA_ALREADY_EXISTS", "42P06"),
    "SELECT nothing FROM range(1)": (
        "AnalysisException",
        "UNRESOLVED_COLUMN.WITH_SUGGESTION",
        "42703",
    ),
    "SELECT nothing": (
        "AnalysisException",
        "UNRESOLVED_COLUMN.WITHOUT_SUGGESTION",
        "42703",
    ),
    "SELECT id FROM range(1) a, range(1) b": (
        "AnalysisException",
        "AMBIGUOUS_REFERENCE",
        "42704",
    ),
    "SELECT named_struct('a', 1).b": ("AnalysisException", "FIELD_NOT_FOUND", "42704"),
    "SELECT no_function(1)": ("AnalysisException", "UNRESOLVED_ROUTINE", "42883"),
    "SELECT upper()": (
        "AnalysisException",
        "WRONG_NUM_ARGS.WITHOUT_SUGGESTION",
        "42605",
    ),
    "SELECT id, count(*) FROM range(1)": (
        "AnalysisException",
        "MISSING_GROUP_BY",
        "42803",
    ),
    "SELECT sum(sum(id)) FROM range(1)": (
        "AnalysisException",
        "NESTED_AGGREGATE_FUNCTION",
        "42607",
    ),
    "SELECT 1 UNION ALL SELECT 1, 2": (
        "AnalysisException",
        "NUM_COLUMNS_MISMATCH",
        "42826",
    ),
    "SELECT true + 1": (
        "AnalysisException",
        "DATATYPE_MISMATCH.BINARY_OP_DIFF_TYPES",
        "42K09",
    ),
    "SELECT CAST(array(1) AS int)": (
        "AnalysisException",
        "DATATYPE_MISMATCH.CAST_WITHOUT_SUGGESTION",
        "42K09",
    ),
    "SELEC 1": ("ParseException", "PARSE_SYNTAX_ERROR", "42601"),
    "SELECT 'open": ("ParseException", "PARSE_SYNTAX_ERROR", "42601"),
    "SELECT date'x'": ("ParseException", "INVALID_TYPED_LITERAL", "42604"),
    "SELECT CAST('x' AS int)": ("NumberFormatException", "CAST_INVALID_INPUT", "22018"),
    "SELECT CAST('x' AS date)": ("DateTimeException", "CAST_INVALID_INPUT", "22018"),
    "SELECT CAST('x' AS timestamp)": (
        "DateTimeException",
        "CAST_INVALID_INPUT",
        "22018",
    ),
    "SELECT CAST('x' AS boolean)": (
        "SparkRuntimeException",
        "CAST_INVALID_INPUT",
        "22018",
    ),
    "SELECT CAST(300 AS tinyint)": ("ArithmeticException", "CAST_OVERFLOW", "22003"),
    "SELECT CAST(12345 AS decimal(4,1))": (
        "ArithmeticException",
        "NUMERIC_VALUE_OUT_OF_RANGE.WITH_SUGGESTION",
        "22003",
    ),
    "SELECT 1 / 0": ("ArithmeticException", "DIVIDE_BY_ZERO", "22012"),
    "SELECT id % 0 FROM range(1)": (
        "ArithmeticException",
        "REMAINDER_BY_ZERO",
        "22012",
    ),
    "SELECT abs(CAST(-128 AS tinyint))": (
        "ArithmeticException",
        "ARITHMETIC_OVERFLOW",
        "22003",
    ),
    "SELECT array(1)[5]": (
        "ArrayIndexOutOfBoundsException",
        "INVALID_ARRAY_INDEX",
        "22003",
    ),
    "SELECT element_at(array(1), 5)": (
        "ArrayIndexOutOfBoundsException",
        "INVALID_ARRAY_INDEX_IN_ELEMENT_AT",
        "22003",
    ),
    "SELECT element_at(array(1), 0)": (
        "SparkRuntimeException",
        "INVALID_INDEX_OF_ZERO",
        "22003",
    ),
    "SELECT (SELECT id FROM range(2))": (
        "SparkRuntimeException",
        "SCALAR_SUBQUERY_TOO_MANY_ROWS",
        "21000",
    ),
    "SELECT make_date(2020, 13, 1)": (
        "DateTimeException",
        "DATETIME_FIELD_OUT_OF_BOUNDS",
        "22023",
    ),
    "SELECT assert_true(false)": (
        "SparkRuntimeException",
        "USER_RAISED_EXCEPTION",
        "P0001",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("query", CASES)
def test_an_error_has_the_class_and_condition_of_sparks(
    spark: SparkSession, query: str
) -> None:
    """Its message begins with the condition, and ends with the query."""
    kind, condition, state = CASES[query]
    with pytest.raises(errors.PySparkException) as told:
        spark.sql(query).collect()

    error: Any = told.value
    assert type(error).__name__ == kind
    assert (error.getCondition(), error.getSqlState()) == (condition, state)
    assert str(error).startswith(f"[{condition}] ")
    assert str(error).endswith(f"SQLSTATE: {state}\n== SQL ==\n{query}")


@pytest.mark.slow
def test_programs_catch_these_by_our_names(spark: SparkSession) -> None:
    """`pyspark.errors` has the same classes."""
    with pytest.raises(errors.ParseException):
        spark.sql("SELEC 1")
    with pytest.raises(errors.AnalysisException):
        spark.table("nowhere").collect()
    with pytest.raises(errors.ArithmeticException):
        spark.sql("SELECT 1 / 0").collect()
    with pytest.raises(errors.NumberFormatException):
        spark.sql("SELECT CAST('x' AS int)").collect()


@pytest.mark.slow
def test_parameters_are_named_as_sparks(spark: SparkSession) -> None:
    """Names in backticks, types in capitals."""
    with pytest.raises(errors.AnalysisException) as column:
        spark.sql("SELECT a.nothing FROM range(1) a").collect()
    with pytest.raises(errors.NumberFormatException) as cast:
        spark.sql("SELECT CAST('x' AS bigint)").collect()

    assert column.value.getMessageParameters() == {"objectName": "`a`.`nothing`"}
    assert cast.value.getMessageParameters() == {
        "expression": "x",
        "sourceType": '"STRING"',
        "targetType": "BIGINT",
    }


@pytest.mark.slow
def test_the_last_error_of_a_frame_has_no_query(spark: SparkSession) -> None:
    """Where there is no SQL, but has one where there is some beneath."""
    with pytest.raises(errors.AnalysisException) as told:
        spark.range(1).select("nothing").collect()
    assert "== SQL ==" not in str(told.value)

    frame = spark.sql("SELECT id FROM range(1)").withColumn("x", F.lit(1))
    with pytest.raises(errors.AnalysisException) as told:
        frame.select("nothing").collect()
    assert str(told.value).endswith("== SQL ==\nSELECT id FROM range(1)")


@pytest.mark.slow
def test_what_is_not_known_keeps_its_words(spark: SparkSession) -> None:
    """And its class, and says what the query was."""
    with pytest.raises(errors.AnalysisException) as told:
        spark.sql("SELECT raise_error('in words')").collect()
    assert told.value.getCondition() is None
    assert str(told.value) == "in words\n== SQL ==\nSELECT raise_error('in words')"


@pytest.mark.slow
def test_nothing_is_printed_for_an_error(
    spark: SparkSession, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither by the client nor by the engine."""
    with pytest.raises(errors.ParseException):
        spark.sql("SELEC 1")
    with pytest.raises(errors.PySparkException):
        spark.range(1).select(F.raise_error(F.lit("x"))).collect()
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("spark")
def test_a_query_is_called_by_its_first_line() -> None:
    """Comments aren't of it, and it is shortened."""
    from millstream.sql import client

    proto: Any = client.module("sql.connect.proto")

    def named(text: str) -> str:
        relation = proto.Relation(sql=proto.SQL(query=text))
        within = proto.Relation(with_relations=proto.WithRelations(root=relation))
        limited = proto.Relation(limit=proto.Limit(input=within, limit=1))
        return conditions.text_of(proto.Plan(root=limited))

    assert named("select 1") == "select 1"
    assert named("-- why\n  select 1\n  from x") == "select 1 ..."
    assert named("x" * 200) == "x" * 100 + " ..."
    assert conditions.text_of(proto.Plan(root=proto.Relation(range=proto.Range()))) == (
        "a DataFrame"
    )


@pytest.mark.usefixtures("spark")
def test_other_errors_pass_as_they_are() -> None:
    """The engine hasn't told them."""
    error = ValueError("[CONDITION] of nobody")
    assert conditions.with_condition(error, None) is error
