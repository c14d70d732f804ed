"""SinkOutput: the output operation that commits each batch to a sink, in order.

A batch that couldn't be committed, or not even be generated, is tried again with the next
one, before it: a mark that only rises would leave it out forever otherwise.
"""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from millstream.engine.base.errors import SparkError
from millstream.engine.streams.operators import Operator, OutputOperator

if TYPE_CHECKING:
    from millstream.engine.streams.graph import DStreamGraph


class BatchWriter(Protocol):
    """Commits a batch; see `sinks/writing`."""

    def write(self, time_ms: int, rdd: Any, known_ms: int | None) -> None:
        """Commit a batch, unless it is there already."""
        ...

    def close(self) -> None:
        """End."""
        ...


class SinkOutput(OutputOperator):
    """Commits batches by a writer."""

    def __init__(
        self, graph: "DStreamGraph", parent: Operator, writer: BatchWriter
    ) -> None:
        """Take the batches of `parent` to `writer`."""
        super().__init__(graph, parent, _never, "writeTo")
        self.writer = writer
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._waiting: dict[int, Any] = {}
        """Batches that aren't committed, oldest first; None: not generated yet."""
        self._recovered: list[int] = []

    def on_due(self, time_ms: int) -> None:
        """Note that a batch is to be generated, whatever comes of it."""
        with self._lock:
            self._waiting[time_ms] = None
            self._waiting = dict(sorted(self._waiting.items()))

    def job_of(self, time_ms: int) -> Callable[[], None] | None:
        """Return what commits this batch, and those that wait before it."""
        with self._lock:
            unmade = [t for t, rdd in self._waiting.items() if rdd is None]
        for each in unmade:
            rdd = self.parents[0].get_or_compute(each)
            with self._lock:
                if rdd is None:
                    self._waiting.pop(each, None)
                else:
                    self._waiting[each] = rdd
        with self._lock:
            has_any = bool(self._waiting)
        return (lambda: self._commit(time_ms)) if has_any else None

    def _commit(self, until_ms: int) -> None:
        with self._writing:
            while True:
                with self._lock:
                    due = next(iter(self._waiting.items()), None)
                if due is None or due[0] > until_ms or due[1] is None:
                    return
                time_ms, rdd = due
                self._write(time_ms, rdd, until_ms)
                with self._lock:
                    self._waiting.pop(time_ms, None)
                    if time_ms != until_ms:
                        self._recovered.append(time_ms)

    def _write(self, time_ms: int, rdd: Any, until_ms: int) -> None:
        try:
            self.writer.write(time_ms, rdd, self.graph.known_ms)
        except Exception as error:
            if time_ms == until_ms:
                raise
            msg = (
                f"batch {until_ms} ms waits for batch {time_ms} ms, which can't be "
                f"committed: {error}"
            )
            raise SparkError(
                msg, hint="batches are committed in order, and none is left out"
            ) from error

    def take_recovered(self) -> list[int]:
        """Return batches that were committed since the last call by a later one's job."""
        with self._lock:
            taken, self._recovered = self._recovered, []
        return taken

    def stop(self) -> None:
        """End."""
        with self._writing:
            self.writer.close()

    def __getstate__(self) -> dict[str, Any]:
        state = {**super().__getstate__(), "_waiting": {}, "_recovered": []}
        del state["_lock"], state["_writing"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()
        self._writing = threading.Lock()


def _never(_time_ms: int, _rdd: Any) -> None:
    msg = "a sink's output commits by its writer"
    raise AssertionError(msg)
