"""KafkaProducers: a transactional producer for each partition of an output, in a process.

The producer of a partition is also whoever may write it: a new one of its name fences those
before it, wherever they are (KIP-98). The mark, a batch's time, is the offset that the
producer's consumer group commits, in the transaction that has the records (KIP-447).
"""

import json
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from millstream.engine.base.clock import SystemClock
from millstream.engine.base.errors import SparkError
from millstream.engine.sinks.contract import SinkBatch, stale_run
from millstream.engine.sinks.kafka.marks import (
    KafkaPlace,
    Mark,
    drop_admin,
    error_of,
    group_of,
    library,
    marks_of,
    run_of,
    told,
)

Message: TypeAlias = tuple[str, bytes | None, bytes | None]
"""A topic, a key and a value."""

_POLL_EVERY = 500
_NOT_THE_PRODUCER = ("_FENCED", "INVALID_PRODUCER_EPOCH", "PRODUCER_FENCED")
_EXPIRED = ("INVALID_PRODUCER_ID_MAPPING", "UNKNOWN_PRODUCER_ID")


def fence(place: KafkaPlace, output: str, run: int, partitions: Sequence[int]) -> None:
    """Let no producer of before commit any more; end the transactions they were in."""
    for each in partitions:
        held = _held(place, output, each)
        with held.lock:
            held.renew(place, output, each, run)


def write(
    place: KafkaPlace, batch: SinkBatch, partition: int, messages: Sequence[Message]
) -> None:
    """Commit messages and the partition's mark, unless the mark is there already.

    Raises:
        StaleRunError: A newer run has taken over.
        SparkError: The cluster can't be reached or refuses: nothing is visible, or all is.
    """
    held = _held(place, batch.output, partition)
    with held.lock:
        is_fresh = held.run != batch.run
        if is_fresh:
            _take_over(held, place, batch, partition)
        try:
            held.commit(place, batch, partition, messages)
        except _LostProducerError as error:
            held.drop()
            # Fenced: by a newer run, or by another process of this one that has written
            # the partition meanwhile. Or it was idle for so long that it is forgotten.
            _take_over(held, place, batch, partition)
            if is_fresh:
                msg = (
                    f"partition {partition} of batch {batch.time_ms} ms is written by "
                    f"another attempt: {error}"
                )
                raise SparkError(msg, hint="the batch is tried again") from error
            held.commit(place, batch, partition, messages)


def _take_over(
    held: "_Held", place: KafkaPlace, batch: SinkBatch, partition: int
) -> None:
    # Before, so that an old run doesn't fence the newer one; and after, when it can't
    # be overtaken any more: whoever comes later fences it.
    for is_producer in (False, True):
        if is_producer:
            held.renew(place, batch.output, partition, batch.run)
        if run_of(place, batch.output) > batch.run:
            held.drop()
            raise stale_run(batch, f"kafka {place.servers}")


class _LostProducerError(Exception):
    """A producer may not go on; a new one may."""


@dataclass
class _Held:
    """What the process keeps for one partition of an output."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    producer: Any = None
    group: Any = None
    run: int | None = None
    mark: Mark | None = None

    def drop(self) -> None:
        """Let the producer go: what it is in the middle of is aborted by the next one."""
        producer, self.producer, self.run = self.producer, None, None
        if producer is not None:
            producer.purge()

    def renew(self, place: KafkaPlace, output: str, partition: int, run: int) -> None:
        """Have a new producer, and what its partition's mark is."""
        self.drop()
        name = group_of(output, partition)
        clients = library()
        with told(place, f"begin to write partition {partition} of '{output}'"):
            producer = clients.Producer(
                place.settings_with(transactional_id=name, enable_idempotence=True)
            )
            producer.init_transactions(place.timeout_s)
            if self.group is None:
                consumer = clients.Consumer(
                    place.settings_with(group_id=name, enable_auto_commit=False)
                )
                try:
                    self.group = consumer.consumer_group_metadata()
                finally:
                    consumer.close()
        self.mark = marks_of(place, output, [partition]).get(partition)
        self.producer, self.run = producer, run

    def commit(
        self,
        place: KafkaPlace,
        batch: SinkBatch,
        partition: int,
        messages: Sequence[Message],
    ) -> None:
        """Commit a batch, unless the mark says that it is there."""
        if self.mark is not None and self.mark.time_ms >= batch.time_ms:
            return
        errors = library()
        mark = Mark(batch.time_ms, batch.partitions)
        try:
            self._commit(place, mark, batch.run, messages)
        except errors.KafkaException as error:
            said = error.args[0]
            names = (*_NOT_THE_PRODUCER, *_EXPIRED)
            producer = self.producer
            self.drop()
            if said.name() in names or said.fatal():
                raise _LostProducerError(str(said)) from error
            if said.txn_requires_abort():
                # Else the records stay pending until the next producer, or the time-out.
                with suppress(errors.KafkaException):
                    producer.abort_transaction(place.timeout_s)
            raise error_of(
                place,
                f"write partition {partition} of batch {batch.time_ms} ms",
                said,
            ) from error
        except BaseException:
            self.drop()
            raise
        self.mark = mark

    def _commit(
        self, place: KafkaPlace, mark: Mark, run: int, messages: Sequence[Message]
    ) -> None:
        producer, clients = self.producer, library()
        producer.begin_transaction()
        until_ms = SystemClock().now_ms() + place.timeout_s * 1000
        for number, (topic, key, value) in enumerate(messages, 1):
            if number % _POLL_EVERY == 0:
                producer.poll(0)
            while True:
                try:
                    producer.produce(topic, value, key)
                except BufferError:
                    producer.poll(0.1)
                    if SystemClock().now_ms() > until_ms:
                        raise clients.KafkaException(
                            clients.KafkaError(clients.KafkaError._TIMED_OUT_QUEUE)
                        ) from None
                else:
                    break
        metadata = json.dumps({"partitions": mark.partitions, "run": run})
        offset = clients.TopicPartition(place.marks, 0, mark.time_ms, metadata)
        producer.send_offsets_to_transaction([offset], self.group, place.timeout_s)
        producer.commit_transaction(place.timeout_s)


_all: dict[tuple[KafkaPlace, str, int], _Held] = {}
_all_lock = threading.Lock()


def _held(place: KafkaPlace, output: str, partition: int) -> _Held:
    with _all_lock:
        return _all.setdefault((place, output, partition), _Held())


def close_output(place: KafkaPlace, output: str) -> None:
    """Let the process's clients for an output go."""
    with _all_lock:
        keys = [key for key in _all if key[:2] == (place, output)]
        found = [_all.pop(key) for key in keys]
    drop_admin(place)
    for each in found:
        with each.lock:
            each.drop()
