"""Examples in the documents are tests: Sybil runs the Python blocks of the Markdown files."""

import os  # noqa: TID251  The environment of what tests start.
import tempfile
from collections.abc import Iterator
from doctest import ELLIPSIS, NORMALIZE_WHITESPACE
from pathlib import Path

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

# Pages are served by the tests of the page alone.
os.environ.setdefault("MILLSTREAM_UI", "off")

# Modules that another library's stand for: their examples are its own.
collect_ignore = [
    str(file)
    for file in (Path(__file__).parent / "src" / "millstream" / "sql").glob("*.py")
    if "sys.modules[__name__]" in file.read_text("utf-8")
]

pytest_collect_file = Sybil(
    parsers=[
        PythonCodeBlockParser(doctest_optionflags=ELLIPSIS | NORMALIZE_WHITESPACE),
        SkipParser(),
    ],
    patterns=[
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "docs/*.md",
        "docs/sources/*.md",
        "docs/sinks/*.md",
        "docs/sql/*.md",
    ],
    setup=lambda namespace: namespace.update(__name__="__main__"),
).pytest()


@pytest.fixture(scope="session", autouse=True)
def _temporary_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Have pytest remove what a test, or a process that a test has killed, leaves."""
    # Ray's directory has sockets in it, whose paths can't be long.
    os.environ.setdefault("RAY_TMPDIR", tempfile.gettempdir())
    directory = str(tmp_path_factory.mktemp("temporary"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", directory)
        patch.setattr(tempfile, "tempdir", directory)
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave examples with queries out of the quick tests: each page starts an engine."""
    for item in items:
        if item.path.parent.name == "sql" and item.path.suffix == ".md":
            item.add_marker(pytest.mark.slow)
