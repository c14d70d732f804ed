"""State: what mapWithState's function sees, how it is set up, and reading from outside."""

from collections.abc import Iterator
from typing import Any

from millstream.engine.base.errors import MissingDependencyError
from millstream.engine.durable.state_store import StateStore
from millstream.engine.plan.partitioners import Partitioner
from millstream.engine.streams.state_spec import State, StateSpec

__all__ = ["State", "StateReader", "StateSpec"]


class StateReader:
    """The state of one stream as of its newest committed batch; from any thread.

    Each call reads one batch's state, whole: never half of a batch's changes.
    """

    def __init__(self, store: StateStore, place: Partitioner) -> None:
        """Read `store`; programs call `StreamingContext.state`."""
        self._store = store
        self._place = place

    @property
    def batch_ms(self) -> int | None:
        """The batch that the state is as of (ms since the epoch), None before the first."""
        return self._store.files.latest

    def get(self, key: Any, default: Any = None) -> Any:
        """Return the state of a key, or `default`."""
        version = self._store.files.latest
        if version is None:
            return default
        try:
            return self._store.get(version, self._place.partition_of(key), key)
        except KeyError:
            return default

    def items(self) -> Iterator[tuple[Any, Any]]:
        """Yield (key, state) of every key."""
        version = self._store.files.latest
        return iter(()) if version is None else self._store.items(version)

    def to_arrow(self) -> Any:
        """Return a `pyarrow.Table` of the columns `key` and `state`.

        Raises:
            MissingDependencyError: pyarrow isn't installed.
        """
        try:
            import pyarrow as pa  # noqa: PLC0415  An extra.
        except ImportError as error:
            msg = "to_arrow needs pyarrow"
            raise MissingDependencyError(msg, hint="pip install pyarrow") from error
        pairs = list(self.items())
        return pa.table(
            {"key": [key for key, _ in pairs], "state": [state for _, state in pairs]}
        )
