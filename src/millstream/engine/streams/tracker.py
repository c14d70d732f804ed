"""ReceiverTracker: the receivers of a stream, and what they have stored for which batch."""

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from millstream.engine.base import frames
from millstream.engine.base.clock import Clock
from millstream.engine.base.config import Settings
from millstream.engine.durable.block_store import BlockStore
from millstream.engine.ingest.receiver import Receiver
from millstream.engine.ingest.supervisor import ReceiverSupervisor
from millstream.engine.streams.events import (
    ReceiverError,
    ReceiverInfo,
    ReceiverStarted,
    ReceiverStopped,
    StreamingEvent,
)
from millstream.engine.streams.ledger import (
    BlockLedger,
    BlockReceived,
    ReceivedBlock,
)

_log = logging.getLogger(__name__)

_RELAUNCH_MS = 100
_RELAUNCH_MS_MAX = 10_000
_STOP_S = 10.0


class ReceiverTracker:
    """Runs every receiver in a thread of its own and keeps the ledger of their blocks.

    A receiver that ends is launched again, a little later each time it fails at once.
    Receivers take no task slots: a stream with one runs under `local` too.
    """

    def __init__(
        self,
        receivers: Sequence[tuple[int, Receiver[Any]]],
        *,
        settings: Settings,
        clock: Clock,
        blocks: BlockStore,
        post: Callable[[StreamingEvent], None],
    ) -> None:
        """Prepare; nothing runs yet."""
        self._receivers = tuple(receivers)
        self._settings = settings
        self._clock = clock
        self._blocks = blocks
        self._post = post
        self._lock = threading.Lock()
        self._ledger = BlockLedger(tuple(stream_id for stream_id, _ in receivers))
        self._infos: dict[int, ReceiverInfo] = {}
        self._supervisors: dict[int, ReceiverSupervisor] = {}
        self._threads: list[threading.Thread] = []
        self._stopping = threading.Event()

    def start(self) -> None:
        """Launch every receiver: a fresh copy each, as after being sent somewhere."""
        for stream_id, receiver in self._receivers:
            data = frames.dumps_function(receiver)
            thread = threading.Thread(
                target=self._keep_running,
                args=(stream_id, data),
                name=f"millstream-receiver-{stream_id}",
                daemon=True,
            )
            self._threads.append(thread)
            thread.start()

    def stop(self, *, is_graceful: bool) -> None:
        """Stop every receiver; what they handed over before is stored."""
        self._clock.cancel(self._stopping)
        with self._lock:
            supervisors = list(self._supervisors.values())
        for supervisor in supervisors:
            supervisor.stop("Stopped by driver")
        for thread in self._threads:
            thread.join(_STOP_S)
            if thread.is_alive():
                _log.warning(
                    "a receiver didn't stop thread=%s graceful=%s",
                    thread.name,
                    is_graceful,
                )
        for supervisor in supervisors:
            supervisor.join()

    def allocate_blocks_to_batch(self, batch_ms: int) -> None:
        """Close a batch over every block that waits; nothing for a batch closed before."""
        if not self._receivers:
            return
        with self._lock:
            supervisors = list(self._supervisors.values())
        for supervisor in supervisors:
            # What came before the batch's time is in the batch, whatever the interval.
            supervisor.blocks.cut()
        with self._lock:
            closed = self._ledger.close(batch_ms)
            if closed is not None:
                self._ledger.apply(closed)

    def blocks_of(self, batch_ms: int, stream_id: int) -> tuple[ReceivedBlock, ...]:
        """Return a batch's blocks of one stream."""
        with self._lock:
            return self._ledger.blocks_of(batch_ms, stream_id)

    def has_unallocated_blocks(self) -> bool:
        """Say whether a block waits for a batch."""
        with self._lock:
            return self._ledger.has_waiting

    def forget(self, before_ms: int) -> None:
        """Forget which blocks batches before `before_ms` had."""
        with self._lock:
            self._ledger.apply(self._ledger.forget(before_ms))

    def remove_blocks(self, block_ids: Iterable[str]) -> None:
        """Delete the data of blocks."""
        self._blocks.remove_all(block_ids)

    def receiver_infos(self) -> list[ReceiverInfo]:
        """Return every receiver that has registered."""
        with self._lock:
            return [self._infos[stream_id] for stream_id in sorted(self._infos)]

    def _keep_running(self, stream_id: int, data: bytes) -> None:
        wait_ms = _RELAUNCH_MS
        while not self._stopping.is_set():
            begin_ms = self._clock.now_ms()
            receiver: Receiver[Any] = frames.loads_function(data)
            supervisor = ReceiverSupervisor(
                stream_id, receiver, self, self._settings, self._clock
            )
            with self._lock:
                self._supervisors[stream_id] = supervisor
            error = supervisor.run(until=self._stopping.is_set)
            if self._stopping.is_set():
                return
            if error is not None:
                _log.error(
                    "receiver failed; it is launched again stream=%d error=%s",
                    stream_id,
                    error,
                )
            lasted_ms = self._clock.now_ms() - begin_ms
            wait_ms = _RELAUNCH_MS if lasted_ms > _RELAUNCH_MS_MAX else wait_ms
            self._clock.wait_until(self._clock.now_ms() + wait_ms, self._stopping)
            wait_ms = min(2 * wait_ms, _RELAUNCH_MS_MAX)

    # What supervisors tell.

    def register(self, stream_id: int, name: str) -> bool:
        """Note that a receiver starts; refuse it while stopping."""
        if self._stopping.is_set():
            return False
        with self._lock:
            before = self._infos.get(stream_id, ReceiverInfo(stream_id, name, True))
            info = replace(
                before,
                name=name,
                active=True,
                location="localhost",
                executor_id="driver",
            )
            self._infos[stream_id] = info
        self._post(ReceiverStarted(info))
        return True

    def deregister(self, stream_id: int, message: str, error: str) -> None:
        """Note that a receiver stopped."""
        when_ms = self._clock.now_ms() if error else -1
        info = self._change(
            stream_id,
            active=False,
            last_error_message=message,
            last_error=error,
            last_error_time_ms=when_ms,
        )
        self._post(ReceiverStopped(info))

    def report_error(self, stream_id: int, message: str, error: str) -> None:
        """Note an error of a receiver that goes on."""
        _log.warning("receiver error stream=%d message=%s", stream_id, message)
        info = self._change(
            stream_id,
            last_error_message=message,
            last_error=error,
            last_error_time_ms=self._clock.now_ms(),
        )
        self._post(ReceiverError(info))

    def add_block(
        self,
        stream_id: int,
        block_id: str,
        records: list[Any],
        metadata: Any,
        receiver: Receiver[Any],
    ) -> bool:
        """Store a block at the receiver's level, then let it wait for a batch."""
        count = self._blocks.put(
            block_id, records, receiver.storageLevel, now_ms=self._clock.now_ms()
        )
        if not self._blocks.contains(block_id):
            return False
        with self._lock:
            block = ReceivedBlock(stream_id, block_id, count, metadata)
            self._ledger.apply(BlockReceived(block))
        return True

    def _change(self, stream_id: int, **facts: Any) -> ReceiverInfo:
        with self._lock:
            before = self._infos.get(stream_id, ReceiverInfo(stream_id, "", False))
            info = self._infos[stream_id] = replace(before, **facts)
        return info
