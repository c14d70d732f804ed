"""NatsUtils: streams of NATS JetStream, read directly or by a durable consumer."""

from collections.abc import Mapping, Sequence
from typing import Any

from millstream.engine.base.levels import StorageLevel
from millstream.engine.base.secrets import Secret
from millstream.engine.clients.nats import NatsServer
from millstream.engine.sources.jetstream.durable import JetStreamReceiver
from millstream.engine.sources.jetstream.source import (
    Handler,
    JetStreamSource,
    MessagesLostError,
    NatsMessage,
    NatsRange,
    data_as_text,
)
from millstream.streaming.context import StreamingContext
from millstream.streaming.dstream import DStream

__all__ = [
    "MessagesLostError",
    "NatsMessage",
    "NatsRange",
    "NatsServer",
    "NatsUtils",
]


class NatsUtils:
    """Makes input streams of NATS JetStream, in the manner of KafkaUtils."""

    @staticmethod
    def createDirectStream(
        ssc: StreamingContext,
        servers: str | Sequence[str] | NatsServer,
        streams: Sequence[str],
        fromSequences: str | int | Mapping[str, str | int] = "latest",
        messageHandler: Handler | None = None,
        *,
        subject: str | None = None,
        failOnDataLoss: bool = True,
        user: str | None = None,
        password: str | Secret | None = None,
        token: str | Secret | None = None,
        timeout: float = 30.0,
    ) -> DStream[Any]:
        """Return the messages of streams: a partition each, each message exactly once.

        It begins at the end of the streams ("latest"), at their beginning ("earliest"), or
        at a sequence number, perhaps one for each stream; `subject` chooses messages.
        Records are the data as text, or what `messageHandler(NatsMessage)` returns.
        `RDD.ranges` has the batch's NatsRanges. `timeout` is in seconds; `NatsServer.of`
        knows more ways to connect, such as certificates.

        Raises:
            IllegalArgumentError: An argument can't be used.
        """
        source = JetStreamSource(
            _server(servers, user, password, token, timeout),
            tuple(streams),
            fromSequences
            if isinstance(fromSequences, str | int)
            else dict(fromSequences),
            messageHandler or data_as_text,
            subject,
            failOnDataLoss,
        )
        return ssc.directStream(source, "NatsDirectInputDStream")

    @staticmethod
    def createStream(
        ssc: StreamingContext,
        servers: str | Sequence[str] | NatsServer,
        stream: str,
        durable: str,
        storageLevel: StorageLevel = StorageLevel.MEMORY_AND_DISK_2,
        messageHandler: Handler | None = None,
        *,
        fromSequence: str | int = "latest",
        subject: str | None = None,
        ackWait: float = 60.0,
        user: str | None = None,
        password: str | Secret | None = None,
        token: str | Secret | None = None,
        timeout: float = 30.0,
    ) -> DStream[Any]:
        """Return what a durable consumer gets, acknowledged when stored: at least once.

        Several such streams or programs share what the consumer gets. One that isn't there
        is made, to begin where `fromSequence` says, and to deliver again what isn't
        acknowledged for `ackWait` seconds.

        Raises:
            IllegalArgumentError: An argument can't be used.
        """
        receiver = JetStreamReceiver(
            _server(servers, user, password, token, timeout),
            stream,
            durable,
            storageLevel,
            begin=fromSequence,
            handler=messageHandler or data_as_text,
            subject=subject,
            ack_wait_s=ackWait,
        )
        return ssc.receiverStream(receiver, "NatsInputDStream")


def _server(
    servers: str | Sequence[str] | NatsServer,
    user: str | None,
    password: str | Secret | None,
    token: str | Secret | None,
    timeout: float,
) -> NatsServer:
    if isinstance(servers, NatsServer):
        return servers
    return NatsServer.of(servers, user, password, token, timeout_s=timeout)
