"""Broadcast: a value sent to every worker once."""

import itertools
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, Generic, TypeVar

from millstream.engine.base import driver_link, frames, task_scope
from millstream.engine.base.errors import PySparkRuntimeError, SparkError

if TYPE_CHECKING:
    from millstream.context import SparkContext

T = TypeVar("T")

# What tasks read: the pickled value by key, and this process's copy of it. Keys are of
# this process, for ids begin anew with each SparkContext: a broadcast of a context that
# was stopped must not find a later one's value.
_pickled: dict[int, bytes] = {}
_copies: dict[int, Any] = {}
_keys = itertools.count()


class Broadcast(Generic[T]):
    """A read-only value; made by `SparkContext.broadcast`.

    On the driver `value` is the very object that was broadcast; tasks get a copy of what
    it was then, made once a process.
    """

    is_broadcast: ClassVar[bool] = True
    """For columns: what it holds doesn't change."""

    def __init__(self, sc: "SparkContext | None", value: T, broadcast_id: int) -> None:
        """Pickle `value` and keep it for tasks, as long as this object lives.

        What a task runs refers to this object on the driver, by the RDD it belongs to.
        """
        self._sc = sc
        self._id = broadcast_id
        self._key = next(_keys)
        self._value = value
        _pickled[self._key] = frames.dumps(value)
        # Programs that broadcast anew in each batch never destroy: no leak.
        weakref.finalize(self, _forget, self._key).atexit = False

    @property
    def value(self) -> T:
        """The value.

        Raises:
            SparkError: It was destroyed; or read in a task after its SparkContext was
                stopped.
        """
        if task_scope.current() is None and hasattr(self, "_value"):
            return self._value
        if driver_link.is_worker():
            copy_here: T = _of_worker(self._key, self._id)
            return copy_here
        pickled = _pickled.get(self._key)
        if pickled is None:
            raise _gone(self._id)
        if self._key not in _copies:
            # Two tasks may come here at once: the first copy is everybody's.
            _copies.setdefault(self._key, frames.loads(pickled))
        copy: T = _copies[self._key]
        return copy

    def unpersist(self, blocking: bool = False) -> None:
        """Drop the tasks' copies; they are made again when needed."""
        del blocking
        self._check_driver("unpersisted")
        _copies.pop(self._key, None)
        _versions[self._key] = _versions.get(self._key, 0) + 1

    def destroy(self, blocking: bool = False) -> None:
        """Drop the value for good."""
        del blocking
        self._check_driver("destroyed")
        _forget(self._key)
        vars(self).pop("_value", None)

    def dump(self, value: T, f: BinaryIO) -> None:
        """Pickle `value` into `f`, and close it."""
        with f:
            f.write(frames.dumps(value))

    def load_from_path(self, path: str) -> T:
        """Return the value pickled in a file."""
        with Path(path).open("rb") as file:
            return self.load(file)

    def load(self, file: BinaryIO) -> T:
        """Return the value pickled in an open file."""
        value: T = frames.loads(file.read())
        return value

    def _check_driver(self, what: str) -> None:
        if self._sc is None or task_scope.current() is not None:
            msg = f"Broadcast can only be {what} in driver"
            raise PySparkRuntimeError(msg, condition="INVALID_BROADCAST_OPERATION")

    def __reduce__(self) -> tuple[Any, ...]:
        if self._key not in _pickled:
            raise _gone(self._id)
        return _in_task, (self._id, self._key)


# Worker processes ask once a task which version there is, and fetch what they don't have.
_versions: dict[int, int] = {}
_fetched: dict[int, tuple[int, Any]] = {}
_known_to_task: dict[int, int] = {}
_FETCHED_MAX = 32
driver_link.answer("broadcast", _pickled.get)
driver_link.answer(
    "broadcast version", lambda key: _versions.get(key, 0) if key in _pickled else None
)


def _of_worker(key: int, broadcast_id: int) -> Any:
    """Return this worker process's copy of a value."""
    scope = task_scope.current()
    task_id = -1 if scope is None else scope.task_attempt_id
    if _known_to_task.get(key) == task_id and key in _fetched:
        return _fetched[key][1]
    version = driver_link.ask("broadcast version", key)
    if version is None:
        raise _gone(broadcast_id)
    if _fetched.get(key, (-1, None))[0] != version:
        while len(_fetched) >= _FETCHED_MAX:
            del _fetched[next(iter(_fetched))]  # Of batches long ago; it can ask again.
        pickled = driver_link.ask("broadcast", key)
        _fetched[key] = version, frames.loads(pickled)
    _known_to_task[key] = task_id
    return _fetched[key][1]


def _in_task(broadcast_id: int, key: int) -> Broadcast[Any]:
    made: Broadcast[Any] = Broadcast.__new__(Broadcast)
    made._sc = None
    made._id = broadcast_id
    made._key = key
    return made


def _gone(broadcast_id: int) -> SparkError:
    msg = f"Attempted to use Broadcast({broadcast_id}) after it was destroyed"
    return SparkError(
        msg, hint="broadcast the value again; stopping the SparkContext destroys it too"
    )


def _forget(key: int) -> None:
    _copies.pop(key, None)
    _pickled.pop(key, None)
    _versions.pop(key, None)


def forget_all(broadcasts: Iterable[Broadcast[Any]]) -> None:
    """Drop the broadcasts of a context that was stopped."""
    for broadcast in broadcasts:
        _forget(broadcast._key)
