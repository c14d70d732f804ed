"""Tests of Python functions in queries, which run in the engine's process."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from millstream.engine.base.errors import NotSerializableError
from millstream.errors import PythonException
from millstream.sql import Row, SparkSession, functions

F: Any = functions

pytestmark = pytest.mark.slow


def test_plain_functions(spark: SparkSession) -> None:
    """With values, nulls and rows; in SQL by their names."""
    twice = F.udf(lambda x: None if x == 1 else x * 2, "bigint")
    pair = F.udf(lambda x: Row(a=x, b=str(x)), "a bigint, b string")
    spark.udf.register("thrice", lambda x: x * 3, "bigint")

    frame = spark.range(3)
    assert frame.select(twice("id")).collect() == [(0,), (None,), (4,)]
    assert frame.select(pair("id")).first() == (Row(a=0, b="0"),)
    assert spark.sql("select thrice(id) from range(3)").collect() == [(0,), (3,), (6,)]


def test_functions_of_pandas_and_arrow(spark: SparkSession) -> None:
    """By columns: scalars, aggregates, groups and whole parts."""

    @F.pandas_udf("bigint")  # type: ignore[untyped-decorator]
    def plus_one(column: pd.Series) -> pd.Series:
        return column + 1

    @F.pandas_udf("double")  # type: ignore[untyped-decorator]
    def mean(column: pd.Series) -> float:
        return float(column.mean())

    @F.arrow_udf("bigint")  # type: ignore[untyped-decorator]
    def negated(column: pa.Array) -> pa.Array:
        import pyarrow.compute as pc

        return pc.negate(column)

    def halves(parts: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for part in parts:
            yield part // 2

    def same(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from batches

    def summed(group: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"k": group["k"][:1], "n": [group["id"].sum()]})

    frame = spark.range(4)
    assert frame.select(plus_one("id"), negated("id")).collect() == [
        (1, 0),
        (2, -1),
        (3, -2),
        (4, -3),
    ]
    assert frame.agg(mean("id")).first() == (1.5,)
    assert frame.mapInPandas(halves, "id bigint").collect() == [(0,), (0,), (1,), (1,)]
    assert frame.mapInArrow(same, "id bigint").count() == 4
    groups = frame.withColumn("k", F.col("id") % 2).groupBy("k")
    totals = groups.applyInPandas(summed, "k bigint, n bigint").collect()
    assert sorted(totals) == [(0, 2), (1, 4)]


def test_functions_that_give_tables(spark: SparkSession) -> None:
    """From Python, and in SQL by their names."""

    class OfNumbers:
        def eval(self, count: int) -> Any:
            for number in range(count):
                yield number, number * number

    squares = F.udtf(OfNumbers, returnType="n int, square int")
    spark.udtf.register("squares", squares)
    assert squares(F.lit(3)).collect() == [(0, 0), (1, 1), (2, 4)]
    assert spark.sql("select square from squares(2)").collect() == [(0,), (1,)]


def test_what_a_function_prints_is_marked(
    spark: SparkSession, capfd: pytest.CaptureFixture[str]
) -> None:
    """It comes from the engine's process."""

    def shown(value: int) -> int:
        import sys

        print("seen", value)
        print("and told", file=sys.stderr)
        return value

    spark.range(1).select(F.udf(shown, "bigint", useArrow=False)("id")).collect()
    # The lines come on a thread of their own, in order; the next process ends them.
    spark._backend.replace()
    out, err = capfd.readouterr()
    assert out == "[sql] seen 0\n"
    assert err == "[sql] and told\n"


def test_an_error_of_a_function_has_its_traceback(spark: SparkSession) -> None:
    """As PythonException, with the line of the function."""

    def divided(value: int) -> int:
        return 1 // value

    with pytest.raises(PythonException, match="ZeroDivisionError") as told:
        spark.range(1).select(F.udf(divided, "bigint", useArrow=False)("id")).collect()
    assert "in divided" in str(told.value)
    assert "return 1 // value" in str(told.value)


def test_what_belongs_to_tasks_is_refused(spark: SparkSession) -> None:
    """With what to do in its place; nothing else is printed."""
    known = spark.sparkContext.broadcast({1: "a"})
    count = spark.sparkContext.accumulator(0)

    def added(value: int) -> int:
        count.add(1)
        return value

    with pytest.raises(NotSerializableError, match="Broadcast can't be used") as told:
        spark.range(1).select(F.udf(lambda x: known.value[x], "string")("id")).collect()
    assert "known = broadcast.value" in told.value.__notes__[0]
    with pytest.raises(NotSerializableError, match="Accumulator can't be used"):
        spark.range(1).select(F.udf(added, "bigint", useArrow=False)("id")).collect()
    with pytest.raises(NotSerializableError, match="Broadcast can't be used"):
        spark.udf.register("from_broadcast", lambda x: known.value[x], "string")
    with pytest.raises(NotSerializableError, match="SparkSession"):
        spark.range(1).select(F.udf(lambda x: spark.version, "string")("id")).collect()


def test_added_modules_are_found(spark: SparkSession, tmp_path: Path) -> None:
    """Though the engine has started before."""
    spark.range(1).collect()
    module = tmp_path / "module_of_a_query.py"
    module.write_text("def seven(x):\n    return 7 * x\n")
    spark.sparkContext.addPyFile(str(module))
    from module_of_a_query import seven

    old = spark._backend.pid
    assert spark.range(2).select(F.udf(seven, "bigint")("id")).collect() == [(0,), (7,)]
    assert spark._backend.pid == old


@pytest.mark.usefixtures("spark")
def test_a_program_and_the_modules_beside_it_are_found(tmp_path: Path) -> None:
    """Run by `millstream run`; its own functions, too."""
    (tmp_path / "beside_it.py").write_text("def seven(x):\n    return 7 * x\n")
    program = tmp_path / "program.py"
    program.write_text(
        """
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from beside_it import seven

def eight(x):
    return seven(x) + x

if __name__ == "__main__":
    spark = SparkSession.builder.getOrCreate()
    both = F.udf(seven, "bigint")("id"), F.udf(eight, "bigint")("id")
    print([tuple(row) for row in spark.range(2).select(*both).collect()])
    spark.stop()
"""
    )
    done = subprocess.run(
        [sys.executable, "-m", "millstream", "run", str(program)],
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert done.stdout == "[(0, 0), (7, 8)]\n"
