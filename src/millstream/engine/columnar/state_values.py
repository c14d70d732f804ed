"""State values: the `state` that a function of mapWithState is given, while it is translated.

What a call leaves in the state depends on the branches it takes. So the state is held
beside the local variables: each branch begins with what was there before it, and where
branches meet again, what they left is merged by their condition.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import polars as pl

from millstream.engine.columnar import containers
from millstream.engine.columnar.constants import as_value
from millstream.engine.columnar.merging import Perhaps, choose
from millstream.engine.columnar.shapes import Kind
from millstream.engine.columnar.values import (
    Comprehension,
    Constant,
    Dict,
    Refusal,
    Scalar,
    Special,
    Translation,
    Tuple,
    Value,
    as_record,
    as_scalar,
    name_of,
)

if TYPE_CHECKING:
    from millstream.engine.columnar.lowering import Lowering

_Truth = pl.Expr | bool


@dataclass(frozen=True, slots=True)
class Held:
    """What the state of a key is at one point of the function."""

    value: Value
    """Of no meaning where it doesn't exist."""
    exists: _Truth
    is_updated: _Truth = False
    is_removed: _Truth = False


class StateCell(Special):
    """The argument `state`; a `State` where rows are mapped."""

    name = "State"

    def __init__(self, t: Translation, now: Held) -> None:
        """Begin a call with what the key has."""
        self._t = t
        self.now = now

    def call_method(
        self,
        t: Translation,
        name: str,
        args: Sequence[Value],
        keywords: Mapping[str, Value],
    ) -> Value:
        """Return what a method returns, and note what it leaves."""
        if t is not self._t:
            msg = "the state inside a comprehension"
            raise Refusal(msg)
        if name == "update":
            return self._update(_argument(args, keywords))
        if args or keywords:
            raise self._unknown(f"`.{name}()` with arguments")
        match name:
            case "exists":
                return as_value(self.now.exists)
            case "get":
                return self._get()
            case "getOption":
                return self._get_option()
            case "remove":
                return self._remove()
            case "isTimingOut":
                return Constant(False)  # Keys that do aren't called by columns.
            case _:
                raise self._unknown(f"`.{name}()`")

    def _get(self) -> Value:
        if self.now.exists is False:
            msg = "a state that is got where there is none"
            raise Refusal(msg)
        if isinstance(self.now.exists, pl.Expr):
            self._t.guard(~self.now.exists, "a state that isn't set")
        return self.now.value

    def _get_option(self) -> Value:
        exists = self.now.exists
        if isinstance(exists, bool):
            return self.now.value if exists else Constant(None)
        return choose(exists, self.now.value, Constant(None))

    def _update(self, value: Value) -> Value:
        self._check_not_removed()
        self.now = replace(
            self.now, value=_kept(self._t, value), exists=True, is_updated=True
        )
        return Constant(None)

    def _remove(self) -> Value:
        self._check_not_removed()
        self.now = Held(Constant(None), exists=False, is_removed=True)
        return Constant(None)

    def _check_not_removed(self) -> None:
        removed = self.now.is_removed
        if removed is not False:
            bad = pl.lit(True) if removed is True else removed
            self._t.guard(bad, "a state that was removed already")


def _argument(args: Sequence[Value], keywords: Mapping[str, Value]) -> Value:
    given = [*args, *keywords.values()]
    if len(given) != 1 or (keywords and "newState" not in keywords):
        msg = "`.update()` of a State takes one argument"
        raise Refusal(msg)
    return given[0]


def _kept(t: Translation, value: Value) -> Value:
    """Return a value that is computed once, however often it is used.

    Raises:
        Refusal: No state is kept of it.
    """
    match value:
        case Constant():
            return value
        case Scalar(kind, expr, is_optional):
            return Scalar(kind, t.once(expr), is_optional)
        case Tuple(items):
            return Tuple(tuple(_kept(t, item) for item in items))
        case Dict(items):
            return Dict({key: _kept(t, item) for key, item in items.items()})
        case _:
            msg = f"a state that is a {name_of(value)}"
            raise Refusal(msg)


class Fork:
    """Two ways that a function may take from here, of which the first comes first."""

    def __init__(self, cell: StateCell | None) -> None:
        """Remember what is held where the ways part."""
        self._cell = cell
        self._taken = self._before = None if cell is None else cell.now

    def turn(self) -> None:
        """Go back, to take the other way."""
        if self._cell is not None:
            assert self._before is not None, "a cell always holds something"
            self._taken, self._cell.now = self._cell.now, self._before

    def join(self, condition: pl.Expr) -> None:
        """Hold what the first way left where `condition` is true, else the other's."""
        cell = self._cell
        if cell is not None and cell.now is not self._taken:
            assert self._taken is not None, "a cell always holds something"
            cell.now = _merged(cell._t, condition, self._taken, cell.now)


def _merged(t: Translation, condition: pl.Expr, a: Held, b: Held) -> Held:
    if a.exists is False or a.value is b.value:
        value = b.value
    elif b.exists is False:
        value = a.value
    else:
        value = _kept(t, choose(condition, a.value, b.value))

    def either(x: _Truth, y: _Truth) -> _Truth:
        if isinstance(x, bool) and isinstance(y, bool) and x == y:
            return x
        return t.once(pl.when(condition).then(x).otherwise(y))

    return Held(
        value,
        either(a.exists, b.exists),
        either(a.is_updated, b.is_updated),
        either(a.is_removed, b.is_removed),
    )


# Calls.


@dataclass(frozen=True, slots=True)
class StateCall:
    """`f(key, value, state)` of a record that is key, value and what the key has.

    The record is (key, value), with the time behind it if the function takes it, and what
    the key has at its end: nothing, or its state, or whether it has one and that state.
    The result is (what is emitted, whether it is, whether a state is left, that state,
    whether the key was touched, whether its state was removed).
    """

    function: Callable[..., Any]
    takes_time: bool
    refreshes: bool
    """Whether a key is touched by every call that leaves it a state."""

    @property
    def form_name(self) -> str:
        """What identifies the form of the call, the function apart."""
        return f"state call {self.takes_time} {self.refreshes}"

    def __call__(self, record: Any) -> Any:
        """Do nothing: it is only ever translated."""
        raise NotImplementedError

    def lowered(self, lowering: "Lowering", record: Value) -> Value:
        """Return the result of the call."""
        assert isinstance(record, Tuple), "records are made for this"
        items = list(record.items)
        args = [items.pop(0), items.pop(0)]
        if self.takes_time:
            args.insert(0, items.pop(0))
        match items:
            case []:
                return self._call(lowering, args, Held(Constant(None), exists=False))
            case [old]:
                return self._call(lowering, args, Held(old, exists=True))
            case [exists, old]:
                return self._call_either(lowering, args, as_scalar(exists, ""), old)
            case _:
                raise AssertionError("a record of another form")

    def _call(self, lowering: "Lowering", args: list[Value], held: Held) -> Value:
        with lowering.holding(StateCell(lowering.t, held)) as cell:
            made = self._emitted(lowering.t, self._walk(lowering, args, cell))
            return self._result(made, cell.now)

    def _call_either(
        self, lowering: "Lowering", args: list[Value], exists: Scalar, old: Value
    ) -> Value:
        """Walk the function twice, as if all of it stood in both branches of an `if`.

        So in each of them it is known whether there is a state.
        """
        t, condition = lowering.t, exists.expr
        with lowering.holding(StateCell(t, Held(old, exists=True))) as cell:
            fork = Fork(cell)
            with t.when(condition):
                taken = self._walk(lowering, args, cell)
            fork.turn()
            cell.now = Held(Constant(None), exists=False)
            with t.when(~condition):
                other = self._walk(lowering, args, cell)
            fork.join(condition)
            made = self._emitted(t, choose(condition, taken, other))
            return self._result(made, cell.now)

    def _walk(self, lowering: "Lowering", args: list[Value], cell: StateCell) -> Value:
        made = lowering.call(self.function, [*args, cell])
        if isinstance(made, Comprehension):
            made = containers.as_list(lowering.t, made)
        return made

    def _emitted(self, t: Translation, made: Value) -> tuple[Value, Value]:
        """Return what is emitted, and whether it is."""
        if not self.takes_time:
            return as_record(t, made), Constant(True)
        match made:
            case Constant(None):
                return made, Constant(False)
            case Scalar(kind, expr, is_optional=True):
                expr = t.once(expr)
                return Scalar(kind, expr), Scalar(Kind.BOOL, expr.is_not_null())
            case Perhaps(value=value, is_there=is_there):
                return as_record(t, value), Scalar(Kind.BOOL, is_there)
            case _:
                return as_record(t, made), Constant(True)

    def _result(self, made: tuple[Value, Value], held: Held) -> Value:
        touched = _any(held.is_updated, held.is_removed)
        if self.refreshes:
            touched = _any(touched, held.exists)
        value = held.value if held.exists is not False else Constant(None)
        return Tuple(
            (
                *made,
                as_value(held.exists),
                value,
                as_value(touched),
                as_value(held.is_removed),
            )
        )


def _any(a: _Truth, b: _Truth) -> _Truth:
    if a is True or b is True:
        return True
    if a is False:
        return b
    return a if b is False else a | b
