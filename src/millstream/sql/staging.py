"""Staging: how a table gets to the engine: in the query, or in a file that it maps.

A message to the engine has at most 128 MiB and is read again with each action, so all but
small tables are Arrow files, in shared memory where there is room. A file is there for as
long as a plan refers to it, whichever process of the engine reads it.
"""

import json
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from millstream.engine.workers.payloads import (
    PayloadFiles,
    new_directories,
)
from millstream.sql import client

if TYPE_CHECKING:
    from collections.abc import Callable

_plan = client.module("sql.connect.plan")
_types = client.module("sql.connect.types")

_INLINE_MAX = 64 << 10
_BATCH_ROWS = 64 << 10
"""Of a file: the engine's threads read a batch each."""

_lock = threading.Lock()
_files: PayloadFiles | None = None


def place_files(disk: Path) -> None:
    """Have files that find no room in shared memory below `disk`."""
    global _files  # noqa: PLW0603  One for the process: plans outlive sessions.
    with _lock:
        if _files is None:
            _files = PayloadFiles(new_directories(disk))


class Staged(_plan.LocalRelation):  # type: ignore[misc,name-defined]
    """The plan of a table that is here; in place of the client's own."""

    is_of_batch = False
    """Whether it has what is a batch's, and is to go with it."""

    def __init__(
        self,
        table: "pa.Table | Callable[[], pa.Table] | None",
        schema: str | None = None,
    ) -> None:
        """Be the plan of `table`, or of what it returns when the plan is first used.

        `schema` is Spark's, as JSON; needed where there is no table.
        """
        super().__init__(None, schema=schema or "")
        self._schema = schema
        self._given = table
        self._making = threading.Lock()
        self._path: Path | None = None
        self._inner_id = self._fresh_plan_id()

    @property
    def _table(self) -> "pa.Table | None":
        with self._making:
            if callable(self._given):
                self._given = self._given()
            return self._given

    @_table.setter
    def _table(self, table: Any) -> None:
        """Take none: the client's class sets one."""

    @property
    def names(self) -> list[str]:
        """The names of its columns."""
        table = self._table
        return [] if table is None else list(table.column_names)

    def plan(self, session: Any) -> Any:
        """Return what the engine is told."""
        table = self._table
        if table is None or table.nbytes <= _INLINE_MAX or not table.num_columns:
            return super().plan(session)
        made = self._create_proto_relation()
        path = str(self._file(table))
        if not _is_renamed(table):
            _read_arrow(made, path)
            return made
        # Columns of the file are called by their places. A cast has moments in the time
        # zone that the session has now.
        made.project.input.common.plan_id = self._inner_id
        _read_arrow(made.project.input, path)
        for place, (name, kind) in enumerate(self._columns(table)):
            alias = made.project.expressions.add().alias
            alias.name.append(name)
            column = alias.expr
            if _has_moments(table.schema.field(place).type):
                column.cast.type.CopyFrom(_types.pyspark_types_to_proto_types(kind))
                column = column.cast.expr
            column.unresolved_attribute.unparsed_identifier = f"`{place}`"
        return made

    def _columns(self, table: "pa.Table") -> list[tuple[str, Any]]:
        """Return the columns' names, and their types as Spark has them."""
        if self._schema:
            parse = client.module("sql.types").StructType.fromJson
            schema = parse(json.loads(self._schema))
        else:
            of_arrow = client.module("sql.pandas.types").from_arrow_schema
            schema = of_arrow(table.schema, prefer_timestamp_ntz=True)
        return [(each.name, each.dataType) for each in schema.fields]

    def _serialize_table(self) -> bytes:
        table = with_null_masks(self._table)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        data: bytes = sink.getvalue().to_pybytes()
        return data

    def _file(self, table: "pa.Table") -> Path:
        with self._making:
            if self._path is None:
                self._path = _written(with_null_masks(table))
                weakref.finalize(self, self._path.unlink, missing_ok=True)
            return self._path


def new_file(nbytes: int, suffix: str) -> Path:
    """Return where a file of about `nbytes` can be written; whoever asks removes it."""
    assert _files is not None, "placed when the session began"
    with _lock:
        path, _ = _files.new_path(nbytes)
    return path.with_suffix(suffix)


def _read_arrow(relation: Any, path: str) -> None:
    # Without the schema: the engine would compare it with the file's, down to how Arrow
    # calls the items of a list.
    relation.read.data_source.format = "arrow"
    relation.read.data_source.paths.append(path)


def _is_renamed(table: "pa.Table") -> bool:
    """Say whether a file has other names: the engine wants moments cast, and one of each."""
    names = table.column_names
    return len(set(names)) < len(names) or any(map(_has_moments, table.schema.types))


def _has_moments(kind: Any) -> bool:
    if pa.types.is_timestamp(kind):
        return kind.tz is not None
    return any(_has_moments(kind.field(i).type) for i in range(kind.num_fields))


def _written(table: "pa.Table") -> Path:
    if _is_renamed(table):
        table = table.rename_columns([str(place) for place in range(table.num_columns)])
    path = new_file(table.nbytes, ".arrow")
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as out:
        out.write_table(table, max_chunksize=_BATCH_ROWS)
    return path


def with_null_masks(table: "pa.Table") -> "pa.Table":
    """Return the same table, in which fields of null structs are null themselves.

    Arrow leaves open what is in a field of a null struct, and the engine reads it.
    """
    for place, field in enumerate(table.schema):
        if _has_structs(field.type):
            chunks = [_masked(each) for each in table.column(place).chunks]
            column = pa.chunked_array(chunks, type=field.type)
            table = table.set_column(place, field, column)
    return table


def _has_structs(kind: Any) -> bool:
    if pa.types.is_struct(kind):
        return True
    return any(_has_structs(kind.field(i).type) for i in range(kind.num_fields))


def _masked(array: Any) -> Any:
    kind = array.type
    if not _has_structs(kind):
        return array
    if pa.types.is_struct(kind):
        fields = [kind.field(i) for i in range(kind.num_fields)]
        # Flattened, children have their parent's nulls.
        children = [_masked(each) for each in array.flatten()]
        mask = pc.is_null(array) if array.null_count else None
        return pa.StructArray.from_arrays(children, fields=fields, mask=mask)
    mask = pc.is_null(array) if array.null_count else None
    if pa.types.is_map(kind):
        whole = pa.concat_arrays(
            [array]
        )  # Without an offset, which from_arrays refuses.
        keys, items = _masked(whole.keys), _masked(whole.items)
        return pa.MapArray.from_arrays(whole.offsets, keys, items, type=kind, mask=mask)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        whole = pa.concat_arrays([array])
        of = pa.LargeListArray if pa.types.is_large_list(kind) else pa.ListArray
        return of.from_arrays(
            whole.offsets, _masked(whole.values), type=kind, mask=mask
        )
    return array
