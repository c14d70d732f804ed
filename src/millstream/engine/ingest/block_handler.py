"""BlockHandler: makes the blocks of one stream's receiver safe, before anybody is told.

What Spark's supervisor asks of its `ReceivedBlockHandler`. A block goes to the block store
at the receiver's storage level; with a write-ahead log it goes there too, at the same time,
and counts as stored when both have it.

A block that finds no room in memory is an error without a log. With one it isn't (in Spark
it is): tasks read it from the log, as they do when it was evicted later.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from millstream.engine.base.clock import Clock, monotonic_s
from millstream.engine.base.errors import MillstreamError, SparkError
from millstream.engine.base.levels import StorageLevel
from millstream.engine.base.threads import ThreadPool
from millstream.engine.columnar.blocks import Frozen
from millstream.engine.durable import frozen_bytes
from millstream.engine.durable.block_store import BlockStore
from millstream.engine.durable.write_ahead_log import LogHandle, WriteAheadLog
from millstream.engine.plan.partitions import freeze

T = TypeVar("T")

_CLOSE_S = 10.0


@dataclass(frozen=True, slots=True)
class StoredBlock:
    """A block that is as safe as its storage level and the log make it."""

    block_id: str
    record_count: int
    stored_ms: int
    logged: LogHandle | None = None


class BlockHandler:
    """Stores the blocks of one stream, whichever of its receivers' lives made them.

    Thread-safe: blocks may come from many threads at once.
    """

    def __init__(
        self,
        blocks: BlockStore,
        clock: Clock,
        numbers: Iterator[int],
        *,
        log: WriteAheadLog | None = None,
        timeout_ms: int = 30_000,
        name: str = "millstream-blocks",
    ) -> None:
        """Put blocks into `blocks`, and into `log`, within `timeout_ms` then.

        `numbers` make the ids of the stream's blocks unique, over restarts too.
        """
        self.numbers = numbers
        self._blocks = blocks
        self._clock = clock
        self._log = log
        self._timeout_s = timeout_ms / 1000
        # A thread each: a disk that hangs holds up neither the other nor who stores.
        self._puts = ThreadPool(1, f"{name}-put")
        self._writes = ThreadPool(1, f"{name}-log")
        self._changed = threading.Condition()
        self._under_way = 0
        self._has_ended = False

    @contextmanager
    def storing(self) -> Iterator[None]:
        """Be waited for by `end`: around storing a block and telling the tracker of it.

        Raises:
            SparkError: The stream has ended.
        """
        with self._changed:
            if self._has_ended:
                msg = "ReceiverTracker is already shut down: no more blocks are taken"
                hint = "don't acknowledge what this call was to store"
                raise SparkError(msg, hint=hint)
            self._under_way += 1
        try:
            yield
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify_all()

    def store(
        self, block_id: str, records: Sequence[Any] | Frozen, level: StorageLevel
    ) -> StoredBlock:
        """Store `records`, which the caller doesn't change any more; return when they are.

        Raises:
            SparkError: They aren't stored.
        """
        frozen = records if isinstance(records, Frozen) else freeze(records)
        stored_ms = self._clock.now_ms()
        if self._log is not None:
            handle = self._put_and_log(self._log, block_id, frozen, level, stored_ms)
            return StoredBlock(block_id, frozen.count, stored_ms, handle)
        self._put(block_id, frozen, level, stored_ms)
        if not self._blocks.contains(block_id):
            raise _not_stored(block_id, level, "there is no room for it")
        return StoredBlock(block_id, frozen.count, stored_ms)

    def discard(self, block_id: str) -> None:
        """Take back a block that the tracker hasn't taken; a log keeps it, unread."""
        self._blocks.remove(block_id)

    def clean(self, threshold_ms: int) -> None:
        """Let the log delete what is older than `threshold_ms`."""
        if self._log is not None:
            self._log.clean(threshold_ms)

    def end(self, timeout_s: float) -> bool:
        """Refuse new blocks; wait for those under way. False when time ran out."""
        with self._changed:
            self._has_ended = True
            return self._changed.wait_for(lambda: not self._under_way, timeout_s)

    def close(self) -> None:
        """Close the log; after `end`."""
        for pool in (self._puts, self._writes):
            pool.close(_CLOSE_S)
        if self._log is not None:
            self._log.close()

    def _put(
        self, block_id: str, frozen: Frozen, level: StorageLevel, now_ms: int
    ) -> None:
        try:
            self._blocks.put_frozen(block_id, frozen, level, now_ms=now_ms)
        except OSError as error:
            raise _not_stored(block_id, level, str(error)) from error

    def _put_and_log(
        self,
        log: WriteAheadLog,
        block_id: str,
        frozen: Frozen,
        level: StorageLevel,
        now_ms: int,
    ) -> LogHandle:
        payload = frozen_bytes.encode(frozen)
        put = _Deed(lambda: self._put(block_id, frozen, level, now_ms))
        write = _Deed(lambda: _write(log, block_id, payload, now_ms))
        end_s = monotonic_s() + self._timeout_s
        try:
            self._puts.submit(put.do)
            self._writes.submit(write.do)
            put.result(end_s - monotonic_s())
            return write.result(end_s - monotonic_s())
        except BaseException as error:
            # Neither counts without the other.
            write.abandon()
            put.abandon(undo=lambda: self._blocks.remove(block_id))
            if isinstance(error, TimeoutError):
                raise _too_slow(block_id, self._timeout_s) from error
            raise


class _Deed(Generic[T]):
    """One thing to do on another thread, for somebody who may stop waiting for it."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._results: list[T] = []
        self._error: Exception | None = None
        self._is_abandoned = False
        self._undo: Callable[[], None] | None = None

    def do(self) -> None:
        """Do it, unless nobody wants it any more."""
        if self._is_abandoned:
            return
        try:
            result = self._work()
        except Exception as error:
            self._error = error
        else:
            with self._lock:
                self._results.append(result)
                undo = self._undo
            if undo is not None:
                undo()
        self._ended.set()

    def result(self, timeout_s: float) -> T:
        """Wait, and return what the work returned, or raise what it raised.

        Raises:
            TimeoutError: It isn't done yet.
        """
        if not self._ended.wait(timeout_s):
            raise TimeoutError
        if self._error is not None:
            raise self._error
        return self._results[0]

    def abandon(self, undo: Callable[[], None] | None = None) -> None:
        """Don't begin it, if it hasn't begun; `undo` it if it is done, now or later."""
        with self._lock:
            self._is_abandoned = True
            self._undo = undo
            is_done = bool(self._results)
        if is_done and undo is not None:
            undo()


def _write(log: WriteAheadLog, block_id: str, payload: bytes, now_ms: int) -> LogHandle:
    try:
        return log.write(payload, now_ms)
    except (MillstreamError, OSError) as error:
        msg = f"Could not write {block_id} to the write ahead log: {error}"
        raise SparkError(msg, hint="is the disk full?") from error


def _not_stored(block_id: str, level: StorageLevel, why: str) -> SparkError:
    return SparkError(
        f"Could not store {block_id} to block manager with storage level {level}: {why}",
        hint="use a level with disk, or more memory (spark.millstream.memory)",
    )


def _too_slow(block_id: str, limit_s: float) -> SparkError:
    return SparkError(
        f"Could not store {block_id} within {limit_s:g} s",
        hint=(
            "is the disk too busy? Storing may take longer with "
            "spark.streaming.receiver.blockStoreTimeout"
        ),
    )
