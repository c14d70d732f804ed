"""MQTT: URLs of brokers, filters, and how messages are gathered and acknowledged."""

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from millstream.engine.base.errors import IllegalArgumentError, SparkError
from millstream.engine.sources import mqtt
from millstream.engine.sources.mqtt import (
    MQTTOptions,
    Session,
    checked_topics,
    parsed_url,
)


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("tcp://host", ("host", 1883, "tcp", False)),
        ("mqtt://host:1", ("host", 1, "tcp", False)),
        ("ssl://host", ("host", 8883, "tcp", True)),
        ("mqtts://host", ("host", 8883, "tcp", True)),
        ("ws://host", ("host", 80, "websockets", False)),
        ("wss://[::1]:9/way", ("::1", 9, "websockets", True)),
    ],
)
def test_urls_of_brokers(url: str, found: tuple[Any, ...]) -> None:
    """Each scheme has its transport and its usual port."""
    broker, username, password = parsed_url(url)

    assert (broker.host, broker.port, broker.transport, broker.is_tls) == found
    assert broker.path == ("/way" if "way" in url else "/mqtt")
    assert (username, password) == (None, None)


@pytest.mark.parametrize(
    "url", ["host:1883", "http://host", "tcp://", "tcp://me:hidden@host:x", "tcp://[1"]
)
def test_what_isn_t_a_url_of_a_broker(url: str) -> None:
    """The error shows how one is written, and nothing of what was passed."""
    with pytest.raises(IllegalArgumentError, match="isn't the URL") as found:
        parsed_url(url)

    assert "tcp://host:1883" in str(found.value.hint)
    assert "hidden" not in str(found.value)


def test_filters() -> None:
    """One or several, each once; wildcards only as whole levels."""
    assert checked_topics("a/+/b") == ("a/+/b",)
    assert checked_topics(["a", "b/#", "a"]) == ("a", "b/#")
    for wrong in ("", "a/b#", "#/a", "a+/b", 7):
        with pytest.raises(IllegalArgumentError, match="no MQTT topic"):
            checked_topics([wrong])  # type: ignore[list-item]
    with pytest.raises(IllegalArgumentError, match="needs a topic"):
        checked_topics([])


@dataclass
class Came:
    """A message, as the library has it."""

    mid: int
    qos: int = 1
    topic: str = "t"
    payload: bytes = b"x"


class Library:
    """Keeps what is acknowledged."""

    def __init__(self) -> None:
        self.acknowledged: list[tuple[int, int]] = []

    def ack(self, mid: int, qos: int) -> None:
        """Keep it."""
        self.acknowledged.append((mid, qos))

    def disconnect(self) -> None:
        """Nothing is connected."""

    def loop_stop(self) -> None:
        """Nothing runs."""


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """A session that is open."""
    monkeypatch.setattr(mqtt, "_PAUSE_S", 0.005)
    made = Session(parsed_url("tcp://host")[0], ["t"], MQTTOptions("me"))
    made._client = Library()
    yield made
    made.close()


def arrive(session: Session, *messages: Came) -> None:
    """Let messages come."""
    for each in messages:
        session._on_message(None, None, each)


def test_messages_are_gathered_and_acknowledged_together(session: Session) -> None:
    """What has come is one delivery; what came at QoS 0 has nobody to tell."""
    library = session._client
    assert session.receive(0.001) is None
    arrive(session, Came(1), Came(0, qos=0), Came(2))
    delivery = session.receive(0.5)
    assert delivery is not None
    assert delivery.records == [("t", b"x")] * 3
    assert library.acknowledged == []
    session.acknowledge(delivery.token)

    assert library.acknowledged == [(1, 1), (2, 1)]


def test_a_block_has_an_end(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block isn't larger than what a broker sends ahead."""
    monkeypatch.setattr(mqtt, "_RECORDS_MAX", 3)
    arrive(session, *map(Came, range(1, 6)))
    first, second = session.receive(0.5), session.receive(0.5)

    assert first is not None
    assert second is not None
    assert (len(first.records), len(second.records)) == (3, 2)


def test_what_comes_again_isn_t_taken_when_a_connection_ends(session: Session) -> None:
    """What can't be acknowledged any more would be double; at QoS 0 it would be lost."""
    arrive(session, Came(1), Came(0, qos=0, payload=b"y"))
    session._on_disconnect(None, None, None, "Keep alive timeout", None)
    delivery = session.receive(0.5)

    assert delivery is not None
    assert delivery.records == [("t", b"y")]
    assert delivery.token == []
    with pytest.raises(
        SparkError, match="host:1883 ended: Keep alive timeout"
    ) as found:
        session.receive(0.5)
    assert "the same clientId, 'me'" in str(found.value.hint)


def test_hints_say_what_to_do() -> None:
    """An unknown certificate, another protocol, nobody there."""
    broker = parsed_url("ssl://host")[0]

    assert "caFile" in mqtt._connecting_hint(broker, ssl.SSLCertVerificationError("x"))
    assert "speaks TLS" in mqtt._connecting_hint(broker, ssl.SSLError("x"))
    assert "with TLS" in mqtt._connecting_hint(broker, ConnectionRefusedError())
