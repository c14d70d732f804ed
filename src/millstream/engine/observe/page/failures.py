"""Failures: what went wrong, in a line and in full."""

import re

_PLACE = re.compile(r"^\(in output operation .*\)$")
_PREFIX = "An exception was raised by Python:"
_OURS = ("JobFailedError", "JobCancelledError", "SparkError", "DurabilityError")


def last_line(reason: str) -> str:
    """Return the line of a failure's text that says what went wrong."""
    lines = [each.strip() for each in reason.splitlines()]
    telling = [e for e in lines if e and e != _PREFIX and not _PLACE.match(e)]
    # Notes come after the exception's own line, and aren't the error.
    errors = [
        e for e in telling if re.match(r"[A-Za-z_][\w.]*(Error|Exception|Exit)\b", e)
    ]
    return (errors or telling or [reason.strip()])[-1]


def told(reason: str) -> str:
    """Return the whole text of a failure, opened by what went wrong.

    Text of an error of the engine's is told as a job's failure.
    """
    line = last_line(reason)
    if any(line.split(":")[0].endswith(name) for name in _OURS):
        return f"Failed due to Spark job error\n{reason}"
    return f"Failed due to error: {line}\n{reason}"
