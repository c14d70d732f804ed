"""Lake tables: what the sinks for Delta Lake and Iceberg share."""

import re
import threading
from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeVar

import polars as pl

from millstream.engine.base.errors import SparkError
from millstream.engine.base.secrets import Secret, is_secret_key, secret_of
from millstream.engine.sinks.contract import Opening, Sink, SinkBatch, check_run
from millstream.engine.sinks.records import Records
from millstream.engine.sinks.tables.errors import TableError
from millstream.engine.sinks.tables.fitting import Types
from millstream.engine.sinks.tables.handed_over import (
    HandedOver,
    Place,
    hand_over,
    has_files,
)

T = TypeVar("T")
_TRIES, _WAIT_S = 8, 0.05
_SECRET = re.compile("key|sas|signature|authorization|keytab", re.IGNORECASE)
_WIDER: Mapping[Any, pl.DataType] = {
    pl.UInt8: pl.Int16(),
    pl.UInt16: pl.Int32(),
    pl.UInt32: pl.Int64(),
    pl.UInt64: pl.Decimal(20, 0),
    pl.Int128: pl.Decimal(38, 0),
    pl.Categorical: pl.String(),
    pl.Enum: pl.String(),
    pl.Duration: pl.Int64(),
}


@dataclass(frozen=True, slots=True)
class Marks:
    """What a table says of an output."""

    run: int
    """The newest run's number, 0 before any."""
    batch_ms: int | None
    """The newest batch that is committed."""


class LakeSink(Sink[Any]):
    """A sink whose batches are commits of a table, each with its mark.

    Subclasses say how: `_library` gives what the other methods are passed, for one try. A
    commit is refused when another one came after the marks were read, and is then tried
    again from the beginning, marks and all.
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        partition_by: Sequence[str],
        types: Types | None,
        *,
        evolve: bool,
    ) -> None:
        """Keep what a table is made with; `options` are those of `options_apart`."""
        self._options = dict(options)
        self._partition_by = tuple(partition_by)
        self._evolve, self._types = evolve, dict(types or {})

    # What a subclass has.

    @abstractmethod
    def _library(self) -> AbstractContextManager[Any]:
        """Return the library, or a connection of it, for as long as a try takes."""

    @abstractmethod
    def _opened(self, library: Any, output: str, run: int) -> Opening:
        """Make the table if it isn't there, and keep the run's number in it."""

    @abstractmethod
    def _table(self, library: Any) -> Any:
        """Return the table as it is now."""

    @abstractmethod
    def _marks_of(self, table: Any, output: str) -> Marks:
        """Return what a table says of an output."""

    @abstractmethod
    def _committed(
        self, library: Any, batch: SinkBatch, written: Mapping[int, HandedOver]
    ) -> None:
        """Commit a batch, unless it is."""

    @abstractmethod
    def _place(self, output: str) -> Place:
        """Return where large partitions wait, in the table's own storage."""

    @abstractmethod
    def _told(self) -> AbstractContextManager[None]:
        """Raise the library's errors as `TableError`, with their cause."""

    @abstractmethod
    def _is_late(self, error: BaseException | None) -> bool:
        """Say whether this is the library's error of a commit that another was before."""

    # What the driver and tasks call.

    def open(self, output: str, run: int) -> Opening:
        """Make the table if it isn't there, and keep the run's number in it."""
        opening = self._retried(lambda library: self._opened(library, output, run))
        with self._told():
            self._place(output).clear()
        return opening

    def begin(self, batch: SinkBatch) -> Collection[int]:
        """Return all partitions, if the batch is committed."""
        there = self._retried(
            lambda library: self._is_there(self._table(library), batch)
        )
        return range(batch.partitions) if there else ()

    def check(self, records: Records[Any]) -> None:
        """Raise if some of these records have no place in a table."""
        records.check_tables()

    def write(self, batch: SinkBatch, partition: int, records: Records[Any]) -> Any:
        """Return a partition for the driver."""
        with self._told():
            return hand_over(
                records,
                batch,
                partition,
                lambda: self._place(batch.output).of_run(batch.run),
            )

    def commit(self, batch: SinkBatch, written: Mapping[int, Any]) -> None:
        """Commit the batch, with its mark; one without records needs none."""
        if any(each.rows for each in written.values()):
            self._retried(lambda library: self._committed(library, batch, written))
        if has_files(written):
            self.abort(batch)

    def abort(self, batch: SinkBatch) -> None:
        """Delete files that tasks have handed over."""
        with self._told():
            self._place(batch.output).of_run(batch.run).clear()

    # What subclasses share.

    def _is_there(self, table: Any, batch: SinkBatch) -> bool:
        """Say whether a batch is committed; refuse an older run."""
        marks = self._marks_of(table, batch.output)
        check_run(batch, marks.run, self.identity)
        return marks.batch_ms is not None and marks.batch_ms >= batch.time_ms

    def _retried(self, work: Callable[[Any], T]) -> T:
        """Do what ends in a commit; again, some times, where others were faster."""
        for attempt in range(1, _TRIES + 1):
            try:
                with self._told(), self._library() as library:
                    return work(library)
            except TableError as error:
                if not self._is_late(error.__cause__) or attempt == _TRIES:
                    raise
                threading.Event().wait(_WAIT_S * attempt)
        msg = "the last try returns or raises"
        raise AssertionError(msg)

    def _check_partitioned_by(self, columns: Sequence[str]) -> None:
        """Raise if a table that is there has other partitions than the program says."""
        if self._partition_by and tuple(columns) != self._partition_by:
            msg = (
                f"{self.identity} is partitioned by {', '.join(columns) or 'nothing'}, "
                f"not by {', '.join(self._partition_by)}"
            )
            raise SparkError(msg, hint="leave partition_by out, or write a new table")

    def _shown(self, error: BaseException) -> str:
        """Return an error's text in one line, without the settings that are secret."""
        text = " ".join(str(error).split())
        for value in self._options.values():
            if isinstance(value, Secret):
                text = text.replace(value.reveal(), "*****")
        return text


def lake_type(dtype: pl.DataType) -> pl.DataType | None:
    """Return the type that a lake's table has for one of Polars, or None.

    Lakes have whole numbers with a sign only, and no durations: these are kept as
    microseconds.
    """
    match dtype:
        case pl.Datetime():
            return pl.Datetime("us", None if dtype.time_zone is None else "UTC")
        case (
            pl.List(inner=pl.DataType() as inner)
            | pl.Array(inner=pl.DataType() as inner)
        ):
            found = lake_type(inner)
            return None if found is None else pl.List(found)
        case pl.Struct():
            plain = pl.Schema(dtype.to_schema())
            fields = {name: lake_type(kind) for name, kind in plain.items()}
            known = {name: kind for name, kind in fields.items() if kind is not None}
            return pl.Struct(known) if len(known) == len(fields) else None
        case pl.Object() | pl.Unknown() | pl.Null():
            return None
        case _:
            return _WIDER.get(dtype.base_type(), dtype)


def options_apart(options: Mapping[str, str | Secret], prefix: str) -> dict[str, Any]:
    """Return settings of a storage or a catalog, those that are secret as secrets."""
    return {
        name: secret_of(value, f"{prefix}.{name}")
        if is_secret_key(name) or _SECRET.search(name) or "@" in str(value)
        else value
        for name, value in options.items()
    }


def polars_schema(arrow_schema: Any) -> pl.Schema:
    """Return the schema of an Arrow one: anything that pyarrow makes a schema of."""
    import pyarrow as pa  # noqa: PLC0415

    made: Any = pl.from_arrow(pa.schema(arrow_schema).empty_table())
    schema: pl.Schema = made.schema
    return schema
