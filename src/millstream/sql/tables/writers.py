"""Writers: `df.write`: files, and databases, which are written in the driver (`jdbc`)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from millstream.engine.base.errors import PySparkNotImplementedError
from millstream.errors import PySparkValueError
from millstream.sql import client
from millstream.sql.deferred import paths_in
from millstream.sql.tables import jdbc
from millstream.sql.tables.options import (
    DEFAULT_SOURCE,
    FILES,
    check_options,
    check_source,
    taken,
)
from millstream.sql.tables.paths import (
    NO_VALUE,
    absolute,
    local_path,
    of_driver,
    quoted,
)

_DONE = "_SUCCESS"
"""The empty file that tells who waits for a directory that it is whole."""

_readwriter = client.module("sql.connect.readwriter")
_frames: Any = client.module("sql.connect.dataframe")
_errors = client.module("errors")


def install() -> None:
    """Have `df.write` of the client, loaded for us alone, be this."""
    _frames.DataFrameWriter = Writer


class Writer(_readwriter.DataFrameWriter):  # type: ignore[misc,name-defined]
    """The client's writer, with paths of the driver, and databases."""

    def save(
        self,
        path: Any = None,
        format: str | None = None,
        mode: str | None = None,
        partitionBy: Any = None,
        **options: Any,
    ) -> None:
        """Write the frame to a directory of files, or to a database's table.

        Raises:
            AnalysisException: The path is there, and the mode is "error"; or the frame
                reads what is to be overwritten.
            PySparkNotImplementedError: An option or a format isn't known.
            SparkError: The database can't be reached, or refuses.
        """
        self.mode(mode).options(**options)
        if partitionBy is not None:
            self.partitionBy(partitionBy)
        if format is not None:
            self.format(format)
        source = self._source()
        if source == "jdbc":
            frame = _frames.DataFrame(self._df, self._spark)
            jdbc.write(frame, self._write.options, self._mode())
            return
        check_source(source)
        if source not in FILES:
            super().save(of_driver(source, path))
            return
        if source in ("avro", "binaryfile"):
            msg = f"format {source!r} can be read, and not written"
            raise PySparkNotImplementedError(msg, hint="write Parquet")
        check_options("write", source, self._write.options)
        self._save_files(source, path)

    def _source(self) -> str:
        named = self._write.source or self._spark.conf.get(DEFAULT_SOURCE, "parquet")
        self._write.source = str(named)
        return str(named).lower()

    def _mode(self) -> str:
        return mode_of(self._write.mode)

    def _save_files(self, source: str, path: Any) -> None:
        if self._write.num_buckets >= 0:
            msg = "bucketBy isn't known when files are written"
            raise PySparkNotImplementedError(msg, hint="partitionBy")
        if path is None:
            path = taken(self._write.options, "path")
        if path is None:
            msg = f"write.{source} needs a path"
            raise PySparkValueError(msg)
        place = absolute(path)
        local, mode = local_path(place), self._mode()
        is_there = local is not None and Path(local).exists()
        if is_there and mode == "error":
            msg = f"Path {place} already exists. Set mode as "
            msg += '"overwrite" to overwrite the existing path.'
            raise _errors.AnalysisException(msg, "PATH_ALREADY_EXISTS")
        if is_there and mode == "ignore":
            return
        relation = self._df.plan(self._spark.client)
        if mode == "overwrite":
            _check_not_read(place, paths_in(relation))
        partitions = self._write.partitioning_cols
        if partitions:
            self._write._child = _partitionable(self._df, self._spark, partitions)
        if local is not None:
            Path(local, _DONE).unlink(missing_ok=True)
        super().save(place)
        if local is not None:
            self._complete(source, Path(local))
            Path(local, _DONE).touch()

    def _complete(self, source: str, directory: Path) -> None:
        """Have a directory there though no record was written, with the columns."""
        if directory.is_dir() and any(directory.iterdir()):
            return
        directory.mkdir(parents=True, exist_ok=True)
        if source == "parquet":
            import pyarrow as pa  # noqa: PLC0415  An extra, as the next.
            from pyarrow import parquet  # noqa: PLC0415

            schema = _frames.DataFrame(self._df, self._spark).schema
            known = client.module("sql.pandas.types").to_arrow_schema(
                schema, timezone="UTC"
            )
            parquet.write_table(
                pa.Table.from_batches([], known), directory / "part-0.parquet"
            )


def _partitionable(plan: Any, session: Any, names: Sequence[str]) -> Any:
    """Return a plan whose partitions' columns are texts, which no NULL is among.

    The engine takes NULL for 0, or for an empty text.
    """
    functions = client.module("sql.connect.functions.builtin")
    frame = _frames.DataFrame(plan, session)
    wanted = {each.lower() for each in names}
    columns = []
    for name in frame.columns:
        column = functions.col(quoted(name))
        if name.lower() in wanted:
            text = functions.nullif(column.cast("string"), functions.lit(""))
            column = functions.coalesce(text, functions.lit(NO_VALUE))
        columns.append(column.alias(name))
    return frame.select(*columns)._plan


def mode_of(mode: str | None) -> str:
    """Return a writer's mode: append, overwrite, ignore or error.

    Raises:
        PySparkValueError: It is another.
    """
    known = (mode or "error").lower()
    if known in ("errorifexists", "default"):
        known = "error"
    if known not in ("append", "overwrite", "ignore", "error"):
        msg = f"mode is append, overwrite, ignore or error, not {mode!r}"
        raise PySparkValueError(msg)
    return known


def _check_not_read(place: str, read: Sequence[str]) -> None:
    target = Path(local_path(place) or place)
    for each in read:
        path = Path(local_path(each) or each)
        if target == path or target in path.parents or path in target.parents:
            msg = (
                f"Can't overwrite {place}, which the frame "
                "reads: write to another path, or cache() the frame first"
            )
            raise _errors.AnalysisException(msg, "UNSUPPORTED_OVERWRITE.PATH")
