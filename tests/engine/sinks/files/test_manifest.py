"""Tests of engine/sinks/files/manifest.py."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.base.errors import DurabilityError
from millstream.engine.sinks.files.manifest import (
    DataFile,
    Entry,
    Manifest,
    Merge,
    Sizes,
)

OUTPUT = "app.out"


def small(name: str, size: int = 1, batch_ms: int = 1, level: int = 0) -> DataFile:
    """Return a file that is carried."""
    return DataFile(
        name, name, "", size, 1, "0" * 8, "x", batch_ms, batch_ms, OUTPUT, level
    )


def large(name: str) -> DataFile:
    """Return a final one."""
    return replace(small(f"parts/{name}", 100), path=name)


def entry(number: int, *added: DataFile, removed: tuple[str, ...] = ()) -> Entry:
    """Return an entry of a batch."""
    return Entry(number, OUTPUT, 1, number * 10, number, added, removed)


def of(*entries: Entry) -> Manifest:
    """Return what entries come to."""
    manifest = Manifest()
    for each in entries:
        manifest.apply(each)
    return manifest


def test_entries_come_to_files_and_marks() -> None:
    """The newest batch of each output, and the files that count."""
    manifest = of(
        Entry(1, OUTPUT, 7, 0),
        replace(entry(2, small("a"), large("b")), run=7),
        replace(entry(3, small("c"), removed=("a",)), run=7, output="other"),
    )

    assert manifest.files.keys() == {"b", "c"}
    assert manifest.removed == {"a": 30}
    assert {k: (m.run, m.batch_ms) for k, m in manifest.marks.items()} == {
        OUTPUT: (7, 2),
        "other": (7, 3),
    }


def test_the_beginning_of_a_run_changes_no_file() -> None:
    """What the run before may not have put in place still isn't known to be there."""
    manifest = of(entry(1, large("a")), Entry(2, OUTPUT, 5, 0))

    assert manifest.marks[OUTPUT].unplaced == (large("a"),)
    assert manifest.marks[OUTPUT].batch_ms == 1
    manifest.apply(replace(entry(3), run=5))
    assert manifest.marks[OUTPUT].unplaced == ()


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (entry(3), "it comes after entry 1"),
        (entry(2, removed=("b",)), "it removes 'b', which isn't there"),
        (entry(2, small("a")), "it adds 'a', which is there"),
    ],
)
def test_entries_that_do_not_fit_are_refused(wrong: Entry, why: str) -> None:
    """And change nothing."""
    manifest = of(entry(1, small("a")))
    with pytest.raises(DurabilityError, match=why):
        manifest.apply(wrong)
    assert manifest == of(entry(1, small("a")))


def test_a_run_is_higher_than_those_before() -> None:
    """Whatever the clock says."""
    manifest = of(replace(entry(1), run=10))
    assert manifest.next_run(OUTPUT, 5) == 11
    assert manifest.next_run(OUTPUT, 20) == 20
    assert manifest.next_run("other", 5) == 5


def test_removed_files_wait_for_the_grace_and_are_no_strays() -> None:
    """Strays are those that no entry names."""
    manifest = of(entry(1, small("a"), small("b")), entry(2, removed=("a",)))

    assert manifest.purgeable(119, 100) == ()
    assert manifest.purgeable(120, 100) == ("a",)
    assert manifest.strays(OUTPUT, ["a", "b", "c"]) == ("c",)
    manifest.apply(replace(entry(3), purged=("a",)))
    assert manifest.removed == {}
    manifest.apply(entry(4, large("d")))
    assert manifest.strays(OUTPUT, ["parts/d", "e"]) == ("e",)


def test_files_of_the_target_are_made_as_soon_as_they_can_be() -> None:
    """Of the oldest; the rest waits."""
    files = [small(f"{n}", 4, batch_ms=n) for n in range(1, 6)]
    plan = Sizes(8, 1000).plan(of(entry(1, *files)), OUTPUT, 10)

    assert plan == [Merge(tuple(files[:2]), True), Merge(tuple(files[2:4]), True)]


def test_files_of_another_layout_folder_or_output_are_not_merged() -> None:
    """Nor what is final."""
    files = [
        small("a"),
        replace(small("b"), layout="y"),
        replace(small("c"), folder="k=1"),
        replace(small("d"), output="other"),
        large("e"),
    ]
    plan = Sizes(10, 5).plan(of(entry(1, *files)), OUTPUT, 6)

    assert plan == [Merge((each,), True) for each in (files[0], files[1], files[2])]


def test_ten_of_a_level_become_one_of_the_next() -> None:
    """So that a record is seldom written again."""
    files = [small(f"{n:02}") for n in range(11)] + [small("z", 9, level=1)]
    (plan,) = Sizes(100, 1000).plan(of(entry(1, *files)), OUTPUT, 10)

    assert plan == Merge(tuple(files[:10]), False)


def test_at_the_end_all_that_is_carried_becomes_final() -> None:
    """In files of the target where there is enough."""
    files = [small(f"{n}", 6, batch_ms=n) for n in range(1, 4)]
    plan = Sizes(10, 1000).plan_last(of(entry(1, *files)), OUTPUT)

    assert plan == [Merge(tuple(files[:2]), True), Merge(tuple(files[2:]), True)]


@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=300),
    st.integers(0, 200),
    st.integers(1, 400),
)
def test_small_files_stay_few_and_records_are_seldom_rewritten(
    sizes: list[int], target_bytes: int, carry: int
) -> None:
    """Each batch has one file; merges lose none, and each is within its bounds."""
    policy = Sizes(target_bytes, carry)
    manifest = Manifest()
    for number, size in enumerate(sizes, 1):
        merges = policy.plan(manifest, OUTPUT, number)
        taken = [each.path for merge in merges for each in merge.inputs]
        assert len(taken) == len(set(taken))
        made = [small(f"n{number}", size, batch_ms=number)]
        for place, merge in enumerate(merges):
            total = sum(each.size_bytes for each in merge.inputs)
            oldest = min(each.batch_ms for each in merge.inputs)
            level = max(each.level for each in merge.inputs) + 1
            name = f"m{number}.{place}"
            one = replace(small(name, total, oldest, level), rows=len(merge.inputs))
            made.append(replace(one, part=f"p/{name}") if merge.is_final else one)
            is_old = any(e.batch_ms <= number - carry for e in manifest.files.values())
            assert not merge.is_final or total >= target_bytes or is_old
        manifest.apply(entry(number, *made, removed=tuple(taken)))
        carried = [each for each in manifest.files.values() if not each.is_final]
        assert sum(each.size_bytes for each in manifest.files.values()) == sum(
            sizes[:number]
        )
        assert all(each.batch_ms > number - carry - 1 for each in carried)
        # Ten of a level wait for one batch at most.
        assert len(carried) <= 10 * (1 + max(each.level for each in carried))
