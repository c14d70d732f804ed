"""Writing: one batch after the other goes to a sink, from its first partition to its mark."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from millstream.engine.base.clock import SystemClock
from millstream.engine.base.errors import IllegalStateError
from millstream.engine.sinks.contract import Opening, Sink, SinkBatch
from millstream.engine.sinks.records import Records

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WritePart:
    """What tasks run. Picklable."""

    sink: Sink[Any]
    batch: SinkBatch
    names: tuple[str, ...] | None
    takes_pieces: ClassVar[bool] = True

    def __call__(self, partition: int, pieces: Iterator[Any]) -> Any:
        """Write one partition."""
        return self.sink.write(self.batch, partition, Records(pieces, self.names))

    def check(self, rows: Iterable[Any]) -> None:
        """Raise if some of these rows can never be written."""
        self.sink.check(Records([rows], self.names))


class SinkWriter:
    """Takes the batches of one output to its sink; on the driver, one at a time."""

    def __init__(
        self,
        sink: Sink[Any],
        output: str,
        run_parts: Callable[[Any, Callable[..., Any], Sequence[int]], list[Any]],
        names: Sequence[str] | None = None,
    ) -> None:
        """Write to `sink` under the name `output`.

        `run_parts(rdd, f, partitions)` runs a task a partition and returns what
        `f(partition, pieces)` does; `names` are those of the records' columns.
        """
        self.sink = sink
        self.output = output
        self._run_parts = run_parts
        self._names = None if names is None else tuple(names)
        self._opening: Opening | None = None

    def write(self, time_ms: int, rdd: Any, known_ms: int | None) -> None:
        """Commit a batch; nothing happens if it is there already.

        `known_ms` is the newest batch that the checkpoint knew which the program went on
        from, if what batches read is in checkpoints; -1 if there was none.

        Raises:
            IllegalStateError: The output has batches that this program can't know.
            StaleRunError: A newer run has taken over.
        """
        opening = self._opening
        if opening is None:
            opening = self._open(time_ms, known_ms)
        count: int = rdd.getNumPartitions()
        if count == 0:
            return
        batch = SinkBatch(self.output, time_ms, count, opening.run)
        there = set(self.sink.begin(batch))
        missing = [part for part in range(count) if part not in there]
        if not missing:
            _log.info("batch is there already output=%s batch=%d", self.output, time_ms)
            return
        try:
            write = WritePart(self.sink, batch, self._names)
            written = self._run_parts(rdd, write, missing)
            self.sink.commit(batch, dict(zip(missing, written, strict=True)))
        except BaseException:
            self.sink.abort(batch)
            raise

    def _open(self, time_ms: int, known_ms: int | None) -> Opening:
        opening = self.sink.open(self.output, SystemClock().now_ms())
        newest_ms = opening.newest_ms
        limit_ms = time_ms - 1 if known_ms == -1 else known_ms
        if newest_ms is not None and limit_ms is not None and newest_ms > limit_ms:
            msg = (
                f"output '{self.output}' has batch {newest_ms} ms in "
                f"{self.sink.identity}, which this program doesn't know of: it begins "
                f"with batch {time_ms} ms"
            )
            raise IllegalStateError(
                msg,
                hint="another program has the same application and output name, or went "
                "on after this one's checkpoint, or the clock went back; use another "
                "name in writeTo(sink, name=...), or the newest checkpoint",
            )
        self._opening = opening
        return opening

    @property
    def run(self) -> int:
        """The number of this run, once a batch was written."""
        assert self._opening is not None, "a batch was written"
        return self._opening.run

    def close(self) -> None:
        """End."""
        if self._opening is not None:
            self.sink.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opening": None}
