"""Broadcast: a value sent to every worker once."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Generic, TypeVar

from millstream.engine.base import frames, task_scope
from millstream.engine.base.errors import PySparkRuntimeError, SparkError

if TYPE_CHECKING:
    from millstream.context import SparkContext

T = TypeVar("T")

# What tasks read: the pickled value by id, and this process's copy of it.
_pickled: dict[int, bytes] = {}
_copies: dict[int, Any] = {}
_destroyed: set[int] = set()


class Broadcast(Generic[T]):
    """A read-only value; made by `SparkContext.broadcast`.

    On the driver `value` is the very object that was broadcast; tasks get a copy of what
    it was then, made once a process.
    """

    def __init__(self, sc: "SparkContext | None", value: T, broadcast_id: int) -> None:
        """Pickle `value` and keep it for tasks."""
        self._sc = sc
        self._id = broadcast_id
        self._value = value
        _pickled[broadcast_id] = frames.dumps(value)

    @property
    def value(self) -> T:
        """The value.

        Raises:
            SparkError: It was destroyed.
        """
        if self._id in _destroyed:
            msg = f"Attempted to use Broadcast({self._id}) after it was destroyed"
            raise SparkError(msg, hint="broadcast the value again")
        if task_scope.current() is None and hasattr(self, "_value"):
            return self._value
        if self._id not in _copies:
            _copies[self._id] = frames.loads(_pickled[self._id])
        copy: T = _copies[self._id]
        return copy

    def unpersist(self, blocking: bool = False) -> None:
        """Drop the tasks' copies; they are made again when needed."""
        del blocking
        self._check_driver("unpersisted")
        _copies.pop(self._id, None)

    def destroy(self, blocking: bool = False) -> None:
        """Drop the value for good."""
        del blocking
        self._check_driver("destroyed")
        _destroyed.add(self._id)
        _copies.pop(self._id, None)
        _pickled.pop(self._id, None)

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
        if self._id in _destroyed:
            msg = f"Attempted to use Broadcast({self._id}) after it was destroyed"
            raise SparkError(msg, hint="broadcast the value again")
        return _in_task, (self._id,)


def _in_task(broadcast_id: int) -> Broadcast[Any]:
    made: Broadcast[Any] = Broadcast.__new__(Broadcast)
    made._sc = None
    made._id = broadcast_id
    return made


def forget_all(ids: list[int]) -> None:
    """Drop the broadcasts of a context that was stopped."""
    for broadcast_id in ids:
        _pickled.pop(broadcast_id, None)
        _copies.pop(broadcast_id, None)
        _destroyed.discard(broadcast_id)
