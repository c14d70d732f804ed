"""JetStreamPublishing: one partition of a batch goes to a stream, what is missing of it.

The stream drops a message whose id it has seen within its `duplicate_window`. Where that may
be over, the ids that it has got since the batch was begun are read first.
"""

import asyncio
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from millstream.engine.base.errors import SparkError
from millstream.engine.clients.nats import NatsServer
from millstream.engine.clients.nats_pulling import Place, Pulling, is_of
from millstream.engine.sinks.contract import SinkBatch, check_partitions, check_run
from millstream.engine.sinks.jetstream.marks import Book, Mark

_log = logging.getLogger(__name__)

AT_A_TIME = 500
"""How many messages are on their way at once."""
_ID = "Nats-Msg-Id"
_SUBJECTS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Target:
    """Where an output goes. Picklable."""

    server: NatsServer
    stream: str
    marks: str
    """The bucket that has the marks."""

    @property
    def identity(self) -> str:
        """Which stream of which servers."""
        return f"nats {self.server.where} {self.stream}"


class Publishing:
    """One attempt to publish one partition of a batch."""

    def __init__(self, to: Target, batch: SinkBatch, partition: int) -> None:
        self._to = to
        self._batch = batch
        self._partition = partition
        self._what = (
            f"publish partition {partition} of batch {batch.time_ms} ms of output "
            f"'{batch.output}' to stream '{to.stream}'"
        )
        self._prefix = f"{batch.output}-{batch.time_ms}-{partition}-"
        self._mark: Mark | None = None
        self._revision = 0
        self._patterns: Sequence[str] = ()
        self._stored: set[str] = set()
        self.is_there = False
        self.published: Collection[int] = frozenset()

    def begin(self) -> None:
        """Mark that the batch is begun; find out what of it is published already."""
        is_begun = self._to.server.ask(self._what, self._begin)
        if is_begun:
            assert self._mark is not None, "it was begun"
            self.published = self._found(self._mark)

    async def _begin(self, _client: Any, jetstream: Any) -> bool:
        """Return whether an attempt before this one has begun the batch."""
        batch = self._batch
        book = await Book.of(jetstream, self._to.marks, batch.output)
        found, _ = await book.run()
        check_run(batch, found.run, self._to.identity)
        mark, revision = await book.mark(self._partition)
        info = await jetstream.stream_info(self._to.stream)
        self._patterns = info.config.subjects or ()
        after, is_begun = info.state.last_seq, False
        if mark is not None and mark.batch_ms >= batch.time_ms:
            if mark.is_done or mark.batch_ms > batch.time_ms:
                self.is_there = True
                return False
            check_partitions(batch, mark.partitions, self._to.identity)
            after = mark.after
            is_begun = True
        new = Mark(batch.time_ms, batch.partitions, batch.run, after, is_done=False)
        await self._put(book, new, revision)
        return is_begun

    async def _put(self, book: Book, mark: Mark, revision: int) -> None:
        made = await book.put(book.key(self._partition), mark, revision)
        if made is None:
            await self._replaced(book)
        self._mark, self._revision = mark, made

    def _found(self, mark: Mark) -> Collection[int]:
        """Return the numbers of the records that are in the stream."""
        reading = _Ids(self._to, mark.after, self._prefix)
        numbers = reading.all()
        if numbers and (reading.begins_later or reading.is_compacted):
            # They are published in order: what came before these was there, too.
            return range(max(numbers) + 1)
        if reading.begins_later:
            _log.warning(
                "records may be published twice: the stream has dropped what came after "
                "the batch was begun stream=%s output=%s batch=%d partition=%d",
                self._to.stream,
                self._batch.output,
                self._batch.time_ms,
                self._partition,
            )
        return numbers

    def publish(self, some: Sequence[tuple[int, str, bytes]]) -> None:
        """Publish records, and wait until the stream has them all."""
        if not some:
            return
        for _, subject, _ in some:
            self._check(subject)

        async def ask(_client: Any, jetstream: Any) -> None:
            book = await Book.of(jetstream, self._to.marks, self._batch.output)
            await self._check_mark(book)
            waiting = [
                await jetstream.publish_async(
                    subject,
                    data,
                    stream=self._to.stream,
                    headers={_ID: f"{self._prefix}{number}"},
                )
                for number, subject, data in some
            ]
            await asyncio.wait_for(asyncio.gather(*waiting), self._to.server.timeout_s)

        self._to.server.ask(self._what, ask)

    async def _check_mark(self, book: Book) -> None:
        # Whoever hung meanwhile, and was replaced, goes on no further than this.
        _, revision = await book.mark(self._partition)
        if revision != self._revision:
            await self._replaced(book)

    async def _replaced(self, book: Book) -> NoReturn:
        found, _ = await book.run()
        check_run(self._batch, found.run, self._to.identity)
        msg = f"another attempt is at work: {self._what}"
        raise SparkError(msg, hint="it is tried again")

    def _check(self, subject: str) -> None:
        # The server wouldn't answer: this stream's name is in the message, and another
        # stream, or none, stores the subject.
        if subject in self._stored:
            return
        if not any(is_of(subject, each) for each in self._patterns):
            known = ", ".join(self._patterns)
            msg = (
                f"stream '{self._to.stream}' doesn't store subject '{subject}': {known}"
            )
            raise SparkError(
                msg, hint="publish to one of its subjects, or add this one"
            )
        if len(self._stored) < _SUBJECTS_MAX:
            self._stored.add(subject)

    def end(self) -> None:
        """Mark that the batch is done."""

        async def ask(_client: Any, jetstream: Any) -> None:
            book = await Book.of(jetstream, self._to.marks, self._batch.output)
            mark = self._mark
            assert mark is not None, "it was begun"
            done = Mark(
                mark.batch_ms, mark.partitions, mark.run, mark.after, is_done=True
            )
            await self._put(book, done, self._revision)

        self._to.server.ask(self._what, ask)


class _Ids:
    """The ids of messages that a stream has got since a batch was begun."""

    def __init__(self, to: Target, after: int, prefix: str) -> None:
        self._to = to
        self._after = after
        self._prefix = prefix
        self._until = 0
        self._pulling: Pulling | None = None
        self.begins_later = False
        self.is_compacted = False

    def all(self) -> set[int]:
        """Return the numbers behind the prefix."""
        what = f"what stream '{self._to.stream}' has got of a batch"
        numbers: set[int] = set()
        self._to.server.ask(what, self._start)
        while (taken := self._to.server.ask(what, self._pull)) is not None:
            for each in taken:
                id_ = (each.headers or {}).get(_ID, "")
                if id_.startswith(self._prefix):
                    numbers.add(int(id_[len(self._prefix) :]))
        return numbers

    async def _start(self, client: Any, jetstream: Any) -> None:
        from nats.js.api import (  # noqa: PLC0415  Optional.
            AckPolicy,
            ConsumerConfig,
            DeliverPolicy,
        )

        stream = self._to.stream
        info = await jetstream.stream_info(stream)
        state = info.state
        self.is_compacted = (info.config.max_msgs_per_subject or -1) > 0
        self._until = state.last_seq
        self.begins_later = state.first_seq > self._after + 1
        if self._until <= self._after:
            return
        config = ConsumerConfig(
            ack_policy=AckPolicy.NONE,
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=self._after + 1,
            headers_only=True,
            inactive_threshold=60.0,
            mem_storage=True,
        )
        made = await jetstream.add_consumer(stream, config)
        self._pulling = Pulling(client, stream, made.name)
        await self._pulling.start()

    async def _pull(self, client: Any, jetstream: Any) -> list[Any] | None:
        pulling = self._pulling
        if pulling is None:
            return None
        if pulling.client is not client:
            msg = "the connection to NATS broke"
            raise ConnectionError(msg)
        taken = await pulling.pull(AT_A_TIME, 0, self._to.server.timeout_s)
        place = Place.of_reply(taken[-1].reply) if taken else None
        if place is None or place.pending == 0 or place.sequence >= self._until:
            self._pulling = None
            await pulling.close()
            await jetstream.delete_consumer(pulling.stream, pulling.consumer)
        return taken
