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

A segment that isn't the first begins with a mark of how many bytes the one before it has:
damaged at its end later on, that one doesn't look as if a crash had cut it short.
"""

import io
import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, groupby
from typing import Protocol

from millstream.engine.base import frames
from millstream.engine.base.clock import monotonic_s
from millstream.engine.base.errors import (
    DurabilityError,
    IllegalStateError,
    SparkError,
    UnsupportedOperationError,
)
from millstream.engine.base.seldom import Seldom
from millstream.engine.base.storage import AppendStream, Storage, open_storage
from millstream.engine.durable.log_segments import (
    HEADER_BYTES,
    LogSegment,
    cut_short,
    find_segments,
    mark_after,
    read_frame,
    read_mark,
    whole_frames,
)

_log = logging.getLogger(__name__)
_GROUP = b"\x00group"
# Copying a larger record into a group costs more than the sync that this saves.
_ALONE_BYTES = 1 << 16
_LENGTH_BYTES = 4


@dataclass(frozen=True, slots=True)
class LogHandle:
    """Where a record is: its file, the offset of its frame, the length of its payload."""

    path: str
    offset: int
    length: int


class LogStatistics:
    """What writing to logs has cost; several may share it. Thread-safe."""

    def __init__(self) -> None:
        """Begin with nothing written."""
        self._lock = threading.Lock()
        self.writes = 0
        """Records, or groups of them, that are safe."""
        self.failed = 0
        """Tries that the disk refused."""
        self.written_bytes = 0
        self.last_ms = 0.0
        """How long the newest write took."""
        self.total_ms = 0.0

    def on_written(self, size_bytes: int, ms: float) -> None:
        """Count a write."""
        with self._lock:
            self.writes += 1
            self.written_bytes += size_bytes
            self.last_ms = ms
            self.total_ms += ms

    def on_failed(self) -> None:
        """Count a try that failed."""
        with self._lock:
            self.failed += 1


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

        Oldest first; returns when they are deleted. Failing to only warns, and leaves the
        newer ones for the next time.
        """
        ...

    def close(self) -> None:
        """Write no more. Idempotent."""
        ...


@dataclass(slots=True, eq=False)
class _Segment:
    """A file of the log."""

    name: LogSegment
    path: str
    promised: int | None
    """How many of its bytes are; None: it was there before us, whatever it holds."""
    whole: int | None = None
    """How many bytes of one that was there before us are whole records, once read."""
    out: AppendStream | None = None


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
        statistics: LogStatistics | None = None,
    ) -> None:
        """Use directory `uri`, which is made with the first write.

        A segment takes records for `rolling_ms` of their own time; a write is tried
        `failures_max` times. With `closes_after_write` every record is a file of its own,
        put at once: what object stores can do. `storage` stands in for the one of `uri`;
        `statistics` counts what is written.
        """
        if storage is None:
            storage, uri = open_storage(uri)
        self._storage = storage
        self._directory = uri.rstrip("/")
        self._rolling_ms = rolling_ms
        self._failures_max = failures_max
        self._closes_after_write = closes_after_write
        self._sync = sync
        self._statistics = statistics or LogStatistics()
        self._seldom = Seldom(_log)
        self._lock = threading.Lock()
        names = find_segments(storage, self._directory)
        self._segments = [self._segment(name, None) for name in names]
        # Stays when the segment is cleaned: no name is used twice.
        self._last = max(names, default=None)
        self._current: _Segment | None = None
        self._torn: _Segment | None = None
        self._is_closed = False

    def write(self, record: bytes, time_ms: int) -> LogHandle:
        """Append a record; tried again in a new segment when the disk refuses it.

        Raises:
            DurabilityError, OSError: It refused too often.
            IllegalStateError: The log is closed.
        """
        header = frames.header_of(record)
        with self._lock:
            if self._is_closed:
                msg = f"the log '{self._directory}' is closed"
                raise IllegalStateError(msg)
            for failures in count(1):
                begin = monotonic_s()
                try:
                    handle = self._write_once(header, record, time_ms)
                except (DurabilityError, OSError) as error:
                    self._statistics.on_failed()
                    if failures >= self._failures_max:
                        raise
                    _log.warning(
                        "a write to a log failed; trying again directory=%s error=%s",
                        self._directory,
                        error,
                    )
                else:
                    self._statistics.on_written(
                        len(header) + len(record), (monotonic_s() - begin) * 1000
                    )
                    return handle
            msg = "a write ends with its handle or its last error"
            raise AssertionError(msg)

    def _write_once(self, header: bytes, record: bytes, time_ms: int) -> LogHandle:
        if self._torn is not None:
            self._cut_torn()
        segment = self._current
        mark = b""
        if segment is None or time_ms > segment.name.end_ms:
            self._close_current()
            mark = self._mark(record)
            segment = self._new_segment(time_ms)
        assert segment.promised is not None, "a log writes to its own segments"
        offset = segment.promised + len(mark)
        try:
            if self._closes_after_write:
                data = mark + header + record
                self._storage.write_atomic(segment.path, data, sync=self._sync)
            else:
                self._append(segment, mark + header, record)
        except BaseException:
            # Whatever it was, half a frame may be there.
            self._torn = segment
            self._close_current()
            raise
        segment.promised = offset + len(header) + len(record)
        return LogHandle(segment.path, offset, len(record))

    def _mark(self, first: bytes) -> bytes:
        """Return the frame that a new segment begins with, before its `first` record."""
        if self._last is None and read_mark(first) is None:
            return b""  # There is nothing before it.
        before = self._segments[-1] if self._segments else None
        size = None
        if before is not None and before.name == self._last:
            size = before.whole if before.promised is None else before.promised
        return frames.frame(mark_after(self._last, size))

    def _append(self, segment: _Segment, header: bytes, record: bytes) -> None:
        out = segment.out
        if out is None:
            out = segment.out = self._storage.append(segment.path)
            self._current = segment
        out.write(header)
        out.write(record)  # Apart: a large one isn't copied.
        if self._sync:
            out.sync()
        else:
            out.flush()

    def _new_segment(self, time_ms: int) -> _Segment:
        name = LogSegment.after(self._last, time_ms, self._rolling_ms)
        # Somebody else may write here, whatever we were told: spare what is there.
        while self._storage.exists(f"{self._directory}/{name.name}"):
            name = LogSegment.after(name, time_ms, self._rolling_ms)
        self._last = name
        made = self._segment(name, 0)
        self._segments.append(made)
        return made

    def _segment(self, name: LogSegment, promised: int | None) -> _Segment:
        return _Segment(name, f"{self._directory}/{name.name}", promised)

    def _close_current(self) -> None:
        current, self._current = self._current, None
        if current is not None and current.out is not None:
            out, current.out = current.out, None
            try:
                out.close()
            except (DurabilityError, OSError) as error:
                # Nothing is lost: what was promised was flushed before.
                _log.warning("closing a log's segment failed error=%s", error)

    def _cut_torn(self) -> None:
        """Take off what a failed write may have left; try once, it is only to be tidy."""
        segment, self._torn = self._torn, None
        if segment is None:
            return
        path, size = segment.path, segment.promised or 0
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
            DurabilityError: A record is damaged, and whole ones follow in its segment, or
                the next segment knows that it was whole.
            OSError: A segment can't be read.
        """
        with self._lock:
            segments = [(each, each.promised) for each in self._segments]
        found: dict[str, int] = {}
        for segment, size in segments:
            path = segment.path
            try:
                if size is None and self._sync:
                    # Whoever wrote it may have been killed before it was synced. What is
                    # read now is acted on, so a power failure must not take it back.
                    self._storage.sync(path)
                with self._storage.open_input(path) as source:
                    # Not more than was promised: another thread may be writing.
                    data = source.read() if size is None else source.read(size)
            except FileNotFoundError:
                continue
            position = 0
            for record in whole_frames(data, path):
                after = read_mark(record) if position == 0 else None
                position += HEADER_BYTES + len(record)
                if after is None:
                    yield record
                elif found.get(after.name, after.size) < after.size:
                    raise cut_short(self._directory, after)
            found[segment.name.name] = segment.whole = position

    def clean(self, threshold_ms: int) -> None:
        """Delete segments that ended before `threshold_ms`; nothing once it is closed."""
        with self._lock:
            if self._is_closed:
                return
            old = [
                segment
                for segment in self._segments
                if segment.name.end_ms < threshold_ms and segment is not self._current
            ]
        deleted = {id(segment) for segment in self._delete(old)}
        with self._lock:
            self._segments = [s for s in self._segments if id(s) not in deleted]

    def _delete(self, old: list[_Segment]) -> list[_Segment]:
        for count_deleted, segment in enumerate(old):
            try:
                self._storage.delete(segment.path)
            except (DurabilityError, OSError) as error:
                self._seldom.warning(
                    "an old log can't be deleted file=%s error=%s", segment.path, error
                )
                # Nor are newer ones, until it is: they may say what became of its records.
                return old[:count_deleted]
        return old

    def close(self) -> None:
        """Write no more."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                self._close_current()
                self._cut_torn()


def _new_event() -> threading.Event:
    return threading.Event()  # Looked up when called: simulations bring their own.


@dataclass(slots=True, eq=False)
class _Waiting:
    """One call of `write`, until `done` is set."""

    record: bytes
    time_ms: int
    done: threading.Event = field(default_factory=_new_event)
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
            for each in _groups(sorted(group, key=lambda each: each.time_ms)):
                self._write_group(each)
            del group, each  # Or their records live until the next ones come.

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
                yield from _members(record)
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


def _groups(waiting: Sequence[_Waiting]) -> Iterator[list[_Waiting]]:
    """Yield what is written together: neighbours, of which none is large."""
    for is_large, members in groupby(
        waiting, key=lambda each: len(each.record) > _ALONE_BYTES
    ):
        if is_large:
            yield from ([each] for each in members)
        else:
            yield list(members)


def _encode(group: list[_Waiting]) -> bytes:
    if len(group) == 1 and not group[0].record.startswith(_GROUP):
        return group[0].record
    # Not frames again: in a group that a crash has cut short they would be whole ones, and
    # whole frames behind a torn one mean damage.
    parts = [_GROUP]
    for each in group:
        parts += (len(each.record).to_bytes(_LENGTH_BYTES, "big"), each.record)
    return b"".join(parts)


def _members(group: bytes) -> Iterator[bytes]:
    position = len(_GROUP)
    while position < len(group):
        begin = position + _LENGTH_BYTES
        position = begin + int.from_bytes(group[position:begin], "big")
        yield group[begin:position]


def _closed() -> IllegalStateError:
    return IllegalStateError("the log is closed")
