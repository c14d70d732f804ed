"""KafkaSink: what it refuses before it is connected; the rest is tested with a broker."""

from typing import Any

import pytest

from millstream.engine.base.errors import IllegalArgumentError
from millstream.engine.sinks.kafka.sink import KafkaSink


@pytest.mark.parametrize(
    ("params", "more", "told"),
    [
        ({}, {}, "needs the setting bootstrap.servers"),
        ("", {}, "needs the setting bootstrap.servers"),
        ({"bootstrap.servers": "a", "transactional.id": "b"}, {}, "of its own"),
        ({"bootstrap.servers": "a", "group.id": "b"}, {}, "of its own"),
        ("a", {"topic": str}, "marks needs the name of one"),
        ("a", {"timeout": 0}, "positive number of seconds"),
    ],
)
def test_arguments_that_can_not_be_used_are_refused(
    params: Any, more: dict[str, Any], told: str
) -> None:
    """At once, with what they are."""
    with pytest.raises(IllegalArgumentError, match=told):
        KafkaSink(params, **{"topic": "words", **more})


def test_the_older_name_of_the_servers_is_understood() -> None:
    """As KafkaUtils does."""
    sink = KafkaSink({"metadata.broker.list": "a:9092"}, "words")

    assert sink.identity == "kafka a:9092 words"


def test_settings_that_are_secret_are_kept_apart() -> None:
    """No text of the sink has them."""
    params = {"bootstrap.servers": "a:9092", "sasl.password": "sesame"}
    sink = KafkaSink(params, "words")

    assert "sesame" not in repr(vars(sink))
    assert sink.place.settings_with()["sasl.password"] == "sesame"
