"""TaskScope: which task the current thread is running, if any."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol


class BarrierHandle(Protocol):
    """What a task of a barrier stage can ask of its fellows."""

    def all_gather(self, message: str = "") -> list[str]:
        """Wait for all tasks and return everyone's message, by task."""
        ...

    def addresses(self) -> list[str]:
        """Return where each task runs."""
        ...


@dataclass(frozen=True, slots=True)
class TaskScope:
    """The facts about one attempt of one task."""

    stage_id: int
    partition_id: int
    attempt_number: int
    task_attempt_id: int
    local_properties: Mapping[str, str] = field(default_factory=dict)
    cpus: int = 1
    barrier: BarrierHandle | None = None


_current = threading.local()


def current() -> TaskScope | None:
    """Return the task this thread runs; None on the driver's threads."""
    return getattr(_current, "scope", None)


@contextmanager
def entered(scope: TaskScope) -> Iterator[None]:
    """Make `scope` the current one for a while."""
    before = current()
    _current.scope = scope
    try:
        yield
    finally:
        _current.scope = before
