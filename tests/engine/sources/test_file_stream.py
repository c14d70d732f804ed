"""Tests of engine/sources/file_stream.py."""

import logging
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.base import frames
from millstream.engine.base.storage import FileInfo, LocalStorage, open_storage
from millstream.engine.sources.file_stream import FileMonitor, FileSelection

times = st.integers(0, 40)


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), times), max_size=12),
    times,
    st.integers(1, 4),
)
def test_file_selection_equals_the_rule(
    changes: list[tuple[str, int]], began: int, window: int
) -> None:
    """Each batch takes what SRC-6 says, with what it took before in mind."""
    selection = FileSelection(began, window * 5)
    taken: dict[int, set[str]] = {}
    for batch in range(5, 45, 5):
        visible = dict(changes[: batch // 3])
        listing = [FileInfo(p, p, 1, t, False) for p, t in sorted(visible.items())]
        remembered = {p for paths in taken.values() for p in paths}
        expected = [
            p
            for p, t in sorted(visible.items())
            if max(began, batch - window * 5) < t <= batch and p not in remembered
        ]
        found = selection.select(batch, listing)
        selection.apply(batch, found)
        assert list(found) == expected
        taken[batch] = set(expected)
        before = batch - window * 5
        selection.forget(before)
        taken = {t: paths for t, paths in taken.items() if t >= before}


def test_a_selection_can_be_restored() -> None:
    """Remembered batches keep their files and block their names."""
    selection = FileSelection(0, 100)
    selection.restore({10: ("a",)})
    info: Any = FileInfo("a", "a", 1, 5, False)

    assert selection.select(20, [info]) == ()
    assert selection.files_of_batch == {10: ("a",)}


def test_times_decide_to_the_millisecond() -> None:
    """After the threshold, not at it; at the batch's time, not after it."""
    selection = FileSelection(began_ms=100, remember_ms=50)

    def selects(batch_ms: int, modified_ms: int) -> bool:
        info = FileInfo("a", "a", 1, modified_ms, False)
        return selection.select(batch_ms, [info]) == ("a",)

    assert not selects(120, 100)
    assert selects(120, 101)
    assert selects(120, 120)
    assert not selects(120, 121)
    assert not selects(200, 150)
    assert selects(200, 151)


def test_a_file_is_read_again_once_it_is_forgotten_and_new() -> None:
    """While its batch is remembered a fresh time changes nothing."""
    selection = FileSelection(0, 20)
    selection.apply(10, ("a",))
    fresh = FileInfo("a", "a", 1, 30, False)
    selection.forget(10)

    assert selection.select(30, [fresh]) == ()
    selection.forget(11)
    assert selection.select(30, [fresh]) == ("a",)
    assert selection.files_of_batch == {}


def _file(path: Path, modified_ms: int, text: str = "x") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (modified_ms / 1000, modified_ms / 1000))
    return f"file:{path}"


def test_directories_are_listed_and_not_what_is_below(tmp_path: Path) -> None:
    """A pattern may name several; names that begin with a dot are left out."""
    one = _file(tmp_path / "in1" / "a", 1000)
    two = _file(tmp_path / "in2" / "_b", 1000)
    _file(tmp_path / "in1" / ".hidden", 1000)
    _file(tmp_path / "in1" / "below" / "c", 1000)
    _file(tmp_path / "in3", 1000)
    monitor = FileMonitor(f"{tmp_path}/in*", FileSelection(0, 5000))

    assert monitor.find(2000) == (one, two)
    assert monitor.find(2000) == (one, two)
    assert monitor.find(3000) == ()


def test_a_filter_replaces_the_rule_for_dots(tmp_path: Path) -> None:
    """It is asked with the whole path."""
    hidden = _file(tmp_path / ".hidden.csv", 1000)
    _file(tmp_path / "a.txt", 1000)
    selection = FileSelection(0, 5000)
    monitor = FileMonitor(str(tmp_path), selection, lambda p: p.endswith(".csv"))

    assert monitor.find(2000) == (hidden,)


def test_a_missing_directory_is_read_when_it_is_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """No failure and no warning before."""
    directory = tmp_path / "later"
    monitor = FileMonitor(str(directory), FileSelection(0, 5000))

    assert monitor.find(1000) == ()
    assert not caplog.records
    uri = _file(directory / "a", 1500)
    assert monitor.find(2000) == (uri,)


def test_an_error_while_listing_is_a_warning_and_an_empty_batch(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What the batch missed comes in the next one."""
    uri = _file(tmp_path / "good" / "a", 1000)
    long_name = "x" * 300  # More than file systems allow: an error, not a missing file.
    selection = FileSelection(0, 5000)
    with caplog.at_level(logging.WARNING):
        broken = FileMonitor(f"{tmp_path}/{{good,{long_name}}}", selection)
        assert broken.find(2000) == ()

    assert "can't list a directory" in caplog.text
    assert FileMonitor(f"{tmp_path}/good", selection).find(3000) == (uri,)


def test_an_empty_file_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is taken, and was likely not moved here whole."""
    uri = _file(tmp_path / "a", 1000, "")
    with caplog.at_level(logging.WARNING):
        assert FileMonitor(str(tmp_path), FileSelection(0, 5000)).find(2000) == (uri,)

    assert "a new file is empty" in caplog.text


def test_a_monitor_forgets(tmp_path: Path) -> None:
    """Batches before a time; the window is the selection's."""
    selection = FileSelection(0, 5000)
    selection.restore({1000: ("a",), 2000: ("b",)})
    monitor = FileMonitor(str(tmp_path), selection)
    monitor.forget(2000)

    assert monitor.remember_ms == 5000
    assert selection.files_of_batch == {2000: ("b",)}
    assert selection.taken == {"b"}


def test_what_came_while_a_store_was_gone_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it was gone; what was read before isn't read again."""
    first = _file(tmp_path / "first", 1_000)
    selection = FileSelection(0, 5_000)
    monitor = FileMonitor(str(tmp_path), selection)
    assert monitor.find(2_000) == (first,)

    def fail(*_: object) -> list[FileInfo]:
        raise OSError(5, "it is gone")

    with monkeypatch.context() as patched:
        patched.setattr(LocalStorage, "list_except", fail)
        second = _file(tmp_path / "second", 2_500)
        for batch_ms in range(3_000, 60_000, 1_000):
            assert monitor.find(batch_ms) == ()
            monitor.forget(batch_ms - 5_000)
    assert monitor.find(60_000) == (second,)
    assert monitor.find(61_000) == ()


def test_files_that_are_old_are_not_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system is asked about new names, and twice in the window about all."""
    asked: list[str] = []
    _file(tmp_path / "older", 1_000)
    taken = _file(tmp_path / "taken", 9_000)
    future = _file(tmp_path / "future", 12_000)
    monitor = FileMonitor(str(tmp_path), FileSelection(0, 6_000))

    def list_except(self: LocalStorage, path: str, names: Any) -> list[FileInfo]:
        found = original(self, path, names)
        asked.extend(info.name for info in found)
        return found

    original = LocalStorage.list_except
    monkeypatch.setattr(LocalStorage, "list_except", list_except)
    assert monitor.find(10_000) == (taken,)
    assert asked == ["future", "older", "taken"]
    asked.clear()
    assert monitor.find(11_000) == ()
    assert asked == ["future"]
    new = _file(tmp_path / "new", 11_500)
    assert monitor.find(12_000) == (future, new)
    asked.clear()
    assert monitor.find(13_000) == ()
    assert asked == ["future", "new", "older", "taken"]


def test_an_old_file_that_is_written_again_is_read_again(tmp_path: Path) -> None:
    """At the latest after half of the window in which it counts as new."""
    file = _file(tmp_path / "a", 1_000)
    monitor = FileMonitor(str(tmp_path), FileSelection(0, 6_000))
    found = []
    for batch_ms in range(2_000, 20_000, 1_000):
        if batch_ms == 12_000:
            _file(tmp_path / "a", 11_500)
        found += [(batch_ms, path) for path in monitor.find(batch_ms)]
        monitor.forget(batch_ms - 6_000)

    assert [path for _, path in found] == [file, file]
    assert found[0][0] == 2_000
    assert 12_000 <= found[1][0] <= 15_000


def test_stores_that_tell_seconds_lose_no_file_of_the_first_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An object of 10.7 s has the time 10 s, and the stream began at 10.3 s."""
    storage, _ = open_storage("memory://seconds/x")
    monkeypatch.setattr(storage, "resolution_ms", 1000)
    selection = FileSelection(10_300, 5_000)
    FileMonitor("memory://seconds/x", selection)
    info = FileInfo("a", "a", 1, 10_000, is_dir=False)

    assert selection.select(11_000, [info]) == ("a",)


def test_a_monitor_is_pickled_without_what_it_saw(tmp_path: Path) -> None:
    """A checkpoint of it has no names of old files."""
    _file(tmp_path / "a-long-name", 1_000)
    monitor = FileMonitor(tmp_path, FileSelection(2_000, 6_000))
    monitor.find(10_000)
    pickled = frames.dumps(monitor)

    assert b"a-long-name" not in pickled
    assert frames.loads(pickled).find(11_000) == ()
