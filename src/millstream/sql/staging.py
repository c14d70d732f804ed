"""Staging: how a table gets to the engine: in the query, or in a file that it maps.

A message to the engine has at most 128 MiB and is read again with each action, so all but
small tables are Arrow files, in shared memory where there is room. A file is there for as
long as a plan refers to it, whichever process of the engine reads it.
"""

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

    @property
    def _table(self) -> "pa.Table | None":
        with self._making:
            if callable(self._given):
                self._given = self._given()
            return self._given

    @_table.setter
    def _table(self, table: Any) -> None:
        """Take none: the client's class sets one."""

    def plan(self, session: Any) -> Any:
        """Return what the engine is told."""
        table = self._table
        if table is None or table.nbytes <= _INLINE_MAX or not table.num_columns:
            return super().plan(session)
        made = self._create_proto_relation()
        source = made.read.data_source
        source.format = "arrow"
        source.paths.append(str(self._file(table)))
        if self._schema is not None:
            source.schema = self._schema
        return made

    def _serialize_table(self) -> bytes:
        table = with_null_masks(self._table)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        return sink.getvalue().to_pybytes()

    def _file(self, table: "pa.Table") -> Path:
        with self._making:
            if self._path is None:
                self._path = _written(with_null_masks(table))
                weakref.finalize(self, self._path.unlink, missing_ok=True)
            return self._path


def _written(table: "pa.Table") -> Path:
    assert _files is not None, "placed when the session began"
    with _lock:
        path, _ = _files.new_path(table.nbytes)
    path = path.with_suffix(".arrow")
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
