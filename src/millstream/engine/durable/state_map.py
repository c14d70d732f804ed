"""VersionedMap: one partition's keyed state, readable as of recent batches.

The newest version is a table: a dict, or a file when memory is short. Each version has an
undo record: what its batch replaced. Reading an older version looks there first. So a
batch costs what it touches, whatever the number of keys.
"""

import threading
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

from millstream.engine.base.errors import InternalError
from millstream.engine.durable.state_table import ABSENT, MemoryTable, StateTable


class VersionForgottenError(InternalError):
    """The state as of a batch so old that nothing keeps it any more."""


@dataclass(frozen=True, slots=True)
class _Undo:
    """The states and stamps that a version replaced; ABSENT for keys it brought."""

    states: dict[Any, Any]
    stamps: dict[Any, int]


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """One attempt's right to write a version, until another one begins."""

    version: int
    newest_before: int


class VersionedMap:
    """Keys with a state and a stamp: the time of the batch that touched them last.

    Thread-safe. Versions are batch times, and only grow. The object that a key was first
    put as stays its key.
    """

    __slots__ = (
        "_lock",
        "_table",
        "_turn",
        "_undo",
        "keeps_stamps",
        "newest",
        "oldest",
    )

    def __init__(
        self, *, keeps_stamps: bool = True, table: StateTable | None = None
    ) -> None:
        """Start empty, in memory, or with an empty table; no stamps: nothing is old."""
        self.keeps_stamps = keeps_stamps
        if table is None:
            table = MemoryTable(keeps_stamps=keeps_stamps)
        self._table: StateTable = table
        self._undo: dict[int, _Undo] = {}
        self._turn: Turn | None = None
        self._lock = threading.Lock()
        self.newest = -1
        self.oldest = -1
        """The oldest version that can be read."""

    def __len__(self) -> int:
        return len(self._table)

    @property
    def memory_bytes(self) -> int:
        """About how much memory the newest version takes."""
        return self._table.memory_bytes

    def load(
        self,
        version: int,
        parts: Iterable[tuple[Sequence[Any], Sequence[Any], Sequence[int]]],
    ) -> None:
        """Fill an empty map with columns of keys, states and stamps: all of `version`."""
        assert not len(self._table), "only an empty map is loaded"
        with self._lock:
            for keys, states, stamps in parts:
                self._table.fill(keys, states, stamps)
            self.newest = self.oldest = version

    def apply(
        self, version: int, puts: Mapping[Any, Any], gone: Iterable[Hashable]
    ) -> bool:
        """Make `version` the newest: these keys have these states now, those are gone.

        Applying the newest version again replaces it. An older one changes nothing, and
        the answer is False.

        Raises:
            DurabilityError: The disk refuses it; the version isn't applied.
        """
        turn = self.begin(version)
        if turn is None:
            return False
        try:
            return self.write(turn, {**puts, **dict.fromkeys(gone, ABSENT)})
        except BaseException:
            self.abandon(turn)
            raise

    def begin(self, version: int) -> Turn | None:
        """Begin to write a version; None: a newer one is there already.

        What was written of it before is undone, and whoever wrote it can't go on.
        """
        with self._lock:
            if version < self.newest:
                return None
            self._undo_newest(version)
            self._turn = Turn(version, self.newest)
            self._undo[version] = _Undo({}, {})
            self.newest = version
            return self._turn

    def write(self, turn: Turn, changes: Mapping[Any, Any]) -> bool:
        """Let keys have these states in the version of `turn`; ABSENT: none.

        Versions before it read as they did. Say whether the turn isn't over.

        Raises:
            DurabilityError: The disk refuses it; nothing was written.
        """
        with self._lock:
            if turn is not self._turn:
                return False
            undo, get = self._undo[turn.version], self._table.get
            before = {k: get(k, ABSENT) for k in changes if k not in undo.states}
            puts = {k: state for k, state in changes.items() if state is not ABSENT}
            gone: list[Any] = []
            if len(puts) < len(changes):
                gone = [
                    key
                    for key, state in changes.items()
                    if state is ABSENT and get(key, ABSENT) is not ABSENT
                ]
            if self.keeps_stamps:
                stamp_of = self._table.stamp_of
                known = [key for key, state in before.items() if state is not ABSENT]
                undo.stamps.update({key: stamp_of(key) for key in known})
            # Noted first: a task that is killed in the middle of it leaves nothing behind.
            undo.states.update(before)
            self._table.change(puts, turn.version, gone)
            return True

    def abandon(self, turn: Turn) -> None:
        """Undo what was written in a turn, if it isn't over."""
        with self._lock:
            if turn is self._turn:
                self._undo_newest(turn.version)
                self._turn = None
                self.newest = turn.newest_before

    def _undo_newest(self, version: int) -> None:
        undo = self._undo.get(version)
        if undo is not None:
            self._table.restore(undo.states, undo.stamps)
            del self._undo[version]

    def get(self, key: Any, version: int) -> Any:
        """Return the state of a key as of `version`, or ABSENT.

        Raises:
            VersionForgottenError: That version can't be read any more.
        """
        with self._lock:
            if version >= self.newest:  # The common case: no undo record is asked.
                return self._table.get(key, ABSENT)
            self._check_kept(version)
            return self._state_as_of(key, version)

    def get_all(self, keys: Sequence[Any], version: int) -> list[Any]:
        """Return the states of keys as of `version`, ABSENT for those without.

        Raises:
            TypeError: A key has no hash.
            VersionForgottenError: That version can't be read any more.
        """
        with self._lock:
            # One look at each key, close together: what is far away in memory is
            # fetched for several at once.
            found = list(map(self._table.get, keys, repeat(ABSENT)))
            if version >= self.newest:
                return found
            self._check_kept(version)
            # Newest first, so that the oldest record after `version` has the last word.
            for later in sorted(self._undo, reverse=True):
                if later <= version:
                    break
                states = self._undo[later].states
                if states:
                    pairs = zip(keys, found, strict=True)
                    found = [states.get(key, state) for key, state in pairs]
            return found

    def _check_kept(self, version: int) -> None:
        if version < self.oldest:
            msg = (
                f"state as of {version} is forgotten; {self.oldest} is the oldest kept"
            )
            raise VersionForgottenError(msg)

    def _state_as_of(self, key: Any, version: int) -> Any:
        for later, undo in self._undo.items():  # Oldest first: versions only grow.
            if later > version and key in undo.states:
                return undo.states[key]
        return self._table.get(key, ABSENT)

    def _changed_since(self, version: int) -> dict[Any, None]:
        """Return the keys that versions after `version` touched."""
        later = [undo.states for t, undo in self._undo.items() if t > version]
        return {key: None for states in later for key in states}

    def items(self, version: int) -> Iterator[tuple[Any, Any]]:
        """Return (key, state) of every key as of `version`, whatever is applied later.

        From a file they are read bit by bit.

        Raises:
            VersionForgottenError: That version can't be read any more.
        """
        with self._lock:
            self._check_kept(version)
            present = self._table.items()
            changed = self._changed_since(version)
            if not changed:
                return present
            older = [(key, self._state_as_of(key, version)) for key in changed]
        return _patched(present, changed, older)

    def older_than(self, stamp: int, version: int) -> list[Any]:
        """Return the keys last touched before `stamp`, as of `version`.

        The first call makes an index, once; after that the cost is that of what is found.

        Raises:
            VersionForgottenError: That version can't be read any more.
        """
        with self._lock:
            self._check_kept(version)
            found = self._table.older_than(stamp)
            if version >= self.newest:
                return found
            changed = self._changed_since(version)
            older = [
                (touched, key)
                for key, touched in self._stamps_as_of(changed, version)
                if touched < stamp
            ]
        older.sort(key=lambda each: each[0])
        return [k for k in found if k not in changed] + [key for _, key in older]

    def _stamps_as_of(
        self, keys: Iterable[Any], version: int
    ) -> Iterator[tuple[Any, int]]:
        """Yield the keys that had a state as of `version`, with their stamps."""
        for key in keys:
            for later, undo in self._undo.items():
                if later > version and key in undo.states:
                    if key in undo.stamps:
                        yield key, undo.stamps[key]
                    break

    def forget_before(self, version: int) -> None:
        """Give up reading versions before `version`."""
        with self._lock:
            self.oldest = max(self.oldest, min(version, self.newest))
            for old in [each for each in self._undo if each <= version]:
                del self._undo[old]

    def move_to(self, make: Callable[[], StateTable]) -> None:
        """Move all keys to another table, which `make` returns empty.

        Raises:
            DurabilityError: The disk refuses it; they stay where they are.
        """
        with self._lock:
            moved = make()
            try:
                _copy(self._table, moved)
            except BaseException:
                moved.close()
                raise
            left, self._table = self._table, moved
        left.close()

    def close(self) -> None:
        """Give up a file, if it is in one."""
        with self._lock:
            self._table.close()


_COPIED_ROWS = 20_000


def _copy(source: StateTable, target: StateTable) -> None:
    keys: list[Any] = []
    states: list[Any] = []
    stamps: list[int] = []
    for key, state, stamp in source.rows():
        keys.append(key)
        states.append(state)
        stamps.append(stamp)
        if len(keys) == _COPIED_ROWS:
            target.fill(keys, states, stamps)
            keys, states, stamps = [], [], []
    target.fill(keys, states, stamps)


def _patched(
    present: Iterator[tuple[Any, Any]],
    changed: Mapping[Any, None],
    older: Iterable[tuple[Any, Any]],
) -> Iterator[tuple[Any, Any]]:
    for pair in present:
        if pair[0] not in changed:
            yield pair
    for pair in older:
        if pair[1] is not ABSENT:
            yield pair
