"""Tests of engine/columnar/lookup.py."""

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.columnar.blocks import Columns
from millstream.engine.columnar.lookup import places, put_together, recall, remember
from millstream.engine.columnar.shapes import Kind, Plain, TupleOf

PAIR = TupleOf((Plain(Kind.STR), Plain(Kind.INT)))
KEYS: dict[str, tuple[st.SearchStrategy[Any], Any]] = {
    "text": (st.none() | st.text("aé", max_size=2), pl.String),
    "bytes": (st.binary(max_size=2), pl.Binary),
    "ints": (st.none() | st.integers(-9, 9), pl.Int64),
}


def keys_of(*columns: list[Any], dtype: Any = pl.String) -> pl.DataFrame:
    """Return a frame of keys."""
    names = [f"k{n}" for n in range(len(columns))]
    return pl.DataFrame(
        [
            pl.Series(name, column, dtype=dtype)
            for name, column in zip(names, columns, strict=True)
        ]
    )


def pairs(texts: list[str]) -> Columns:
    """Return pairs of these keys."""
    numbers = pl.Series("c1", range(len(texts)), dtype=pl.Int64)
    return Columns(pl.DataFrame([pl.Series("c0", texts), numbers]), PAIR)


@pytest.mark.parametrize("kind", KEYS)
@given(st.data())
def test_a_key_is_found_where_it_is(kind: str, data: st.DataObject) -> None:
    """None too, which is a key like others; and null stands for what isn't there."""
    values, dtype = KEYS[kind]
    keys = data.draw(st.lists(values, max_size=8))
    within = data.draw(st.lists(values, unique=True, max_size=8))

    found = places(keys_of(keys, dtype=dtype), keys_of(within, dtype=dtype))

    assert found.to_list() == [within.index(k) if k in within else None for k in keys]


def test_keys_of_several_columns() -> None:
    """All of them must be alike."""
    within = keys_of(["a", "a", None], ["x", "y", "x"])

    found = places(keys_of(["a", None, "x"], ["y", "x", "a"]), within)

    assert found.to_list() == [1, 2, None]


def test_texts_of_one_hash_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether one of them is there, or two."""

    def one(series: pl.Series) -> pl.Series:
        return pl.repeat(7, len(series), dtype=pl.UInt64, eager=True)

    monkeypatch.setattr(pl.Series, "hash", one)

    assert places(keys_of(["b", "c"]), keys_of(["a"])).to_list() == [None, None]
    assert places(keys_of(["b", "c"]), keys_of(["a", "b"])).to_list() == [1, None]


@given(st.dictionaries(st.text("ab", max_size=2), st.integers(0, 9)), st.data())
def test_frames_are_put_together_as_dicts_are(
    whole: dict[str, int], data: st.DataObject
) -> None:
    """And it is told where the second one's keys are now."""
    part = data.draw(st.dictionaries(st.text("abc", max_size=2), st.integers(0, 9)))
    schema = {"k0": pl.String, "v0": pl.Int64}
    old, new = (
        pl.DataFrame({"k0": list(d), "v0": list(d.values())}, schema=schema)
        for d in (whole, part)
    )

    made, at = put_together(old, new, ["k0"], lambda a, b: [a[0] * 10 + b[0]])

    for key, value in part.items():
        whole[key] = whole[key] * 10 + value if key in whole else value
    assert made.rows() == list(whole.items())
    assert at.to_list() == [list(whole).index(key) for key in part]


def test_places_are_remembered_as_long_as_they_are_right() -> None:
    """A guess is looked at: keys may have moved, or gone, meanwhile."""
    part = pairs(["b", "a"])
    keys = keys_of(["b", "a"])
    assert recall(part, keys, keys_of(["a", "b"])) is None

    remember(part, pl.Series([1, 0], dtype=pl.get_index_type()))

    found = recall(part, keys, keys_of(["a", "b", "c"]))
    assert found is not None
    assert found.to_list() == [1, 0]
    assert recall(part, keys, keys_of(["x", "a", "b"])) is None
    assert recall(part, keys, keys_of(["a"])) is None
    assert recall(pairs(["b", "a"]), keys, keys_of(["a", "b"])) is None
