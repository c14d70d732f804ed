"""DirectSource: records that are kept elsewhere and can be read again, by ranges.

The driver plans which ranges belong to a batch; they are in the batch's record, a
checkpoint, before anything is read. Tasks read them. A batch that runs again reads the
same ranges, and so the same records.
"""

import dataclasses
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from millstream.engine.base import frames
from millstream.engine.base.errors import PySparkTypeError
from millstream.engine.ingest.lag import Lag

RangeT = TypeVar("RangeT")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class BatchPlan(Generic[RangeT]):
    """What a source is told about the batch that it plans."""

    time_ms: int
    """The batch's time: ms since the epoch."""
    seconds: float
    """The batch interval."""
    previous: Sequence[RangeT]
    """The ranges of the batch planned before, also over a restart; empty at first."""
    rate: float | None = None
    """How many records a second are to be read at most, as back-pressure has it."""

    @property
    def limit(self) -> int | None:
        """How many records the batch is to have at most, or None."""
        return None if self.rate is None else max(1, int(self.rate * self.seconds))


class DirectSource(ABC, Generic[RangeT, T_co]):
    """Subclass it, override `plan` and `read`, and pass it to `directStream`.

    A range is plain data, as JSON has it: numbers, text, None, lists and dicts of such; or
    a dataclass of such, which `range_type` names. There is one partition a range.

    The source is pickled, into checkpoints and tasks: keep what it takes to connect, not
    connections.
    """

    range_type: ClassVar[type | None] = None
    has_blocks: ClassVar[bool] = False
    """Whether `read_blocks` is there; for sources of this package."""

    @property
    def identity(self) -> str:
        """What it reads, in words that stay the same when the program changes."""
        return type(self).__name__

    def start(self) -> None:
        """Begin, on the driver, before the first batch; for what `plan` needs."""

    def stop(self) -> None:
        """End, on the driver, after the last batch."""

    @abstractmethod
    def plan(self, batch: BatchPlan[RangeT]) -> Sequence[RangeT]:
        """Return the ranges of a batch: from where the previous one's end, to what is there.

        Called on the driver, in the order of batches, and once for each: keep waits short.
        When it raises, the batch fails, and the next one begins where this one would have.
        """

    @abstractmethod
    def read(self, of: RangeT) -> Iterable[T_co] | AsyncIterable[T_co]:
        """Return or yield the records of a range; `async def` with `yield` is fine too.

        Called in tasks, perhaps more than once: it must give the same records in the same
        order. Raise if they aren't there any more.
        """

    def read_blocks(self, of: RangeT) -> Iterable[Any]:
        """Return what `read` does, in blocks; see `columnar/blocks`."""
        raise NotImplementedError

    def count(self, of: RangeT) -> int:
        """Return how many records a range has, about: for back-pressure and pages."""
        del of
        return 0

    @property
    def lag(self) -> Lag | None:
        """How far the newest batch is behind the newest record; None: it can't be told.

        For pages and metrics, and asked for at any moment: ask nobody, but say what `plan`
        has seen. Without an amount it isn't known yet. When `plan` has raised, it counts
        as not known, whatever this says.
        """
        return None

    def describe(self, of: RangeT) -> str:
        """Return a range in words, for pages and errors."""
        return str(of)

    def as_data(self, of: RangeT) -> Any:
        """Return a range as JSON has it.

        Raises:
            PySparkTypeError: It isn't plain data.
        """
        data: Any = of
        if dataclasses.is_dataclass(of) and not isinstance(of, type):
            data = dataclasses.asdict(of)
        try:
            same = json.loads(json.dumps(data))
        except (TypeError, ValueError) as error:
            msg = f"{self.identity}.plan returned a range that is no plain data: {of!r}"
            raise PySparkTypeError(msg, hint=f"{error}; see DirectSource") from error
        return same

    def of_data(self, data: Any) -> RangeT:
        """Return the range that `as_data` has made data of."""
        made: RangeT = data if self.range_type is None else self.range_type(**data)
        return made


@dataclass(frozen=True, slots=True)
class DirectPartition:
    """One range of a source, as a partition. Picklable, whatever the source's class is."""

    pickled: bytes
    """The source; see `base.frames`. Each task has its own copy."""
    data: Any
    """The range, as JSON has it."""
    has_blocks: bool = False
    """Whether the source can give records as columns."""

    def read(self) -> Iterable[Any]:
        """Return the records."""
        source, of = self._loaded()
        rows = source.read(of)
        return _in_a_loop(rows) if isinstance(rows, AsyncIterable) else rows

    def blocks(self) -> Iterable[Any]:
        """Return the records in blocks, those that `read` gives."""
        source, of = self._loaded()
        return source.read_blocks(of)

    def describe(self) -> str:
        """Return the range in words."""
        source, of = self._loaded()
        return source.describe(of)

    def _loaded(self) -> tuple[DirectSource[Any, Any], Any]:
        source: DirectSource[Any, Any] = frames.loads_function(self.pickled)
        return source, source.of_data(self.data)


def _in_a_loop(rows: AsyncIterable[Any]) -> Iterator[Any]:
    """Yield what comes asynchronously, in an event loop that stands still in between."""
    import asyncio  # noqa: PLC0415  Programs without such a source don't need it.

    with asyncio.Runner() as runner:
        coming = aiter(rows)

        async def some() -> list[Any]:
            # Some at a time: to enter a loop takes longer than most records.
            taken: list[Any] = []
            while len(taken) < _AT_A_TIME:
                try:
                    taken.append(await anext(coming))
                except StopAsyncIteration:
                    break
            return taken

        try:
            while taken := runner.run(some()):
                yield from taken
                if len(taken) < _AT_A_TIME:
                    return
        finally:
            close = getattr(coming, "aclose", None)
            if close is not None:
                runner.run(close())


_AT_A_TIME = 200
