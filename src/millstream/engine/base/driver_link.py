"""Driver link: how code that runs in a worker process asks its driver for something."""

from collections.abc import Callable
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
