"""State: what mapWithState's function sees, how it is set up, and reading from outside."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from millstream.engine.base.errors import MissingDependencyError, PySparkTypeError
from millstream.engine.durable import state_frames
from millstream.engine.durable.state_memory import StateMemory
from millstream.engine.durable.state_table import ABSENT
from millstream.engine.jobs.driver import Driver
from millstream.engine.streams.state_spec import State, StateSpec
from millstream.engine.streams.stateful import KeyedStateOperator

__all__ = ["State", "StateReader", "StateSpec"]


class StateReader:
    """The state of one stream as of its newest committed batch; from any thread.

    Each call reads one batch's state, whole: never half of a batch's changes.
    """

    def __init__(self, operator: KeyedStateOperator) -> None:
        """Read the state of `operator`; programs call `StreamingContext.state`."""
        self._store = operator.states
        self._partition_of = operator.partition_of

    @property
    def batch_ms(self) -> int | None:
        """The batch that the state is as of (ms since the epoch), None before the first."""
        return self._store.files.latest

    def get(self, key: Any, default: Any = None) -> Any:
        """Return the state of a key, or `default`."""
        found = self._store.get(self._partition_of(key), key)
        return default if found is ABSENT else found

    def items(self) -> Iterator[tuple[Any, Any]]:
        """Return (key, state) of every key, one by one: all as of one batch."""
        return self._store.items()

    def to_arrow(self) -> Any:
        """Return a `pyarrow.Table` of the columns `key` and `state`, as of one batch.

        Keys and states that are each of one plain type come straight from the state's
        files, without a Python object each.

        Raises:
            MissingDependencyError: pyarrow isn't installed.
            PySparkTypeError: Arrow has no column type for the keys, or for the states.
        """
        try:
            import pyarrow as pa  # noqa: PLC0415  An extra.
        except ImportError as error:
            msg = "to_arrow needs pyarrow"
            raise MissingDependencyError(msg, hint="pip install pyarrow") from error
        frame = self._store.frame()
        if frame is None:
            return pa.table({"key": pa.array([]), "state": pa.array([])})
        return pa.table(
            {
                "key": _column(frame, "key", state_frames.keys_of),
                "state": _column(frame, "state", state_frames.values_of),
            }
        )


def state_gauges(
    operators: Sequence[KeyedStateOperator], memory: StateMemory, driver: Driver
) -> dict[str, float]:
    """Return what all states of a stream take, by the names of gauges.

    A stream without state has none; before its first batch there is no
    `millstream.state.rows`.
    """
    if not operators:
        return {}
    maps = memory.statistics()
    counts = [each.states.key_count for each in operators]
    rdds = [each.resident_rdd for each in operators]
    kept = [driver.held_of(rdd._node) for rdd in rdds if rdd is not None]
    known = [count for count in counts if count is not None]
    return {
        **({"millstream.state.rows": sum(known)} if known else {}),
        "millstream.state.memoryBytes": (
            maps.memory_bytes + sum(each.memory_bytes for each in kept)
        ),
        "millstream.state.partitions": sum(
            each.states.partition_count for each in operators
        ),
        "millstream.state.spilledPartitions": maps.spilled_partitions,
    }


def _column(frame: Any, name: str, values: Callable[[Any], list[Any]]) -> Any:
    import pyarrow as pa  # noqa: PLC0415  An extra; the caller has found it.

    if name in frame.columns:
        return frame[name].to_arrow()
    try:
        return pa.array(values(frame))
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        msg = f"the {name}s are of no type that Arrow has: {error}"
        raise PySparkTypeError(msg, hint="read them one by one with items()") from error
