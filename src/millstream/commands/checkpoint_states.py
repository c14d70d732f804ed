"""Checkpoint states: the keyed state in a checkpoint directory as tables.

A state's values are unpickled only as far as that runs nothing: numbers, text, dates,
tuples, lists, dicts and the like. Objects of a program's classes need `trusts`.
"""

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from millstream.commands.checkpoint_report import report
from millstream.engine.base import frames, plain_pickle
from millstream.engine.base.errors import SparkError, UsageError
from millstream.engine.durable import state_frames
from millstream.engine.durable.state_files import StateFiles
from millstream.engine.streams.manifest import absolute


@dataclass(frozen=True, slots=True)
class State:
    """The state of one stream, as a checkpoint names it."""

    name: str
    kind: str
    files: StateFiles

    def rows(self, version: int | None = None) -> Any:
        """Return a version, the newest by default, as a Polars frame; None: it is empty.

        Raises:
            UsageError: There is no such version.
            DurabilityError, FileNotFoundError: A file is damaged or missing.
        """
        try:
            with self.files.reading(version) as reading:
                parts = [frame for _, frame in self.files.partitions(reading)]
        except KeyError as error:
            there = ", ".join(map(str, self.files.versions)) or "none"
            msg = f"state '{self.name}' isn't kept as of batch {version} ms"
            raise UsageError(msg, hint=f"it is as of: {there}") from error
        return state_frames.concat(parts) if parts else None


@dataclass(frozen=True, slots=True)
class StateReport:
    """What is in one state."""

    name: str
    kind: str
    batches_ms: tuple[int, ...]
    """The batches as of which it can be read."""
    keys: int
    key_type: str
    value_type: str


def states(directory: str) -> dict[str, State]:
    """Return the states in the newest valid checkpoint of a directory, by name.

    Raises:
        UsageError: There is no checkpoint there, or it has no state.
    """
    facts = report(directory).manifest
    found = {
        each.name: State(
            each.name,
            each.kind,
            StateFiles.restore(
                absolute(directory, each.state["directory"]), each.state
            ),
        )
        for each in facts.operators
        if each.state is not None
    }
    if not found:
        msg = f"the checkpoint in '{directory}' has no keyed state"
        raise UsageError(
            msg, hint="updateStateByKey and mapWithState keep some, as do their names"
        )
    return found


def table(state: State, version: int | None = None, *, trusts: bool = False) -> Any:
    """Return a state as a Polars frame with the columns `key` and `value`.

    Tuples are structs of `_1`, `_2` ..., as SQL has them; values whose types don't go
    together are their Python text.

    Raises:
        UsageError: It holds objects that aren't unpickled without `trusts`.
    """
    import polars as pl  # noqa: PLC0415  Heavy.

    rows = state.rows(version)
    if rows is None:
        return pl.DataFrame(schema={"key": pl.Null, "value": pl.Null})
    return pl.DataFrame(
        [
            _column(state.name, rows, "key", "key", trusts=trusts),
            _column(state.name, rows, "state", "value", trusts=trusts),
        ]
    )


def _column(state: str, rows: Any, name: str, title: str, *, trusts: bool) -> Any:
    import polars as pl  # noqa: PLC0415  Heavy.

    if name in rows.columns:
        return rows[name].alias(title)
    pickled = next(e for e in rows.columns if e.startswith(f"{name}_"))
    values = [
        None if each is None else _plain(_unpickled(state, each, trusts=trusts))
        for each in rows[pickled].to_list()
    ]
    if _go_together(values):
        return pl.Series(title, values)
    texts = [None if each is None else repr(each) for each in values]
    return pl.Series(title, texts, dtype=pl.String)


def _unpickled(state: str, data: bytes, *, trusts: bool) -> Any:
    if trusts:
        return frames.loads(data)
    try:
        return plain_pickle.loads(data, _HARMLESS)
    except SparkError as error:
        msg = f"state '{state}' holds objects that aren't plain data: {error}"
        hint = (
            "--trust unpickles them, which runs code: only where you trust who wrote the "
            "directory, and where the program's modules can be imported"
        )
        raise UsageError(msg, hint=hint) from error


# Making one of these runs nothing that the data chooses.
_HARMLESS = frozenset(
    {
        ("collections", "Counter"),
        ("collections", "OrderedDict"),
        ("collections", "deque"),
        ("datetime", "date"),
        ("datetime", "datetime"),
        ("datetime", "time"),
        ("datetime", "timedelta"),
        ("datetime", "timezone"),
        ("decimal", "Decimal"),
        ("uuid", "UUID"),
    }
)


def _plain(value: Any) -> Any:
    """Return what a table can have in place of a Python value."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        named = {e.name: getattr(value, e.name) for e in dataclasses.fields(value)}
        return {name: _plain(each) for name, each in named.items()}
    match value:
        case tuple() if hasattr(value, "_asdict"):
            return {name: _plain(each) for name, each in value._asdict().items()}
        case tuple():
            return {f"_{at}": _plain(each) for at, each in enumerate(value, 1)}
        case Mapping():
            return {str(name): _plain(each) for name, each in value.items()}
        case set() | frozenset():
            return sorted(map(_plain, value), key=repr)
        case list() | Sequence() if not isinstance(value, str | bytes):
            return [_plain(each) for each in value]
        case _:
            return value


def _go_together(values: Iterable[Any]) -> bool:
    """Say whether values have one type that a table's column can have."""
    kinds = {_kind(each) for each in values if each is not None}
    return len(kinds) <= 1 and "" not in kinds


def _kind(value: Any) -> str:
    """Return a name that values of one column share; empty where there is no column."""
    if isinstance(value, dict):
        return "struct"
    if isinstance(value, list):
        inner = {_kind(each) for each in value if each is not None}
        return "" if len(inner) > 1 or "" in inner else "list"
    return type(value).__name__ if type(value).__module__ in _COLUMNAR else ""


_COLUMNAR = frozenset({"builtins", "datetime", "decimal"})


def query(
    directory: str, sql: str, version: int | None = None, *, trusts: bool = False
) -> Any:
    """Return the answer to an SQL query on the states of a checkpoint, a Polars frame.

    A state is a table by the name of its stream; only those that the query names are read.

    Raises:
        UsageError: There is no checkpoint or no state, or the query is wrong.
    """
    import polars as pl  # noqa: PLC0415  Heavy.

    there = states(directory)
    asked = sql.lower()
    named = {name: each for name, each in there.items() if name.lower() in asked}
    tables = {name: table(each, version, trusts=trusts) for name, each in named.items()}
    try:
        with pl.SQLContext(tables) as context:
            return context.execute(sql, eager=True)
    except pl.exceptions.PolarsError as error:
        msg = f"the query can't be answered: {error}"
        names = ", ".join(f'"{name}"' for name in there)
        raise UsageError(
            msg, hint=f"tables are {names}, with the columns key and value"
        ) from error


def overview(directory: str) -> list[StateReport]:
    """Return what each state of a checkpoint holds.

    Raises:
        UsageError: There is no checkpoint, or it has no state.
    """
    return [_overview(each) for each in states(directory).values()]


def _overview(state: State) -> StateReport:
    rows = state.rows()
    kinds = {} if rows is None else dict(rows.schema)
    return StateReport(
        state.name,
        state.kind,
        tuple(state.files.versions),
        0 if rows is None else rows.height,
        _type(kinds, "key"),
        _type(kinds, "state"),
    )


def _type(kinds: Mapping[str, Any], name: str) -> str:
    if name in kinds:
        return str(kinds[name])
    return "objects" if any(each.startswith(f"{name}_") for each in kinds) else "none"


# As text.


def as_table(frame: Any) -> str:
    """Return all rows of a Polars frame as a table for people."""
    import polars as pl  # noqa: PLC0415  Heavy.

    with pl.Config(
        tbl_rows=-1,
        tbl_cols=-1,
        tbl_hide_dataframe_shape=True,
        tbl_hide_column_data_types=True,
        tbl_width_chars=10_000,
        fmt_str_lengths=200,
        fmt_table_cell_list_len=20,
    ):
        return str(frame)


def as_json_lines(frame: Any) -> Iterator[str]:
    """Yield a JSON object a row."""
    for row in frame.iter_rows(named=True):
        yield json.dumps(row, default=_text)


def as_csv(frame: Any) -> Iterator[str]:
    """Yield a heading and a line a row; what is nested is JSON."""
    import csv  # noqa: PLC0415  Only here.
    import io  # noqa: PLC0415  Only here.

    out = io.StringIO()
    writer = csv.writer(out, lineterminator="")
    for row in (frame.columns, *frame.iter_rows()):
        writer.writerow(
            json.dumps(each, default=_text) if isinstance(each, dict | list) else each
            for each in row
        )
        yield out.getvalue()
        out.seek(0)
        out.truncate()


def _text(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
