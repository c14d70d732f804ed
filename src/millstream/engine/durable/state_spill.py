"""SpilledTable: a partition's keyed state in a temporary file, when memory is short.

The file is a cache: what makes state durable are the versions in StateFiles. So nothing
is synced, nothing is read again after a restart, and it is deleted with its table.

A key is found by its hash and then compared in Python: two keys are one exactly when a
dict would say so.
"""

import sqlite3
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from millstream.engine.base import frames
from millstream.engine.base.errors import DurabilityError
from millstream.engine.durable.state_table import ABSENT
from millstream.engine.durable.state_values import Pickled

_CACHE_KIB = 512
_RECENT_MAX = 50_000
_FETCHED_ROWS = 1_000

_SETTINGS = (
    "PRAGMA journal_mode = WAL",  # So that reading all of it disturbs no batch.
    "PRAGMA synchronous = OFF",
    f"PRAGMA cache_size = -{_CACHE_KIB}",
    "PRAGMA temp_store = FILE",
)
_TABLE = """CREATE TABLE entries (
    place INTEGER PRIMARY KEY, hash INTEGER NOT NULL, key, state, stamp INTEGER NOT NULL
)"""
_INSERT = "INSERT INTO entries (place, hash, key, state, stamp) VALUES (?, ?, ?, ?, ?)"
_FIND = "SELECT place, key, state, stamp FROM entries WHERE hash = ?"


class SpilledTable:
    """A StateTable in a file of its own."""

    def __init__(self, path: Path, *, keeps_stamps: bool) -> None:
        """Make the file; `path` is new.

        Raises:
            DurabilityError: The disk refuses it.
        """
        self._path = path
        self._keeps_stamps = keeps_stamps
        self._count = 0
        self._next_place = 0
        self._has_index = False
        # What this batch has looked up: it will be changed next. (place, state, stamp)
        self._recent: dict[Any, tuple[int, Any, int] | None] = {}
        with _disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = _connect(path)
            self._end = weakref.finalize(self, _delete, self._connection, path)
            for setting in _SETTINGS:
                self._connection.execute(setting)
            self._connection.execute(_TABLE)

    @property
    def memory_bytes(self) -> int:
        """How much memory its keys take: none; an open file has a small cache."""
        return 0

    def __len__(self) -> int:
        return self._count

    def get(self, key: Any, default: Any, /) -> Any:
        """Return a key's state."""
        found = self._find(key)
        return default if found is None else found[1]

    def stamp_of(self, key: Any) -> int:
        """Return the stamp of a key that is there."""
        found = self._find(key)
        assert found is not None, "asked only of keys that are there"
        return found[2]

    def _find(self, key: Any) -> tuple[int, Any, int] | None:
        recent = self._recent
        if key in recent:
            return recent[key]
        self._make_index()
        found = None
        with _disk_errors(self._path):
            rows = self._connection.execute(_FIND, (hash(key),)).fetchall()
        for place, kept, state, stamp in rows:
            known = _value(kept)
            if known is key or known == key:
                found = place, _state(state), stamp
                break
        if len(recent) >= _RECENT_MAX:
            recent.clear()
        recent[key] = found
        return found

    def _make_index(self) -> None:
        # Not before the file is full: it is faster to make it from what is there.
        if not self._has_index:
            with _disk_errors(self._path):
                self._connection.execute("CREATE INDEX by_hash ON entries (hash)")
                if self._keeps_stamps:
                    self._connection.execute("CREATE INDEX by_stamp ON entries (stamp)")
            self._has_index = True

    def change(self, puts: Mapping[Any, Any], stamp: int, gone: Iterable[Any]) -> None:
        """Give keys their new states, and drop those in `gone`."""
        self._write([(key, state, stamp) for key, state in puts.items()], gone)

    def restore(self, states: Mapping[Any, Any], stamps: Mapping[Any, int]) -> None:
        """Give keys back the states and stamps they had; ABSENT: drop them."""
        puts = [
            (key, state, stamps.get(key, 0))
            for key, state in states.items()
            if state is not ABSENT
        ]
        self._write(puts, [key for key, state in states.items() if state is ABSENT])

    def _write(self, puts: Sequence[tuple[Any, Any, int]], gone: Iterable[Any]) -> None:
        new: list[tuple[Any, ...]] = []
        updates: list[tuple[Any, int, int]] = []
        place = self._next_place
        for key, state, stamp in puts:
            found = self._find(key)
            if found is not None:
                updates.append((_stored_state(state), stamp, found[0]))
                continue
            new.append((place, hash(key), _stored(key), _stored_state(state), stamp))
            place += 1
        dropped = [found[0] for found in map(self._find, gone) if found is not None]
        with self._transaction() as connection:
            connection.executemany(
                "UPDATE entries SET state = ?, stamp = ? WHERE place = ?", updates
            )
            connection.executemany(_INSERT, new)
            connection.executemany(
                "DELETE FROM entries WHERE place = ?", [(each,) for each in dropped]
            )
        self._count += len(new) - len(dropped)
        self._next_place = place

    def fill(
        self, keys: Sequence[Any], states: Sequence[Any], stamps: Sequence[int]
    ) -> None:
        """Append keys that aren't there."""
        first = self._next_place
        rows = (
            (place, hash(key), _stored(key), _stored_state(state), stamp)
            for place, (key, state, stamp) in enumerate(
                zip(keys, states, stamps, strict=True), first
            )
        )
        with self._transaction() as connection:
            connection.executemany(_INSERT, rows)
        self._count += len(keys)
        self._next_place += len(keys)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All of the block's changes, or none."""
        connection = self._connection
        self._recent.clear()
        with _disk_errors(self._path):
            connection.execute("BEGIN")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def items(self) -> Iterator[tuple[Any, Any]]:
        """Return (key, state) of all keys as they are now; read bit by bit."""
        stream = self._items()
        next(stream)  # The file's present state is pinned now, not when it is read.
        return stream

    def _items(self) -> Iterator[tuple[Any, Any]]:
        with _disk_errors(self._path), closing(_connect(self._path)) as connection:
            cursor = connection.execute("SELECT key, state FROM entries ORDER BY place")
            rows = cursor.fetchmany(_FETCHED_ROWS)
            yield None, None
            while rows:
                for key, state in rows:
                    yield _value(key), _state(state)
                rows = cursor.fetchmany(_FETCHED_ROWS)

    def rows(self) -> Iterator[tuple[Any, Any, int]]:
        """Yield (key, state, stamp) of all keys."""
        cursor = self._connection.execute(
            "SELECT key, state, stamp FROM entries ORDER BY place"
        )
        for key, state, stamp in cursor:
            yield _value(key), _state(state), stamp

    def older_than(self, stamp: int) -> list[Any]:
        """Return the keys with stamps before `stamp`, oldest first."""
        if not self._keeps_stamps:
            return []
        self._make_index()
        with _disk_errors(self._path):
            rows = self._connection.execute(
                "SELECT key FROM entries WHERE stamp < ? ORDER BY stamp, place",
                (stamp,),
            ).fetchall()
        return [_value(key) for (key,) in rows]

    def close(self) -> None:
        """Delete the file."""
        self._end()


def _connect(path: Path) -> sqlite3.Connection:
    # Any thread may use it: whoever does holds the lock of the table's map.
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False)


def _delete(connection: sqlite3.Connection, path: Path) -> None:
    connection.close()
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        msg = f"can't keep state in the temporary file '{path}': {error}"
        raise DurabilityError(
            msg,
            hint="is the disk of spark.local.dir full? A larger "
            "spark.millstream.state.memory keeps more state in memory",
        ) from error


# Keys and states of the most frequent types are values of the file's own; the rest are
# pickles. The file would change others: 1.0 and -0.0 to ints, NaN to null, True to 1.
_INT_MIN, _INT_MAX = -(1 << 63), (1 << 63) - 1


def _stored(value: Any) -> Any:
    kind = type(value)
    if kind is int:
        return value if _INT_MIN <= value <= _INT_MAX else frames.dumps(value)
    if kind is str and value.isascii():
        return value
    return frames.dumps(value)


def _value(stored: Any) -> Any:
    return frames.loads(stored) if type(stored) is bytes else stored


def _stored_state(state: Any) -> Any:
    return bytes(state) if type(state) is Pickled else _stored(state)


def _state(stored: Any) -> Any:
    return Pickled(stored) if type(stored) is bytes else stored
