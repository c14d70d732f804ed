"""OnErrorOperator: a stream from which on bad records are taken out; what becomes of them.

Tasks find them (`jobs/bad_records`); what a task has found is heard when its attempt
counts. Before an output operation has done its batch, or a sink commits one, the letters
found for it are committed: so that a record is never missing in both places.
"""

import itertools
import logging
import threading
import weakref
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from millstream.engine.base import driver_link
from millstream.engine.base.clock import monotonic_s
from millstream.engine.durable.letter_files import Letter, LetterBox
from millstream.engine.jobs.found_records import TOPIC, BadRecord, Find
from millstream.engine.plan.marks import RecordMark
from millstream.engine.sinks.dead_letters import LetterWriter
from millstream.engine.streams.direct import DirectInput
from millstream.engine.streams.operators import Operator, TransformedOperator

if TYPE_CHECKING:
    from millstream.engine.sinks.writing import SinkWriter
    from millstream.engine.streams.rdds import RddFactory

_log = logging.getLogger(__name__)

_LOG_EVERY_S = 10.0
_BATCHES_KEPT = 1000
_Position = tuple[int, int, int]
"""Batch, partition, index."""


@dataclass(frozen=True, slots=True)
class OnError:
    """What a program has asked for."""

    name: str
    is_tolerant: bool
    max_share: float
    max_records: int = 0
    writer: LetterWriter | None = None
    box: LetterBox | None = None
    """Where letters are taken in again from, if they can be."""


class OnErrorOperator(TransformedOperator):
    """Marks the RDD of each batch, and takes in again what is to be."""

    def __init__(
        self,
        parent: Operator,
        letters: DirectInput | None,
        asked: OnError,
        marked: Callable[[Any, RecordMark], Any],
    ) -> None:
        """Mark what `parent` gives, and what comes again from `letters`.

        `marked(rdd, mark)` returns the same records, marked.
        """
        super().__init__(parent.graph, (parent,), self._made, what="onError")
        self.asked = asked
        # No parent: streams are named by those, and letters must not change a name.
        self._letters = letters
        self._marked = marked
        self._replays: dict[int, tuple[int, Sequence[Any]]] = {}
        """Of batches that take letters in: from which partition on, and the files."""
        self._listen()

    def _listen(self) -> None:
        """Hear what tasks find at this mark, in this process."""
        self._has_looked = False
        self._known_ms: int | None = None
        self.token = f"mark-{next(_numbers)}"
        self.finds = _Finds(self.asked)
        _known[self.token] = self.finds

    def compute(self, time_ms: int) -> Any:
        """Return the marked RDD; None when there is nothing to mark."""
        rdd = self.parents[0].get_or_compute(time_ms)
        if self._letters is not None:
            rdd = self._with_replayed(
                time_ms, rdd, self._letters.get_or_compute(time_ms)
            )
        return None if rdd is None else self._made(time_ms, [rdd])

    def _with_replayed(self, time_ms: int, rdd: Any, replayed: Any) -> Any:
        if replayed is None or replayed.getNumPartitions() == 0:
            return rdd
        first = 0 if rdd is None else rdd.getNumPartitions()
        self._replays[time_ms] = first, tuple(replayed.ranges)
        for old in list(self._replays)[:-_BATCHES_KEPT]:
            del self._replays[old]
        return replayed if rdd is None else self.graph.rdds.union([rdd, replayed])

    def _made(self, time_ms: int, rdds: Sequence[Any]) -> Any:
        (rdd,) = rdds
        asked = self.asked
        mark = RecordMark(
            self.token,
            time_ms,
            asked.is_tolerant,
            asked.writer is not None,
            asked.max_share,
            asked.max_records,
            self._taken_out(time_ms),
        )
        return self._marked(rdd, mark)

    def _taken_out(self, time_ms: int) -> Mapping[int, frozenset[int]]:
        """Return which records of a batch that runs again are letters already.

        They stay out, also of a program that was corrected meanwhile: as letters they may
        have been marked for replay, and would count twice.
        """
        box = self.asked.box
        if box is None:
            return {}
        if not self._has_looked:
            self._known_ms, self._has_looked = box.newest_ms(), True
        if self._known_ms is None or time_ms > self._known_ms:
            return {}
        found: dict[int, set[int]] = defaultdict(set)
        for each in box.of_batch(time_ms):
            found[each.partition].add(each.index)
        return {part: frozenset(indexes) for part, indexes in found.items()}

    def initialize(self, zero_ms: int) -> None:
        """Take over the zero time."""
        super().initialize(zero_ms)
        if self._letters is not None:
            self._letters.initialize(zero_ms)

    def remember(self, duration_ms: int | None) -> None:
        """Keep RDDs for a while, those of letters too."""
        super().remember(duration_ms)
        if self._letters is not None:
            self._letters.remember(self.parent_remember_ms)

    def commit(self, key: str, time_ms: int) -> None:
        """Commit the letters that are new, for the output `key` in its batch."""
        writer = self.asked.writer
        if writer is None:
            return
        # Outputs may run side by side: one file, and one mark, at a time.
        with self.finds.committing:
            waiting = self.finds.waiting()
            if waiting:
                letters = [self._letter(at, found) for at, found in waiting.items()]
                letters.sort(
                    key=lambda each: (each.batch_ms, each.partition, each.index)
                )
                writer.write(key, time_ms, letters)
                self.finds.committed(waiting)

    def _letter(self, position: _Position, found: "_Waiting") -> Letter:
        batch_ms, partition, index = position
        bad, number = found.record, f"{batch_ms}-{partition}-{index}"
        first, ranges = self._replays.get(batch_ms, (0, ()))
        before = None
        if self.asked.box is not None and first <= partition < first + len(ranges):
            name = ranges[partition - first]["file"]
            before = self.asked.box.replay(name)[index]
        return Letter(
            id=number,
            stream=self.asked.name,
            batch_ms=batch_ms,
            partition=partition,
            index=index,
            range=found.range,
            error=bad.error,
            message=bad.message,
            file=bad.file,
            line=bad.line,
            operator=bad.operator,
            attempt=1 if before is None else before.attempt + 1,
            first=number if before is None else before.first,
            text=bad.text,
            record=bad.record,
            pickled=bad.pickled,
        )

    def clear_metadata(self, time_ms: int) -> None:
        """Forget RDDs, and which records of old batches were bad."""
        super().clear_metadata(time_ms)
        if self._letters is not None:
            self._letters.clear_metadata(time_ms)
        oldest_ms = time_ms - (self.remember_ms or 0)
        self.finds.forget(oldest_ms)

    def __getstate__(self) -> dict[str, Any]:
        state = {**super().__getstate__(), "_replays": {}}
        del state["token"], state["finds"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._listen()


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A bad record whose letter isn't committed."""

    record: BadRecord
    range: str | None


# Looked up when it is called, as everywhere: simulations bring their own.
def _new_lock() -> threading.Lock:
    return threading.Lock()


@dataclass(slots=True, weakref_slot=True, eq=False)
class _Finds:
    """What tasks have found at one mark. Thread-safe."""

    asked: OnError
    total: int = 0
    committing: threading.Lock = field(default_factory=_new_lock)
    _lock: threading.Lock = field(default_factory=_new_lock)
    _seen: set[_Position] = field(default_factory=set)
    _waiting: dict[_Position, _Waiting] = field(default_factory=dict)
    _logged_s: float | None = None
    _untold: int = 0

    def hear(self, find: Find) -> None:
        """Take what a task has found; a record that was found before counts once."""
        with self._lock:
            positions = {(find.time_ms, find.partition, at) for at in find.indexes}
            new = positions - self._seen
            self._seen |= new
            self.total += len(new)
            self._untold += len(new)
            if self.asked.writer is not None:
                for each in find.records:
                    position = find.time_ms, find.partition, each.index
                    if position in new:
                        self._waiting[position] = _Waiting(each, find.range)
            if new:
                self._tell(find)

    def _tell(self, find: Find) -> None:
        """Log it; not more often than every few seconds."""
        now_s = monotonic_s()
        if self._logged_s is not None and now_s - self._logged_s < _LOG_EVERY_S:
            return
        self._logged_s = now_s
        example = find.records[0]
        _log.warning(
            "bad records taken out stream=%s records=%d in_all=%d batch=%d partition=%d "
            "such as %s: %s: %s in %s",
            self.asked.name,
            self._untold,
            self.total,
            find.time_ms,
            find.partition,
            example.text,
            example.error,
            example.message,
            example.operator,
        )
        self._untold = 0

    def waiting(self) -> dict[_Position, _Waiting]:
        """Return what isn't committed."""
        with self._lock:
            return dict(self._waiting)

    def committed(self, positions: dict[_Position, _Waiting]) -> None:
        """Note that letters are committed."""
        with self._lock:
            for each in positions:
                self._waiting.pop(each, None)

    def forget(self, before_ms: int) -> None:
        """Forget which records were found in batches up to a time."""
        with self._lock:
            old = {each for each in self._seen if each[0] <= before_ms}
            self._seen -= old - self._waiting.keys()


_numbers = itertools.count()
_known: "weakref.WeakValueDictionary[str, _Finds]" = weakref.WeakValueDictionary()


def _hear(find: Find) -> None:
    finds = _known.get(find.token)
    if finds is not None:
        finds.hear(find)


driver_link.hear(TOPIC, _hear)


# Outputs of marked streams.


def marks_above(operator: Operator) -> tuple[OnErrorOperator, ...]:
    """Return the marks that keep letters of what leads to an operator."""
    found: list[OnErrorOperator] = []
    waiting, seen = [operator], {operator}
    while waiting:
        above = waiting.pop()
        if isinstance(above, OnErrorOperator) and above.asked.writer is not None:
            found.append(above)
        new = [each for each in above.parents if each not in seen]
        seen.update(new)
        waiting.extend(new)
    return tuple(found)


@dataclass(slots=True)
class LetteredOutput:
    """An output operation that has done its batch when its dead letters are committed."""

    function: Callable[[int, Any], None]
    marks: tuple[OnErrorOperator, ...]
    key: str

    def __call__(self, time_ms: int, rdd: Any) -> None:
        """Do it."""
        self.function(time_ms, rdd)
        for each in self.marks:
            each.commit(self.key, time_ms)


class LetteredWriter:
    """Takes batches to a sink, their dead letters first.

    Of a batch that is there already, wholly or in part, nobody would know which records
    were bad: those partitions run again, and are written nowhere.
    """

    def __init__(
        self, marks: tuple[OnErrorOperator, ...], key: str, rdds: "RddFactory"
    ) -> None:
        """Commit the letters of `marks` for the output `key`; `writer` is given later."""
        self.writer: SinkWriter | None = None
        self._marks, self._key, self._rdds = marks, key, rdds
        self._time_ms = 0
        self._has_run = False

    def write(self, time_ms: int, rdd: Any, known_ms: int | None) -> None:
        """Commit a batch; see SinkWriter."""
        assert self.writer is not None, "it is given when it is made"
        self._time_ms, self._has_run = time_ms, False
        self.writer.write(time_ms, rdd, known_ms)
        if not self._has_run:
            self._rdds.touch(rdd, range(rdd.getNumPartitions()))
            self._commit()

    def run_parts(
        self, rdd: Any, function: Callable[..., Any], partitions: Sequence[int]
    ) -> list[Any]:
        """Write partitions, and commit the letters of the batch before its sink does."""
        self._has_run = True
        there = set(range(rdd.getNumPartitions())).difference(partitions)
        self._rdds.touch(rdd, sorted(there))
        made = self._rdds.run_parts(rdd, function, partitions)
        self._commit()
        return made

    def _commit(self) -> None:
        for each in self._marks:
            each.commit(self._key, self._time_ms)

    def close(self) -> None:
        """End."""
        assert self.writer is not None, "it is given when it is made"
        self.writer.close()
