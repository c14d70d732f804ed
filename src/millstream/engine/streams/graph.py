"""DStreamGraph: the streams of a context, from inputs to outputs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from millstream.engine.base.errors import (
    IllegalArgumentError,
    IllegalStateError,
    PySparkValueError,
)
from millstream.engine.streams.naming import in_order, name_operators
from millstream.engine.streams.operators import Operator, OutputOperator
from millstream.engine.streams.rdds import RddFactory
from millstream.engine.streams.stateful import KeyedStateOperator

if TYPE_CHECKING:
    from millstream.engine.streams.inputs import InputOperator


@dataclass(frozen=True, slots=True)
class OutputJob:
    """What one output operation does for one batch."""

    name: str
    description: str
    output: OutputOperator
    run: Callable[[], None]


class DStreamGraph:
    """All streams of one context. Grows until the start, then only produces jobs."""

    def __init__(
        self,
        batch_ms: int,
        rdds: RddFactory,
        *,
        unpersists: bool = True,
        has_checkpoint_dir: Callable[[], bool] = lambda: False,
    ) -> None:
        """Produce a batch every `batch_ms`.

        Raises:
            IllegalArgumentError: The duration isn't positive.
        """
        if batch_ms <= 0:
            msg = f"batch duration must be positive, but was {batch_ms} ms"
            raise IllegalArgumentError(msg, hint="use at least 0.001 seconds")
        self.batch_ms = batch_ms
        self.rdds = rdds
        self.unpersists = unpersists
        self.has_checkpoint_dir = has_checkpoint_dir
        self.inputs: list[InputOperator] = []
        self.outputs: list[OutputOperator] = []
        self.zero_ms: int | None = None
        self.known_ms: int | None = None
        """The newest batch that the checkpoint knew which a restart went on from, and -1
        without a restart; None if what batches read needn't be in a checkpoint."""
        self.remember_ms: int | None = None
        self.closed_because: str | None = None
        self.is_restored = False
        self.next_source_id = 0
        self.given_names: set[str] = set()

    def name(self, operator: Operator, name: str) -> None:
        """Call `operator` by `name`, whatever becomes of the program around it.

        Raises:
            PySparkValueError: Another stream has that name.
        """
        if name in self.given_names:
            msg = f"two streams are named '{name}'"
            raise PySparkValueError(msg, hint="give each stream a name of its own")
        self.given_names.add(name)
        operator.given_name = name

    def names(self) -> dict[Operator, str]:
        """Return the stable name of every stream that an output or input leads to."""
        return name_operators(self.inputs, self.outputs)

    def operators(self) -> list[Operator]:
        """Return every stream, parents before children."""
        return in_order(self.inputs, self.outputs)

    def keyed_states(self) -> list[KeyedStateOperator]:
        """Return the streams that keep state, parents before children."""
        return [o for o in self.operators() if isinstance(o, KeyedStateOperator)]

    def check_may_grow(self) -> None:
        """Refuse new streams after start or stop.

        Raises:
            IllegalStateError: The context has started or stopped.
        """
        if self.is_restored:
            msg = "a stream can't be added to a context restored from a checkpoint"
            raise IllegalStateError(
                msg,
                hint="build all streams inside the setup function of getOrCreate; to "
                "change them, restart with getOrCreate(..., upgrade='apply')",
            )
        if self.closed_because is not None:
            msg = (
                "Adding new inputs, transformations, and output operations after "
                f"{self.closed_because} a context is not supported"
            )
            raise IllegalStateError(
                msg, hint="build all streams before StreamingContext.start()"
            )

    def next_input_id(self) -> int:
        """Return the id of the next input stream: 0, 1, 2, ..."""
        self.next_source_id += 1
        return self.next_source_id - 1

    def skip_input_ids(self, last: int) -> None:
        """Let the next input's id come after `last`: those up to it are taken."""
        self.next_source_id = last + 1

    def remember(self, duration_ms: int) -> None:
        """Keep every stream's RDDs for `duration_ms` at least; once only.

        Raises:
            IllegalArgumentError: It was called before.
        """
        if self.remember_ms is not None:
            msg = (
                "requirement failed: Remember duration already set as "
                f"{self.remember_ms} ms. Cannot set it again."
            )
            raise IllegalArgumentError(msg)
        self.remember_ms = duration_ms

    def validate(self) -> None:
        """Refuse to start without outputs.

        Raises:
            IllegalArgumentError: There is no output operation.
        """
        if not self.outputs:
            msg = (
                "requirement failed: No output operations registered, so nothing to "
                "execute"
            )
            raise IllegalArgumentError(
                msg, hint="call pprint(), foreachRDD() or saveAsTextFiles() on a stream"
            )

    def start(self, zero_ms: int) -> None:
        """Fix the grid of batches: the first one is a batch after `zero_ms`."""
        if self.zero_ms is not None:
            msg = "requirement failed: DStream graph computation already started"
            raise IllegalArgumentError(msg)
        self.zero_ms = zero_ms
        self.known_ms = -1
        for output in self.outputs:
            output.initialize(zero_ms)
        for output in self.outputs:
            output.remember(self.remember_ms)
        for output in self.outputs:
            output.validate()
        for source in self.inputs:
            source.start()

    def restart(self, zero_ms: int, known_ms: int) -> None:
        """Go on on the grid of before a restart; streams that are new join it.

        `known_ms` is the newest batch that the checkpoint has.
        """
        self.zero_ms = zero_ms
        # A checkpoint that was written while batches ran again is of one of those.
        known = [each.newest_ms for each in self.inputs if each.newest_ms is not None]
        newest_ms = max(known_ms, *known) if known else known_ms
        self.known_ms = newest_ms if self.waits_for_checkpoints else None
        for output in self.outputs:
            output.initialize(zero_ms)
            output.remember(self.remember_ms)
            output.validate()
        for source in self.inputs:
            source.start()

    @property
    def waits_for_checkpoints(self) -> bool:
        """Whether no batch may run before a checkpoint has what it reads."""
        return any(source.has_position for source in self.inputs)

    def stop(self) -> None:
        """Stop the inputs and outputs."""
        for source in self.inputs:
            source.stop()
        for output in self.outputs:
            output.stop()

    def generate_jobs(self, time_ms: int) -> list[OutputJob]:
        """Return the jobs of a batch, in the order the outputs were made."""
        jobs = []
        for output in self.outputs:
            output.on_due(time_ms)
        for output in self.outputs:
            run = output.job_of(time_ms)
            if run is not None:
                site = output.call_site
                name = f"{output.name} at {_place(site)}"
                jobs.append(OutputJob(name, site, output, run))
        return jobs

    def clear_metadata(self, time_ms: int) -> None:
        """Forget what no batch after `time_ms` needs."""
        for operator in reversed(in_order((), self.outputs)):
            operator.clear_metadata(time_ms)

    def max_input_remember_ms(self) -> int:
        """Return how far back any input's data may be needed."""
        known = [each.remember_ms for each in self.inputs if each.remember_ms]
        return max(known, default=self.batch_ms)


def _place(site: str) -> str:
    return site.rsplit(" at ", 1)[-1]
