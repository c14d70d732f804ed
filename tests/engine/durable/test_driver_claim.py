"""Tests of durable/driver_claim.py: one driver has a directory, whatever happens."""

import json
import socket
import threading
from pathlib import Path
from typing import BinaryIO

import pytest

from millstream.engine.base import storage as storages
from millstream.engine.base.errors import (
    DurabilityError,
    TakenOverError,
    UnsupportedOperationError,
)
from millstream.engine.durable import driver_claim
from millstream.engine.durable.driver_claim import DriverClaim, newest_driver
from millstream.testing.sim_storage import (
    SimStorage,
    at_every_crash,
    at_every_failure,
)

DIRECTORY = "sim:/c"


def names(directory: Path) -> list[str]:
    """Return the names of the files in a directory."""
    return sorted(each.name for each in directory.iterdir())


def is_held(claim: DriverClaim) -> bool:
    """Say whether a claim holds."""
    try:
        claim.check()
    except TakenOverError:
        return False
    return True


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the time, in one element, that claims go by."""
    now = [0.0]
    monkeypatch.setattr(driver_claim, "monotonic_s", lambda: now[0])
    return now


def test_the_newest_driver_has_the_directory(tmp_path: Path) -> None:
    """Its file is the only one; older ones hear of it, each time they ask."""
    older = DriverClaim.take_over(str(tmp_path), "app")
    older.check()
    newer = DriverClaim.take_over(str(tmp_path), "app")

    newer.check()
    assert not is_held(older)
    assert not is_held(older)
    assert names(tmp_path) == ["driver-2"]


def test_the_error_names_the_directory_and_the_newer_driver(tmp_path: Path) -> None:
    """Host, process, since when, application; and says what to do."""
    older = DriverClaim.take_over(str(tmp_path), "old")
    DriverClaim.take_over(str(tmp_path), "new")
    (facts,) = [json.loads(each.read_text()) for each in tmp_path.iterdir()]
    facts |= {"host": "elsewhere", "pid": 42, "since_ms": 1_000}
    (tmp_path / "driver-2").write_text(json.dumps(facts))

    with pytest.raises(TakenOverError) as raised:
        older.check()

    assert str(raised.value) == (
        f"checkpoint directory '{tmp_path}' was taken over by a newer driver: process 42 "
        "on elsewhere, since 1970-01-01 00:00:01 UTC, application 'new'"
    )
    assert raised.value.hint is not None
    assert "don't start this one again" in raised.value.hint


def test_who_watches_a_claim_is_told_once(tmp_path: Path) -> None:
    """By whoever notices first; at once, when that was before anybody watched."""
    older = DriverClaim.take_over(str(tmp_path), "app")
    told: list[TakenOverError] = []
    older.when_lost(told.append)
    older.check()
    DriverClaim.take_over(str(tmp_path), "app")
    assert told == []
    assert not is_held(older)
    assert not is_held(older)
    late: list[TakenOverError] = []
    older.when_lost(late.append)

    assert len(told) == len(late) == 1
    assert str(told[0]) == str(late[0])


def test_of_many_that_begin_at_the_same_moment_one_has_it(tmp_path: Path) -> None:
    """The others' start fails, or they find out when they look."""
    together = threading.Barrier(8)
    claims: list[DriverClaim] = []
    failed: list[TakenOverError] = []

    def begin() -> None:
        together.wait()
        try:
            claims.append(DriverClaim.take_over(str(tmp_path), "app"))
        except TakenOverError as error:
            failed.append(error)

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert len(claims) + len(failed) == 8
    assert sum(map(is_held, claims)) == 1
    assert len(names(tmp_path)) == 1


def test_a_number_that_is_free_again_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver looked, was slow, and newer ones had come and gone before it wrote."""
    *_, before = [DriverClaim.take_over(str(tmp_path), "app") for _ in range(3)]
    looked = iter([[1]])
    numbers = driver_claim._numbers
    monkeypatch.setattr(
        driver_claim, "_numbers", lambda *where: next(looked, None) or numbers(*where)
    )
    slow = DriverClaim.take_over(str(tmp_path), "app")

    assert is_held(slow)
    assert not is_held(before)
    assert names(tmp_path) == ["driver-4"]


@pytest.fixture
def disk() -> SimStorage:
    """Return a disk that `sim:` is."""
    made = SimStorage()
    storages.mount("sim", made)
    return made


def test_a_crash_at_any_call_of_a_takeover_leaves_one_owner_at_most() -> None:
    """The older driver has it until the newer one does; the next one can begin at once."""
    older: list[DriverClaim] = []
    newer: list[DriverClaim] = []

    def scenario(storage: SimStorage) -> None:
        storages.mount("sim", storage)
        older.clear()
        newer.clear()
        older.append(DriverClaim.take_over(DIRECTORY, "older"))
        newer.append(DriverClaim.take_over(DIRECTORY, "newer"))

    crashes = 0
    for left in at_every_crash(scenario):
        crashes += 1
        storages.mount("sim", left)
        for each in (*older, *newer):
            each._storage = (
                left  # What the machine lost its power for, if it were another.
            )
        assert sum(map(is_held, (*older, *newer))) <= 1
        assert not newer or is_held(newer[0])
        last = DriverClaim.take_over(DIRECTORY, "last")
        assert is_held(last)
        assert not any(map(is_held, (*older, *newer)))
        (only,) = left.list("/c")
        assert f"/c/{only.name}" == last._path
    assert crashes == 4, "each writes a file, and the second one deletes one"


def test_any_failing_call_of_a_takeover_is_told_and_the_next_one_works() -> None:
    """Nothing is left that somebody would have to remove."""

    def scenario(storage: SimStorage) -> None:
        storages.mount("sim", storage)
        DriverClaim.take_over(DIRECTORY, "older")
        DriverClaim.take_over(DIRECTORY, "newer")

    for left in at_every_failure(scenario):
        storages.mount("sim", left)
        last = DriverClaim.take_over(DIRECTORY, "last")
        assert is_held(last)
        assert [f"/c/{each.name}" for each in left.list("/c")] == [last._path]


class NoNewFiles(SimStorage):
    """A storage that can't make a file only if it isn't there."""

    def write_new(self, path: str, data: bytes) -> None:
        """Refuse."""
        msg = f"can't make '{path}' only if it isn't there"
        raise UnsupportedOperationError(msg)


def test_where_none_can_be_first_the_last_one_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two have the same number, and what is in the file says whose it is."""
    storages.mount("sim", NoNewFiles())
    first = DriverClaim.take_over(DIRECTORY, "first")
    # The second one looked before the first one wrote.
    monkeypatch.setattr(driver_claim, "_numbers", lambda *_: [])
    second = DriverClaim.take_over(DIRECTORY, "second")
    monkeypatch.undo()

    assert second._path == first._path
    assert is_held(second)
    with pytest.raises(TakenOverError, match="application 'second'"):
        first.check()


def test_a_directory_that_was_emptied_is_nobodys(tmp_path: Path) -> None:
    """Its driver finds out; and a later one of the same number isn't taken for it."""
    gone = DriverClaim.take_over(str(tmp_path), "app")
    sleeps = DriverClaim.take_over(str(tmp_path), "app")
    (tmp_path / "driver-2").unlink()
    with pytest.raises(TakenOverError, match=r"driver-1' was deleted or changed"):
        gone.check()
    DriverClaim.take_over(str(tmp_path), "app")
    DriverClaim.take_over(str(tmp_path), "anew")

    assert names(tmp_path) == ["driver-2"]
    with pytest.raises(TakenOverError, match="application 'anew'"):
        sleeps.check()


@pytest.mark.parametrize("data", [b"", b"\xff", b"[]", b'{"other": 1}'])
def test_a_damaged_file_keeps_nobody_from_taking_over(
    data: bytes, tmp_path: Path
) -> None:
    """Its name has the number; only messages need what is in it."""
    older = DriverClaim.take_over(str(tmp_path), "app")
    (tmp_path / "driver-1").write_bytes(data)
    assert newest_driver(str(tmp_path)) is None
    assert not is_held(older)

    assert is_held(DriverClaim.take_over(str(tmp_path), "app"))
    assert names(tmp_path) == ["driver-2"]


def test_who_has_a_directory_can_be_asked(tmp_path: Path) -> None:
    """Nobody has one that isn't there, or where no driver has begun."""
    assert newest_driver(str(tmp_path / "none")) is None
    assert newest_driver(str(tmp_path)) is None
    DriverClaim.take_over(str(tmp_path), "app")
    found = newest_driver(str(tmp_path))

    assert found is not None
    assert found.host == socket.gethostname()
    assert found.application == "app"


def test_a_storage_that_does_not_answer_decides_nothing(disk: SimStorage) -> None:
    """The claim neither holds then nor is it lost: the next look tells."""
    claim = DriverClaim.take_over(DIRECTORY, "app")
    told: list[TakenOverError] = []
    claim.when_lost(told.append)

    class Away(SimStorage):
        """A storage that can't be reached."""

        def open_input(self, path: str) -> BinaryIO:
            """Refuse."""
            raise TimeoutError(path)

    claim._storage = Away()
    with pytest.raises(TimeoutError):
        claim.check()
    claim._storage = disk

    claim.check()
    assert told == []


def test_what_does_no_harm_is_looked_for_once_a_second(
    disk: SimStorage, seconds: list[float]
) -> None:
    """And when this process has slept: time goes on meanwhile."""
    claim = DriverClaim.take_over(DIRECTORY, "app")
    DriverClaim.take_over(DIRECTORY, "newer")
    seconds[0] = 1.0
    claim.check_unless_recent()
    seconds[0] = 1.1
    with pytest.raises(TakenOverError):
        claim.check_unless_recent()
    seconds[0] = 0.0
    with pytest.raises(TakenOverError):
        claim.check_unless_recent()


def test_a_directory_that_is_always_taken_is_given_up(
    disk: SimStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tries are bounded."""

    def taken(path: str, data: bytes) -> None:
        raise FileExistsError(path)

    monkeypatch.setattr(disk, "write_new", taken)
    with pytest.raises(DurabilityError, match="can't be taken over: others always do"):
        DriverClaim.take_over(DIRECTORY, "app")
