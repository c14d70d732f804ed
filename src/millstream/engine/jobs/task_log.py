"""TaskLog: the attempts of a stage's tasks: where each ran, how long, what came of it.

It costs a task a microsecond. Of a stage with many tasks some hundreds of attempts are
kept: every so many of them, from which sums over all can be told, the slowest, and the
newest of those that didn't succeed.
"""

import heapq
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol, TypeAlias

from millstream.engine.base.clock import monotonic_s

EVERY_SO_MANY_MAX = 400
SLOWEST_MAX = 50
UNSUCCESSFUL_MAX = 50
STAGE_ENDED = "its stage has ended"


class TaskStatus(Enum):
    """What came of an attempt, in Spark's words."""

    RUNNING = "RUNNING"
    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    KILLED = "KILLED"
    """Ended before it was done: another attempt was faster, or nobody waits any more."""


@dataclass(slots=True)
class Traffic:
    """What an attempt has read and made, as far as that is known; None: it isn't."""

    rows_in: int | None = None
    bytes_in: int | None = None
    rows_out: int | None = None
    bytes_out: int | None = None


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """One attempt of one task."""

    id: int
    partition: int
    attempt: int
    where: str
    """The thread, worker process or executor that ran it."""
    begun_ms: float
    """Since the epoch."""
    took_ms: float
    """So far, if it runs."""
    status: TaskStatus
    error: str = ""
    """Why it didn't succeed; one line."""
    is_copy: bool = False
    """Whether it was started beside a slow attempt of the same task."""
    traffic: Traffic = field(default_factory=Traffic)


class Handed(Protocol):
    """An attempt that was handed over to a worker elsewhere."""

    @property
    def begun_s(self) -> float | None:
        """When a worker took it, on `monotonic_s`; None while it waits."""
        ...

    @property
    def where(self) -> str:
        """Which worker took it; empty while it waits."""
        ...


_UNKNOWN = Traffic()
_SUCCESS = TaskStatus.SUCCESS
_here = threading.local()
"""What this thread is called: looked up once, for it takes longer than all else here."""

# Plain tuples of plain values: the garbage collector doesn't go through them.
_Ended: TypeAlias = tuple[
    int,  # Number among the driver's attempts.
    int,  # Partition.
    int,  # Attempt.
    str,  # Where.
    float,  # Begun, in seconds.
    float,  # Took, in seconds.
    TaskStatus,
    str,  # Error.
    bool,  # Whether it is a copy.
    int | None,  # Rows and bytes in, rows and bytes out.
    int | None,
    int | None,
    int | None,
]


class TaskLog:
    """The attempts of one stage.

    `begin` is called by any thread, all else that changes it by the job's; whoever looks
    at it may do so meanwhile.
    """

    __slots__ = (
        "_begun_ms",
        "_begun_s",
        "_every",
        "_handed",
        "_is_closed",
        "_running",
        "_slowest",
        "_stride",
        "_unsuccessful",
        "ended_count",
    )

    def __init__(self, begun_ms: int = 0) -> None:
        """Be of a stage that begins now, which the driver's clock calls `begun_ms`."""
        self._begun_ms = begun_ms
        self._begun_s = monotonic_s()
        self._running: dict[tuple[int, int], tuple[int, str, float]] = {}
        self._handed: dict[tuple[int, int], tuple[int, Handed]] = {}
        self._every: list[_Ended] = []
        self._stride = 1
        self._slowest: list[tuple[float, int, _Ended]] = []
        self._unsuccessful: list[_Ended] = []
        self._is_closed = False
        self.ended_count = 0
        """How many attempts have ended, kept or not."""

    # While the stage runs.

    def begin(self, partition: int, attempt: int, task_id: int, begun_s: float) -> None:
        """Note that an attempt begins on this thread; where it ran is how that is called."""
        try:
            where = _here.name
        except AttributeError:
            where = _here.name = threading.current_thread().name
        self._running[partition, attempt] = task_id, where, begun_s

    def hand_over(
        self, partition: int, attempt: int, task_id: int, handed: Handed
    ) -> None:
        """Note an attempt that was handed over; it knows itself when and where it begins."""
        self._handed[partition, attempt] = task_id, handed

    def end(
        self,
        partition: int,
        attempt: int,
        status: TaskStatus,
        took_s: float | None = None,
        traffic: Traffic | None = None,
        error: str = "",
        is_copy: bool = False,
    ) -> None:
        """Note how an attempt ended; without `took_s` it took until now."""
        begun = self._running.pop((partition, attempt), None)
        if begun is None:
            begun = self._begun_elsewhere(partition, attempt, took_s)
        task_id, where, begun_s = begun
        if took_s is None:
            took_s = monotonic_s() - begun_s
        traffic = traffic or _UNKNOWN
        ended = (
            task_id,
            partition,
            attempt,
            where,
            begun_s,
            took_s,
            status,
            error,
            is_copy,
            traffic.rows_in,
            traffic.bytes_in,
            traffic.rows_out,
            traffic.bytes_out,
        )
        number = self.ended_count
        self.ended_count = number + 1
        if self._stride == 1 or not number % self._stride:
            self._every.append(ended)
            if len(self._every) > EVERY_SO_MANY_MAX:
                self._thin_out()
        if self._slowest and took_s > self._slowest[0][0]:
            heapq.heapreplace(self._slowest, (took_s, number, ended))
        if status is not _SUCCESS:
            self._unsuccessful.append(ended)
            del self._unsuccessful[:-UNSUCCESSFUL_MAX]

    def _begun_elsewhere(
        self, partition: int, attempt: int, took_s: float | None
    ) -> tuple[int, str, float]:
        now_s = monotonic_s()
        task_id, handed = self._handed.pop((partition, attempt), (-1, None))
        if handed is None or handed.begun_s is None:
            return task_id, "driver", now_s  # It never came as far as a worker.
        # It may have been handed over long before its worker came to it.
        latest_s = handed.begun_s if took_s is None else now_s - took_s
        return task_id, handed.where, max(handed.begun_s, latest_s)

    def _thin_out(self) -> None:
        """Keep every other one, and the slowest of all."""
        if self._stride == 1:
            slow = sorted(self._every, key=_took_s)[-SLOWEST_MAX:]
            self._slowest = [(_took_s(each), -at, each) for at, each in enumerate(slow)]
            heapq.heapify(self._slowest)
        del self._every[1::2]
        self._stride *= 2

    def close(self) -> None:
        """Hear that the stage has ended: nobody waits for what still runs."""
        for partition, attempt in [*self._running, *self._handed]:
            self.end(partition, attempt, TaskStatus.KILLED, error=STAGE_ENDED)
        self._is_closed = True

    def forget(self) -> None:
        """Keep nothing but how many attempts there were."""
        self._every, self._slowest, self._unsuccessful = [], [], []

    # For who looks at it.

    @property
    def kept_count(self) -> int:
        """About how many attempts are kept: some may be counted twice."""
        return len(self._every) + len(self._slowest) + len(self._unsuccessful)

    def records(self) -> list[TaskRecord]:
        """Return the attempts that are kept, and those that run, in the order of tasks."""
        slowest = [each for _, _, each in list(self._slowest)]
        kept = [*list(self._every), *slowest, *list(self._unsuccessful)]
        found = {(each[1], each[2]): self._record(each) for each in kept}
        for each in () if self._is_closed else self._runs():
            found.setdefault((each.partition, each.attempt), each)
        return [found[key] for key in sorted(found)]

    def sample(self) -> list[TaskRecord]:
        """Return attempts that stand for all that have ended: every so many of them."""
        return [self._record(each) for each in list(self._every)]

    def _runs(self) -> Iterator[TaskRecord]:
        now_s = monotonic_s()
        begun = dict(self._running)
        for key, (task_id, handed) in dict(self._handed).items():
            if handed.begun_s is not None:
                begun[key] = task_id, handed.where, handed.begun_s
        for (partition, attempt), (task_id, where, begun_s) in begun.items():
            yield TaskRecord(
                task_id,
                partition,
                attempt,
                where,
                self._time_ms(begun_s),
                (now_s - begun_s) * 1000,
                TaskStatus.RUNNING,
            )

    def _record(self, ended: _Ended) -> TaskRecord:
        task_id, partition, attempt, where, begun_s, took_s, status, error, is_copy = (
            ended[:9]
        )
        return TaskRecord(
            task_id,
            partition,
            attempt,
            where,
            self._time_ms(begun_s),
            took_s * 1000,
            status,
            error,
            is_copy,
            Traffic(*ended[9:]),
        )

    def _time_ms(self, moment_s: float) -> float:
        return self._begun_ms + (moment_s - self._begun_s) * 1000

    # What was kept elsewhere.

    @classmethod
    def of_records(
        cls,
        sample: Sequence[TaskRecord],
        others: Sequence[TaskRecord],
        ended_count: int,
    ) -> "TaskLog":
        """Return the log of a stage that is over, of what another has kept of it."""
        made = cls()
        made._begun_s, made._is_closed = 0.0, True
        made._every = [_ended(each) for each in sample]
        made._slowest = [(e.took_ms, at, _ended(e)) for at, e in enumerate(others)]
        made.ended_count = ended_count
        return made


def _took_s(ended: _Ended) -> float:
    return ended[5]


def _ended(record: TaskRecord) -> _Ended:
    traffic = record.traffic
    return (
        record.id,
        record.partition,
        record.attempt,
        record.where,
        record.begun_ms / 1000,
        record.took_ms / 1000,
        record.status,
        record.error,
        record.is_copy,
        traffic.rows_in,
        traffic.bytes_in,
        traffic.rows_out,
        traffic.bytes_out,
    )
