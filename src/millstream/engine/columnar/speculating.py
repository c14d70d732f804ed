"""Speculating: all records of a batch at once, each with a guess at the state it finds.

The function is run over all of them, and then it is looked whether each found what the one
before it left: if so for all, all is as if they had come one by one. From the first record
of a key for which it isn't so, the rest of that key is guessed anew.
"""

from dataclasses import dataclass, field

import polars as pl

from millstream.engine.columnar import shapes
from millstream.engine.columnar.gathering import gathered
from millstream.engine.columnar.guessing import (
    EXISTS,
    GROUP,
    START,
    Habits,
    Way,
    differing,
    guessed,
    learned,
)
from millstream.engine.columnar.shapes import Shape
from millstream.engine.columnar.state_runs import (
    Batch,
    Made,
    States,
    common,
    no_states,
    states_of,
)
from millstream.engine.columnar.values import Refusal

_ROUNDS_MAX = 16
_WORK_MAX = 4
"""The records of all rounds together are at most so many times those of the batch."""
_WORK_SPARE = 10_000
_SAMPLE_KEYS = 20


@dataclass(slots=True)
class Speculation:
    """The rounds of one batch. All is in the order of `Keys.rows`: key by key."""

    batch: Batch
    habits: Habits
    shape: Shape | None = None
    """Of all states that were seen so far."""
    pieces: list[tuple[pl.Series, Made]] = field(default_factory=list)
    """Places of records, and what is certainly made of them."""
    is_known_alone: bool = True
    """Whether it is known in columns what is done for a key without a state."""

    def made(self, old: States) -> Made:
        """Return what is made of all records, as they came, of keys that have `old`.

        Raises:
            Refusal: No guess was right.
        """
        rows, groups = self.batch.keys.rows, self.batch.keys.groups
        work_left = _WORK_MAX * len(rows) + _WORK_SPARE
        alone = self._alone(len(rows))
        self.shape = common(old.shape, alone.shape)
        whole, found = self._first_round(old, alone)
        is_off = self._is_off(found, whole.left.at(rows), _changes(groups))
        if is_off.any() and self._learns(old, alone):
            whole, found = self._first_round(old, alone)
            is_off = self._is_off(found, whole.left.at(rows), _changes(groups))
        if not is_off.any():
            return whole
        made, alone = whole.at(rows), alone.at(rows)
        for _ in range(_ROUNDS_MAX):
            is_open = _from_first(is_off, groups)
            done, places = (~is_open).arg_true(), is_open.arg_true()
            self.pieces.append((rows[done], made.at(done)))
            work_left -= len(places)
            if not len(places):
                return self._whole()
            if work_left < 0:
                break
            # What the first open record of a key finds is certain: the one before is done.
            initial = made.left.at((places.cast(pl.Int64) - 1).clip(0))
            rows, groups, alone = rows[places], groups[places], alone.at(places)
            found = self._guessed(groups, alone, initial)
            made = self.batch.run(rows, found)
            is_off = self._is_off(found, made.left, _changes(groups))
        msg = "states built up in an unknown way"
        raise Refusal(msg)

    def _alone(self, height: int) -> States:
        """Return what each record would leave if it were the only one ever."""
        nothing = no_states(height)
        try:
            return self.batch.run(None, nothing).left
        except Refusal:
            self.is_known_alone = False
            return nothing  # Such as a function that expects a state to be there.

    def _first_round(self, old: States, alone: States) -> tuple[Made, States]:
        """Return what is made of all records, as they came, and what they found."""
        keys = self.batch.keys
        found = self._guessed(keys.groups, alone.at(keys.rows), old.at(keys.groups))
        return self.batch.run(None, found.at(keys.back)), found

    def _learns(self, old: States, alone: States) -> bool:
        """Try the function itself on a few records, and say whether a guess was wrong.

        Not before it has run in columns, for keys with and without a state: what is known
        there has no side effects.
        """
        is_learned = self.shape is None or self.shape in self.habits.ways
        if is_learned or not self.is_known_alone:
            return False
        before = self._ways()
        counts = self.batch.keys.counts
        assert counts is not None, "else nothing is to be guessed"
        few = (counts > 1).arg_true().head(_SAMPLE_KEYS)
        places, groups, states = self.batch.by_hand(few, old)
        found = states_of(states)
        self.shape = common(self.shape, found.shape)
        made = self._placed(alone.at(places), groups)
        ways = learned(made, self._flat(old.at(groups)), self._flat(found))
        assert self.shape is not None, "it was of a shape before"
        self.habits.ways[self.shape] = ways
        return ways != before

    def _ways(self) -> tuple[Way, ...]:
        if self.shape is None:
            return ()
        known = self.habits.ways.get(self.shape)
        return known or tuple(
            Way.SUM if dtype.is_numeric() else Way.LAST
            for dtype in shapes.dtypes(self.shape)
        )

    def _guessed(self, groups: pl.Series, alone: States, initial: States) -> States:
        made = self._placed(alone, groups)
        found = guessed(made, self._flat(initial), self._ways())
        return States(found[EXISTS], found.drop(EXISTS), self.shape)

    def _placed(self, alone: States, groups: pl.Series) -> pl.DataFrame:
        return self._flat(alone).with_columns(
            groups.alias(GROUP), _changes(groups).alias(START)
        )

    def _flat(self, states: States) -> pl.DataFrame:
        """Return states in the columns of all states, and whether they exist."""
        frame, height = states.frame, len(states.exists)
        if states.shape is None and self.shape is not None:
            frame = pl.DataFrame(height=height).with_columns(
                pl.repeat(None, height, dtype=dtype, eager=True).alias(f"s{n}")
                for n, dtype in enumerate(shapes.dtypes(self.shape))
            )
        return frame.with_columns(states.exists.alias(EXISTS))

    def _is_off(self, found: States, left: States, starts: pl.Series) -> pl.Series:
        """Return which records found what the record before hasn't left."""
        self.shape = common(self.shape, left.shape)
        after, before = self._flat(found), self._flat(left)
        is_off = pl.repeat(False, after.height, dtype=pl.Boolean, eager=True)
        for name in after.columns:
            is_off = is_off | differing(after[name], before[name].shift(1))
        return is_off & ~starts

    def _whole(self) -> Made:
        """Return all pieces as one, in the order of records."""
        back = pl.concat([rows for rows, _ in self.pieces]).arg_sort()
        parts = [made for _, made in self.pieces if made.mapped.count]
        mapped = gathered([made.mapped for made in parts])
        assert mapped is not None, "there are records"
        flat = pl.concat([self._flat(made.left) for made in parts])
        left = States(flat[EXISTS], flat.drop(EXISTS), self.shape)
        flags = [
            pl.concat([getattr(made, name) for made in parts])
            for name in ("emitted", "touched", "removed")
        ]
        return Made(mapped, flags[0], left, flags[1], flags[2]).at(back)


def _changes(groups: pl.Series) -> pl.Series:
    """Return which records are the first of their group."""
    return groups.ne_missing(groups.shift(1))


def _from_first(is_off: pl.Series, groups: pl.Series) -> pl.Series:
    """Return which records are at the first one that is off in their group, or after it."""
    frame = pl.DataFrame([is_off.alias("off"), groups.alias(GROUP)])
    return frame.select(pl.col("off").cum_max().over(GROUP)).to_series()
