"""Kernels: what reads several co-partitioned parents side by side."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import zip_longest
from typing import Any, ClassVar, TypeAlias

from millstream.engine.base import frames
from millstream.engine.plan.fusion import mark_record
from millstream.engine.plan.partitions import is_immutable

_MISSING = object()


@dataclass(frozen=True, slots=True)
class CoGroup:
    """`(key, one list of values a parent)` for each key in any of `count` parents."""

    count: int

    is_known_by_columns: ClassVar[bool] = True

    def __call__(
        self, _index: int, parents: Sequence[Iterable[Any]]
    ) -> Iterable[tuple[Any, tuple[list[Any], ...]]]:
        """Return the groups, keys in order of first sight."""
        return _grouped(parents).items()


def _grouped(parents: Sequence[Iterable[Any]]) -> dict[Any, tuple[list[Any], ...]]:
    groups: dict[Any, tuple[list[Any], ...]] = {}
    lists = range(len(parents))
    for position, records in enumerate(parents):
        for record in records:
            key, value = record
            group = groups.get(key)
            if group is None:
                groups[key] = group = tuple([] for _ in lists)
            group[position].append(value)
    return groups


mark_record(_grouped, "record")


class JoinKind(Enum):
    """Which keys of two parents come out, and with what."""

    INNER = "join"
    LEFT = "leftOuterJoin"
    RIGHT = "rightOuterJoin"
    FULL = "fullOuterJoin"
    ONLY_LEFT = "subtractByKey"
    """The left pairs themselves whose keys the right lacks."""
    KEYS = "intersection"
    """Each key of both once, with None."""


@dataclass(frozen=True, slots=True)
class Join:
    """The pairs of two parents by key, keys in order of first sight, left before right.

    For each key come its left values in their order, each with all right ones.
    """

    kind: JoinKind

    is_known_by_columns: ClassVar[bool] = True

    def __call__(
        self, _index: int, parents: Sequence[Iterable[Any]]
    ) -> Iterable[tuple[Any, Any]]:
        """Return the joined pairs."""
        return _JOINED[self.kind](_grouped(parents))


_Groups: TypeAlias = dict[Any, tuple[list[Any], ...]]
_NONE = (None,)
_JOINED: dict[JoinKind, Callable[[_Groups], Iterable[tuple[Any, Any]]]] = {
    JoinKind.INNER: lambda groups: (
        (key, (a, b))
        for key, (left, right) in groups.items()
        for a in left
        for b in right
    ),
    JoinKind.LEFT: lambda groups: (
        (key, (a, b))
        for key, (left, right) in groups.items()
        for a in left
        for b in right or _NONE
    ),
    JoinKind.RIGHT: lambda groups: (
        (key, (a, b))
        for key, (left, right) in groups.items()
        for a in left or _NONE
        for b in right
    ),
    JoinKind.FULL: lambda groups: (
        (key, (a, b))
        for key, (left, right) in groups.items()
        for a in left or _NONE
        for b in right or _NONE
    ),
    JoinKind.ONLY_LEFT: lambda groups: (
        (key, a) for key, (left, right) in groups.items() if not right for a in left
    ),
    JoinKind.KEYS: lambda groups: (
        (key, None) for key, (left, right) in groups.items() if left and right
    ),
}


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
    `stage`, a call `stage(partition, changed pairs, gone keys, count of keys)` tells what
    differs from the previous state, which may be more than does, never less.
    """

    function: Callable[..., Any]
    form: StateFunction = StateFunction.VALUES
    time: Any = None
    stage: Callable[[int, list[Any], list[Any], int], None] | None = None

    @property
    def is_known_by_columns(self) -> bool:
        """Whether there is a way by columns for this form."""
        return self.form is StateFunction.VALUES

    def __call__(self, index: int, parents: Sequence[Iterable[Any]]) -> Iterable[Any]:
        """Return the new state as pairs."""
        old, new = parents
        values: dict[Any, list[Any]] = {}
        for record in new:
            key, value = record
            if key in values:
                values[key].append(value)
            else:
                values[key] = [value]
        if self.form is StateFunction.ITERATOR:
            made: Iterable[Any] = self.function(_triples(old, values))
            return made
        update = self.function
        if self.form is StateFunction.TIMED:
            update = _Timed(update, self.time)
        states = list(old)
        changes = _Changes([], [])
        if is_immutable(states):
            updated = _updated(update, states, values, changes)
        else:
            updated = _updated_mutable(update, states, values, changes)
        if self.stage is not None:
            self.stage(index, changes.changed, changes.gone, len(updated))
        return updated


@dataclass(frozen=True, slots=True)
class _Changes:
    changed: list[tuple[Any, Any]]
    gone: list[Any]


@dataclass(slots=True)
class _Timed:
    """`f(time, key, values, state)` called as the other form is, with the key given aside."""

    function: Callable[..., Any]
    time: Any
    key: Any = None

    def __call__(self, values: list[Any], state: Any) -> Any:
        """Call it for `key`."""
        return self.function(self.time, self.key, values, state)


def _updated(
    function: Callable[..., Any],
    old: list[Any],
    values: dict[Any, list[Any]],
    changes: _Changes,
) -> list[Any]:
    # The hot loop of updateStateByKey: once for each key of the state, every batch.
    updated: list[Any] = []
    append, note = updated.append, changes.changed.append
    take = values.pop
    timed = function if type(function) is _Timed else None
    for pair in old:
        key, state = pair
        if timed is not None:
            timed.key = key
        following = function(take(key, None) or [], state)
        if following is state:
            append(pair)
        elif following is None:
            changes.gone.append(key)
        else:
            made = key, following
            append(made)
            if type(following) is not type(state) or not _is_same(following, state):
                note(made)
    _add_new(function, values, updated, changes)
    return updated


def _is_same(following: Any, state: Any) -> bool:
    """Say whether two values of one immutable type are equal, types inside included."""
    if following != state:
        return False
    return type(state) is not tuple or list(map(type, following)) == list(
        map(type, state)
    )


def _updated_mutable(
    function: Callable[..., Any],
    old: list[Any],
    values: dict[Any, list[Any]],
    changes: _Changes,
) -> list[Any]:
    # A function may change a state in place and return the same object: for keys without
    # new values only the pickles tell. Keys with new ones are taken to have changed.
    updated: list[Any] = []
    timed = function if type(function) is _Timed else None
    for key, state in old:
        if timed is not None:
            timed.key = key
        new = values.pop(key, None)
        before = frames.dumps(state) if new is None else b""
        following = function(new or [], state)
        if following is None:
            changes.gone.append(key)
            continue
        updated.append((key, following))
        if new is not None or frames.dumps(following) != before:
            changes.changed.append((key, following))
    _add_new(function, values, updated, changes)
    return updated


def _add_new(
    function: Callable[..., Any],
    values: dict[Any, list[Any]],
    updated: list[Any],
    changes: _Changes,
) -> None:
    timed = function if type(function) is _Timed else None
    for key, new in values.items():
        if timed is not None:
            timed.key = key
        following = function(new, None)
        if following is not None:
            updated.append((key, following))
            changes.changed.append((key, following))


def _triples(old: Iterable[Any], values: dict[Any, list[Any]]) -> Iterator[Any]:
    for key, state in old:
        yield key, values.pop(key, []), state
    for key, new in values.items():
        yield key, new, None


mark_record(UpdateState.__call__, "record")
mark_record(_updated, "key")
mark_record(_updated_mutable, "key")
mark_record(_add_new, "key")
