"""A supervisor that stores in a list, and an actor that does what it is told."""

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from millstream.engine.sources.actor.strategy import (
    OneForOneStrategy,
)
from millstream.engine.sources.actor.supervisor import Supervisor
from millstream.engine.sources.actor.workers import ActorHelper, Worker


class Bench:
    """A supervisor that stores in a list."""

    def __init__(self, strategy: OneForOneStrategy) -> None:
        self.stored: list[Any] = []
        self.escalated: list[tuple[str, Exception]] = []
        self.supervisor = Supervisor(
            self.stored.append,
            lambda message, error: self.escalated.append((message, error)),
            lambda: False,
            strategy,
        )

    def start(
        self, *args: Any, kind: type[ActorHelper] | None = None, name: str = "it"
    ) -> Worker:
        """Start a worker."""
        return self.supervisor.start(kind or Recorder, args, name)


@contextmanager
def benched(**settings: Any) -> Iterator[Bench]:
    """Return a bench, whose workers end."""
    bench = Bench(OneForOneStrategy(**settings))
    try:
        yield bench
    finally:
        bench.supervisor.stop(10)


LIVES: list[str] = []


class Recorder(ActorHelper):
    """Stores what it gets, unless that is an error: it raises that; a callable is called."""

    def __init__(self, *args: Any) -> None:
        self.args = args
        self.count = 0

    def on_start(self) -> None:
        LIVES.append("start")

    def on_stop(self) -> None:
        LIVES.append("stop")

    def on_failure(self, *error: Any) -> None:
        LIVES.append(f"failure {error[1]}")

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, Exception):
            raise message
        if callable(message):
            return message(self)
        self.count += 1
        self.store(message)
        return self.count


def got(asked: "Future[Any]") -> Any:
    """Return an answer."""
    return asked.result(10)
