"""ReliableReceiver: what is stored is acknowledged, what can't be is rejected."""

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from millstream.engine.base.errors import SparkError
from millstream.engine.ingest.reliable_receiver import (
    Connection,
    Delivery,
    ReliableReceiver,
)


class Source:
    """Deliveries to come, and what was said of them."""

    def __init__(self) -> None:
        self.coming: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.said: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()

    def heard(self) -> tuple[str, Any]:
        """Return what is said next."""
        return self.said.get(timeout=10)


class Line(Connection[int]):
    """A connection to the source."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def receive(self, timeout_s: float) -> Delivery[int] | None:
        """Return the next delivery, or raise it."""
        try:
            coming = self.source.coming.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if isinstance(coming, Exception):
            raise coming
        return Delivery(coming, token=len(coming))

    def acknowledge(self, token: Any) -> None:
        """Say so."""
        self.source.said.put(("acknowledged", token))

    def reject(self, token: Any) -> None:
        """Say so."""
        self.source.said.put(("rejected", token))

    def close(self) -> None:
        """Say so."""
        self.source.said.put(("closed", None))


class Numbers(ReliableReceiver[int]):
    """A receiver of the source."""

    receive_s = 0.01

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.source = source

    def connect(self) -> Connection[int]:
        """Connect, and say so."""
        self.source.said.put(("connected", threading.current_thread().name))
        return Line(self.source)


class Supervisor:
    """What the engine does for a receiver, noted."""

    stream_id = 7

    def __init__(self, source: Source) -> None:
        self.source = source
        self.error: Exception | None = None
        self.limited: list[int] = []

    def limit_rate(self, count: int, cancelled: threading.Event) -> None:
        """Note how many came."""
        assert not cancelled.is_set()
        self.limited.append(count)

    def push_block(self, records: list[int], metadata: Any) -> None:
        """Store, or fail."""
        del metadata
        if self.error is not None:
            raise self.error
        self.source.said.put(("stored", records))

    def restart(self, message: str, error: Any, delay_ms: Any) -> None:
        """Note it."""
        del error, delay_ms
        self.source.said.put(("restart", message))


@contextmanager
def running(receiver: Numbers) -> Iterator[Supervisor]:
    """Run a receiver, and stop it."""
    supervisor = Supervisor(receiver.source)
    receiver._supervisor = supervisor  # type: ignore[assignment]
    receiver.onStart()
    try:
        yield supervisor
    finally:
        receiver.onStop()


def test_a_delivery_is_acknowledged_after_it_is_stored() -> None:
    """Then the next one is taken; nothing is stored of an empty one."""
    source = Source()
    with running(Numbers(source)) as supervisor:
        assert source.heard() == ("connected", "millstream-reliable-7-0")
        source.coming.put([1, 2])
        assert source.heard() == ("stored", [1, 2])
        assert source.heard() == ("acknowledged", 2)
        source.coming.put([])
        assert source.heard() == ("acknowledged", 0)
    assert source.heard() == ("closed", None)
    assert supervisor.limited == [2, 0]


def test_what_cannot_be_stored_is_rejected_and_the_receiver_restarts() -> None:
    """It isn't acknowledged, whatever the source makes of that."""
    source = Source()
    with running(Numbers(source)) as supervisor:
        source.heard()
        supervisor.error = SparkError("the log is full")
        source.coming.put([1])
        assert source.heard() == ("rejected", 1)
        assert source.heard() == ("closed", None)
        assert source.heard() == (
            "restart",
            "Numbers: receiving failed: the log is full",
        )


def test_a_connection_that_breaks_has_the_receiver_restart_once() -> None:
    """Whichever of several it was; the others end."""
    source = Source()
    receiver = Numbers(source)
    receiver.connections = 3  # type: ignore[misc]
    with running(receiver):
        names = {source.heard()[1] for _ in range(3)}
        assert len(names) == 3
        source.coming.put(ConnectionError("gone"))
        said = [source.heard() for _ in range(4)]

    assert sorted(said) == [
        ("closed", None),
        ("closed", None),
        ("closed", None),
        ("restart", "Numbers: receiving failed: gone"),
    ]
    assert source.said.empty()


def test_a_receiver_without_connect_cannot_be_made() -> None:
    """`connect` is what a subclass is for."""
    with pytest.raises(TypeError, match="connect"):
        ReliableReceiver()  # type: ignore[abstract]
