"""MQTTUtils: URLs, topics and options, and what it refuses."""

from collections.abc import Iterator
from typing import Any

import pytest

from millstream.engine.sources.mqtt import Message
from millstream.errors import IllegalArgumentException
from millstream.streaming.mqtt import MQTTUtils, _Pair, _Payload, utf8_decoder
from millstream.testing import StreamHarness


@pytest.fixture
def harness() -> Iterator[StreamHarness]:
    """A program."""
    with StreamHarness() as made:
        yield made


def receiver(h: StreamHarness, url: str, topic: Any = "a", **options: Any) -> Any:
    """Return the receiver of a stream."""
    stream = MQTTUtils.createStream(h.ssc, url, topic, **options)
    operator: Any = stream._operator.parents[0]
    return operator.receiver


def test_a_client_has_a_name_that_lasts(harness: StreamHarness) -> None:
    """The same for the same program; another for other topics or another broker."""
    mine = receiver(harness, "tcp://host").options.client_id

    assert mine == receiver(harness, "mqtt://host:1883").options.client_id
    assert mine != receiver(harness, "tcp://host", ["a", "b"]).options.client_id
    assert mine != receiver(harness, "tcp://other").options.client_id
    assert len(mine) <= 23
    assert receiver(harness, "tcp://host", clientId="me").options.client_id == "me"


def test_a_password_is_kept_as_a_secret(harness: StreamHarness) -> None:
    """Also one in the URL."""
    for made in (
        receiver(harness, "tcp://me:hidden@host"),
        receiver(harness, "tcp://host", username="me", password="hidden"),
    ):
        assert made.options.username == "me"
        assert made.options.password.reveal() == "hidden"
        assert "hidden" not in repr(vars(made))
        assert made.identity == "mqtt host:1883 a"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"quality": 1}, "MQTT has no option 'quality'"),
        ({"qos": 3}, "qos must be 0, 1 or 2, not 3"),
        ({"protocol": "4"}, "protocol must be '5' or '3.1.1', not '4'"),
        ({"clientId": ""}, "needs a clientId"),
    ],
)
def test_options_that_there_are_not(
    harness: StreamHarness, options: dict[str, Any], words: str
) -> None:
    """They are refused, with what there is."""
    with pytest.raises(IllegalArgumentException, match=words):
        receiver(harness, "tcp://host", **options)


def test_qos_2_is_told_to_be_1(
    harness: StreamHarness, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody takes it for exactly once."""
    receiver(harness, "tcp://host", qos=2)

    assert "come at QoS 1, at least once" in caplog.text


def test_records_of_messages() -> None:
    """Text, with U+FFFD for what isn't UTF-8; or bytes; alone or with the topic."""
    assert _Payload(utf8_decoder)(Message("t", b"a\xff")) == "a\ufffd"
    assert _Payload(None)(Message("t", b"a\xff")) == b"a\xff"
    assert _Pair(utf8_decoder)(Message("t", b"a")) == ("t", "a")
