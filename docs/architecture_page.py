"""Puts ARCHITECTURE.md, which is at the root for who reads the code, among the documents.

MkDocs calls it for each page.
"""

from pathlib import Path
from typing import Any

_SOURCE = Path(__file__).parent.parent / "ARCHITECTURE.md"


def on_page_markdown(markdown: str, *, page: Any, **_others: Any) -> str:
    """Return a page's text; that of architecture.md is the file's, with links from here."""
    if page.file.src_uri != "architecture.md":
        return markdown
    return _SOURCE.read_text("utf-8").replace("](docs/", "](")
