"""Pool: worker processes outlive a context, for the next one in the same process."""

import atexit
import tempfile
import threading
import weakref
from pathlib import Path

from millstream.engine.workers.processes import WorkerProcesses

_lock = threading.Lock()
_idle: dict[int, WorkerProcesses] = {}
_all: "weakref.WeakSet[WorkerProcesses]" = weakref.WeakSet()


def acquire(count: int) -> WorkerProcesses:
    """Return `count` worker processes that nobody else uses."""
    with _lock:
        found = _idle.pop(count, None)
        if found is None:
            found = WorkerProcesses(count, Path(tempfile.gettempdir()))
            _all.add(found)
    return found


def release(processes: WorkerProcesses) -> None:
    """Keep processes for the next who wants as many; others end."""
    with _lock:
        leaving = list(_idle.values())
        _idle.clear()
        _idle[processes.count] = processes
    for each in leaving:
        each.close()


@atexit.register
def close_all() -> None:
    """End all processes, also those of a context that was never stopped."""
    with _lock:
        leaving = list(_all)
        _idle.clear()
    for each in leaving:
        each.close()
