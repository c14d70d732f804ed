"""Queueing: tasks that wait for an executor, and how each comes to its end.

What worker processes and actors on a cluster have in common: one task at a time an
executor, first come, first served; a task reports once, or never if it was cancelled; and
what an executor says of a task that it no longer has isn't heard.
"""

import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from millstream.engine.base.errors import IllegalStateError
from millstream.engine.workers.protocol import Broken, Ending, Lost, TaskOrder


class Ticket:
    """A task that was handed over."""

    def __init__(
        self,
        queue: "TaskQueue[ExecutorT]",
        order: TaskOrder,
        on_ending: Callable[[Ending], None],
    ) -> None:
        """Be a task of `queue`."""
        self._queue = queue
        self.order = order
        self.on_ending = on_ending
        self.is_over = False
        """Whether it has reported, or never will."""
        self.overdue = ""
        """Why it was ended, if it took too long."""
        self.timer: threading.Timer | None = None

    def drop(self) -> None:
        """Forget it if it waits: it never runs, nor reports."""
        self._queue.drop(self)

    def cancel(self) -> None:
        """Forget it, or, if it runs, end it with its executor. It never reports then."""
        self._queue.cancel(self)


class Executor(Protocol):
    """What runs one task at a time."""

    ticket: Ticket | None
    """The task that it has."""


ExecutorT = TypeVar("ExecutorT", bound=Executor)


class TaskQueue(ABC, Generic[ExecutorT]):
    """Gives tasks to executors. Thread-safe."""

    def __init__(self) -> None:
        """Start without any task."""
        self._lock = threading.RLock()
        self._waiting: deque[Ticket] = deque()
        self._is_closed = threading.Event()

    @abstractmethod
    def _executors(self) -> list[ExecutorT]:
        """Return all executors; called under the lock."""

    @abstractmethod
    def _is_ready(self, executor: ExecutorT) -> bool:
        """Say whether it can take a task, if it has none; called under the lock."""

    @abstractmethod
    def _begin(self, executor: ExecutorT, ticket: Ticket) -> None:
        """Hand a task over.

        Raises:
            OSError: It can't be.
        """

    @abstractmethod
    def _end(self, executor: ExecutorT) -> None:
        """End an executor with the task that it runs; called under the lock."""

    def _is_freed(self, executor: ExecutorT) -> None:
        """Hear that an executor has done its task; called under the lock."""

    def submit(self, order: TaskOrder, on_ending: Callable[[Ending], None]) -> Ticket:
        """Run a task; `on_ending` hears how it ended, once, on a thread of ours.

        Raises:
            IllegalStateError: The workers were stopped.
        """
        ticket = Ticket(self, order, on_ending)
        with self._lock:
            self._check_open()
            self._waiting.append(ticket)
        self._dispatch()
        return ticket

    def drop(self, ticket: Ticket) -> None:
        """Forget a task if it waits."""
        with self._lock:
            if ticket in self._waiting:
                self._waiting.remove(ticket)
                ticket.is_over = True

    def cancel(self, ticket: Ticket) -> None:
        """Forget a task, or, if it runs, end it with its executor."""
        with self._lock:
            self.drop(ticket)
            ticket.is_over = True
            self._end_of(ticket)

    def _check_open(self) -> None:
        if self._is_closed.is_set():
            msg = "the workers were stopped"
            raise IllegalStateError(msg, hint="create a new SparkContext")

    def _end_of(self, ticket: Ticket) -> None:
        for executor in self._executors():
            if executor.ticket is ticket:
                self._end(executor)

    def _dispatch(self) -> None:
        """Give waiting tasks to executors that have none."""
        while True:
            with self._lock:
                free = next(
                    (
                        e
                        for e in self._executors()
                        if not e.ticket and self._is_ready(e)
                    ),
                    None,
                )
                if free is None or not self._waiting:
                    return
                ticket = free.ticket = self._waiting.popleft()
                self._watch(ticket)
            try:
                self._begin(free, ticket)
            except OSError as error:
                reason = f"a task's input can't be handed over: {error}"
                self._settle(free, ticket, Broken(reason))

    def _watch(self, ticket: Ticket) -> None:
        timeout_s = ticket.order.timeout_s
        if timeout_s is None:
            return

        def end() -> None:
            with self._lock:
                if not ticket.is_over:
                    ticket.overdue = (
                        f"it took longer than {timeout_s:g} s (spark.task.timeout)"
                    )
                    self._end_of(ticket)

        ticket.timer = threading.Timer(timeout_s, end)
        ticket.timer.daemon = True
        ticket.timer.start()

    def _settle(self, executor: ExecutorT, ticket: Ticket, ending: Ending) -> None:
        """Take a task from its executor, which gets another one, and tell how it ended."""
        with self._lock:
            if executor.ticket is ticket:
                executor.ticket = None
                self._is_freed(executor)
            is_news = not ticket.is_over
            ticket.is_over = True
            if ticket.timer is not None:
                ticket.timer.cancel()
        if ticket.overdue and isinstance(ending, Lost):
            ending = Lost(ticket.overdue, is_own_doing=True)
        self._dispatch()
        if is_news:
            ticket.on_ending(ending)
