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
        "docs/guides/*.md",
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


# Many tests of what few changes touch: in `make test` alone.
_LATER = {
    "commands",
    "deploy",
    "parity",
    "sql",
    "sail",
    "tables",
    "golden",
    "page",
    "observe",
    "test_documents.py",
    "test_examples.py",
    "test_troubleshooting_page.py",
}


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Don't import for the quick tests what has none: libraries of whole files are slow."""
    if config.option.markexpr != "not slow" or not collection_path.is_file():
        return None
    if collection_path.parent.name in _LATER or collection_path.name in _LATER:
        return True
    if collection_path.suffix == ".md":
        # Each page with queries starts an engine.
        return collection_path.parent.name == "sql" or None
    is_slow = collection_path.name.startswith("test_") and any(
        line.startswith(
            ("pytestmark = pytest.mark.slow", "pytestmark = [pytest.mark.slow")
        )
        for line in collection_path.read_text("utf-8").splitlines()
    )
    return is_slow or None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave examples with queries out of the quick tests: each page starts an engine."""
    for item in items:
        if item.path.parent.name == "sql" and item.path.suffix == ".md":
            item.add_marker(pytest.mark.slow)
