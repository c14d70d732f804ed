"""Tests of testing/sim_storage.py."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from millstream.engine.base.errors import DurabilityError
from millstream.engine.base.storage import LocalStorage, Storage
from millstream.testing.sim_storage import (
    SimStorage,
    SimulatedCrashError,
    at_every_crash,
    at_every_failure,
)


def content(storage: Storage, path: str) -> bytes:
    """Return the bytes of a file."""
    with storage.open_input(path) as source:
        return source.read()


@pytest.fixture(params=["local", "sim"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Storage, str]:
    """Return each storage, and a directory on it."""
    if request.param == "local":
        return LocalStorage(), str(tmp_path)
    storage = SimStorage()
    storage.make_dirs("/sim")
    return storage, "/sim"


def test_it_is_a_storage_like_the_local_one(disk: tuple[Storage, str]) -> None:
    """Without faults both do the same."""
    storage, top = disk
    with storage.append(f"{top}/a/log") as log:
        log.write(b"one")
        log.flush()
        log.sync()
    with storage.append(f"{top}/a/log") as log:
        log.write(b"two")
    with storage.create(f"{top}/b") as out:
        out.write(b"x")
        assert out.tell() == 1
    storage.write_atomic(f"{top}/b", b"yes")
    storage.make_dirs(f"{top}/d/e")
    storage.rename(f"{top}/a", f"{top}/c")
    storage.rename(f"{top}/b", f"{top}/d/b")

    assert [(i.name, i.is_dir) for i in storage.list(top)] == [("c", True), ("d", True)]
    assert [(i.name, i.is_dir) for i in storage.list(f"{top}/d")] == [
        ("b", False),
        ("e", True),
    ]
    assert content(storage, f"{top}/c/log") == b"onetwo"
    assert storage.stat(f"{top}/d/b").size_bytes == 3
    assert storage.stat(f"{top}/d").is_dir
    assert storage.exists(f"{top}/d/e")
    storage.delete(f"{top}/c/log")
    storage.delete_tree(f"{top}/d")
    storage.delete_tree(f"{top}/d")
    storage.delete(f"{top}/none")
    assert [info.name for info in storage.list(top)] == ["c"]
    assert storage.list(f"{top}/c") == []
    looks: list[Callable[[str], object]] = [
        storage.open_input,
        storage.stat,
        storage.list,
        lambda path: storage.rename(path, "there"),
    ]
    for look in looks:
        with pytest.raises(FileNotFoundError, match="none"):
            look(f"{top}/none")


def test_an_error_leaves_the_old_file(disk: tuple[Storage, str]) -> None:
    """An atomic file appears when its block ends without an error, not before."""
    storage, top = disk
    storage.write_atomic(f"{top}/file", b"old")
    with suppress(KeyError), storage.open_atomic(f"{top}/file") as out:
        out.write(b"new")
        raise KeyError
    assert content(storage, f"{top}/file") == b"old"
    with storage.open_atomic(f"{top}/file") as out:
        out.write(b"new")
        assert content(storage, f"{top}/file") == b"old"

    assert content(storage, f"{top}/file") == b"new"
    assert [info.name for info in storage.list(top)] == ["file"]


def test_calls_that_change_something_are_counted() -> None:
    """Each of them once; looking isn't."""
    storage = SimStorage()
    log = storage.append("/a")
    log.write(b"x")
    log.flush()
    log.sync()
    log.close()
    log.close()  # Nothing to close.
    assert storage.calls == 5
    storage.list("")
    storage.stat("/a")
    assert (storage.exists("/a"), content(storage, "/a")) == (True, b"x")
    assert storage.calls == 5
    with storage.open_atomic("/b") as out:
        out.write(b"x")
    assert storage.calls == 8
    for change in (storage.delete, storage.delete_tree, storage.make_dirs):
        change("/a")
    storage.write_atomic("/c", b"")
    storage.rename("/c", "/d")
    assert storage.calls == 13
    storage.create("/d").write(b"x")

    assert storage.calls == 15
    assert storage.uri("/d") == "sim:/d"


def test_a_crash_ends_everything() -> None:
    """The call it hits and all others raise; handlers of errors don't catch it."""
    storage = SimStorage(crash_at=3)
    log = storage.append("/a")
    log.write(b"x")
    later: list[Callable[[], object]] = [
        log.sync,  # The one that crashes.
        lambda: log.write(b"y"),
        log.close,
        lambda: storage.exists("/a"),
        lambda: storage.list("/"),
        lambda: storage.stat("/a"),
        lambda: storage.open_input("/a"),
        lambda: storage.delete("/a"),
    ]
    for call in later:
        with pytest.raises(SimulatedCrashError, match="crashed at call 3"):
            call()

    assert storage.is_crashed
    assert storage.calls == 3
    assert not issubclass(SimulatedCrashError, Exception)


def outcomes(
    scenario: Callable[[SimStorage], object], crash_at: int | None = None
) -> Iterator[SimStorage]:
    """Yield what survives a scenario, by many seeds."""
    for seed in range(200):
        storage = SimStorage(crash_at=crash_at, random=Random(seed))
        with suppress(SimulatedCrashError):
            scenario(storage)
        yield storage.after_crash()


def test_what_is_synced_survives_and_the_rest_is_torn() -> None:
    """A crash may leave any part of the bytes that weren't synced."""

    def scenario(storage: SimStorage) -> None:
        log = storage.append("/log")
        log.write(b"safe")
        log.sync()
        log.write(b"abc")
        log.flush()
        log.close()

    found = {content(left, "/log") for left in outcomes(scenario)}
    assert found == {b"safe", b"safea", b"safeab", b"safeabc"}


def test_a_crash_within_a_write_leaves_any_part_of_it() -> None:
    """Also of one that would have been synced next."""

    def scenario(storage: SimStorage) -> None:
        storage.append("/log").write(b"abc")

    found = {content(left, "/log") for left in outcomes(scenario, crash_at=2)}
    assert found == {b"", b"a", b"ab", b"abc"}


@pytest.mark.parametrize(
    ("sync", "crash_at", "expected"),
    [
        (True, None, {b"new"}),
        (True, 2, {b"old", b"new"}),
        (False, None, {b"old", b"new"}),
    ],
)
def test_an_atomic_file_is_all_or_nothing(
    sync: bool, crash_at: int | None, expected: set[bytes]
) -> None:
    """Old or new, never half; once the call has returned, new if it was synced."""

    def scenario(storage: SimStorage) -> None:
        storage.write_atomic("/file", b"old")
        storage.write_atomic("/file", b"new", sync=sync)

    assert {content(left, "/file") for left in outcomes(scenario, crash_at)} == expected


def test_an_unsynced_new_file_may_be_lost() -> None:
    """There was nothing before it."""

    def scenario(storage: SimStorage) -> None:
        storage.write_atomic("/file", b"new", sync=False)

    assert {left.exists("/file") for left in outcomes(scenario)} == {True, False}


def test_renames_and_deletes_happen_or_not() -> None:
    """Those that returned stay; the one that crashed may have had its effect."""

    def scenario(storage: SimStorage) -> None:
        storage.write_atomic("/a", b"a")
        storage.write_atomic("/b", b"b")
        storage.rename("/a", "/c")
        storage.delete("/b")

    def found(crash_at: int | None) -> set[str]:
        return {
            " ".join(info.name for info in left.list(""))
            for left in outcomes(scenario, crash_at)
        }

    assert found(3) == {"a b", "b c"}
    assert found(4) == {"b c", "c"}
    assert found(None) == {"c"}


def test_a_tree_may_be_half_deleted() -> None:
    """By a crash in the middle of it."""

    def scenario(storage: SimStorage) -> None:
        storage.write_atomic("/t/a", b"")
        storage.write_atomic("/t/b", b"")
        storage.delete_tree("/t")

    found = {
        tuple(info.name for info in left.list("/t"))
        for left in outcomes(scenario, crash_at=3)
    }
    assert found == {(), ("a",), ("b",), ("a", "b")}


def test_a_failing_call_fails_once() -> None:
    """Streams and atomic writes raise DurabilityError, others OSError; both name the file."""
    storage = SimStorage(fail_at={1, 3, 5})
    with pytest.raises(OSError, match="simulated failure of call 1: '/log'"):
        storage.append("/log")
    log = storage.append("/log")
    with pytest.raises(DurabilityError, match="'/log': simulated failure of call 3"):
        log.write(b"abc")
    log.sync()
    with pytest.raises(DurabilityError, match="'/x': simulated failure of call 5"):
        storage.write_atomic("/x", b"")
    storage.write_atomic("/x", b"")

    assert b"abc".startswith(content(storage.after_crash(), "/log"))
    assert storage.exists("/x")


def test_a_stream_writes_to_the_file_it_opened() -> None:
    """Also when another file has taken the name."""
    storage = SimStorage()
    log = storage.append("/log")
    storage.write_atomic("/log", b"new")
    log.write(b"old")
    log.sync()

    assert content(storage, "/log") == b"new"


def three_calls(storage: SimStorage) -> None:
    """Open, write, and sync."""
    log = storage.append("/log")
    log.write(b"x")
    log.sync()


def test_every_crash_is_met_once() -> None:
    """Then a run without one; the same seed gives the same."""
    for seed in range(5):
        found = [
            content(left, "/log") if left.exists("/log") else None
            for left in at_every_crash(three_calls, seed=seed)
        ]
        again = [left.exists("/log") for left in at_every_crash(three_calls, seed=seed)]
        assert len(found) == 4
        assert found[-1] == b"x"
        assert again == [each is not None for each in found]


def test_every_failure_is_met_once() -> None:
    """Whether the scenario lets it out or goes on; the last run has none."""
    met = []

    def scenario(storage: SimStorage) -> None:
        try:
            three_calls(storage)
        except (DurabilityError, OSError) as error:
            met.append(str(error)[-2:])
            if len(met) == 2:
                raise

    assert len(list(at_every_failure(scenario))) == 4
    assert len(met) == 3


def test_what_was_written_can_be_made_safe_later() -> None:
    """Before that a power failure may take it back, also after a kill that didn't."""
    disk = SimStorage(random=Random(5))
    with disk.append("/a") as out:
        out.write(b"0123456789")
    killed = disk.after_crash(loses_power=False)

    def length(of: SimStorage) -> int:
        with of.open_input("/a") as source:
            return len(source.read())

    assert length(killed) == 10
    assert min(length(killed.after_crash()) for _ in range(20)) < 10
    killed.sync("/a")
    assert {length(killed.after_crash()) for _ in range(20)} == {10}
    with pytest.raises(FileNotFoundError):
        killed.sync("/b")


def test_calls_are_told_before_they_happen() -> None:
    """With their paths; a crash is told too."""
    calls: list[str] = []
    crashes: list[str] = []
    disk = SimStorage(crash_at=2, on_call=calls.append, on_crash=crashes.append)
    disk.write_atomic("/a", b"")
    with pytest.raises(SimulatedCrashError, match="call 2"):
        disk.write_atomic("/b", b"")

    assert calls == ["/a", "/b"]
    assert crashes == ["the machine crashed at call 2"]


def test_files_carry_the_time_they_are_told() -> None:
    """Of the simulation, where there is one."""
    disk = SimStorage(now_ms=lambda: 1234)
    disk.put_file("/a", b"")

    assert disk.stat("/a").modified_ms == 1234
