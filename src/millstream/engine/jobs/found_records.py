"""Found records: the bad records of a partition, as a task tells them to its driver."""

import base64
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from millstream.engine.base import driver_link, frames
from millstream.engine.jobs import failures
from millstream.engine.plan.nodes import RddNode, Source, StoredBlocks

TOPIC = "bad records"


@dataclass(frozen=True, slots=True)
class BadRecord:
    """One record that was taken out, and why. All plain data."""

    index: int
    """Its place among the records of the partition, at the mark; from 0."""
    error: str
    """The type of what was raised."""
    message: str
    file: str | None
    """The user's line that raised it, if there was one."""
    line: int | None
    operator: str
    text: str
    """The record in short."""
    record: str | None = None
    """The record as JSON, if that gives back the same."""
    pickled: str | None = None
    """Else the record pickled, in base64."""


@dataclass(frozen=True, slots=True)
class Find:
    """The bad records of one partition."""

    token: str
    time_ms: int
    partition: int
    total: int
    """How many records the partition has at the mark."""
    range: str | None
    """What of a direct source the partition is, in words."""
    indexes: tuple[int, ...]
    """Where all of them are."""
    records: tuple[BadRecord, ...]
    """All of them where they are kept, else the first ones."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a record is bad; holds no traceback, and so no frame."""

    error: str
    message: str
    file: str | None
    line: int | None
    operator: str


def told(finds: Sequence[Find]) -> tuple[tuple[str, Any], ...]:
    """Return finds as what a task tells its driver."""
    return tuple((TOPIC, each) for each in finds)


def untold(finds: Sequence[Find]) -> Sequence[Find]:
    """Tell at once what isn't in a partition that is kept; return what is told later.

    What is kept here stays, even if this attempt fails: the next one wouldn't find them.
    In a worker it is kept if the attempt succeeds.
    """
    if driver_link.is_worker():
        return finds
    driver_link.heard(told(finds))
    return ()


def described(
    index: int, record: Any, reason: Reason, *, keeps_record: bool
) -> BadRecord:
    """Return what is told of a record; with `keeps_record` the record itself, too."""
    plain = as_plain_json(record) if keeps_record else None
    pickled = None
    if keeps_record and plain is None:
        pickled = base64.b64encode(frames.dumps(record)).decode("ascii")
    return BadRecord(
        index,
        reason.error,
        reason.message,
        reason.file,
        reason.line,
        reason.operator,
        failures.shorten(record),
        plain,
        pickled,
    )


def as_plain_json(record: Any) -> str | None:
    """Return a record as JSON, or None where that wouldn't give back the same.

    >>> as_plain_json({"a": [1, None]}), as_plain_json((1, 2))
    ('{"a": [1, null]}', None)
    """
    return json.dumps(record) if _is_plain(record) else None


_DEEP = 50


def _is_plain(value: Any, depth: int = 0) -> bool:
    kind = type(value)
    if kind in {str, int, bool, type(None)}:
        return True
    if kind is float:
        return math.isfinite(value)
    if depth > _DEEP:
        return False
    if kind is list:
        return all(_is_plain(each, depth + 1) for each in value)
    if kind is dict:
        return all(
            type(key) is str and _is_plain(each, depth + 1)
            for key, each in value.items()
        )
    return False


def range_of(node: RddNode, part: int) -> str | None:
    """Return in words which range of a source a partition is, if it is just one."""
    while True:
        op = node.op
        if isinstance(op, Source):
            describe = getattr(op.partitions[part], "describe", None)
            return str(describe()) if describe is not None else None
        if isinstance(op, StoredBlocks):
            return None
        if node.level is not None:
            return None
        inputs = node.inputs_of(part)
        if len(inputs) != 1:
            return None
        ((node, part),) = inputs
