"""Fetching: threads that read shards ahead, so that the ranges of a batch are known.

Kinesis doesn't say what a shard's newest sequence number is: where a range ends is known
only when its last record is here. So the driver reads, and plans what it has read. What it
has read is kept for the tasks, see `kinesis`.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from millstream.engine.base.clock import SystemClock, monotonic_s
from millstream.engine.sources.kinesis.client import (
    KinesisBusyError,
    KinesisClient,
    KinesisDataLossError,
    KinesisError,
    KinesisIteratorExpiredError,
    KinesisUnreachableError,
    Page,
    Position,
    Stored,
    Summary,
)
from millstream.engine.sources.kinesis.records import count_of
from millstream.engine.sources.kinesis.shards import KinesisRange, Shard, shares

_log = logging.getLogger(__name__)

_THREADS_MAX = 16
_BEHIND_S = 0.25
"""Between two calls of a shard that has more: Kinesis allows five a second."""
_BACK_OFF_S = (0.25, 5.0)
_SHARD_BYTES = 16 << 20
_ALL_BYTES = 64 << 20
"""Of records that are read and not planned yet; a call may bring 10 MB more."""
_LIST_S = 10.0
_LOOK_S = 600.0
_SLACK_MS = 300_000
"""Kinesis doesn't drop records on the second."""
_JOIN_S = 5.0
_DAY_MS = 24 * 3_600_000


@dataclass(slots=True, eq=False)
class ShardReader:
    """A shard that is read: where plans are, where reading is, and what is between."""

    planned: KinesisRange
    fetched: str | None
    fetched_ms: int
    """Up to when the shard has been read."""
    behind_ms: int | None = None
    """How far the shard's newest record was away from what had been read; None before."""
    iterator: str | None = None
    waiting: deque[tuple[Stored, int]] = field(default_factory=deque)
    """Records that are read and not planned, and how many of a program each is."""
    planned_ms: int | None = None
    """When the newest record that is planned arrived; None: before there is one."""
    waiting_bytes: int = 0
    has_ended: bool = False
    is_busy: bool = False
    due_s: float = 0.0
    failures: int = 0
    failing_s: float | None = None
    """Since when all calls fail."""
    error: KinesisError | None = None

    @classmethod
    def after(cls, planned: KinesisRange) -> "ShardReader":
        """Return a reader that goes on after a range."""
        return cls(planned, planned.last, planned.as_of_ms, has_ended=planned.is_end)

    @property
    def position(self) -> Position:
        """Where a new iterator is to begin."""
        if self.fetched is not None:
            return Position("AFTER_SEQUENCE_NUMBER", self.fetched)
        if self.planned.start_ms is not None:
            return Position("AT_TIMESTAMP", self.planned.start_ms)
        return Position("TRIM_HORIZON")

    def goes_on_after(self, of: KinesisRange) -> bool:
        """Say whether the next range is to begin where this reader's does."""
        here = self.planned
        return (here.last, here.start_ms, here.is_end) == (
            of.last,
            of.start_ms,
            of.is_end,
        )

    def add(self, page: Page, asked_ms: int) -> None:
        """Take what came."""
        for each in page.records:
            self.waiting.append((each, count_of(each)))
            self.waiting_bytes += len(each.data) + len(each.key)
        if page.records:
            self.fetched = page.records[-1].sequence
        self.fetched_ms = asked_ms - page.behind_ms
        self.behind_ms = page.behind_ms
        self.iterator = page.next
        self.has_ended = page.next is None

    @property
    def lag_ms(self) -> int | None:
        """How far what is planned is behind the newest record; None: not known.

        By the times at which records arrived, and so by Kinesis' clock.
        """
        if self.error is not None or self.behind_ms is None:
            return None
        if not self.waiting:
            return self.behind_ms
        (oldest, _), (newest, _) = self.waiting[0], self.waiting[-1]
        planned_ms = oldest.arrived_ms if self.planned_ms is None else self.planned_ms
        return self.behind_ms + max(0, newest.arrived_ms - planned_ms)

    def take(self, limit: int) -> tuple[KinesisRange, list[Stored]]:
        """Return the next range, of about `limit` records, with them."""
        taken: list[Stored] = []
        count = 0
        while self.waiting and count < limit:
            record, worth = self.waiting.popleft()
            taken.append(record)
            count += worth
            self.waiting_bytes -= len(record.data) + len(record.key)
        before = self.planned
        last = taken[-1] if taken else None
        if last is not None:
            self.planned_ms = last.arrived_ms
        is_all = not self.waiting
        self.planned = KinesisRange(
            before.shard,
            taken[0].sequence if taken else None,
            last.sequence if last else before.last,
            count,
            self.fetched_ms if is_all or last is None else last.arrived_ms,
            before.start_ms,
            is_end=is_all and self.has_ended,
        )
        return self.planned, taken


class Fetching:
    """All shards of a stream that are read on the driver."""

    def __init__(
        self,
        client: KinesisClient,
        name: str,
        *,
        interval_s: float,
        timeout_s: float,
        must_have_all: bool,
    ) -> None:
        """Read a shard each `interval_s`; raise when that fails for `timeout_s`."""
        self._client = client
        self._name = name
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        self._must_have_all = must_have_all
        self._changed = threading.Condition()
        self._over = threading.Event()
        self._look = threading.Event()
        self._shards: Mapping[str, Shard] = {}
        self._listing_error: tuple[float, KinesisError] | None = None
        self._retention_ms = _DAY_MS
        self._looked_s = 0.0
        self._readers: dict[str, ShardReader] = {}
        self._lag_ms: int | None = None
        self._threads: list[threading.Thread] = []

    def start(self) -> int:
        """List the shards, and begin; return the time, in ms.

        Raises:
            KinesisError: The stream can't be asked.
        """
        now_ms = self._look_at_stream().now_ms
        self._list()
        self._run(self._keep_listing, "shards")
        return now_ms

    def stop(self) -> None:
        """End; a call that is under way isn't waited for longer than some seconds."""
        with self._changed:
            self._over.set()
            self._look.set()
            self._changed.notify_all()
        until_s = monotonic_s() + _JOIN_S
        for thread in self._threads:
            thread.join(max(0.0, until_s - monotonic_s()))

    @property
    def shards(self) -> Mapping[str, Shard]:
        """The shards of the stream, as of a few seconds ago."""
        with self._changed:
            return self._shards

    def go_on_after(self, ranges: Sequence[KinesisRange]) -> None:
        """Read these shards and no others, each after a range."""
        with self._changed:
            before = self._readers
            self._readers = {}
            for each in ranges:
                reader = before.get(each.shard)
                if reader is None or not reader.goes_on_after(each):
                    reader = ShardReader.after(each)
                self._readers[each.shard] = reader
            wanted = min(_THREADS_MAX, len(self._readers))
            self._changed.notify_all()
        for number in range(len(self._threads) - 1, wanted):
            self._run(self._keep_fetching, str(number))

    def take(self, limit: int | None) -> list[tuple[KinesisRange, list[Stored]]]:
        """Return the next range of each shard, and its records.

        Raises:
            KinesisError: A shard can't be read, and that has lasted, or won't pass.
        """
        with self._changed:
            self._raise_what_lasts()
            readers = list(self._readers.values())
            counts = [sum(worth for _, worth in each.waiting) for each in readers]
            some = counts if limit is None else shares(counts, limit)
            taken = [
                reader.take(count) for reader, count in zip(readers, some, strict=True)
            ]
            lags = [each.lag_ms for each in readers]
            known = [each for each in lags if each is not None]
            is_known = len(known) == len(lags)
            self._lag_ms = max(known, default=None) if is_known else None
            self._changed.notify_all()
            return taken

    @property
    def lag_ms(self) -> int | None:
        """How far the shard was behind that was farthest, when ranges were taken last.

        None: of one it wasn't known.
        """
        return self._lag_ms

    def _raise_what_lasts(self) -> None:
        now_s = monotonic_s()
        if self._listing_error is not None:
            since_s, error = self._listing_error
            if now_s - since_s > self._timeout_s:
                raise error
        for reader in self._readers.values():
            error_now, since = reader.error, reader.failing_s
            if error_now is None or since is None:
                continue
            match error_now:
                case KinesisBusyError():
                    continue  # Records come, later; the log says so.
                case KinesisUnreachableError() if now_s - since <= self._timeout_s:
                    continue
            raise error_now

    def _run(self, work: Callable[[], None], name: str) -> None:
        thread = threading.Thread(
            target=work, name=f"millstream-kinesis-{self._name}-{name}", daemon=True
        )
        self._threads.append(thread)
        thread.start()

    # On the thread that lists.

    def _keep_listing(self) -> None:
        while not self._over.is_set():
            self._look.wait(_LIST_S)
            self._look.clear()
            if self._over.is_set():
                return
            try:
                self._list()
            except KinesisError as error:
                with self._changed:
                    since_s = (self._listing_error or (monotonic_s(), error))[0]
                    self._listing_error = since_s, error
                _log.warning("can't list shards: %s", error)

    def _list(self) -> None:
        shards = self._client.shards()
        if monotonic_s() - self._looked_s >= _LOOK_S:
            self._look_at_stream()
        with self._changed:
            self._shards = shards
            self._listing_error = None

    def _look_at_stream(self) -> Summary:
        summary = self._client.summary()
        self._retention_ms = summary.retention_ms
        self._looked_s = monotonic_s()
        return summary

    # On the threads that read.

    def _keep_fetching(self) -> None:
        while True:
            reader = self._next()
            if reader is None:
                return
            asked_ms = SystemClock().now_ms()
            try:
                page = self._page(reader, asked_ms)
            except KinesisError as error:
                self._note_failure(reader, error)
            except Exception as error:  # The thread's outermost frame.
                self._note_failure(reader, KinesisError(f"{self._name}: {error!r}"))
                _log.exception("can't read shard=%s", reader.planned.shard)
            else:
                self._note(reader, page, asked_ms)

    def _next(self) -> ShardReader | None:
        with self._changed:
            while not self._over.is_set():
                wait_s = self._interval_s
                waiting_bytes = sum(r.waiting_bytes for r in self._readers.values())
                has_room = waiting_bytes < _ALL_BYTES
                ready = [
                    each
                    for each in self._readers.values()
                    if has_room
                    and not each.is_busy
                    and not each.has_ended
                    and each.waiting_bytes < _SHARD_BYTES
                ]
                if ready:
                    reader = min(ready, key=lambda each: each.due_s)
                    wait_s = reader.due_s - monotonic_s()
                    if wait_s <= 0:
                        reader.is_busy = True
                        return reader
                self._changed.wait(min(wait_s, self._timeout_s))
            return None

    def _page(self, reader: ShardReader, asked_ms: int) -> Page:
        oldest_ms = reader.fetched_ms + _SLACK_MS
        if oldest_ms + self._retention_ms < asked_ms:
            self._look_at_stream()  # They may be kept for longer now.
            if oldest_ms + self._retention_ms < asked_ms:
                self._tell_loss(reader)
        shard = reader.planned.shard
        if not self._must_have_all and shard not in self.shards:
            return Page([], None, 0)  # It has expired, with all that was in it.
        if reader.iterator is None:
            reader.iterator = self._client.iterator(shard, reader.position)
        return self._client.page(reader.iterator)

    def _tell_loss(self, reader: ShardReader) -> None:
        hours = self._retention_ms / 3_600_000
        msg = (
            f"records of shard '{reader.planned.shard}' of Kinesis stream "
            f"'{self._name}' may be lost: it was read up to {reader.fetched_ms} ms, and "
            f"keeps records for {hours:g} hours"
        )
        if self._must_have_all:
            raise KinesisDataLossError(
                msg,
                hint="pass failOnDataLoss=False to go on with what is there; keep "
                "records for longer than the program may stand still",
            )
        _log.warning("%s", msg)
        reader.fetched_ms = SystemClock().now_ms()

    def _note(self, reader: ShardReader, page: Page, asked_ms: int) -> None:
        is_behind = page.behind_ms > 0
        pause_s = min(_BEHIND_S, self._interval_s) if is_behind else self._interval_s
        with self._changed:
            reader.add(page, asked_ms)
            reader.is_busy = False
            reader.failures, reader.failing_s, reader.error = 0, None, None
            reader.due_s = monotonic_s() + pause_s
            if reader.has_ended:
                self._look.set()  # There are children.
            self._changed.notify_all()

    def _note_failure(self, reader: ShardReader, error: KinesisError) -> None:
        first_s, most_s = _BACK_OFF_S
        with self._changed:
            reader.is_busy = False
            # Whatever it was, a new one can't hurt.
            reader.iterator = None
            self._changed.notify_all()
            if isinstance(error, KinesisIteratorExpiredError) and not reader.failures:
                reader.failures = 1
                return
            now_s = monotonic_s()
            wait_s = min(most_s, first_s * 2.0**reader.failures)
            if reader.failing_s is None:
                reader.failing_s = now_s
            reader.failures += 1
            reader.error = error
            reader.due_s = now_s + wait_s
        _log.warning(
            "can't read, again in %.2f s shard=%s: %s",
            wait_s,
            reader.planned.shard,
            error,
        )


def read_range(
    client: KinesisClient, of: KinesisRange, timeout_s: float
) -> list[Stored]:
    """Return the records of a range that isn't empty, from Kinesis; in tasks.

    Raises:
        KinesisDataLossError: They aren't all there any more.
        KinesisError: They can't be read for `timeout_s`.
    """
    assert of.first is not None, "an empty range isn't read"
    assert of.last is not None, "it has a last record"
    found: list[Stored] = []
    iterator: str | None = None
    until_s = monotonic_s() + timeout_s
    pause = threading.Event()
    failures = 0
    while True:
        try:
            if iterator is None:
                iterator = client.iterator(of.shard, _next_of(of, found))
            page = client.page(iterator)
        except (
            KinesisBusyError,
            KinesisUnreachableError,
            KinesisIteratorExpiredError,
        ) as error:
            iterator = None
            if monotonic_s() > until_s:
                raise
            first_s, most_s = _BACK_OFF_S
            _log.info("reads again shard=%s: %s", of.shard, error)
            pause.wait(min(most_s, first_s * 2.0**failures))
            failures += 1
            continue
        last = int(of.last)
        found += (each for each in page.records if int(each.sequence) <= last)
        if page.records:
            until_s = monotonic_s() + timeout_s
        if found and found[0].sequence != of.first:
            raise _lost(of, f"the first one that is there is {found[0].sequence}")
        if found and found[-1].sequence == of.last:
            return found
        is_past = bool(page.records) and int(page.records[-1].sequence) > last
        if is_past or page.next is None or monotonic_s() > until_s:
            raise _lost(of, f"{len(found)} stored records were found")
        iterator = page.next
        if not page.records:
            pause.wait(_BEHIND_S)


def _next_of(of: KinesisRange, found: Sequence[Stored]) -> Position:
    if found:
        return Position("AFTER_SEQUENCE_NUMBER", found[-1].sequence)
    return Position("AT_SEQUENCE_NUMBER", of.first)


def _lost(of: KinesisRange, found: str) -> KinesisDataLossError:
    msg = (
        f"records {of.first} to {of.last} of shard '{of.shard}' aren't all there any "
        f"more: {found}"
    )
    return KinesisDataLossError(
        msg, hint="keep records for longer than a program may stand still"
    )
