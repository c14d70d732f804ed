"""Workers: the actors of a stream, and how they are made, given up and made anew.

A worker is an actor on a thread of its own, with a mailbox that it goes through one by one.
When it is restarted, its object is made anew; its mailbox, its name and its reference stay.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from types import TracebackType
from typing import Any, Protocol

from millstream.engine.base.errors import PySparkTypeError, SparkError
from millstream.engine.base.extras import needed
from millstream.engine.sources.actor.strategy import Directive, Statistics

_log = logging.getLogger(__name__)


class WorkerGoneError(SparkError):
    """A worker has ended: it won't take, or won't have handled, a message."""


class WorkerOwner(Protocol):
    """Whom workers ask and tell: the supervisor."""

    @property
    def is_stopped(self) -> Callable[[], bool]:
        """What says whether the receiver has been told to stop."""
        ...

    def start(
        self, kind: "type[ActorHelper]", args: tuple[Any, ...], name: str | None
    ) -> "Worker":
        """Start a worker, and return its reference."""
        ...

    def statistics(self) -> Statistics:
        """Return what happened so far."""
        ...

    def store(self, data: Any) -> None:
        """Store for a worker."""
        ...

    def on_failed(
        self, worker: "Worker", error: Exception, *, is_made: bool
    ) -> Directive:
        """Note a failure; return what is to be done."""
        ...

    def forget(self, worker: "Worker") -> None:
        """Note that a worker has ended."""
        ...


class ActorHelper:
    """What an actor class of a stream has as a base: it can store.

    Override `on_receive`, and what else is needed of `on_start`, `on_stop` and
    `on_failure`. Everything runs on the actor's own thread, `__init__` too.
    """

    _worker: "Worker"

    @property
    def actor_ref(self) -> "Worker":
        """The reference of this actor, for those who send to it."""
        return self._worker

    def store(self, data: Any) -> None:
        """Hand over what was received: a record, or a block.

        As `Receiver.store`: a list or an iterator is a block, `bytes` are a pickled list of
        records, anything else is one record. It returns when a block is stored, and when a
        record is taken: there is nothing more to wait for. It may wait for the rate limit.

        Raises:
            SparkError: It can't be stored.
        """
        self._worker._supervisor.store(data)

    def addWorker(
        self, actorClass: "type[ActorHelper]", *args: Any, name: str | None = None
    ) -> "Worker":
        """Start one more actor under the same supervisor, and return its reference.

        Raises:
            UsageError: There is a worker of this name.
        """
        return self._worker._supervisor.start(actorClass, args, name)

    def statistics(self) -> Statistics:
        """Return what the supervisor has seen."""
        return self._worker._supervisor.statistics()

    def isStopped(self) -> bool:
        """Say whether the receiver has been told to stop; loops must ask."""
        return self._worker._supervisor.is_stopped()

    def stop(self) -> None:
        """End this actor, after the messages that it has already."""
        self._worker.stop()

    def on_receive(self, message: Any) -> Any:
        """Handle a message; what it returns is the answer for those who ask.

        Raises:
            NotImplementedError: It isn't overridden.
        """
        msg = f"{type(self).__name__}.on_receive isn't there, and a message came"
        raise NotImplementedError(msg)

    def on_start(self) -> None:
        """Begin; called before the first message, and after each restart."""

    def on_stop(self) -> None:
        """End in order; called after the last message."""

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Clean up after a failure, when this object is given up."""


@dataclass(frozen=True, slots=True)
class _Letter:
    """Messages in a mailbox; with a future, somebody waits until they are handled."""

    messages: Sequence[Any]
    handled: "Future[Any] | None" = None


class Worker:
    """The reference of an actor: whoever has it may send to it, from any thread."""

    def __init__(
        self,
        supervisor: WorkerOwner,
        kind: type[ActorHelper],
        args: tuple[Any, ...],
        name: str,
    ) -> None:
        self._supervisor = supervisor
        self._args = args
        self.name = name
        # The first base: also where a class is a Pykka actor of its own.
        bases = (_Bound, kind)
        self._class: Any = type(kind.__name__, bases, {"_worker": self})
        self._lock = threading.Lock()
        self._is_over = False
        self._awaited: set[Future[Any]] = set()
        self._ref: Any = None

    def tell(self, message: Any) -> None:
        """Send a message.

        Raises:
            WorkerGoneError: The worker has ended.
        """
        self._put(_Letter([message]))

    def ask(self, message: Any) -> "Future[Any]":
        """Send a message; the future has the answer, or what handling it raised.

        Raises:
            WorkerGoneError: The worker has ended.
        """
        return self.ask_all([message])

    def ask_all(self, messages: Sequence[Any]) -> "Future[Any]":
        """Send messages that are handled one after the other, up to the first that fails.

        Raises:
            WorkerGoneError: The worker has ended.
        """
        handled: Future[Any] = Future()
        self._put(_Letter(messages, handled))
        return handled

    def _put(self, letter: _Letter) -> None:
        with self._lock:
            if self._is_over:
                raise self._gone()
            if letter.handled is not None:
                self._awaited.add(letter.handled)
            # Inside: what is put before the end is seen by the end.
            self._ref.tell(letter)

    def stop(self) -> None:
        """End the worker, after the messages that it has already; returns at once."""
        with suppress(_pykka().ActorDeadError):  # It has ended.
            self._ref.stop(block=False)

    def begin(self) -> None:
        """Start the thread; once, by the supervisor."""
        with self._lock:
            self._ref = _actor_class().start(self)

    def _settle(self, handled: "Future[Any]", result: Any, error: Any = None) -> None:
        with self._lock:
            if handled not in self._awaited:
                return  # `end` has settled it.
            self._awaited.remove(handled)
        with suppress(InvalidStateError):  # Who waited has cancelled it.
            if error is None:
                handled.set_result(result)
            else:
                handled.set_exception(error)

    def end(self) -> None:
        """Take no more messages; who waits for one hears that it isn't handled."""
        with self._lock:
            self._is_over = True
            awaited, self._awaited = self._awaited, set()
        for handled in awaited:
            with suppress(InvalidStateError):  # Who waited has cancelled it.
                handled.set_exception(self._gone())
        self._supervisor.forget(self)

    def wait(self, timeout_s: float) -> bool:
        """Stop, and wait for the end; say whether it came."""
        pykka = _pykka()
        try:
            self._ref.stop(block=True, timeout=timeout_s)
        except pykka.Timeout:
            return False
        except pykka.ActorDeadError:
            pass
        return True

    def _gone(self) -> WorkerGoneError:
        return WorkerGoneError(f"the worker '{self.name}' has ended")

    def __repr__(self) -> str:
        return f"Worker({self.name})"


class _Bound:
    """What stands before an actor class: its reference, whatever else the class is."""

    _worker: Worker

    @property
    def actor_ref(self) -> Worker:
        return self._worker

    def stop(self) -> None:
        self._worker.stop()


def check_actor_class(kind: Any) -> None:
    """Check that a class can be a worker's.

    Raises:
        PySparkTypeError: It is none, or has no ActorHelper among its bases.
    """
    if not isinstance(kind, type) or not issubclass(kind, ActorHelper):
        msg = f"an actor is a class with ActorHelper as a base, not {kind!r}"
        raise PySparkTypeError(msg)


def _pykka() -> Any:
    return needed("pykka", "actor", "ActorUtils")


class _Cell:
    """Where a worker's object lives, is given up and made anew; on the worker's thread."""

    def __init__(self, worker: Worker, stop: Callable[[], None]) -> None:
        self._worker = worker
        self._stop = stop
        self._inner: ActorHelper | None = None
        self._dropped = 0

    def make(self) -> None:
        """Make the object, and begin."""
        try:
            inner: ActorHelper = self._worker._class(*self._worker._args)
            inner.on_start()
        except Exception as error:
            self._fail(error)
        else:
            self._inner = inner

    def handle(self, letter: _Letter) -> None:
        """Handle messages. Never raises: Pykka would end the actor, and lose its mailbox."""
        answer: Any = None
        for number, message in enumerate(letter.messages):
            if self._inner is None:  # `end` has told who waits.
                self._dropped += len(letter.messages) - number
                return
            try:
                answer = self._inner.on_receive(message)
            except Exception as error:
                if letter.handled is not None:
                    self._worker._settle(letter.handled, None, error)
                self._fail(error)
                return
        if letter.handled is not None:
            self._worker._settle(letter.handled, answer)

    def end(self) -> None:
        """End in order."""
        if self._dropped:
            _log.warning(
                "messages to a worker that has ended are dropped worker=%s messages=%d",
                self._worker.name,
                self._dropped,
            )
        inner, self._inner = self._inner, None
        try:
            if inner is not None:
                inner.on_stop()
        except Exception:
            _log.exception("on_stop raised worker=%s", self._worker.name)
        self._worker.end()

    def _fail(self, error: Exception) -> None:
        is_made = self._inner is not None
        supervisor = self._worker._supervisor
        match supervisor.on_failed(self._worker, error, is_made=is_made):
            case Directive.RESUME:
                pass
            case Directive.RESTART:
                self._give_up(error)
                self.make()
            case Directive.STOP | Directive.ESCALATE:
                self._give_up(error)
                self._worker.end()
                self._stop()

    def _give_up(self, error: Exception) -> None:
        inner, self._inner = self._inner, None
        if inner is None:
            return
        try:
            inner.on_failure(type(error), error, error.__traceback__)
        except Exception:
            _log.exception("on_failure raised worker=%s", self._worker.name)


@cache
def _actor_class() -> Any:
    base: Any = _pykka().ThreadingActor

    class WorkerActor(base):  # type: ignore[misc]
        """The Pykka actor that is a cell's thread and mailbox."""

        use_daemon_thread = True

        def __init__(self, worker: Worker) -> None:
            super().__init__()
            self._cell = _Cell(worker, self.stop)

        def on_start(self) -> None:
            self._cell.make()

        def on_stop(self) -> None:
            self._cell.end()

        def on_receive(self, letter: _Letter) -> None:
            self._cell.handle(letter)

    return WorkerActor
