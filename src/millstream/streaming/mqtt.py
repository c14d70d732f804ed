"""MQTT: streams of what is published to topics; PySpark 1.6's path to them."""

import hashlib
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from millstream.engine.base.errors import IllegalArgumentError
from millstream.engine.base.levels import StorageLevel
from millstream.engine.base.secrets import Secret, secret_of
from millstream.engine.sources.mqtt import (
    Message,
    MQTTOptions,
    MQTTReceiver,
    checked_topics,
    parsed_url,
)

if TYPE_CHECKING:
    from millstream.streaming.context import StreamingContext
    from millstream.streaming.dstream import DStream

__all__ = ["MQTTUtils", "utf8_decoder"]

_log = logging.getLogger(__name__)


def utf8_decoder(payload: bytes) -> str:
    """Return a payload as text; bytes that aren't UTF-8 become U+FFFD.

    >>> utf8_decoder(b"21.5")
    '21.5'
    """
    return payload.decode("utf-8", "replace")


class MQTTUtils:
    """Makes streams of MQTT topics. Both functions take the same options, by name.

    The options:

    - `username`, `password`: the password is text or a `Secret`.
    - `qos` (1): 1 is "at least once"; at 0 nothing is acknowledged, and what is under way
      when a connection breaks is lost. 2 is taken as 1: a message that was published at
      QoS 2 comes, perhaps twice.
    - `clientId`: whose session it is at the broker. By default a hash of the application's
      name, the broker and the topics: the same after a restart. Two programs at the same
      time can't have the same.
    - `protocol`: `"5"` or `"3.1.1"`.
    - `keepAliveInterval` (15): after how many seconds of silence the broker is asked; one
      that doesn't answer for as long again is left.
    - `timeout` (30): for how many seconds to wait for an answer at most.
    - `sessionExpiry` (7 days): for how many seconds the broker keeps the session while
      nobody is connected; by MQTT 3.1.1 the broker's settings say.
    - `caFile`, `certFile`, `keyFile`, `keyPassword`, `checkHostname`: for TLS: who signs
      the broker's certificate, if that isn't a known authority, and a certificate to show.
    """

    @staticmethod
    def createStream(
        ssc: "StreamingContext",
        brokerUrl: str,
        topic: str | Sequence[str],
        storageLevel: StorageLevel = StorageLevel.MEMORY_AND_DISK_2,
        decoder: Callable[[bytes], Any] | None = utf8_decoder,
        **options: Any,
    ) -> "DStream[Any]":
        """Return the payloads of messages; without a `decoder`, bytes.

        `brokerUrl` is `tcp://host:1883`, `ssl://`, `mqtt://`, `mqtts://`, `ws://` or
        `wss://`; `topic` is a topic or a filter (`plant/+/heat`, `plant/#`), or several.

        Raises:
            IllegalArgumentError: A URL, topic or option isn't one.
            MissingDependencyError: The extra isn't installed.
        """
        messages = _stream(ssc, brokerUrl, topic, storageLevel, options)
        return messages.map(_Payload(decoder))

    @staticmethod
    def createPairedStream(
        ssc: "StreamingContext",
        brokerUrl: str,
        topics: str | Sequence[str],
        storageLevel: StorageLevel = StorageLevel.MEMORY_AND_DISK_2,
        decoder: Callable[[bytes], Any] | None = utf8_decoder,
        **options: Any,
    ) -> "DStream[tuple[str, Any]]":
        """Return pairs of a message's topic and payload; else as `createStream`.

        Raises:
            IllegalArgumentError: A URL, topic or option isn't one.
            MissingDependencyError: The extra isn't installed.
        """
        messages = _stream(ssc, brokerUrl, topics, storageLevel, options)
        return messages.map(_Pair(decoder))


class _Payload:
    """Makes a record of a message. A class, so that checkpoints have it by name."""

    def __init__(self, decoder: Callable[[bytes], Any] | None) -> None:
        self.decoder = decoder

    def __call__(self, message: Message) -> Any:
        payload = message[1]
        return payload if self.decoder is None else self.decoder(payload)


class _Pair(_Payload):
    def __call__(self, message: Message) -> Any:
        return message[0], super().__call__(message)


def _stream(
    ssc: "StreamingContext",
    url: str,
    topics: str | Sequence[str],
    level: StorageLevel,
    given: dict[str, Any],
) -> "DStream[Message]":
    from millstream.engine.base.extras import needed  # noqa: PLC0415

    needed("paho.mqtt.client", "mqtt", "MQTTUtils")
    broker, username, password = parsed_url(url)
    filters = checked_topics(topics)
    if username is not None:
        given = {"username": username, "password": password, **given}
    about = "\n".join([ssc.sparkContext.appName, str(broker), *filters])
    digest = hashlib.sha256(about.encode()).hexdigest()
    # 23 characters: what every broker takes.
    options = _options(**{"clientId": f"millstream-{digest[:12]}", **given})
    receiver = MQTTReceiver(broker, filters, options, level)
    return ssc.receiverStream(receiver, "MQTTInputDStream")


def _options(
    *,
    clientId: str,
    username: str | None = None,
    password: "str | Secret | None" = None,
    qos: int = 1,
    protocol: Literal["5", "3.1.1"] = "5",
    keepAliveInterval: int = 15,
    timeout: float = 30.0,
    sessionExpiry: int = 7 * 24 * 3600,
    caFile: str | None = None,
    certFile: str | None = None,
    keyFile: str | None = None,
    keyPassword: "str | Secret | None" = None,
    checkHostname: bool = True,
    **unknown: Any,
) -> MQTTOptions:
    if unknown:
        msg = f"MQTT has no option '{min(unknown)}'"
        raise IllegalArgumentError(msg, hint="see MQTTUtils for those there are")
    if protocol not in {"5", "3.1.1"}:
        msg = f"protocol must be '5' or '3.1.1', not {protocol!r}"
        raise IllegalArgumentError(msg)
    if qos not in {0, 1, 2}:
        msg = f"qos must be 0, 1 or 2, not {qos!r}"
        raise IllegalArgumentError(msg)
    if not clientId:
        msg = "an MQTT stream needs a clientId: the broker keeps a session by it"
        raise IllegalArgumentError(msg)
    if qos == 2:
        _log.warning("MQTT messages come at QoS 1, at least once, not at QoS 2")
    return MQTTOptions(
        client_id=clientId,
        username=username,
        password=secret_of(password, "mqtt.password"),
        qos=qos,
        protocol=protocol,
        keep_alive_s=keepAliveInterval,
        timeout_s=timeout,
        session_expiry_s=sessionExpiry,
        ca_file=caFile,
        certificate_file=certFile,
        key_file=keyFile,
        key_password=secret_of(keyPassword, "mqtt.key.password"),
        checks_host=checkHostname,
    )
