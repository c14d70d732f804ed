"""Tests of Kafka's clients: what they refuse and what they complain about."""

from typing import Any

import pytest
from confluent_kafka import KafkaError

from millstream.engine.base.errors import IllegalArgumentError
from millstream.engine.base.secrets import Secret
from millstream.engine.sources.kafka.clients import (
    Complaints,
    make_admin,
    make_consumer,
)


@pytest.mark.parametrize("make", [make_admin, make_consumer])
def test_a_wrong_parameter_is_named(make: Any) -> None:
    """In the client's words, with a hint."""
    with pytest.raises(IllegalArgumentError, match=r"no\.such\.thing") as caught:
        make(
            {"bootstrap.servers": "a:1", "group.id": "g", "no.such.thing": "1"},
            Complaints(),
        )

    assert "kafkaParams" in str(caught.value.hint)


def test_an_error_shows_no_secret() -> None:
    """Not even when the client can't use it."""
    config = {
        "bootstrap.servers": "a:1",
        "group.id": "g",
        "security.protocol": "ssl",
        "ssl.key.pem": Secret("hunter2", "kafka.ssl.key.pem"),
    }
    with pytest.raises(IllegalArgumentError) as caught:
        make_consumer(config, Complaints())

    assert "hunter2" not in f"{caught.value!r} {caught.value.__cause__!r}"


def test_complaints_are_the_newest_and_each_once() -> None:
    """And a refusal is known as one: waiting wouldn't help."""
    complaints = Complaints()
    for text in ("a", "b", "b", "c", "d"):
        complaints.hear(KafkaError(KafkaError._TRANSPORT, text))

    assert str(complaints) == "b; c; d"
    assert complaints.refused is None
    complaints.hear(KafkaError(KafkaError._AUTHENTICATION, "wrong password"))
    assert complaints.refused == "wrong password"
    complaints.forget()
    assert (str(complaints), complaints.refused) == ("", None)
