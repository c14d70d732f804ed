"""Placement: whether a stage's tasks run on threads here or in worker processes.

Columns run without the interpreter's lock, so threads are as good as processes for them,
and hand over nothing. Rows don't: only processes run them side by side, at the price of
carrying what goes in and out. What a stage costs is measured, by its functions, so that a
stream's next batch knows; of a stage that never ran, the size of its input and what is
known of its functions let expect.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from millstream.engine.jobs.actions import Action, Apply
from millstream.engine.jobs.stages import Stage
from millstream.engine.plan.nodes import RddNode, Shuffled, Source, StoredBlocks, Zipped

_STAGES_MAX = 1000
_BYTES_A_SECOND = 100e6
"""How fast rows are pickled here and unpickled there, and the other way."""
_FORGETTING = 0.5
"""How much of what was known is kept when a stage is measured again."""


class Place(Enum):
    """Where the tasks of a stage run."""

    THREADS = "threads of this process"
    PROCESSES = "worker processes"


class Processes(Enum):
    """What `spark.millstream.processes` says."""

    AUTO = "auto"
    OFF = "off"
    ALWAYS = "always"


@dataclass(slots=True)
class _Cost:
    """What a task of a stage took, on average."""

    rows_s: float
    """Seconds that it ran, if any of it went by rows; else 0."""
    took_s: float
    """Seconds that it ran, whichever way."""
    moved_bytes: float = 0.0
    """What went to a process and came back, as far as it was ever tried."""


@dataclass(slots=True)
class Placement:
    """Knows what stages cost, and says where they run. A core: pure; not thread-safe."""

    mode: Processes
    slots: int
    worth_s: float = 0.01
    """A hand-over is worth it that saves as much of a task's time, and what is moved."""
    alone_times: float = 5.0
    """How many hand-overs a stage's only task takes that leaves receivers alone."""
    worth_records: int = 20_000
    """So many records of a stage that never ran are expected to be."""
    _costs: "OrderedDict[bytes, _Cost]" = field(default_factory=OrderedDict)

    def choose(
        self,
        key: bytes,
        task_count: int,
        *,
        records: Callable[[], int],
        is_by_rows: Callable[[], bool],
        has_receivers: bool = False,
    ) -> Place:
        """Return where `task_count` tasks of a stage run.

        `records` says about how many a task reads, `is_by_rows` whether some of what it
        does is expected to go by rows; they are only asked where nothing was measured.
        `has_receivers` says whether receivers run on threads here, which a long task that
        goes by rows would starve.
        """
        if self.mode is Processes.OFF:
            return Place.THREADS
        if self.mode is Processes.ALWAYS:
            return Place.PROCESSES
        if self.slots == 1:
            return Place.THREADS  # There is nothing to run beside it.
        cost = self._costs.get(key)
        if task_count == 1:
            # Nothing is saved but the receivers' time.
            is_long = (
                cost is not None and cost.rows_s >= self.alone_times * self._worth(cost)
            )
            return Place.PROCESSES if has_receivers and is_long else Place.THREADS
        if cost is not None:
            self._costs.move_to_end(key)
            saved_s = cost.rows_s * (1 - 1 / min(self.slots, task_count))
            is_worth_it = saved_s >= self._worth(cost)
        else:
            is_worth_it = records() >= self.worth_records and is_by_rows()
        return Place.PROCESSES if is_worth_it else Place.THREADS

    def _worth(self, cost: _Cost) -> float:
        return self.worth_s + cost.moved_bytes / _BYTES_A_SECOND

    def measured(
        self,
        key: bytes,
        took_s: float,
        *,
        was_by_rows: bool,
        moved_bytes: int | None = None,
    ) -> None:
        """Note what a task took, and what was moved if it ran in a process."""
        rows_s = took_s if was_by_rows else 0.0
        known = self._costs.get(key)
        if known is None:
            self._costs[key] = _Cost(rows_s, took_s, moved_bytes or 0)
            if len(self._costs) > _STAGES_MAX:
                self._costs.popitem(last=False)
            return
        known.rows_s += (1 - _FORGETTING) * (rows_s - known.rows_s)
        known.took_s += (1 - _FORGETTING) * (took_s - known.took_s)
        if moved_bytes is not None:
            known.moved_bytes += (1 - _FORGETTING) * (moved_bytes - known.moved_bytes)

    def expected_s(self, key: bytes) -> float | None:
        """Return how long a task of a stage takes, if any was measured."""
        known = self._costs.get(key)
        return None if known is None else known.took_s


def key_of(stage: Stage, action: Action, action_key: bytes) -> bytes:
    """Return what identifies a stage's functions, over jobs."""
    parts = [each.functions or b"" for each in stage.members]
    if stage.is_result:
        parts += [action.name.encode(), action_key]
    return b"\0".join(parts)


def can_travel(stage: Stage, action: Action, *, is_cluster: bool) -> bool:
    """Say whether a stage's tasks need nothing that is in this process alone.

    What user code does for its effect stays, too: a list that it appends to is the
    program's own. Not on a cluster, where nobody expects it here.
    """
    if stage.is_barrier:
        return False
    if stage.is_result and isinstance(action, Apply) and not is_cluster:
        return False
    return not any(map(_is_bound, stage.members))


def _is_bound(node: RddNode) -> bool:
    # The map that such a kernel looks things up in is here, unless it says otherwise.
    if not isinstance(node.op, Zipped) or not hasattr(node.op.function, "of_pieces"):
        return False
    return bool(getattr(node.op.function, "is_bound", True))


def records_read(stage: Stage, count_of: Callable[[RddNode], int]) -> int:
    """Return about how many records a task of a stage reads.

    `count_of` says how many records a shuffle's outputs hold.
    """
    whole = sum(_records_of(each, count_of) for each in _read(stage))
    return whole // max(1, len(stage.partitions))


def _read(stage: Stage) -> Iterable[RddNode]:
    for node in stage.members:
        is_made_here = node is stage.node and not stage.is_result
        if isinstance(node.op, Source | StoredBlocks | Shuffled) and not is_made_here:
            yield node


_LINE_BYTES = 64


def _records_of(node: RddNode, count_of: Callable[[RddNode], int]) -> int:
    match node.op:
        case Source(partitions):
            return sum(map(_records_in, partitions))
        case Shuffled():
            return count_of(node)
        case _:
            return 0


def _records_in(partition: Any) -> int:
    count = getattr(partition, "known_count", None) or getattr(partition, "count", None)
    if isinstance(count, int):
        return count
    length = getattr(partition, "length", None)  # Of a file, in bytes.
    return length // _LINE_BYTES if isinstance(length, int) else 0
