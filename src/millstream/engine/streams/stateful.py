"""Stateful: the state of every key, carried from batch to batch."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from millstream.engine.base.levels import StorageLevel
from millstream.engine.streams.operators import Operator

if TYPE_CHECKING:
    from millstream.engine.streams.graph import DStreamGraph


class StateOperator(Operator):
    """The state RDD of updateStateByKey.

    `update(time, previous state or None, batch's pairs, is initial)` returns the next
    state RDD.
    """

    must_checkpoint = True

    def __init__(
        self,
        graph: "DStreamGraph",
        parent: Operator,
        update: Callable[[int, Any, Any, bool], Any],
        initial: Any = None,
    ) -> None:
        """Start from `initial`, an RDD of pairs, or from nothing."""
        super().__init__(graph, (parent,), parent.slide_ms)
        self.level = StorageLevel.MEMORY_ONLY
        self._update = update
        self._initial = initial

    def compute(self, time_ms: int) -> Any:
        """Return the next state; the old one when the batch has no RDD at all."""
        (parent,) = self.parents
        before = self.get_or_compute(time_ms - self.slide_ms)
        new = parent.get_or_compute(time_ms)
        if new is None:
            return before
        if before is None:
            return self._update(time_ms, self._initial, new, True)
        return self._update(time_ms, before, new, False)
