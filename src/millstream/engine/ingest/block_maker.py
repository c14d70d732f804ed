"""BlockMaker: single records gathered into blocks, one an interval.

Blocks are cut on the grid of `spark.streaming.blockInterval`, and when a batch is closed:
so a batch has everything that came before its time, on a real clock and on a virtual one.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any

from millstream.engine.base.clock import Clock
from millstream.engine.base.errors import SparkError
from millstream.engine.base.threads import RecurringTimer
from millstream.engine.ingest.rate import RateLimit

_CHUNK = 1000

Push = Callable[[str, list[Any]], None]


class BlockMaker:
    """Gathers the records of one receiver. `add` may be called from many threads.

    `push(block id, records)` stores a block; it is called by one thread at a time and in
    order.
    """

    def __init__(
        self,
        stream_id: int,
        interval_ms: int,
        clock: Clock,
        limit: RateLimit,
        push: Push,
        on_error: Callable[[str, BaseException], None],
    ) -> None:
        """Cut a block every `interval_ms`."""
        self._stream_id = stream_id
        self._interval_ms = interval_ms
        self._clock = clock
        self.limit = limit
        self._push = push
        self._on_error = on_error
        self._lock = threading.Lock()
        self._pushing = threading.Lock()
        self._records: list[Any] = []
        self._cut_count = 0
        self._is_active = False
        self._ended = threading.Event()
        self._timer = RecurringTimer(
            clock, interval_ms, self._on_tick, f"millstream-blocks-{stream_id}"
        )

    def start(self) -> None:
        """Begin to take records and to cut blocks."""
        self._is_active = True
        self._timer.start(self._timer.start_time_ms())

    def stop(self) -> None:
        """Take no more records; store those taken before. Idempotent."""
        if not self._is_active:
            return
        with self._lock:
            self._is_active = False
        self._clock.cancel(self._ended)
        self._timer.stop(interrupt=True)
        self.cut()

    def add(self, record: Any) -> None:
        """Take one record; may wait for the rate limit.

        Raises:
            SparkError: The maker isn't active.
        """
        self.limit.take(1, self._ended)
        with self._lock:
            self._check_active()
            self._records.append(record)

    def add_all(self, records: Sequence[Any]) -> None:
        """Take records in order; costs next to nothing a record without a rate limit.

        Raises:
            SparkError: The maker isn't active.
        """
        if self.limit.per_second is None:
            self._append(records)
            return
        for start in range(0, len(records), _CHUNK):
            chunk = records[start : start + _CHUNK]
            self.limit.take(len(chunk), self._ended)
            self._append(chunk)

    def _append(self, records: Sequence[Any]) -> None:
        with self._lock:
            self._check_active()
            self._records.extend(records)

    def _check_active(self) -> None:
        if not self._is_active:
            msg = (
                "Cannot add data as BlockGenerator has not been started or has been "
                "stopped"
            )
            raise SparkError(msg, hint="store records between onStart and onStop only")

    def _on_tick(self, time_ms: int) -> None:
        self.cut(time_ms - self._interval_ms)

    def cut(self, begin_ms: int | None = None) -> None:
        """Store what has been taken so far as one block, if there is anything."""
        with self._pushing:
            with self._lock:
                if not self._records:
                    return
                records, self._records = self._records, []
                self._cut_count += 1
                number = self._cut_count
            begin = self._clock.now_ms() if begin_ms is None else begin_ms
            block_id = f"input-{self._stream_id}-{begin}-{number}"
            try:
                self._push(block_id, records)
            except Exception as error:
                self._on_error(f"Error in block pushing of {block_id}", error)
