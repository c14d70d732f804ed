"""Kafka's settings: what programs write for the Java client, as librdkafka has it."""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from millstream.engine.base.errors import IllegalArgumentError
from millstream.engine.base.secrets import Secret, kept_apart, revealed

_log = logging.getLogger(__name__)

TIMEOUT_S = 30.0
"""How long an answer of a cluster is waited for, unless `default.api.timeout.ms` says."""

_RENAMED = {
    "metadata.broker.list": "bootstrap.servers",
    "request.timeout.ms": "socket.timeout.ms",
    "receive.buffer.bytes": "socket.receive.buffer.bytes",
    "send.buffer.bytes": "socket.send.buffer.bytes",
    "socket.receive.buffer.bytes": "socket.receive.buffer.bytes",
    "fetch.max.wait.ms": "fetch.wait.max.ms",
    "sasl.mechanism": "sasl.mechanisms",
    "auto.commit.enable": "enable.auto.commit",
}
_OURS = frozenset(
    {
        "auto.offset.reset",
        "default.api.timeout.ms",
        "enable.auto.commit",
        "group.id",
        "isolation.level",
        "key.deserializer",
        "value.deserializer",
    }
)
# Of the Java client or of Kafka 0.8's; there is nothing here that they could tell.
_WITHOUT_EFFECT = re.compile(
    r"zookeeper\.|zk\.|rebalance\.|metrics?\.|metric\.|.*serializer|serializer\.class|"
    r"auto\.commit\.interval\.ms|max\.poll\.records|consumer\.timeout\.ms|"
    r"num\.consumer\.fetchers|refresh\.leader\.backoff\.ms|queued\.max\.message\.chunks|"
    r"offsets\.|dual\.commit\.enabled|partition\.assignment\.strategy|"
    r"interceptor\.classes|exclude\.internal\.topics|ssl\.truststore\.(password|type)|"
    r"ssl\.keystore\.type|spark\."
)
_FOR_CONSUMERS_ONLY = re.compile(
    r"session\.timeout\.ms|heartbeat\.|group\.|coordinator\.|max\.poll|"
    r"enable\.auto|auto\.|queued\.m|fetch\.|max\.partition|isolation\.|"
    r"enable\.partition|check\.crcs|allow\.auto|consume\.|partition\.assignment"
)
_RESETS = {
    "smallest": "earliest",
    "earliest": "earliest",
    "beginning": "earliest",
    "largest": "latest",
    "latest": "latest",
    "end": "latest",
    "none": "none",
    "error": "none",
}
_LOGIN = re.compile(r"(\w+)\s*=\s*\"((?:[^\"\\]|\\.)*)\"")
_BUFFER_BYTES_MIN = 65_536


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """The parameters of a stream. Secrets in them are `Secret`s."""

    client: Mapping[str, Any]
    """What consumers and other clients are made with."""
    group: str | None
    reset: str
    """Where to begin without an offset: "earliest", "latest" or "none"."""
    commits_itself: bool
    """Whether the program wants offsets committed as they are read."""
    isolation: str
    timeout_s: float

    @property
    def servers(self) -> str:
        """Where the cluster is; for errors."""
        return str(self.client["bootstrap.servers"])

    def for_tasks(self) -> dict[str, Any]:
        """Return the configuration of a consumer that reads ranges."""
        return {
            **self.client,
            "group.id": f"spark-executor-{'null' if self.group is None else self.group}",
            "enable.auto.commit": "false",
            "auto.offset.reset": "error",
            "enable.partition.eof": "true",
            "isolation.level": self.isolation,
        }

    def for_group(self) -> dict[str, Any]:
        """Return the configuration of a consumer that is a member of the group."""
        return {
            **self.client,
            "group.id": str(self.group),
            "enable.auto.commit": "false",
            "auto.offset.reset": "error" if self.reset == "none" else self.reset,
            "isolation.level": self.isolation,
        }

    def for_asking_group(self) -> dict[str, Any]:
        """Return the configuration of a consumer that asks what the group has committed.

        It never subscribes, so it isn't a member. The client that plans doesn't ask:
        librdkafka aborts the whole process when a group's answer to that one comes late.
        """
        return {
            **self.for_driver(),
            "group.id": str(self.group),
            "enable.auto.commit": "false",
            # Offsets of transactions that are still open aren't waited for.
            "isolation.level": "read_uncommitted",
        }

    def for_driver(self) -> dict[str, Any]:
        """Return the configuration of the client that plans."""
        return {
            key: value
            for key, value in self.client.items()
            if _FOR_CONSUMERS_ONLY.match(key) is None
        }


def read_settings(
    given: Mapping[str, Any], *, reset: str = "latest", zookeeper: str | None = None
) -> KafkaSettings:
    """Return what `kafkaParams` of a program say.

    `reset` counts when the program doesn't say where to begin. Without servers, those of
    `zookeeper` are taken, if given.

    >>> read_settings({"metadata.broker.list": "a:9092"}, reset="smallest").reset
    'earliest'

    Raises:
        IllegalArgumentError: A parameter can't be used; or there are no servers.
    """
    named = _renamed(given)
    servers = named.pop("bootstrap.servers", None)
    if isinstance(servers, list | tuple):
        servers = ",".join(servers)
    if not servers:
        servers = _beside_zookeeper(zookeeper)
    without_effect = sorted(filter(_WITHOUT_EFFECT.match, set(named) - _OURS))
    if without_effect:
        _log.warning("Kafka parameters have no effect here keys=%s", without_effect)
    plain = {
        key: _text(value)
        for key, value in named.items()
        if key not in _OURS and key not in without_effect
    }
    timeout_ms = _number(named, "default.api.timeout.ms", TIMEOUT_S * 1000)
    group = named.get("group.id")
    client = kept_apart(_translated_security(plain), "kafka")
    if isinstance(client.get("ssl.key.pem"), str):
        client["ssl.key.pem"] = Secret(client["ssl.key.pem"], "kafka.ssl.key.pem")
    return KafkaSettings(
        {"bootstrap.servers": str(servers), **client},
        None if group is None else str(group),
        _reset(named.get("auto.offset.reset", reset)),
        str(named.get("enable.auto.commit", "false")).lower() == "true",
        _isolation(named),
        timeout_ms / 1000,
    )


def _renamed(given: Mapping[str, Any]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for key, value in given.items():
        if not isinstance(key, str):
            msg = f"Kafka parameters have text as keys, not {key!r}"
            raise IllegalArgumentError(msg)
        named[_RENAMED.get(key, key)] = value
    buffer = "socket.receive.buffer.bytes"
    if buffer in named:
        named[buffer] = int(max(_number(named, buffer, 0), _BUFFER_BYTES_MIN))
    return named


def _text(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def _number(named: Mapping[str, Any], key: str, default: float) -> float:
    value = named.get(key, default)
    try:
        return float(value)
    except (TypeError, ValueError):
        msg = f"the Kafka parameter '{key}' is a number, not {value!r}"
        raise IllegalArgumentError(msg) from None


def _reset(value: Any) -> str:
    found = _RESETS.get(str(value).lower())
    if found is None:
        msg = f"the Kafka parameter 'auto.offset.reset' can't be {value!r}"
        raise IllegalArgumentError(msg, hint=f"it is one of {', '.join(_RESETS)}")
    return found


def _isolation(named: Mapping[str, Any]) -> str:
    # The Java client's default shows records of transactions that were aborted.
    level = str(named.get("isolation.level", "read_committed")).lower()
    if level not in {"read_committed", "read_uncommitted"}:
        msg = f"the Kafka parameter 'isolation.level' can't be '{level}'"
        raise IllegalArgumentError(msg, hint="it is read_committed or read_uncommitted")
    return level


def _beside_zookeeper(quorum: str | None) -> str:
    """Return the brokers on the hosts of a ZooKeeper quorum: Kafka 4 has no ZooKeeper."""
    if not quorum:
        msg = "Kafka's servers aren't given"
        raise IllegalArgumentError(
            msg, hint="set 'bootstrap.servers' in kafkaParams, such as 'host:9092'"
        )
    hosts = quorum.partition("/")[0].split(",")
    servers = ",".join(_broker_of(each.strip()) for each in hosts)
    _log.warning(
        "ZooKeeper isn't asked for brokers: zkQuorum=%s is taken as servers=%s; set "
        "'bootstrap.servers' in kafkaParams if they are elsewhere",
        quorum,
        servers,
    )
    return servers


def _broker_of(host: str) -> str:
    name, colon, port = host.rpartition(":")
    if not colon:
        return f"{host}:9092"
    return f"{name}:9092" if port == "2181" else host


def _translated_security(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with what Java writes about logins and certificates translated."""
    made = dict(plain)
    login = made.pop("sasl.jaas.config", None)
    if login is not None:
        made.update(_login(login.reveal() if isinstance(login, Secret) else str(login)))
    store = made.pop("ssl.truststore.location", None)
    if store is not None:
        if str(store).lower().endswith((".jks", ".p12")):
            msg = f"the certificates in '{store}' are in a format of Java's"
            raise IllegalArgumentError(
                msg, hint="set 'ssl.ca.location' to the same certificates as PEM"
            )
        made["ssl.ca.location"] = store
    if made.get("ssl.endpoint.identification.algorithm") == "":
        made["ssl.endpoint.identification.algorithm"] = "none"
    return made


def _login(text: str) -> dict[str, str]:
    fields = dict(_LOGIN.findall(text))
    if "username" not in fields or "password" not in fields:
        # The text isn't shown: it may have a secret in it all the same.
        msg = "the Kafka parameter 'sasl.jaas.config' names no username and password"
        raise IllegalArgumentError(
            msg,
            hint="set 'sasl.mechanism' with 'sasl.username' and 'sasl.password', or what "
            "librdkafka has for your mechanism",
        )
    return {
        "sasl.username": fields["username"],
        "sasl.password": re.sub(r"\\(.)", r"\1", fields["password"]),
    }


def for_client(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration with its secrets' texts; make the client of it at once."""
    return revealed(config)
