"""Leftovers: what a command leaves in the engine's process, and no new process would have."""

import re
from typing import Any

from millstream.sql.sail.conditions import sql_of, text_of

_WORD = re.compile(r"(?:\s|--[^\n]*\n|/\*.*?\*/)*(\w+)", re.DOTALL)
_LEAVING = frozenset(
    {
        "ALTER",
        "CREATE",
        "DECLARE",
        "DELETE",
        "INSERT",
        "LOAD",
        "MERGE",
        "REPLACE",
        "SET",
        "TRUNCATE",
        "UPDATE",
        "USE",
    }
)
_CATALOG = ("create_table", "create_external_table", "set_current_database")
_STREAM = "write_stream_operation_start"


def left_by(plan: Any) -> str | None:
    """Return what a plan or command has left, for a message; None if nothing."""
    sql = sql_of(plan)
    which = _which(plan)
    if sql is not None and which in ("sql_command", ""):
        found = _WORD.match(sql)
        is_leaving = found is not None and found[1].upper() in _LEAVING
        return f"the outcome of {text_of(plan)!r}" if is_leaving else None
    if which == "write_operation":
        name = plan.write_operation.table.table_name
        return f"the table {name!r}" if name else None
    if which == "write_operation_v2":
        return f"the table {plan.write_operation_v2.table_name!r}"
    if which == _STREAM:
        return "a streaming query"
    if which == "root" and plan.root.WhichOneof("rel_type") == "catalog":
        done = plan.root.catalog.WhichOneof("cat_type")
        return f"the outcome of the catalog's {done}" if done in _CATALOG else None
    return None


def _which(plan: Any) -> str:
    for group in ("command_type", "op_type"):
        if group in plan.DESCRIPTOR.oneofs_by_name:
            return plan.WhichOneof(group) or ""
    return ""
