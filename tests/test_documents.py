"""The documents' blocks of Python: each is run where it stands, or by a test that names it."""

import ast
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [
    str(file.relative_to(ROOT))
    for file in (
        ROOT / "README.md",
        ROOT / "ARCHITECTURE.md",
        ROOT / "CONTRIBUTING.md",
        *sorted((ROOT / "docs").rglob("*.md")),
    )
]
# A block ends at a fence that stands as far in as the one that it begins with.
_BLOCK = re.compile(
    r"^(?P<indent> *)```(?P<language>.*)\n(?:.*\n)*?(?P=indent)```$", re.MULTILINE
)
_SKIP = "<!--- skip: next -->"
_RUN_BY = re.compile(r"<!--- Run\b.* by (tests/[\w/]+\.py)\. -->")
_NOT_RUN = re.compile(r"<!--- Not run: \w.*\. -->")
_LANGUAGES = {
    "",
    "console",
    "dockerfile",
    "ini",
    "json",
    "promql",
    "python",
    "sql",
    "text",
    "yaml",
}


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_collected(page: str, request: pytest.FixtureRequest) -> None:
    """What a reader sees as Python, pytest sees, too: no page, no block is left out."""
    lines = lines_of_examples(page, request)
    text = (ROOT / page).read_text("utf-8")
    unseen = []
    for block in _BLOCK.finditer(text):
        begin = text.count("\n", 0, block.start()) + 1
        end = text.count("\n", 0, block.end()) + 1
        if block["language"] == "python" and not lines & set(range(begin, end)):
            unseen.append(begin)

    assert not unseen, "blocks at these lines aren't run: see `patterns` in conftest.py"


def lines_of_examples(page: str, request: pytest.FixtureRequest) -> set[int]:
    """Return the lines at which pytest finds examples in a page."""
    files: list[Any] = request.config.hook.pytest_collect_file(
        file_path=ROOT / page, parent=request.session
    )
    return {item.example.line for file in files for item in file.collect()}


@pytest.mark.parametrize("page", PAGES)
def test_blocks_say_what_they_are(page: str) -> None:
    """Their languages are few: Python under another name wouldn't be run."""
    text = (ROOT / page).read_text("utf-8")

    assert {found["language"] for found in _BLOCK.finditer(text)} <= _LANGUAGES
    for found in _BLOCK.finditer(text):
        assert found["language"] == "python" or ">>> " not in found[0], found[0]


@pytest.mark.parametrize("page", PAGES)
def test_a_block_that_isnt_run_where_it_stands_says_why(page: str) -> None:
    """The line above tells which test runs it, or why none does; and it is true."""
    lines = (ROOT / page).read_text("utf-8").splitlines()
    marks = [at for at, line in enumerate(lines) if re.match(r" *<!--+.*skip", line)]
    for number, at in enumerate(marks, 1):
        assert lines[at] == _SKIP, "`next` is the only way to leave one out"
        runs = taken().get((page, number))
        if page == "README.md":  # Visitors read its source, too.
            assert runs is not None, f"no test runs block {number}"
        elif (named := _RUN_BY.fullmatch(lines[at - 1])) is not None:
            assert named[1] == runs, f"line {at}: {runs} runs it"
        else:
            assert _NOT_RUN.fullmatch(lines[at - 1]), f"line {at} says no reason"
            assert runs is None, f"line {at}: it is run by {runs}"


@cache
def taken() -> dict[tuple[str, int], str]:
    """Return which block of which page is run by which file of tests."""
    found: dict[tuple[str, int], str] = {}
    for file in sorted((ROOT / "tests" / "integration").glob("test_*.py")):
        text = file.read_text("utf-8")
        if "left_out(" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            match node:
                case ast.Call(
                    func=ast.Name("left_out"),
                    args=[ast.Constant(str(page)), ast.Constant(int(number)), *_],
                ):
                    found[page, number] = str(file.relative_to(ROOT))
                case _:
                    continue
    return found
