"""Tests of engine/plan/partitioners.py."""

import datetime
import os
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.base.errors import IllegalArgumentError
from millstream.engine.plan.partitioners import Partitioner, portable_hash, split_pairs

UTC = datetime.UTC
keys = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False),
        st.text(),
        st.binary(),
        st.dates(),
        st.datetimes(),
    ),
    lambda inner: st.one_of(st.tuples(inner, inner), st.frozensets(inner, max_size=3)),
    max_leaves=4,
)


@given(keys, keys)
def test_equal_keys_hash_alike(a: Any, b: Any) -> None:
    """Whatever Python calls equal is placed together."""
    if a == b:
        assert portable_hash(a) == portable_hash(b)


def test_numbers_that_are_equal_share_a_place() -> None:
    """1, 1.0 and True are one key."""
    assert portable_hash(1) == portable_hash(1.0) == portable_hash(True)
    assert portable_hash((1, "a")) == portable_hash((True, "a"))


def test_aware_instants_hash_by_the_instant() -> None:
    """The same moment in two zones is one key."""
    plus_two = datetime.timezone(datetime.timedelta(hours=2))
    noon = datetime.datetime(2026, 1, 1, 12, tzinfo=UTC)

    assert noon == noon.astimezone(plus_two)
    assert portable_hash(noon) == portable_hash(noon.astimezone(plus_two))


@pytest.mark.slow
def test_hashes_do_not_depend_on_the_process() -> None:
    """Two interpreters with different hash seeds agree."""
    program = (
        "import datetime;"
        "from millstream.engine.plan.partitioners import portable_hash as h;"
        "print([h(k) for k in ['a', b'b', ('x', ('y', 1)), frozenset('pq'), None,"
        " 2.5, datetime.datetime(2026, 1, 2), datetime.date(2026, 1, 2)]])"
    )

    def run(seed: str) -> str:
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        return subprocess.run(
            [sys.executable, "-c", program],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    assert run("1") == run("2")


@given(
    st.lists(st.tuples(st.one_of(st.text(), st.integers(), st.none()), st.integers())),
    st.integers(1, 5),
)
def test_pairs_go_where_the_partitioner_says(rows: list[Any], count: int) -> None:
    """Each pair is in its key's bucket, in arrival order, and none is lost."""
    partitioner = Partitioner(count)
    buckets = split_pairs(rows, count, portable_hash)

    assert len(buckets) == count
    for index, bucket in enumerate(buckets):
        assert bucket == [r for r in rows if partitioner.partition_of(r[0]) == index]


def test_a_function_of_the_users_places_keys() -> None:
    """Any integer will do, negative ones too."""
    buckets = split_pairs([(1, "a"), (2, "b"), (3, "c")], 2, lambda key: -key)

    assert buckets == [[(2, "b")], [(1, "a"), (3, "c")]]


def test_partitioners_are_equal_by_count_and_function() -> None:
    """Equality decides whether a shuffle is needed."""
    assert Partitioner(2) == Partitioner(2)
    assert Partitioner(2) != Partitioner(3)
    assert Partitioner(2) != Partitioner(2, hash)
    with pytest.raises(IllegalArgumentError, match="cannot be negative"):
        Partitioner(-1)
