"""Kernels: what reads several co-partitioned parents side by side."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import zip_longest
from typing import Any

from millstream.engine.plan.fusion import mark_record

_MISSING = object()


@dataclass(frozen=True, slots=True)
class CoGroup:
    """`(key, one list of values a parent)` for each key in any of `count` parents."""

    count: int

    def __call__(
        self, _index: int, parents: Sequence[Iterable[Any]]
    ) -> Iterable[tuple[Any, tuple[list[Any], ...]]]:
        """Return the groups, keys in order of first sight."""
        groups: dict[Any, tuple[list[Any], ...]] = {}
        lists = range(self.count)
        for position, records in enumerate(parents):
            for record in records:
                key, value = record
                group = groups.get(key)
                if group is None:
                    groups[key] = group = tuple([] for _ in lists)
                group[position].append(value)
        return groups.items()


mark_record(CoGroup.__call__, "record")


@dataclass(frozen=True, slots=True)
class ZipRows:
    """Pairs of the records at the same position of two parents."""

    def __call__(self, _index: int, parents: Sequence[Iterable[Any]]) -> Iterator[Any]:
        """Yield the pairs; raise ValueError when one side is longer."""
        left, right = parents
        for pair in zip_longest(left, right, fillvalue=_MISSING):
            if pair[0] is _MISSING or pair[1] is _MISSING:
                msg = "Can only zip RDDs with same number of elements in each partition"
                raise ValueError(msg)
            yield pair


class StateFunction(Enum):
    """The forms of a state update."""

    VALUES = "f(new values, old state) -> new state or None"
    TIMED = "f(time, key, new values, old state) -> new state or None"
    ITERATOR = "f(iterator of (key, new values, old state)) -> iterator of (key, state)"


@dataclass(frozen=True, slots=True)
class UpdateState:
    """The next state of every key: of those with state and of those with new values.

    Parents are the previous state (pairs, one a key) and the batch's pairs. With
    `first_state_only` a key's later states are ignored: an initial RDD may repeat keys.
    """

    function: Callable[..., Any]
    form: StateFunction = StateFunction.VALUES
    time: Any = None
    first_state_only: bool = False

    def __call__(self, _index: int, parents: Sequence[Iterable[Any]]) -> Iterable[Any]:
        """Return the new state as pairs."""
        old, new = parents
        values: dict[Any, list[Any]] = {}
        for record in new:
            key, value = record
            if key in values:
                values[key].append(value)
            else:
                values[key] = [value]
        if self.first_state_only:
            first: dict[Any, Any] = {}
            for key, state in old:
                first.setdefault(key, state)
            old = first.items()
        match self.form:
            case StateFunction.ITERATOR:
                made: Iterable[Any] = self.function(_triples(old, values))
                return made
            case StateFunction.TIMED:
                return _updated_timed(self.function, self.time, old, values)
            case StateFunction.VALUES:
                return _updated(self.function, old, values)


def _updated(
    function: Callable[..., Any], old: Iterable[Any], values: dict[Any, list[Any]]
) -> list[Any]:
    # The hot loop of updateStateByKey: once for each key of the state, every batch.
    updated: list[Any] = []
    append = updated.append
    take = values.pop
    for key, state in old:
        following = function(take(key, None) or [], state)
        if following is not None:
            append((key, following))
    for key, new in values.items():
        following = function(new, None)
        if following is not None:
            append((key, following))
    return updated


def _updated_timed(
    function: Callable[..., Any],
    time: Any,
    old: Iterable[Any],
    values: dict[Any, list[Any]],
) -> list[Any]:
    updated: list[Any] = []
    for key, new, state in _triples(old, values):
        following = function(time, key, new, state)
        if following is not None:
            updated.append((key, following))
    return updated


def _triples(old: Iterable[Any], values: dict[Any, list[Any]]) -> Iterator[Any]:
    for key, state in old:
        yield key, values.pop(key, []), state
    for key, new in values.items():
        yield key, new, None


mark_record(UpdateState.__call__, "record")
mark_record(_updated, "key")
mark_record(_updated_timed, "key")
