"""The table of docs/sinks/index.md says what the tests of each sink have found out."""

import re
from pathlib import Path

import pytest

from millstream.streaming import sinks

_ROOT = Path(__file__).parent.parent
_ROW = re.compile(
    r"^\| \[(?P<names>`\w+Sink`[^]]*)\]\(\w+\.md\) \| (?P<promise>[^|]+) \|"
)
_CLASSES = sorted(n for n in sinks.__all__ if n.endswith("Sink") and n != "Sink")


def _promises() -> dict[str, str]:
    """Return what the page says of each class."""
    page = (_ROOT / "docs" / "sinks" / "index.md").read_text(encoding="utf-8")
    found = (_ROW.match(line) for line in page.splitlines())
    return {
        name: row["promise"]
        for row in found
        if row is not None
        for name in re.findall(r"`(\w+)`", row["names"])
    }


def test_every_sink_has_a_row() -> None:
    """And no row is of a sink that isn't there."""
    assert sorted(_promises()) == _CLASSES


@pytest.mark.parametrize("name", _CLASSES)
def test_the_promise_is_what_a_certificate_says(name: str) -> None:
    """A test certifies the class, and demands this guarantee."""
    texts = [
        file.read_text(encoding="utf-8")
        for file in (_ROOT / "tests" / "integration").glob("test_*.py")
    ]
    certified = [text for text in texts if "certify_sink" in text and name in text]
    (promise, *_) = _promises()[name].split(",")

    assert any(f'guarantee == "{promise}"' in text for text in certified), name


def test_every_sink_can_be_imported_by_its_name() -> None:
    """From one place, each when it is asked for."""
    for name in sinks.__all__:
        assert getattr(sinks, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'NoSink'"):
        _ = sinks.NoSink
