"""NatsPulling: messages of a JetStream consumer, some at a time, as they come."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from millstream.engine.base.errors import SparkError

_BYTES_MAX = 1 << 30
_ENDS = ("404", "408")
_NO_RESPONDERS = "503"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a message is: its number in the stream, and what the consumer says of it."""

    sequence: int
    delivered: int
    """Its number among what the consumer has delivered."""
    pending: int
    """How many messages the consumer had left."""
    time_ns: int

    @classmethod
    def of_reply(cls, reply: str) -> "Place":
        """Return what the reply subject of a message says.

        `$JS.ACK.stream.consumer.delivered.sequence.number.time.pending`; or of 11 tokens or
        more, with a domain and an account behind `ACK` (NATS's ADR-15).
        """
        tokens = reply.split(".")
        first = 5 if len(tokens) == 9 else 7
        return cls(
            sequence=int(tokens[first]),
            delivered=int(tokens[first + 1]),
            time_ns=int(tokens[first + 2]),
            pending=int(tokens[first + 3]),
        )


@dataclass
class Pulling:
    """A subscription to what one consumer delivers. Used in the loop only."""

    client: Any
    stream: str
    consumer: str
    _messages: list[Any] = field(default_factory=list)
    _wanted: int = 0
    _status: str | None = None
    _came: asyncio.Event = field(default_factory=asyncio.Event)
    _subscription: Any = None
    _inbox: str = ""

    async def start(self) -> None:
        """Begin to listen."""
        self._inbox = self.client.new_inbox()
        self._subscription = await self.client.subscribe(
            self._inbox,
            cb=self._on_message,
            pending_msgs_limit=1 << 20,
            pending_bytes_limit=_BYTES_MAX,
        )

    async def _on_message(self, message: Any) -> None:
        if message.headers and not message.reply:
            status = message.headers.get("Status")
            if status is not None:
                if status != "100":
                    self._status = status
                    self._came.set()
                return
        self._messages.append(message)
        if len(self._messages) >= self._wanted:
            self._came.set()

    async def pull(self, count: int, wait_s: float, limit_s: float) -> list[Any]:
        """Return up to `count` messages.

        Waits for `wait_s` when there is none yet; with 0, returns what is there.

        Raises:
            TimeoutError: The server said nothing for `limit_s`.
            SparkError: The consumer isn't there any more.
        """
        self._messages, self._status, self._wanted = [], None, count
        self._came.clear()
        asked: dict[str, Any] = {"batch": count, "no_wait": True}
        if wait_s:
            asked = {"batch": count, "expires": round(wait_s * 1e9)}
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self.stream}.{self.consumer}"
        await self.client.publish(subject, json.dumps(asked).encode(), self._inbox)
        # The server ends a request that waits by itself.
        await asyncio.wait_for(self._came.wait(), wait_s + limit_s)
        if self._status is not None and self._status not in _ENDS:
            is_gone = self._status == _NO_RESPONDERS
            why = (
                "there is no such consumer" if is_gone else "it was deleted or changed"
            )
            msg = (
                f"consumer '{self.consumer}' of stream '{self.stream}': {why} "
                f"(status {self._status})"
            )
            raise SparkError(msg, hint="it is made anew at the next attempt")
        return self._messages

    async def close(self) -> None:
        """Stop listening."""
        if self._subscription is not None and not self.client.is_closed:
            await self._subscription.unsubscribe()


def is_of(subject: str, pattern: str) -> bool:
    """Say whether a subject is one of a pattern's.

    >>> is_of("a.b.c", "a.*.c"), is_of("a.b.c", "a.>"), is_of("a", "a.>")
    (True, True, False)
    """
    tokens, wanted = subject.split("."), pattern.split(".")
    if wanted[-1] == ">":
        wanted.pop()
        if len(tokens) <= len(wanted):
            return False
        tokens = tokens[: len(wanted)]
    return len(tokens) == len(wanted) and all(
        want in {"*", token} for token, want in zip(tokens, wanted, strict=True)
    )
