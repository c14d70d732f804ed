"""Tests of checkpoint_states.py: the keyed state of a checkpoint directory as tables."""

import datetime
import json
import os
from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from millstream.commands import checkpoint_states
from millstream.engine.base.errors import UsageError
from millstream.testing import StreamHarness


@dataclass
class Basket:
    """A state of the program's own."""

    items: int
    total: float


Point = namedtuple("Point", "x y")  # noqa: PYI024  As programs have them.


def keep(home: Path, value_of: Callable[[str], Any]) -> str:
    """Keep a state a word for two batches, and return the checkpoint directory."""
    folder, checkpoint = home / "in", str(home / "checkpoint")
    folder.mkdir()

    def setup(h: StreamHarness) -> None:
        words = h.ssc.textFileStream(str(folder)).map(lambda word: (word, 1))
        kept = words.updateStateByKey(lambda new, old: value_of("x") if new else old)
        h.collect(kept.named("kept"))
        ones = h.ssc.textFileStream(str(folder)).map(lambda word: (word, len(word)))
        h.collect(ones.updateStateByKey(_sum).named("sums of words"))

    with StreamHarness(checkpoint=checkpoint, setup=setup) as h:
        for number, text in enumerate(["a\nbb\n", "a\n"]):
            (folder / f"f{number}").write_text(text)
            os.utime(folder / f"f{number}", (number + 0.5,) * 2)
            h.run()
    return checkpoint


def _sum(new: list[int], old: int | None) -> int:
    return sum(new) + (old or 0)


def ask(directory: str, sql: str, **more: Any) -> list[dict[str, Any]]:
    """Return the rows of an answer."""
    rows: list[dict[str, Any]] = checkpoint_states.query(
        directory, sql, **more
    ).to_dicts()
    return rows


def test_each_state_is_a_table_by_its_name(tmp_path: Path) -> None:
    """With a key and a value a row; names that are no words are quoted."""
    directory = keep(tmp_path, lambda _: 7)

    rows = ask(
        directory, 'select key, value * 10 as ten from "sums of words" order by key'
    )
    assert rows == [{"key": "a", "ten": 20}, {"key": "bb", "ten": 20}]
    assert ask(directory, "select count(*) as n, sum(value) as s from kept") == [
        {"n": 2, "s": 14}
    ]


def test_states_are_joined(tmp_path: Path) -> None:
    """Several of them in one query."""
    directory = keep(tmp_path, lambda _: 7)

    rows = ask(
        directory,
        'select k.key, k.value + s.value as both from kept k join "sums of words" s '
        "on k.key = s.key order by k.key",
    )
    assert rows == [{"key": "a", "both": 9}, {"key": "bb", "both": 9}]


def test_older_batches_can_be_asked_for(tmp_path: Path) -> None:
    """As far as their state is kept; else it says which is."""
    directory = keep(tmp_path, lambda _: 7)
    sql = "select value from \"sums of words\" where key = 'a'"

    assert ask(directory, sql, version=1000) == [{"value": 1}]
    assert ask(directory, sql) == [{"value": 2}]
    with pytest.raises(UsageError, match="isn't kept as of batch 500 ms") as told:
        ask(directory, sql, version=500)
    assert told.value.hint == "it is as of: 1000, 2000"


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        (("x", 1), {"_1": "x", "_2": 1}),
        ([1, 2], [1, 2]),
        ({"a": 1, "b": None}, {"a": 1, "b": None}),
        ({3, 1}, [1, 3]),
        (Decimal("1.5"), Decimal("1.5")),
        (datetime.date(2026, 1, 2), datetime.date(2026, 1, 2)),
        ([1, "x"], "[1, 'x']"),
        (None, None),
    ],
)
def test_plain_values_are_columns(tmp_path: Path, value: Any, seen: Any) -> None:
    """Tuples as SQL has them; what a column can't have is text."""
    directory = keep(tmp_path, lambda _: value)
    found = ask(directory, "select value from kept where key = 'a'")

    # No value is no state: updateStateByKey drops the key.
    assert found == ([] if value is None else [{"value": seen}])


def test_objects_are_unpickled_only_where_that_is_trusted(tmp_path: Path) -> None:
    """It runs what the writer of the directory chose."""
    directory = keep(tmp_path, lambda _: Basket(2, 1.5))
    sql = "select value.items as items from kept where key = 'a'"

    with pytest.raises(UsageError, match="Basket") as told:
        ask(directory, sql)
    assert "--trust" in str(told.value.hint)
    assert ask(directory, sql, trusts=True) == [{"items": 2}]


def test_named_tuples_have_their_names(tmp_path: Path) -> None:
    """Not numbers."""
    directory = keep(tmp_path, lambda _: Point(1, 2))

    rows = ask(directory, "select value from kept where key = 'a'", trusts=True)
    assert rows == [{"value": {"x": 1, "y": 2}}]


def test_a_query_that_is_wrong_says_what_there_is(tmp_path: Path) -> None:
    """Tables and columns."""
    directory = keep(tmp_path, lambda _: 7)

    for sql in (
        "select nothing from kept",
        "select 1 from nothing",
        "select from from",
    ):
        with pytest.raises(UsageError, match="can't be answered") as told:
            ask(directory, sql)
        assert '"kept", "sums of words", with the columns' in str(told.value.hint)


def test_a_stream_without_state_is_refused(tmp_path: Path) -> None:
    """There is nothing to ask for."""
    directory = str(tmp_path / "checkpoint")

    def setup(h: StreamHarness) -> None:
        h.collect(h.stream([["a"]]))

    with StreamHarness(checkpoint=directory, setup=setup) as h:
        h.run()
    with pytest.raises(UsageError, match="has no keyed state"):
        checkpoint_states.states(directory)


def test_a_state_without_keys_is_an_empty_table(tmp_path: Path) -> None:
    """Not an error."""
    directory = keep(tmp_path, lambda _: None)

    assert ask(directory, "select * from kept") == []


def test_the_overview_says_keys_types_and_batches(tmp_path: Path) -> None:
    """Of each state; objects are no type."""
    directory = keep(tmp_path, lambda _: (1, 2))
    found = {each.name: each for each in checkpoint_states.overview(directory)}

    assert set(found) == {"kept", "sums of words"}
    sums = found["sums of words"]
    assert (sums.keys, sums.key_type, sums.value_type) == (2, "String", "Int64")
    assert sums.batches_ms == (1000, 2000)
    assert found["kept"].value_type == "objects"


def test_an_answer_is_a_table_lines_of_json_or_csv(tmp_path: Path) -> None:
    """What is nested is JSON in CSV."""
    directory = keep(tmp_path, lambda _: (1, "x,y"))
    answer = checkpoint_states.query(
        directory, "select key, value from kept order by key limit 1"
    )

    (line,) = checkpoint_states.as_json_lines(answer)
    assert json.loads(line) == {"key": "a", "value": {"_1": 1, "_2": "x,y"}}
    assert list(checkpoint_states.as_csv(answer)) == [
        "key,value",
        'a,"{""_1"": 1, ""_2"": ""x,y""}"',
    ]
    assert "key" in checkpoint_states.as_table(answer).splitlines()[1]
