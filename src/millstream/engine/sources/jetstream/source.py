"""JetStreamSource: a direct stream of NATS JetStream: ranges of sequence numbers.

A range is read by a consumer of its own, which acknowledges nothing and is forgotten
afterwards. Numbers have holes, where messages were deleted or are another subject's, so
messages aren't counted: a range ends where its last number is, or nothing is left.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from millstream.engine.base.errors import (
    IllegalArgumentError,
    SparkError,
    UnsupportedOperationError,
)
from millstream.engine.clients.nats import NatsServer
from millstream.engine.clients.nats_pulling import Place, Pulling, is_of
from millstream.engine.ingest.direct_source import BatchPlan, DirectSource
from millstream.engine.ingest.lag import Lag

_log = logging.getLogger(__name__)

_PAGE = 500
_FORGET_S = 60.0


@dataclass(frozen=True, slots=True)
class NatsMessage:
    """One message of a stream, as a `messageHandler` gets it."""

    stream: str
    subject: str
    data: bytes
    headers: Mapping[str, str]
    sequence: int
    time_ns: int
    """When the stream stored it: ns since the epoch."""


Handler = Callable[[NatsMessage], Any]


def data_as_text(message: NatsMessage) -> str:
    """Return a message's data as text, of UTF-8; what a stream has by default."""
    return message.data.decode()


def messages_of(stream: str, taken: Sequence[Any]) -> Iterator[NatsMessage]:
    """Yield what the client library has received as a handler gets it."""
    for each in taken:
        place = Place.of_reply(each.reply)
        yield NatsMessage(
            stream,
            each.subject,
            each.data,
            dict(each.headers or {}),
            place.sequence,
            place.time_ns,
        )


@dataclass(frozen=True, slots=True)
class NatsRange:
    """Messages of one stream, after one sequence number, up to another."""

    stream: str
    after: int
    until: int


class MessagesLostError(SparkError):
    """Messages that a batch needs aren't in the stream any more."""


@dataclass(frozen=True, slots=True)
class StreamState:
    """What the server knows of a stream."""

    first: int
    last: int
    retention: str
    is_compacted: bool
    """Whether newer messages take the place of older ones of their subject."""


@dataclass(eq=False)
class JetStreamSource(DirectSource[NatsRange, Any]):
    """Reads streams, each as one partition of a batch."""

    server: NatsServer
    streams: Sequence[str]
    begin: str | int | Mapping[str, str | int] = "latest"
    """Where to begin when there is no checkpoint: "latest", "earliest", or at a number."""
    handler: Handler = data_as_text
    subject: str | None = None
    """Only messages of subjects that this matches."""
    fails_on_data_loss: bool = True
    _began: dict[str, StreamState] = field(default_factory=dict)
    _left: int | None = None
    """How many numbers the streams had beyond the newest batch's when that was planned."""

    range_type = NatsRange

    def __post_init__(self) -> None:
        if not self.streams or len(set(self.streams)) != len(self.streams):
            msg = f"streams are some different names, not {list(self.streams)!r}"
            raise IllegalArgumentError(msg)
        for each in map(self._begin_of, self.streams):
            if each not in {"latest", "earliest"} and not isinstance(each, int):
                msg = f"a stream can't begin at {each!r}"
                raise IllegalArgumentError(
                    msg, hint='"earliest", "latest", or the first sequence number'
                )

    @property
    def identity(self) -> str:
        """Which streams of which servers."""
        only = f" {self.subject}" if self.subject else ""
        return f"nats {self.server.where} {','.join(self.streams)}{only}"

    def start(self) -> None:
        """Note where streams end now, so that "latest" means the start of the program."""
        try:
            self._began = {each: self._state_of(each) for each in self.streams}
        except SparkError as error:
            _log.warning("the first batch finds out where streams end: %s", error)

    def plan(self, batch: BatchPlan[NatsRange]) -> Sequence[NatsRange]:
        """Return a range for each stream, up to its end, or to its share of the rate.

        Raises:
            MessagesLostError: A stream was made anew, or has dropped what comes next.
            UnsupportedOperationError: A stream deletes what one consumer has read.
            SparkError: A stream isn't there, or no server can be reached.
        """
        previous = {each.stream: each for each in batch.previous}
        share = batch.limit
        ranges: list[NatsRange] = []
        left = 0
        for stream in self.streams:
            state = self._state_of(stream)
            after = self._position(stream, previous.get(stream), state)
            until = max(after, state.last)
            if share is not None:
                until = min(until, after + max(1, share // len(self.streams)))
            ranges.append(NatsRange(stream, after, until))
            left += max(0, state.last - until)
        self._left = left
        return ranges

    @property
    def lag(self) -> Lag:
        """How many numbers the streams had beyond the newest batch's, as it was planned.

        Those of other subjects, and of messages that were deleted, count too.
        """
        return Lag(self._left)

    def _position(
        self, stream: str, previous: NatsRange | None, state: StreamState
    ) -> int:
        if previous is not None:
            after = previous.until
            if state.last < after:
                self._lost(
                    f"stream '{stream}' was made anew: it ends at {state.last}, and was "
                    f"read up to {after}"
                )
                return max(0, state.first - 1)
            if not self._is_whole(state, after):
                # Rates count numbers: those that nobody can read any more don't matter.
                self._lost(
                    f"stream '{stream}' begins at {state.first}, and was read up to {after}"
                )
                return state.first - 1
            return after
        begin = self._begin_of(stream)
        if begin == "earliest":
            return max(0, state.first - 1)
        if begin == "latest":
            return self._began.get(stream, state).last
        return max(0, int(begin) - 1)

    def _begin_of(self, stream: str) -> str | int:
        if isinstance(self.begin, Mapping):
            return self.begin.get(stream, "latest")
        return self.begin

    @staticmethod
    def _is_whole(state: StreamState, after: int) -> bool:
        """Say whether nothing behind a number was dropped from a stream's beginning."""
        return state.is_compacted or state.first <= after + 1

    def _state_of(self, stream: str) -> StreamState:
        async def ask(_client: Any, jetstream: Any) -> Any:
            return await jetstream.stream_info(stream)

        info = self.server.ask(f"what is in stream '{stream}'", ask)
        state = StreamState(
            first=info.state.first_seq,
            last=info.state.last_seq,
            retention=str(
                getattr(info.config.retention, "value", info.config.retention)
            ),
            is_compacted=(info.config.max_msgs_per_subject or -1) > 0,
        )
        if state.retention != "limits":
            msg = (
                f"stream '{stream}' has retention '{state.retention}': it deletes what is "
                "acknowledged, and can't be read again"
            )
            raise UnsupportedOperationError(
                msg, hint="read it with NatsUtils.createStream, a durable consumer"
            )
        return state

    def read(self, of: NatsRange) -> Iterator[Any]:
        """Yield what the handler makes of the messages of a range.

        Raises:
            MessagesLostError: The stream has dropped some of them.
            SparkError: The stream isn't there, or no server can be reached or answers.
        """
        if of.after >= of.until:
            return
        pages = _Pages(self.server, of, self.subject)
        handler = self.handler
        is_text = handler is data_as_text
        first: int | None = None
        try:
            while taken := pages.next():
                if first is None:
                    first = Place.of_reply(taken[0].reply).sequence
                if is_text:
                    yield from [each.data.decode() for each in taken]
                else:
                    yield from map(handler, messages_of(of.stream, taken))
            pages.check_end()
        finally:
            pages.close()
        if first != of.after + 1:
            state = self._state_of(of.stream)
            if not self._is_whole(state, of.after):
                self._lost(
                    f"stream '{of.stream}' begins at {state.first}, and messages after "
                    f"{of.after}, up to {of.until}, are needed"
                )

    def _lost(self, told: str) -> None:
        if self.fails_on_data_loss:
            msg = f"{told} (NATS at {self.server.where})"
            raise MessagesLostError(
                msg,
                hint="let the stream keep more (max_age, max_msgs, max_bytes), or go on "
                "without them by failOnDataLoss=False",
            )
        _log.warning("data loss, which failOnDataLoss=False accepts: %s", told)

    def count(self, of: NatsRange) -> int:
        """Return how many numbers a range has."""
        return of.until - of.after

    def describe(self, of: NatsRange) -> str:
        """Return a range in words."""
        return f"stream: {of.stream}\tsequences: ({of.after}, {of.until}]"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_began": {}, "_left": None}


class _Pages:
    """The messages of a range, some at a time."""

    def __init__(self, server: NatsServer, of: NatsRange, subject: str | None) -> None:
        self._server = server
        self._of = of
        self._subject = subject
        self._pulling: Pulling | None = None
        self._delivered = 0
        self._last = 0
        self._is_over = False

    def next(self) -> list[Any]:
        """Return the next ones; none at the end."""
        if self._is_over:
            return []
        what = f"messages of stream '{self._of.stream}'"
        taken: list[Any] = self._server.ask(what, self._pull)
        if not taken:
            self._is_over = True
            return []
        last = Place.of_reply(taken[-1].reply)
        self._delivered += len(taken)
        if last.delivered != self._delivered:
            msg = (
                f"{last.delivered - self._delivered} messages of stream "
                f"'{self._of.stream}' got lost on their way"
            )
            raise SparkError(msg, hint="the task is tried again")
        self._last = last.sequence
        self._is_over = last.sequence >= self._of.until or last.pending == 0
        while taken and Place.of_reply(taken[-1].reply).sequence > self._of.until:
            taken.pop()
        return taken

    def check_end(self) -> None:
        """Look whether it is right that nothing is left.

        Raises:
            SparkError: The last message is there, and didn't come: the replica that was
                read is behind.
        """
        if self._last >= self._of.until:
            return
        what = f"the end of stream '{self._of.stream}'"
        if self._server.ask(what, self._has_last):
            msg = (
                f"stream '{self._of.stream}' has more than the replica that was read: up "
                f"to {self._of.until}, and it ended at {self._last}"
            )
            raise SparkError(msg, hint="the task is tried again")

    async def _has_last(self, _client: Any, jetstream: Any) -> bool:
        from nats.js.errors import NotFoundError  # noqa: PLC0415  Optional.

        try:
            last = await jetstream.get_msg(self._of.stream, self._of.until)
        except NotFoundError:
            return False
        return self._subject is None or is_of(last.subject, self._subject)

    async def _pull(self, client: Any, jetstream: Any) -> list[Any]:
        if self._pulling is None:
            self._pulling = await self._consumer(client, jetstream)
        elif self._pulling.client is not client:
            msg = f"the connection broke while stream '{self._of.stream}' was read"
            raise SparkError(msg, hint="the task is tried again")
        wait_s = self._server.timeout_s
        return await self._pulling.pull(_PAGE, 0, wait_s)

    async def _consumer(self, client: Any, jetstream: Any) -> Pulling:
        from nats.js.api import (  # noqa: PLC0415  Optional.
            AckPolicy,
            ConsumerConfig,
            DeliverPolicy,
        )

        config = ConsumerConfig(
            ack_policy=AckPolicy.NONE,
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=self._of.after + 1,
            filter_subject=self._subject,
            inactive_threshold=_FORGET_S,
            mem_storage=True,
        )
        made = await jetstream.add_consumer(self._of.stream, config)
        pulling = Pulling(client, self._of.stream, made.name)
        await pulling.start()
        return pulling

    def close(self) -> None:
        """Let the consumer go; the server forgets it by itself if that fails."""
        pulling, self._pulling = self._pulling, None
        if pulling is None:
            return

        async def end(client: Any, jetstream: Any) -> None:
            if pulling.client is client:
                await pulling.close()
                await jetstream.delete_consumer(pulling.stream, pulling.consumer)

        try:
            self._server.ask("end reading", end)
        except SparkError as error:
            _log.info("a consumer is left to be forgotten: %s", error)
