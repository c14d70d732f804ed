"""JetStreamSink: messages with ids, and marks that say what is there.

The stream drops a message whose id it has seen within its `duplicate_window`, two minutes
by default: within it, whatever is published again is there once. Marks, in a key-value
bucket beside it, do for longer outages. Before a partition is published, its mark says so,
and from which sequence number on; afterwards, that it is done. Where a mark says that a
partition was begun, the stream is read from there, and only what is missing is published.
Each mark is written on condition of the revision that was read, so of two writers one goes
on.
"""

import asyncio
import re
from collections.abc import Callable, Collection, Sequence
from typing import Any

from millstream.engine.base.errors import IllegalArgumentError, SparkError
from millstream.engine.base.secrets import Secret
from millstream.engine.clients.nats import NatsServer
from millstream.engine.sinks.contract import (
    Opening,
    Sink,
    SinkBatch,
    check_partitions,
    check_run,
    stale_run,
)
from millstream.engine.sinks.encoding import encoded
from millstream.engine.sinks.jetstream.marks import Book, Run, run_key
from millstream.engine.sinks.jetstream.publishing import AT_A_TIME, Publishing, Target
from millstream.engine.sinks.records import Records


class JetStreamSink(Sink[Any]):
    """Publishes records to a stream of NATS JetStream."""

    def __init__(
        self,
        servers: str | Sequence[str] | NatsServer,
        stream: str,
        subject: str | Callable[[Any], str],
        *,
        record: Callable[[Any], Any] | None = None,
        marks: str = "millstream",
        user: str | None = None,
        password: str | Secret | None = None,
        token: str | Secret | None = None,
        timeout: float = 30.0,
    ) -> None:
        """Publish to `subject`, or to where `subject(record)` says; `stream` stores it.

        Text and bytes are published as they are, anything else as JSON; `record(r)` makes of
        a record what is published. `marks` is a key-value bucket, made if it isn't there.
        No step waits longer than `timeout` seconds. `NatsServer.of` knows more ways to
        connect, such as certificates.

        Raises:
            IllegalArgumentError: An argument can't be used.
        """
        if not stream or not subject:
            msg = "JetStreamSink needs a stream, and a subject that it stores"
            raise IllegalArgumentError(msg)
        if re.fullmatch(r"[A-Za-z0-9_-]+", marks) is None:
            msg = f"a bucket's name has letters, digits, _ and -, not '{marks}'"
            raise IllegalArgumentError(msg)
        server = (
            servers
            if isinstance(servers, NatsServer)
            else NatsServer.of(servers, user, password, token, timeout_s=timeout)
        )
        self.target = Target(server, stream, marks)
        self.subject = subject
        self.record = record

    @property
    def identity(self) -> str:
        """Which stream of which servers."""
        return self.target.identity

    def open(self, output: str, run: int) -> Opening:
        """Keep the number of the run, in every mark, so that older runs can't change them.

        Raises:
            SparkError: The stream isn't there, or no server can be reached.
        """

        async def ask(_client: Any, jetstream: Any) -> Opening:
            await jetstream.stream_info(self.target.stream)
            book = await Book.of(jetstream, self.target.marks, output)
            found, revision = await book.run()
            opened = max(run, found.run + 1)
            new = Run(opened, found.partitions)
            if await book.put(run_key(output), new, revision) is None:
                # It is tried again, with the next batch.
                msg = f"output '{output}' is opened by another program at this moment"
                raise SparkError(msg, hint="give each program an output of its own")
            newest: int | None = None
            for partition in range(found.partitions):
                mark = await book.renewed(partition, opened)
                if mark is not None and (newest is None or mark.batch_ms > newest):
                    newest = mark.batch_ms
            return Opening(opened, newest)

        return self.target.server.ask(f"begin output '{output}'", ask)

    def begin(self, batch: SinkBatch) -> Collection[int]:
        """Return the partitions that are done.

        Raises:
            StaleRunError: A newer run has taken over.
            PartitionsChangedError: Some were published of another number of partitions.
            SparkError: No server can be reached or answers.
        """

        async def ask(_client: Any, jetstream: Any) -> list[int]:
            book = await Book.of(jetstream, self.target.marks, batch.output)
            found, revision = await book.run()
            check_run(batch, found.run, self.identity)
            if found.partitions < batch.partitions:
                # Before any is published: who opens the output next has all to renew.
                new = Run(batch.run, batch.partitions)
                if await book.put(run_key(batch.output), new, revision) is None:
                    raise stale_run(batch, self.identity)
            count = max(found.partitions, batch.partitions)
            marks = await asyncio.gather(*map(book.mark, range(count)))
            there: list[int] = []
            for partition, (mark, _) in enumerate(marks):
                if mark is None or mark.batch_ms < batch.time_ms:
                    continue
                if mark.batch_ms == batch.time_ms:
                    check_partitions(batch, mark.partitions, self.identity)
                if mark.is_done or mark.batch_ms > batch.time_ms:
                    there.append(partition)
            return there

        return self.target.server.ask(f"the marks of output '{batch.output}'", ask)

    def check(self, records: Records[Any]) -> None:
        """Raise if some of these records make no message."""
        for each in records:
            self._message(each)

    def _message(self, record: Any) -> tuple[str, bytes]:
        make, subject = self.record, self.subject
        where = subject(record) if callable(subject) else subject
        return where, encoded(record if make is None else make(record))

    def write(self, batch: SinkBatch, partition: int, records: Records[Any]) -> None:
        """Publish what isn't there yet of one partition.

        Raises:
            StaleRunError: A newer run has taken over.
            SparkError: A record can't be published; the stream isn't there, or takes
                another subject; or no server can be reached or answers.
        """
        publishing = Publishing(self.target, batch, partition)
        publishing.begin()
        if publishing.is_there:
            return
        some: list[tuple[int, str, bytes]] = []
        for number, each in enumerate(records):
            if number not in publishing.published:
                some.append((number, *self._message(each)))
            if len(some) >= AT_A_TIME:
                publishing.publish(some)
                some = []
        publishing.publish(some)
        publishing.end()
