"""ReceiverTracker: the receivers of a stream, and what they have stored for which batch.

The way of a record: receiver -> supervisor -> block handler (block store, log of data) ->
`add_block` here -> ledger, which gives blocks to batches -> the batch's RDD. A block is
acknowledged when the ledger's log has it, too.
"""

import itertools
import logging
import re
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

from millstream.engine.base import frames
from millstream.engine.base.clock import Clock, monotonic_s
from millstream.engine.base.config import Settings
from millstream.engine.base.errors import (
    DurabilityError,
    MillstreamError,
    PySparkPicklingError,
)
from millstream.engine.base.seldom import Seldom
from millstream.engine.durable.block_store import BlockStore
from millstream.engine.durable.write_ahead_log import WriteAheadLog
from millstream.engine.ingest.block_handler import BlockHandler, StoredBlock
from millstream.engine.ingest.host import Launch
from millstream.engine.ingest.hosted import HostedSupervisor
from millstream.engine.ingest.lag import TellsLag
from millstream.engine.ingest.lag_watch import LagWatch
from millstream.engine.ingest.receiver import Receiver
from millstream.engine.ingest.supervisor import ReceiverSupervisor
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
    BlocksRefused,
    LedgerEvent,
    ReceivedBlock,
)
from millstream.engine.streams.received_logs import LoggedBlock, TrackerLogs
from millstream.engine.workers.receiver_hosting import StartHost

_log = logging.getLogger(__name__)

_RELAUNCH_MS = 100
_RELAUNCH_MS_MAX = 10_000
_SAVE_S = 5.0
_LOOK_S = 0.1
"""How often a stop looks whether it is hurried."""
_NUMBER = re.compile(r"\d+")

_Supervisor: TypeAlias = ReceiverSupervisor | HostedSupervisor


class ReceiverTracker:
    """Runs every receiver, here or in a process of its own, and keeps the ledger of their blocks.

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
        logs: TrackerLogs,
        start_host: StartHost | None = None,
        note_here: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Prepare; nothing runs yet.

        With `start_host` each receiver lives in a process of its own; without, here, and
        `note_here` hears how many more do so.
        """
        self._start_host = start_host
        self._note_here = note_here
        self._logs = logs
        self._receivers = tuple(receivers)
        self._settings = settings
        self._clock = clock
        self._blocks = blocks
        self._post = post
        self._lock = threading.Lock()
        self._ledger = BlockLedger(tuple(stream_id for stream_id, _ in receivers))
        # Refused, though the log may have them: told to it before anything else is.
        self._refused: list[str] = []
        self._infos: dict[int, ReceiverInfo] = {}
        self._supervisors: dict[int, _Supervisor] = {}
        self._handlers: dict[int, BlockHandler] = {}
        self._rates: dict[int, float] = {}
        self._seldom = Seldom(_log)
        self._is_paused = False
        self._threads: dict[int, threading.Thread] = {}
        self._lags = {
            stream_id: LagWatch(stream_id, receiver)
            for stream_id, receiver in receivers
            if isinstance(receiver, TellsLag)
        }
        self._stopping = threading.Event()
        self._is_hurried = False

    def recover(self, *, first_ms: int = 0, closed_ms: int | None = None) -> None:
        """Take over what the log says was known before a restart; before `start`.

        Batches from `first_ms` on run again, and `closed_ms` had been closed.

        Raises:
            DurabilityError: The log is damaged, and names file and place; or it lacks
                what one of these batches had.
        """
        if self._logs.ledger is None:
            return
        for line in self._logs.ledger.read_all():
            self._ledger.apply(ledger_log.decode(line))
        self._check_recovered(first_ms, closed_ms)
        left = self._ledger.abandon_strangers()
        if left:
            _log.warning(
                "received blocks of dropped sources are passed over blocks=%d "
                "records=%d streams=%s",
                len(left),
                sum(block.record_count or 0 for block in left),
                sorted({block.stream_id for block in left}),
            )

    def _check_recovered(self, first_ms: int, closed_ms: int | None) -> None:
        forgotten_ms = self._ledger.forgotten_ms
        if forgotten_ms is not None and forgotten_ms >= first_ms:
            msg = (
                f"batch {first_ms} ms can't run again: the log of received blocks has "
                f"forgotten which ones batches up to {forgotten_ms} ms had"
            )
            raise DurabilityError(
                msg,
                hint="newer checkpoints are lost or damaged; restore them from a copy",
            )
        last_ms = self._ledger.last_closed_ms
        if closed_ms is not None and (last_ms is None or last_ms < closed_ms):
            msg = (
                "the log of received blocks, 'receivedBlockMetadata', was cut short: it "
                f"lacks which ones batch {closed_ms} ms had"
            )
            hint = (
                "restore its newest segment from a copy; or start from nothing, in "
                "another directory"
            )
            raise DurabilityError(msg, hint=hint)

    @property
    def last_closed_ms(self) -> int | None:
        """The newest batch that was closed, or None."""
        with self._lock:
            return self._ledger.last_closed_ms

    @property
    def forgotten_ms(self) -> int | None:
        """The newest batch of which it is forgotten which blocks it had, or None."""
        with self._lock:
            return self._ledger.forgotten_ms

    def start(self) -> None:
        """Launch every receiver: a fresh copy each, as after being sent somewhere.

        Raises:
            SparkError: A log class of the program's own can't be made.
        """
        for stream_id, receiver in self._receivers:
            self._handlers[stream_id] = self._new_handler(stream_id)
            if receiver.storageLevel.replication > 1:
                _log.info(
                    "received blocks are kept in memory or on disk once: there is one "
                    "process stream=%d level=%s",
                    stream_id,
                    receiver.storageLevel,
                )
        for stream_id, receiver in self._receivers:
            data = self._pickled(stream_id, receiver)
            thread = threading.Thread(
                target=self._keep_running,
                args=(stream_id, data, receiver.preferredLocation),
                name=f"millstream-receiver-{stream_id}",
                daemon=True,
            )
            self._threads[stream_id] = thread
            thread.start()
        if self._start_host is None:
            self._note_here(len(self._threads))
        for watch in self._lags.values():
            watch.start()

    def _pickled(self, stream_id: int, receiver: Receiver[Any]) -> bytes:
        try:
            return frames.dumps_function(receiver)
        except PySparkPicklingError as error:
            if self._start_host is None:
                raise
            name = type(receiver).__name__
            msg = (
                f"receiver '{name}' of stream {stream_id} can't be sent to a process of "
                f"its own: {error}"
            )
            raise PySparkPicklingError(
                msg,
                hint=(
                    "make what it needs in onStart; or let receivers run here, with "
                    "spark.millstream.receivers=here"
                ),
            ) from error

    def _new_handler(self, stream_id: int) -> BlockHandler:
        logs, log = self._logs, None
        if logs.data is not None and logs.is_logging_data:
            log = logs.data.open(stream_id)
        return BlockHandler(
            self._blocks,
            self._clock,
            itertools.count(self._first_number(stream_id)),
            log=log,
            timeout_ms=self._settings.get_ms(
                "spark.streaming.receiver.blockStoreTimeout"
            ),
            name=f"millstream-blocks-{stream_id}",
        )

    def _first_number(self, stream_id: int) -> int:
        """Return what makes the id of a stream's first block unique: a time, as in Spark.

        It is behind every block known from before a restart, though the clock may not be.
        """
        used = [
            max(map(int, _NUMBER.findall(block_id)))
            for block_id in self._ledger.known
            if block_id.startswith(f"input-{stream_id}-")
        ]
        return max([self._clock.now_ms(), *(number + 1 for number in used)])

    def stop(self, *, is_graceful: bool, limit_s: float) -> None:
        """Stop every receiver; what they handed over before is stored.

        Returns within `limit_s`, and a few seconds for what hangs then: an `onStop` that
        doesn't return is left to itself, and what its receiver has handed over is stored.
        After `hurry` as if `limit_s` were over.
        """
        self._clock.cancel(self._stopping)
        for watch in self._lags.values():
            watch.stop_soon()
        end_s = monotonic_s() + limit_s

        def comes(is_there: Callable[[float], bool]) -> bool:
            """Ask for something, a while each time, until it is there or time is over."""
            while not is_there(_LOOK_S):
                if self._is_hurried or monotonic_s() >= end_s:
                    return False
            return True

        for running in self._running():
            # In the background: all at once, and whatever `onStop` does.
            running.stop_soon("Stopped by driver")
        for stream_id, thread in self._threads.items():
            has_ended = comes(partial(_has_ended, thread))
            supervisor = self._supervisors.get(stream_id)
            if supervisor is None:
                continue  # Its receiver couldn't even be made.
            if not has_ended:
                _log.warning(
                    "a receiver didn't stop in time: its onStop hangs; what it has handed "
                    "over is stored stream=%d limit_s=%g graceful=%s",
                    stream_id,
                    limit_s,
                    is_graceful,
                )
                supervisor.save(_SAVE_S)
            else:
                comes(supervisor.join)
        if self._start_host is None:
            self._note_here(-len(self._threads))
        for stream_id, handler in self._handlers.items():
            if not comes(handler.end) and not handler.end(_SAVE_S):
                _log.warning("a block is still being stored stream=%d", stream_id)
        for running in self._running():
            running.let_go()
        for watch in self._lags.values():
            watch.join()

    def hurry(self) -> None:
        """Let `stop`, under way or to come, wait no longer. Idempotent."""
        self._is_hurried = True

    def close_logs(self) -> None:
        """Close the logs; after the last batch."""
        log = self._logs.ledger
        if log is not None:
            try:
                self._log_refused(log)
            except (MillstreamError, OSError) as error:
                _log.warning(
                    "blocks that weren't taken may come back after a restart blocks=%s "
                    "error=%s",
                    self._refused,
                    error,
                )
            log.close()
        for handler in self._handlers.values():
            handler.close()

    def _believe(self, event: LedgerEvent) -> None:
        """Make a fact safe, then let the ledger believe it.

        Raises:
            MillstreamError, OSError: It couldn't be logged; nothing has changed.
        """
        if self._logs.ledger is not None:
            self._log_refused(self._logs.ledger)
            self._logs.ledger.write(ledger_log.encode(event), self._clock.now_ms())
        with self._lock:
            self._ledger.apply(event)

    def _log_refused(self, log: WriteAheadLog) -> None:
        """Let the log know what was refused: its records are stored again, elsewhere."""
        with self._lock:
            refused = tuple(self._refused)
        if refused:
            line = ledger_log.encode(BlocksRefused(refused))
            log.write(line, self._clock.now_ms())
            with self._lock:
                del self._refused[: len(refused)]

    def pause(self) -> None:
        """Make receivers wait with what they would store, until `resume`."""
        with self._lock:
            self._is_paused = True
            for supervisor in self._supervisors.values():
                supervisor.pause()

    def resume(self) -> None:
        """Let receivers store again."""
        with self._lock:
            self._is_paused = False
            for supervisor in self._supervisors.values():
                supervisor.resume()

    def update_rate(self, stream_id: int, per_second: float | None) -> None:
        """Let a stream's receiver store so many records a second; later lives of it, too.

        None: as many as settings let it.
        """
        with self._lock:
            self._rates.pop(stream_id, None)
            if per_second is not None:
                self._rates[stream_id] = per_second
            supervisor = self._supervisors.get(stream_id)
            if supervisor is not None:
                supervisor.update_rate(per_second)

    def rate_of(self, stream_id: int) -> float | None:
        """Return the limit of a receiver's records a second, or None."""
        with self._lock:
            supervisor = self._supervisors.get(stream_id)
        return None if supervisor is None else supervisor.rate_per_second

    def gauges(self) -> dict[str, float]:
        """Return what each receiver may store a second, and what write-ahead logs cost.

        And how far behind those are that can tell. By name; a limit of -1 is none, and a
        lag of -1 isn't known.
        """
        limits = {
            stream_id: self.rate_of(stream_id) for stream_id, _ in self._receivers
        }
        gauges: dict[str, float] = {
            f"millstream.receiver.{stream_id}.rateLimit": -1 if limit is None else limit
            for stream_id, limit in limits.items()
        }
        for stream_id, watch in self._lags.items():
            gauges |= watch.lag.gauge(stream_id)
        written = self._logs.statistics
        gauges["millstream.wal.writes"] = written.writes
        gauges["millstream.wal.failed"] = written.failed
        gauges["millstream.wal.bytes"] = written.written_bytes
        gauges["millstream.wal.lastWriteMs"] = written.last_ms
        gauges["millstream.wal.totalWriteMs"] = written.total_ms
        return gauges

    def _running(self) -> list[_Supervisor]:
        with self._lock:
            return list(self._supervisors.values())

    def allocate_blocks_to_batch(self, batch_ms: int) -> None:
        """Close a batch over every block that waits; nothing for a batch closed before.

        Raises:
            DurabilityError: That couldn't be logged. The blocks are the next batch's; this
                one must not run now: after a crash the log may say that it has them.
        """
        if not self._receivers:
            return
        for supervisor in self._running():
            # What came before the batch's time is in the batch, whatever the interval.
            supervisor.cut_singles()
        with self._lock:
            closed = self._ledger.close(batch_ms)
        if closed is None:
            return
        try:
            # A block that comes meanwhile isn't in the proposal, and waits on.
            self._believe(closed)
        except (MillstreamError, OSError) as error:
            count = sum(map(len, closed.blocks.values()))
            msg = (
                f"the log of received blocks can't be written: batch {batch_ms} ms can't "
                f"have the {count} blocks that wait: {error}"
            )
            raise DurabilityError(
                msg, hint="the next batch gets them, and this one runs after a restart"
            ) from error

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
        if not forgotten.batches_ms:
            return
        self._believe(forgotten)
        # Blocks may have waited for long, if batches couldn't be closed over them.
        with self._lock:
            waiting_ms, oldest_ms = (
                self._ledger.oldest_waiting_ms,
                self._ledger.oldest_ms,
            )
        if self._logs.ledger is not None:
            self._logs.ledger.clean(_earlier(before_ms, waiting_ms))
        for handler in self._handlers.values():
            handler.clean(_earlier(before_ms, oldest_ms))

    def remove_blocks(self, block_ids: Iterable[str]) -> None:
        """Delete the data of blocks."""
        self._blocks.remove_all(block_ids)

    def receiver_infos(self) -> list[ReceiverInfo]:
        """Return every receiver that has registered."""
        with self._lock:
            return [self._infos[stream_id] for stream_id in sorted(self._infos)]

    def _keep_running(
        self, stream_id: int, data: bytes, preferred_host: str | None
    ) -> None:
        wait_ms = _RELAUNCH_MS
        while not self._stopping.is_set():
            begin_ms = self._clock.now_ms()
            error = self._launch(stream_id, data, preferred_host)
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

    def _launch(
        self, stream_id: int, data: bytes, preferred_host: str | None
    ) -> BaseException | None:
        """Run a fresh copy of a receiver until it stops; return its error, if any."""
        try:
            supervisor = self._new_supervisor(stream_id, data, preferred_host)
        except Exception as error:
            return error
        with self._lock:
            self._supervisors[stream_id] = supervisor
            if self._is_paused:
                supervisor.pause()
            if stream_id in self._rates:
                supervisor.update_rate(self._rates[stream_id])
        return supervisor.run(until=self._stopping.is_set)

    def _new_supervisor(
        self, stream_id: int, data: bytes, preferred_host: str | None
    ) -> _Supervisor:
        handler = self._handlers[stream_id]
        if self._start_host is not None:
            # An epoch is one of the numbers of blocks: it grows, over restarts too.
            launch = Launch(stream_id, next(handler.numbers), data, self._settings)
            return HostedSupervisor(
                launch, self, handler, self._clock, self._start_host, preferred_host
            )
        receiver: Receiver[Any] = frames.loads_function(data)
        return ReceiverSupervisor(
            stream_id, receiver, self, handler, self._settings, self._clock
        )

    # What supervisors tell.

    def register(
        self,
        stream_id: int,
        name: str,
        location: str = "localhost",
        executor_id: str = "driver",
    ) -> bool:
        """Note that a receiver starts; refuse it while stopping."""
        if self._stopping.is_set():
            return False
        with self._lock:
            before = self._infos.get(stream_id, ReceiverInfo(stream_id, name, True))
            info = replace(
                before,
                name=name,
                active=True,
                location=location,
                executor_id=executor_id,
            )
            self._infos[stream_id] = info
        _log.info(
            "receiver started stream=%d name=%s host=%s", stream_id, name, location
        )
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
        _log.info(
            "receiver stopped stream=%d name=%s reason=%s",
            stream_id,
            info.name,
            message,
        )
        self._post(ReceiverStopped(info))

    def report_error(self, stream_id: int, message: str, error: str) -> None:
        """Note an error of a receiver that goes on."""
        self._seldom.warning(
            "receiver error stream=%d message=%s", stream_id, message, key=stream_id
        )
        info = self._change(
            stream_id,
            last_error_message=message,
            last_error=error,
            last_error_time_ms=self._clock.now_ms(),
        )
        self._post(ReceiverError(info))

    def add_block(self, stream_id: int, stored: StoredBlock, metadata: Any) -> bool:
        """Let a stored block wait for a batch, as soon as the log says that it does.

        False when the log can't be written: the block isn't taken.
        """
        logged, data = None, self._logs.data
        if stored.logged is not None and data is not None:
            logged = data.position(stream_id, stored.logged)
        block = ReceivedBlock(
            stream_id,
            stored.block_id,
            stored.record_count,
            metadata,
            logged,
            stored.stored_ms,
        )
        try:
            self._believe(BlockReceived(block))
        except (MillstreamError, OSError) as error:
            _log.error(
                "a received block couldn't be logged; it isn't taken block=%s error=%s",
                block.block_id,
                error,
            )
            with self._lock:
                self._refused.append(block.block_id)
            return False
        return True

    def logged(self, stream_id: int, block: ReceivedBlock) -> LoggedBlock | None:
        """Return where a block's records can be read when memory has lost them."""
        if block.logged is None or self._logs.data is None:
            return None
        return self._logs.data.block(stream_id, block.logged, block.record_count)

    def has_block(self, block: ReceivedBlock) -> bool:
        """Say whether a block's records can still be read."""
        return block.logged is not None or self._blocks.contains(block.block_id)

    def _change(self, stream_id: int, **facts: Any) -> ReceiverInfo:
        with self._lock:
            before = self._infos.get(stream_id, ReceiverInfo(stream_id, "", False))
            info = self._infos[stream_id] = replace(before, **facts)
        return info


def _has_ended(thread: threading.Thread, timeout_s: float) -> bool:
    thread.join(timeout_s)
    return not thread.is_alive()


def _earlier(time_ms: int, other_ms: int | None) -> int:
    return time_ms if other_ms is None else min(time_ms, other_ms)
