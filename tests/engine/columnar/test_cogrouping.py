"""Tests of engine/columnar/cogrouping.py: groups are those of the row path, in its order."""

from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from millstream import SparkConf, SparkContext
from millstream.engine.columnar.cogrouping import cogrouped
from millstream.engine.columnar.gathering import gathered
from millstream.engine.columnar.values import Refusal
from millstream.engine.plan.kernels import CoGroup

keys = st.one_of(
    st.integers(-2, 2),
    st.sampled_from(["", "a", "b", "é"]),
    st.tuples(st.integers(0, 1), st.sampled_from("xy")),
    st.none(),
    st.booleans(),
    st.sampled_from([0.5, -0.0, float("nan")]),
)
values = st.one_of(st.integers(), st.floats(), st.text(max_size=2), st.none())


def _of_one_kind(pairs: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Return the pairs whose key and value are of the first one's types."""
    if not pairs:
        return pairs
    key, value = pairs[0]
    return [(k, v) for k, v in pairs if type(k) is type(key) and type(v) is type(value)]


parents = st.lists(
    st.lists(st.tuples(keys, values), max_size=12).map(_of_one_kind),
    min_size=1,
    max_size=3,
)


@given(parents)
def test_groups_are_what_rows_give(given_parents: list[list[tuple[Any, Any]]]) -> None:
    """Or else it is said that rows must do it."""
    expected = list(CoGroup(len(given_parents))(0, given_parents))
    try:
        made = cogrouped(list(map(gathered, [[each] for each in given_parents])))
    except Refusal:
        event("refused")
        return

    event("by columns")
    assert repr([] if made is None else made.thaw()) == repr(expected)


def test_keys_of_one_parent_alone_have_empty_lists() -> None:
    """Wherever they are first seen."""
    here = gathered([[("a", 1), ("b", 2), ("a", 3)]])
    there = gathered([[("c", "x"), ("b", "y")]])

    made = cogrouped([here, there])

    assert made is not None
    assert made.is_keyed
    assert made.thaw() == [
        ("a", ([1, 3], [])),
        ("b", ([2], ["y"])),
        ("c", ([], ["x"])),
    ]


def test_no_pairs_at_all_make_no_groups() -> None:
    """And one parent without any is left to rows: of what type are its lists?"""
    assert cogrouped([None, None]) is None
    with pytest.raises(Refusal, match="without any pairs"):
        cogrouped([gathered([[("a", 1)]]), None])


@pytest.mark.parametrize("mode", ["on", "verify"])
@pytest.mark.slow
def test_a_program_cogroups_by_columns(
    mode: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """And goes on by columns with what it makes of the groups."""
    conf = SparkConf().set("spark.millstream.columnar", mode)
    conf.set("spark.millstream.columnar.rows.min", "0")  # Objects, too.
    with SparkContext("local[2]", "cogroup", conf=conf) as sc:
        here = sc.parallelize([(n % 100, n) for n in range(20_000)], 2)
        there = sc.parallelize([(n % 150, 1) for n in range(30_000)], 2)
        made = here.cogroup(there).mapValues(lambda both: (sum(both[0]), len(both[1])))
        found = dict(made.collect())
        made.explain()

    told = capsys.readouterr().out.splitlines()
    assert found == {
        k: (sum(range(k, 20_000, 100)) if k < 100 else 0, 200) for k in range(150)
    }
    assert [line.rpartition(": ")[2] for line in told[:3]] == ["columns"] * 3
