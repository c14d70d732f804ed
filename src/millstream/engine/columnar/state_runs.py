"""State runs: a function of mapWithState over records that find states which are given."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

import polars as pl

from millstream.engine.columnar import shapes
from millstream.engine.columnar.blocks import Columns
from millstream.engine.columnar.calling import Caller
from millstream.engine.columnar.gathering import alike, spread
from millstream.engine.columnar.joins import Side
from millstream.engine.columnar.shapes import (
    DictOf,
    Fixed,
    Kind,
    ListOf,
    Plain,
    Shape,
    TupleOf,
    infer_shape,
    to_frame,
    to_rows,
)
from millstream.engine.columnar.state_values import StateCall
from millstream.engine.columnar.values import Refusal

_ROW = "row"
_SAMPLE_ROWS = 10


class NoState:
    """What stands for the state of a key that has none."""


NO_STATE: Final = NoState()


@dataclass(frozen=True, slots=True)
class Kernel:
    """A function of mapWithState, and how it is called for the records of a batch."""

    function: Callable[..., Any]
    by_hand: Callable[[Any, Any, Any], Any]
    """Returns the state that one record leaves: by its key, value and old state."""
    time: Any
    takes_time: bool
    refreshes: bool
    """Whether a key is touched by every call that leaves it a state."""
    part_records: int
    """How many records the row path takes at a time, which the order of keys shows."""
    partition: int

    def form(self, function: Callable[..., Any]) -> StateCall:
        """Return how the function is called with a record."""
        return StateCall(function, self.takes_time, self.refreshes)


# Keys.


@dataclass(frozen=True)
class Keys:
    """The keys of a batch, in order of first sight, and where their records are."""

    frame: pl.DataFrame
    rows: pl.Series
    """Places of records, key by key."""
    counts: pl.Series | None
    """How many records each key has; None: one each."""

    @cached_property
    def back(self) -> pl.Series:
        """Where each record, as they came, is in `rows`."""
        return self.rows.arg_sort()

    @cached_property
    def groups(self) -> pl.Series:
        """The number of the key of each of `rows`."""
        numbers = pl.int_range(self.frame.height, dtype=pl.UInt32, eager=True)
        return numbers if self.counts is None else _repeated(numbers, self.counts)


def _repeated(values: pl.Series, counts: pl.Series) -> pl.Series:
    frame = pl.DataFrame([values.alias("value"), counts.alias("count")])
    return frame.select(pl.col("value").repeat_by("count").explode()).to_series()


def keys_of(side: Side) -> Keys:
    """Return the keys of pairs."""
    frame = side.frame.select(side.keys)
    if not side.is_keyed:
        query = frame.lazy().with_row_index(_ROW)
        groups = query.group_by(side.keys, maintain_order=True).agg(_ROW).collect()
        if groups.height < frame.height:
            counts = groups[_ROW].list.len()
            return Keys(groups.drop(_ROW), groups[_ROW].explode(), counts)
    rows = pl.int_range(frame.height, dtype=pl.UInt32, eager=True)
    return Keys(frame, rows, None)


# States.


@dataclass(frozen=True, slots=True)
class States:
    """States, some of which may not exist: null in all columns."""

    exists: pl.Series
    frame: pl.DataFrame
    shape: Shape | None
    """None: there isn't any."""

    def at(self, places: pl.Series) -> "States":
        """Return those at some places."""
        frame = picked(self.frame, places)
        return replace(self, exists=self.exists[places], frame=frame)


def states_of(states: Sequence[Any]) -> States:
    """Return objects, NO_STATE where there is none, as columns.

    Raises:
        Refusal: They have no one plain type.
    """
    there = [state is not NO_STATE for state in states]
    exists = pl.Series(there, dtype=pl.Boolean)
    present = [state for state in states if state is not NO_STATE]
    if not present:
        return States(exists, pl.DataFrame(height=len(states)), None)
    shape = infer_shape(present)
    frame = None if shape is None else to_frame(present, shape)
    if shape is None or frame is None:
        msg = "states of no one plain type"
        raise Refusal(msg)
    if not shapes.column_count(shape):
        frame = pl.DataFrame(height=len(present))
    if len(present) < len(states):
        places = pl.select(pl.when(exists).then(exists.cum_sum() - 1)).to_series()
        frame = picked(frame, places)
    _check_shape(shape)
    return States(exists, _renamed(frame), shape)


def picked(frame: pl.DataFrame, places: pl.Series) -> pl.DataFrame:
    """Return the records at some places, also of a frame without columns."""
    if not frame.width:
        return pl.DataFrame(height=len(places))
    return frame.select(pl.all().gather(places))


def _renamed(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.rename({name: f"s{n}" for n, name in enumerate(frame.columns)})


def _check_shape(shape: Shape) -> None:
    match shape:
        case Plain() | Fixed():
            pass
        case TupleOf(items) | DictOf(_, items):
            for item in items:
                _check_shape(item)
        case ListOf():
            msg = "a state with a list in it"
            raise Refusal(msg)


def common(a: Shape | None, b: Shape | None) -> Shape | None:
    """Return the shape of states of both shapes.

    Raises:
        Refusal: There is none.
    """
    if a is None or b is None:
        return b if a is None else a
    try:
        return alike(a, b)
    except Refusal as refused:
        msg = "the state changes its type"
        raise Refusal(msg) from refused


# Running.


@dataclass(frozen=True, slots=True)
class Made:
    """What the function made of some records."""

    mapped: Columns
    emitted: pl.Series
    left: States
    touched: pl.Series
    removed: pl.Series

    def at(self, places: pl.Series) -> "Made":
        """Return what was made at some places."""
        frame = picked(self.mapped.frame, places)
        return Made(
            replace(self.mapped, frame=frame),
            self.emitted[places],
            self.left.at(places),
            self.touched[places],
            self.removed[places],
        )


@dataclass(frozen=True, slots=True)
class Batch:
    """The records of a batch, and the function that maps them."""

    side: Side
    keys: Keys
    kernel: Kernel
    caller: Caller

    def run(self, places: pl.Series | None, old: States) -> Made:
        """Return what the function makes of records that find these states.

        `places` are those of the records; None: all, as they come.
        """
        height = len(old.exists)
        frame = self.side.frame
        if places is not None:
            frame = picked(frame, places)
        columns = frame.get_columns()
        shape = [self.side.key, self.side.value]
        if self.kernel.takes_time:
            time = pl.repeat(
                self.kernel.time, height, dtype=pl.Datetime("us"), eager=True
            )
            columns.append(time)
            shape.append(_time_shape(self.kernel.time))
        if old.shape is not None and old.exists.any():
            if not old.exists.all():
                columns.append(old.exists)
                shape.append(Plain(Kind.BOOL))
            columns += old.frame.get_columns()
            shape.append(old.shape)
        names = shapes.column_names(len(columns))
        records = pl.DataFrame(
            [column.alias(name) for column, name in zip(columns, names, strict=True)]
        )
        made = self.caller(self.kernel.form, Columns(records, TupleOf(tuple(shape))))
        return _split(made)

    def by_hand(
        self, groups: pl.Series, old: States
    ) -> tuple[pl.Series, pl.Series, list[Any]]:
        """Return places of a few records of some keys, their keys, and what they find."""
        assert self.keys.counts is not None, "asked for keys with several records"
        ends = self.keys.counts.cum_sum()
        places: list[int] = []
        found: list[Any] = []
        numbers: list[int] = []
        for group, state in zip(
            groups.to_list(), objects_of(old.at(groups)), strict=True
        ):
            count = self.keys.counts[group]
            first = ends[group] - count
            own = self.keys.rows[first : first + min(count, _SAMPLE_ROWS)]
            shape = TupleOf((self.side.key, self.side.value))
            for key, value in Columns(renumbered(self.side.frame[own]), shape).thaw():
                found.append(state)
                try:
                    state = self.kernel.by_hand(key, value, state)  # noqa: PLW2901
                except Exception as error:
                    msg = f"it raises {type(error).__name__}"
                    raise Refusal(msg) from error
            numbers += [group] * len(own)
            places += own.to_list()
        dtype = pl.UInt32
        return pl.Series(places, dtype=dtype), pl.Series(numbers, dtype=dtype), found


def renumbered(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a frame with the names that records' columns have."""
    names = shapes.column_names(frame.width)
    return frame.rename(dict(zip(frame.columns, names, strict=True)))


def _time_shape(time: Any) -> Shape:
    shape = infer_shape([time])
    if shape != Plain(Kind.DATETIME):
        msg = "a time that comes twice in a year"
        raise Refusal(msg)
    return shape


def _split(made: Columns) -> Made:
    """Return the parts of a result; see `StateCall`."""
    assert isinstance(made.shape, TupleOf), "the form returns a tuple"
    left = iter(made.frame.get_columns())
    height = made.count

    def taken(shape: Shape) -> pl.DataFrame:
        count = shapes.column_count(shape)
        if not count:
            return pl.DataFrame(height=height)
        columns = [next(left) for _ in range(count)]
        return renumbered(pl.DataFrame(columns))

    def flag(shape: Shape) -> pl.Series:
        frame = taken(shape)
        if isinstance(shape, Fixed):
            return pl.repeat(shape.value, height, dtype=pl.Boolean, eager=True)
        return frame.to_series()

    mapped, emitted, exists, state, touched, removed = made.shape.items
    records = taken(mapped)
    if not records.width:
        records = shapes.blank_frame(height)
    is_emitted = flag(emitted)
    is_there = flag(exists)
    states = taken(state)
    return Made(
        Columns(records, mapped),
        is_emitted,
        _left(is_there, states, state),
        flag(touched),
        flag(removed),
    )


def _left(exists: pl.Series, frame: pl.DataFrame, shape: Shape) -> States:
    if not exists.any():
        return States(exists, pl.DataFrame(height=len(exists)), None)
    if not shapes.column_count(shape):
        frame = shapes.blank_frame(len(exists))
    whole = spread(Columns(frame, shape))
    frame, shape = whole.frame, whole.shape
    _check_shape(shape)
    if not shapes.column_count(shape):
        return States(exists, pl.DataFrame(height=len(exists)), shape)
    if not exists.all():
        frame = frame.select(pl.when(exists).then(pl.all()))
    return States(exists, _renamed(frame), shape)


def no_states(height: int) -> States:
    """Return what so many records find where there is nothing."""
    exists = pl.repeat(False, height, dtype=pl.Boolean, eager=True)
    return States(exists, pl.DataFrame(height=height), None)


def objects_of(states: States) -> list[Any]:
    """Return states as objects, NO_STATE where there is none."""
    height = len(states.exists)
    if states.shape is None:
        return [NO_STATE] * height
    frame = states.frame if states.frame.width else shapes.blank_frame(height)
    rows = to_rows(frame, states.shape)
    if states.exists.all():
        return rows
    return [
        row if is_there else NO_STATE
        for row, is_there in zip(rows, states.exists.to_list(), strict=True)
    ]
