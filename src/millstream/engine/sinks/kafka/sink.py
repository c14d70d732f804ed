"""KafkaSink: a partition and its mark are one Kafka transaction.

A reader with `isolation.level=read_committed` sees each record exactly once; see
`kafka_producers` for how.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from millstream.engine.base.errors import IllegalArgumentError
from millstream.engine.base.secrets import kept_apart
from millstream.engine.sinks.contract import (
    Opening,
    Sink,
    SinkBatch,
    check_partitions,
    check_run,
)
from millstream.engine.sinks.encoding import encoded
from millstream.engine.sinks.kafka import marks as stored_marks
from millstream.engine.sinks.kafka import producers
from millstream.engine.sinks.records import Records

_OWN = ("transactional.id", "group.id", "enable.idempotence", "enable.auto.commit")


class KafkaSink(Sink[Any]):
    """Writes records to topics, exactly once for readers of what is committed."""

    def __init__(
        self,
        kafkaParams: str | Mapping[str, Any],
        topic: str | Callable[[Any], str],
        *,
        record: Callable[[Any], Any] | None = None,
        marks: str | None = None,
        timeout: float = 30.0,
    ) -> None:
        """Write to `topic`, or where `topic(record)` says.

        `kafkaParams` are the client's settings, or only its bootstrap servers. A record is
        a pair (key, value), or a value; text and bytes are written as they are, None as no
        key or as a tombstone, anything else as JSON. `record(r)` makes of a record what is
        written. Marks need the name of a topic that is there: `marks`, or `topic` if it is
        a name. No call waits longer than `timeout` seconds.

        Raises:
            IllegalArgumentError: An argument can't be used.
        """
        given: dict[str, Any] = (
            {"bootstrap.servers": kafkaParams}
            if isinstance(kafkaParams, str)
            else dict(kafkaParams)
        )
        servers = given.pop("metadata.broker.list", None)
        given.setdefault("bootstrap.servers", servers)
        if not given["bootstrap.servers"]:
            msg = "KafkaSink needs the setting bootstrap.servers"
            raise IllegalArgumentError(msg, hint="such as localhost:9092")
        for each in _OWN:
            if each in given:
                msg = f"KafkaSink has a setting {each} of its own"
                raise IllegalArgumentError(msg, hint="leave it out")
        of_marks = marks or (topic if isinstance(topic, str) else None)
        if not of_marks:
            msg = "where a function chooses the topic, marks needs the name of one"
            raise IllegalArgumentError(msg, hint="marks='a-topic-that-is-there'")
        if timeout <= 0:
            msg = f"a time-out is a positive number of seconds, not {timeout}"
            raise IllegalArgumentError(msg)
        settings = tuple(sorted(kept_apart(given, "kafka").items()))
        self.place = stored_marks.KafkaPlace(settings, of_marks, timeout)
        self.topic = topic
        self.record = record
        self._output: str | None = None

    @property
    def identity(self) -> str:
        """Which topic of which cluster."""
        name = self.topic if isinstance(self.topic, str) else "topics"
        return f"kafka {self.place.servers} {name}"

    def open(self, output: str, run: int) -> Opening:
        """Keep the number of the run; fence producers of older ones.

        Raises:
            SparkError: The cluster can't be reached or refuses; a topic isn't there.
        """
        stored_marks.check_topic(self.place, self.place.marks)
        run = max(run, stored_marks.run_of(self.place, output) + 1)
        stored_marks.set_run(self.place, output, run)
        partitions = range(stored_marks.count_of(self.place, output))
        producers.fence(self.place, output, run, partitions)
        marks = stored_marks.marks_of(self.place, output, partitions)
        newest = max((each.time_ms for each in marks.values()), default=None)
        self._output = output
        return Opening(run, newest)

    def begin(self, batch: SinkBatch) -> Collection[int]:
        """Return the partitions whose mark is at the batch.

        Raises:
            StaleRunError: A newer run has taken over.
            PartitionsChangedError: Some were committed of another number of partitions.
            SparkError: The cluster can't be reached or refuses.
        """
        check_run(batch, stored_marks.run_of(self.place, batch.output), self.identity)
        count = stored_marks.count_of(self.place, batch.output)
        if count < batch.partitions:
            # Before any is written: who opens the output next has all to fence.
            stored_marks.set_count(self.place, batch.output, batch.partitions)
        wanted = range(max(count, batch.partitions))
        marks = stored_marks.marks_of(self.place, batch.output, wanted)
        for mark in marks.values():
            if mark.time_ms == batch.time_ms:
                check_partitions(batch, mark.partitions, self.identity)
        return [part for part, mark in marks.items() if mark.time_ms >= batch.time_ms]

    def write(self, batch: SinkBatch, partition: int, records: Records[Any]) -> None:
        """Commit one partition with its mark.

        Raises:
            StaleRunError: A newer run has taken over.
            SparkError: A record can't be written, or the cluster can't be reached or
                refuses.
        """
        # All at once: a second producer may have to send them again.
        messages = list(self._messages(records))
        producers.write(self.place, batch, partition, messages)

    def check(self, records: Records[Any]) -> None:
        """Raise if some of these records make no message."""
        deque(self._messages(records), 0)

    def _messages(self, records: Records[Any]) -> Iterator[producers.Message]:
        make, topic = self.record, self.topic
        fixed = topic if isinstance(topic, str) else ""
        for each in records:
            taken = each if make is None else make(each)
            is_pair = isinstance(taken, tuple) and len(taken) == 2
            key, value = taken if is_pair else (None, taken)
            yield (
                topic(each) if callable(topic) else fixed,
                None if key is None else encoded(key),
                None if value is None else encoded(value),
            )

    def close(self) -> None:
        """Let this process's producers of the output go."""
        if self._output is not None:
            producers.close_output(self.place, self._output)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_output": None}
