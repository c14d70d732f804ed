"""mapWithState: a function called once a record, with the state of the record's key.

What a batch costs depends on its records, not on how many keys there are: state stays in
a map that each batch changes in place, with what it replaced kept aside for a while.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from millstream.engine.base.errors import PySparkTypeError
from millstream.engine.durable.state_store import (
    PartitionChanges,
    StateStore,
    find_store,
)
from millstream.engine.durable.state_table import ABSENT
from millstream.engine.durable.state_values import freeze_state, thaw_state
from millstream.engine.plan.fusion import mark_record
from millstream.engine.plan.partitioners import Partitioner
from millstream.engine.streams.operators import Operator
from millstream.engine.streams.state_spec import State, StateSpec
from millstream.engine.streams.stateful import KeyedStateOperator

if TYPE_CHECKING:
    from millstream.engine.streams.graph import DStreamGraph

_SLIDES_A_SCAN = 10


@dataclass(frozen=True, slots=True)
class MapWithState:
    """What a task of one batch does: emits the mapped records, stages the changes.

    Parents are the batch before, evaluated for its changes alone, and the batch's pairs.
    """

    token: int
    spec: StateSpec
    time_ms: int
    previous_ms: int
    time: Any
    idle_before_ms: int | None
    """Keys last touched before this time out in this batch; None: none do."""

    def __call__(self, index: int, parents: Sequence[Iterable[Any]]) -> list[Any]:
        """Return the mapped records."""
        before, new = parents
        for _ in before:
            pass
        store: StateStore = find_store(self.token)
        known = store.map_as_of(self.previous_ms, index)
        with store.changing(self.time_ms, index, known) as changes:
            mapped = _map_records(self, changes, iter(new))
            if self.idle_before_ms is not None:
                _time_out(self, changes, mapped)
        return mapped


_PART_RECORDS = 512
"""So many records are looked up, mapped and written back at a time: their keys' entries,
all over the memory, are then fetched once and still in the processor's cache."""


def _map_records(
    kernel: MapWithState, changes: PartitionChanges, new: Iterator[Any]
) -> list[Any]:
    function, timed = kernel.spec.mapping, kernel.spec.takes_time
    refreshes = kernel.spec.timeout_ms is not None
    time, known, changed = kernel.time, changes.known, changes.changed
    mapped: list[Any] = []
    while part := list(islice(new, _PART_RECORDS)):
        keys = []
        for record in part:
            key, _ = record
            keys.append(key)
        try:
            befores = known.get_all(keys, kernel.previous_ms)
        except TypeError:
            for record in part:
                _check_key(record[0])
            raise  # It was a key's own `__eq__`.
        now: dict[Any, Any] = {}
        for record, before in zip(part, befores, strict=True):
            key, value = record
            kept = now[key] if key in now else changed.get(key, before)
            state = State() if kept is ABSENT else State(thaw_state(kept))
            if timed:
                emitted = function(time, key, value, state)
                if emitted is not None:
                    mapped.append(emitted)
            else:
                mapped.append(function(key, value, state))
            if state.is_removed:
                now[key] = ABSENT
            elif state.is_updated or (refreshes and state.exists()):
                now[key] = freeze_state(state.get())
        changes.add(now)
    return mapped


def _check_key(key: Any) -> None:
    try:
        hash(key)
    except TypeError as error:
        msg = f"mapWithState finds states by hash, and a key has none: {key!r}"
        raise PySparkTypeError(msg, hint="use a tuple in place of a list") from error


def _time_out(
    kernel: MapWithState, changes: PartitionChanges, mapped: list[Any]
) -> None:
    """Call the function for keys that were idle too long, after the batch's records."""
    function, timed = kernel.spec.mapping, kernel.spec.takes_time
    assert kernel.idle_before_ms is not None, (
        "only called in batches that look for them"
    )
    known = changes.known
    idle = known.older_than(kernel.idle_before_ms, kernel.previous_ms)
    idle = [key for key in idle if key not in changes.changed]
    for key, kept in zip(idle, known.get_all(idle, kernel.previous_ms), strict=True):
        assert kept is not ABSENT, "an old key has a state"
        state = State(thaw_state(kept), is_timing_out=True)
        if timed:
            emitted = function(kernel.time, key, None, state)
            if emitted is not None:
                mapped.append(emitted)
        else:
            mapped.append(function(key, None, state))
    changes.add(dict.fromkeys(idle, ABSENT))


mark_record(_map_records, "record")
mark_record(_time_out, "key")


class MapStateOperator(KeyedStateOperator):
    """The mapped records of mapWithState, and what carries its state."""

    kind = "mapWithState"

    def __init__(
        self,
        graph: "DStreamGraph",
        parent: Operator,
        place: Partitioner,
        spec: StateSpec,
        initial: Any,
    ) -> None:
        """Apply `spec` to the parent's pairs."""
        super().__init__(graph, parent, place, initial)
        self.spec = spec

    @property
    def looks_for_idle(self) -> bool:
        """Whether keys time out."""
        return self.spec.timeout_ms is not None

    def default_checkpoint_ms(self) -> int:
        """Return ten slides: how often keys are looked at for their timeout."""
        return self.slide_ms * _SLIDES_A_SCAN

    def compute(self, time_ms: int) -> Any:
        """Return the mapped records; a batch without an RDD counts as empty."""
        (parent,) = self.parents
        rdds = self.graph.rdds
        before = self.before(time_ms)
        new = parent.get_or_compute(time_ms)
        kernel = MapWithState(
            self.states.token,
            self.spec,
            time_ms,
            time_ms - self.slide_ms,
            rdds.batch_time(time_ms),
            self._idle_before(time_ms),
        )
        return rdds.with_state(before, new, kernel, self.place)

    def _idle_before(self, time_ms: int) -> int | None:
        idle_ms = self.spec.timeout_ms
        if idle_ms is None:
            return None
        if self.spec.times_out_exactly or self.is_checkpoint_time(time_ms):
            return time_ms - idle_ms
        return None

    def stored(self, version: int) -> Any:
        """Return an RDD without records: what a batch reads is in the store's maps."""
        del version
        return self.graph.rdds.empty_parts(self.place)

    def stage_missing(self, version: int) -> None:
        """Compute what no job of the batch has computed, for its changes."""
        self.graph.rdds.touch(self.generated[version], self.states.missing(version))

    def after_commit(self, version: int) -> None:
        """Cut the lineage: the map has what the batch before would be evaluated for."""
        rdd = self.generated.get(version)
        if rdd is not None:
            self.graph.rdds.cut_state(rdd, self.place)


@dataclass(frozen=True, slots=True)
class SnapshotPartition:
    """The state of one partition as of a batch; a source partition."""

    token: int
    version: int
    partition: int

    def read(self) -> Iterable[Any]:
        """Return its pairs."""
        store: StateStore = find_store(self.token)
        return store.resident_rows(self.version, self.partition)


class SnapshotsOperator(Operator):
    """The whole state of a mapWithState stream, every batch."""

    kind = "stateSnapshots"

    def __init__(self, graph: "DStreamGraph", mapped: MapStateOperator) -> None:
        """Read the state of `mapped`."""
        super().__init__(graph, (mapped,), mapped.slide_ms)
        self.mapped = mapped

    def compute(self, time_ms: int) -> Any:
        """Return the pairs; the batch's records are mapped first."""
        made = self.mapped.get_or_compute(time_ms)
        if made is None:
            return None
        return self.graph.rdds.snapshots(made, self.mapped.states, time_ms)
