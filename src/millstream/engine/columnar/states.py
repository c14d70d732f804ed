"""States: the next state of every key, in columns, by a user's update function.

Three kinds of keys go three ways, so that each is a plain run of a function over records:
keys with state and new values, keys that are new, and keys that nothing came for, for
which the function is called with an empty list. What it returns None for is gone.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from millstream.engine.columnar import shapes
from millstream.engine.columnar.blocks import Columns
from millstream.engine.columnar.calling import Caller, OfPair
from millstream.engine.columnar.compacting import compacted, compacted_at_times
from millstream.engine.columnar.gathering import alike, spread
from millstream.engine.columnar.joins import Side, side_of, values_of
from millstream.engine.columnar.shapes import Fixed, Kind, ListOf, Plain, Shape, TupleOf
from millstream.engine.columnar.values import Refusal

_AT = "at"
_ORDER = "order"


@dataclass(frozen=True, slots=True)
class NextState:
    """The state after a batch, as pairs, and how it differs from the one before."""

    state: Columns | None
    """None: no key has any."""
    changed: list[tuple[Any, Any]]
    gone: list[Any]


@dataclass(frozen=True, slots=True)
class _New:
    """`f(new values, None)` of a record that is the new values."""

    function: Callable[..., Any]
    columnar_fields = ("function",)

    def __call__(self, values: Any) -> Any:
        function = self.function
        return function(values, None)


@dataclass(frozen=True, slots=True)
class _Idle:
    """`f([], state)`, and the state, of a record that is the state twice."""

    function: Callable[..., Any]
    columnar_fields = ("function",)

    def __call__(self, record: Any) -> Any:
        function = self.function
        return function([], record[0]), record[1]


def update(old: Columns | None, new: Columns | None, caller: Caller) -> NextState:
    """Return the next state of the keys in `old`, one pair each, and in `new`.

    Raises:
        Refusal: The row path must do it.
    """
    given = None if new is None else _grouped(side_of(new, "v"))
    if old is None:
        if given is None:
            return NextState(None, [], [])
        made = _started(given, caller)
        return NextState(made, [] if made is None else made.thaw(), [])
    state = side_of(old, "s")
    _check_state(state.value)
    if given is not None:
        key = alike(state.key, given.key)
        state, given = replace(state, key=key), replace(given, key=key)
    return _Update(state, given, caller).run()


def _grouped(new: Side) -> Side:
    """Return each key once, in order of first sight, with its values in lists.

    Raises:
        Refusal: The values are all None.
    """
    if not new.values:
        msg = "new values that are None"
        raise Refusal(msg)
    query = new.frame.lazy().group_by(new.keys, maintain_order=True).agg(new.values)
    return Side(query.collect(), new.key, ListOf(new.value), "v")


def _check_state(shape: Shape) -> None:
    items = shape.items if isinstance(shape, TupleOf) else (shape,)
    if not all(isinstance(each, Plain) and not each.is_optional for each in items):
        msg = "a state that is neither plain nor a tuple of plain values"
        raise Refusal(msg)


def _present(shape: Shape) -> Shape:
    """Return the shape of those states that aren't None."""
    return Plain(shape.kind) if isinstance(shape, Plain) else shape


def _started(given: Side, caller: Caller) -> Columns | None:
    """Return the pairs of keys that had no state; None if the function never begins one."""
    made = spread(caller(_New, values_of(given.frame, given.values, given.value)))
    if made.shape == Fixed(None):
        return None
    state = _present(made.shape)
    _check_state(state)
    columns = [*given.frame.select(given.keys), *made.frame]
    names = shapes.column_names(len(columns))
    frame = pl.DataFrame(
        [column.alias(name) for column, name in zip(columns, names, strict=True)]
    )
    return Columns(frame.drop_nulls(names[-1]), TupleOf((given.key, state)))


@dataclass(frozen=True, slots=True)
class _Update:
    state: Side
    given: Side | None
    caller: Caller

    @property
    def shape(self) -> Shape:
        """The shape of a pair of key and state."""
        return TupleOf((self.state.key, self.state.value))

    def run(self) -> NextState:
        idle = self._idle()
        if self.given is None or not self.given.frame.height:
            return self._next(idle, None, None)
        places = self._places(self.given)
        met = self._met(self.given, places)
        return self._next(idle, met, self._fresh(self.given, places))

    def _idle(self) -> pl.DataFrame | None:
        """Return the states without new values, or None: they are as they were."""
        names, shape = self.state.values, self.state.value
        twice = values_of(self.state.frame, [*names, *names], TupleOf((shape, shape)))
        if not is_exact(shape):
            # 0.0 is equal to -0.0.
            made = self.caller(_Idle, twice)
            assert isinstance(made.shape, TupleOf), "the form returns a pair"
            new = made.shape.items[0]
            width = shapes.column_count(new)
            if not width:
                return self._of_kind(Columns(shapes.blank_frame(made.count), new))
            return self._of_kind(Columns(made.frame[:, :width], new))
        changed = self.caller.changed(_Idle, twice)
        return None if changed is None else self._of_kind(changed)

    def _of_kind(self, made: Columns) -> pl.DataFrame:
        """Return new states as the old ones' columns; nulls stand for None.

        Raises:
            Refusal: They are of another type.
        """
        made = spread(made)
        names = self.state.values
        if made.shape == Fixed(None):
            types = [self.state.frame.schema[name] for name in names]
            return pl.DataFrame(
                [
                    pl.repeat(None, made.count, dtype=dtype, eager=True).alias(name)
                    for name, dtype in zip(names, types, strict=True)
                ]
            )
        if _present(made.shape) != self.state.value:
            msg = "the state changes its type"
            raise Refusal(msg)
        frame: pl.DataFrame = made.frame
        return frame.rename(dict(zip(frame.columns, names, strict=True)))

    def _places(self, given: Side) -> pl.DataFrame:
        """Return the keys that have state and new values, and `at` where in the state."""
        states = self.state.frame
        if len(self.state.keys) == 1:
            # Picked out first, so that no more than these are joined.
            key = self.state.keys[0]
            wanted = given.frame[key].implode()
            at = states[key].is_in(wanted, nulls_equal=True).arg_true()
            states = states[at].with_columns(at.alias(_AT))
        else:
            states = states.with_row_index(_AT)
        return states.join(
            given.frame.with_row_index(_ORDER),
            on=self.state.keys,
            how="inner",
            nulls_equal=True,
            maintain_order="left",
        )

    def _met(self, given: Side, places: pl.DataFrame) -> pl.DataFrame:
        """Return the new states of keys that have both, with their places."""
        names = [*given.values, *self.state.values]
        records = values_of(places, names, TupleOf((given.value, self.state.value)))
        made = self._of_kind(self.caller(OfPair, records))
        return made.with_columns(places[_AT])

    def _fresh(self, given: Side, places: pl.DataFrame) -> Columns | None:
        """Return the pairs of keys that are new."""
        if places.height == given.frame.height:
            return None
        is_new = ~pl.int_range(pl.len(), dtype=pl.get_index_type()).is_in(
            places[_ORDER].implode()
        )
        alone = Side(given.frame.filter(is_new), given.key, given.value, "v")
        made = _started(alone, self.caller)
        if made is not None and made.shape != self.shape:
            msg = "the state changes its type"
            raise Refusal(msg)
        return made

    def _next(
        self,
        idle: pl.DataFrame | None,
        met: pl.DataFrame | None,
        fresh: Columns | None,
    ) -> NextState:
        before = self.state.frame.select(self.state.values)
        after = before if idle is None else idle
        if met is not None:
            after = pl.DataFrame(
                [each.clone().scatter(met[_AT], met[each.name]) for each in after]
            )
        frame = self.state.frame.select(self.state.keys).hstack(after)
        frame = frame.rename(
            dict(zip(frame.columns, shapes.column_names(frame.width), strict=True))
        )
        changed = self._changed(before, after, idle, met)
        pairs, gone = self._told(frame[changed])
        if gone:
            frame = frame.drop_nulls(frame.columns[-1])
        if fresh is not None and fresh.count:
            pairs += fresh.thaw()
            frame = pl.concat([frame, compacted(fresh.frame)])
        if gone or pairs:
            frame = compacted_at_times(frame)
        return NextState(Columns(frame, self.shape, is_keyed=True), pairs, gone)

    def _changed(
        self,
        before: pl.DataFrame,
        after: pl.DataFrame,
        idle: pl.DataFrame | None,
        met: pl.DataFrame | None,
    ) -> pl.Series:
        """Return the places of states that aren't the old ones, in order."""
        if idle is not None:
            return _differing(before, after).arg_true()
        if met is None:
            return pl.Series(dtype=pl.get_index_type())
        places = met[_AT]
        return places.filter(_differing(before[places], after[places]))

    def _told(self, changed: pl.DataFrame) -> tuple[list[Any], list[Any]]:
        """Return the pairs that changed, and the keys that went."""
        last = changed.columns[-1]
        pairs = Columns(changed.drop_nulls(last), self.shape).thaw()
        dropped = changed.filter(pl.col(last).is_null())
        keys = dropped.select(dropped.columns[: len(self.state.keys)])
        return pairs, Columns(keys, self.state.key).thaw()


def _differing(before: pl.DataFrame, after: pl.DataFrame) -> pl.Series:
    differs = pl.repeat(False, before.height, eager=True)
    for old, new in zip(before, after, strict=True):
        differs = differs | old.ne_missing(new)
    return differs


def is_exact(shape: Shape) -> bool:
    """Say whether equal values of a shape are the same: floats aren't, for NaN."""
    return all(plain.kind is not Kind.FLOAT for plain in shapes.plain_shapes(shape))
