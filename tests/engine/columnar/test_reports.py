"""StageReport: which way each step went, in words."""

import pytest

from millstream.engine.base import frames
from millstream.engine.columnar.reports import StageReport


def test_reports_of_tasks_add_up() -> None:
    """Blocks are counted over all tasks of a stage; a report travels."""
    one, other = StageReport(), StageReport()
    one.note(1, "map", "columns", "")
    other.note(1, "map", "rows", "guard failed: a division by zero")
    other.reducing = 2
    other.note_ending("columns", "")
    one.add(frames.loads(frames.dumps(other)))

    assert list(one.lines()) == [
        "map: columns and rows: guard failed: a division by zero in 1 of 2 blocks",
        "by key: columns",
    ]


@pytest.mark.parametrize(
    ("ways", "words"),
    [
        (["columns"], "columns"),
        (["rows"], "rows: why"),
        (["columns", "rows", "rows"], "columns and rows: why in 2 of 3 blocks"),
    ],
)
def test_fates_in_words(ways: list[str], words: str) -> None:
    """The reason is told where there is one."""
    report = StageReport()
    for way in ways:
        report.note(1, "map", way, "why")

    assert report.steps[1, "map"].describe() == words
