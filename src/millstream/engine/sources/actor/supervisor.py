"""Supervisor: starts the workers of an actor stream, and decides about their failures."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from millstream.engine.base.clock import monotonic_s
from millstream.engine.base.errors import UsageError
from millstream.engine.sources.actor.strategy import (
    Directive,
    OneForOneStrategy,
    Statistics,
)
from millstream.engine.sources.actor.workers import (
    ActorHelper,
    Worker,
    WorkerGoneError,
    check_actor_class,
)

_log = logging.getLogger(__name__)


class Supervisor:
    """Starts workers, stores for them, and decides about their failures.

    All methods may be called from any thread.
    """

    def __init__(
        self,
        store: Callable[[Any], None],
        escalate: Callable[[str, Exception], None],
        is_stopped: Callable[[], bool],
        strategy: OneForOneStrategy,
    ) -> None:
        """Store by `store`; hand what isn't dealt with here to `escalate`."""
        self._store = store
        self._escalate = escalate
        self.is_stopped = is_stopped
        self._strategy = strategy
        self._lock = threading.Lock()
        self._workers: dict[str, Worker] = {}
        self._restarts_s: dict[str, deque[float]] = {}
        self._numbers = 0
        self._messages = 0
        self._hiccups = 0
        self._is_ending = False

    def start(
        self, kind: type[ActorHelper], args: tuple[Any, ...], name: str | None
    ) -> Worker:
        """Start a worker, and return its reference.

        Raises:
            PySparkTypeError: The class has no ActorHelper among its bases.
            UsageError: There is a worker of this name.
            WorkerGoneError: The stream ends.
        """
        check_actor_class(kind)
        with self._lock:
            self._numbers += 1
            name = name or f"{kind.__name__}-{self._numbers}"
            if self._is_ending:
                msg = f"the worker '{name}' isn't started: the receiver ends"
                raise WorkerGoneError(msg)
            if name in self._workers:
                msg = f"there is a worker named '{name}' already"
                raise UsageError(msg, hint="names of workers are unique")
            worker = self._workers[name] = Worker(self, kind, args, name)
            worker.begin()
        return worker

    def find(self, name: str) -> Worker | None:
        """Return the worker of a name."""
        with self._lock:
            return self._workers.get(name)

    def statistics(self) -> Statistics:
        """Return what happened so far."""
        with self._lock:
            names = list(self._workers)
            return Statistics(
                self._messages, len(names), self._hiccups, "\n".join(names)
            )

    def store(self, data: Any) -> None:
        """Store for a worker.

        Raises:
            SparkError: It can't be stored.
        """
        self._store(data)
        with self._lock:
            self._messages += 1

    def on_failed(
        self, worker: Worker, error: Exception, *, is_made: bool
    ) -> Directive:
        """Note a failure; return what is to be done. Escalating is done here.

        A worker that couldn't even be made isn't made again and again: that escalates.
        """
        with self._lock:
            self._hiccups += 1
        directive = self._decide(error)
        is_hopeless = not is_made and directive is not Directive.STOP
        if is_hopeless or (
            directive is Directive.RESTART and not self._may_restart(worker)
        ):
            directive = Directive.ESCALATE
        _log.warning(
            "a worker failed worker=%s directive=%s",
            worker.name,
            directive.value,
            exc_info=error,
        )
        if directive is Directive.ESCALATE and not self._is_ending:
            self._escalate(f"the actor '{worker.name}' failed: {error}", error)
        return directive

    def _decide(self, error: Exception) -> Directive:
        try:
            return self._strategy.decider(error)
        except Exception:
            _log.exception("a strategy's decider raised; the receiver restarts")
            return Directive.ESCALATE

    def _may_restart(self, worker: Worker) -> bool:
        now_s = monotonic_s()
        with self._lock:
            times_s = self._restarts_s.setdefault(worker.name, deque())
            while times_s and (now_s - times_s[0]) * 1000 > self._strategy.within_ms:
                times_s.popleft()
            if len(times_s) >= self._strategy.restarts_max:
                return False
            times_s.append(now_s)
            return True

    def forget(self, worker: Worker) -> None:
        """Note that a worker has ended."""
        with self._lock:
            self._restarts_s.pop(worker.name, None)
            if self._workers.get(worker.name) is worker:
                del self._workers[worker.name]

    def stop(self, timeout_s: float) -> None:
        """End all workers, after the messages that they have; waits so long at most."""
        with self._lock:
            self._is_ending = True
            workers = list(self._workers.values())
        for worker in workers:
            worker.stop()
        until_s = monotonic_s() + timeout_s
        for worker in workers:
            if not worker.wait(max(0.0, until_s - monotonic_s())):
                _log.warning("a worker didn't end worker=%s", worker.name)
                worker.end()  # Who waits for it needn't wait for ever.
