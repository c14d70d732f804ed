"""Failures are told by the line that says what went wrong."""

import pytest

from millstream.engine.observe.page.failures import last_line, told

TEXT = (
    "An exception was raised by Python:\nTraceback (most recent call last):\n"
    '  File "app.py", line 3, in tell\n    int(word)\n'
    "ValueError: invalid literal\nhint: give a number\n"
    "(in output operation print at app.py:9, batch 2000 ms)"
)


@pytest.mark.parametrize(
    ("reason", "line"),
    [
        (TEXT, "ValueError: invalid literal"),
        ("my.own.BadError: no\n\n", "my.own.BadError: no"),
        ("KeyboardInterrupt", "KeyboardInterrupt"),
        ("Job 3 cancelled", "Job 3 cancelled"),
        ("", ""),
    ],
)
def test_the_last_line_that_names_an_error_is_what_went_wrong(
    reason: str, line: str
) -> None:
    """Notes come behind it; without one it is the last line."""
    assert last_line(reason) == line


def test_the_whole_text_is_below_what_went_wrong() -> None:
    """The user's lines are in it."""
    text = told(TEXT)

    assert text.startswith("Failed due to error: ValueError: invalid literal\n")
    assert text.endswith(TEXT)


def test_an_error_of_the_engines_is_a_jobs() -> None:
    """In Spark's words."""
    text = told("millstream.JobFailedError: Job aborted")

    assert text.startswith("Failed due to Spark job error\n")
