"""Operators: a DStream as the engine sees it: one RDD a batch, made when asked for."""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from millstream.engine.base.call_site import on_behalf_of, user_call_site
from millstream.engine.base.errors import (
    IllegalArgumentError,
    SparkError,
    UnsupportedOperationError,
)
from millstream.engine.base.levels import StorageLevel

if TYPE_CHECKING:
    from millstream.engine.streams.graph import DStreamGraph

_log = logging.getLogger(__name__)

_CHECKPOINT_MS = 10_000
_generating = threading.local()


def generating_ms() -> int | None:
    """Return the batch that a function of this thread makes an RDD for; None: none."""
    time_ms: int | None = getattr(_generating, "time_ms", None)
    return time_ms


class Operator:
    """One node of the graph. Used by the generator's thread only, once started.

    A subclass says what it depends on and how it makes the RDD of a batch.
    """

    must_checkpoint = False
    keeps_state = False
    kind = "Operator"

    def __init__(
        self, graph: "DStreamGraph", parents: Sequence["Operator"], slide_ms: int
    ) -> None:
        """Join `graph`; produce an RDD every `slide_ms`."""
        self.graph = graph
        self.given_name: str | None = None
        self.parents = tuple(parents)
        self.slide_ms = slide_ms
        self.call_site = user_call_site()
        self.generated: dict[int, Any] = {}
        self.zero_ms: int | None = None
        self.remember_ms: int | None = None
        self.level = StorageLevel.NONE
        self.checkpoint_ms: int | None = None
        self.checkpoint_files: dict[int, str] = {}
        """Where RDDs were checkpointed, by time; what a restart begins from."""
        self._own_rdds: set[int] = set()
        graph.check_may_grow()

    def __getstate__(self) -> dict[str, Any]:
        # For checkpoints: RDDs don't outlive the process.
        return {**self.__dict__, "generated": {}, "_own_rdds": set()}

    def compute(self, time_ms: int) -> Any:
        """Return the RDD of the batch at `time_ms`, or None."""
        raise NotImplementedError

    @property
    def identity(self) -> str:
        """What a stream without parents reads, for its name."""
        return self.kind

    @property
    def parent_remember_ms(self) -> int | None:
        """How long parents must remember for this operator's sake."""
        return self.remember_ms

    @property
    def is_initialized(self) -> bool:
        """Whether the graph has started with this operator in it."""
        return self.zero_ms is not None

    # Before the start.

    def persist(self, level: StorageLevel) -> None:
        """Keep the RDDs of this stream at `level`."""
        if self.is_initialized:
            msg = (
                "Cannot change storage level of a DStream after streaming context has "
                "started"
            )
            raise UnsupportedOperationError(msg)
        self.level = level

    def checkpoint(self, interval_ms: int) -> None:
        """Checkpoint the stream's RDDs every `interval_ms`; keeps them too."""
        if self.is_initialized:
            msg = (
                "Cannot change checkpoint interval of a DStream after streaming context "
                "has started"
            )
            raise UnsupportedOperationError(msg)
        self.persist(StorageLevel.MEMORY_ONLY)
        self.checkpoint_ms = interval_ms

    def initialize(self, zero_ms: int) -> None:
        """Take over the zero time, with all parents first asked to."""
        if self.zero_ms is not None:
            if self.zero_ms != zero_ms:
                msg = f"ZeroTime is already initialized to {self.zero_ms} ms"
                raise SparkError(msg)
            return
        self.zero_ms = zero_ms
        if self.must_checkpoint and self.checkpoint_ms is None:
            self.checkpoint_ms = self.default_checkpoint_ms()
        least = self.slide_ms
        if self.checkpoint_ms is not None and self.checkpoint_ms >= self.slide_ms:
            least = 2 * self.checkpoint_ms
        if self.remember_ms is None or self.remember_ms < least:
            self.remember_ms = least
        for parent in self.parents:
            parent.initialize(zero_ms)

    def default_checkpoint_ms(self) -> int:
        """Return the smallest multiple of the slide of at least 10 s."""
        return self.slide_ms * -(-_CHECKPOINT_MS // self.slide_ms)

    def remember(self, duration_ms: int | None) -> None:
        """Keep RDDs for `duration_ms` at least, and pass on what parents must keep."""
        if duration_ms is not None and (
            self.remember_ms is None or duration_ms > self.remember_ms
        ):
            self.remember_ms = duration_ms
        for parent in self.parents:
            parent.remember(self.parent_remember_ms)

    def validate(self) -> None:
        """Refuse intervals and levels that can't work.

        Raises:
            IllegalArgumentError: Which rule is broken, and of which stream.
        """
        interval = self.checkpoint_ms
        self._require(self.remember_ms is not None, "Remember duration is set to null")
        self._require(
            not self.must_checkpoint or interval is not None,
            f"The checkpoint interval for {self.label} has not been set. Please use "
            "DStream.checkpoint() to set the interval.",
        )
        if interval is not None:
            self._validate_checkpoint(interval)
        for parent in self.parents:
            parent.validate()

    def _validate_checkpoint(self, interval: int) -> None:
        slide, remember = self.slide_ms, self.remember_ms or 0
        self._require(
            self.graph.has_checkpoint_dir(),
            "The checkpoint directory has not been set. Please set it by "
            "StreamingContext.checkpoint().",
        )
        self._require(
            interval >= slide,
            f"The checkpoint interval for {self.label} has been set to {interval} ms "
            f"which is lower than its slide time ({slide} ms). Please set it to at "
            f"least {slide} ms.",
        )
        self._require(
            interval % slide == 0,
            f"The checkpoint interval for {self.label} has been set to {interval} ms "
            f"which not a multiple of its slide time ({slide} ms). Please set it to a "
            f"multiple of {slide} ms.",
        )
        self._require(
            self.level != StorageLevel.NONE,
            f"{self.label} has been marked for checkpointing but the storage level has "
            "not been set to enable persisting. Please use DStream.persist().",
        )
        self._require(
            remember > interval,
            f"The remember duration for {self.label} has been set to {remember} ms "
            f"which is not more than the checkpoint interval ({interval} ms).",
        )

    def _require(self, condition: bool, message: str) -> None:
        if not condition:
            msg = f"requirement failed: {message}"
            raise IllegalArgumentError(msg, hint=f"made by {self.call_site}")

    @property
    def label(self) -> str:
        """What errors call this stream."""
        return f"{type(self).__name__} ({self.call_site})"

    # Batches.

    def is_time_valid(self, time_ms: int) -> bool:
        """Say whether this stream has an RDD at `time_ms` at all.

        Raises:
            SparkError: The graph hasn't started with this stream in it.
        """
        if self.zero_ms is None:
            msg = f"{self.label} has not been initialized"
            raise SparkError(
                msg, hint="call start() first; build all streams before it"
            )
        since = time_ms - self.zero_ms
        return since > 0 and since % self.slide_ms == 0

    def get_or_compute(self, time_ms: int) -> Any:
        """Return the RDD of a batch: the one made before, or a new one; or None."""
        made = self.generated.get(time_ms)
        if made is not None:
            return made
        if not self.is_time_valid(time_ms):
            return None
        with on_behalf_of(self.call_site):
            made = self._restored(time_ms)
            if made is None:
                made = self.compute(time_ms)
        if made is None:
            return None
        if self.level != StorageLevel.NONE and not made.is_cached:
            made.persist(self.level)
            self._own_rdds.add(made.id())
        assert self.zero_ms is not None, "an initialized stream has a zero time"
        if self.is_checkpoint_time(time_ms) and time_ms not in self.checkpoint_files:
            self.mark_for_checkpoint(made)
        self.generated[time_ms] = made
        return made

    def is_checkpoint_time(self, time_ms: int) -> bool:
        """Say whether the RDD of this batch is one that is checkpointed."""
        assert self.zero_ms is not None, "an initialized stream has a zero time"
        every = self.checkpoint_ms
        return every is not None and (time_ms - self.zero_ms) % every == 0

    def mark_for_checkpoint(self, rdd: Any) -> None:
        """See to it that `rdd` outlives its lineage."""
        rdd.checkpoint()

    def _restored(self, time_ms: int) -> Any:
        """Return the RDD that was checkpointed before a restart, if one was."""
        uri = self.checkpoint_files.get(time_ms)
        return None if uri is None else self.graph.rdds.from_checkpoint(uri)

    def update_checkpoint_files(self) -> None:
        """Note which of the remembered RDDs are in files now."""
        if self.checkpoint_ms is None:
            return
        for time_ms, rdd in self.generated.items():
            uri = rdd.getCheckpointFile()
            if uri is not None:
                self.checkpoint_files[time_ms] = uri

    def clear_checkpoint_files(self, oldest_ms: int) -> list[str]:
        """Forget files of RDDs before `oldest_ms` that a newer one makes useless."""
        newest = max((t for t in self.checkpoint_files if t <= oldest_ms), default=None)
        if newest is None:
            return []
        return [
            self.checkpoint_files.pop(time_ms)
            for time_ms in sorted(self.checkpoint_files)
            if time_ms < newest
        ]

    def slice(self, from_ms: int, to_ms: int) -> list[Any]:
        """Return the RDDs from one time to another, both included; both are floored.

        Raises:
            SparkError: The graph hasn't started.
        """
        if self.zero_ms is None:
            msg = f"{self.label} has not been initialized"
            raise SparkError(msg, hint="call start() before slice()")
        begin, end = self._aligned(from_ms), self._aligned(to_ms)
        times = range(begin, end + 1, self.slide_ms)
        made = [self.get_or_compute(t) for t in times if t >= self.zero_ms]
        return [rdd for rdd in made if rdd is not None]

    def _aligned(self, time_ms: int) -> int:
        assert self.zero_ms is not None, "an initialized stream has a zero time"
        apart = time_ms - self.zero_ms
        steps = abs(apart) // self.slide_ms * (1 if apart >= 0 else -1)
        aligned = self.zero_ms + steps * self.slide_ms
        if aligned != time_ms:
            _log.warning(
                "slice time isn't a multiple of the slide time=%d slide_ms=%d taken=%d",
                time_ms,
                self.slide_ms,
                aligned,
            )
        return aligned

    def clear_metadata(self, time_ms: int) -> None:
        """Forget RDDs of times up to `time_ms` less what must be remembered."""
        if self.remember_ms is None:
            return
        oldest = time_ms - self.remember_ms
        for old in [t for t in self.generated if t <= oldest]:
            rdd = self.generated.pop(old)
            is_held = any(kept is rdd for kept in self.generated.values())
            if self.graph.unpersists and not is_held:
                self._drop(rdd)

    def _drop(self, rdd: Any) -> None:
        # Only what this stream itself keeps: a source may return one RDD for every batch.
        if rdd.id() in self._own_rdds:
            self._own_rdds.discard(rdd.id())
            rdd.unpersist()
        self.on_dropped(rdd)

    def on_dropped(self, rdd: Any) -> None:
        """Give up what belongs to an RDD that was forgotten; for subclasses."""


class TransformedOperator(Operator):
    """Whatever a function makes of the parents' RDDs, on the driver, every batch."""

    what = "transform"

    @property
    def kind(self) -> str:  # type: ignore[override]
        """What the plan of an upgrade calls it."""
        return self.what

    def __init__(
        self,
        graph: "DStreamGraph",
        parents: Sequence[Operator],
        function: Callable[[int, list[Any]], Any],
        *,
        skips_none: bool = True,
        what: str = "transform",
    ) -> None:
        """Call `function(time, RDDs)`; parents' None skips the batch, or is an error."""
        super().__init__(graph, parents, parents[0].slide_ms)
        self.function = function
        self.skips_none = skips_none
        self.what = what

    def compute(self, time_ms: int) -> Any:
        """Return what the function returns; None is no RDD."""
        rdds = [parent.get_or_compute(time_ms) for parent in self.parents]
        if any(rdd is None for rdd in rdds):
            if self.skips_none:
                return None
            msg = f"Couldn't generate RDD from parent at time {time_ms} ms"
            raise SparkError(msg, hint=f"of {self.what} at {self.call_site}")
        before = generating_ms()
        _generating.time_ms = time_ms
        try:
            return self.function(time_ms, rdds)
        finally:
            _generating.time_ms = before

    @property
    def label(self) -> str:
        """What errors call this stream."""
        return f"{self.what} ({self.call_site})"


class UnionOperator(Operator):
    """The records of all parents; one that has no RDD counts as empty."""

    kind = "union"

    def compute(self, time_ms: int) -> Any:
        """Return the union of what the parents have."""
        rdds = [parent.get_or_compute(time_ms) for parent in self.parents]
        return self.graph.rdds.union([rdd for rdd in rdds if rdd is not None])


class OutputOperator(Operator):
    """An output operation: a function run on the driver for each batch's RDD."""

    @property
    def kind(self) -> str:  # type: ignore[override]
        """What the plan of an upgrade calls it."""
        return self.name

    def __init__(
        self,
        graph: "DStreamGraph",
        parent: Operator,
        function: Callable[[int, Any], None],
        name: str,
    ) -> None:
        """Call `function(time, RDD)` in the job of each batch that has an RDD."""
        super().__init__(graph, (parent,), parent.slide_ms)
        self.function = function
        self.name = name

    def compute(self, time_ms: int) -> Any:
        """Return None: an output makes no RDD."""
        del time_ms

    def on_due(self, time_ms: int) -> None:
        """Hear that a batch is to be generated, before it is known whether it can be."""

    def take_recovered(self) -> list[int]:
        """Return batches that had failed, and that a later batch's job has made good."""
        return []

    def stop(self) -> None:
        """End, after the last batch."""

    def job_of(self, time_ms: int) -> Callable[[], None] | None:
        """Return what to run for this batch, or None when the parent has no RDD."""
        rdd = self.parents[0].get_or_compute(time_ms)
        if rdd is None:
            return None
        return lambda: self.function(time_ms, rdd)
