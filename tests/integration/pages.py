"""Blocks of the documents that aren't run where they stand: they need a server.

A test takes such a block with `left_out`, puts its own server's address into it, and runs
it. `tests/test_documents.py` finds the calls: a block that nobody takes is told there.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
_LEFT_OUT = re.compile(
    r"<!--- skip: next -->\n\s*```python\n(.*?)^```", re.MULTILINE | re.DOTALL
)


def left_out(page: str, number: int, changes: Mapping[str, str]) -> str:
    """Return the `number`-th block that a page doesn't run, from 1, with other addresses.

    Raises:
        AssertionError: The page has no such block, or the block nothing of `changes`.
    """
    blocks = _LEFT_OUT.findall((ROOT / page).read_text("utf-8"))
    assert number <= len(blocks), f"{page} has {len(blocks)} such blocks"
    text: str = blocks[number - 1]
    for old, new in changes.items():
        assert old in text, f"block {number} of {page} has no {old}"
        text = text.replace(old, new)
    return text


def run(text: str, **given: Any) -> dict[str, Any]:
    """Run a block as a program's own code, with names that are `given`; return its names."""
    names: dict[str, Any] = {"__name__": "__main__", **given}
    exec(compile(text, "<page>", "exec"), names)
    return names
