"""Tests of engine/sinks/files/log.py."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from millstream.engine.base import storage
from millstream.engine.base.clock import ManualClock
from millstream.engine.base.errors import DurabilityError, UnsupportedOperationError
from millstream.engine.sinks.files.log import FileLog
from millstream.engine.sinks.files.manifest import DataFile, Entry, Manifest

GRACE_MS = 10_000


@pytest.fixture(name="clock")
def clock_of_tests() -> ManualClock:
    """Return a clock that is ahead of the files' times, so that all are old."""
    return ManualClock(4_000_000_000_000)


def log_at(tmp_path: Path, clock: ManualClock, grace_ms: int = GRACE_MS) -> FileLog:
    """Return the log of a directory."""
    return FileLog(str(tmp_path), grace_ms, clock)


def next_of(name: str = "app.out", file: str | None = None) -> Callable[..., Entry]:
    """Return what makes the next entry."""

    def make(manifest: Manifest) -> Entry:
        number = manifest.number + 1
        path = file or f"{name}-{number}"
        added = DataFile(path, path, "", 1, 1, "0" * 8, "", number, number, name)
        return Entry(number, name, 1, 0, number, (added,), schema="s")

    return make


def files_of(tmp_path: Path) -> list[str]:
    """Return the names of the log's files."""
    names = [each.name for each in (tmp_path / "_millstream" / "log").iterdir()]
    return sorted(name.lstrip("0") for name in names)


def test_what_was_appended_is_loaded(tmp_path: Path, clock: ManualClock) -> None:
    """All of it, by another writer too."""
    log = log_at(tmp_path, clock)
    assert log.load() == Manifest()
    manifest = log.append(log.load(), next_of())
    manifest = log.append(manifest, next_of())

    assert log_at(tmp_path, clock).load() == manifest
    assert manifest.number == 2


def test_of_two_writers_the_slower_one_thinks_again(
    tmp_path: Path, clock: ManualClock
) -> None:
    """It sees what the faster one wrote."""
    one, other = log_at(tmp_path, clock), log_at(tmp_path, clock)
    known = other.load()
    one.append(one.load(), next_of("one"))
    manifest = other.append(known, next_of("other"))

    assert list(manifest.files) == ["one-1", "other-2"]
    assert other.append(manifest, lambda _: None) is manifest


def test_the_log_stays_short(tmp_path: Path, clock: ManualClock) -> None:
    """After some entries there is a whole manifest, and old ones go after the grace."""
    log = log_at(tmp_path, clock)
    manifest = log.load()
    for _ in range(25):
        manifest = log.append(manifest, next_of())
        log.tidy(manifest)

    assert files_of(tmp_path) == sorted(
        [f"{n}.json" for n in range(20, 26)] + ["20.manifest.json"]
    )
    assert log_at(tmp_path, clock).load() == manifest


def test_young_entries_stay_for_readers(tmp_path: Path) -> None:
    """Their files' times are those of today."""
    log = FileLog(str(tmp_path), 3_600_000)
    manifest = log.load()
    for _ in range(20):
        manifest = log.append(manifest, next_of())
        log.tidy(manifest)
    assert len(files_of(tmp_path)) == 22


def test_who_slept_too_long_commits_nothing(tmp_path: Path, clock: ManualClock) -> None:
    """Its number is free again, as the entry of that number was deleted."""
    slow, fast = log_at(tmp_path, clock), log_at(tmp_path, clock)
    known = slow.append(slow.load(), next_of("slow"))
    manifest = fast.load()
    for _ in range(25):
        manifest = fast.append(manifest, next_of("fast"))
        fast.tidy(manifest)
    assert "2.json" not in files_of(tmp_path)
    clock.advance_ms(GRACE_MS)
    seen: list[int] = []

    def make(newest: Manifest) -> Entry | None:
        seen.append(newest.number)
        return next_of("slow")(newest) if len(seen) == 1 else None

    assert slow.append(known, make) == manifest
    assert seen == [1, 26]
    assert log_at(tmp_path, clock).load() == manifest
    assert "2.json" not in files_of(tmp_path)


def test_a_reader_starts_again_when_entries_vanish(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its listing and its reading."""
    writer, reader = log_at(tmp_path, clock), log_at(tmp_path, clock)
    manifest = writer.load()
    for _ in range(5):
        manifest = writer.append(manifest, next_of())
    read = reader._read
    done: list[str] = []

    def slowly(name: str) -> dict[str, object]:
        if not done:
            done.append(name)
            newer = writer.load()
            for _ in range(10):
                newer = writer.append(newer, next_of())
                writer.tidy(newer)
        return read(name)

    monkeypatch.setattr(reader, "_read", slowly)
    assert reader.load().number == 15


def test_damage_is_named(tmp_path: Path, clock: ManualClock) -> None:
    """A flipped digit, half a file, a newer format, and a gap."""
    log = log_at(tmp_path, clock)
    manifest = log.append(log.append(log.load(), next_of()), next_of())
    assert manifest.number == 2
    first = tmp_path / "_millstream" / "log" / f"{1:020d}.json"
    good = first.read_bytes()
    data = json.loads(good)["data"]
    for wrong in (
        good.replace(b'"run":1', b'"run":2'),
        good[:50],
        b"{}",
        b"[]",
    ):
        first.write_bytes(wrong)
        with pytest.raises(DurabilityError, match=rf"{first.name}' is damaged"):
            log.load()
    from millstream.engine.sinks.files.log import _encoded

    first.write_bytes(_encoded({**data, "format": 9}))
    with pytest.raises(DurabilityError, match="is of format 9, and this is 1"):
        log.load()
    first.unlink()
    with pytest.raises(DurabilityError, match="lacks entry 1"):
        log.load()


def test_storage_that_ignores_conditions_is_found(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By writing an entry again that is there."""
    log = log_at(tmp_path, clock)
    entry = next_of()(Manifest())
    log.append(Manifest(), lambda _: entry)
    log.check_conditions(entry)
    local = storage.LocalStorage
    monkeypatch.setattr(local, "write_new", local.write_atomic)
    with pytest.raises(UnsupportedOperationError, match="exactly once"):
        log.check_conditions(entry)
