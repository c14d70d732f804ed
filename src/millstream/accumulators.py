"""Accumulators: values that tasks add to and the driver reads."""

import copy
import itertools
from typing import Any, Generic, Self, TypeVar

from millstream.engine.base import accumulating, task_scope
from millstream.engine.base.errors import PySparkRuntimeError

__all__ = ["Accumulator", "AccumulatorParam"]

T = TypeVar("T")
_ids = itertools.count()


class AccumulatorParam(Generic[T]):
    """How values of a type add up; subclass it for types of your own."""

    def zero(self, value: T) -> T:
        """Return the neutral value of the same shape as `value`."""
        raise NotImplementedError

    def addInPlace(self, value1: T, value2: T) -> T:
        """Return the sum; may change and return `value1`."""
        raise NotImplementedError


class AddingAccumulatorParam(AccumulatorParam[Any]):
    """Adds with `+=`, from a given zero."""

    def __init__(self, zero_value: Any) -> None:
        """Start from `zero_value`."""
        self.zero_value = zero_value

    def zero(self, value: Any) -> Any:
        """Return the zero."""
        del value
        return self.zero_value

    def addInPlace(self, value1: Any, value2: Any) -> Any:
        """Return `value1 + value2`."""
        value1 += value2
        return value1


INT_ACCUMULATOR_PARAM = AddingAccumulatorParam(0)
FLOAT_ACCUMULATOR_PARAM = AddingAccumulatorParam(0.0)
COMPLEX_ACCUMULATOR_PARAM = AddingAccumulatorParam(0.0j)


class Accumulator(Generic[T]):
    """A value tasks can add to; made by `SparkContext.accumulator`.

    What a task adds counts once, when the task succeeds.
    """

    def __init__(self, aid: int, value: T, accum_param: AccumulatorParam[T]) -> None:
        """Start at `value`."""
        self.aid = aid
        self.accum_param = accum_param
        self._value = value
        self._is_in_task = False
        accumulating.register(self)

    @property
    def value(self) -> T:
        """The value, on the driver.

        Raises:
            PySparkRuntimeError: Read in a task.
        """
        self._check_driver()
        return self._value

    @value.setter
    def value(self, value: T) -> None:
        self._check_driver()
        self._value = value

    def add(self, term: T) -> None:
        """Add `term`; in tasks or on the driver."""
        added = accumulating.task_accumulators()
        if added is None:
            self._value = self.accum_param.addInPlace(self._value, term)
            return
        # A driver's accumulator that a by-reference function reaches from a task adds to
        # the task's own too, or a failed attempt's terms would count.
        update = added.get(self.aid)
        if update is None:
            zero = self.accum_param.zero(self._zero_like())
            update = added[self.aid] = _TaskAccumulator(zero, self.accum_param)
        update.add(term)

    def __iadd__(self, term: T) -> Self:
        self.add(term)
        return self

    def merge_update(self, update: T) -> None:
        """Add what one task added; called on the driver."""
        self._value = self.accum_param.addInPlace(self._value, update)

    def _zero_like(self) -> T:
        return self._value

    def _check_driver(self) -> None:
        if self._is_in_task or task_scope.current() is not None:
            msg = "Accumulator.value cannot be accessed inside tasks"
            raise PySparkRuntimeError(
                msg,
                condition="VALUE_NOT_ACCESSIBLE",
                hint="read it on the driver, after the action",
                value="Accumulator.value",
            )

    def __reduce__(self) -> tuple[Any, ...]:
        zero = self.accum_param.zero(self._value)
        return _in_task, (self.aid, zero, self.accum_param)

    def __str__(self) -> str:
        return str(self._value)

    def __repr__(self) -> str:
        return f"Accumulator<id={self.aid}, value={self._value}>"


class _TaskAccumulator:
    """What one task has added so far."""

    def __init__(self, zero: Any, param: AccumulatorParam[Any]) -> None:
        # A copy: `zero` may hand out one and the same list each time.
        self.value, self.param = copy.deepcopy(zero), param

    def add(self, term: Any) -> None:
        self.value = self.param.addInPlace(self.value, term)

    def task_update(self) -> Any:
        return self.value


def _in_task(
    aid: int, zero: Any, accum_param: AccumulatorParam[Any]
) -> Accumulator[Any]:
    known: Accumulator[Any] | None = accumulating.find(aid)
    if known is not None and task_scope.current() is None:
        return known  # Back on the driver: the one that was pickled, not a copy.
    made: Accumulator[Any] = Accumulator.__new__(Accumulator)
    made.aid, made.accum_param = aid, accum_param
    made._value, made._is_in_task = zero, True
    return made


def next_accumulator_id() -> int:
    """Return a number no other accumulator of this process has."""
    return next(_ids)
