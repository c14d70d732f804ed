"""ReceiverTracker: the receivers of a stream, and what they have stored for which batch."""

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from millstream.engine.base import frames
from millstream.engine.base.clock import Clock
from millstream.engine.base.config import Settings
from millstream.engine.base.errors import MillstreamError, SparkError
from millstream.engine.base.levels import StorageLevel
from millstream.engine.durable.block_store import BlockStore
from millstream.engine.durable.write_ahead_log import FileLog, LogHandle, WriteAheadLog
from millstream.engine.ingest.receiver import Receiver
from millstream.engine.ingest.supervisor import ReceiverSupervisor
from millstream.engine.plan.partitions import FrozenRows, freeze
from millstream.engine.streams import ledger_log
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
    LedgerEvent,
    LogPosition,
    ReceivedBlock,
)

_log = logging.getLogger(__name__)

_RELAUNCH_MS = 100
_RELAUNCH_MS_MAX = 10_000
_STOP_S = 10.0


@dataclass(frozen=True, slots=True)
class LoggedBlock:
    """A block's records in the write-ahead log; a source partition."""

    log_uri: str
    position: LogPosition

    def read(self) -> Iterable[Any]:
        """Return the records."""
        at = self.position
        log = FileLog(self.log_uri)
        data = log.read(LogHandle(at.path, at.offset, at.length))
        rows: list[Any] = frames.loads(data)
        return rows


@dataclass(frozen=True, slots=True)
class TrackerLogs:
    """Where a tracker makes safe what it knows and what was received."""

    ledger: WriteAheadLog | None = None
    """Which block belongs to which batch."""
    open_data: Callable[[int], WriteAheadLog] | None = None
    """Opens the log of the received data of a stream; None: data isn't logged."""
    data_uri: Callable[[int], str] = str


class ReceiverTracker:
    """Runs every receiver in a thread of its own and keeps the ledger of their blocks.

    A receiver that ends is launched again, a little later each time it fails at once.
    Receivers take no task slots: a stream with one runs under `local` too. With logs, a
    fact is believed when it is safe on disk, and `recover` gives the facts back.
    """

    def __init__(
        self,
        receivers: Sequence[tuple[int, Receiver[Any]]],
        *,
        settings: Settings,
        clock: Clock,
        blocks: BlockStore,
        post: Callable[[StreamingEvent], None],
        logs: TrackerLogs = TrackerLogs(),
    ) -> None:
        """Prepare; nothing runs yet."""
        self._logs = logs
        self._data_logs = {
            stream_id: logs.open_data(stream_id)
            for stream_id, _ in receivers
            if logs.open_data is not None
        }
        self._recovered: set[str] = set()
        self._is_paused = False
        self._is_closed = False
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

    def recover(self) -> None:
        """Take over what the log says was known before a restart; before `start`.

        Raises:
            DurabilityError: The log is damaged; names file and place.
        """
        if self._logs.ledger is None:
            return
        for line in self._logs.ledger.read_all():
            self._ledger.apply(ledger_log.decode(line))
        self._recovered = set(self._ledger.known)

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
        self._is_closed = True

    def close_logs(self) -> None:
        """Close the logs; after the last batch."""
        if self._logs.ledger is not None:
            self._logs.ledger.close()
        for log in self._data_logs.values():
            log.close()

    def _believe(self, event: LedgerEvent) -> None:
        """Make a fact safe, then let the ledger believe it.

        Raises:
            MillstreamError, OSError: It couldn't be logged; nothing has changed.
        """
        if self._logs.ledger is not None:
            self._logs.ledger.write(ledger_log.encode(event), self._clock.now_ms())
        with self._lock:
            self._ledger.apply(event)

    def pause(self) -> None:
        """Make receivers wait with what they would store, until `resume`."""
        self._is_paused = True
        for supervisor in self._running():
            supervisor.pause()

    def resume(self) -> None:
        """Let receivers store again."""
        self._is_paused = False
        for supervisor in self._running():
            supervisor.resume()

    def update_rate(self, stream_id: int, per_second: float) -> None:
        """Let a receiver store so many records a second."""
        with self._lock:
            supervisor = self._supervisors.get(stream_id)
        if supervisor is not None:
            supervisor.update_rate(per_second)

    def rate_of(self, stream_id: int) -> float | None:
        """Return the limit of a receiver's records a second, or None."""
        with self._lock:
            supervisor = self._supervisors.get(stream_id)
        return None if supervisor is None else supervisor.blocks.limit.per_second

    def _running(self) -> list[ReceiverSupervisor]:
        with self._lock:
            return list(self._supervisors.values())

    def allocate_blocks_to_batch(self, batch_ms: int) -> None:
        """Close a batch over every block that waits; nothing for a batch closed before."""
        if not self._receivers:
            return
        for supervisor in self._running():
            # What came before the batch's time is in the batch, whatever the interval.
            supervisor.blocks.cut()
        with self._lock:
            closed = self._ledger.close(batch_ms)
        if closed is not None:
            # A block that comes meanwhile isn't in the proposal, and waits on.
            self._believe(closed)

    def blocks_of(self, batch_ms: int, stream_id: int) -> tuple[ReceivedBlock, ...]:
        """Return a batch's blocks of one stream."""
        with self._lock:
            return self._ledger.blocks_of(batch_ms, stream_id)

    def has_unallocated_blocks(self) -> bool:
        """Say whether a block waits for a batch."""
        with self._lock:
            return self._ledger.has_waiting

    def forget(self, before_ms: int) -> None:
        """Forget which blocks batches before `before_ms` had, and clean the logs."""
        with self._lock:
            forgotten = self._ledger.forget(before_ms)
        if forgotten.batches_ms:
            self._believe(forgotten)
            if self._logs.ledger is not None:
                self._logs.ledger.clean(before_ms)
            for log in self._data_logs.values():
                log.clean(before_ms)

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
            if self._is_paused:
                supervisor.pause()
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
        """Store a block at the receiver's level, log it, then let it wait for a batch.

        Returns when the block is as safe as its level and the logs make it; False when it
        isn't stored.
        """
        if self._is_closed:
            msg = "ReceiverTracker is already shut down: no more blocks are taken"
            raise SparkError(msg, hint="don't acknowledge what this call was to store")
        if block_id in self._recovered:
            # Named by a clock that was set back: it is another block.
            block_id = f"{block_id}-again"
        frozen = freeze(records)
        logged = self._log_data(stream_id, frozen)
        self._store(block_id, frozen, receiver.storageLevel)
        if logged is None and not self._blocks.contains(block_id):
            return False
        block = ReceivedBlock(stream_id, block_id, frozen.count, metadata, logged)
        try:
            self._believe(BlockReceived(block))
        except (MillstreamError, OSError) as error:
            _log.error(
                "a received block couldn't be logged; it isn't taken block=%s error=%s",
                block_id,
                error,
            )
            self._blocks.remove(block_id)
            return False
        return True

    def _store(self, block_id: str, frozen: FrozenRows, level: StorageLevel) -> None:
        self._blocks.put_frozen(block_id, frozen, level, now_ms=self._clock.now_ms())

    def _log_data(self, stream_id: int, frozen: FrozenRows) -> LogPosition | None:
        log = self._data_logs.get(stream_id)
        if log is None:
            return None
        payload = frozen.pickled
        if payload is None:
            payload = frames.dumps(list(frozen.thaw()))
        handle = log.write(payload, self._clock.now_ms())
        return LogPosition(handle.path, handle.offset, handle.length)

    def logged(self, stream_id: int, block: ReceivedBlock) -> LoggedBlock | None:
        """Return where a block's records can be read when memory has lost them."""
        if block.logged is None:
            return None
        return LoggedBlock(self._logs.data_uri(stream_id), block.logged)

    def has_block(self, block: ReceivedBlock) -> bool:
        """Say whether a block's records can still be read."""
        return block.logged is not None or self._blocks.contains(block.block_id)

    def _change(self, stream_id: int, **facts: Any) -> ReceiverInfo:
        with self._lock:
            before = self._infos.get(stream_id, ReceiverInfo(stream_id, "", False))
            info = self._infos[stream_id] = replace(before, **facts)
        return info
