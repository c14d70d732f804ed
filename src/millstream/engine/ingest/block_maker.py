"""BlockMaker: single records gathered into blocks, one an interval.

Blocks are cut on the grid of `spark.streaming.blockInterval`, and when a batch is closed:
so a batch has everything that came before its time, on a real clock and on a virtual one.
A finished block waits in a bounded queue until one thread, the pusher, has stored it.
Text is gathered as bytes, and what got nothing else is a block of text.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any

from millstream.engine.base.clock import Clock
from millstream.engine.base.errors import SparkError
from millstream.engine.base.threads import RecurringTimer
from millstream.engine.ingest.rate import RateLimit
from millstream.engine.plan.partitions import FrozenText
from millstream.engine.plan.text import (
    count_lines,
    end_of_line_number,
    split_lines,
    with_closed_end,
)

_log = logging.getLogger(__name__)

_CHUNK = 1000
_CHUNKS_A_SECOND = 10  # A changed rate counts for the next chunk.
_PUSH_TRIES = 4

OnFailure = Callable[[str, BaseException], None]
OnText = Callable[[str, FrozenText], None]


class BlockGeneratorListener:
    """What happens to the records of a block generator; subclass it.

    `onAddData` and `onGenerateBlock` are called under the generator's lock, so that what
    they note (offsets, say) is of exactly the records of the block. They must only take
    notes: calling the generator or the receiver from them waits for ever.
    """

    def onAddData(self, data: Any, metadata: Any) -> None:
        """Note that `data` was added; many records come as one list."""

    def onGenerateBlock(self, blockId: str) -> None:
        """Note that everything added since the last call is the block `blockId`."""

    def onPushBlock(self, blockId: str, records: list[Any]) -> None:
        """Store the block: `receiver.store(records)`; then acknowledge what is in it.

        Called by one thread, block after block in order. When it raises it is called
        again with the same block, three times at most.
        """
        raise NotImplementedError

    def onError(self, message: str, error: BaseException) -> None:
        """Note that a block couldn't be made or stored; the receiver is stopped next."""


class _State(Enum):
    INITIALIZED = "Initialized"
    ACTIVE = "Active"
    STOPPED = "Stopped"


class BlockMaker:
    """Gathers records of one receiver. All methods may be called from many threads.

    When the listener can't make or store a block, nothing after that block is stored
    either: a source is never told of something later as safe. `on_failure` is told, and
    the maker takes no more records.
    """

    def __init__(
        self,
        stream_id: int,
        *,
        interval_ms: int,
        queue_size: int,
        clock: Clock,
        limit: RateLimit,
        numbers: Iterator[int | str],
        listener: BlockGeneratorListener,
        on_failure: OnFailure,
        on_text: OnText | None = None,
    ) -> None:
        """Cut a block every `interval_ms`; `queue_size` of them may wait to be stored.

        `numbers` make the ids of the receiver's blocks unique, whoever makes them. With
        `on_text`, blocks of text are pushed through it and not through `onPushBlock`.
        """
        self._stream_id = stream_id
        self._interval_ms = interval_ms
        self._clock = clock
        self.limit = limit
        self._numbers = numbers
        self._listener = listener
        self._on_failure = on_failure
        self._on_text = on_text
        self._lock = threading.Lock()
        self._cutting = threading.Lock()  # Blocks are queued in the order they are cut.
        # At most one of them has something: the block's kind is that of all its records.
        self._records: list[Any] = []
        self._text = _Text()
        self._state = _State.INITIALIZED
        self._is_broken = False
        self._ended = threading.Event()
        self._may_add = threading.Event()
        self._may_add.set()
        self._queue = _PushQueue(
            queue_size, self._push, f"millstream-pushes-{stream_id}"
        )
        self._timer = RecurringTimer(
            clock, interval_ms, self._on_tick, f"millstream-blocks-{stream_id}"
        )

    @property
    def is_active(self) -> bool:
        """Whether records are taken."""
        return self._state is _State.ACTIVE and not self._is_broken

    @property
    def is_stopped(self) -> bool:
        """Whether records are taken no more."""
        return self._state is _State.STOPPED

    @property
    def is_done(self) -> bool:
        """Whether records are taken no more, and all that were are stored."""
        return self.is_stopped and not self._queue.is_alive

    @property
    def is_pushing_here(self) -> bool:
        """Whether the caller runs on the thread that stores this maker's blocks."""
        return self._queue.is_current

    def start(self) -> None:
        """Begin to take records and to cut blocks.

        Raises:
            SparkError: It has been started or stopped before.
        """
        with self._lock:
            if self._state is not _State.INITIALIZED:
                msg = (
                    "Cannot start BlockGenerator as its not in the Initialized state "
                    f"[state = {self._state.value}]"
                )
                raise SparkError(msg, hint="a generator starts once; make another one")
            self._state = _State.ACTIVE
            self._queue.start()
            self._timer.start(self._timer.start_time_ms())

    def stop(self) -> None:
        """Take no more records; return when those taken before are stored. Idempotent.

        Called from `onPushBlock` it returns at once: the rest is stored afterwards.
        """
        with self._lock:
            was_active = self._state is _State.ACTIVE
            self._state = _State.STOPPED
        self.release()
        if was_active:
            self._queue.lift_bound()  # Or the timer waits for a pusher that calls this.
            self._timer.stop(interrupt=True)
            self._cut(self._clock.now_ms())
        self._queue.end(when_told=was_active)

    def pause(self) -> None:
        """Make whoever adds records wait, until `resume` or `release`."""
        with self._lock:
            if not self._ended.is_set():
                self._may_add.clear()

    def resume(self) -> None:
        """Take records again."""
        self._may_add.set()

    def release(self) -> None:
        """Let nobody wait any more, neither for `resume` nor for the rate limit."""
        self._clock.cancel(self._ended)
        with self._lock:  # Not between the question and the deed of `pause`.
            self._may_add.set()

    def wait_while_paused(self) -> None:
        """Return when records may come in."""
        self._may_add.wait()

    def add(self, record: Any) -> None:
        """Take one record; may wait for the rate limit, or while paused.

        Raises:
            SparkError: The maker isn't active.
        """
        self._may_add.wait()
        self.limit.take(1, self._ended)
        with self._lock:
            self._rows().append(record)

    def add_nowait(self, record: Any) -> bool:
        """Take one record if it needn't wait; say whether it was taken.

        Raises:
            SparkError: The maker isn't active.
        """
        if not self._may_add.is_set() or not self.limit.take_nowait(1):
            return False
        self._append((record,))
        return True

    def add_all(self, records: Sequence[Any]) -> None:
        """Take records in order; costs next to nothing a record without a rate limit.

        Raises:
            SparkError: The maker isn't active.
        """
        start = 0
        while start < len(records):
            self._may_add.wait()
            rate = self.limit.per_second
            if rate is None:
                self._append(records[start:] if start else records)
                return
            size = min(_CHUNK, max(1, int(rate / _CHUNKS_A_SECOND)))
            chunk = records[start : start + size]
            self.limit.take(len(chunk), self._ended)
            self._append(chunk)
            start += size

    def add_text(self, data: bytes) -> None:
        """Take the lines of `data`, in order; nothing is done for each without a limit.

        Raises:
            SparkError: The maker isn't active.
        """
        start = 0
        while start < len(data):
            self._may_add.wait()
            rate = self.limit.per_second
            if rate is None:
                self._append_text(data[start:] if start else data)
                return
            size = min(_CHUNK, max(1, int(rate / _CHUNKS_A_SECOND)))
            end = end_of_line_number(data, size, start)
            chunk = data[start:end]
            self.limit.take(count_lines(chunk), self._ended)
            self._append_text(chunk)
            start = end

    def add_noted(self, record: Any, metadata: Any) -> None:
        """Take one record and tell the listener of it, as one step.

        Raises:
            SparkError: The maker isn't active.
        """
        self._may_add.wait()
        self.limit.take(1, self._ended)
        with self._lock:
            self._rows().append(record)
            self._listener.onAddData(record, metadata)

    def add_all_noted(self, records: Iterable[Any], metadata: Any) -> None:
        """Take records into one block and tell the listener of them, as one step.

        Raises:
            SparkError: The maker isn't active; none of the records is taken.
        """
        gathered = []
        for record in records:
            self._may_add.wait()
            self.limit.take(1, self._ended)
            gathered.append(record)
        with self._lock:
            self._rows().extend(gathered)
            self._listener.onAddData(gathered, metadata)

    def _append(self, records: Sequence[Any]) -> None:
        with self._lock:
            self._rows().extend(records)

    def _rows(self) -> list[Any]:
        """Return where records go, under the lock; text that is there is made records."""
        self._check_active()
        if self._text:
            self._records += self._text.frozen().thaw()
            self._text = _Text()
        return self._records

    def _append_text(self, data: bytes) -> None:
        data = with_closed_end(data)  # Before the lock: both cost time by the byte.
        count = count_lines(data)
        with self._lock:
            self._check_active()
            if self._records or self._on_text is None:
                self._rows().extend(split_lines(data, is_text=True))
            else:
                self._text.add(data, count)

    def _check_active(self) -> None:
        if self._state is not _State.ACTIVE or self._is_broken:
            msg = (
                "Cannot add data as BlockGenerator has not been started or has been "
                "stopped"
            )
            raise SparkError(msg, hint="store records between onStart and onStop only")

    def cut(self) -> None:
        """Store what has been taken so far; return when it is, or when storing failed."""
        self._queue.wait_until_pushed(self._cut(self._clock.now_ms()))

    def _on_tick(self, time_ms: int) -> None:
        self._cut(time_ms - self._interval_ms)

    def _cut(self, begin_ms: int) -> int:
        """Queue a block of what has been taken, waiting for room; return how many were."""
        with self._cutting:
            block = None
            try:
                with self._lock:
                    block = self._take_block(begin_ms)
            except Exception as error:
                self._fail("Error in block generating", error)
            return self._queue.put(block)

    def _take_block(self, begin_ms: int) -> "_Block | None":
        records = self._records or self._text
        if not records or self._is_broken:
            return None
        number = next(self._numbers)
        block = _Block(f"input-{self._stream_id}-{begin_ms}-{number}", records)
        self._listener.onGenerateBlock(block.id)
        self._records, self._text = [], _Text()
        return block

    def _push(self, block: "_Block") -> bool:
        """Store a block; False when it can't be, and nothing after it."""
        store = self._storing(block)
        tries = 1
        while True:
            try:
                store()
            except Exception as error:
                if tries == _PUSH_TRIES:
                    self._fail(f"Error in block pushing of {block.id}", error)
                    return False
                _log.warning(
                    "a block couldn't be stored; trying again block=%s error=%s",
                    block.id,
                    error,
                )
                tries += 1
            else:
                return True

    def _storing(self, block: "_Block") -> Callable[[], None]:
        if isinstance(block.records, list):
            return partial(self._listener.onPushBlock, block.id, block.records)
        assert self._on_text is not None, "text was gathered, and nobody stores it"
        return partial(self._on_text, block.id, block.records.frozen())

    def _fail(self, message: str, error: BaseException) -> None:
        with self._lock:
            self._is_broken = True
            lost_count = len(self._records) + len(self._text)
            self._records, self._text = [], _Text()
        waiting = self._queue.give_up()
        _log.error(
            "%s; what was received after it isn't stored either stream=%d blocks=%d "
            "records=%d",
            message,
            self._stream_id,
            len(waiting),
            lost_count + sum(len(block.records) for block in waiting),
        )
        try:
            self._listener.onError(message, error)
        except Exception:
            _log.exception("onError raised stream=%d", self._stream_id)
        self._on_failure(message, error)


class _Text:
    """Lines that are gathered: pieces of text that all end with a line's end."""

    def __init__(self) -> None:
        self._count = 0
        self._pieces: list[bytes] = []

    def __len__(self) -> int:
        return self._count

    def add(self, piece: bytes, count: int) -> None:
        self._pieces.append(piece)
        self._count += count

    def frozen(self) -> FrozenText:
        data = b"".join(self._pieces)
        self._pieces = [data]  # Not the bytes twice while they are stored.
        return FrozenText(data, self._count)


@dataclass(frozen=True, slots=True)
class _Block:
    id: str
    records: list[Any] | _Text


class _PushQueue:
    """Blocks that wait, a bounded number of them, and the thread that pushes them."""

    def __init__(self, size: int, push: Callable[[_Block], bool], name: str) -> None:
        self._size = size
        self._push = push
        self._changed = threading.Condition()
        self._waiting: deque[_Block] = deque()
        self._put_count = 0
        self._pushed_count = 0
        self._is_unbounded = False
        self._is_ending = False
        self._has_given_up = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def is_current(self) -> bool:
        return self._thread is threading.current_thread()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def start(self) -> None:
        self._thread.start()

    def put(self, block: _Block | None) -> int:
        """Add a block, if there is one, and return how many have been added so far.

        Waits while the queue is full.
        """
        with self._changed:
            if block is not None:
                self._changed.wait_for(lambda: self._has_room or self._has_given_up)
                self._add(block)
            return self._put_count

    @property
    def _has_room(self) -> bool:
        return self._is_unbounded or len(self._waiting) < self._size

    def _add(self, block: _Block) -> None:
        if self._has_given_up:
            _log.error(
                "a received block isn't stored, as one before it couldn't be block=%s "
                "records=%d",
                block.id,
                len(block.records),
            )
            return
        self._waiting.append(block)
        self._put_count += 1
        self._changed.notify_all()

    def lift_bound(self) -> None:
        """Let nobody wait for room any more: the last blocks come."""
        with self._changed:
            self._is_unbounded = True
            self._changed.notify_all()

    def wait_until_pushed(self, count: int) -> None:
        """Return when so many blocks are stored, or when none will be any more."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._pushed_count >= count or self._has_given_up
            )

    def give_up(self) -> list[_Block]:
        """Push nothing more; return what waited."""
        with self._changed:
            self._has_given_up = True
            waiting = list(self._waiting)
            self._waiting.clear()
            self._changed.notify_all()
            return waiting

    def end(self, *, when_told: bool) -> None:
        """Push what waits, then end; returns when that is done, except on the pusher."""
        with self._changed:
            self._is_ending = self._is_ending or when_told
            self._changed.notify_all()
        if self._thread.ident is not None and not self.is_current:
            self._thread.join()

    def _run(self) -> None:
        while (block := self._next()) is not None and self._push(block):
            with self._changed:
                self._pushed_count += 1
                self._changed.notify_all()
            del block  # Or its records live until the next block comes.

    def _next(self) -> _Block | None:
        with self._changed:
            self._changed.wait_for(
                lambda: self._waiting or self._is_ending or self._has_given_up
            )
            if not self._waiting:
                return None
            block = self._waiting.popleft()
            self._changed.notify_all()
            return block
