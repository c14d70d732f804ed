"""The messages on docs/troubleshooting.md are those of the source.

Nor do it and docs/tuning.md name a setting that there isn't.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from millstream.engine.base.catalogue import CATALOGUE

_ROOT = Path(__file__).parent.parent
_ROW = re.compile(r"^\| `(?P<message>[^`]+)` \| (?P<why>[^|]+) \| (?P<cure>[^|]+) \|$")
_LOGGED = re.compile(r"%[-+ 0-9.]*[a-z]")
_ANYTHING = "\0"
_FIXED_LENGTH_MIN = 8
"""A message with less than that, beside what differs, could be any other."""


def _messages() -> list[str]:
    """Return the first column of each table of messages."""
    page = (_ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    found = (_ROW.match(line) for line in page.splitlines())
    return [row["message"] for row in found if row is not None]


def _template(node: ast.AST) -> str | None:
    """Return the text that a literal makes, with a mark for each value in it."""
    match node:
        case ast.Constant(value=str() as text):
            return _LOGGED.sub(_ANYTHING, text)
        case ast.JoinedStr(values=parts):
            return "".join(_template(part) or _ANYTHING for part in parts)
        case _:
            return None


def _literals(source: str) -> Iterator[str]:
    tree = ast.parse(source)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    told = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        text = None if id(node) in told else _template(node)
        if text is not None:
            yield text


@cache
def _files() -> dict[Path, str]:
    files = sorted((_ROOT / "src" / "millstream").rglob("*.py"))
    return {file: file.read_text(encoding="utf-8") for file in files}


@cache
def _templates(file: Path) -> tuple[str, ...]:
    """Return every text of a file but docstrings and comments."""
    return tuple(_literals(_files()[file]))


def _is_in_the_source(message: str) -> bool:
    # To parse all files takes a second: only those are that have all of its words.
    words = re.findall(r"\w{3,}", message)
    likely = [
        file for file, text in _files().items() if all(word in text for word in words)
    ]
    return any(_is_made(message, _templates(file)) for file in likely)


def _is_made(message: str, templates: tuple[str, ...]) -> bool:
    """Say whether a text of the source has all that is fixed in a message, in order.

    `...` in a message stands for a value, or for what is left out.
    """
    parts = [re.escape(part) for part in message.split("...")]
    wanted = re.compile(".*".join(parts), re.DOTALL)
    return any(wanted.search(text) for text in templates)


@pytest.mark.parametrize("message", _messages())
def test_a_message_is_in_the_source(message: str) -> None:
    """As it is quoted, but for what differs from time to time."""
    longest = max(message.split("..."), key=len)

    assert len(longest) >= _FIXED_LENGTH_MIN, (
        "too little of it is fixed to be looked for"
    )
    assert _is_in_the_source(message)


def test_a_message_that_nobody_raises_would_be_found() -> None:
    """Neither another word nor another order passes."""
    templates = (f"file '{_ANYTHING}' is damaged: {_ANYTHING}",)

    assert _is_made("file '...' is damaged: ...", templates)
    assert not _is_made("file '...' is broken: ...", templates)
    assert not _is_made("is damaged: ... file '", templates)


def test_values_of_logged_and_formatted_texts_are_left_open() -> None:
    """A word of the page can't match the inside of a placeholder."""
    (logged,) = ast.parse('"%d batches of %s wait"').body
    (formatted,) = ast.parse('f"block {block_id} is lost"').body
    assert isinstance(logged, ast.Expr)
    assert isinstance(formatted, ast.Expr)

    assert _template(logged.value) == f"{_ANYTHING} batches of {_ANYTHING} wait"
    assert _template(formatted.value) == f"block {_ANYTHING} is lost"


def test_every_row_of_messages_is_read() -> None:
    """A row that is written in another way would be left out silently."""
    page = (_ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    messages, _ = page.split("## Symptoms without a message")
    rows = [
        line
        for line in messages.splitlines()
        if line.startswith("| ") and not line.startswith("| message |")
    ]

    assert len(rows) == len(_messages())
    assert len(set(_messages())) == len(_messages()), "one row for one message"


@pytest.mark.parametrize("name", ["troubleshooting", "tuning"])
def test_settings_that_a_guide_names_are_in_the_catalogue(name: str) -> None:
    """By their own name: a family's entry would take a misspelt one, too."""
    page = (_ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    keys = set(re.findall(r"`(spark\.[A-Za-z][\w.]*\w)", page))

    assert keys
    assert not keys - CATALOGUE.keys()
