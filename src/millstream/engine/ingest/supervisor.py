"""ReceiverSupervisor: starts, stops and restarts one receiver, and stores its blocks."""

import itertools
import logging
import threading
import traceback
from collections.abc import Callable
from enum import Enum
from typing import Any, Protocol

from millstream.engine.base.clock import Clock
from millstream.engine.base.config import Settings
from millstream.engine.base.errors import SparkError
from millstream.engine.ingest.block_maker import BlockMaker
from millstream.engine.ingest.rate import RateLimit
from millstream.engine.ingest.receiver import Receiver

_log = logging.getLogger(__name__)

_JOIN_S = 10.0


class ReceiverOwner(Protocol):
    """Whom a supervisor tells: the tracker."""

    def register(self, stream_id: int, name: str) -> bool:
        """Note that a receiver starts; False refuses it."""
        ...

    def deregister(self, stream_id: int, message: str, error: str) -> None:
        """Note that a receiver stopped."""
        ...

    def report_error(self, stream_id: int, message: str, error: str) -> None:
        """Note an error of a receiver that goes on."""
        ...

    def add_block(
        self,
        stream_id: int,
        block_id: str,
        records: list[Any],
        metadata: Any,
        receiver: Receiver[Any],
    ) -> bool:
        """Store a block and note it; False when it can't be taken any more."""
        ...


class _State(Enum):
    INITIALIZED = "initialized"
    STARTED = "started"
    STOPPED = "stopped"


class ReceiverSupervisor:
    """One receiver's life. All methods may be called from any thread."""

    def __init__(
        self,
        stream_id: int,
        receiver: Receiver[Any],
        owner: ReceiverOwner,
        settings: Settings,
        clock: Clock,
    ) -> None:
        """Attach to `receiver`; nothing runs yet."""
        self.stream_id = stream_id
        self._receiver = receiver
        self._owner = owner
        self._clock = clock
        self._restart_ms = settings.get_ms("spark.streaming.receiverRestartDelay")
        self._lock = threading.RLock()
        self._state = _State.INITIALIZED
        self._ended = threading.Event()
        self._error: BaseException | None = None
        self._block_ids = itertools.count(clock.now_ms())
        self._restarting: threading.Thread | None = None
        limit = RateLimit(settings.find_int("spark.streaming.receiver.maxRate"), clock)
        self.blocks = BlockMaker(
            stream_id,
            settings.get_ms("spark.streaming.blockInterval"),
            clock,
            limit,
            self._push_made,
            self.report_error,
        )
        receiver._supervisor = self

    @property
    def is_started(self) -> bool:
        """Whether the receiver runs."""
        return self._state is _State.STARTED

    @property
    def is_stopped(self) -> bool:
        """Whether the receiver has been told to stop."""
        return self._state is _State.STOPPED

    def run(self, until: Callable[[], bool]) -> BaseException | None:
        """Start, wait until the supervisor is stopped, and return its error, if any."""
        with self._lock:  # A stop comes before all of this, or after.
            if until() or self._ended.is_set():
                return self._error
            self.blocks.start()
            self._start_receiver()
        self._ended.wait()
        return self._error

    def stop(self, message: str, error: BaseException | None = None) -> None:
        """Stop the receiver, store what it has handed over, and end."""
        with self._lock:
            if self._ended.is_set():
                return
            self._error = self._error or error
            self._stop_receiver(message, error)
            # Before the end is told: what was handed over is stored.
            self.blocks.stop()
        self._clock.cancel(self._ended)

    def restart(
        self, message: str, error: BaseException | None, delay_ms: int | None
    ) -> None:
        """Stop the receiver, wait, start it again; in the background."""
        wait_ms = self._restart_ms if delay_ms is None else delay_ms
        told = f"Restarting receiver with delay {wait_ms} ms: {message}"
        thread = threading.Thread(
            target=self._restart,
            args=(told, error, wait_ms),
            name=f"millstream-restart-{self.stream_id}",
            daemon=True,
        )
        thread.start()
        self._restarting = (
            thread  # Only now: a thread that isn't started can't be joined.
        )

    def _restart(self, told: str, error: BaseException | None, wait_ms: int) -> None:
        _log.warning("%s stream=%d", told, self.stream_id, exc_info=error)
        try:
            with self._lock:
                if not self.is_started:
                    return
                self._stop_receiver(told, error)
            until_ms = self._clock.now_ms() + wait_ms
            if self._clock.wait_until(until_ms, self._ended):
                with self._lock:
                    if not self._ended.is_set():
                        self._start_receiver()
        except Exception as failed:
            self.stop("Error restarting receiver", failed)

    def join(self) -> None:
        """Wait, bounded, for a restart that is under way."""
        thread = self._restarting
        if thread is not None and thread is not threading.current_thread():
            thread.join(_JOIN_S)

    def report_error(self, message: str, error: BaseException) -> None:
        """Tell the owner of an error."""
        self._owner.report_error(self.stream_id, message, _text(error))

    def push_one(self, record: Any) -> None:
        """Take one record, to be stored with others."""
        self.blocks.add(record)

    def push_many(self, records: list[Any]) -> None:
        """Take records, to be stored with others."""
        self.blocks.add_all(records)

    def push_block(self, records: list[Any], metadata: Any) -> None:
        """Store records as one block; returns when it is stored and noted.

        Raises:
            SparkError: It can't be stored.
        """
        block_id = f"input-{self.stream_id}-{next(self._block_ids)}"
        self._push(block_id, records, metadata)

    def _push_made(self, block_id: str, records: list[Any]) -> None:
        self._push(block_id, records, None)

    def _push(self, block_id: str, records: list[Any], metadata: Any) -> None:
        added = self._owner.add_block(
            self.stream_id, block_id, records, metadata, self._receiver
        )
        if not added:
            msg = "Failed to add block to receiver tracker."
            raise SparkError(msg, hint=f"block {block_id}, {len(records)} records")

    def _start_receiver(self) -> None:
        name = f"{type(self._receiver).__name__}-{self.stream_id}"
        try:
            if not self._owner.register(self.stream_id, name):
                self.stop(
                    "Registered unsuccessfully because Driver refused to start receiver "
                    f"{self.stream_id}"
                )
                return
            self._state = _State.STARTED
            self._receiver.onStart()
        except Exception as error:
            self.stop(f"Error starting receiver {self.stream_id}", error)

    def _stop_receiver(self, message: str, error: BaseException | None) -> None:
        if self._state is not _State.STARTED:
            return
        self._state = _State.STOPPED  # First: the receiver's loops ask for it.
        try:
            self._receiver.onStop()
        except Exception:
            _log.exception("onStop raised stream=%d", self.stream_id)
        self._owner.deregister(
            self.stream_id, message, "" if error is None else _text(error)
        )


def _text(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)).strip()
