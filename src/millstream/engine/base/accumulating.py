"""Accumulating: what tasks add to accumulators, and how it reaches the driver.

Inside a task an accumulator is a fresh zero; what was added to it travels with the task's
success and is merged once. A failed attempt's additions are dropped.
"""

import threading
import weakref
from collections.abc import Mapping
from typing import Any, Protocol


class Accumulating(Protocol):
    """The driver's side of an accumulator."""

    aid: int

    def merge_update(self, update: Any) -> None:
        """Add what one task added."""
        ...


_local = threading.local()
_registered: "weakref.WeakValueDictionary[int, Any]" = weakref.WeakValueDictionary()
_lock = threading.Lock()


def register(accumulator: Accumulating) -> None:
    """Make `accumulator` known, so that updates find it by its id."""
    _registered[accumulator.aid] = accumulator


def find(aid: int) -> Any:
    """Return the driver's accumulator of an id, or None when nobody holds it any more."""
    return _registered.get(aid)


def start_task_accumulators() -> None:
    """Begin a task in this thread: nothing has been added yet."""
    _local.added = {}


def task_accumulators() -> dict[int, Any] | None:
    """Return this task's accumulators by id; None outside a task."""
    added: dict[int, Any] | None = getattr(_local, "added", None)
    return added


def take_task_updates() -> dict[int, Any]:
    """End the task: return what was added, by accumulator id."""
    added = task_accumulators() or {}
    _local.added = None
    return {aid: accumulator.task_update() for aid, accumulator in added.items()}


def merge(updates: Mapping[int, Any]) -> None:
    """Add the updates of a task that succeeded to the driver's values."""
    if not updates:
        return
    with _lock:
        for aid, update in updates.items():
            accumulator = find(aid)
            if accumulator is not None:
                accumulator.merge_update(update)
