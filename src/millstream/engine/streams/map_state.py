"""mapWithState: a function called once a record, with the state of the record's key.

What a batch costs depends on its records, not on how many keys there are: state stays in
a map that each batch changes in place, with what it replaced kept aside for a while.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, ClassVar

from millstream.engine.base.errors import PySparkTypeError
from millstream.engine.columnar.blocks import Columns, rows_of
from millstream.engine.columnar.execution import Columnar, Mode, verify
from millstream.engine.columnar.reports import StageReport
from millstream.engine.durable.state_store import (
    PartitionChanges,
    StateStore,
    find_store,
)
from millstream.engine.durable.state_table import ABSENT
from millstream.engine.durable.state_values import ATOMS, freeze_state, thaw_state
from millstream.engine.plan.fusion import mark_record
from millstream.engine.plan.partitioners import Partitioner
from millstream.engine.streams.operators import Operator
from millstream.engine.streams.state_spec import State, StateSpec
from millstream.engine.streams.stateful import KeyedStateOperator

if TYPE_CHECKING:
    from millstream.engine.columnar.mapping_states import Mapped
    from millstream.engine.durable.state_map import VersionedMap
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

    takes_pieces: ClassVar[bool] = True

    def of_pieces(
        self,
        index: int,
        parents: Sequence[Iterator[Columns | Iterable[Any]]],
        columnar: Columnar,
        report: StageReport,
        node: int,
    ) -> "Sequence[Columns | list[Any]]":
        """Return the mapped records: by columns, if that can be, else as rows."""
        before, new = parents
        for piece in before:
            if isinstance(piece, Iterator):
                deque(piece, 0)
        pieces, rest = _worked_out(new)
        store: StateStore = find_store(self.token)
        known = store.map_as_of(self.previous_ms, index)
        made: list[Columns] = []
        mapped: list[Any] = []
        with store.changing(self.time_ms, index, known) as changes:
            found = (
                "steps before it take rows"
                if rest is not None
                else _by_columns(self, changes, pieces, columnar)
            )
            if isinstance(found, str):
                report.note(node, "mapWithState", "rows", found)
                there = chain.from_iterable(map(rows_of, pieces))
                mapped = _map_records(self, changes, chain(there, rest or ()))
            else:
                report.note(node, "mapWithState", "columns", "")
                for each in found.written:
                    changes.add(_kept(each.keys, each.states))
                made.append(found.records)
            if self.idle_before_ms is not None:
                _time_out(self, changes, mapped)
        return [*made, mapped]

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


def _worked_out(
    new: Iterator[Columns | Iterable[Any]],
) -> tuple[list[Columns | Sequence[Any]], Iterator[Any] | None]:
    """Return what there is already, and the rest if it is to be worked out row by row.

    That is left for the row path: this batch's function may raise before it does.
    """
    pieces: list[Columns | Sequence[Any]] = []
    for piece in new:
        if not isinstance(piece, Columns | Sequence):
            return pieces, chain(piece, chain.from_iterable(map(rows_of, new)))
        pieces.append(piece)
    return pieces, None


def _by_columns(
    kernel: MapWithState,
    changes: PartitionChanges,
    pieces: Sequence[Columns | Sequence[Any]],
    columnar: Columnar,
) -> "Mapped | str":
    """Return what becomes of records and state, or why the row path must do it."""
    count = sum(e.count if isinstance(e, Columns) else len(e) for e in pieces)
    if not count:
        return "nothing came"
    if not columnar.is_worth_it(count):
        return f"fewer than {columnar.rows_min} records"
    there = sum(each.count for each in pieces if isinstance(each, Columns))
    if columnar.rows_min and 2 * there < count:
        # Making columns of objects would take longer than to map them.
        return "the records are Python objects"
    from millstream.engine.columnar import mapping_states, state_runs  # noqa: PLC0415

    found = mapping_states.mapped(
        pieces,
        state_runs.Kernel(
            kernel.spec.mapping,
            _Rows(kernel),
            kernel.time if kernel.spec.takes_time else None,
            takes_time=kernel.spec.takes_time,
            refreshes=kernel.spec.timeout_ms is not None,
            part_records=_PART_RECORDS,
            partition=changes.partition,
        ),
        lambda keys: _thawed(changes.known, keys, kernel.previous_ms),
        columnar.pipeline,
        tries_always=columnar.rows_min == 0,
    )
    if columnar.mode is Mode.VERIFY and not isinstance(found, str):
        _verify(kernel, changes, pieces, found)
    return found


def _thawed(known: "VersionedMap", keys: list[Any], version: int) -> list[Any]:
    from millstream.engine.columnar.state_runs import NO_STATE  # noqa: PLC0415

    # Atoms, which most states are, without a call.
    return [
        NO_STATE
        if kept is ABSENT
        else kept
        if type(kept) in ATOMS
        else thaw_state(kept)
        for kept in known.get_all(keys, version)
    ]


def _kept(keys: list[Any], states: list[Any]) -> dict[Any, Any]:
    from millstream.engine.columnar.state_runs import NO_STATE  # noqa: PLC0415

    return {
        key: state
        if type(state) in ATOMS
        else ABSENT
        if state is NO_STATE
        else freeze_state(state)
        for key, state in zip(keys, states, strict=True)
    }


@dataclass(frozen=True, slots=True)
class _Rows:
    """What one record leaves, by the function itself; for a few, to see how it works."""

    kernel: MapWithState

    def __call__(self, key: Any, value: Any, before: Any) -> Any:
        """Return the state after it."""
        from millstream.engine.columnar.state_runs import NO_STATE  # noqa: PLC0415

        spec = self.kernel.spec
        state = State() if before is NO_STATE else State(before)
        first = (self.kernel.time,) if spec.takes_time else ()
        spec.mapping(*first, key, value, state)
        return state.get() if state.exists() else NO_STATE


def _verify(
    kernel: MapWithState,
    changes: PartitionChanges,
    pieces: Sequence[Columns | Sequence[Any]],
    found: "Mapped",
) -> None:
    """Compare with what rows give.

    Raises:
        DifferenceError: They differ.
    """
    apart = changes.apart()
    rows = chain.from_iterable(map(rows_of, pieces))
    verify(found.records.thaw(), _map_records(kernel, apart, rows), "mapWithState")
    written: dict[Any, Any] = {}
    for each in found.written:
        written.update(_kept(each.keys, each.states))
    verify(_told(written), _told(apart.changed), "mapWithState, changes")


def _told(changed: dict[Any, Any]) -> list[tuple[Any, Any]]:
    return [(key, thaw_state(kept)) for key, kept in changed.items()]


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

    is_bound: ClassVar[bool] = True
    """It can be read in the process that has the store only."""
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
