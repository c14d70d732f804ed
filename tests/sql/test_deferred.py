"""Tests of sql/deferred.py: tables that are made when a query with them runs."""

import gc
from typing import Any

import pyarrow as pa
import pytest

from millstream.engine.base.errors import IllegalStateError
from millstream.sql import SparkSession, client, statements
from millstream.sql.deferred import Deferred, paths_in, plan_ids_in, with_ids
from millstream.sql.staging import Staged

pytestmark = pytest.mark.slow

types: Any = client.module("sql.types")
plans: Any = client.module("sql.connect.plan")
SCHEMA = types.StructType().add("n", types.LongType())


class Counting(Deferred):
    """A table that counts how often it was made, and looked at."""

    def __init__(self) -> None:
        """Begin at 0."""
        super().__init__()
        self.made_count = 0
        self.seen_count = 0

    def seen(self, connection: Any) -> Any:
        """Return its columns."""
        self.seen_count += 1
        empty = Staged(pa.table({"n": pa.array([], pa.int64())}), SCHEMA.json())
        return empty.plan(connection)

    def made(self, connection: Any, asked: frozenset[int]) -> tuple[Any, Any]:
        """Return as many rows as it was made."""
        del asked
        self.made_count += 1
        rows = Staged(pa.table({"n": range(self.made_count)}), SCHEMA.json())
        return rows.plan(connection), rows


def frame_of(spark: SparkSession, table: Deferred) -> Any:
    """Return a frame of a table."""

    class Plan(plans.LogicalPlan):  # type: ignore[misc]
        def plan(self, session: Any) -> Any:
            del session
            return table.mark(self._plan_id)

    return spark._connected._frame(Plan(None))


def test_a_table_is_made_by_each_query_that_runs(spark: SparkSession) -> None:
    """Not by one that is looked at, nor by an SQL text that is only told."""
    table = Counting()
    frame = frame_of(spark, table)
    frame.createOrReplaceTempView("counting")

    assert frame.filter("n > 1").columns == ["n"]
    bound = spark.sql("with few as (select n from counting) select count(*) from few")
    assert spark.sql("select n from counting").columns == ["n"]
    frame.explain()
    assert table.seen_count
    assert table.made_count == 0
    assert frame.count() == 1
    assert bound.first() == (2,)
    assert len(list(frame.toLocalIterator())) == 3
    assert len(frame.toPandas()) == 4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("select 1", True),
        ("-- a note\n(select 1)", True),
        ("with a as (select 1) select * from a", True),
        ("with a as (select 1) insert into t select * from a", False),
        ("create table t as select 1", False),
        ("", False),
    ],
)
def test_a_text_only_asks_or_does_something(
    spark: SparkSession, text: str, expected: bool
) -> None:
    """What does something needs its tables when the engine is told of it."""
    del spark
    assert statements.only_asks(text) is expected


def test_a_table_whose_frame_is_gone_is_told(spark: SparkSession) -> None:
    """Rather than to ask the engine for it."""
    table = Counting()
    query = frame_of(spark, table)._plan.to_proto(spark._connected.client)
    del table
    gc.collect()

    with pytest.raises(IllegalStateError, match="whose frame is gone"):
        spark._connected.client.to_table(query, {})


def test_ids_and_paths_of_a_query_are_found(spark: SparkSession) -> None:
    """Also those that were put around it."""
    frame = spark.range(3).filter("id > 1")
    relation = frame._plan.plan(spark._connected.client)
    known = plan_ids_in(relation)
    wrapped = with_ids(relation, [1001, 1002])

    assert len(known) == 2
    assert {1001, 1002} < plan_ids_in(wrapped)
    assert wrapped.common.plan_id == 1002
    assert paths_in(wrapped) == []
