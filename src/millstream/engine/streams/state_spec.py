"""State and StateSpec: what the function of mapWithState sees, and how it is set up."""

from collections.abc import Callable
from typing import Any, Self

from millstream.engine.base import frames
from millstream.engine.base.errors import (
    IllegalArgumentError,
    PySparkTypeError,
    PySparkValueError,
)
from millstream.engine.base.time import Duration
from millstream.engine.plan.partitioners import Partitioner

_UNSET = object()


class State:
    """The state of one key, while the function of mapWithState runs for it.

    >>> state = State()
    >>> state.exists(), state.getOption()
    (False, None)
    >>> state.update(3)
    >>> state.get()
    3
    """

    __slots__ = ("_is_removed", "_is_timing_out", "_is_updated", "_value")

    def __init__(self, value: Any = _UNSET, *, is_timing_out: bool = False) -> None:
        """Hold `value`; without one the key has no state."""
        self._value = value
        self._is_timing_out = is_timing_out
        self._is_updated = False
        self._is_removed = False

    def exists(self) -> bool:
        """Say whether the key has a state."""
        return self._value is not _UNSET

    def get(self) -> Any:
        """Return the state.

        Raises:
            KeyError: There is none.
        """
        if self._value is _UNSET:
            msg = "State is not set"
            raise KeyError(msg)
        return self._value

    def getOption(self) -> Any:
        """Return the state, or None."""
        return None if self._value is _UNSET else self._value

    def update(self, newState: Any) -> None:
        """Set the state.

        Raises:
            IllegalArgumentError: It was removed in this call, or times out.
        """
        if self._is_removed:
            msg = (
                "requirement failed: Cannot update the state after it has been removed"
            )
            raise IllegalArgumentError(msg)
        if self._is_timing_out:
            msg = "requirement failed: Cannot update the state that is timing out"
            raise IllegalArgumentError(msg)
        self._value = newState
        self._is_updated = True

    def remove(self) -> None:
        """Forget the key.

        Raises:
            IllegalArgumentError: It was removed before, or times out.
        """
        if self._is_timing_out:
            msg = "requirement failed: Cannot remove the state that is timing out"
            raise IllegalArgumentError(msg)
        if self._is_removed:
            msg = "requirement failed: Cannot remove the state that has already been removed"
            raise IllegalArgumentError(msg)
        self._value = _UNSET
        self._is_removed = True
        self._is_updated = False

    def isTimingOut(self) -> bool:
        """Say whether this is the call for a key that was idle too long."""
        return self._is_timing_out

    @property
    def is_removed(self) -> bool:
        """Whether this call has removed it."""
        return self._is_removed

    @property
    def is_updated(self) -> bool:
        """Whether this call has set it."""
        return self._is_updated

    def __str__(self) -> str:
        return "<state not set>" if self._value is _UNSET else str(self._value)

    __repr__ = __str__


class StateSpec:
    """How mapWithState works: its function, initial state, partitions, timeout.

    >>> def count(key, value, state):
    ...     state.update(state.getOption() or 0) if value is None else state.update(
    ...         (state.getOption() or 0) + value
    ...     )
    ...     return key, state.get()
    >>> spec = StateSpec.function(count).numPartitions(4).timeout(60)
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        """Prefer `StateSpec.function`."""
        self.mapping = function
        self.takes_time = False
        self.initial: Any = None
        self.place: Partitioner | int | None = None
        self.timeout_ms: int | None = None
        self.times_out_exactly = False

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "initial": None}  # The stream's, not its tasks'.

    @classmethod
    def function(cls, mappingFunction: Callable[..., Any]) -> "StateSpec":
        """Return a spec of `f(key, value, state)` or `f(time, key, value, state)`.

        What the first form returns is emitted for each record; what the second returns
        is emitted unless it is None. `value` is None when the key times out.

        Raises:
            IllegalArgumentError: It is None.
            PySparkTypeError: It can't be called, or takes other arguments.
            PySparkPicklingError: It can't be pickled.
        """
        if mappingFunction is None:
            msg = "requirement failed: mappingFunction cannot be null"
            raise IllegalArgumentError(msg)
        if not callable(mappingFunction):
            msg = f"StateSpec needs a function, not {type(mappingFunction).__name__}"
            raise PySparkTypeError(msg)
        frames.dumps_function(mappingFunction)  # Told now, not when the stream starts.
        spec = cls(mappingFunction)
        count = _argument_count(mappingFunction)
        if count not in (3, 4):
            msg = (
                "the function of StateSpec takes (key, value, state) or "
                f"(time, key, value, state), but this one takes {count} arguments"
            )
            raise PySparkTypeError(msg)
        spec.takes_time = count == 4
        return spec

    def initialState(self, rdd: Any) -> Self:
        """Begin with the pairs of an RDD, or of a list."""
        self.initial = rdd
        return self

    def numPartitions(self, numPartitions: int) -> Self:
        """Spread keys over so many partitions."""
        self.place = numPartitions
        return self

    def partitioner(self, partitioner: Partitioner) -> Self:
        """Place keys with `partitioner`."""
        self.place = partitioner
        return self

    def timeout(self, idleDuration: Any, exact: bool = False) -> Self:
        """Drop keys without records for `idleDuration` (seconds, or a Duration).

        Spark looks for them only in batches whose state is checkpointed, every tenth by
        default. With `exact` every batch does: finding none costs next to nothing.
        """
        ms = (
            idleDuration.ms
            if isinstance(idleDuration, Duration)
            else round(idleDuration * 1000)
        )
        if ms <= 0:
            msg = f"timeout must be positive, but was {ms} ms"
            raise PySparkValueError(msg)
        self.timeout_ms = ms
        self.times_out_exactly = exact
        return self


def _argument_count(function: Callable[..., Any]) -> int:
    import inspect  # noqa: PLC0415  Used where state is.

    kinds = (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
    )
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 3
    if any(each.kind is inspect.Parameter.VAR_POSITIONAL for each in parameters):
        return 3
    return sum(
        each.kind in kinds and each.default is inspect.Parameter.empty
        for each in parameters
    )
