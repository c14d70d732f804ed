"""JetStreamReceiver: what a durable consumer delivers, acknowledged when it is stored.

What isn't acknowledged within the consumer's `ack_wait` is delivered again, to whichever
program pulls next. So messages come at least once.
"""

import dataclasses
import logging
from collections.abc import Sequence
from typing import Any

from millstream.engine.base.errors import IllegalArgumentError
from millstream.engine.base.levels import StorageLevel
from millstream.engine.clients.nats import NatsServer
from millstream.engine.clients.nats_pulling import Place, Pulling
from millstream.engine.ingest.lag import Lag, TellsLag
from millstream.engine.ingest.reliable_receiver import (
    Connection,
    Delivery,
    ReliableReceiver,
)
from millstream.engine.sources.jetstream.source import (
    Handler,
    data_as_text,
    messages_of,
)

_log = logging.getLogger(__name__)

_AT_A_TIME = 1_000


class JetStreamReceiver(ReliableReceiver[Any], TellsLag):
    """Receives what a durable consumer of a stream is to have."""

    def __init__(
        self,
        server: NatsServer,
        stream: str,
        durable: str,
        storageLevel: StorageLevel = StorageLevel.MEMORY_AND_DISK_2,
        *,
        begin: str | int = "latest",
        handler: Handler = data_as_text,
        subject: str | None = None,
        ack_wait_s: float = 60.0,
    ) -> None:
        """Pull from consumer `durable`, which is made if it isn't there.

        It begins with what is added from then on ("latest"), with everything ("earliest"),
        or at a sequence number. One that is there stays as it is.
        """
        super().__init__(storageLevel)
        if not stream or not durable:
            msg = "a stream and a durable consumer have names"
            raise IllegalArgumentError(msg)
        if ack_wait_s <= 0:
            msg = f"ack_wait_s is a positive number of seconds, not {ack_wait_s}"
            raise IllegalArgumentError(msg)
        self.server = server
        self.stream = stream
        self.durable = durable
        self.begin = begin
        self.handler = handler
        self.subject = subject
        self.ack_wait_s = ack_wait_s
        self.acknowledged = 0
        """The highest sequence number that is safe; for a consumer that vanishes."""

    @property
    def identity(self) -> str:
        """Which stream of which servers, and which consumer."""
        return f"nats {self.server.where} {self.stream} consumer {self.durable}"

    def connect(self) -> "_Consumer":
        """Make the consumer if it isn't there."""
        pulling = self.server.ask(
            f"consumer '{self.durable}' of stream '{self.stream}'", self._pulling
        )
        return _Consumer(self, pulling)

    def ask_lag(self, timeout_s: float) -> Lag:
        """Return how many messages the consumer hasn't delivered, or had acknowledged."""

        async def ask(_client: Any, jetstream: Any) -> Lag:
            from nats.js.errors import NotFoundError  # noqa: PLC0415  Optional.

            try:
                info = await jetstream.consumer_info(self.stream, self.durable)
            except NotFoundError:
                return Lag(None)  # The receiver makes it.
            return Lag((info.num_pending or 0) + (info.num_ack_pending or 0))

        # A connection of its own: the receiver's isn't dropped when this takes too long.
        timeout_s = min(timeout_s, self.server.timeout_s)
        server = dataclasses.replace(self.server, timeout_s=timeout_s)
        return server.ask(f"how far consumer '{self.durable}' is", ask)

    async def _pulling(self, client: Any, jetstream: Any) -> Pulling:
        from nats.js.api import (  # noqa: PLC0415  Optional.
            AckPolicy,
            ConsumerConfig,
            DeliverPolicy,
        )
        from nats.js.errors import NotFoundError  # noqa: PLC0415

        try:
            await jetstream.consumer_info(self.stream, self.durable)
        except NotFoundError:
            begin = await self._begin_anew(jetstream)
            policy = {
                "latest": DeliverPolicy.NEW,
                "earliest": DeliverPolicy.ALL,
            }.get(str(begin), DeliverPolicy.BY_START_SEQUENCE)
            is_number = policy is DeliverPolicy.BY_START_SEQUENCE
            config = ConsumerConfig(
                durable_name=self.durable,
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=self.ack_wait_s,
                deliver_policy=policy,
                opt_start_seq=int(begin) if is_number else None,
                filter_subject=self.subject,
                # Else it stops delivering after 1,000 that aren't acknowledged.
                max_ack_pending=20 * _AT_A_TIME,
            )
            await jetstream.add_consumer(self.stream, config)
        pulling = Pulling(client, self.stream, self.durable)
        await pulling.start()
        return pulling

    async def _begin_anew(self, jetstream: Any) -> str | int:
        """Return where a new consumer begins: if one has vanished, behind what is safe."""
        begin = self.begin
        info = await jetstream.stream_info(self.stream)
        if self.acknowledged:
            is_same = info.state.last_seq >= self.acknowledged
            begin = self.acknowledged + 1 if is_same else "earliest"
            _log.warning(
                "consumer vanished, and is made anew stream=%s consumer=%s begin=%s",
                self.stream,
                self.durable,
                begin,
            )
        retention = getattr(info.config.retention, "value", info.config.retention)
        # A work queue has nothing that was acknowledged, and allows nothing else.
        return "earliest" if retention == "workqueue" else begin


class _Consumer(Connection[Any]):
    """Pulls, for one receiver."""

    def __init__(self, receiver: JetStreamReceiver, pulling: Pulling) -> None:
        self._receiver = receiver
        self._server = receiver.server
        self._handler = receiver.handler
        self._stream = receiver.stream
        self._what = f"messages of consumer '{receiver.durable}'"
        self._pulling = pulling

    def receive(self, timeout_s: float) -> Delivery[Any] | None:
        """Return what is there; or wait for one message."""

        async def pull(client: Any, _jetstream: Any) -> list[Any]:
            self._check(client)
            limit_s = self._server.timeout_s
            found = await self._pulling.pull(_AT_A_TIME, 0, limit_s)
            return found or await self._pulling.pull(1, timeout_s, limit_s)

        taken = self._server.ask(self._what, pull)
        if not taken:
            return None
        records = list(map(self._handler, messages_of(self._stream, taken)))
        return Delivery(records, [each.reply for each in taken])

    def acknowledge(self, token: Sequence[str]) -> None:
        """Say that messages are stored."""
        self._answer(token, b"+ACK")
        newest = max(Place.of_reply(each).sequence for each in token)
        self._receiver.acknowledged = max(self._receiver.acknowledged, newest)

    def reject(self, token: Sequence[str]) -> None:
        """Say that messages couldn't be stored: they are delivered again at once."""
        self._answer(token, b"-NAK")

    def _answer(self, replies: Sequence[str], answer: bytes) -> None:
        async def send(client: Any, _jetstream: Any) -> None:
            self._check(client)
            for reply in replies:
                await client.publish(reply, answer)
            # When the server has answered this it has got those.
            await client.flush(self._server.timeout_s)

        self._server.ask(f"acknowledge {self._what}", send)

    def _check(self, client: Any) -> None:
        if self._pulling.client is not client:
            msg = "the connection to NATS broke"
            raise ConnectionError(msg)

    def close(self) -> None:
        """Stop pulling."""

        async def end(client: Any, _jetstream: Any) -> None:
            if self._pulling.client is client:
                await self._pulling.close()

        self._server.ask("end receiving", end)
