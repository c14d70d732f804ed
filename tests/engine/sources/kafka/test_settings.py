"""Tests of Kafka's settings: what programs write for Java, as librdkafka has it."""

import logging
from typing import Any

import pytest

from millstream.engine.base.errors import IllegalArgumentError
from millstream.engine.base.secrets import Secret
from millstream.engine.sources.kafka.settings import (
    KafkaSettings,
    for_client,
    read_settings,
)

SERVERS = {"bootstrap.servers": "one:9092"}


def settings(**given: Any) -> KafkaSettings:
    """Return what parameters say; their names have `_` for dots."""
    named = {key.replace("_", "."): value for key, value in given.items()}
    return read_settings({**SERVERS, **named})


@pytest.mark.parametrize(
    ("word", "reset"),
    [
        ("smallest", "earliest"),
        ("earliest", "earliest"),
        ("largest", "latest"),
        ("LATEST", "latest"),
        ("none", "none"),
    ],
)
def test_both_generations_of_words_say_where_to_begin(word: str, reset: str) -> None:
    """Kafka 0.8's and the later ones'."""
    assert settings(auto_offset_reset=word).reset == reset


def test_an_unknown_place_to_begin_is_refused() -> None:
    """The error names the parameter and the value."""
    with pytest.raises(IllegalArgumentError, match=r"auto\.offset\.reset.*'middle'"):
        settings(auto_offset_reset="middle")


def test_servers_have_two_names_and_may_be_a_list() -> None:
    """`metadata.broker.list` is Kafka 0.8's."""
    for given in (
        {"metadata.broker.list": "one:9092,two:9092"},
        {"bootstrap.servers": ["one:9092", "two:9092"]},
    ):
        assert read_settings(given).servers == "one:9092,two:9092"


def test_without_servers_it_is_said_what_to_set() -> None:
    """There is no default cluster."""
    with pytest.raises(IllegalArgumentError, match="servers") as caught:
        read_settings({"group.id": "g"})

    assert "bootstrap.servers" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("quorum", "servers"),
    [
        ("one:2181,two:2181/kafka", "one:9092,two:9092"),
        ("one", "one:9092"),
        ("one:19092", "one:19092"),
    ],
)
def test_brokers_are_looked_for_on_the_hosts_of_zookeeper(
    quorum: str, servers: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Only where no servers are given, and it is said in the log."""
    assert read_settings({}, zookeeper=quorum).servers == servers
    assert "ZooKeeper isn't asked" in caplog.text
    assert read_settings(SERVERS, zookeeper=quorum).servers == "one:9092"


def test_parameters_of_java_alone_are_told_of_and_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One line names them; librdkafka would refuse them."""
    made = read_settings(
        {
            **SERVERS,
            "zookeeper.connect": "z:2181",
            "value.deserializer": "org.apache.kafka.common.serialization.X",
            "max.poll.records": 5,
        }
    )

    assert set(made.client) == {"bootstrap.servers"}
    assert "keys=['max.poll.records', 'zookeeper.connect']" in caplog.text


def test_names_that_differ_are_translated() -> None:
    """And booleans are written as librdkafka reads them."""
    made = read_settings(
        {
            **SERVERS,
            "receive.buffer.bytes": 1024,
            "request.timeout.ms": 5000,
            "sasl.mechanism": "PLAIN",
            "check.crcs": True,
            "default.api.timeout.ms": "1500",
        }
    )

    assert made.client["socket.receive.buffer.bytes"] == 65_536
    assert made.client["socket.timeout.ms"] == 5000
    assert made.client["sasl.mechanisms"] == "PLAIN"
    assert made.client["check.crcs"] == "true"
    assert made.timeout_s == 1.5


def test_a_task_never_commits_nor_guesses_where_to_begin() -> None:
    """Forced, whatever the program says."""
    made = read_settings(
        {**SERVERS, "group.id": "g", "enable.auto.commit": "true"}, reset="earliest"
    )
    config = made.for_tasks()

    assert made.commits_itself
    assert config["enable.auto.commit"] == "false"
    assert config["auto.offset.reset"] == "error"
    assert config["group.id"] == "spark-executor-g"
    assert config["isolation.level"] == "read_committed"
    assert settings().for_tasks()["group.id"] == "spark-executor-null"


def test_a_member_of_a_group_has_its_name_and_begins_where_the_program_says() -> None:
    """It commits what is stored, never by itself."""
    config = read_settings({**SERVERS, "group.id": "g"}, reset="smallest").for_group()

    assert config["group.id"] == "g"
    assert config["auto.offset.reset"] == "earliest"
    assert config["enable.auto.commit"] == "false"


def test_the_drivers_client_gets_no_parameters_of_consumers() -> None:
    """It would warn of each."""
    made = read_settings(
        {**SERVERS, "fetch.message.max.bytes": 5, "session.timeout.ms": 6000}
    )

    assert made.for_driver() == SERVERS


def test_who_asks_what_a_group_has_committed_is_no_member_by_name() -> None:
    """It has the group's name, and none of its own that a member could have."""
    made = settings(**{"group.id": "g", "group.instance.id": "me"})
    asking = made.for_asking_group()

    assert (asking["group.id"], asking["enable.auto.commit"]) == ("g", "false")
    assert "group.instance.id" not in asking


def test_secrets_are_kept_apart() -> None:
    """No text of the settings shows them; the client gets them."""
    jaas = (
        "org.apache.kafka.common.security.plain.PlainLoginModule required "
        'username="me" password="hun\\"ter2";'
    )
    made = read_settings(
        {**SERVERS, "sasl.jaas.config": jaas, "ssl.key.pem": "-----BEGIN KEY"}
    )

    assert "ter2" not in repr(made)
    assert "BEGIN" not in repr(made)
    assert isinstance(made.client["sasl.password"], Secret)
    assert for_client(made.for_tasks())["sasl.password"] == 'hun"ter2'
    assert made.client["sasl.username"] == "me"


def test_what_java_alone_can_read_is_refused_without_being_shown() -> None:
    """The hint says what to set in its place."""
    with pytest.raises(IllegalArgumentError, match=r"sasl\.jaas\.config") as caught:
        settings(sasl_jaas_config='Krb5LoginModule required keyTab="secret";')
    assert "keyTab" not in str(caught.value)

    with pytest.raises(IllegalArgumentError, match=r"trust\.jks") as caught:
        settings(ssl_truststore_location="/etc/trust.jks")
    assert "ssl.ca.location" in str(caught.value.hint)


def test_a_number_that_is_none_is_refused() -> None:
    """The error names the parameter."""
    with pytest.raises(IllegalArgumentError, match=r"default\.api\.timeout\.ms"):
        settings(default_api_timeout_ms="soon")


def test_an_unknown_isolation_is_refused() -> None:
    """The error names the parameter and the value."""
    with pytest.raises(IllegalArgumentError, match=r"isolation\.level.*'serial'"):
        settings(isolation_level="serial")


def test_plain_parameters_are_not_told_of(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is logged for what works."""
    caplog.set_level(logging.DEBUG)
    settings(group_id="g", client_id="me", socket_timeout_ms=3)

    assert not caplog.records
