"""Tests of sql/sail/leftovers.py: what a command leaves that no new process would have."""

from typing import Any

import pytest

from millstream.sql import client
from millstream.sql.sail.leftovers import left_by

proto: Any = client.module("sql.connect.proto")


def _command(text: str) -> Any:
    relation = proto.Relation(sql=proto.SQL(query=text))
    return proto.Command(sql_command=proto.SqlCommand(input=relation))


@pytest.mark.parametrize(
    "text",
    [
        "create table t (a int)",
        "CREATE DATABASE d",
        "-- a comment\n/* another */ use d",
        "insert into t values (1)",
        "alter table t add column b int",
    ],
)
def test_statements_that_change_the_catalog_leave_something(text: str) -> None:
    """It is named by the statement."""
    left = left_by(_command(text))
    assert left is not None
    assert left.startswith("the outcome of '")


@pytest.mark.parametrize(
    "text",
    ["select 1", "with a as (select 1) select * from a", "show tables", "-- ", ""],
)
def test_queries_leave_nothing(text: str) -> None:
    """Nor does what only tells."""
    assert left_by(_command(text)) is None


def test_writers_leave_tables_but_no_files() -> None:
    """By name."""
    save = proto.WriteOperation.SaveTable(table_name="t")
    into_table = proto.WriteOperation(table=save)
    into_file = proto.WriteOperation(path="/nowhere")
    second = proto.WriteOperationV2(table_name="u")

    assert left_by(proto.Command(write_operation=into_table)) == "the table 't'"
    assert left_by(proto.Command(write_operation=into_file)) is None
    assert left_by(proto.Command(write_operation_v2=second)) == "the table 'u'"


def test_the_catalog_leaves_tables() -> None:
    """But nothing where it only tells."""

    def plan(**catalog: Any) -> Any:
        relation = proto.Relation(catalog=proto.Catalog(**catalog))
        return proto.Plan(root=relation)

    created = proto.CreateTable(table_name="t")
    assert (
        left_by(plan(create_table=created))
        == "the outcome of the catalog's create_table"
    )
    assert left_by(plan(list_tables=proto.ListTables())) is None


def test_streams_stay() -> None:
    """They run there."""
    start = proto.WriteStreamOperationStart(query_name="q")
    command = proto.Command(write_stream_operation_start=start)
    assert left_by(command) == "a streaming query"
