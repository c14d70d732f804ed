"""mapWithState: a function called once a record, with the state of the record's key.

What a batch costs depends on its records, not on how many keys there are: state stays in
a map that each batch changes in place, with what it replaced kept aside for a while.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from millstream.engine.durable.state_map import VersionedMap
from millstream.engine.durable.state_store import StateStore, find_store
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
        changed, gone, mapped = _map_records(self, known, new)
        if self.idle_before_ms is not None:
            _time_out(self, known, changed, gone, mapped)
        if store.is_resident(index, known) and known.newest <= self.time_ms:
            known.apply(self.time_ms, changed, gone)
        store.stage(self.time_ms, index, changed, gone)
        return mapped


_Changes = dict[Any, tuple[Any, int]]


def _map_records(
    kernel: MapWithState, known: VersionedMap, new: Iterable[Any]
) -> tuple[_Changes, dict[Any, None], list[Any]]:
    function, timed = kernel.spec.mapping, kernel.spec.takes_time
    refreshes = kernel.spec.timeout_ms is not None
    changed: _Changes = {}
    gone: dict[Any, None] = {}
    mapped: list[Any] = []
    time_ms, previous_ms = kernel.time_ms, kernel.previous_ms
    for record in new:
        key, value = record
        kept = changed.get(key)
        if kept is None and key not in gone:
            kept = known.get(key, previous_ms)
        state = State() if kept is None else State(thaw_state(kept[0]))
        if timed:
            emitted = function(kernel.time, key, value, state)
            if emitted is not None:
                mapped.append(emitted)
        else:
            mapped.append(function(key, value, state))
        if state.is_removed:
            changed.pop(key, None)
            gone[key] = None
        elif state.is_updated or (refreshes and state.exists()):
            gone.pop(key, None)
            changed[key] = freeze_state(state.get()), time_ms
    return changed, gone, mapped


def _time_out(
    kernel: MapWithState,
    known: VersionedMap,
    changed: _Changes,
    gone: dict[Any, None],
    mapped: list[Any],
) -> None:
    """Call the function for keys that were idle too long, after the batch's records."""
    function, timed = kernel.spec.mapping, kernel.spec.takes_time
    assert kernel.idle_before_ms is not None, (
        "only called in batches that look for them"
    )
    for key in list(known.older_than(kernel.idle_before_ms, kernel.previous_ms)):
        if key in changed or key in gone:
            continue
        kept = known.get(key, kernel.previous_ms)
        assert kept is not None, "an old key has a state"
        state = State(thaw_state(kept[0]), is_timing_out=True)
        if timed:
            emitted = function(kernel.time, key, None, state)
            if emitted is not None:
                mapped.append(emitted)
        else:
            mapped.append(function(key, None, state))
        gone[key] = None


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
