"""Tests of durable/state_files.py, state_frames.py and state_values.py."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.base.errors import DurabilityError
from millstream.engine.durable import state_frames
from millstream.engine.durable.state_files import Changes, StateFiles
from millstream.engine.durable.state_frames import StateColumns
from millstream.engine.durable.state_values import Pickled, freeze_state, thaw_state
from millstream.testing.sim_storage import SimStorage, at_every_crash

VALUES = [
    1,
    -(1 << 63),
    1 << 70,
    True,
    1.5,
    float("inf"),
    "text",
    "",
    "\udc80",
    b"bytes",
    None,
    ("a", 1),
    ((1, 2.0), "x"),
]


def changes(
    part: int, puts: dict[Any, Any], gone: list[Any], stamp: int = 0
) -> Changes:
    """Return a partition's changes with frozen states."""
    keys = list(puts)
    states = [freeze_state(puts[key]) for key in keys]
    return Changes(part, keys, states, [stamp] * len(keys), gone)


def load(files: StateFiles, version: int) -> dict[tuple[int, Any], Any]:
    """Return a version as one dict of thawed states."""
    return {
        (part.partition, key): thaw_state(state)
        for part in files.load(version)
        for key, state in zip(part.keys, part.states, strict=True)
    }


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_keys_and_states_come_back_with_their_types(value: Any) -> None:
    """Alone and among others, in columns of their type or as pickles."""
    for values in ([value], [value, "other"], [1, value]):
        rows = StateColumns(
            [0] * len(values),
            values,
            [freeze_state(each) for each in values],
            [5] * len(values),
            [False] * len(values),
        )
        back = state_frames.decode(state_frames.encode(rows), "file")

        assert back.keys == values
        assert list(map(type, back.keys)) == list(map(type, values))
        states = [thaw_state(state) for state in back.states]
        assert states == values
        assert list(map(type, states)) == list(map(type, values))


def test_plain_types_are_columns_that_arrow_reads() -> None:
    """What is behind the stream doesn't disturb another reader."""
    import pyarrow as pa

    rows = StateColumns([0, 1], ["a", "b"], [1, 2], [7, 8], [False, False])
    table = pa.ipc.open_stream(state_frames.encode(rows)).read_all()

    assert table.column_names == ["partition", "key", "state", "stamp", "is_gone"]
    assert table.column("key").to_pylist() == ["a", "b"]


def test_a_state_that_could_change_is_kept_as_a_copy() -> None:
    """Each reader has its own."""
    state = [1]
    kept = freeze_state(state)
    state.append(2)

    assert type(kept) is Pickled
    assert thaw_state(kept) == [1]
    assert thaw_state(kept) is not thaw_state(kept)


def test_every_damage_to_a_state_file_is_noticed() -> None:
    """Cut at each byte, each bit flipped: a named error, never other rows."""
    rows = StateColumns([0], ["a"], [1], [7], [False])
    whole = state_frames.encode(rows)
    damaged = [whole[:length] for length in range(len(whole))]
    for bit in range(len(whole) * 8):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        damaged.append(bytes(flipped))
    for data in damaged:
        with pytest.raises(DurabilityError, match=r"'the file' is damaged"):
            state_frames.decode(data, "the file")


def test_versions_are_read_as_of_their_batch(tmp_path: Path) -> None:
    """A batch without changes is a version too, without a file."""
    files = StateFiles(str(tmp_path))
    files.commit(1, [changes(0, {"a": 1}, []), changes(1, {"b": [1]}, [])])
    files.commit(2, [])
    files.commit(3, [changes(0, {"c": 3}, ["a"])])

    assert load(files, 1) == load(files, 2) == {(0, "a"): 1, (1, "b"): [1]}
    assert load(files, 3) == {(0, "c"): 3, (1, "b"): [1]}
    assert (files.versions, files.latest, files.has(2)) == ([1, 2, 3], 3, True)
    assert len(list(tmp_path.iterdir())) == 2
    with pytest.raises(KeyError, match="no version 4"):
        files.load(4)


def test_only_named_files_count_after_a_restart(tmp_path: Path) -> None:
    """What a crash left behind isn't read, nor is its name used again."""
    files = StateFiles(str(tmp_path))
    files.commit(1, [changes(0, {"a": 1}, [])])
    record = files.record()
    files.commit(2, [changes(0, {"a": 99}, [])])
    again = StateFiles.restore(str(tmp_path), record)
    assert again.versions == [1]
    again.commit(2, [changes(0, {"a": 2}, [])])

    assert load(again, 2) == {(0, "a"): 2}
    again.rewind(2)
    assert again.versions == [1]
    again.clean([])
    assert [p.name for p in tmp_path.iterdir()] == list(again.file_names())


def test_bytes_written_follow_the_keys_changed() -> None:
    """Ten changed keys of 20,000 cost some hundred times less than all, merging included."""
    files = StateFiles("/s", storage=SimStorage())
    files.commit(0, [changes(0, dict.fromkeys(range(20000), 0), [])])
    whole = files.bytes_written
    for version in range(1, 201):
        files.commit(
            version, [changes(0, {version * 10 + k: 1 for k in range(10)}, [])]
        )
        files.compact(version)
    a_batch = (files.bytes_written - whole) / 200

    assert a_batch < whole / 100
    assert len(files.file_names()) < 50
    assert len(load(files, 200)) == 20_000


batches = st.lists(
    st.tuples(
        st.dictionaries(
            st.one_of(st.integers(0, 6), st.booleans(), st.floats(0, 3, width=16)),
            st.one_of(st.integers(), st.lists(st.integers(), max_size=2)),
            max_size=5,
        ),
        st.lists(st.integers(0, 6), max_size=3),
        st.booleans(),
    ),
    max_size=14,
)


@pytest.mark.slow
@given(batches, st.integers(0, 4))
def test_any_history_reads_as_a_dict_would(
    history: list[tuple[dict[Any, Any], list[int], bool]], chain_max: int
) -> None:
    """At each version kept, whatever was compacted, and after a restart as well."""
    storage = SimStorage()
    files = StateFiles("/s", storage=storage, chain_max=chain_max)
    model: dict[Any, Any] = {}
    expected: dict[int, dict[Any, Any]] = {}
    floor = 0
    for version, (puts, gone, compacts) in enumerate(history):
        dropped = [
            key for key in dict.fromkeys(gone) if key in model and key not in puts
        ]
        # As the resident map does: the first object seen for a key stays its key.
        known = {key: key for key in model}
        kept = {known.get(key, key): state for key, state in puts.items()}
        model.update(kept)
        for key in dropped:
            del model[key]
        expected[version] = dict(model)
        files.commit(version, [changes(0, kept, [known[key] for key in dropped])])
        if compacts:
            floor = version
            files.compact(floor)
    for opened in (files, StateFiles.restore("/s", files.record(), storage=storage)):
        for version in range(floor, len(history)):
            found = {key: state for (_, key), state in load(opened, version).items()}
            assert found == expected[version]


typed = st.lists(
    st.tuples(
        st.dictionaries(st.integers(0, 9), st.none() | st.integers(0, 3), max_size=6),
        st.lists(st.integers(0, 9), max_size=3),
        st.booleans(),
    ),
    max_size=12,
)


@pytest.mark.slow
@given(typed, st.integers(0, 3), st.sampled_from([int, str, lambda n: (n,)]))
def test_typed_keys_are_merged_as_a_dict_would(
    history: list[tuple[dict[int, Any], list[int], bool]], chain_max: int, kind: Any
) -> None:
    """Natively: each partition's keys come in the order they were first put, too."""
    storage = SimStorage()
    files = StateFiles("/s", storage=storage, chain_max=chain_max)
    models: tuple[dict[Any, Any], ...] = ({}, {})
    expected: dict[int, list[list[tuple[Any, Any, int]]]] = {}
    floor = 0
    for version, (puts, gone, compacts) in enumerate(history):
        done = []
        for part, model in enumerate(models):
            kept = {kind(k): s for k, s in puts.items() if k % 2 == part}
            dropped = [kind(k) for k in gone if k % 2 == part and kind(k) in model]
            dropped = [key for key in dict.fromkeys(dropped) if key not in kept]
            model.update({key: (state, version) for key, state in kept.items()})
            for key in dropped:
                del model[key]
            done.append(changes(part, kept, dropped, version))
        expected[version] = [
            [(k, *row) for k, row in model.items()] for model in models
        ]
        files.commit(version, done)
        if compacts:
            floor = version
            files.compact(floor)
    for opened in (files, StateFiles.restore("/s", files.record(), storage=storage)):
        for version in range(floor, len(history)):
            found: list[list[tuple[Any, Any, int]]] = [[], []]
            for each in opened.load(version):
                states = map(thaw_state, each.states)
                rows = zip(each.keys, states, each.stamps, strict=True)
                found[each.partition] = list(rows)
            assert found == expected[version]


def test_changes_since_a_version_lead_to_the_newest() -> None:
    """As long as compaction has left them apart."""
    files = StateFiles("/s", storage=SimStorage(), chain_max=2)
    for version in range(1, 6):
        files.commit(version, [changes(0, {version: version}, [version - 1])])
    with files.reading() as reading:
        deltas = files.changes_since(3, reading)
        assert deltas is not None
        assert [frame["key"].to_list() for frame in deltas] == [[4, 3], [5, 4]]
        assert files.changes_since(5, reading) == []
        files.compact(4)
        assert files.changes_since(4, reading) is not None
        assert files.changes_since(3, reading) is None
        assert [p for p, _ in files.partitions(reading)] == [0]


def test_a_crash_at_any_call_keeps_what_was_committed() -> None:
    """Commits and compactions: the last record that was taken reads as it did."""
    records: list[tuple[dict[str, Any], dict[Any, Any]]] = []

    def scenario(storage: SimStorage) -> None:
        records.clear()
        files = StateFiles("/s", storage=storage, chain_max=2)
        model: dict[Any, Any] = {}
        for version in range(8):
            puts = {f"k{version % 3}": version, "all": version}
            files.commit(version, [changes(0, puts, [])])
            model.update(puts)
            files.compact(version)
            kept = [name for r, _ in records[-1:] for name in names_of(r)]
            files.clean(kept)
            records.append((files.record(), dict(model)))

    for storage in at_every_crash(scenario):
        if records:
            record, model = records[-1]
            files = StateFiles.restore("/s", record, storage=storage)
            latest = files.latest
            assert latest is not None
            assert {k: v for (_, k), v in load(files, latest).items()} == model


def names_of(record: dict[str, Any]) -> list[str]:
    """Return the files a record names."""
    rows = [*record["versions"], *record["snapshots"]]
    return [row[1] for row in rows if row[1] is not None]
