"""Tests of streaming/program_text.py: what of a program counts as changed."""

import functools
import linecache
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from millstream.streaming.program_text import differences, digests, file_of

MAIN = '''"""A program."""

import os
import numpy
from helpers import clean
from parts import first
from parts.inner import deep as renamed
from . import nothing


class Step:
    """A step."""

    size = 1

    @property
    def value(self):
        return self._value

    @value.setter
    def value(self, value):
        self._value = value

    def run(self):
        return clean(first.go() + renamed())


def setup():
    import late
    return Step
'''
MODULES = {
    "main.py": MAIN,
    "helpers.py": "import main\n\n\ndef clean(text):\n    return text\n",
    "late.py": "LIMIT = 1\n",
    "unused.py": "def unused():\n    pass\n",
    "parts/__init__.py": "",
    "parts/first.py": "from .inner import deep\nfrom .. import helpers\n",
    "parts/inner.py": "def deep():\n    return 1\n",
    "site-packages/numpy/__init__.py": "def array():\n    pass\n",
}


class Folder:
    """A program's directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        for name, text in MODULES.items():
            self.write(name, text)

    def write(self, name: str, text: str) -> None:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def setup(self, name: str = "main.py") -> Callable[[], Any]:
        """Return a function that is written in the file, without running its imports."""
        names: dict[str, Any] = {}
        code = compile("def setup():\n    pass\n", str(self.path / name), "exec")
        exec(code, names)
        made: Callable[[], Any] = names["setup"]
        return made

    def digests(self) -> dict[str, str]:
        return digests(self.setup())


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Return a program of several modules."""
    return Folder(tmp_path / "app")


def test_the_modules_a_program_imports_from_beside_it_belong_to_it(
    folder: Folder,
) -> None:
    """However they are imported; not those installed elsewhere, nor those unused."""
    assert sorted(folder.digests()) == [
        "<module>",
        "<setup>",
        "Step",
        "Step.run",
        "Step.value",
        "helpers.<module>",
        "helpers.clean",
        "late.<module>",
        "parts.<module>",
        "parts.first.<module>",
        "parts.inner.<module>",
        "parts.inner.deep",
        "setup",
    ]


@pytest.mark.parametrize(
    ("name", "old", "new", "told"),
    [
        ("main.py", '"""A program."""\n', "# Nothing.\n\n\n", []),
        ("main.py", '    """A step."""\n', "", []),
        ("main.py", "size = 1", "size = 2", ["`Step` changed"]),
        ("main.py", "class Step:", "class Step(dict):", ["`Step` changed"]),
        ("main.py", "self._value = value", "pass", ["`Step.value` changed"]),
        ("main.py", "return Step", "return None", ["`setup` changed"]),
        (
            "main.py",
            "import os",
            "import os, io",
            ["statements outside functions changed"],
        ),
        (
            "late.py",
            "1",
            "2",
            ["statements outside functions of `late` changed"],
        ),
        ("helpers.py", "return text", "return text + '1'", ["`helpers.clean` changed"]),
        (
            "helpers.py",
            "clean(text)",
            "clear(text)",
            ["`helpers.clear` is new", "`helpers.clean` is gone"],
        ),
        ("parts/inner.py", "return 1", "return 1.0", ["`parts.inner.deep` changed"]),
        ("unused.py", "pass", "return 1", []),
    ],
)
def test_changes_are_told_by_function(
    folder: Folder, name: str, old: str, new: str, told: list[str]
) -> None:
    """Comments, docstrings and positions don't count; values, bases and names do."""
    before = folder.digests()
    assert old in MODULES[name]
    folder.write(name, MODULES[name].replace(old, new))
    assert differences(before, folder.digests()) == told


def test_digests_are_the_same_in_every_version_of_python(tmp_path: Path) -> None:
    """A checkpoint written by one is compared by another: the number is fixed."""
    (tmp_path / "main.py").write_text(
        "def setup(a, *b, c=1, **d):\n"
        "    x = [f'{i!r:>3}' for i in b if i > -1.5j or (yield)]\n"
        "    with open('f') as g, a:\n"
        "        return lambda: {**d, 'k': x[1:]}\n"
    )
    made = Folder.__new__(Folder)
    made.path = tmp_path
    assert made.digests()["setup"] == "f487daf5a9b2f5e0"


def test_the_function_is_found_behind_what_wraps_it(folder: Folder) -> None:
    """Partial applications, decorators, methods and callable objects."""
    setup = folder.setup()

    class Maker:
        __call__ = staticmethod(setup)

    expected = folder.digests()
    for wrapped in (functools.partial(setup), functools.wraps(setup)(lambda: None)):
        assert digests(wrapped) == expected
    assert file_of(setup) == str(folder.path / "main.py")
    assert file_of(Maker()) == file_of(setup)
    assert file_of(len) == "<unknown>"
    assert digests(len) == {}


def test_another_setup_function_of_the_same_file_is_a_difference(
    folder: Folder,
) -> None:
    """Its text hasn't changed, but it is another program."""

    def one() -> None:
        pass

    def two() -> None:
        pass

    assert differences(digests(one), digests(two)) == ["the setup function changed"]
    assert differences(digests(one), digests(one)) == []


def test_a_program_in_a_package_begins_at_its_top(tmp_path: Path) -> None:
    """Imports count from the directory above the package."""
    folder = Folder(tmp_path)
    folder.write("app/__init__.py", "")
    folder.write("app/jobs/__init__.py", "")
    folder.write("app/jobs/job.py", "from app import common\nfrom ..common import f\n")
    folder.write("app/common.py", "def f():\n    pass\n")
    found = digests(folder.setup("app/jobs/job.py"))
    assert sorted(found) == [
        "<module>",
        "<setup>",
        "app.<module>",
        "app.common.<module>",
        "app.common.f",
    ]


def test_an_installed_program_ends_at_its_own_package(tmp_path: Path) -> None:
    """What is installed beside it isn't part of it."""
    folder = Folder(tmp_path / "site-packages")
    folder.write("app/__init__.py", "import helpers\nfrom app import common\n")
    folder.write("app/common.py", "")
    found = digests(folder.setup("app/__init__.py"))
    assert sorted(found) == ["<module>", "<setup>", "app.common.<module>"]


def test_the_directory_of_the_main_program_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A setup function in a folder below it imports from there."""
    folder = Folder(tmp_path)
    folder.write("jobs/job.py", "import helpers\n")
    monkeypatch.setattr(
        sys.modules["__main__"], "__file__", str(tmp_path / "main.py"), raising=False
    )
    assert "helpers.clean" in digests(folder.setup("jobs/job.py"))


def test_text_that_cannot_be_read_tells_nothing(folder: Folder) -> None:
    """Of another language, or not there: no difference is made up."""
    before = folder.digests()
    folder.write("helpers.py", "def :\n")
    assert "helpers.clean" not in folder.digests()
    folder.write("main.py", "def :\n")
    assert folder.digests() == {}
    assert differences(before, {}) == differences({}, before) == []


def test_cells_of_a_notebook_are_a_program_too(tmp_path: Path) -> None:
    """Without a file: the setup function and the functions and classes it names."""

    def cell(text: str, number: int) -> None:
        name = f"<cell {number}>"
        linecache.cache[name] = len(text), None, text.splitlines(keepends=True), name
        exec(compile(text, name, "exec"), names)

    names: dict[str, Any] = {"__name__": "notebook"}
    cell("def clean(text):\n    return text\n", 1)
    cell("def setup():\n    return clean('') + str(len(undefined))\n", 2)
    before = digests(names["setup"])
    assert sorted(before) == ["<setup>", "clean", "setup"]
    cell("def clean(text):\n    return text + '!'\n", 3)
    assert differences(before, digests(names["setup"])) == ["`clean` changed"]


def test_what_was_typed_into_a_shell_has_no_text() -> None:
    """Then nothing is told."""
    names: dict[str, Any] = {}
    exec("def setup():\n    pass\n", names)
    assert digests(names["setup"]) == {}


def test_loading_a_program_is_not_needed(folder: Folder) -> None:
    """Text is read, not run: a program that can't be imported has digests."""
    folder.write("main.py", "1 // 0\n\n\ndef setup():\n    pass\n")
    with pytest.raises(ZeroDivisionError):
        runpy.run_path(str(folder.path / "main.py"))
    assert sorted(folder.digests()) == ["<module>", "<setup>", "setup"]
