"""The log's lines, as text and as JSON."""

import io
import json
import logging
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from millstream.engine.base import logs, task_scope
from millstream.engine.base.errors import UsageError
from millstream.engine.base.task_scope import TaskScope

LOG = logging.getLogger("millstream.engine.jobs.runner")


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Leave Python's logging as it was."""
    root, ours = logging.getLogger(), logging.getLogger("millstream")
    handlers, level = list(root.handlers), ours.level
    yield
    root.handlers[:] = handlers
    ours.setLevel(level)
    logging.captureWarnings(False)


def logged(form: str, *args: Any, **options: Any) -> str:
    """Return what a warning looks like."""
    out = io.StringIO()
    logs.configure(form, stream=out)
    LOG.warning(*args, **options)
    return out.getvalue()


def as_json(*args: Any, **options: Any) -> dict[str, Any]:
    """Return what a warning looks like as JSON, read again."""
    text = logged("json", *args, **options)
    assert text.count("\n") == 1, "one line, whatever is in it"
    line: dict[str, Any] = json.loads(text)
    return line


def test_values_are_fields_of_a_line_of_json() -> None:
    """They keep their types, may have blanks in them, and the event has none of them."""
    line = as_json(
        "task lost job=%d stage=%d reason=%s; it runs again", 3, 7, "out of memory"
    )

    assert line["event"] == "task lost; it runs again"
    assert line["fields"] == {"job": 3, "stage": 7, "reason": "out of memory"}
    assert (line["level"], line["logger"]) == ("warning", LOG.name)
    assert line["thread"] == "MainThread"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["ts"])
    assert "batch" not in line
    assert "traceback" not in line


def test_the_batch_stands_beside_the_fields() -> None:
    """A line that names its batch can be found by it."""
    line = as_json("a checkpoint couldn't be written batch=%d try=%d", 5000, 1)

    assert line["batch"] == 5000
    assert line["fields"] == {"try": 1}


def test_what_a_task_logs_has_the_batch_of_the_task(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A program's own lines, which don't name it, too."""
    scope = TaskScope(1, 0, 0, 9, {"spark.streaming.internal.batchTime": "7000"})
    monkeypatch.setattr(task_scope._current, "scope", scope, raising=False)

    assert as_json("odd record")["batch"] == 7000


def test_values_that_are_no_fields_stay_in_the_event() -> None:
    """Such as the end of a range, and a per cent sign."""
    line = as_json("%s: 100%% lost offsets=%d to %d", "topic", 4, 9)

    assert line["event"] == "topic: 100% lost to 9"
    assert line["fields"] == {"offsets": 4}


def test_what_isnt_plain_is_told_in_words() -> None:
    """An error, say; and what JSON has is left as it is."""
    line = as_json("failed error=%s ratio=%.1f name=%s", KeyError("x"), 0.25, None)

    assert line["fields"] == {"error": "'x'", "ratio": 0.25, "name": None}


def raised() -> BaseException:
    """Return an error that was raised."""
    try:
        return 1 / 0  # type: ignore[return-value]
    except ZeroDivisionError as error:
        return error


@pytest.mark.parametrize(
    "args",
    [
        ("no fields, 100% sure",),
        ("by name %(what)s", {"what": "it"}),
        ("width %*d", 5, 3),
    ],
)
def test_other_peoples_messages_are_events(args: tuple[Any, ...]) -> None:
    """Whatever way of formatting they use."""
    line = as_json(*args)

    expected = args[0] % args[1:] if len(args) > 2 else args[0]
    if len(args) == 2:
        expected = args[0] % args[1]
    assert line["event"] == expected
    assert line["fields"] == {}


def test_a_traceback_is_in_the_line() -> None:
    """One record, one line."""
    line = as_json("failed batch=%d", 1, exc_info=raised())

    assert line["traceback"].startswith("Traceback")
    assert line["traceback"].endswith("ZeroDivisionError: division by zero")


def test_text_has_time_level_and_logger() -> None:
    """And the message as it is."""
    text = logged("text", "task lost job=%d", 3)

    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT[\d:]{8}\.\d{3}Z WARNING jobs.runner: task lost job=3\n", text
    )


def test_text_has_the_traceback_below() -> None:
    """As Python prints it."""
    text = logged("text", "failed", exc_info=raised())

    assert text.splitlines()[1] == "Traceback (most recent call last):"


def test_the_level_is_that_of_millstreams_log() -> None:
    """What is below it isn't written; other libraries keep theirs."""
    out = io.StringIO()
    logs.configure("json", "info", out)
    LOG.info("told")
    LOG.debug("not told")
    logging.getLogger("another").info("not told")
    logging.getLogger("another").warning("theirs")

    events = [json.loads(line)["event"] for line in out.getvalue().splitlines()]
    assert events == ["told", "theirs"]


def test_configuring_again_replaces() -> None:
    """No line comes twice."""
    first, second = io.StringIO(), io.StringIO()
    logs.configure("text", stream=first)
    logs.configure("json", stream=second)
    LOG.warning("once")

    assert first.getvalue() == ""
    assert second.getvalue().count("once") == 1


def test_pythons_warnings_are_lines_of_json_too() -> None:
    """Nothing but JSON comes, or who reads it fails."""
    out = io.StringIO()
    logs.configure("json", stream=out)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)

    assert json.loads(out.getvalue())["logger"] == "py.warnings"


def test_an_unknown_format_is_refused() -> None:
    """With what there is."""
    told = r"^there is no log format 'xml'\nhint: it is text or json$"
    with pytest.raises(UsageError, match=told):
        logs.configure("xml")


def test_an_unknown_level_is_refused() -> None:
    """With what there is."""
    told = r"^there is no log level 'loud'\nhint: it is one of debug, info, warning, error$"
    with pytest.raises(UsageError, match=told):
        logs.configure("text", "loud")


def test_it_is_written_to_standard_error() -> None:
    """Where results aren't."""
    program = (
        "import logging\n"
        "from millstream.engine.base import logs\n"
        "logs.configure('json')\n"
        "logging.getLogger('millstream').warning('told at=%d', 5)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout == ""
    assert json.loads(done.stderr)["fields"] == {"at": 5}
