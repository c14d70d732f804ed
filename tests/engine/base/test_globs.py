"""Tests of engine/base/globs.py."""

import fnmatch
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.base.globs import glob, is_pattern, split_path_list
from millstream.engine.base.storage import LocalStorage, open_storage


@pytest.fixture(name="root")
def _root(tmp_path: Path) -> Path:
    for name in ("a.txt", "b.txt", "c[1].log", "x/a.txt", "y/b.txt", "y/z/a.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a.txt", ["a.txt"]),
        ("none.txt", []),
        ("*.txt", ["a.txt", "b.txt"]),
        ("?.txt", ["a.txt", "b.txt"]),
        ("[b-z].txt", ["b.txt"]),
        ("[^b-z].txt", ["a.txt"]),
        ("[!a].txt", ["b.txt"]),
        ("{b,a}.txt", ["a.txt", "b.txt"]),
        ("{a,*}.txt", ["a.txt", "b.txt"]),
        ("{x,y}/*.txt", ["x/a.txt", "y/b.txt"]),
        ("{x/a,y/{b,c}}.txt", ["x/a.txt", "y/b.txt"]),
        ("*/*.txt", ["x/a.txt", "y/b.txt"]),
        ("*/z/a.txt", ["y/z/a.txt"]),
        ("*/nothing", []),
        ("a.txt/*", []),
        ("nothing/*", []),
        ("c[[]1].log", ["c[1].log"]),
        ("*.lo[g", []),
    ],
)
def test_patterns_of_hadoop(root: Path, pattern: str, expected: list[str]) -> None:
    """What matches, each once, in order."""
    found = glob(LocalStorage(), f"{root}/{pattern}")

    assert [str(Path(info.path).relative_to(root)) for info in found] == expected


def test_a_directory_whose_name_has_marks_is_entered(tmp_path: Path) -> None:
    """What a pattern found is a name, not another pattern."""
    (tmp_path / "[ab]*").mkdir()
    (tmp_path / "[ab]*" / "file").write_text("x")

    assert [i.name for i in glob(LocalStorage(), f"{tmp_path}/*/file")] == ["file"]


def test_patterns_work_without_a_directory(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They begin where the program runs; or at the root."""
    monkeypatch.chdir(root)

    assert [i.name for i in glob(LocalStorage(), "*.txt")] == ["a.txt", "b.txt"]
    assert "/tmp" in [i.path for i in glob(LocalStorage(), "/t*p")]


def test_patterns_work_in_other_storages() -> None:
    """Here in fsspec's memory."""
    storage, path = open_storage("memory://globs/in")
    storage.write_atomic(f"{path}/a.txt", b"x")
    storage.write_atomic(f"{path}/b.log", b"x")

    assert [i.path for i in glob(storage, f"{path}/*.txt")] == ["/globs/in/a.txt"]
    storage.delete_tree("/globs")


@given(st.text("ab[]!-*?", max_size=6), st.text("ab]!-[", min_size=1, max_size=4))
def test_a_part_matches_as_the_shell_does(pattern: str, name: str) -> None:
    """Beside Python's own matcher, where both know the syntax."""
    from millstream.engine.base.globs import _compiled

    if "[]" in pattern or "[!]" in pattern or "--" in pattern or "-" in pattern:
        return  # A bracket first in its set, and ranges backwards: each has its way.
    matches = _compiled(pattern).fullmatch(name) is not None

    assert matches == fnmatch.fnmatchcase(name, pattern)


def test_path_lists() -> None:
    """Commas separate, but not inside braces."""
    assert split_path_list("a,b") == ["a", "b"]
    assert split_path_list("a{1,2},b,") == ["a{1,2}", "b"]
    assert split_path_list("{a,{b,c},d}/x,y") == ["{a,{b,c},d}/x", "y"]
    assert split_path_list("") == []
    assert is_pattern("a?")
    assert not is_pattern("a-b,c")
