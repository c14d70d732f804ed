"""Write-ahead log: records that are on disk before anybody acts on them.

A log is a directory of segments `log-<begin>-<end>`, named after the time of their first
record; a record is a frame: length, CRC-32, payload.

When `write` returns, the record is flushed, and synced unless `sync` is off. A sync costs
what the disk takes for one (some 0.1 to 10 ms), whatever the record's size; many small
records share one through `BatchedLog`. Without it a record survives this process, and may
be lost with the machine, together with others that were written shortly before.

Nothing is ever written behind a frame that may be torn: after a failed write, and after a
restart, a new segment begins. What a failed write left behind is cut off before the record
is written again, so that it isn't read twice. A directory has one writer at a time.
"""

import io
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol

from millstream.engine.base import frames
from millstream.engine.base.errors import (
    DurabilityError,
    IllegalStateError,
    SparkError,
    UnsupportedOperationError,
)
from millstream.engine.base.storage import AppendStream, Storage, open_storage
from millstream.engine.durable.log_segments import (
    HEADER_BYTES,
    LogSegment,
    find_segments,
    read_frame,
    whole_frames,
)

_log = logging.getLogger(__name__)
_GROUP = b"\x00group"


@dataclass(frozen=True, slots=True)
class LogHandle:
    """Where a record is: its file, the offset of its frame, the length of its payload."""

    path: str
    offset: int
    length: int


class WriteAheadLog(Protocol):
    """A log of records with times. Thread-safe."""

    def write(self, record: bytes, time_ms: int) -> LogHandle:
        """Append a record; it is safe and can be read when the call returns.

        When it raises, the record may or may not be there after a crash.
        """
        ...

    def read(self, handle: LogHandle) -> bytes:
        """Return one record."""
        ...

    def read_all(self) -> Iterator[bytes]:
        """Yield every record, in the order written.

        Those on disk when the log was opened, and those written since.
        """
        ...

    def clean(self, threshold_ms: int) -> None:
        """Delete segments that ended before `threshold_ms`; never the one being written.

        Returns when they are deleted. Failing to only warns.
        """
        ...

    def close(self) -> None:
        """Write no more. Idempotent."""
        ...


@dataclass(frozen=True, slots=True)
class _Writer:
    segment: LogSegment
    out: AppendStream


class FileLog:
    """A log in the files of a directory."""

    def __init__(
        self,
        uri: str,
        *,
        rolling_ms: int = 60_000,
        failures_max: int = 3,
        closes_after_write: bool = False,
        sync: bool = True,
        storage: Storage | None = None,
    ) -> None:
        """Use directory `uri`, which is made with the first write.

        A segment takes records for `rolling_ms` of their own time; a write is tried
        `failures_max` times. With `closes_after_write` every record is a file of its own,
        put at once: what object stores can do. `storage` stands in for the one of `uri`.
        """
        if storage is None:
            storage, uri = open_storage(uri)
        self._storage = storage
        self._directory = uri.rstrip("/")
        self._rolling_ms = rolling_ms
        self._failures_max = failures_max
        self._closes_after_write = closes_after_write
        self._sync = sync
        self._lock = threading.Lock()
        # In order, with the bytes that were promised; None: it was there before us.
        self._segments: dict[LogSegment, int | None] = dict.fromkeys(
            find_segments(storage, self._directory)
        )
        # Stays when the segment is cleaned: no name is used twice.
        self._last = max(self._segments, default=None)
        self._writer: _Writer | None = None
        self._torn: LogSegment | None = None
        self._is_closed = False

    def write(self, record: bytes, time_ms: int) -> LogHandle:
        """Append a record; tried again in a new segment when the disk refuses it.

        Raises:
            DurabilityError, OSError: It refused too often.
            IllegalStateError: The log is closed.
        """
        frame = frames.frame(record)
        with self._lock:
            if self._is_closed:
                msg = f"the log '{self._directory}' is closed"
                raise IllegalStateError(msg)
            for failures in count(1):
                try:
                    return self._write_once(frame, time_ms)
                except (DurabilityError, OSError) as error:
                    if failures >= self._failures_max:
                        raise
                    _log.warning(
                        "a write to a log failed; trying again directory=%s error=%s",
                        self._directory,
                        error,
                    )
            msg = "a write ends with its handle or its last error"
            raise AssertionError(msg)

    def _write_once(self, frame: bytes, time_ms: int) -> LogHandle:
        self._cut_torn()
        segment = self._writer.segment if self._writer is not None else None
        if segment is None or time_ms > segment.end_ms:
            self._close_writer()
            segment = self._new_segment(time_ms)
        offset = self._segments[segment] or 0
        try:
            if self._closes_after_write:
                path = self._path(segment)
                self._storage.write_atomic(path, frame, sync=self._sync)
            else:
                self._append(segment, frame)
        except BaseException:
            # Whatever it was, half a frame may be there.
            self._torn = segment
            self._close_writer()
            raise
        self._segments[segment] = offset + len(frame)
        return LogHandle(self._path(segment), offset, len(frame) - HEADER_BYTES)

    def _append(self, segment: LogSegment, frame: bytes) -> None:
        if self._writer is None:
            out = self._storage.append(self._path(segment))
            self._writer = _Writer(segment, out)
        out = self._writer.out
        out.write(frame)
        if self._sync:
            out.sync()
        else:
            out.flush()

    def _new_segment(self, time_ms: int) -> LogSegment:
        segment = LogSegment.after(self._last, time_ms, self._rolling_ms)
        # Somebody else may write here, whatever we were told: spare what is there.
        while self._storage.exists(self._path(segment)):
            segment = LogSegment.after(segment, time_ms, self._rolling_ms)
        self._last = segment
        self._segments[segment] = 0
        return segment

    def _path(self, segment: LogSegment) -> str:
        return f"{self._directory}/{segment.name}"

    def _close_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            try:
                writer.out.close()
            except (DurabilityError, OSError) as error:
                # Nothing is lost: what was promised was flushed before.
                _log.warning("closing a log's segment failed error=%s", error)

    def _cut_torn(self) -> None:
        """Take off what a failed write may have left; try once, it is only to be tidy."""
        segment, self._torn = self._torn, None
        if segment is None:
            return
        path, size = self._path(segment), self._segments.get(segment) or 0
        try:
            if size == 0:
                self._storage.delete(path)
                return
            with self._storage.open_input(path) as source:
                data = source.read()
            if len(data) == size:
                return
            # Never put anything in place of what was promised but the same again.
            whole = sum(1 for _ in frames.read_frames(io.BytesIO(data[:size]), path))
            assert whole, "a segment with promised bytes has a record"
            self._storage.write_atomic(path, data[:size], sync=self._sync)
        except FileNotFoundError:
            return
        except (DurabilityError, OSError) as error:
            _log.warning(
                "what a failed write left in a log can't be cut off; its record may be "
                "read twice file=%s error=%s",
                path,
                error,
            )

    def read(self, handle: LogHandle) -> bytes:
        """Return one record.

        Raises:
            DurabilityError: It is damaged, gone, or isn't where the handle says.
        """
        try:
            with self._storage.open_input(handle.path) as source:
                return read_frame(source, handle.offset, handle.length, handle.path)
        except OSError as error:
            msg = f"can't read the record at byte {handle.offset} of '{handle.path}': {error}"
            raise DurabilityError(msg) from error

    def read_all(self) -> Iterator[bytes]:
        """Yield every record; a torn one at a segment's end is left out, with a warning.

        Reads a segment at a time into memory. A segment that was deleted is empty.

        Raises:
            DurabilityError: A record is damaged, and whole ones follow in its segment.
            OSError: A segment can't be read.
        """
        with self._lock:
            segments = list(self._segments.items())
        for segment, size in segments:
            path = self._path(segment)
            try:
                with self._storage.open_input(path) as source:
                    # Not more than was promised: another thread may be writing.
                    data = source.read() if size is None else source.read(size)
            except FileNotFoundError:
                continue
            yield from whole_frames(data, path)

    def clean(self, threshold_ms: int) -> None:
        """Delete segments that ended before `threshold_ms`; nothing once it is closed."""
        with self._lock:
            if self._is_closed:
                return
            current = self._writer.segment if self._writer is not None else None
            old = [
                segment
                for segment in self._segments
                if segment.end_ms < threshold_ms and segment != current
            ]
        for segment in old:
            path = self._path(segment)
            try:
                self._storage.delete(path)
            except (DurabilityError, OSError) as error:
                _log.warning(
                    "an old log can't be deleted file=%s error=%s", path, error
                )
                continue
            with self._lock:
                self._segments.pop(segment, None)

    def close(self) -> None:
        """Write no more."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                self._close_writer()
                self._cut_torn()


@dataclass(slots=True, eq=False)
class _Waiting:
    """One call of `write`, until `done` is set."""

    record: bytes
    time_ms: int
    done: threading.Event = field(default_factory=threading.Event)
    handle: LogHandle | None = None
    error: SparkError | IllegalStateError | None = None


class BatchedLog:
    """Lets writers that come at the same time share one write and one sync.

    Spark's allowBatching. Waiting records are bounded by the threads that write: one that
    gives up takes its record back, unless the disk has it already.
    """

    def __init__(
        self,
        log: WriteAheadLog,
        *,
        timeout_ms: int = 5000,
        name: str = "millstream-log",
    ) -> None:
        """Write groups of records to `log`; a writer waits for `timeout_ms` at most.

        Groups are written on a daemon thread called `name`, started by the first write.
        """
        self._log = log
        self._timeout_ms = timeout_ms
        self._name = name
        self._changed = threading.Condition()
        self._queue: list[_Waiting] = []
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def write(self, record: bytes, time_ms: int) -> LogHandle:
        """Append a record, with others, and return the handle of its group.

        Raises:
            SparkError: The group couldn't be written, and the cause says why; or the wait
                was too long, and the record may still be written.
            IllegalStateError: The log is closed.
        """
        waiting = _Waiting(record, time_ms)
        with self._changed:
            if self._is_closed:
                raise _closed()
            if self._thread is None:
                thread = threading.Thread(
                    target=self._run, name=self._name, daemon=True
                )
                thread.start()
                self._thread = thread
            self._queue.append(waiting)
            self._changed.notify_all()
        if not waiting.done.wait(self._timeout_ms / 1000):
            with self._changed:
                if waiting in self._queue:
                    self._queue.remove(waiting)
            msg = f"a record wasn't logged within {self._timeout_ms} ms"
            hint = (
                "is the disk too busy? It may wait for longer with "
                "spark.streaming.driver.writeAheadLog.batchingTimeout"
            )
            raise SparkError(msg, hint=hint)
        if waiting.error is not None:
            raise waiting.error
        assert waiting.handle is not None, "a record without an error was written"
        return waiting.handle

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._is_closed)
                group, self._queue = self._queue, []
            if not group:
                return
            self._write_group(sorted(group, key=lambda each: each.time_ms))
            del group  # Or its records live until the next ones come.

    def _write_group(self, group: list[_Waiting]) -> None:
        try:
            handle = self._log.write(_encode(group), group[-1].time_ms)
        except BaseException as error:  # All of them wait for this thread.
            for each in group:
                each.error = SparkError(f"a record couldn't be logged: {error}")
                each.error.__cause__ = error
                each.done.set()
            return
        for each in group:
            each.handle = handle
            each.done.set()

    def read(self, handle: LogHandle) -> bytes:
        """Refuse: a handle stands for a whole group.

        Raises:
            UnsupportedOperationError: Always.
        """
        msg = f"a batched log can't read one record of '{handle.path}'"
        raise UnsupportedOperationError(msg, hint="use read_all")

    def read_all(self) -> Iterator[bytes]:
        """Yield every record, those of groups one by one.

        Records that aren't groups, of a log that was written without this class, too.
        """
        for record in self._log.read_all():
            if record.startswith(_GROUP):
                members = io.BytesIO(record[len(_GROUP) :])
                yield from frames.read_frames(members, "a group of a log")
            else:
                yield record

    def clean(self, threshold_ms: int) -> None:
        """Delete segments that ended before `threshold_ms`."""
        self._log.clean(threshold_ms)

    def close(self) -> None:
        """Write no more: records that wait are refused, the group being written isn't."""
        with self._changed:
            if self._is_closed:
                return
            self._is_closed = True
            refused, self._queue = self._queue, []
            thread = self._thread
            self._changed.notify_all()
        for each in refused:
            each.error = _closed()
            each.done.set()
        if thread is not None:
            thread.join(self._timeout_ms / 1000)
        self._log.close()


def _encode(group: list[_Waiting]) -> bytes:
    if len(group) == 1 and not group[0].record.startswith(_GROUP):
        return group[0].record
    return _GROUP + b"".join(frames.frame(each.record) for each in group)


def _closed() -> IllegalStateError:
    return IllegalStateError("the log is closed")
