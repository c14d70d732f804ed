"""Windows: RDDs over the last so many batches, anew or step by step."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from millstream.engine.base.errors import PySparkValueError
from millstream.engine.base.levels import StorageLevel
from millstream.engine.streams.operators import Operator

if TYPE_CHECKING:
    from millstream.engine.streams.graph import DStreamGraph

# PySpark subtracts what leaves only from windows of at least so many slides; smaller ones
# are cheaper to reduce anew (and drop keys that are gone).
_SLIDES_FOR_INVERSE = 5


def check_window(parent: Operator, window_ms: int, slide_ms: int | None) -> int:
    """Return the slide of a window on `parent`; the parent's when none is given.

    Raises:
        ValueError: A duration isn't a positive multiple of the parent's slide.
    """
    of = f"multiple of the parent dstream's slide (batch) duration ({parent.slide_ms} ms)"
    slide = parent.slide_ms if slide_ms is None else slide_ms
    for name, value in (("windowDuration", window_ms), ("slideDuration", slide)):
        if value <= 0 or value % parent.slide_ms:
            msg = f"{name} must be {of}"
            raise PySparkValueError(msg, hint=f"it was {value} ms")
    return slide


class WindowedOperator(Operator):
    """The union of the parent's RDDs in the window."""

    kind = "window"

    def __init__(
        self, graph: "DStreamGraph", parent: Operator, window_ms: int, slide_ms: int
    ) -> None:
        """Cover `window_ms` every `slide_ms`; the parent's RDDs are kept for it."""
        super().__init__(graph, (parent,), slide_ms)
        self.window_ms = window_ms
        parent.persist(StorageLevel.MEMORY_ONLY)

    @property
    def parent_remember_ms(self) -> int | None:
        """What is remembered itself, and a window more."""
        return None if self.remember_ms is None else self.remember_ms + self.window_ms

    def persist(self, level: StorageLevel) -> None:
        """Keep the parent's RDDs, of which the window is made."""
        self.parents[0].persist(level)

    def compute(self, time_ms: int) -> Any:
        """Return the union; of no RDDs it is an empty one."""
        (parent,) = self.parents
        rdds = parent.slice(time_ms - self.window_ms + parent.slide_ms, time_ms)
        return self.graph.rdds.union(rdds)


class ReducedWindowOperator(Operator):
    """Keyed values reduced over the window; incrementally where an inverse is given.

    The parent's RDDs must be reduced by key already. `reduce(RDDs)` returns one reduced
    RDD; `subtract(whole, part)` takes a part away; `keep` filters the result.
    """

    must_checkpoint = True
    kind = "reduceByKeyAndWindow"

    def __init__(
        self,
        graph: "DStreamGraph",
        parent: Operator,
        window_ms: int,
        slide_ms: int,
        *,
        reduce: Callable[[list[Any]], Any],
        subtract: Callable[[Any, Any], Any],
        keep: Callable[[Any], Any],
    ) -> None:
        """Cover `window_ms` every `slide_ms`.

        Raises:
            ValueError: The slide is longer than the window: what falls between windows
                could never be subtracted.
        """
        if slide_ms > window_ms:
            msg = (
                f"slideDuration ({slide_ms} ms) must not be longer than windowDuration "
                f"({window_ms} ms) when an inverse function is given"
            )
            raise PySparkValueError(msg, hint="pass None as the inverse function")
        super().__init__(graph, (parent,), slide_ms)
        self.window_ms = window_ms
        self.level = StorageLevel.MEMORY_ONLY
        self._reduce, self._subtract, self._keep = reduce, subtract, keep
        parent.persist(StorageLevel.MEMORY_ONLY)

    @property
    def parent_remember_ms(self) -> int | None:
        """What is remembered itself, and a window more."""
        return None if self.remember_ms is None else self.remember_ms + self.window_ms

    def compute(self, time_ms: int) -> Any:
        """Return the reduced window; None while no batch in it has an RDD."""
        (parent,) = self.parents
        window, slide, step = self.window_ms, self.slide_ms, parent.slide_ms
        before = None
        if window >= _SLIDES_FOR_INVERSE * slide:
            before = self._made(time_ms - slide)
        if before is None:
            rdds = parent.slice(time_ms - window + step, time_ms)
            return self._keep(self._reduce(rdds)) if rdds else None
        leaving = parent.slice(time_ms - slide - window + step, time_ms - window)
        rest = self._subtract(before, self._one(leaving)) if leaving else before
        entering = parent.slice(time_ms - slide + step, time_ms)
        if not entering:
            return rest
        return self._keep(self._reduce([rest, self._one(entering)]))

    def _one(self, rdds: list[Any]) -> Any:
        return rdds[0] if len(rdds) == 1 else self._reduce(rdds)  # One is reduced.

    def _made(self, time_ms: int) -> Any:
        """Return the window of a batch if it was made, or checkpointed before a restart.

        It isn't computed: a chain of windows back to the last checkpoint could be long, and
        reducing this window anew gives the same values.
        """
        if time_ms in self.generated or time_ms in self.checkpoint_files:
            return self.get_or_compute(time_ms)
        return None
