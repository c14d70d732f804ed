"""ReliableReceiver: acknowledges what it was sent when, and only when, it is stored.

Stored and, with `spark.streaming.receiver.writeAheadLog.enable`, logged: then a crash at any
moment loses nothing. What was stored and couldn't be acknowledged any more is sent again:
at least once.
"""

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from millstream.engine.base.levels import StorageLevel
from millstream.engine.ingest.receiver import Receiver

_log = logging.getLogger(__name__)

_JOIN_S = 10.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Delivery(Generic[T]):
    """What came at a time: it is stored as one block, then acknowledged."""

    records: Sequence[T]
    token: Any = None
    """What `acknowledge` needs to know."""


class Connection(ABC, Generic[T]):
    """One connection to whatever sends; used by one thread."""

    @abstractmethod
    def receive(self, timeout_s: float) -> Delivery[T] | None:
        """Return what came next, or None when nothing did for `timeout_s`.

        It is short: the receiver can't stop meanwhile. When it raises, the receiver
        restarts, with new connections.
        """

    @abstractmethod
    def acknowledge(self, token: Any) -> None:
        """Say that a delivery is safe: it needn't be sent again."""

    def reject(self, token: Any) -> None:
        """Say that a delivery couldn't be stored. By default that is said by silence."""

    def close(self) -> None:
        """End."""


class ReliableReceiver(Receiver[T], ABC, Generic[T]):
    """Subclass it and override `connect`.

    Everything else is done: threads, storing, acknowledging in order, rejecting what can't
    be stored, keeping to the rate limit, restarting when a connection breaks, and stopping.
    """

    connections: ClassVar[int] = 1
    """How many connections receive side by side, each in a thread of its own."""
    receive_s: ClassVar[float] = 0.5
    """For how long `Connection.receive` is to wait at most."""

    def __init__(
        self, storageLevel: StorageLevel = StorageLevel.MEMORY_AND_DISK_2
    ) -> None:
        """Keep received blocks at `storageLevel`."""
        super().__init__(storageLevel)
        self._life: _Life | None = None

    @abstractmethod
    def connect(self) -> Connection[T]:
        """Return a new connection; called in the thread that uses it."""

    def onStart(self) -> None:
        """Start the threads."""
        self._life = _Life(self)
        self._life.start()

    def onStop(self) -> None:
        """End the threads; what they have stored is acknowledged first."""
        life, self._life = self._life, None
        if life is not None:
            life.stop()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_life": None}


class _Life:
    """From `onStart` to `onStop`."""

    def __init__(self, receiver: ReliableReceiver[Any]) -> None:
        self._receiver = receiver
        self._is_over = threading.Event()
        name = f"millstream-reliable-{receiver.streamId}"
        self._threads = [
            threading.Thread(target=self._run, name=f"{name}-{number}", daemon=True)
            for number in range(receiver.connections)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._is_over.set()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(_JOIN_S)
                if thread.is_alive():
                    _log.warning("a connection didn't end thread=%s", thread.name)

    def _run(self) -> None:
        try:
            with closing(self._receiver.connect()) as connection:
                while not self._is_over.is_set():
                    self._take(connection)
        except Exception as error:
            # One of several connections: the first that breaks has all begin anew.
            if not self._is_over.is_set():
                self._is_over.set()
                name = type(self._receiver).__name__
                self._receiver.restart(f"{name}: receiving failed: {error}", error)

    def _take(self, connection: Connection[Any]) -> None:
        delivery = connection.receive(self._receiver.receive_s)
        if delivery is None:
            return
        try:
            if delivery.records:
                self._receiver.store(list(delivery.records))
        except Exception:
            connection.reject(delivery.token)
            raise
        connection.acknowledge(delivery.token)
        # Afterwards: who sent it shan't wait, but what comes next may.
        self._receiver._attached().limit_rate(len(delivery.records), self._is_over)
