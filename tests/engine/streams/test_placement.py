"""Tests of streams/placement.py: state in files is moved to where it is looked for."""

from pathlib import Path
from typing import Any

import pytest

from millstream.engine.base.errors import DurabilityError
from millstream.engine.durable.state_files import Changes, StateFiles
from millstream.engine.plan.kernels import StateFunction
from millstream.engine.plan.partitioners import Partitioner
from millstream.engine.streams.placement import put_in_place, record_of
from millstream.engine.streams.stateful import KeyedStateOperator
from millstream.testing import StreamHarness

VERSIONS = 6


def operator(count: int, **how: Any) -> KeyedStateOperator:
    """Return a stateful operator with so many partitions."""
    with StreamHarness() as h:
        stream = h.stream([]).updateStateByKey(lambda new, old: old, count, **how)
    made = stream._operator
    assert isinstance(made, KeyedStateOperator)
    return made


def written(directory: Path, of: KeyedStateOperator, kind: type) -> StateFiles:
    """Return files with a snapshot and deltas behind it; one key is gone."""
    files = StateFiles(str(directory), chain_max=1)
    for version in range(1, VERSIONS + 1):
        for_all = [kind(n) for n in range(20) if n % version == 0]
        parts = {}
        for partition in range(of.place.count):
            keys = [k for k in for_all if of.place.partition_of(k) == partition]
            gone = [kind(7)] if of.place.partition_of(kind(7)) == partition else []
            parts[partition] = Changes(
                partition,
                keys,
                [version] * len(keys),
                [version * 10] * len(keys),
                gone if version == VERSIONS else [],
            )
        files.commit(version, list(parts.values()))
        if version == 3:
            files.compact(3)
    assert any(name.startswith("snapshot") for name in files.file_names())
    return files


def rows(files: StateFiles, version: int) -> dict[Any, tuple[int, int, int]]:
    """Return partition, state and stamp of each key, and that there is one of it."""
    found = {}
    for part in files.load(version):
        for key, state, stamp in zip(part.keys, part.states, part.stamps, strict=True):
            assert key not in found
            found[key] = part.partition, state, stamp
    return found


@pytest.mark.parametrize("kind", [str, int, float, bytes])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_every_version_is_moved_with_states_and_stamps(
    tmp_path: Path, kind: type, count: int
) -> None:
    """Snapshots, deltas and what they drop; older checkpoints' files stay."""
    before, after = operator(3), operator(count)
    files = written(tmp_path, before, kind)
    expected = {v: rows(files, v) for v in files.versions}
    names = files.file_names()
    moved = put_in_place(files, record_of(before), after)

    assert moved > 0
    assert kind(7) not in rows(files, VERSIONS)
    for version, known in expected.items():
        assert rows(files, version) == {
            key: (after.place.partition_of(key), state, stamp)
            for key, (_, state, stamp) in known.items()
        }
    assert all((tmp_path / name).exists() for name in names)
    again = StateFiles.restore(str(tmp_path), files.record())
    assert rows(again, VERSIONS) == rows(files, VERSIONS)


def test_where_nothing_can_have_moved_no_file_is_read(tmp_path: Path) -> None:
    """A restart of the same program with the same hash costs nothing."""
    place = operator(3)
    files = written(tmp_path, place, str)
    for path in tmp_path.iterdir():
        path.write_bytes(b"damaged")
    assert put_in_place(files, record_of(place), operator(3)) == 0
    with pytest.raises(DurabilityError, match="is damaged"):
        put_in_place(files, record_of(place), operator(4))


def test_another_hash_moves_no_text_or_numbers(tmp_path: Path) -> None:
    """Their own hash needs no seed: only keys of other kinds are looked at."""
    place = operator(3)
    record = {**record_of(place), "hash_seed": 0}
    for kind in (str, complex):
        files = written(tmp_path / kind.__name__, place, kind)
        names = files.file_names()
        assert put_in_place(files, record, place) == 0
        assert files.file_names() == names


def test_a_function_of_its_own_is_never_trusted(tmp_path: Path) -> None:
    """Nobody knows whether it is the one of before."""
    before = operator(3, partitionFunc=len)
    after = operator(3, partitionFunc=lambda key: len(key) + 1)
    files = written(tmp_path, before, str)
    assert put_in_place(files, record_of(before), before) == 0
    assert put_in_place(files, record_of(before), after) > 0
    assert after.place == Partitioner(3, after.place.function)
    assert {part for part, _, _ in rows(files, VERSIONS).values()} == {2, 0}


def test_keys_that_functions_may_change_are_all_in_one_place(tmp_path: Path) -> None:
    """What works on whole partitions keeps its state in the first one."""
    before = operator(3)
    after = operator(3, form=StateFunction.ITERATOR)
    files = written(tmp_path, before, str)
    put_in_place(files, record_of(before), after)
    assert {part for part, _, _ in rows(files, VERSIONS).values()} == {0}
    assert put_in_place(files, record_of(after), after) == 0


def test_a_disk_that_refuses_changes_nothing(tmp_path: Path) -> None:
    """The files that are known stay known."""
    place = operator(3)
    files = written(tmp_path, place, str)
    names, expected = files.file_names(), rows(files, VERSIONS)
    victim = max(n for n in names if n.startswith("delta"))
    text = (tmp_path / victim).read_bytes()
    (tmp_path / victim).write_bytes(text[:-1])
    with pytest.raises(DurabilityError):
        put_in_place(files, record_of(place), operator(5))
    (tmp_path / victim).write_bytes(text)
    assert files.file_names() == names
    assert rows(files, VERSIONS) == expected
