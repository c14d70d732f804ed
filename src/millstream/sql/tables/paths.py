"""Paths: where files are that are read or written; local ones are the driver's."""

import glob
import os  # noqa: TID251  Paths that are like paths.
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from millstream.errors import PySparkTypeError
from millstream.sql import client

_plans = client.module("sql.connect.plan")
_types = client.module("sql.types")
_errors = client.module("errors")

_DIRECTORIES: Final = frozenset({"delta", "iceberg", "arrow"})
NO_VALUE: Final = "__HIVE_DEFAULT_PARTITION__"
NULLS: Final = frozenset({NO_VALUE, ""})
"""What partitions of NULL, and of an empty text, are called."""
_GLOB: Final = re.compile(r"[*?\[{]")


@dataclass(frozen=True, slots=True)
class Paths:
    """Where a frame's files are."""

    given: tuple[str, ...]
    """As the engine is told; local ones are absolute."""

    @classmethod
    def of(cls, paths: Iterable[Any]) -> "Paths":
        """Return paths as the engine is told them."""
        return cls(tuple(absolute(each) for each in paths))

    def check(self) -> None:
        """Raise if one isn't there.

        Raises:
            AnalysisException: Names it.
        """
        for each in self.given:
            local = local_path(each)
            if local is not None and not _found(local):
                msg = f"Path does not exist: {each}."
                raise _errors.AnalysisException(msg, "PATH_NOT_FOUND")

    def may_be_empty(self) -> bool:
        """Say whether there may be no file at all, for which the engine finds no columns."""
        return not any(map(_has_files, map(local_path, self.given)))

    def partition_values(self) -> dict[str, list[str]]:
        """Return the values of each partition column, by its name, of local paths."""
        found: dict[str, list[str]] = {}
        for each in self.given:
            local = local_path(each)
            if local is not None and not _GLOB.search(local):
                _note_partitions(Path(local), found)
        return found


def absolute(path: Any) -> str:
    """Return a path as the engine is told it: by the driver's working directory.

    Raises:
        PySparkTypeError: It is none.
    """
    if not isinstance(path, (str, os.PathLike)):
        msg = f"a path is a text, not {type(path).__name__}"
        raise PySparkTypeError(msg)
    text = os.fspath(path)
    if urlsplit(text).scheme:
        return text
    return str(Path.cwd() / Path(text).expanduser()) if text else text


def of_driver(source: str, path: Any) -> Any:
    """Return a path for the engine to find, if the source is one that goes by paths."""
    if source not in _DIRECTORIES or path is None:
        return path
    return [absolute(each) for each in path] if is_many(path) else absolute(path)


def is_many(value: Any) -> bool:
    """Say whether a value is several paths."""
    return isinstance(value, (list, tuple))


def local_path(path: str) -> str | None:
    """Return a path of this machine; None if it is elsewhere."""
    parts = urlsplit(path)
    if not parts.scheme:
        return path
    return unquote(parts.path) if parts.scheme == "file" else None


def _found(path: str) -> bool:
    if Path(path).exists():
        return True
    return any(glob.glob(each) for each in _without_braces(path))  # noqa: PTH207


def _has_files(path: str | None) -> bool:
    """Say whether there is a file; not, where that would take a request elsewhere."""
    if path is None:
        return False
    known = Path(path)
    return not known.is_dir() or any(each.is_file() for each in known.rglob("*"))


def _without_braces(pattern: str) -> Iterator[str]:
    """Yield what a pattern with `{a,b}` stands for."""
    head, brace, rest = pattern.partition("{")
    choices, end, tail = rest.partition("}")
    if not (brace and end):
        yield pattern
        return
    for each in choices.split(","):
        yield from _without_braces(head + each + tail)


def _note_partitions(directory: Path, found: dict[str, list[str]]) -> None:
    if not directory.is_dir():
        return
    for each in directory.iterdir():
        name, equals, value = each.name.partition("=")
        if equals and each.is_dir():
            found.setdefault(unquote(name), []).append(unquote(value))
            _note_partitions(each, found)


def partition_type(values: Sequence[str]) -> Any:
    """Return the type that all values of a partition column have."""
    known = [each for each in values if each not in NULLS]
    for kind, parse in _PARTITION_TYPES:
        try:
            numbers: list[Any] = [parse(each) for each in known]
        except ValueError:
            continue
        if kind is _types.LongType and all(-(2**31) <= n < 2**31 for n in numbers):
            return _types.IntegerType()
        if kind is _types.LongType and not all(-(2**63) <= n < 2**63 for n in numbers):
            continue
        return kind()
    return _types.StringType()


def with_types(schema: Any, kinds: Mapping[str, Any]) -> Any:
    """Return a schema with other types for some columns."""
    return _types.StructType(
        [
            _types.StructField(each.name, kinds.get(each.name, each.dataType))
            for each in schema.fields
        ]
    )


def with_nulls(frame: Any, kinds: Mapping[str, Any]) -> Any:
    """Return a frame in which partitions' texts have their types, and none is NULL."""
    functions = client.module("sql.connect.functions.builtin")
    columns = []
    for name in frame.columns:
        column = functions.col(quoted(name))
        if name in kinds:
            for each in sorted(NULLS):
                column = functions.nullif(column, functions.lit(each))
            column = column.cast(kinds[name])
        columns.append(column.alias(name))
    return frame.select(*columns)


def quoted(name: str) -> str:
    """Return a column's name as an expression has it."""
    return "`" + name.replace("`", "``") + "`"


def _whole(text: str) -> int:
    if not re.fullmatch(r"[+-]?\d+", text):
        raise ValueError(text)
    return int(text)


def _number(text: str) -> float:
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text):
        raise ValueError(text)
    return float(text)


def _moment(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S")  # noqa: DTZ007  Not kept.


_PARTITION_TYPES: Final = (
    (_types.LongType, _whole),
    (_types.DoubleType, _number),
    (_types.DateType, date.fromisoformat),
    (_types.TimestampType, _moment),
)


class Files(_plans.DataSource):  # type: ignore[misc,name-defined]
    """The plan of files, which have to be there when a query is made of them."""

    def __init__(self, paths: Paths, **more: Any) -> None:
        super().__init__(paths=list(paths.given), **more)
        self._places = paths

    def plan(self, session: Any) -> Any:
        """Return what the engine is told.

        Raises:
            AnalysisException: A path isn't there.
        """
        self._places.check()
        return super().plan(session)
