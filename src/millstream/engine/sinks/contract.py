"""Sink: where a stream's batches are committed, each exactly once.

What makes it so: whatever a sink commits, it commits together with a mark, the batch's
time, which only rises; what is at or below the mark is there already. Batches come in
order, and a batch that comes again has the same records in the same partitions. And a run of
the program has a number, which only rises, too: what an older run still tries to write,
a process that was thought dead, is refused.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from millstream.engine.base.errors import IllegalStateError, SparkError
from millstream.engine.sinks.records import Records

T_contra = TypeVar("T_contra", contravariant=True)


@dataclass(frozen=True, slots=True)
class SinkBatch:
    """A batch that is committed."""

    output: str
    """Whose mark it has: the application's name and the output's, `app.name`."""
    time_ms: int
    """The batch's time, ms since the epoch: its mark."""
    partitions: int
    """How many partitions it has, from 0."""
    run: int
    """The number of the program's run; see `Opening`."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What a sink knows of an output when a run begins."""

    run: int
    """The number of the run, higher than any before: no older one can commit any more."""
    newest_ms: int | None
    """The newest batch that is committed, wholly or in part; None: there is none."""


class StaleRunError(SparkError):
    """A newer run of the program has taken over the output: this one must end."""


class Sink(ABC, Generic[T_contra]):
    """Subclass it, and override `write` and what else it needs.

    Two kinds are common. One commits each partition by itself, with a mark for each, in
    `write`, and says in `begin` which ones are there. The other writes in `write` what
    nobody sees yet, and commits the batch as one in `commit`.

    The sink is pickled, into checkpoints and tasks: keep what it takes to connect, not
    connections; what connects keeps those for a process, by their settings.
    """

    @property
    def identity(self) -> str:
        """Where it writes, without any secret, for errors and pages."""
        return type(self).__name__

    def open(self, output: str, run: int) -> Opening:
        """Begin a run: keep its number, so that older ones are refused.

        On the driver, before the first batch. `run` is the time, in ms: where a higher
        number is known already, take that plus one.

        Raises:
            OSError: The sink can't be reached; the batch fails, and it is tried again.
        """
        del output
        return Opening(run, None)

    def begin(self, batch: SinkBatch) -> Collection[int]:
        """Return the partitions that are committed already; on the driver.

        Raises:
            StaleRunError: A newer run has taken over.
            PartitionsChangedError: Part of the batch was committed with another number of
                partitions.
        """
        del batch
        return ()

    @abstractmethod
    def write(
        self, batch: SinkBatch, partition: int, records: Records[T_contra]
    ) -> Any:
        """Write one partition, in a task; return what `commit` is to know of it.

        An attempt that has failed is repeated; another attempt of the same partition may
        even run at the same time. What is returned is pickled.

        Raises:
            StaleRunError: A newer run has taken over.
        """

    def check(self, records: Records[T_contra]) -> None:
        """Raise if some of these records can never be written; write nothing, ask nobody.

        Only called when a task of a stream with `onError` has failed, and its steps are
        not to blame: again and again, in a task, with ever fewer of the partition's
        records, until those that can't be written are alone.
        """
        del records

    def commit(self, batch: SinkBatch, written: Mapping[int, Any]) -> None:
        """Commit the batch, on the driver, when all partitions are written.

        `written` has what `write` returned, by partition; those that `begin` named aren't
        in it. Called even if it was called before for the batch, unless `begin` named all.

        Raises:
            StaleRunError: A newer run has taken over.
        """

    def abort(self, batch: SinkBatch) -> None:
        """Clean up what attempts of a batch have left that failed; on the driver."""

    def close(self) -> None:
        """End, on the driver, after the last batch."""


class PartitionsChangedError(IllegalStateError):
    """A batch was committed in part, with another number of partitions."""


def check_partitions(batch: SinkBatch, committed: int, identity: str) -> None:
    """Refuse a batch of which something was committed with another count of partitions.

    Raises:
        PartitionsChangedError: It was.
    """
    if committed != batch.partitions:
        msg = (
            f"batch {batch.time_ms} ms of output '{batch.output}' was committed in part, "
            f"in {committed} partitions, to {identity}, and has {batch.partitions} now"
        )
        raise PartitionsChangedError(
            msg,
            hint="restart once with the parallelism of before (master, "
            "spark.default.parallelism, numPartitions), then change it",
        )


def check_run(batch: SinkBatch, known: int, identity: str) -> None:
    """Refuse a run that is older than the newest one that is known.

    Raises:
        StaleRunError: It is.
    """
    if batch.run < known:
        raise stale_run(batch, identity)


def stale_run(batch: SinkBatch, identity: str) -> StaleRunError:
    """Return the error for a run that another one has taken over from."""
    msg = (
        f"output '{batch.output}' was taken over by a newer run of the program: nothing "
        f"of batch {batch.time_ms} ms was written to {identity}"
    )
    return StaleRunError(
        msg, hint="end this process; or give each program an output name of its own"
    )
