"""Readers: `spark.read`, as far as the engine can be trusted.

Paths are the driver's own, and are looked for here, since the engine takes what isn't there
for a table without columns. Options that it would pass over are refused, unless they ask
for what it does anyway. Databases are read in the driver (`jdbc`).
"""

import inspect
import json
import os  # noqa: TID251  Paths that are like paths.
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import wraps
from typing import Any, Final

from millstream.engine.base.errors import PySparkNotImplementedError
from millstream.errors import PySparkTypeError, PySparkValueError
from millstream.sql import client
from millstream.sql.staging import new_file
from millstream.sql.tables import jdbc
from millstream.sql.tables.csv_files import csv_frame
from millstream.sql.tables.options import (
    DEFAULT_SOURCE,
    FILES,
    check_options,
    check_source,
    taken,
)
from millstream.sql.tables.paths import (
    NULLS,
    Files,
    Paths,
    is_many,
    of_driver,
    partition_type,
    with_nulls,
    with_types,
)

_readwriter = client.module("sql.connect.readwriter")
_frames: Any = client.module("sql.connect.dataframe")
_session: Any = client.module("sql.connect.session")
_types = client.module("sql.types")
_errors = client.module("errors")

_INFERENCE: Final = "spark.sql.sources.partitionColumnTypeInference.enabled"


def install() -> None:
    """Have `spark.read` of the client, loaded for us alone, be this."""
    _session.DataFrameReader = Reader


def _as_the_client(method: Callable[..., Any]) -> Callable[..., Any]:
    """Have a method take what the client's of that name takes: options by place, too."""
    of_client = inspect.signature(getattr(_readwriter.DataFrameReader, method.__name__))

    @wraps(method)
    def taking(*args: Any, **options: Any) -> Any:
        return method(**of_client.bind(*args, **options).arguments)

    taking.__signature__ = of_client  # type: ignore[attr-defined]
    return taking


class Reader(_readwriter.DataFrameReader):  # type: ignore[misc,name-defined]
    """The client's reader, with paths of the driver, databases, and RDDs of texts."""

    def load(
        self,
        path: Any = None,
        format: str | None = None,
        schema: Any = None,
        **options: Any,
    ) -> Any:
        """Return a frame of what is in files, or in a database's table.

        Raises:
            AnalysisException: A path isn't there; names it.
            PySparkNotImplementedError: An option or a format isn't known.
            SparkError: The database can't be reached, or refuses.
        """
        if format is not None:
            self.format(format)
        if schema is not None:
            self.schema(schema)
        self.options(**options)
        source = self._source()
        if source == "jdbc":
            return self._of_database()
        check_source(source)
        if source not in FILES:
            return super().load(of_driver(source, path))
        given = dict(self._options)
        places = Paths.of(_listed(taken(given, "path") if path is None else path))
        if not places.given:
            msg = f"read.{source} needs a path"
            raise PySparkValueError(msg)
        return self._of_files(source, places, given)

    def _source(self) -> str:
        named = self._format or self._client.conf.get(DEFAULT_SOURCE, "parquet")
        return str(named).lower()

    def _of_files(self, source: str, places: Paths, options: dict[str, str]) -> Any:
        check_options("read", source, options)
        places.check()
        partitions = places.partition_values()
        schema = self._schema_of(source, places, options, partitions)
        # The engine knows no NULL among them.
        empty = {
            name: schema[name].dataType
            for name, values in partitions.items()
            if schema is not None and name in schema.names and NULLS & set(values)
        }
        if empty:
            schema = with_types(schema, dict.fromkeys(empty, _types.StringType()))
        if source == "csv":
            frame = csv_frame(self._client, places, options, schema)
        else:
            known = schema.json() if schema is not None else self._schema
            plan = Files(places, format=source, schema=known, options=options)
            frame = self._df(plan)
        if schema is None and places.may_be_empty() and not frame.columns:
            msg = (
                f"Unable to infer schema for {source}: there is "
                f"nothing at {', '.join(places.given)}. It must be specified manually."
            )
            raise _errors.AnalysisException(msg, "UNABLE_TO_INFER_SCHEMA")
        return frame if not empty else with_nulls(frame, empty)

    def _schema_of(
        self,
        source: str,
        places: Paths,
        options: Mapping[str, str],
        partitions: Mapping[str, Sequence[str]],
    ) -> Any:
        """Return the schema that was given, or one with partitions' types; else None."""
        schema = _struct_of(self._client, self._schema)
        if not partitions:
            return schema
        if schema is None:
            plan = Files(places, format=source, schema="", options=options)
            schema = _frames.DataFrame(plan, self._client).schema
            partitions = {k: v for k, v in partitions.items() if k in schema.names}
            schema = _types.StructType(
                [each for each in schema.fields if each.name not in partitions]
            )
        is_on = self._client.conf.get(_INFERENCE, "true") == "true"
        for name, values in partitions.items():
            if name not in schema.names:
                kind = partition_type(values) if is_on else _types.StringType()
                schema = schema.add(name, kind)
        return schema

    def _of_database(self) -> Any:
        if self._schema:
            msg = "a database's table has its own schema: read.jdbc takes none"
            raise PySparkNotImplementedError(msg, hint="cast in a query")
        return self._df(jdbc.table(self._client, self._options))

    def table(self, tableName: str) -> Any:
        """Return a view or table by its name."""
        return self._client.table(tableName)

    def jdbc(
        self,
        url: str,
        table: str,
        column: str | None = None,
        lowerBound: Any = None,
        upperBound: Any = None,
        numPartitions: int | None = None,
        predicates: Sequence[str] | None = None,
        properties: Mapping[str, str] | None = None,
    ) -> Any:
        """Return a frame of a database's table, which is read when a query needs it.

        `table` is a name, or a query in parentheses with a name. With `column`, the table
        is read in `numPartitions` parts of its values, side by side; with `predicates` in
        a part for each. `properties` has `user` and `password`, and what else the
        database takes.

        Raises:
            SparkError: The database can't be reached, or refuses.
        """
        self.format("jdbc").options(**(properties or {}))
        self.options(url=url, dbtable=table)
        split = {
            "partitionColumn": column,
            "lowerBound": lowerBound,
            "upperBound": upperBound,
            "numPartitions": numPartitions,
        }
        if column is not None:
            self.options(**{name: str(value) for name, value in split.items()})
        plan = jdbc.table(self._client, self._options, predicates)
        return self._df(plan)

    @_as_the_client
    def json(self, path: Any, schema: Any = None, **options: Any) -> Any:
        """Return a frame of JSON, a record a line: files, or an RDD or frame of texts."""
        if _is_path(path):
            return super().json(path, schema=schema, **options)
        self._set_opts(schema, **options)
        texts = (_in_one_line(each) for each in _texts_of(path))
        return self._of_texts("json", texts)

    @_as_the_client
    def csv(self, path: Any, schema: Any = None, **options: Any) -> Any:
        """Return a frame of CSV: files, or an RDD or frame of texts, a line each."""
        if _is_path(path):
            return super().csv(path, schema=schema, **options)
        self._set_opts(schema, **options)
        return self._of_texts("csv", _texts_of(path))

    def _of_texts(self, source: str, texts: Iterable[str]) -> Any:
        data = "".join(f"{each}\n" for each in texts).encode()
        path = new_file(len(data), f".{source}")
        path.write_bytes(data)
        made = self._of_files(source, Paths((str(path),)), dict(self._options))
        # The file is there for as long as a plan refers to it.
        files = made._plan
        while not isinstance(files, Files):
            files = files._child
        weakref.finalize(files, path.unlink, missing_ok=True)
        return made


def _is_path(value: Any) -> bool:
    return isinstance(value, (str, list, tuple, os.PathLike))


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if is_many(value) else [value]


def _texts_of(value: Any) -> Iterator[str]:
    """Yield the texts of an RDD, or of a frame's only column."""
    if isinstance(value, _frames.DataFrame):
        if [each.dataType for each in value.schema.fields] != [_types.StringType()]:
            msg = "a frame to be parsed has one column of texts"
            raise _errors.AnalysisException(msg)
        found = [row[0] for row in value.collect()]
    elif hasattr(value, "ctx") and hasattr(value, "collect"):
        found = value.collect()
    else:
        raise _errors.PySparkTypeError(
            errorClass="NOT_EXPECTED_TYPE",
            messageParameters={
                "arg_name": "path",
                "expected_type": "str, list, RDD or DataFrame",
                "arg_type": type(value).__name__,
            },
        )
    for each in found:
        if each is not None:
            yield each.decode() if isinstance(each, bytes) else str(each)


def _in_one_line(text: str) -> str:
    # Within JSON's own texts there are no line ends.
    return text.replace("\r", " ").replace("\n", " ")


def _struct_of(session: Any, schema: str) -> Any:
    """Return a reader's schema, JSON or DDL, as StructType; None if it has none."""
    if not schema:
        return None
    if schema.lstrip().startswith("{"):
        return _types.StructType.fromJson(json.loads(schema))
    found = session._parse_ddl(schema)
    if not isinstance(found, _types.StructType):
        msg = f"a schema has columns, with their names: not {schema!r}"
        raise PySparkTypeError(msg)
    return found
