"""Driver link: how code that runs in a worker process asks its driver, and tells it.

A question is answered at once. What is told waits until the task has succeeded, and is
heard once, however many attempts there were.
"""

from collections.abc import Callable, Iterable
from typing import Any

_answers: dict[str, Callable[[Any], Any]] = {}
_ask: Callable[[str, Any], Any] | None = None


def answer(topic: str, function: Callable[[Any], Any]) -> None:
    """Answer questions on a topic with `function`; in the driver."""
    _answers[topic] = function


def answer_to(topic: str, question: Any) -> Any:
    """Return the answer to a question that a worker asked.

    Raises:
        KeyError: Nobody answers questions on this topic.
    """
    return _answers[topic](question)


def connect(ask: Callable[[str, Any], Any]) -> None:
    """Ask the driver by `ask` from now on: this process is a worker."""
    global _ask  # noqa: PLW0603  One driver a process.
    _ask = ask


def is_worker() -> bool:
    """Say whether this process is a worker's."""
    return _ask is not None


def ask(topic: str, question: Any) -> Any:
    """Return the driver's answer; only in a worker process, in a task."""
    assert _ask is not None, "asked in a process that has no driver"
    return _ask(topic, question)


_hearers: dict[str, Callable[[Any], None]] = {}
_told: list[tuple[str, Any]] = []


def hear(topic: str, function: Callable[[Any], None]) -> None:
    """Have `function` hear what tasks tell on a topic; in the driver."""
    _hearers[topic] = function


def heard(told: Iterable[tuple[str, Any]]) -> None:
    """Hear what a task has told that succeeded; in the driver.

    Raises:
        KeyError: Nobody hears of a topic.
    """
    for topic, news in told:
        _hearers[topic](news)


def start_telling() -> None:
    """Begin a task: nothing has been told yet; in a worker, which runs one at a time."""
    _told.clear()


def tell(topic: str, news: Any) -> None:
    """Tell the driver, if this task succeeds; only in a worker process, in a task."""
    _told.append((topic, news))


def take_told() -> tuple[tuple[str, Any], ...]:
    """Return what this task has told."""
    told = tuple(_told)
    _told.clear()
    return told
