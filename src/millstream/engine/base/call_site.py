"""Call sites: which line of the user's program asked for something."""

import os  # noqa: TID251  What ends the name of a directory.
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath
from types import FrameType

from millstream.engine.base import notebooks

_PACKAGE = str(PurePath(__file__).parents[2]) + os.sep
_local = threading.local()


def is_ours(file_name: str) -> bool:
    """Say whether a source file belongs to Millstream (its examples and demo do not)."""
    return file_name.startswith((_PACKAGE, "<millstream"))


def user_call_site() -> str:
    """Return `method at file.py:12` for the call into Millstream that is under way.

    On a thread of the engine's own it is what `on_behalf_of` says.
    """
    frame: FrameType | None = sys._getframe(1)
    method = "call"
    while frame is not None:
        code = frame.f_code
        if code.co_filename == threading.__file__:
            return getattr(_local, "site", "") or method
        if not is_ours(code.co_filename):
            name = notebooks.cell_of(code.co_filename)
            name = name or code.co_filename.replace("\\", "/").rpartition("/")[2]
            return f"{method} at {name}:{frame.f_lineno}"
        if not code.co_name.startswith("<"):
            method = code.co_name
        frame = frame.f_back
    return method


@contextmanager
def on_behalf_of(site: str) -> Iterator[None]:
    """Let what this thread makes for a while count as made at `site`."""
    before = getattr(_local, "site", "")
    _local.site = site
    try:
        yield
    finally:
        _local.site = before
