"""Tests of engine/durable/state_frames.py."""

import io
import math
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.base import frames
from millstream.engine.base.errors import DurabilityError
from millstream.engine.durable import state_frames
from millstream.engine.durable.state_frames import StateColumns
from millstream.engine.durable.state_values import freeze_state, thaw_state

NAME = "state/delta-1.arrow"
TYPED: list[tuple[list[Any], pl.DataType]] = [
    ([0, -(2**63), 2**63 - 1], pl.Int64()),
    (["", "é", "日本", "\0"], pl.String()),
    ([0.5, -0.0, math.inf, 5e-324], pl.Float64()),
    ([b"", b"\x00\xff"], pl.Binary()),
    ([True, False], pl.Boolean()),
]
PICKLED: list[list[Any]] = [
    [1, 2**63],
    [-(2**200)],
    ["fine", "\ud800"],
    [None],
    [(1, "a"), (2, None)],
    [1, "1"],
    [1, 1.5],
    [1, True],
    [b"a", "a"],
    [frozenset({1})],
]
ATOMS = (
    st.integers()
    | st.text(st.characters())
    | st.floats(allow_nan=False)
    | st.binary()
    | st.booleans()
    | st.none()
)
VALUES = (
    st.lists(ATOMS)
    | st.lists(st.integers())
    | st.lists(st.text())
    | st.lists(st.tuples(ATOMS, ATOMS))
)


def _columns(keys: list[Any], states: list[Any]) -> StateColumns:
    count = len(keys)
    kept = [freeze_state(each) for each in states]
    return StateColumns([3] * count, keys, kept, [1000] * count, [False] * count)


def _typed(values: list[Any]) -> list[tuple[type, Any]]:
    """Tell 1 from 1.0 and from True, and 0.0 from -0.0."""
    return [(type(each), repr(each)) for each in values]


def _check_round_trip(keys: list[Any], states: list[Any]) -> None:
    read = state_frames.decode(state_frames.encode(_columns(keys, states)), NAME)
    assert _typed(read.keys) == _typed(keys)
    assert _typed([thaw_state(each) for each in read.states]) == _typed(states)


@given(VALUES, st.data())
def test_what_was_encoded_is_decoded(keys: list[Any], data: st.DataObject) -> None:
    """Any keys and states, equal in value and in type."""
    elements = data.draw(
        st.sampled_from([ATOMS, st.integers(), st.text(), st.floats()])
    )
    states = data.draw(st.lists(elements, min_size=len(keys), max_size=len(keys)))

    _check_round_trip(keys, states)


@pytest.mark.parametrize(("values", "dtype"), TYPED)
def test_values_of_one_plain_type_are_a_typed_column(
    values: list[Any], dtype: pl.DataType
) -> None:
    """Keys and states alike; they come back exactly."""
    frame = state_frames.to_frame(_columns(values, values))

    assert frame.schema["key"] == dtype
    assert frame.schema["state"] == dtype
    _check_round_trip(values, values)


@pytest.mark.parametrize("values", PICKLED)
def test_other_keys_are_a_column_of_pickles(values: list[Any]) -> None:
    """Ints too large, text that isn't UTF-8, None, tuples, and types that are mixed."""
    frame = state_frames.to_frame(_columns(values, values))
    kinds = {type(part) for value in values for part in _parts(value)}
    name = "key_plain" if kinds <= {int, str, bytes, type(None)} else "key_pickled"

    assert frame.schema[name] == pl.Binary
    assert [each for each in frame.columns if each.startswith("key")] == [name]
    _check_round_trip(values, values)


def _parts(value: Any) -> list[Any]:
    """Return what a key is made of."""
    if type(value) is not tuple:
        return [value]
    return [part for item in value for part in _parts(item)]


PLAIN = st.recursive(
    st.none() | st.integers(-2, 2) | st.integers() | st.sampled_from(["", "a", b"a"]),
    lambda inner: st.lists(inner, max_size=3).map(tuple),
    max_leaves=5,
)


@given(PLAIN, PLAIN, st.sampled_from(["x", (1, "x")]))
def test_plain_keys_are_equal_as_their_bytes_are(a: Any, b: Any, shared: Any) -> None:
    """Whatever objects they share inside: it is why they can be merged natively."""
    twice = (a, shared, shared, a)
    again = frames.loads(frames.dumps(twice))
    frame = state_frames.to_frame(_columns([(a,), (b,), twice, again], [1] * 4))
    first, second, third, fourth = frame["key_plain"].to_list()

    assert state_frames.key_column(frame) == "key_plain"
    assert (first == second) == ((a,) == (b,))
    assert third == fourth


@pytest.mark.parametrize("other", [True, 1.0, (1.0,), ((1,), (False,)), frozenset({1})])
def test_keys_that_may_equal_others_have_no_column_to_compare(other: Any) -> None:
    """1.0 is 1, and True is, also inside of tuples: only Python tells."""
    frame = state_frames.to_frame(_columns([(1,), other], [1, 2]))

    assert "key_pickled" in frame.columns
    assert state_frames.key_column(frame) is None
    floats = state_frames.to_frame(_columns([0.0, -0.0], [1, 2]))
    assert state_frames.key_column(floats) is None


def test_the_other_columns_come_back() -> None:
    """Partition, stamp and the mark of dropped keys, which have no state."""
    rows = StateColumns(
        [0, 2**32 - 1], ["a", "b"], [1, None], [-5, 2**62], [False, True]
    )

    assert state_frames.decode(state_frames.encode(rows), NAME) == rows


def test_no_rows_are_a_file_too() -> None:
    """An empty one comes back empty."""
    rows = StateColumns([], [], [], [], [])

    assert state_frames.decode(state_frames.encode(rows), NAME) == rows


def test_any_arrow_reader_reads_a_file() -> None:
    """The trailer is behind the end of the stream, where it doesn't disturb."""
    ipc = pytest.importorskip("pyarrow.ipc")
    data = state_frames.encode(_columns(["a", "b"], [1, 2]))

    table = ipc.open_stream(io.BytesIO(data)).read_all()

    assert table.column_names == ["partition", "key", "state", "stamp", "is_gone"]
    assert table["key"].to_pylist() == ["a", "b"]
    assert table["state"].to_pylist() == [1, 2]


def test_a_file_cut_anywhere_is_noticed() -> None:
    """The error names the file; also when nothing is left."""
    data = state_frames.encode(_columns(["a"], [1]))
    for cut in range(len(data)):
        with pytest.raises(DurabilityError, match=NAME):
            state_frames.decode(data[:cut], NAME)


def test_a_flipped_bit_is_noticed() -> None:
    """Each bit of the file, the trailer's too."""
    data = state_frames.encode(_columns(["a"], [1]))
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        # Not `pytest.raises`: ten thousand of them take a second.
        try:
            state_frames.decode(bytes(flipped), NAME)
        except DurabilityError as error:
            assert NAME in str(error)
        else:
            pytest.fail(f"bit {bit} flipped unnoticed")


@pytest.mark.parametrize("rest", [b"x", bytes(16), b"MSTA"])
def test_what_follows_the_trailer_is_damage(rest: bytes) -> None:
    """Zeros that a file system left, or a second trailer's end."""
    data = state_frames.encode(_columns(["a"], [1]))
    with pytest.raises(DurabilityError, match=NAME):
        state_frames.decode(data + rest, NAME)
    with pytest.raises(DurabilityError, match=NAME):
        state_frames.decode(data + data[:-1], NAME)


@pytest.mark.parametrize(
    ("keys", "states"),
    [
        ([1, 2], [3, 4]),
        (["a", ""], [0.5, -0.0]),
        ([b"\xff", b""], ["x", "ß"]),
        ([True, False], [b"", b"y"]),
    ],
)
def test_typed_rows_are_pairs_in_columns(keys: list[Any], states: list[Any]) -> None:
    """As they were put in."""
    rows = StateColumns([0, 0], keys, states, [1, 2], [False, False])

    pairs = state_frames.as_columns(state_frames.to_frame(rows))

    assert pairs is not None
    assert list(map(repr, pairs.thaw())) == list(
        map(repr, zip(keys, states, strict=True))
    )


@pytest.mark.parametrize(
    ("keys", "states"),
    [
        ([1, "a"], [3, 4]),
        ([1, 2], [3, None]),
        ([1, 2], [3, 4.0]),
        ([(1, 2)] * 2, [3, 4]),
    ],
)
def test_what_is_pickled_has_no_columns(keys: list[Any], states: list[Any]) -> None:
    """Nor has what is sometimes None."""
    kept = list(map(freeze_state, states))
    rows = StateColumns([0, 0], keys, kept, [1, 2], [False, False])

    assert state_frames.as_columns(state_frames.to_frame(rows)) is None
