"""Pool: worker processes outlive a context, for the next one in the same process."""

import atexit
import tempfile
import threading
from pathlib import Path

from millstream.engine.workers.processes import WorkerProcesses

_lock = threading.Lock()
_idle: dict[int, WorkerProcesses] = {}


def acquire(count: int) -> WorkerProcesses:
    """Return `count` worker processes that nobody else uses."""
    with _lock:
        found = _idle.pop(count, None)
    return found or WorkerProcesses(count, Path(tempfile.gettempdir()))


def release(processes: WorkerProcesses) -> None:
    """Keep processes for the next who wants as many; others end."""
    with _lock:
        leaving = list(_idle.values())
        _idle.clear()
        _idle[processes.count] = processes
    for each in leaving:
        each.close()


@atexit.register
def close_idle() -> None:
    """End the processes that are kept."""
    with _lock:
        leaving = list(_idle.values())
        _idle.clear()
    for each in leaving:
        each.close()
