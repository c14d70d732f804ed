"""Placement: which partition keyed state is in, and what a restart must move.

The number of partitions may have changed since a checkpoint, or the function that places
keys, or what `hash()` says of keys that are neither numbers nor text: it differs from
process to process, unless PYTHONHASHSEED is set. State of keys in the wrong place would
never be found again, so it is moved first.
"""

from collections.abc import Callable, Mapping
from typing import Any

from millstream.engine.durable import state_frames
from millstream.engine.durable.state_files import StateFiles
from millstream.engine.plan.partitioners import portable_hash
from millstream.engine.streams.stateful import KeyedStateOperator

_PORTABLE = "portable"
_OWN = "own"
_NONE = "none"


def record_of(operator: KeyedStateOperator) -> dict[str, Any]:
    """Return how a manifest says where an operator's keys are."""
    return {
        "partitions": operator.place.count,
        "function": _function_of(operator),
        "hash_seed": _hash_seed(),
    }


def _function_of(operator: KeyedStateOperator) -> str:
    if not operator.is_placed:
        return _NONE
    return _PORTABLE if operator.place.function is portable_hash else _OWN


def _hash_seed() -> int:
    """Return a number that differs where `hash()` of text does."""
    return hash("millstream")


def put_in_place(
    files: StateFiles, record: Mapping[str, Any], operator: KeyedStateOperator
) -> int:
    """Move the state that isn't where `operator` looks for it; return how many rows.

    `record` is what `record_of` said when the files were written. Files in which a row
    moves are written anew, under other names. Reads no file where nothing can have moved.

    Raises:
        DurabilityError, OSError: A file is damaged, or the disk refuses one.
    """
    now = record_of(operator)
    if now == record and now["function"] != _OWN:
        return 0
    same_rule = (now["partitions"], now["function"]) == (
        record["partitions"],
        record["function"],
    )
    if same_rule and now["function"] == _NONE:
        return 0
    # Typed keys are numbers, text or bytes: the portable hash needs no seed for them.
    skips_typed = same_rule and now["function"] == _PORTABLE
    mover = _Mover(
        operator.place.partition_of if operator.is_placed else _nowhere, skips_typed
    )
    files.rewrite(mover)
    return mover.moved


def _nowhere(_key: Any) -> int:
    return 0  # Where updateStateByKey keeps what it can't place.


class _Mover:
    """Gives the rows of a file their places; counts those that move."""

    def __init__(self, partition_of: Callable[[Any], int], skips_typed: bool) -> None:
        self._partition_of = partition_of
        self._skips_typed = skips_typed
        self.moved = 0

    def __call__(self, frame: Any) -> Any:
        """Return the frame with its rows in place; None when they are."""
        if self._skips_typed and "key" in frame.columns:
            return None
        before = frame["partition"].to_list()
        after = list(map(self._partition_of, state_frames.keys_of(frame)))
        moved = sum(a != b for a, b in zip(before, after, strict=True))
        self.moved += moved
        return state_frames.with_partitions(frame, after) if moved else None
