"""`findspark`, which looks for a Spark that isn't needed here."""

from typing import Any


def init(*_args: Any, **_options: Any) -> None:
    """Do nothing."""


def find() -> str:
    """Return an empty path: there is no Spark home."""
    return ""
