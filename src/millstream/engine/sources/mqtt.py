"""MQTTReceiver: messages of topics, acknowledged to the broker when they are stored.

The broker keeps a session for the receiver's client id, also while nobody is connected:
what it hasn't had an acknowledgement for, it sends again. So at QoS 1 a message that the
broker has accepted is in a batch at least once, whenever and however this program ends.

One connection is one client of the library, which never reconnects by itself: a message's
number is only valid in the connection that it came by, and acknowledged in another one it
might stand for a message that isn't stored.
"""

import contextlib
import logging
import queue
import ssl
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from millstream.engine.base.clock import monotonic_s
from millstream.engine.base.errors import IllegalArgumentError, SparkError
from millstream.engine.base.extras import needed
from millstream.engine.base.levels import StorageLevel
from millstream.engine.base.secrets import Secret, secret_of
from millstream.engine.ingest.reliable_receiver import (
    Connection,
    Delivery,
    ReliableReceiver,
)

_log = logging.getLogger(__name__)

_KINDS = {  # Scheme: transport, TLS, usual port.
    "tcp": ("tcp", False, 1883),
    "mqtt": ("tcp", False, 1883),
    "ssl": ("tcp", True, 8883),
    "tls": ("tcp", True, 8883),
    "mqtts": ("tcp", True, 8883),
    "ws": ("websockets", False, 80),
    "wss": ("websockets", True, 443),
}
_RECORDS_MAX = 1_000
"""Messages in a block, and what the broker may send before it gets an acknowledgement."""
_GATHER_S = 0.2
_PAUSE_S = 0.02
"""Brokers that send few messages ahead, mosquitto 20 by MQTT 3.1.1, pause after those."""
_ROOM = 20_000
"""Messages that wait to be stored: what comes at QoS 0 isn't held back by the broker."""
_REFUSED_VERSION = "version"

Protocol = Literal["5", "3.1.1"]


@dataclass(frozen=True, slots=True)
class Broker:
    """Where a broker is, of a URL."""

    host: str
    port: int
    transport: Literal["tcp", "websockets"]
    is_tls: bool
    path: str
    """Of web sockets."""

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class MQTTOptions:
    """How to talk to a broker; `streaming/mqtt` says what each means."""

    client_id: str
    username: str | None = None
    password: Secret | None = None
    qos: int = 1
    protocol: Protocol = "5"
    keep_alive_s: int = 15
    timeout_s: float = 30.0
    session_expiry_s: int = 7 * 24 * 3600
    ca_file: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None
    key_password: Secret | None = None
    checks_host: bool = True


class Message(NamedTuple):
    """What is stored of a message."""

    topic: str
    payload: bytes


def parsed_url(url: str) -> tuple[Broker, str | None, Secret | None]:
    """Return where a broker is, and the user and password that its URL names, if it does.

    >>> parsed_url("tcp://localhost:1883")[0].port
    1883

    Raises:
        IllegalArgumentError: It isn't the URL of a broker.
    """
    try:
        parts = urlsplit(url)
        kind, host, port = _KINDS.get(parts.scheme), parts.hostname, parts.port
    except ValueError:
        kind, host, port = None, None, None
        parts = urlsplit("")
    if kind is None or not host:
        # The text isn't shown: a password may be in it.
        msg = "brokerUrl isn't the URL of an MQTT broker"
        raise IllegalArgumentError(
            msg,
            hint="write tcp://host:1883, ssl://host:8883, ws://host:port/path or "
            "wss://host:port/path; mqtt:// and mqtts:// are tcp:// and ssl://",
        )
    transport, is_tls, usual = kind
    broker = Broker(
        host,
        port or usual,
        "websockets" if transport == "websockets" else "tcp",
        is_tls,
        parts.path or "/mqtt",
    )
    return broker, parts.username, secret_of(parts.password, "mqtt.password")


def checked_topics(topics: str | Sequence[str]) -> tuple[str, ...]:
    """Return topic filters, each once.

    Raises:
        IllegalArgumentError: There is none, or one isn't a topic filter.
    """
    found = (topics,) if isinstance(topics, str) else tuple(dict.fromkeys(topics))
    for each in found:
        if not _is_filter(each):
            msg = f"{each!r} is no MQTT topic or filter"
            raise IllegalArgumentError(
                msg, hint="+ stands for one level, # for all below, as the last one"
            )
    if not found:
        msg = "an MQTT stream needs a topic"
        raise IllegalArgumentError(msg)
    return found


def _is_filter(topic: Any) -> bool:
    if not isinstance(topic, str) or not topic:
        return False
    levels = topic.split("/")
    are_whole = all(
        level in {"+", "#"} or not {"+", "#"} & {*level} for level in levels
    )
    return are_whole and "#" not in levels[:-1]


class MQTTReceiver(ReliableReceiver[Message]):
    """Subscribes to topics of a broker."""

    def __init__(
        self,
        broker: Broker,
        topics: Sequence[str],
        options: MQTTOptions,
        storageLevel: StorageLevel,
    ) -> None:
        """Receive what is published to `topics`."""
        super().__init__(storageLevel)
        self.broker = broker
        self.topics = tuple(topics)
        self.options = options
        self._has_connected = False

    @property
    def identity(self) -> str:
        """What it reads: the broker and its topics."""
        return f"mqtt {self.broker} {' '.join(self.topics)}"

    def connect(self) -> "Session":
        """Connect and subscribe.

        Raises:
            SparkError: The broker can't be reached, or refuses; says what to do.
        """
        session = Session(self.broker, self.topics, self.options)
        try:
            session.open()
        except BaseException:
            session.close()
            raise
        if self._has_connected and not session.is_known:
            _log.warning(
                "the broker has forgotten the session: what was published meanwhile is "
                "lost broker=%s client=%s",
                self.broker,
                self.options.client_id,
            )
        self._has_connected = True
        return session


class Session(Connection[Message]):
    """One connection to a broker: it ends when that does."""

    def __init__(
        self, broker: Broker, topics: Sequence[str], options: MQTTOptions
    ) -> None:
        """Hold what to connect to."""
        self._broker = broker
        self._topics = topics
        self._options = options
        self._arrived: queue.Queue[Any] = queue.Queue(_ROOM)
        self._answered: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()
        """What was said to the wish to subscribe, once."""
        self._ended = threading.Event()
        self._reason = "it was closed"
        self.is_known = False
        """Whether the broker had a session for the client id."""
        self._client: Any = None

    def open(self) -> None:
        """Connect and subscribe.

        Raises:
            SparkError: The broker can't be reached, or refuses.
        """
        self._client = client = self._made()
        try:
            self._begin(client)
        except OSError as error:
            msg = f"can't connect to the MQTT broker {self._broker}: {error}"
            raise SparkError(msg, hint=_connecting_hint(self._broker, error)) from error
        client.loop_start()
        try:
            refused = self._answered.get(timeout=self._options.timeout_s)
        except queue.Empty:
            msg = (
                f"the MQTT broker {self._broker} didn't answer in "
                f"{self._options.timeout_s:g} s"
            )
            raise SparkError(
                msg, hint="see whether it hangs, and whether it speaks MQTT there"
            ) from None
        if refused is not None:
            raise refused

    def _made(self) -> Any:
        mqtt = needed("paho.mqtt.client", "mqtt", "MQTTUtils")
        options, broker = self._options, self._broker
        is_5 = options.protocol == "5"
        client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            client_id=options.client_id,
            clean_session=None if is_5 else False,
            protocol=mqtt.MQTTv5 if is_5 else mqtt.MQTTv311,
            transport=broker.transport,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.connect_timeout = options.timeout_s
        if broker.transport == "websockets":
            client.ws_set_options(path=broker.path)
        if broker.is_tls:
            client.tls_set_context(self._tls())
            if not options.checks_host:
                client.tls_insecure_set(True)
        if options.username is not None:
            password = options.password
            client.username_pw_set(
                options.username, None if password is None else password.reveal()
            )
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_disconnect = self._on_disconnect
        return client

    def _tls(self) -> Any:
        options = self._options
        try:
            made = ssl.create_default_context(cafile=options.ca_file)
            if options.certificate_file is not None:
                password = options.key_password
                made.load_cert_chain(
                    options.certificate_file,
                    options.key_file,
                    None if password is None else password.reveal,
                )
        except OSError as error:
            msg = f"can't read certificates for the MQTT broker {self._broker}: {error}"
            raise SparkError(msg, hint="see caFile, certFile and keyFile") from error
        made.check_hostname = options.checks_host
        made.sslsocket_class = _TlsSocket
        return made

    def _begin(self, client: Any) -> None:
        options = self._options
        kept: dict[str, Any] = {}
        if options.protocol == "5":
            properties = needed("paho.mqtt.properties", "mqtt", "MQTTUtils")
            kinds = needed("paho.mqtt.packettypes", "mqtt", "MQTTUtils").PacketTypes
            asked = properties.Properties(kinds.CONNECT)
            asked.SessionExpiryInterval = options.session_expiry_s
            asked.ReceiveMaximum = _RECORDS_MAX
            kept = {"clean_start": False, "properties": asked}
        client.connect(
            self._broker.host,
            self._broker.port,
            keepalive=options.keep_alive_s,
            **kept,
        )

    # Called on the library's thread.

    def _on_connect(
        self, client: Any, _data: Any, flags: Any, code: Any, _properties: Any
    ) -> None:
        if code.is_failure:
            self._answered.put(self._refused(str(code)))
            return
        self.is_known = bool(flags.session_present)
        client.subscribe([(each, self._asked()) for each in self._topics])

    def _asked(self) -> Any:
        # Where 2 is asked for, too: see `docs/sources/mqtt`.
        qos = min(self._options.qos, 1)
        if self._options.protocol != "5":
            return qos
        subscribing = needed("paho.mqtt.subscribeoptions", "mqtt", "MQTTUtils")
        made = subscribing.SubscribeOptions
        # A retained message comes with a subscription; not with each connection again.
        return made(qos=qos, retainHandling=made.RETAIN_SEND_IF_NEW_SUB)

    def _refused(self, why: str) -> SparkError:
        msg = f"the MQTT broker {self._broker} refused the connection: {why}"
        hint = "see username and password"
        if _REFUSED_VERSION in why.lower():
            hint = 'pass protocol="3.1.1"'
        elif "identifier" in why.lower():
            hint = "pass another clientId: letters and digits, at most 23"
        return SparkError(msg, hint=hint)

    def _on_subscribe(
        self, _client: Any, _data: Any, _mid: int, codes: Sequence[Any], _more: Any
    ) -> None:
        refused = [
            f"'{topic}' ({code})"
            for topic, code in zip(self._topics, codes, strict=False)
            if code.is_failure
        ]
        if not refused:
            self._answered.put(None)
            return
        msg = (
            f"the MQTT broker {self._broker} refused the subscription to "
            f"{', '.join(refused)}"
        )
        self._answered.put(
            SparkError(msg, hint="the user may not read it, or it is no valid filter")
        )

    def _on_message(self, _client: Any, _data: Any, message: Any) -> None:
        while not self._ended.is_set():
            try:
                self._arrived.put(message, timeout=1.0)
            except queue.Full:
                continue  # It waits for the rate limit; the broker waits for us.
            return

    def _on_disconnect(
        self, _client: Any, _data: Any, _flags: Any, code: Any, _properties: Any
    ) -> None:
        self._reason = str(code)
        self._ended.set()
        self._answered.put(self._unanswered())
        self._wake()

    # Called on the receiver's thread.

    def receive(self, timeout_s: float) -> Delivery[Message] | None:
        """Return the messages that have come, some at a time.

        Raises:
            SparkError: The connection has ended.
        """
        messages = self._gathered(0.0 if self._ended.is_set() else timeout_s)
        if self._ended.is_set():
            # What can be acknowledged comes again: only what can't is taken.
            messages = [each for each in messages if each.qos == 0]
            if not messages and self._arrived.empty():
                raise self._broken()
        if not messages:
            return None
        token = [(each.mid, each.qos) for each in messages if each.qos > 0]
        return Delivery([Message(m.topic, bytes(m.payload)) for m in messages], token)

    def _gathered(self, timeout_s: float) -> list[Any]:
        taken: list[Any] = []
        wait_s, until_s = timeout_s, monotonic_s() + timeout_s
        while len(taken) < _RECORDS_MAX:
            try:
                message = self._arrived.get(timeout=wait_s)
            except queue.Empty:
                break
            if message is None:
                break
            if not taken:
                until_s = monotonic_s() + min(_GATHER_S, timeout_s)
            taken.append(message)
            wait_s = min(_PAUSE_S, until_s - monotonic_s())
            if wait_s <= 0:
                if timeout_s > 0:
                    break
                wait_s = 0.0  # All that is there.
        return taken

    def acknowledge(self, token: Sequence[tuple[int, int]]) -> None:
        """Tell the broker that messages are stored.

        If the connection has ended, it isn't told: it sends them again.
        """
        for mid, qos in token:
            self._client.ack(mid, qos)

    def close(self) -> None:
        """Disconnect; the broker keeps the session."""
        self._ended.set()
        client, self._client = self._client, None
        if client is not None:
            client.disconnect()
            client.loop_stop()

    def _wake(self) -> None:
        with contextlib.suppress(queue.Full):  # Then nobody waits.
            self._arrived.put_nowait(None)

    def _unanswered(self) -> SparkError:
        options = self._options
        msg = f"the MQTT broker {self._broker} broke off the connection: {self._reason}"
        other = "3.1.1" if options.protocol == "5" else "5"
        return SparkError(
            msg,
            hint=f"see whether it speaks MQTT {options.protocol} there, {_tls_words(self._broker)}; "
            f'or pass protocol="{other}"',
        )

    def _broken(self) -> SparkError:
        msg = f"the connection to the MQTT broker {self._broker} ended: {self._reason}"
        return SparkError(
            msg,
            hint="if that happens over and over, another client may have the same "
            f"clientId, '{self._options.client_id}'",
        )


class _TlsSocket(ssl.SSLSocket):
    """Closes itself where the library wouldn't: when nobody trusts the other end."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except BaseException:
            self.close()
            raise


def _connecting_hint(broker: Broker, error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return "pass caFile, the certificate of who signed the broker's"
    if isinstance(error, ssl.SSLError):
        return (
            "see whether it speaks TLS at that port, and wants a client's certificate"
        )
    return f"see whether it runs and listens there, {_tls_words(broker)}"


def _tls_words(broker: Broker) -> str:
    return "with TLS" if broker.is_tls else "without TLS"
