"""ReceiverSupervisor: starts, stops and restarts one receiver, and stores its blocks.

A block goes from the receiver to the supervisor, then to its BlockHandler, which makes it
safe, then to the owner, the tracker: `add_block` notes it in the ledger, which gives it to
a batch.
"""

import logging
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any, Protocol

from millstream.engine.base.clock import Clock
from millstream.engine.base.config import Settings
from millstream.engine.base.errors import SparkError
from millstream.engine.base.levels import StorageLevel
from millstream.engine.ingest.block_handler import StoredBlock
from millstream.engine.ingest.block_maker import (
    BlockGeneratorListener,
    BlockMaker,
    OnText,
)
from millstream.engine.ingest.rate import RateLimit
from millstream.engine.ingest.receiver import Receiver
from millstream.engine.plan.partitions import FrozenText

_log = logging.getLogger(__name__)

_JOIN_S = 10.0
_RESTART_MS_MAX = 60_000
_RESTART_FACTOR_MAX = 30


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

    def add_block(self, stream_id: int, stored: StoredBlock, metadata: Any) -> bool:
        """Note a block that is stored; False when it can't be noted."""
        ...


class StoresBlocks(Protocol):
    """Who makes a supervisor's blocks safe: see BlockHandler, which is one."""

    @property
    def numbers(self) -> Iterator[int | str]:
        """What makes the ids of blocks unique."""
        ...

    def storing(self) -> AbstractContextManager[None]:
        """Be waited for at the end, around `store` and what follows."""
        ...

    def store(
        self, block_id: str, records: Sequence[Any] | FrozenText, level: StorageLevel
    ) -> StoredBlock:
        """Store a block; return when it is."""
        ...

    def discard(self, block_id: str) -> None:
        """Take a block back."""
        ...


def limit_of(settings: Settings, clock: Clock) -> RateLimit:
    """Return the limit that a receiver starts with."""
    limit = RateLimit(settings.find_int("spark.streaming.receiver.maxRate"), clock)
    if settings.get_bool("spark.streaming.backpressure.enabled"):
        first = settings.find_int("spark.streaming.backpressure.initialRate")
        limit.update(first or 0)
    return limit


def keep_block(
    owner: ReceiverOwner,
    handler: StoresBlocks,
    stream_id: int,
    block_id: str,
    store: Callable[[], StoredBlock],
    metadata: Any,
) -> None:
    """Store a block and let the owner note it; return when both is done.

    Raises:
        SparkError: It isn't stored, or not noted; then it isn't kept.
    """
    with handler.storing():
        stored = store()
        if not owner.add_block(stream_id, stored, metadata):
            handler.discard(block_id)
            msg = "Failed to add block to receiver tracker."
            hint = (
                f"the log of received blocks couldn't be written: block {block_id}, "
                f"{stored.record_count} records; see the errors logged"
            )
            raise SparkError(msg, hint=hint)


class _State(Enum):
    INITIALIZED = "initialized"
    STARTED = "started"
    STOPPED = "stopped"


@dataclass(slots=True)
class RestartDelays:
    """How long to wait before each restart: longer when the last one was in vain. Pure."""

    first_ms: int
    restarts: int = 0

    @property
    def max_ms(self) -> int:
        """The longest delay, and the life after which all is forgiven."""
        longest = min(_RESTART_FACTOR_MAX * self.first_ms, _RESTART_MS_MAX)
        return max(self.first_ms, longest)

    def next_ms(self, lived_ms: int) -> int:
        """Return the delay of a restart after a life of `lived_ms`."""
        if lived_ms > self.max_ms:
            self.restarts = 0
        delay_ms: int = min(self.first_ms << self.restarts, self.max_ms)
        if delay_ms < self.max_ms:
            self.restarts += 1
        return delay_ms


class ReceiverSupervisor:
    """One receiver's life. All methods may be called from any thread."""

    def __init__(
        self,
        stream_id: int,
        receiver: Receiver[Any],
        owner: ReceiverOwner,
        handler: StoresBlocks,
        settings: Settings,
        clock: Clock,
    ) -> None:
        """Attach to `receiver`; nothing runs yet."""
        self.stream_id = stream_id
        self._receiver = receiver
        self._owner = owner
        self._handler = handler
        self._clock = clock
        self._delays = RestartDelays(
            settings.get_ms("spark.streaming.receiverRestartDelay")
        )
        self._started_ms = clock.now_ms()
        self._lock = threading.RLock()
        self._state = _State.INITIALIZED
        self._is_ending = False
        self._ended = threading.Event()
        self._error: BaseException | None = None
        self._helpers_lock = threading.Lock()
        self._helpers: list[threading.Thread] = []
        self._interval_ms = settings.get_ms("spark.streaming.blockInterval")
        self._queue_size = settings.get_int("spark.streaming.blockQueueSize")
        # One for all makers: the conf limits the receiver.
        self._limit = limit_of(settings, clock)
        self._makers_lock = threading.Lock()
        self._makers: list[BlockMaker] = []
        self._is_paused = False
        self._has_stopped_makers = False
        self.blocks = self._new_maker(
            _Storing(self), on_text=partial(self.store_block, metadata=None)
        )
        receiver._supervisor = self

    @property
    def is_started(self) -> bool:
        """Whether the receiver runs."""
        return self._state is _State.STARTED and not self._is_ending

    @property
    def is_stopped(self) -> bool:
        """Whether the receiver has been told to stop."""
        return self._state is _State.STOPPED or self._is_ending

    def create_maker(self, listener: BlockGeneratorListener) -> BlockMaker:
        """Return a block maker that tells `listener`; it isn't started.

        It is under this receiver's rate limit, waits while the receiver is paused, and is
        stopped with it.
        """
        return self._new_maker(listener, on_text=None)

    def _new_maker(
        self, listener: BlockGeneratorListener, on_text: OnText | None
    ) -> BlockMaker:
        maker = BlockMaker(
            self.stream_id,
            interval_ms=self._interval_ms,
            queue_size=self._queue_size,
            clock=self._clock,
            limit=self._limit,
            numbers=self._handler.numbers,
            listener=listener,
            on_failure=self._on_maker_failed,
            on_text=on_text,
        )
        with self._makers_lock:
            if self._is_paused:
                maker.pause()
            if self._is_ending:
                maker.release()
            if self._has_stopped_makers:
                maker.stop()
            self._makers = [each for each in self._makers if not each.is_done]
            self._makers.append(maker)
        return maker

    def _all_makers(self) -> list[BlockMaker]:
        with self._makers_lock:
            return list(self._makers)

    def _on_maker_failed(self, message: str, error: BaseException) -> None:
        # Not here: this is a maker's own thread, which the end waits for.
        self._in_background(lambda: self.stop(message, error), "stop")

    def run(self, until: Callable[[], bool]) -> BaseException | None:
        """Start, wait until the supervisor is stopped, and return its error, if any."""
        with self._lock:  # A stop comes before all of this, or after.
            if until() or self._ended.is_set():
                return self._error
            self.blocks.start()
            self._start_receiver()
        self._ended.wait()
        return self._error

    def stop_soon(self, message: str) -> None:
        """Stop as `stop`, in the background: `onStop` may hang."""
        self._in_background(lambda: self.stop(message), "stop")

    def save(self, timeout_s: float) -> None:
        """Store what was handed over, and take no more, though the receiver hangs."""
        self._in_background(self._stop_makers, "save").join(timeout_s)

    def stop(self, message: str, error: BaseException | None = None) -> None:
        """Stop the receiver, store what it has handed over, and end.

        Called while a block is pushed, by the listener of a generator, it returns at once.
        """
        if any(maker.is_pushing_here for maker in self._all_makers()):
            self._in_background(lambda: self._stop(message, error), "stop")
        else:
            self._stop(message, error)

    def _stop(self, message: str, error: BaseException | None) -> None:
        # First of all, and without the lock: `onStop` may wait for a thread that stores,
        # and that one may wait for the rate limit or for `resume`.
        self._is_ending = True
        for maker in self._all_makers():
            maker.release()
        with self._lock:
            if self._ended.is_set():
                return
            self._error = self._error or error
            self._stop_receiver(message, error)
            # Before the end is told: what was handed over is stored.
            self._stop_makers()
            self._clock.cancel(self._ended)

    def _stop_makers(self) -> None:
        with self._makers_lock:
            self._has_stopped_makers = True
            makers = list(self._makers)
        for maker in makers:
            maker.stop()

    def restart(
        self, message: str, error: BaseException | None, delay_ms: int | None
    ) -> None:
        """Stop the receiver, wait, start it again; in the background.

        Without `delay_ms` the first wait is the configured one, and it doubles with every
        restart after a short life.
        """
        self._in_background(lambda: self._restart(message, error, delay_ms), "restart")

    def _restart(
        self, message: str, error: BaseException | None, delay_ms: int | None
    ) -> None:
        try:
            with self._lock:
                if not self.is_started:
                    return
                lived_ms = self._clock.now_ms() - self._started_ms
                wait_ms = (
                    self._delays.next_ms(lived_ms) if delay_ms is None else delay_ms
                )
                told = f"Restarting receiver with delay {wait_ms} ms: {message}"
                _log.warning("%s stream=%d", told, self.stream_id, exc_info=error)
                self._stop_receiver(told, error)
            until_ms = self._clock.now_ms() + wait_ms
            if self._clock.wait_until(until_ms, self._ended):
                with self._lock:
                    if not self._is_ending:
                        self._start_receiver()
        except Exception as failed:
            self.stop("Error restarting receiver", failed)

    def limit_rate(self, count: int, cancelled: threading.Event) -> None:
        """Wait until `count` records that were stored as blocks fit the rate limit."""
        self._limit.take(count, cancelled)

    def update_rate(self, per_second: float | None) -> None:
        """Let so many records a second come in, within the configured limit; None: that."""
        self._limit.update(per_second)

    @property
    def rate_per_second(self) -> float | None:
        """How many records a second may come in, or None."""
        return self._limit.per_second

    def pause(self) -> None:
        """Make whoever stores wait, until `resume` or the end; before `run`, too."""
        with self._makers_lock:
            self._is_paused = True
            for maker in self._makers:
                maker.pause()

    def resume(self) -> None:
        """Let records come in again."""
        with self._makers_lock:
            self._is_paused = False
            for maker in self._makers:
                maker.resume()

    def cut(self) -> None:
        """Store all that has been handed over so far; return when it is."""
        for maker in self._all_makers():
            maker.cut()

    def cut_singles(self) -> None:
        """Store the single records that have been handed over; return when it is done."""
        self.blocks.cut()

    def let_go(self) -> None:
        """Leave what still runs to itself: its threads can't be ended."""

    def join(self, timeout_s: float = _JOIN_S) -> bool:
        """Wait, bounded, for a restart or stop that is under way; say whether it is over."""
        others = [e for e in list(self._helpers) if e is not threading.current_thread()]
        for thread in others:
            thread.join(timeout_s)
        return not any(thread.is_alive() for thread in others)

    def _in_background(self, work: Callable[[], None], name: str) -> threading.Thread:
        thread = threading.Thread(
            target=work, name=f"millstream-{name}-{self.stream_id}", daemon=True
        )
        with self._helpers_lock:
            thread.start()  # First: a thread that isn't started can't be joined.
            alive = [each for each in self._helpers if each.is_alive()]
            self._helpers = [*alive, thread]
        return thread

    def report_error(self, message: str, error: BaseException) -> None:
        """Tell the owner of an error."""
        self._owner.report_error(self.stream_id, message, _text(error))

    def push_one(self, record: Any) -> None:
        """Take one record, to be stored with others."""
        self.blocks.add(record)

    def push_one_nowait(self, record: Any) -> bool:
        """Take one record if it needn't wait; say whether it was taken."""
        return self.blocks.add_nowait(record)

    def push_many(self, records: list[Any]) -> None:
        """Take records, to be stored with others."""
        self.blocks.add_all(records)

    def push_text(self, data: bytes) -> None:
        """Take whole lines, to be stored with others."""
        self.blocks.add_text(data)

    def push_block(self, records: list[Any], metadata: Any) -> None:
        """Store records as one block; returns when it is stored and noted.

        Raises:
            SparkError: It can't be stored.
        """
        # What a generator pushes was let in before, and closing a batch waits for it.
        if not any(maker.is_pushing_here for maker in self._all_makers()):
            self.blocks.wait_while_paused()
        block_id = f"input-{self.stream_id}-{next(self._handler.numbers)}"
        self.store_block(block_id, records, metadata)

    def store_block(
        self, block_id: str, records: list[Any] | FrozenText, metadata: Any
    ) -> None:
        """Store records under an id; returns when they are stored and noted.

        Raises:
            SparkError: They can't be stored.
        """
        level = self._receiver.storageLevel
        store = partial(self._handler.store, block_id, records, level)
        keep_block(
            self._owner, self._handler, self.stream_id, block_id, store, metadata
        )

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
            self._started_ms = self._clock.now_ms()
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


class _Storing(BlockGeneratorListener):
    """The listener of the maker behind `store`: stores, and reports errors."""

    def __init__(self, supervisor: ReceiverSupervisor) -> None:
        self._supervisor = supervisor

    def onPushBlock(self, blockId: str, records: list[Any]) -> None:
        self._supervisor.store_block(blockId, records, None)

    def onError(self, message: str, error: BaseException) -> None:
        self._supervisor.report_error(message, error)


def _text(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)).strip()
