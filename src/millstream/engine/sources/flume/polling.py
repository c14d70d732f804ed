"""FlumePollingReceiver: fetches batches of events from Spark's sinks in Flume agents.

A sink keeps a batch in a transaction until it hears `ack`, which it does when the batch is
stored, or `nack`, a time-out, or the end of the connection: then it gives the batch out
again. So every event comes at least once.
"""

import itertools
import logging
import socket
import threading
from collections import deque
from collections.abc import Sequence
from typing import Any

from millstream.engine.base.clock import monotonic_s
from millstream.engine.base.errors import UsageError
from millstream.engine.base.levels import StorageLevel
from millstream.engine.ingest.reliable_receiver import (
    Connection,
    Delivery,
    ReliableReceiver,
)
from millstream.engine.sources.flume.frames import (
    FlumeLimits,
    FlumeProtocolError,
    Frame,
    FrameParser,
    frame_of,
)
from millstream.engine.sources.flume.protocol import POLLING, Datums, Event
from millstream.engine.sources.flume.session import ClientSession, FlumeCallError

_log = logging.getLogger(__name__)

_READ_BYTES = 1 << 16
_CONNECT_S_MAX = 5.0
_RETRY_S = 1.0
_RETRY_S_MAX = 30.0
_IDLE_S = 0.1

Address = tuple[str, int]


class FlumePollingReceiver(ReliableReceiver[Event]):
    """Stores the events, as (headers, body), of sinks at some addresses.

    A connection belongs to one sink, and makes itself anew when it breaks: after 1 s, then
    later and later, up to 30 s. An agent that is down holds up no other.
    """

    def __init__(
        self,
        addresses: Sequence[Address],
        storageLevel: StorageLevel = StorageLevel.MEMORY_AND_DISK_2,
        *,
        batch_events_max: int = 1000,
        parallelism: int = 5,
        limits: FlumeLimits | None = None,
    ) -> None:
        """Poll each address; `parallelism` connections in all, or one for each if more.

        Raises:
            UsageError: There is no address, or a number isn't over 0.
        """
        super().__init__(storageLevel)
        if not addresses or batch_events_max < 1 or parallelism < 1:
            msg = (
                f"a polling stream needs addresses, and numbers over 0: addresses "
                f"{list(addresses)}, maxBatchSize {batch_events_max}, parallelism "
                f"{parallelism}"
            )
            raise UsageError(msg)
        self.addresses = tuple((host, port) for host, port in addresses)
        self.batch_events_max = batch_events_max
        self.limits = limits or FlumeLimits()
        # As many as this one is to have: the class has the default only.
        count = max(parallelism, len(self.addresses))
        self.connections = count  # type: ignore[misc]
        self._numbers = itertools.count()

    @property
    def identity(self) -> str:
        """What it reads: where its sinks are."""
        where = ", ".join(f"{host}:{port}" for host, port in self.addresses)
        return f"flume polling {where}"

    def onStart(self) -> None:
        """Start the threads, each with an address."""
        self._numbers = itertools.count()
        super().onStart()

    def connect(self) -> Connection[Event]:
        """Return a connection to the address whose turn it is."""
        address = self.addresses[next(self._numbers) % len(self.addresses)]
        return _SinkConnection(self, address)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_numbers": None}


class _SinkConnection(Connection[Event]):
    """Polls one sink; when the connection breaks, it makes a new one."""

    def __init__(self, receiver: FlumePollingReceiver, address: Address) -> None:
        self._receiver = receiver
        self._address = address
        self._client: SinkClient | None = None
        self._failures = 0
        self._retry_at_s = 0.0
        self._told = ""
        self._pause = threading.Event()  # Never set: it is waited on.

    def receive(self, timeout_s: float) -> Delivery[Event] | None:
        """Return a batch that the sink has begun to give out."""
        wait_s = self._retry_at_s - monotonic_s()
        if wait_s > 0:
            self._pause.wait(min(wait_s, timeout_s))
            return None
        try:
            if self._client is None:
                limits = self._receiver.limits
                self._client = SinkClient(self._address, limits)
            batch = self._client.poll(self._receiver.batch_events_max, timeout_s)
        except (OSError, FlumeProtocolError) as error:
            self._break(error)
            return None
        self._failures = 0
        return None if batch is None else self._opened(batch, timeout_s)

    def _opened(self, batch: "EventBatch", timeout_s: float) -> Delivery[Event] | None:
        if batch.error:
            if batch.error != self._told:  # An idle sink may say it with every poll.
                _log.info("a Flume sink has no batch %s: %s", self, batch.error)
            self._told = batch.error
            self._pause.wait(min(_IDLE_S, timeout_s))
            return None
        self._told = ""
        return Delivery(batch.events, batch.sequence)

    def acknowledge(self, token: str) -> None:
        """Have the sink commit the batch."""
        self._settle("ack", token)

    def reject(self, token: str) -> None:
        """Have the sink give the batch out again."""
        self._settle("nack", token)

    def _settle(self, name: str, sequence: str) -> None:
        assert self._client is not None, "a batch came over it"
        try:
            self._client.settle(name, sequence)
        except (OSError, FlumeProtocolError) as error:
            # What is stored and may not be acknowledged comes once more.
            self._break(error)

    def _break(self, error: Exception) -> None:
        self.close()
        delay_s = min(_RETRY_S * 2 ** min(self._failures, 10), _RETRY_S_MAX)
        self._failures += 1
        self._retry_at_s = monotonic_s() + delay_s
        message = f"the connection to the Flume sink {self} broke: {error}"
        _log.warning("%s; trying again in %g s", message, delay_s)
        self._receiver.reportError(message, error)

    def close(self) -> None:
        """End; the sink rolls back what isn't acknowledged."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def __str__(self) -> str:
        return f"{self._address[0]}:{self._address[1]}"


class EventBatch:
    """What a sink answers: events, or why there are none."""

    __slots__ = ("error", "events", "sequence")

    def __init__(self, datums: Datums, events_max: int) -> None:
        """Read it.

        Raises:
            FlumeProtocolError: It is damaged, or has too many events.
        """
        self.error: str = datums.read("string")
        self.sequence: str = datums.read("string")
        self.events = datums.events(events_max)
        datums.end()


class SinkClient:
    """Calls one sink over one connection. Used by one thread."""

    def __init__(self, address: Address, limits: FlumeLimits) -> None:
        """Connect.

        Raises:
            OSError: The sink can't be reached.
        """
        self._limits = limits
        self._session = ClientSession(POLLING)
        self._parser = FrameParser(limits)
        self._serial = 0
        self._asked_at_s: float | None = None
        self._frames: deque[Frame] = deque()
        connect_s = min(limits.stall_s, _CONNECT_S_MAX)
        self._socket = socket.create_connection(address, connect_s)
        # Or each small call waits for the acknowledgement of the one before: 40 ms.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def poll(self, events_max: int, timeout_s: float) -> EventBatch | None:
        """Return a batch, or None when the sink hasn't answered yet: call again then.

        Raises:
            OSError: The connection broke, or the sink owes an answer for too long.
            FlumeProtocolError: What it sent can't be read, or is over a limit.
        """
        if self._asked_at_s is None:
            self._send("getEventBatch", events_max)
        answer = self._answer("getEventBatch", timeout_s)
        if answer is None:
            return None
        return EventBatch(answer, max(events_max, self._limits.events_max))

    def settle(self, name: str, sequence: str) -> None:
        """Call `ack` or `nack`; return when the sink has answered.

        Raises:
            OSError: The connection broke, or the sink didn't answer in time.
            FlumeProtocolError: It answered with an error, or with what can't be read.
        """
        self._send(name, sequence)
        while (answer := self._answer(name, self._limits.stall_s)) is None:
            pass  # `_answer` gives up by itself.
        answer.end()

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _send(self, name: str, value: Any) -> None:
        self._serial += 1
        self._asked_at_s = monotonic_s()
        self._socket.settimeout(self._limits.stall_s)
        self._socket.sendall(frame_of(self._serial, self._session.request(name, value)))

    def _answer(self, name: str, timeout_s: float) -> Datums | None:
        assert self._asked_at_s is not None, "an answer is waited for"
        patient_s = self._asked_at_s + self._limits.stall_s
        until_s = min(monotonic_s() + timeout_s, patient_s)
        while not self._frames:
            now_s = monotonic_s()
            if now_s >= until_s:
                if now_s < patient_s:
                    return None
                raise self._impatience(name)
            self._socket.settimeout(until_s - now_s)
            try:
                data = self._socket.recv(_READ_BYTES)
            except TimeoutError:
                continue
            if not data:
                msg = "the sink has closed the connection"
                raise ConnectionError(msg)
            self._frames += self._parser.feed(data)
        frame = self._frames.popleft()
        if frame.serial != self._serial or self._frames:
            msg = f"the sink answered call {frame.serial}, not call {self._serial}"
            raise FlumeProtocolError(msg)
        self._asked_at_s = None
        try:
            return self._session.response(frame.payload, name)
        except FlumeCallError as error:
            hint = "the agent's log says more"
            raise FlumeCallError(str(error), hint=hint) from error

    def _impatience(self, name: str) -> TimeoutError:
        stall_s = self._limits.stall_s
        return TimeoutError(
            f"the sink hasn't answered {name} for {stall_s:g} s, FlumeLimits.stall_s"
        )
