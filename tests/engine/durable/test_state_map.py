"""Tests of durable/state_map.py, and of both kinds of tables: against plain dicts."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millstream.engine.base.errors import DurabilityError
from millstream.engine.durable.state_map import VersionedMap, VersionForgottenError
from millstream.engine.durable.state_spill import SpilledTable
from millstream.engine.durable.state_table import ABSENT, MemoryTable, StateTable
from millstream.engine.durable.state_values import freeze_state, thaw_state

MakeTable = Callable[[], StateTable]


@pytest.fixture(params=["memory", "file"])
def make_table(request: pytest.FixtureRequest, tmp_path: Path) -> MakeTable:
    """Return what makes an empty table, with stamps, of either kind."""
    numbers = iter(range(10_000))

    def make() -> StateTable:
        if request.param == "memory":
            return MemoryTable(keeps_stamps=True)
        return SpilledTable(tmp_path / f"{next(numbers)}.sqlite", keeps_stamps=True)

    return make


# Keys that are equal though they differ, that have equal hashes, that are no value of a
# file's own type, and that hide characters.
KEYS: list[Any] = [
    0,
    1,
    True,
    1.0,
    0.0,
    -0.0,
    -1,
    -2,
    1 << 63,
    -(1 << 63),
    2.0**70,
    1 << 70,
    None,
    "",
    "a",
    "a\0b",
    "é",
    "\udc80",
    b"a",
    (),
    (1, "a"),
    (1.0, "a"),
    (None,),
    frozenset({1}),
]
STATES: list[Any] = [0, True, 1.5, -0.0, 1 << 70, None, "x\0", b"\x80", [1], ABSENT]

history = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from(KEYS), st.sampled_from(STATES), max_size=6),
        st.sampled_from(["", "again", "forget", "index", "move", "reload"]),
    ),
    max_size=12,
)


def kinds(value: Any) -> tuple[Any, str]:
    """Return a value so that only equal ones of equal types are equal."""
    return value, repr(value)


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=history)
def test_any_version_kept_reads_as_its_dict(
    make_table: MakeTable, steps: list[tuple[dict[Any, Any], str]]
) -> None:
    """Whole, key by key, by age; applied twice, moved to another table, loaded anew."""
    known = VersionedMap(table=make_table())
    model: dict[Any, tuple[Any, int]] = {}
    expected: dict[int, dict[Any, tuple[Any, int]]] = {}
    floor = 0
    for version, (changes, then) in enumerate(steps):
        puts = {k: freeze_state(s) for k, s in changes.items() if s is not ABSENT}
        gone = [k for k, s in changes.items() if s is ABSENT]
        if then == "again":  # A first attempt that wrote something else.
            assert known.apply(version, {0: -1, "zz": 7}, [1, None])
        assert known.apply(version, puts, gone)
        assert not known.apply(version - 1, {"late": 1}, [])
        model.update({k: (changes[k], version) for k in puts})
        for key in gone:
            model.pop(key, None)
        expected[version] = dict(model)
        if then in ("forget", "reload"):
            floor = version
            known.forget_before(floor)
        if then == "index":
            old = known.older_than(version, version)
            assert set(old) == {k for k, v in model.items() if v[1] < version}
        if then == "move":
            known.move_to(make_table)
        if then == "reload":
            rows = list(known.items(version))
            stamps = [model[key][1] for key, _ in rows]
            known = VersionedMap(table=make_table())
            known.load(version, [([k for k, _ in rows], [s for _, s in rows], stamps)])
    for version in range(floor, len(steps)):
        wanted = expected[version]
        found = {k: kinds(thaw_state(s)) for k, s in known.items(version)}
        assert found == {k: kinds(s) for k, (s, _) in wanted.items()}
        for key in KEYS:
            state = known.get(key, version)
            assert (state is ABSENT) == (key not in wanted)
            if key in wanted:
                assert kinds(thaw_state(state)) == kinds(wanted[key][0])
        old = known.older_than(version, version)
        assert len(old) == len(set(old))
        assert set(old) == {k for k, v in wanted.items() if v[1] < version}
    assert len(known) == len(model)
    for version in range(floor if steps else 0):
        with pytest.raises(
            VersionForgottenError, match=f"as of {version} is forgotten"
        ):
            known.items(version)
    known.close()


def test_the_first_object_seen_for_a_key_stays(make_table: MakeTable) -> None:
    """1 and 1.0 are one key, and it is the 1."""
    known = VersionedMap(table=make_table())
    known.apply(1, {1: "a"}, [])
    known.apply(2, {1.0: "b"}, [])
    known.apply(3, {True: "c"}, [])

    (entry,) = known.items(3)
    assert entry == (1, "c")
    assert type(entry[0]) is int


def test_a_key_may_be_of_a_class_that_only_the_program_has(
    make_table: MakeTable,
) -> None:
    """Not importable, so it is pickled by value; it is found all the same."""

    @dataclass(frozen=True)
    class Place:
        name: str

    known = VersionedMap(table=make_table())
    known.apply(1, {Place("here"): 1, Place("there"): 2}, [])
    known.apply(2, {Place("here"): 3}, [])

    assert known.get_all([Place("here"), Place("there"), Place("")], 2) == [
        3,
        2,
        ABSENT,
    ]
    assert known.get(Place("here"), 1) == 1


def test_keys_come_in_the_order_they_were_first_put(make_table: MakeTable) -> None:
    """An update leaves a key where it is; a key that was dropped comes back last."""
    known = VersionedMap(table=make_table())
    known.apply(1, {"b": 1, "a": 1, "c": 1}, [])
    known.apply(2, {"d": 2, "a": 2}, ["b"])
    known.apply(3, {"b": 3}, [])

    assert [key for key, _ in known.items(3)] == ["a", "c", "d", "b"]
    known.move_to(lambda: MemoryTable(keeps_stamps=True))
    assert [key for key, _ in known.items(3)] == ["a", "c", "d", "b"]


def test_idle_keys_come_oldest_first(make_table: MakeTable) -> None:
    """However often a key was touched since, and by no other keys' cost."""
    known = VersionedMap(table=make_table())
    for version in range(1, 60):
        known.apply(version, {version % 7: version, "hot": version}, [])
    assert known.older_than(58, 59) == [4, 5, 6, 0, 1]
    known.apply(60, {4: 60}, [5])
    assert known.older_than(58, 60) == [6, 0, 1]
    assert known.older_than(58, 59) == [6, 0, 1, 4, 5]


def test_a_key_whose_touch_is_undone_is_as_old_as_before(make_table: MakeTable) -> None:
    """An attempt touched it; the one that counts didn't."""
    known = VersionedMap(table=make_table())
    known.apply(1, {"a": 1}, [])
    assert known.older_than(1, 1) == []
    known.apply(2, {"a": 2}, [])
    assert known.older_than(2, 2) == []
    known.apply(2, {}, [])
    assert known.older_than(2, 2) == ["a"]


def test_reading_all_goes_on_while_batches_change_it(make_table: MakeTable) -> None:
    """What is read is as of the moment it was asked for."""
    known = VersionedMap(table=make_table())
    known.apply(1, dict.fromkeys(range(5000), 1), [])
    as_of_1 = known.items(1)
    first = next(as_of_1)
    known.apply(2, dict.fromkeys(range(4000, 6000), 2), range(100, 200))
    known.forget_before(2)
    as_of_2 = known.items(2)
    known.apply(3, {}, range(6000))

    assert dict([first, *as_of_1]) == dict.fromkeys(range(5000), 1)
    assert dict(as_of_2) == {
        **dict.fromkeys([*range(100), *range(200, 4000)], 1),
        **dict.fromkeys(range(4000, 6000), 2),
    }
    assert dict(known.items(3)) == {}


def test_reading_a_new_version_looks_at_no_old_one() -> None:
    """The newest version is one look-up, however many are kept."""
    known = VersionedMap()
    for version in range(100):
        known.apply(version, {version: version}, [])

    assert known.get(50, 99) == 50
    assert known.get(50, 49) is ABSENT
    known.forget_before(99)
    assert known._undo == {}


def test_without_stamps_nothing_is_ever_old(tmp_path: Path) -> None:
    """And a stamp costs nothing."""
    small, large = (MemoryTable(keeps_stamps=keeps) for keeps in (False, True))
    for table in (small, large, SpilledTable(tmp_path / "t", keeps_stamps=False)):
        known = VersionedMap(keeps_stamps=table is large, table=table)
        known.apply(1, {"a": 1}, [])
        assert known.older_than(9, 1) == (["a"] if table is large else [])
    assert small.memory_bytes < large.memory_bytes


def test_the_memory_of_a_table_is_about_what_is_in_it() -> None:
    """It grows with keys and with states, and shrinks again."""
    known = VersionedMap(keeps_stamps=False)
    known.apply(1, {n: n for n in range(1000)}, [])
    ints = known.memory_bytes
    known.apply(2, dict.fromkeys(range(1000), "x" * 1000), [])
    texts = known.memory_bytes
    known.apply(3, {n: n for n in range(1000)}, [])
    back = known.memory_bytes
    known.apply(4, {}, range(1000))

    assert 80_000 < ints < 200_000
    assert 1_000_000 < texts - ints < 1_100_000
    assert abs(back - ints) < 1000
    assert known.memory_bytes < 1000


def test_a_file_goes_with_its_table(tmp_path: Path) -> None:
    """Closed or just dropped, also while somebody reads it."""
    closed = SpilledTable(tmp_path / "closed", keeps_stamps=False)
    dropped = SpilledTable(tmp_path / "dropped", keeps_stamps=False)
    closed.fill([1], [1], [1])
    items = closed.items()
    closed.close()
    closed.close()
    del dropped

    assert list(tmp_path.iterdir()) == []
    assert list(items) == [(1, 1)]


def test_a_disk_that_refuses_changes_nothing(tmp_path: Path) -> None:
    """The error names the file and the setting; the version before is there still."""
    table = SpilledTable(tmp_path / "t", keeps_stamps=True)
    known = VersionedMap(table=table)
    known.apply(1, {n: n for n in range(100)}, [])
    pages = table._connection.execute("PRAGMA page_count").fetchone()[0]
    table._connection.execute(f"PRAGMA max_page_count = {pages + 3}")
    with pytest.raises(DurabilityError, match=f"'{tmp_path}/t'.*full") as caught:
        known.apply(2, dict.fromkeys(range(200), "x" * 1000), [0])

    assert "spark.millstream.state.memory" in (caught.value.hint or "")
    assert dict(known.items(1)) == {n: n for n in range(100)}
    assert known.apply(2, {0: "y"}, [])
    assert known.get(0, 2) == "y"

    def nowhere() -> StateTable:
        return SpilledTable(tmp_path / "t" / "no directory", keeps_stamps=True)

    with pytest.raises(DurabilityError):
        known.move_to(nowhere)
    assert len(known) == 100
