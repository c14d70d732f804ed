"""Tests of engine/streams/map_state.py."""

from typing import Any, cast

import polars as pl
import pytest

from millstream.engine.columnar.blocks import Columns
from millstream.engine.columnar.execution import DifferenceError
from millstream.engine.columnar.mapping_states import Mapped, Written
from millstream.engine.columnar.shapes import Kind, Plain
from millstream.engine.columnar.state_runs import NO_STATE
from millstream.engine.durable.state_map import VersionedMap
from millstream.engine.durable.state_store import PartitionChanges
from millstream.engine.streams.map_state import MapWithState, _verify
from millstream.engine.streams.state_spec import State, StateSpec

KERNEL = MapWithState(
    0,
    StateSpec.function(lambda key, value, state: _count(value, state)),
    2000,
    1000,
    None,
    None,
)


def _count(value: int, state: State) -> int:
    if not value:
        state.remove()
        return 0
    state.update((state.getOption() or 0) + value)
    return int(state.get())


def _found(records: list[int], written: dict[str, Any]) -> Mapped:
    frame = pl.DataFrame({"c0": records})
    changes = [Written(list(written), list(written.values()))]
    return Mapped(Columns(frame, Plain(Kind.INT)), changes)


RIGHT = _found([1, 3, 1, 0], {"a": 3, "b": NO_STATE})


@pytest.mark.parametrize(
    ("found", "what"),
    [
        (_found([1, 3, 1, 1], {"a": 3, "b": NO_STATE}), "after mapWithState:"),
        (_found([1, 3, 1], {"a": 3, "b": NO_STATE}), "after mapWithState:"),
        (_found([1, 3, 1, 0], {"a": 2, "b": NO_STATE}), "mapWithState, changes"),
        (_found([1, 3, 1, 0], {"a": 3}), "mapWithState, changes"),
        (_found([1, 3, 1, 0], {"b": NO_STATE, "a": 3}), "mapWithState, changes"),
        (_found([1, 3, 1, 0], {"a": 3.0, "b": NO_STATE}), "mapWithState, changes"),
    ],
)
def test_what_differs_from_rows_is_an_error(found: Mapped, what: str) -> None:
    """In what is mapped or kept, its order and types; the comparison changes nothing."""
    store = cast("Any", None)
    changes = PartitionChanges(store, 2000, 0, VersionedMap(), None)
    pieces = [[("a", 1), ("a", 2), ("b", 1), ("b", 0)]]

    _verify(KERNEL, changes, pieces, RIGHT)
    with pytest.raises(DifferenceError, match=what):
        _verify(KERNEL, changes, pieces, found)

    assert not changes.changed
