"""Planning: a program that is looked at before its stream starts; the stream doesn't run.

It is asked what an upgrade of its checkpoint would keep, or its stream is handed to
somebody who explains or replays it. Meanwhile nothing of Millstream's writes below the
checkpoint directory, and no stream starts.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from millstream.engine.base.storage import LocalStorage, open_storage

if TYPE_CHECKING:
    from millstream.streaming.context import StreamingContext


@dataclass(frozen=True, slots=True)
class Answer:
    """What an upgrade would do, for people, and whether "apply" would do it."""

    text: str
    can_apply: bool


@dataclass(slots=True)
class Request:
    """The question of the command line, answered by the program's `getOrCreate`."""

    directory: str
    allow_drop: tuple[str, ...] = ()
    answer: Answer | None = None
    strayed: list[str] = field(default_factory=list)
    """What the program did instead of opening that directory."""

    def is_about(self, directory: str) -> bool:
        """Say whether it is this directory, however it is written."""
        return _plain(self.directory) == _plain(directory)


class PlanMade(SystemExit):
    """Ends a program that was only asked for its plan. Not an error: nobody catches it."""


@dataclass(frozen=True, slots=True)
class Look:
    """Who is given a program's stream in place of its start, and what is set for it."""

    at_start: "Callable[[StreamingContext], None]"
    settings: Callable[[Mapping[str, str]], Mapping[str, str]] = dict
    """Returns what is set, given what the program has set."""


_depth = 0
_request: Request | None = None
_look: Look | None = None


def is_planning() -> bool:
    """Say whether the program is only asked for its plan."""
    return _depth > 0


def request() -> Request | None:
    """Return the question of the command line, if it asks one."""
    return _request


@contextmanager
def planning() -> Iterator[None]:
    """Let nothing be written or started in the block."""
    global _depth  # noqa: PLW0603  A process has one active context, and one plan.
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1


@contextmanager
def asking(asked: Request) -> Iterator[None]:
    """Let `getOrCreate` answer `asked` in the block, and end the program."""
    global _request  # noqa: PLW0603  A process has one active context, and one plan.
    with planning():
        _request = asked
        try:
            yield
        finally:
            _request = None


@contextmanager
def looking(look: Look) -> Iterator[None]:
    """Let `look` have the stream that the program would start in the block.

    `getOrCreate` calls its setup function meanwhile, whatever the directory has.
    """
    global _look  # noqa: PLW0603  A process has one active context.
    with planning():
        _look = look
        try:
            yield
        finally:
            _look = None


def is_looking() -> bool:
    """Say whether somebody is to have the stream in place of its start."""
    return _look is not None


def settings_for(given: Mapping[str, str]) -> Mapping[str, str]:
    """Return the settings that a program runs with, when it has given these."""
    return given if _look is None else _look.settings(given)


def refuse_start(stream: "StreamingContext") -> None:
    """End a program that would start a stream while it is only looked at.

    Raises:
        PlanMade: It is.
    """
    if _look is not None:
        _look.at_start(stream)
        raise PlanMade(0)
    if _request is not None:
        _request.strayed.append("it starts a stream that getOrCreate didn't return")
    if is_planning():
        raise PlanMade(1)


def _plain(directory: str) -> str:
    storage, path = open_storage(directory)
    if isinstance(storage, LocalStorage):
        return str(Path(path).resolve())
    return storage.uri(path).rstrip("/")
