"""Mapping states: a function of mapWithState over all records of a batch, in columns."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from millstream.engine.columnar.blocks import Columns
from millstream.engine.columnar.calling import Caller
from millstream.engine.columnar.gathering import gathered
from millstream.engine.columnar.guessing import GROUP, Habits, note_failure
from millstream.engine.columnar.joins import side_of
from millstream.engine.columnar.pipeline import Pipeline
from millstream.engine.columnar.speculating import Speculation
from millstream.engine.columnar.state_runs import (
    Batch,
    Kernel,
    Keys,
    Made,
    keys_of,
    objects_of,
    renumbered,
    states_of,
)
from millstream.engine.columnar.values import Refusal

_ROW = "row"

LookUp = Callable[[list[Any]], list[Any]]
"""Returns the states of keys, NO_STATE for those that have none."""


@dataclass(frozen=True, slots=True)
class Written:
    """Keys with the states they have now, NO_STATE if none; in the order of the row path."""

    keys: list[Any]
    states: list[Any]


@dataclass(frozen=True, slots=True)
class Mapped:
    """What comes of a batch."""

    records: Columns
    written: list[Written]


def mapped(
    pieces: Sequence[Columns | Sequence[Any]],
    kernel: Kernel,
    look_up: LookUp,
    pipeline: Pipeline,
    *,
    tries_always: bool,
) -> Mapped | str:
    """Return what comes of a batch's pairs, or why the row path must do it.

    After a batch that couldn't go by columns the next few aren't tried: finding out
    takes time. With `tries_always` they are.
    """
    caller = Caller(pipeline, kernel.function)
    each: dict[int, Habits] = caller.kept("habits", dict)
    habits = each.setdefault(kernel.partition, Habits())
    if habits.skips and not tries_always:
        habits.skips -= 1
        return habits.reason
    try:
        given = gathered([e if isinstance(e, Columns) else list(e) for e in pieces])
        if given is None:
            return "nothing came"
        made = map_states(given, kernel, look_up, caller, habits)
    except Refusal as refused:
        reason = str(refused)
    except pl.exceptions.PolarsError as error:
        reason = f"Polars refused it: {error}"[:200]
    else:
        habits.failures = 0
        return made
    note_failure(habits, reason)
    return reason


def map_states(
    given: Columns, kernel: Kernel, look_up: LookUp, caller: Caller, habits: Habits
) -> Mapped:
    """Return the mapped records of pairs, and what they leave in the state.

    Raises:
        Refusal: The row path must do it.
    """
    side = side_of(given, "v")
    keys = keys_of(side)
    names = Columns(renumbered(keys.frame), side.key).thaw()
    old = states_of(look_up(names))
    batch = Batch(side, keys, kernel, caller)
    if keys.counts is None:
        made = batch.run(None, old)
    else:
        made = Speculation(batch, habits).made(old)
    return _mapped(made, keys, names, kernel)


def _mapped(made: Made, keys: Keys, names: list[Any], kernel: Kernel) -> Mapped:
    records = made.mapped
    if not made.emitted.all():
        records = replace(records, frame=records.frame.filter(made.emitted))
    return Mapped(records, list(_written(made, keys, names, kernel)))


def _written(
    made: Made, keys: Keys, names: list[Any], kernel: Kernel
) -> Iterator[Written]:
    for groups, places in _last_touches(made, keys, kernel):
        yield Written([names[n] for n in groups], objects_of(made.left.at(places)))


def _last_touches(
    made: Made, keys: Keys, kernel: Kernel
) -> Iterator[tuple[list[int], pl.Series]]:
    """Yield keys and the places of records that leave what they have now."""
    is_all = bool(made.touched.all())
    if keys.counts is None:
        places = keys.rows if is_all else made.touched.arg_true()
        yield places.to_list(), places
        return
    is_any_removed = bool(made.removed.any())
    if is_all and not is_any_removed:
        yield list(range(keys.frame.height)), keys.rows[keys.counts.cum_sum() - 1]
        return
    groups = keys.groups[keys.back].alias(GROUP)
    frame = pl.DataFrame([groups]).with_row_index(_ROW).filter(made.touched)
    # The table has keys in the order they came: one that goes and comes again in another
    # part of the batch is behind all others.
    parts = pl.col(_ROW) // kernel.part_records if is_any_removed else pl.lit(0)
    last = (
        frame.with_columns(parts.alias("part"))
        .group_by("part", GROUP, maintain_order=True)
        .agg(pl.col(_ROW).last())
    )
    for part in last.partition_by("part", maintain_order=True):
        yield part[GROUP].to_list(), part[_ROW]
