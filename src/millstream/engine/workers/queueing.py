"""Queueing: tasks that wait for an executor, and how each comes to its end.

What worker processes and actors on a cluster have in common: one task at a time an
executor, first come, first served, but one that has what a task reads goes first; a task
reports once, or never if it was cancelled; and what an executor says of a task that it no
longer has isn't heard. Where it takes long to hand a task over, short ones are handed over
several at a time, and while those before them run.
"""

import threading
from abc import ABC, abstractmethod
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Generic, Protocol, TypeVar

from millstream.engine.base.clock import monotonic_s
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
        self.begun_s: float | None = None
        """When an executor took it; None while it waits."""
        self.executor: int | None = None
        """Which one did."""
        self.where = ""
        """What that is called."""
        self.has_company = False
        """Whether it was handed over together with others, or before another had ended."""

    def drop(self) -> None:
        """Forget it if it waits: it never runs, nor reports."""
        self._queue.drop(self)

    def cancel(self) -> None:
        """Forget it, or, if it runs, end it with its executor. It never reports then."""
        self._queue.cancel(self)


class Executor(Protocol):
    """What runs one task at a time."""

    number: int
    tickets: list[Ticket]
    """The task that it runs, and those that it was handed to run next."""
    freed_s: float
    """When it ended its last task, on `monotonic_s`; 0 before that."""

    @property
    def where(self) -> str:
        """What it is called where people read it."""
        ...


ExecutorT = TypeVar("ExecutorT", bound=Executor)


_LATE_S = 0.1
_STAGES_MAX = 200
_LOOK_AHEAD = 64
"""So many of the tasks that wait are looked through for one that fits an executor."""


class TaskQueue(ABC, Generic[ExecutorT]):
    """Gives tasks to executors. Thread-safe."""

    depth = 1
    """How many tasks an executor is handed at most, if they are short."""
    ahead_s = 0.02
    """For so long an executor is to be busy with what it was handed, where tasks are short."""

    def __init__(self) -> None:
        """Start without any task."""
        self._took: OrderedDict[str, float] = OrderedDict()
        """Seconds that the latest task of each stage took."""
        self._lock = threading.RLock()
        self._waiting: deque[Ticket] = deque()
        self._is_closed = threading.Event()
        self._gathering = 0

    @abstractmethod
    def _executors(self) -> list[ExecutorT]:
        """Return all executors; called under the lock."""

    @abstractmethod
    def _is_ready(self, executor: ExecutorT) -> bool:
        """Say whether it can take a task, if it has none; called under the lock."""

    @abstractmethod
    def _begin(self, executor: ExecutorT, tickets: Sequence[Ticket]) -> None:
        """Hand tasks over: one, or several short ones.

        Raises:
            OSError: They can't be.
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

    @contextmanager
    def together(self) -> Iterator[None]:
        """Hand over what is submitted inside when that is all there is to submit."""
        with self._lock:
            self._gathering += 1
        try:
            yield
        finally:
            with self._lock:
                self._gathering -= 1
            self._dispatch()

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
            if ticket in executor.tickets:
                self._end(executor)

    def _dispatch(self) -> None:
        """Give waiting tasks to executors that have room for one."""
        while True:
            with self._lock:
                if self._gathering or not self._waiting:
                    return
                given = self._deal()
            if not given:
                return
            for executor, tickets in given:
                try:
                    self._begin(executor, tickets)
                except OSError as error:
                    reason = f"a task's input can't be handed over: {error}"
                    for ticket in tickets:
                        self._settle(executor, ticket, Broken(reason))

    def _deal(self) -> list[tuple[ExecutorT, list[Ticket]]]:
        """Give out as many tasks as can be, and return which went to whom."""
        given: dict[int, tuple[ExecutorT, list[Ticket]]] = {}
        ready = [each for each in self._executors() if self._is_ready(each)]
        while match := self._match(ready):
            executor, ticket = match
            self._waiting.remove(ticket)
            executor.tickets.append(ticket)
            ticket.begun_s, ticket.executor = monotonic_s(), executor.number
            ticket.where = executor.where
            if len(executor.tickets) > 1:
                for each in executor.tickets:
                    each.has_company = True
            self._watch(ticket)
            given.setdefault(executor.number, (executor, []))[1].append(ticket)
        return list(given.values())

    def _match(self, ready: list[ExecutorT]) -> tuple[ExecutorT, Ticket] | None:
        """Return an executor and the task for it, those first that fit best."""
        idle = [each for each in ready if not each.tickets]
        ahead = list(islice(self._waiting, _LOOK_AHEAD)) if idle else []
        for executor in idle:
            for ticket in ahead:
                if ticket.order.near == executor.number:
                    return executor, ticket
        for ticket in ahead:
            for executor in idle:
                if ticket.order.avoid != executor.number or len(ready) == 1:
                    return executor, ticket
        if self.depth > 1 and ready and self._waiting:
            return self._match_ahead(ready, self._waiting[0])
        return None

    def _match_ahead(
        self, ready: list[ExecutorT], ticket: Ticket
    ) -> tuple[ExecutorT, Ticket] | None:
        """Return an executor that takes a short task besides those that it has."""
        least = min(ready, key=lambda each: len(each.tickets))
        near = [e for e in ready if e.number == ticket.order.near]
        for executor in (*near, least):
            busy_s = sum(map(self._expected_s, (*executor.tickets, ticket)))
            is_even = len(executor.tickets) <= len(least.tickets) + 1
            has_room = len(executor.tickets) < self.depth and busy_s <= self.ahead_s
            if has_room and is_even and ticket.order.avoid != executor.number:
                return executor, ticket
        return None

    def _expected_s(self, ticket: Ticket) -> float:
        if ticket.order.timeout_s is not None or ticket.order.goes_alone:
            return self.ahead_s
        if ticket.begun_s and monotonic_s() - ticket.begun_s > _LATE_S:
            return self.ahead_s  # Who knows how long it takes yet.
        took_s = self._took.get(ticket.order.stage.id, ticket.order.expected_s)
        return self.ahead_s if took_s is None else took_s

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
            if ticket in executor.tickets:
                executor.tickets.remove(ticket)
                self._note_time(executor, ticket)
                if not executor.tickets:
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

    def _note_time(self, executor: ExecutorT, ticket: Ticket) -> None:
        now_s = monotonic_s()
        begun_s = max(ticket.begun_s or 0.0, executor.freed_s)
        executor.freed_s = now_s
        if not ticket.has_company:
            self._took[ticket.order.stage.id] = now_s - begun_s
        if len(self._took) > _STAGES_MAX:
            self._took.popitem(last=False)
