"""Tests of durable/state_store.py and state_memory.py: attempts, look-ups, the budget."""

import logging
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millstream.engine.base.errors import DurabilityError, InternalError
from millstream.engine.durable.state_files import Changes, StateFiles
from millstream.engine.durable.state_map import VersionForgottenError
from millstream.engine.durable.state_memory import StateMemory
from millstream.engine.durable.state_store import StateStore, StoredState, find_store
from millstream.engine.durable.state_table import ABSENT
from millstream.testing.sim_storage import SimStorage


def open_store(
    files: StateFiles | None = None,
    memory: StateMemory | None = None,
    partitions: int = 2,
) -> StateStore:
    """Return a store of a state called "s" on a simulated disk."""
    files = files or StateFiles("/s", storage=SimStorage(), chain_max=2)
    return StateStore("s", partitions, files, 0, memory=memory)


def put(store: StateStore, version: int, changed: dict[Any, Any]) -> None:
    """Do what the tasks of one batch do: even keys are in partition 0, odd ones in 1."""
    for partition in range(store.partition_count):
        known = store.map_as_of(version - 1, partition)
        with store.changing(version, partition, known) as changes:
            changes.add(
                {
                    key: state
                    for key, state in changed.items()
                    if key % store.partition_count == partition
                }
            )


def fail(store: StateStore, version: int, changed: dict[Any, Any]) -> None:
    """Do what a task does that fails at its end."""
    with store.changing(version, 0, store.map_as_of(version - 1, 0)) as changes:
        changes.add(changed)
        raise ZeroDivisionError


def test_the_first_attempt_to_end_counts() -> None:
    """What is in the map is what is staged, whoever began when."""
    store = open_store(partitions=1)
    known = store.map_as_of(0, 0)
    first, second = (store.changing(1, 0, known) for _ in range(2))
    with first:
        first.add({"a": 1, "b": 1})
        with second:
            second.add({"a": 2, "c": 2})
            first.add({"d": 1})
            assert first.known.get("a", 0) is ABSENT, "both see the version before"
        late = store.changing(1, 0, known)
    with late:
        late.add({"a": 3})
    store.commit(1)

    assert dict(store.items()) == {"a": 2, "c": 2}
    assert dict(store.rows(1, 0)) == {"a": 2, "c": 2}


def test_an_attempt_that_was_overtaken_counts_when_the_other_one_fails() -> None:
    """Also while the other one is in the middle of it."""
    store = open_store(partitions=1)
    known = store.map_as_of(0, 0)
    first, second = (store.changing(1, 0, known) for _ in range(2))

    def run_second() -> None:
        with second:
            second.add({"a": 2, "c": 2})
            with first:
                first.add({"a": 1})
            second.add({"d": 2})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_second()
    store.commit(1)

    assert dict(store.items()) == dict(store.rows(1, 0)) == {"a": 1}


def test_an_attempt_that_fails_leaves_nothing() -> None:
    """Keys it brought, changed and dropped are as they were, and none counts as done."""
    store = open_store(partitions=1)
    put(store, 1, {0: 1, 2: 1})
    store.commit(1)
    with pytest.raises(ZeroDivisionError):
        fail(store, 2, {0: 9, 2: ABSENT, 4: 9})

    assert store.missing(2) == [0]
    assert store.map_as_of(1, 0).newest == 1
    put(store, 2, {0: 2})
    store.commit(2)
    assert dict(store.items()) == {0: 2, 2: 1}


def test_what_comes_after_the_commit_changes_nothing() -> None:
    """A task that was thought dead ends when later batches have gone on."""
    store = open_store(partitions=1)
    put(store, 1, {0: 1})
    late = store.changing(1, 0, store.map_as_of(0, 0))
    store.commit(1)
    put(store, 2, {0: 2})
    with late:
        late.add({0: 9})
    store.commit(2)
    store.stage(2, 0, {0: 9}, [])
    store.commit(2)

    assert dict(store.items()) == {0: 2}
    assert (store.missing(1), store.missing(2), store.missing(3)) == ([], [], [0])
    assert {v: dict(store.rows(v, 0)) for v in (1, 2)} == {1: {0: 1}, 2: {0: 2}}


def test_a_commit_that_fails_can_be_tried_again() -> None:
    """What was staged is staged still."""
    store = open_store(StateFiles("/s", storage=SimStorage(fail_at=[1])))
    put(store, 1, {0: 1, 1: 1})
    with pytest.raises(DurabilityError):
        store.commit(1)
    assert dict(store.items()) == {}
    store.commit(1)
    assert dict(store.items()) == {0: 1, 1: 1}


def test_older_versions_come_from_files_or_are_refused() -> None:
    """Never is another version taken for one that nothing keeps any more."""
    store = open_store(partitions=1)
    for version in range(1, 9):
        put(store, version, {0: version, 2 * version: version})
        store.commit(version)
    store.forget_before(6)
    store.files.compact(2)

    assert store.map_as_of(6, 0) is store.map_as_of(8, 0)
    old = store.map_as_of(4, 0)
    assert dict(old.items(4)) == {0: 4, 2: 1, 4: 2, 6: 3, 8: 4}
    assert len(store.map_as_of(0, 0)) == 0
    with store.changing(5, 0, old) as changes:  # Computed again: nobody's business.
        changes.add({0: 99})
    assert dict(store.items())[0] == 8
    store.files.compact(7)
    with pytest.raises(VersionForgottenError, match="'s' as of 4 isn't kept any more"):
        store.map_as_of(4, 0)


def test_a_key_is_looked_up_without_resident_maps() -> None:
    """In a map that follows the commits, and is made anew when it can't."""
    store = open_store(partitions=2)
    model: dict[int, int] = {}
    assert store.get(0, 0) is ABSENT
    for version in range(1, 30):
        changed = {version % 7: version, version % 3: version}
        gone = [] if version % 4 else [key for key in (version % 5,) if key in model]
        gone = [key for key in gone if key not in changed]
        for partition in range(2):
            puts = {k: s for k, s in changed.items() if k % 2 == partition}
            store.stage(
                version, partition, puts, [k for k in gone if k % 2 == partition]
            )
        store.commit(version)
        model.update(changed)
        for key in gone:
            del model[key]
        if version % 6 == 0:
            store.files.compact(version)
        if version % 4 != 1:
            for key in range(8):
                found = store.get(key % 2, key)
                assert (None if found is ABSENT else found) == model.get(key)
    assert dict(store.items()) == model


def test_following_reads_only_what_was_committed_since() -> None:
    """A look-up after a commit reads one small file, not the whole state."""
    storage = SimStorage()
    store = open_store(StateFiles("/s", storage=storage), partitions=1)
    store.stage(1, 0, dict.fromkeys(range(1000), 1), [])
    store.commit(1)
    assert store.get(0, 5) == 1
    for name in store.files.file_names():
        storage.delete(f"/s/{name}")
    store.stage(2, 0, {5: 2}, [6])
    store.commit(2)

    assert [store.get(0, key) for key in (4, 5, 6)] == [1, 2, ABSENT]


def test_a_reader_sees_one_version_whatever_comes(tmp_path: Path) -> None:
    """Batches, commits, compaction and cleaning go on while items are read."""
    for memory in (None, StateMemory(1, tmp_path)):
        store = open_store(memory=memory, partitions=2)
        put(store, 1, dict.fromkeys(range(3000), 1))
        store.commit(1)
        put(store, 2, dict.fromkeys(range(4000), 2))  # Not committed yet.
        items = store.items()
        first = next(items)
        for version in range(2, 9):
            put(store, version, {**dict.fromkeys(range(10), version), 50: ABSENT})
            store.commit(version)
            store.forget_before(version)
            store.files.compact(version)
            store.files.clean([])

        assert dict([first, *items]) == dict.fromkeys(range(3000), 1)
        assert len(dict(store.items())) == 4000 - 1


def test_files_that_are_read_are_not_cleaned() -> None:
    """They go as soon as nobody reads them."""
    store = open_store(partitions=1)
    for version in range(1, 4):
        store.stage(version, 0, {version: version}, [])
        store.commit(version)
    items = store.items()
    next(items)
    old = store.files.file_names()
    store.files.compact(3)
    store.files.clean([])
    storage: Any = store.files._storage

    assert old < {each.name for each in storage.list("/s")}
    assert list(items) == [(2, 2), (3, 3)]
    store.files.clean([])
    assert {each.name for each in storage.list("/s")} == store.files.file_names()


@pytest.mark.slow
def test_readers_and_batches_at_once_never_mix_versions() -> None:
    """All keys have the same state in each version: a reader never sees two."""
    store = open_store(partitions=2)
    keys = range(40)
    wrong: list[Any] = []
    done = threading.Event()

    def read() -> None:
        last = 0
        while not done.is_set():
            states = set(dict(store.items()).values())
            one = store.get(1, 7)
            if len(states) > 1 or (one is not ABSENT and one < last):
                wrong.append((states, one, last))
            last = max(last, *states, 0)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for version in range(1, 40):
            put(store, version, dict.fromkeys(keys, version))
            store.commit(version)
            store.forget_before(version)
            store.files.compact(version)
            store.files.clean([])
    finally:
        done.set()
        reader.join()
    assert wrong == []


def test_state_over_the_budget_goes_to_files(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The largest partition first; told once; nothing else differs."""
    memory = StateMemory(100_000, tmp_path / "state")
    store = open_store(memory=memory, partitions=2)
    with caplog.at_level(logging.WARNING):
        put(store, 1, {**dict.fromkeys(range(0, 1000, 2), 1), 1: 1})
        assert memory.statistics().spilled_partitions == 0
        put(store, 2, dict.fromkeys(range(0, 2800, 2), 2))
        told = memory.statistics()
        put(store, 3, dict.fromkeys(range(1, 2800, 2), 3))
    after = memory.statistics()

    assert (told.spilled_partitions, told.partitions) == (1, 2)
    assert 0 < told.memory_bytes < 1000
    assert (after.spilled_partitions, after.memory_bytes) == (2, 0)
    warned = [each.message for each in caplog.records]
    assert len(warned) == 1
    assert "goes to disk" in warned[0]
    assert "state=s" in warned[0]
    for version in (1, 2, 3):
        store.commit(version)
    whole = {n: 2 if n % 2 == 0 else 3 for n in range(2800)}
    assert dict(store.items()) == whole
    assert store.get(1, 5) == 3
    again = StateMemory(100_000, tmp_path / "again")
    restored = open_store(store.files, memory=again)
    assert dict(restored.map_as_of(3, 1).items(3)) == dict.fromkeys(
        range(1, 2800, 2), 3
    )
    assert again.statistics().spilled_partitions == 2
    assert len(list((tmp_path / "again").glob("*.sqlite"))) == 2


def test_a_spill_without_a_disk_is_told(tmp_path: Path) -> None:
    """The task fails with the disk's error; the state is as it was."""
    (tmp_path / "state").write_text("no directory")
    memory = StateMemory(1000, tmp_path / "state")
    store = open_store(memory=memory, partitions=1)
    with pytest.raises(DurabilityError, match=r"temporary file.*state"):
        put(store, 1, dict.fromkeys(range(0, 1000, 2), 1))
    store.commit(1)
    assert len(dict(store.items())) == 500


def test_state_that_cannot_be_read_leaves_nothing_in_memory(tmp_path: Path) -> None:
    """There is no disk to spill to when it is loaded, and one when that is tried again."""
    files = StateFiles("/s", storage=SimStorage())
    files.commit(1, [Changes(0, [0], [1], [1], []), Changes(1, [1], [1], [1], [])])
    memory = StateMemory(0, tmp_path / "file")
    (tmp_path / "file").write_text("no directory")
    store = open_store(files, memory)
    with pytest.raises(DurabilityError, match="temporary file"):
        store.map_as_of(1, 0)
    assert memory.statistics().partitions == 0
    (tmp_path / "file").unlink()
    assert dict(store.map_as_of(1, 0).items(1)) == {0: 1}
    assert memory.statistics().spilled_partitions == 2


def test_a_committed_version_that_is_computed_again_is_nobodys(tmp_path: Path) -> None:
    """After a restart its changes are in the files: they aren't staged a second time."""
    first = open_store(partitions=1)
    for version in (1, 2):
        put(first, version, {0: version})
        first.commit(version)
    memory = StateMemory(1 << 30, tmp_path)
    store = open_store(first.files, memory, partitions=1)
    put(store, 2, {0: 99})
    put(store, 3, {1: 3})
    store.commit(3)

    assert dict(store.items()) == dict(store.rows(3, 0)) == {0: 2, 1: 3}
    assert memory.statistics().partitions == 1


def test_a_task_of_another_process_is_told_apart() -> None:
    """Its store isn't here."""
    with pytest.raises(InternalError, match="store -1 isn't in this process"):
        find_store(-1)


batches = st.lists(
    st.tuples(
        st.dictionaries(
            st.integers(0, 9),
            st.one_of(st.integers(), st.just(ABSENT), st.text(max_size=200)),
            max_size=6,
        ),
        st.sampled_from(["", "fails", "repeats", "restarts", "forgets"]),
    ),
    max_size=10,
)


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=batches, budget=st.sampled_from([1, 500, 2000, 1 << 40]))
def test_any_history_is_a_plain_fold_with_any_memory(
    tmp_path: Path, history: list[tuple[dict[int, Any], str]], budget: int
) -> None:
    """In memory or in files, over failing and repeated tasks, compaction and restarts."""
    files = StateFiles("/s", storage=SimStorage(), chain_max=2)
    store = open_store(files, StateMemory(budget, tmp_path))
    model: dict[int, Any] = {}
    for version, (changed, then) in enumerate(history, 1):
        if then == "fails":
            with pytest.raises(ZeroDivisionError):
                fail(store, version, {0: "wrong", 2: ABSENT})
        put(store, version, changed)
        if then == "repeats":
            put(store, version, changed)
        store.commit(version)
        model.update(changed)
        for key in [key for key, state in model.items() if state is ABSENT]:
            del model[key]
        if then in ("restarts", "forgets"):
            store.forget_before(version)
            files.compact(version)
            files.clean([])
        if then == "restarts":
            files = StateFiles.restore("/s", files.record(), storage=files._storage)
            store = open_store(files, StateMemory(budget, tmp_path))
        assert dict(store.items()) == model
        for key in range(10):
            assert store.get(key % 2, key) == model.get(key, ABSENT)
        frame = store.frame()
        assert frame.height == len(model)


def test_a_committed_partition_is_read_as_columns_where_it_is_typed() -> None:
    """One without keys, or whose states are pickles, only as rows."""
    for state in (9, (7, 8)):
        store = open_store(partitions=3)
        put(store, 1, {0: 5, 3: 6, 1: state})
        store.commit(1)

        stored = [StoredState(store.token, 1, partition) for partition in range(3)]

        rows = [[(0, 5), (3, 6)], [(1, state)], []]
        assert [list(each.read()) for each in stored] == rows
        columns = [each.columns() for each in stored]
        assert [None if each is None else each.thaw() for each in columns] == (
            [*rows[:2], None] if state == 9 else [None] * 3
        )
