"""Tests of sql/statistics.py: statistics in Spark's order, percentiles that occur."""

import pytest

from millstream.sql import Row, SparkSession

pytestmark = pytest.mark.slow


def test_statistics_come_in_spark_s_order(spark: SparkSession) -> None:
    """Or in the one that was asked for, percentiles among them."""
    frame = spark.createDataFrame(
        [(n, n / 2, f"t{n}") for n in range(1, 9)], ["a", "b", "t"]
    )

    described = [row[0] for row in frame.describe().collect()]
    assert described == ["count", "mean", "stddev", "min", "max"]
    rows = frame.summary("75%", "count", "25%", "max").collect()
    assert rows == [
        Row(summary="75%", a="6", b="3.0", t=None),
        Row(summary="count", a="8", b="8", t="8"),
        Row(summary="25%", a="2", b="1.0", t=None),
        Row(summary="max", a="8", b="4.0", t="t8"),
    ]
    assert [row[0] for row in frame.summary().collect()] == [
        "count",
        "mean",
        "stddev",
        "min",
        "25%",
        "50%",
        "75%",
        "max",
    ]
    assert [row[1] for row in frame.select("a").summary("50%").collect()] == ["4"]


def test_quantiles_are_values_that_occur(spark: SparkSession) -> None:
    """Of one column or several; none of a column without values."""
    frame = spark.createDataFrame([(1, 0.5), (2, None), (10, 2.5)], ["a", "b"])

    assert frame.approxQuantile("a", [0.0, 0.5, 1.0], 0.1) == [1.0, 2.0, 10.0]
    assert frame.stat.approxQuantile(["a", "b"], [0.5], 0.0) == [[2.0], [0.5]]
    assert frame.where("b > 9").approxQuantile("b", [0.5], 0.0) == []


def test_cross_tables_have_an_order(spark: SparkSession) -> None:
    """Of their columns and rows."""
    frame = spark.createDataFrame([("y", "b"), ("x", "c"), ("y", "a")], ["k", "v"])
    table = frame.crosstab("k", "v")

    assert table.columns == ["k_v", "a", "b", "c"]
    assert [row[0] for row in table.collect()] == ["x", "y"]


def test_rows_of_both_frames_come_as_often_as_both_have_them(
    spark: SparkSession,
) -> None:
    """Nulls too."""
    left = spark.createDataFrame([(1,), (1,), (1,), (None,), (2,)], "a int")
    right = spark.createDataFrame([(1,), (1,), (None,), (3,)], "a int")

    found = sorted(left.intersectAll(right).collect(), key=str)
    assert found == [Row(a=1), Row(a=1), Row(a=None)]
