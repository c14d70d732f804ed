"""Tests of engine/sources/actor/receiver.py: the receiver around workers."""

import logging
import socket
from pathlib import Path
from typing import Any

import pytest
from tests.engine.sources.fed import KEY, connected
from tests.engine.sources.supervised import Supervised
from tests.integration.servers.ports import free_port

from millstream.engine.base import frames
from millstream.engine.base.errors import PySparkTypeError
from millstream.engine.sources.actor.feed import RemotePort
from millstream.engine.sources.actor.feeder import FeedRefusedError, RemoteFeeder
from millstream.engine.sources.actor.receiver import ActorReceiver
from millstream.engine.sources.actor.workers import ActorHelper


class Teller(ActorHelper):
    """Stores what it was made with, each kind as it is, and what it is sent."""

    def __init__(self, *data: Any) -> None:
        self.data = data

    def on_start(self) -> None:
        for each in self.data:
            self.store(each)

    def on_receive(self, message: Any) -> None:
        if message == "fail":
            raise ValueError("broken")
        self.store(message)


def test_an_actor_stores_records_and_blocks() -> None:
    """A list, an iterator and pickled bytes are blocks; anything else is a record."""
    data = ("one", [1, 2], frames.dumps([3, 4]), ("a", "b"))
    with Supervised(ActorReceiver(Teller, data, None)) as running:
        running.wait_until(lambda: len(running.blocks) == 2)
        assert running.blocks == [[1, 2], [3, 4]]
    assert running.blocks[2:] == [["one", ("a", "b")]]


def test_an_iterator_is_a_block() -> None:
    """It is read to its end."""

    class Iterating(ActorHelper):
        def on_start(self) -> None:
            self.store(iter(range(3)))
            self.store(number for number in range(2))

    with Supervised(ActorReceiver(Iterating, (), None)) as running:
        running.wait_until(lambda: running.blocks == [[0, 1, 2], [0, 1]])


def test_an_escalation_restarts_the_receiver() -> None:
    """With its first worker, made anew; feeders connect again, and lose no answer."""
    port = RemotePort(free_port(), KEY)
    receiver = ActorReceiver(Teller, (["started"],), "teller", remote=port)
    with Supervised(receiver) as running:
        connected(port.port).close()
        with RemoteFeeder("127.0.0.1", port.port, KEY) as feeder:
            feeder.send(["sent"])
            with pytest.raises(FeedRefusedError, match="handling it raised ValueError"):
                feeder.send("fail")
            running.restart_now()
        assert "the actor 'teller' failed: broken" in running.stops[0]
        connected(port.port).close()
        with RemoteFeeder("127.0.0.1", port.port, KEY) as feeder:
            feeder.send(["again"], to="teller")

        assert running.records == ["started", "sent", "started", "again"]


def test_a_message_is_acknowledged_when_its_block_is_stored() -> None:
    """When it can't be stored, the feeder hears that it wasn't handled."""
    port = RemotePort(free_port(), KEY)
    receiver = ActorReceiver(Teller, (), "teller", remote=port)
    with Supervised(receiver) as running:
        running.refuses = lambda records: records == ["bad"]
        connected(port.port).close()
        with RemoteFeeder("127.0.0.1", port.port, KEY) as feeder:
            feeder.send(["good"])
            assert running.blocks == [["good"]]
            with pytest.raises(FeedRefusedError, match="handling it raised SparkError"):
                feeder.send(["bad"])


def test_it_listens_on_loopback_unless_told() -> None:
    """Not on the machine's other addresses."""
    port = RemotePort(free_port(), KEY)
    with Supervised(ActorReceiver(Teller, (), None, remote=port)):
        connected(port.port).close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", port.port), 5)


def test_a_receiver_travels_without_its_key_into_checkpoints(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """There it has the key's name; who goes on finds the key in the environment."""
    caplog.set_level(logging.DEBUG)
    made = ActorReceiver(Teller, ("x",), "teller", remote=RemotePort(4000, KEY))
    kept = frames.dumps_function(made, live={})
    monkeypatch.setenv("MILLSTREAM_SECRET_ACTOR_REMOTE_KEY", KEY[::-1])

    assert KEY.encode() not in kept
    copy = frames.loads_function(kept, live={})
    assert copy.identity == "actor teller"
    assert copy.args == ("x",)
    assert copy.remote.reveal_key() == KEY[::-1]
    assert frames.loads(frames.dumps(made)).remote.reveal_key() == KEY


@pytest.mark.parametrize("kind", [Path, object(), None, "Teller"])
def test_a_class_that_cannot_store_is_refused(kind: Any) -> None:
    """When the stream is made, not when it runs."""
    with pytest.raises(PySparkTypeError, match="ActorHelper"):
        ActorReceiver(kind, (), None)


def test_the_name_is_the_class_s_without_one() -> None:
    """It is what feeders and logs call the actor."""
    assert ActorReceiver(Teller, (), None).identity == "actor Teller"
