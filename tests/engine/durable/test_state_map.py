"""Tests of durable/state_map.py: against plain dicts, version by version."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.durable.state_map import VersionedMap

history = st.lists(
    st.tuples(
        st.dictionaries(st.integers(0, 5), st.integers(), max_size=4),
        st.sets(st.integers(0, 5), max_size=3),
        st.sampled_from(["", "again", "forget", "index"]),
    ),
    max_size=12,
)


@given(history)
def test_any_version_kept_reads_as_its_dict(
    steps: list[tuple[dict[int, int], set[int], str]],
) -> None:
    """Whole, key by key and by age; also when a version is applied twice."""
    known = VersionedMap()
    model: dict[int, tuple[int, int]] = {}
    expected: dict[int, dict[int, tuple[int, int]]] = {}
    floor = 0
    for version, (puts, gone, then) in enumerate(steps):
        if then == "again":  # A first attempt that wrote something else.
            known.apply(version, {0: (-1, version), 9: (-1, version)}, [1, 2])
        dropped = gone - set(puts)
        known.apply(version, {k: (v, version) for k, v in puts.items()}, dropped)
        model.update({k: (v, version) for k, v in puts.items()})
        for key in dropped:
            model.pop(key, None)
        expected[version] = dict(model)
        if then == "forget":
            floor = version
            known.forget_before(floor)
        if then == "index":
            old = known.older_than(version, version)
            assert sorted(old) == sorted(k for k, v in model.items() if v[1] < version)
    for version in range(floor, len(steps)):
        wanted = expected[version]
        found = {key: (state, stamp) for key, state, stamp in known.items(version)}
        assert found == wanted
        assert all(known.get(key, version) == wanted.get(key) for key in range(10))
        old = known.older_than(version, version)
        assert sorted(old) == sorted(k for k, v in wanted.items() if v[1] < version)
    assert len(known) == len(model)


def test_the_first_object_seen_for_a_key_stays() -> None:
    """1 and 1.0 are one key, and it is the 1."""
    known: Any = VersionedMap()
    known.apply(1, {1: ("a", 1)}, [])
    known.apply(2, {1.0: ("b", 2)}, [])

    (entry,) = known.items(2)
    assert entry == (1, "b", 2)
    assert type(entry[0]) is int


def test_reading_a_new_version_looks_at_no_old_one() -> None:
    """The newest version is one look-up, however many are kept."""
    known = VersionedMap()
    for version in range(100):
        known.apply(version, {version: (version, version)}, [])

    assert known.get(50, 99) == (50, 50)
    assert known.get(50, 49) is None
    known.forget_before(99)
    assert known._undo == {}
