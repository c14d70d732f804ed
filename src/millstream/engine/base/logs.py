"""Logs: the log's lines, as text for people or as JSON for machines.

Millstream logs an event in lower case with its values behind it: `task lost job=3 stage=7`.
The values are found in the message's format, where a field is `name=%s`, so that they keep
their types and may have blanks in them.
"""

import json
import logging
import re
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import lru_cache
from typing import Any, TextIO

from millstream.engine.base import task_scope
from millstream.engine.base.errors import UsageError

LOGGER = "millstream"
LEVELS = ("debug", "info", "warning", "error")

_PLACE = re.compile(
    r"(?P<field>(?P<space> ?)(?P<name>[A-Za-z_]\w*)=)?"
    r"%(?P<flags>[-#0 +]*)(?P<width>\d*)(?:\.\d+)?(?P<kind>[diouxXeEfFgGcrsa%])"
)
_BATCH = "batch"
_BATCH_TIME = "spark.streaming.internal.batchTime"


class LogFormat(Enum):
    """What a line of the log looks like."""

    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Told:
    """A record of the log, taken apart."""

    event: str
    """What happened: the message without its fields."""
    fields: dict[str, Any]


def configure(
    form: LogFormat | str = LogFormat.TEXT,
    level: str | None = None,
    stream: TextIO | None = None,
) -> None:
    """Write the log to `stream`, standard error if None, from `level` on.

    What other libraries and the program log with Python's `logging` is written too, from
    the level of the root logger on; so are Python's warnings as JSON. Calling it again
    replaces what the last call has set up.

    Raises:
        UsageError: There is no such format or level.
    """
    chosen = _format_of(form)
    handler = _Handler(stream or sys.stderr)
    handler.setFormatter(
        JsonFormatter() if chosen is LogFormat.JSON else TextFormatter()
    )
    number = None if level is None else _level_of(level)
    root = logging.getLogger()
    for each in [e for e in root.handlers if isinstance(e, _Handler)]:
        root.removeHandler(each)
    root.addHandler(handler)
    logging.captureWarnings(chosen is LogFormat.JSON)
    if number is not None:
        logging.getLogger(LOGGER).setLevel(number)


class _Handler(logging.StreamHandler[TextIO]):
    """The one that `configure` has added."""


def _format_of(form: LogFormat | str) -> LogFormat:
    try:
        return LogFormat(form)
    except ValueError:
        msg = f"there is no log format '{form}'"
        raise UsageError(msg, hint="it is text or json") from None


def _level_of(level: str) -> int:
    if level.lower() not in LEVELS:
        msg = f"there is no log level '{level}'"
        raise UsageError(msg, hint=f"it is one of {', '.join(LEVELS)}")
    return logging.getLevelNamesMapping()[level.upper()]


class TextFormatter(logging.Formatter):
    """Lines such as `2026-01-02T03:04:05.006Z WARNING streams.tracker: receiver error`.

    Of Millstream's own loggers only what is below `millstream.engine` is named.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and below it the traceback, if there is one."""
        name = record.name.removeprefix("millstream.").removeprefix("engine.")
        line = f"{_time(record)} {record.levelname} {name}: {record.getMessage()}"
        trace = _trace(record)
        return line if trace is None else f"{line}\n{trace}"


class JsonFormatter(logging.Formatter):
    """One JSON object a line.

    `ts` (UTC, ISO 8601), `level`, `logger`, `thread`, `event` and `fields`; `batch`, its
    time in ms, where a batch is known: from a field, or from the task that logs; and
    `traceback`.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        told = take_apart(record)
        fields = dict(told.fields)
        batch = fields.pop(_BATCH, None)
        line: dict[str, Any] = {
            "ts": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "thread": record.threadName,
            "event": told.event,
            "fields": fields,
        }
        batch = _batch_of_task() if batch is None else batch
        if batch is not None:
            line[_BATCH] = batch
        trace = _trace(record)
        if trace is not None:
            line["traceback"] = trace
        return json.dumps(line, ensure_ascii=False, default=str)


def take_apart(record: logging.LogRecord) -> Told:
    """Return a record's event and fields.

    >>> made = logging.makeLogRecord(
    ...     {"msg": "task lost job=%d reason=%s; it runs again", "args": (3, "no memory")}
    ... )
    >>> take_apart(made)
    Told(event='task lost; it runs again', fields={'job': 3, 'reason': 'no memory'})
    """
    args = record.args
    if not isinstance(record.msg, str) or not isinstance(args, tuple) or not args:
        return Told(record.getMessage(), {})
    template = _template(record.msg)
    if template is None or len(template.names) != len(args):
        return Told(record.getMessage(), {})
    fields = {
        name: _plain(value)
        for name, value in zip(template.names, args, strict=True)
        if name is not None
    }
    rest = tuple(
        value for name, value in zip(template.names, args, strict=True) if name is None
    )
    return Told((template.event % rest).strip(), fields)


@dataclass(frozen=True, slots=True)
class _Template:
    """A message's format: the name of each value's field, or None, and what is left."""

    names: tuple[str | None, ...]
    event: str


@lru_cache(maxsize=1000)
def _template(message: str) -> _Template | None:
    names: list[str | None] = []

    def take(place: "re.Match[str]") -> str:
        if place["kind"] == "%":
            return place[0]
        names.append(place["name"])
        return place[0] if place["field"] is None else ""

    if "%(" in message or "%*" in message:
        return None
    event = _PLACE.sub(take, message)
    return _Template(tuple(names), event)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)


def _batch_of_task() -> int | None:
    scope = task_scope.current()
    time = None if scope is None else scope.local_properties.get(_BATCH_TIME)
    return None if time is None else int(time)


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{int(record.msecs):03}Z"


def _trace(record: logging.LogRecord) -> str | None:
    if record.exc_info and record.exc_info[0] is not None:
        return logging.Formatter().formatException(record.exc_info)
    return record.exc_text
