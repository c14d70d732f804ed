"""BarrierRoom: where the tasks of a barrier stage meet."""

import threading
from dataclasses import dataclass

from millstream.engine.base.errors import SparkError


class BarrierRoom:
    """One meeting point for all tasks of a stage; reusable."""

    def __init__(self, task_count: int) -> None:
        """Expect `task_count` tasks."""
        self.task_count = task_count
        self._lock = threading.Lock()
        self._messages: dict[int, str] = {}
        self._gathered: tuple[str, ...] = ()
        self._meeting = threading.Barrier(task_count, self._gather)
        self._finished: set[int] = set()

    @classmethod
    def open(cls, task_count: int, slots: int) -> "BarrierRoom":
        """Return a room, or refuse: every task must be able to run at the same time."""
        if task_count > slots:
            msg = (
                "[SPARK-24819]: Barrier execution mode does not allow run a barrier "
                f"stage that requires more slots ({task_count}) than the total number "
                f"of slots ({slots}) in the cluster currently."
            )
            raise SparkError(msg, hint=f"use a master such as local[{task_count}]")
        return cls(task_count)

    def seat(self, index: int) -> "BarrierSeat":
        """Return the handle of one task."""
        return BarrierSeat(self, index)

    def leave(self, index: int) -> None:
        """Note that a task has ended: who still waits for it would wait for ever."""
        with self._lock:
            self._finished.add(index)
            if len(self._finished) < self.task_count and self._meeting.n_waiting:
                self._meeting.abort()

    def meet(self, index: int, message: str) -> tuple[str, ...]:
        """Wait for all tasks; return what each brought, by task."""
        with self._lock:
            self._messages[index] = message
            if self._finished:
                self._meeting.abort()
        try:
            self._meeting.wait()
        except threading.BrokenBarrierError:
            msg = "a task of the barrier stage ended before the others met"
            raise SparkError(msg, hint="call barrier() equally often in all") from None
        return self._gathered

    def _gather(self) -> None:
        self._gathered = tuple(self._messages[i] for i in range(self.task_count))


@dataclass(frozen=True, slots=True)
class BarrierSeat:
    """What one task of a barrier stage holds."""

    room: BarrierRoom
    index: int

    def all_gather(self, message: str = "") -> list[str]:
        """Wait for all tasks and return everyone's message, by task."""
        return list(self.room.meet(self.index, message))

    def addresses(self) -> list[str]:
        """Return where each task runs; all are in this process."""
        return ["localhost"] * self.room.task_count
