"""Stateful: the state of every key, carried from batch to batch and kept in a store."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from millstream.engine.base import driver_link
from millstream.engine.base.levels import StorageLevel
from millstream.engine.durable.state_store import StateStore, find_store
from millstream.engine.durable.state_values import freeze_state
from millstream.engine.plan.partitioners import Partitioner
from millstream.engine.streams.operators import Operator

if TYPE_CHECKING:
    from millstream.engine.streams.graph import DStreamGraph


@dataclass(frozen=True, slots=True)
class StageChanges:
    """How the kernel of a state update tells the store what changed. Picklable."""

    token: int
    version: int

    def __call__(
        self,
        partition: int,
        changed: Iterable[tuple[Any, Any]],
        gone: Iterable[Any],
        key_count: int,
    ) -> None:
        """Stage the pairs that changed and the keys that went, and tell how many there are."""
        puts = {key: freeze_state(state) for key, state in changed}
        if driver_link.is_worker():
            driver_link.tell(_TOPIC, (self, partition, puts, list(gone), key_count))
        else:
            self.stage(partition, puts, gone, key_count)

    def stage(
        self,
        partition: int,
        puts: Mapping[Any, Any],
        gone: Iterable[Any],
        key_count: int,
    ) -> None:
        """Stage frozen states; in the process that has the store."""
        find_store(self.token).stage(
            self.version, partition, puts, gone, key_count=key_count
        )


_TOPIC = "state"


def _hear(news: "tuple[StageChanges, int, Mapping[Any, Any], list[Any], int]") -> None:
    changes, partition, puts, gone, key_count = news
    changes.stage(partition, puts, gone, key_count)


driver_link.hear(_TOPIC, _hear)


class KeyedStateOperator(Operator):
    """A stream that carries a state for each key; the base of both kinds.

    `generated` holds the RDDs of batches of which the state isn't yet in the store. A
    batch that is asked for again after a restart begins from the version before it.
    """

    must_checkpoint = True
    keeps_state = True

    def __init__(
        self,
        graph: "DStreamGraph",
        parent: Operator,
        place: Partitioner,
        initial: Any = None,
    ) -> None:
        """Start from `initial`, an RDD of pairs, or from nothing."""
        super().__init__(graph, (parent,), parent.slide_ms)
        self.level = StorageLevel.MEMORY_ONLY
        self.place = place
        self.initial = initial
        self.has_initial = initial is not None
        self.store: StateStore | None = None

    def __getstate__(self) -> dict[str, Any]:
        # The initial state is in the store from the start on.
        return {**super().__getstate__(), "store": None, "initial": None}

    @property
    def is_placed(self) -> bool:
        """Whether each key's state is in the partition that `place` says."""
        return True

    @property
    def looks_for_idle(self) -> bool:
        """Whether it asks for keys that nothing has touched for long."""
        return False

    def is_time_valid(self, time_ms: int) -> bool:
        """Say whether there is a batch at `time_ms`: none before the state began.

        A state that a changed program added begins long after the grid does.
        """
        has_begun = self.store is None or time_ms > self.store.begin
        return has_begun and super().is_time_valid(time_ms)

    @property
    def states(self) -> StateStore:
        """The store, which the start has opened."""
        assert self.store is not None, "the store is opened before the first batch"
        return self.store

    def partition_of(self, key: Any) -> int:
        """Return where the store has a key's state."""
        return self.place.partition_of(key) if self.is_placed else 0

    def keep_initial(self) -> None:
        """Put the initial state into the store, as the version before the first batch."""
        if self.initial is None:
            return
        placed: dict[int, dict[Any, Any]] = {}
        first_ms = self.states.begin + self.slide_ms
        for key, state in self.initial.collect():
            part = placed.setdefault(self.partition_of(key), {})
            part.setdefault(key, freeze_state(state))
        for partition, puts in placed.items():
            self.states.stage(self.states.begin, partition, puts, (), stamp=first_ms)
        self.states.commit(self.states.begin)

    @property
    def resident_rdd(self) -> Any:
        """The RDD that keeps the newest batch's state in memory, if an RDD does."""
        return None

    def before(self, time_ms: int) -> Any:
        """Return the state RDD of the batch before, made or read; None if there is none.

        After a restart that may be several batches back: those between are made first,
        oldest first, so that no recursion gets deep.
        """
        previous = time_ms - self.slide_ms
        made = self.generated.get(previous)
        if made is not None:
            return made
        files = self.states.files
        if files.has(previous):
            return self.stored(previous)
        known = [t for t in (*self.generated, *files.versions) if t < previous]
        start = max(known, default=self.states.begin)
        for missing in range(start + self.slide_ms, previous, self.slide_ms):
            self.get_or_compute(missing)
        made = self.get_or_compute(previous)
        if made is None and files.has(self.states.begin):
            return self.stored(self.states.begin)
        return made

    @property
    def has_begun(self) -> bool:
        """Whether any batch had state: else there is the initial one at most."""
        latest = self.states.files.latest
        return bool(self.generated) or (
            latest is not None and latest > self.states.begin
        )

    def stored(self, version: int) -> Any:
        """Return the state RDD of a committed version; none of the first one's absence."""
        return self.graph.rdds.from_state(self.states, version, self.place)

    def mark_for_checkpoint(self, rdd: Any) -> None:
        """Do nothing: every version goes into the store, which cuts the lineage."""

    def uncommitted(self, up_to_ms: int) -> list[int]:
        """Return the versions up to `up_to_ms` that have an RDD but aren't committed."""
        files = self.states.files
        return [t for t in sorted(self.generated) if t <= up_to_ms and not files.has(t)]

    def stage_missing(self, version: int) -> None:
        """Compute what no job of the batch has computed, for its changes."""
        raise NotImplementedError

    def after_commit(self, version: int) -> None:
        """Cut the lineage of a version's RDD, which the store can read now."""


class StateOperator(KeyedStateOperator):
    """The state RDD of updateStateByKey.

    `update(time, previous state or None, batch's pairs, stage)` returns the next state
    RDD; its kernel calls `stage`, when there is one, with what changed.
    """

    kind = "updateStateByKey"

    def __init__(
        self,
        graph: "DStreamGraph",
        parent: Operator,
        place: Partitioner,
        update: Callable[[int, Any, Any, StageChanges | None], Any],
        initial: Any = None,
        *,
        is_placed: bool = True,
    ) -> None:
        """Start from `initial`, an RDD of pairs, or from nothing.

        Without `is_placed` keys aren't where `place` says: functions may change them.
        """
        super().__init__(graph, parent, place, initial)
        self._update = update
        self._is_placed = is_placed
        self.unchanged: set[int] = set()
        """Batches that carried the state of the batch before over."""
        self._whole: dict[Any, Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "unchanged": set(), "_whole": None}

    @property
    def is_placed(self) -> bool:
        """Whether each key's state is in the partition that `place` says."""
        return self._is_placed

    @property
    def resident_rdd(self) -> Any:
        """The RDD that keeps the newest batch's state in memory; None before the first."""
        made = list(self.generated.items())  # At once: the next batch adds to them.
        return max(made, key=itemgetter(0))[1] if made else None

    def compute(self, time_ms: int) -> Any:
        """Return the next state; the old one when the batch has no RDD at all."""
        (parent,) = self.parents
        before = self.before(time_ms)
        new = parent.get_or_compute(time_ms)
        if new is None:
            if not self.has_begun:
                return None
            self.unchanged.add(time_ms)
            return before
        stage = StageChanges(self.states.token, time_ms) if self.is_placed else None
        return self._update(time_ms, before, new, stage)

    def stored(self, version: int) -> Any:
        """Return the state RDD of a committed version; placed only where keys are."""
        made = super().stored(version)
        return made if self.is_placed else self.graph.rdds.unplaced(made)

    def stage_missing(self, version: int) -> None:
        """Compute what no job of the batch has computed, for its changes."""
        if version in self.unchanged:
            return
        rdd = self.generated[version]
        if self.is_placed:
            self.graph.rdds.touch(rdd, self.states.missing(version))
        else:
            self._stage_whole(version, rdd)

    def _stage_whole(self, version: int, rdd: Any) -> None:
        if self.states.is_staged(version, 0):
            return  # By a batch before, whose commit waits: it isn't the last state now.
        # Its function may have moved keys between partitions: compare the whole.
        if self._whole is None:
            self._whole = {
                key: freeze_state(state) for key, state in self.states.items()
            }
        whole = dict(rdd.collect())
        known = {key: freeze_state(state) for key, state in whole.items()}
        before, self._whole = self._whole, known
        puts = {
            key: state
            for key, state in known.items()
            if key not in before
            or type(before[key]) is not type(state)
            or before[key] != state
        }
        gone = [key for key in before if key not in known]
        self.states.stage(version, 0, puts, gone, key_count=len(known))

    def after_commit(self, version: int) -> None:
        """Let the RDD read from the store what memory no longer has."""
        rdd = self.generated.get(version)
        if rdd is not None and version not in self.unchanged:
            self.graph.rdds.read_from_state(rdd, self.states, version)
        self.unchanged = {t for t in self.unchanged if t in self.generated}
