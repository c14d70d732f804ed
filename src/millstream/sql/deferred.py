"""Deferred: tables that are made when a query that has them runs, and not to look at it.

What the client builds of a query only has marks of such tables. They are put in when it is
asked of the engine: the tables themselves if it runs, else what has the same columns. So a
schema costs no table, and a table is there for just as long as what runs with it.
"""

import itertools
import re
import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, Final

from google.protobuf.message import Message  # type: ignore[import-untyped]

from millstream.engine.base.errors import IllegalStateError
from millstream.sql import client, statements

_proto = client.module("sql.connect.proto")

_FORMAT: Final = "millstream-deferred"
_MARK: Final = _FORMAT.encode()
_KEY: Final = "key"
_OUR_FORMATS: Final = ("arrow", _FORMAT)
_RUN: Final = frozenset(
    {
        "to_table",
        "to_table_as_iterator",
        "to_pandas",
        "execute_command",
        "execute_command_as_iterator",
    }
)
"""What the client calls to have a query run."""
_LOOK: Final = frozenset(
    {"schema", "explain_string", "same_semantics", "semantic_hash", "_analyze"}
)
"""What it calls to have a query looked at."""
_lock = threading.Lock()
_numbers: Iterator[int] = itertools.count()
_known: "weakref.WeakValueDictionary[str, Deferred]" = weakref.WeakValueDictionary()


class Deferred(ABC):
    """A table that is made when a query with it runs."""

    def __init__(self) -> None:
        """Be known to queries that have its mark, for as long as it is there."""
        with _lock:
            self._key = str(next(_numbers))
            _known[self._key] = self

    def mark(self, plan_id: int) -> Any:
        """Return what stands for it in a query; columns are asked of it by `plan_id`."""
        made = _proto.Relation()
        made.common.plan_id = plan_id
        made.read.data_source.format = _FORMAT
        made.read.data_source.options[_KEY] = self._key
        return made

    @abstractmethod
    def seen(self, connection: Any) -> Any:
        """Return a relation with its columns, for a query that isn't run."""

    @abstractmethod
    def made(self, connection: Any, asked: frozenset[int]) -> tuple[Any, Any]:
        """Return a relation that gives it, and what must be held while the query runs.

        `asked` are the plans that the query asks columns of, by id.
        """


class Filling:
    """A connection of the client's, which puts tables for marks in what it is asked."""

    def __init__(self, connection: Any) -> None:
        """Pass on what is asked to `connection`."""
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._connection, name)
        if name not in _RUN | _LOOK:
            return value
        call = self._iterate if name.endswith("_as_iterator") else self._call
        return lambda *args, **more: call(name, value, args, more)

    def _call(
        self, name: str, method: Any, args: tuple[Any, ...], more: Mapping[str, Any]
    ) -> Any:
        # What is held is held to the end.
        args, more, held = _filled_in(name, args, more, self)
        try:
            return method(*args, **more)
        except Exception as error:
            _name_files(error, (*args, *more.values()))
            raise
        finally:
            held.clear()

    def _iterate(
        self, name: str, method: Any, args: tuple[Any, ...], more: Mapping[str, Any]
    ) -> Iterator[Any]:
        args, more, held = _filled_in(name, args, more, self)
        try:
            yield from method(*args, **more)
        except Exception as error:
            _name_files(error, (*args, *more.values()))
            raise
        finally:
            held.clear()


def _filled_in(
    name: str,
    args: tuple[Any, ...],
    more: Mapping[str, Any],
    connection: Any,
) -> tuple[tuple[Any, ...], Mapping[str, Any], list[Any]]:
    """Return arguments of a call with tables for marks, and what must be held meanwhile."""
    held: list[Any] = []
    if not _known:
        return args, more, held
    is_run = name in _RUN

    def put(value: Any) -> Any:
        if not isinstance(value, Message) or _MARK not in value.SerializeToString():
            return value
        made = type(value)()
        made.CopyFrom(value)
        is_looked_at = not is_run or _only_asks(made)
        _fill(made, _asked(made), connection, None if is_looked_at else held)
        return made

    filled = {key: put(value) for key, value in more.items()}
    return tuple(map(put, args)), filled, held


def _name_files(error: Any, values: tuple[Any, ...]) -> None:
    """Have an error about what is in files name the files that the query reads."""
    message = str(getattr(error, "_message", None) or "")
    if not _ABOUT_FILES.search(message):
        return
    paths = [
        path
        for each in values
        if isinstance(each, Message)
        for path in paths_in(each)
        if path not in message
    ]
    if paths:
        error._message = f"{message}\nin a file of {', '.join(paths)}"


_ABOUT_FILES = re.compile(
    r"\b(Parquet|Csv|Json|Parser|Avro|Cast|Arrow|External) error|Invalid Parquet file"
    r"|incorrect number of fields|Not valid JSON|MALFORMED_RECORD|CAST_INVALID_INPUT"
)


def paths_in(message: Message, *, also_ours: bool = False) -> list[str]:
    """Return the paths of all files that a query reads, but for tables from here."""
    found = [
        path
        for each in _within(message)
        if each.DESCRIPTOR.name == "DataSource"
        and (also_ours or each.format not in _OUR_FORMATS)
        for path in each.paths
    ]
    return list(dict.fromkeys(found))


def plan_ids_in(message: Message) -> frozenset[int]:
    """Return the ids of all plans in a query."""
    return frozenset(
        each.common.plan_id
        for each in _within(message)
        if isinstance(each, _proto.Relation)
    )


def with_ids(relation: Any, ids: list[int]) -> Any:
    """Return a relation that columns can be asked of by each of some plans' ids."""
    relation.common.plan_id = ids[0]
    for each in ids[1:]:
        outer = _proto.Relation()
        outer.common.plan_id = each
        outer.project.input.CopyFrom(relation)
        outer.project.expressions.add().unresolved_star.SetInParent()
        relation = outer
    return relation


def _only_asks(message: Any) -> bool:
    """Say whether it is an SQL text that the engine only looks at when it is told of it."""
    if not isinstance(message, _proto.Command):
        return False
    if message.WhichOneof("command_type") != "sql_command":
        return False
    texts = [each.query for each in _within(message) if isinstance(each, _proto.SQL)]
    return all(statements.only_asks(text) for text in texts)


def _fill(
    message: Message, asked: frozenset[int], connection: Any, held: list[Any] | None
) -> None:
    for each in _children(message):
        within = asked
        # What a table is made of may be one of these, or have some.
        while _is_mark(each):
            plan_id = each.common.plan_id
            table = _of(each.read.data_source.options[_KEY])
            if held is None:
                found = table.seen(connection)
            else:
                found, kept = table.made(connection, asked)
                held.extend((table, kept))
            each.CopyFrom(found)
            each.common.plan_id = plan_id
            within = asked | _asked(each)
        _fill(each, within, connection, held)


def _is_mark(message: Any) -> bool:
    return (
        isinstance(message, _proto.Relation)
        and message.WhichOneof("rel_type") == "read"
        and message.read.data_source.format == _FORMAT
    )


def _of(key: str) -> Deferred:
    with _lock:
        found = _known.get(key)
    if found is None:
        msg = "a query has a table whose frame is gone"
        raise IllegalStateError(msg, hint="keep the frame that the query is made of")
    return found


def _asked(message: Message) -> frozenset[int]:
    return frozenset(
        each.plan_id
        for each in _within(message)
        if isinstance(each, _proto.Expression.UnresolvedAttribute | _STAR | _REGEX)
        and each.HasField("plan_id")
    )


_STAR = _proto.Expression.UnresolvedStar
_REGEX = _proto.Expression.UnresolvedRegex


def _within(message: Message) -> Iterator[Any]:
    yield message
    for each in _children(message):
        yield from _within(each)


def _children(message: Message) -> list[Any]:
    found: list[Any] = []
    for _, value in message.ListFields():
        if isinstance(value, Message):
            found.append(value)
        elif isinstance(value, (str, bytes, int, float)):
            continue
        else:
            values = value.values() if isinstance(value, Mapping) else value
            found += [each for each in values if isinstance(each, Message)]
    return found
